//! All names in a repository, and what each leads to.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lithify_composefs::oci;
use lithify_composefs::repository::{Category, EntryError, Repository};
use lithify_digest::Digest;
use lithify_oci::source::is_ref_name;
use lithify_verity::file::FileDigest;

use crate::Error;
use crate::error::ComposefsError;

/// Checks a name that something is to get. Others may have given names that no place of images has otherwise; here none
/// is made. One that is a place, as other commands take it, is a slip: it would become a name with the repository's path in it.
pub(crate) fn check_new(repository: &Path, name: &str) -> Result<(), Error> {
    const TRANSPORT: &str = "composefs:";
    let rest = name.strip_prefix(TRANSPORT).unwrap_or(name);
    let ends = rest.match_indices(':').map(|(at, _)| at);
    let mut places = ends.map(|at| (&rest[..at], &rest[at + 1..]));
    let own = places.find(|(path, _)| is_same(Path::new(path), repository));
    let new = match own {
        Some((_, new)) => new,
        None if rest.len() < name.len() => rest,
        None if is_ref_name(name) => return Ok(()),
        None => {
            let name = name.to_owned();
            return Err(ComposefsError::NewName { name }.into());
        }
    };
    Err(ComposefsError::NameIsPlace {
        name: name.to_owned(),
        new: new.to_owned(),
    }
    .into())
}

/// Tells whether a path leads to a directory that is there.
fn is_same(path: &Path, directory: &Path) -> bool {
    match (path.metadata(), directory.metadata()) {
        (Ok(a), Ok(b)) => a.is_dir() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => path == directory,
    }
}

/// Takes a name away from what has it in the other category: the new owner has it in `kept` already, so that the name leads
/// to one of both at any time. What is no name there, such as a directory of others, stays.
pub(crate) fn take_away(repository: &Repository, kept: Category, name: &str) -> Result<(), Error> {
    let (category, reference) = match kept {
        Category::Streams => (Category::Images, Ok(name.to_owned())),
        Category::Images => (Category::Streams, oci::tag_reference(name)),
    };
    let Ok(reference) = reference else {
        return Ok(());
    };
    match repository.remove_reference(category, &reference) {
        Ok(_) | Err(EntryError::Name(_) | EntryError::NotALink { .. }) => Ok(()),
        Err(e) => Err(Error::in_repository(repository.path(), e)),
    }
}

/// The thing that a name in a repository leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ComposefsKind {
    /// An image of the OCI, by the digest of its manifest.
    Oci(Digest),
    /// An image of a file tree, by its id.
    Tree(FileDigest),
    /// A stream that is no image, by its name.
    Stream(String),
}

impl ComposefsKind {
    /// Returns its place in a list of all kinds.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Oci(_) => 0,
            Self::Tree(_) => 1,
            Self::Stream(_) => 2,
        }
    }
}

/// A name in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) kind: ComposefsKind,
    pub(super) name: String,
    /// Set if it is the tag of an image of the OCI.
    pub(super) is_tag: bool,
    pub(super) category: Category,
    /// The entry of that category it leads to.
    pub(super) entry: String,
    /// The reference that the name is.
    pub(super) reference: String,
}

/// Lists all names, sorted by what they lead to: images of the OCI first.
pub(super) fn all(repository: &Repository) -> Result<Vec<Name>, Error> {
    let mut names = Vec::new();
    for category in Category::ALL {
        let references = repository.references(category, None);
        let references = references.map_err(|e| Error::in_repository(repository.path(), e))?;
        for reference in references {
            let kind = kind_of(repository, category, &reference.entry);
            let tag = match (&kind, category) {
                (ComposefsKind::Oci(_), Category::Streams) => oci::reference_tag(&reference.name),
                _ => None,
            };
            names.push(Name {
                is_tag: tag.is_some(),
                name: tag.unwrap_or_else(|| reference.name.clone()),
                reference: reference.name,
                entry: reference.entry,
                category,
                kind,
            });
        }
    }
    names.sort();
    Ok(names)
}

/// Returns all names, sorted by what they are for and then by themselves: images of the OCI first.
pub(super) fn all_by_name(repository: &Repository) -> Result<Vec<Name>, Error> {
    let mut names = all(repository)?;
    names.sort_by(|a, b| (a.kind.rank(), &a.name).cmp(&(b.kind.rank(), &b.name)));
    Ok(names)
}

/// Returns the error for a name that nothing has.
pub(super) fn missing(repository: &Repository, name: &str) -> Error {
    // A name that cannot be listed is no reason for another error.
    let names = all_by_name(repository).unwrap_or_default();
    ComposefsError::NoName {
        path: repository.path().to_path_buf(),
        name: name.to_owned(),
        names: names.into_iter().map(|name| name.name).collect(),
    }
    .into()
}

fn kind_of(repository: &Repository, category: Category, entry: &str) -> ComposefsKind {
    match category {
        Category::Streams => oci::promised_digest(entry)
            .filter(|digest| oci::manifest_stream(digest) == entry)
            .map(ComposefsKind::Oci),
        Category::Images => FileDigest::from_hex(repository.algorithm(), entry)
            .ok()
            .map(ComposefsKind::Tree),
    }
    .unwrap_or_else(|| ComposefsKind::Stream(entry.to_owned()))
}
