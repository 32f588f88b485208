//! All names in a repository, and what each leads to.

use lithify_composefs::oci;
use lithify_composefs::repository::{Category, Repository};
use lithify_digest::Digest;
use lithify_verity::file::FileDigest;

use crate::Error;

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
