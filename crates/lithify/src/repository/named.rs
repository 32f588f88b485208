//! Names in repositories.

use std::path::Path;

use lithify_composefs::oci;
use lithify_composefs::repository::{Category, EntryError, ErofsFormat, Publication, Repository};
use lithify_digest::Digest;
use lithify_oci::source::Selector;
use lithify_verity::file::FileDigest;

use super::import::ComposefsProfile;
use super::names::{self, ComposefsKind, Name};
use super::open::open;
use crate::Error;
use crate::error::{ComposefsError, OpenError, RepositoryFault};
use crate::session::Session;

/// A thing that has a name in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An image of the OCI, by the digest of its manifest.
    Oci(Digest),
    /// An image of a file tree.
    Tree(FileDigest),
}

impl Named {
    /// Finds what is meant by `REPO[:NAME|@DIGEST]`: a tag of an image of the OCI, else a name of an image of a file tree, or its
    /// id; the digest of a manifest; without a name, the only one there.
    pub(crate) fn find(
        repository: &Repository,
        selector: Option<&Selector>,
        name: &str,
    ) -> Result<Self, Error> {
        let failed = |fault: RepositoryFault| Error::in_repository(repository.path(), fault);
        match selector {
            Some(Selector::Name(wanted)) => {
                let found = Self::of_name(repository, wanted).map_err(failed)?;
                found.ok_or_else(|| names::missing(repository, wanted))
            }
            Some(Selector::Digest(digest)) => Ok(Self::Oci(*digest)),
            None => Self::only(repository),
            Some(_) => Err(OpenError::UnsupportedSource {
                name: name.to_owned(),
                hint: "images of a repository have no numbers: give a name or @DIGEST",
            }
            .into()),
        }
    }

    /// Returns the id of the image that can be mounted: of an image of the OCI the one that was made of it, in the
    /// repository's format if there are several.
    pub(crate) fn image(&self, repository: &Repository) -> Result<FileDigest, Error> {
        let id = self.made(repository)?;
        let there = repository.entry(Category::Images, &id.hex());
        match there.map_err(|e| Error::in_repository(repository.path(), e))? {
            Some(_) => Ok(id),
            // A repair took it away.
            None => Err(ComposefsError::Gone {
                path: repository.path().to_path_buf(),
                at: format!("images/{}", id.hex()),
            }
            .into()),
        }
    }

    fn made(&self, repository: &Repository) -> Result<FileDigest, Error> {
        let manifest = match self {
            Self::Tree(id) => return Ok(*id),
            Self::Oci(manifest) => manifest,
        };
        let image = oci::Image::open(repository, manifest);
        let image = image.map_err(|e| Error::in_repository(repository.path(), e))?;
        let any = [ErofsFormat::V1, ErofsFormat::V2];
        let mut formats = repository.metadata().formats().chain(any);
        let found = formats.find_map(|format| image.image(format));
        found.ok_or_else(|| {
            let path = repository.path().to_path_buf();
            let manifest = Box::new(*manifest);
            ComposefsError::NotMade { path, manifest }.into()
        })
    }

    fn of_name(repository: &Repository, wanted: &str) -> Result<Option<Self>, RepositoryFault> {
        match oci::resolve_tag(repository, wanted) {
            Ok(digest) => return Ok(Some(Self::Oci(digest))),
            Err(oci::ImageError::NoTag { .. } | oci::ImageError::Name(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match repository.reference(Category::Images, wanted) {
            Ok(Some(id)) => {
                if let Ok(id) = FileDigest::from_hex(repository.algorithm(), &id) {
                    return Ok(Some(Self::Tree(id)));
                }
            }
            // A tag may have a name that no image of a file tree has, or that is a directory of such names.
            Ok(None) | Err(EntryError::Name(_) | EntryError::NotALink { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        if let Ok(id) = FileDigest::from_hex(repository.algorithm(), wanted)
            && repository.entry(Category::Images, wanted)? == Some(id)
        {
            return Ok(Some(Self::Tree(id)));
        }
        Ok(None)
    }

    /// Returns the only image in the repository that has a name.
    fn only(repository: &Repository) -> Result<Self, Error> {
        let all = Self::all(repository)?;
        let Some((_, first)) = all.first() else {
            let path = repository.path().to_path_buf();
            return Err(ComposefsError::NoImage { path }.into());
        };
        match all.iter().all(|(_, other)| other == first) {
            true => Ok(first.clone()),
            false => Err(ComposefsError::Several {
                path: repository.path().to_path_buf(),
                names: all.into_iter().map(|(name, _)| name).collect(),
            }
            .into()),
        }
    }

    /// Gives the image one more name, in place of another one that has it.
    pub(crate) fn tag(&self, repository: &Repository, name: &str) -> Result<(), Error> {
        let failed = |fault: RepositoryFault| Error::in_repository(repository.path(), fault);
        names::check_new(repository.path(), name)?;
        let mut publication = Publication::new();
        let category = match self {
            Self::Oci(_) => Category::Streams,
            Self::Tree(_) => Category::Images,
        };
        let noted = match self {
            Self::Oci(digest) => {
                let reference = oci::tag_reference(name).map_err(|e| failed(e.into()))?;
                publication.stream_reference(reference, oci::manifest_stream(digest))
            }
            Self::Tree(id) => publication.image_reference(name, id),
        };
        noted.map_err(|e| failed(e.into()))?;
        let published = repository.publish(&publication);
        published.map_err(|e| failed(e.into()))?;
        names::take_away(repository, category, name)
    }

    /// Returns all images that have a name, sorted by that: images of the OCI, which have tags, first.
    pub(crate) fn all(repository: &Repository) -> Result<Vec<(String, Self)>, Error> {
        let names = names::all_by_name(repository)?;
        let named = |name: Name| match name.kind {
            ComposefsKind::Oci(digest) => name.is_tag.then_some((name.name, Self::Oci(digest))),
            ComposefsKind::Tree(id) => Some((name.name, Self::Tree(id))),
            ComposefsKind::Stream(_) => None,
        };
        Ok(names.into_iter().filter_map(named).collect())
    }
}

/// Returns the id of the image that a repository made of an image of the OCI as `cfsctl` makes it, in format 1; `None` if it made none,
/// or by other rules.
pub(crate) fn canonical_image(
    path: &Path,
    selector: Option<&Selector>,
    name: &str,
    session: &Session,
) -> Result<Option<FileDigest>, Error> {
    let repository = open(path, session)?;
    let Named::Oci(manifest) = Named::find(&repository, selector, name)? else {
        return Ok(None);
    };
    let format = ErofsFormat::V1;
    if !repository.metadata().formats().any(|f| f == format) {
        return Ok(None);
    }
    let image = oci::Image::open(&repository, &manifest);
    let image = image.map_err(|e| Error::in_repository(repository.path(), e))?;
    let by = |profile: ComposefsProfile| {
        let name = oci::profile_name(format, profile.name());
        image.images.get(&name).copied()
    };
    // `cfsctl` itself does not say by which rules it made one.
    let unsaid = || {
        let made = image.image(format);
        made.filter(|_| by(ComposefsProfile::Faithful).is_none())
    };
    Ok(by(ComposefsProfile::Cfsctl).or_else(unsaid))
}
