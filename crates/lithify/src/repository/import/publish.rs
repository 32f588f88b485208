//! Images of the OCI in a repository: stored, named, and found again.

use std::collections::BTreeMap;

use lithify_composefs::oci::{self, NewImage};
use lithify_composefs::repository::{Category, ErofsFormat, Publication, Repository};
use lithify_digest::Digest;
use lithify_tree::Escaped;
use lithify_verity::file::FileDigest;

use super::compose::Composed;
use super::profile::ComposefsProfile;
use crate::error::RepositoryFault;
use crate::repository::names;
use crate::{Error, ErrorKind};

/// The documents of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documents<'a> {
    /// The digest of the manifest.
    pub(crate) digest: Digest,
    pub(crate) manifest: &'a [u8],
    pub(crate) config: &'a [u8],
}

/// Publishes an image whose layers are objects, the images that were made of it, and its tag.
pub(crate) fn publish(
    repository: &Repository,
    documents: Documents<'_>,
    layers: &BTreeMap<Digest, FileDigest>,
    composed: Option<&Composed>,
    tag: Option<&str>,
) -> Result<(), Error> {
    let failed = |fault: RepositoryFault| Error::in_repository(repository.path(), fault);
    let none = BTreeMap::new();
    let new = NewImage {
        digest: documents.digest,
        manifest: documents.manifest,
        config: documents.config,
        layers,
        images: composed.map_or(&none, |made| &made.images),
        kept: composed.map_or(&[], |made| &made.kept),
    };
    let stored = oci::store_image(repository, &new).map_err(|e| failed(e.into()))?;
    let mut publication = Publication::new();
    let noted = stored.publish(&mut publication);
    noted.map_err(|e| failed(e.into()))?;
    if let Some(tag) = tag {
        let tagged = stored.tag(&mut publication, tag);
        tagged.map_err(|e| failed(e.into()))?;
    }
    let published = repository.publish(&publication);
    published.map_err(|e| failed(e.into()))?;
    match tag {
        Some(tag) => names::take_away(repository, Category::Streams, tag),
        None => Ok(()),
    }
}

/// Says that an image gets a composefs image by other rules than the one that has its name now, or that it has itself.
pub(crate) fn note_profile(
    repository: &Repository,
    name: Option<&str>,
    digest: Option<&Digest>,
    profile: ComposefsProfile,
) {
    let tagged = name.and_then(|name| oci::resolve_tag(repository, name).ok());
    let mut images = tagged.iter().chain(digest);
    let found = images.find_map(|digest| profile_of(repository, digest));
    if let Some(found) = found.filter(|found| *found != profile) {
        let path = Escaped::path(repository.path());
        let name = name.map(|name| format!(":{}", Escaped(name)));
        log::warn!(
            "the composefs image of `{path}{name}` was made by the profile {found}, and is replaced by one by the profile {wanted}: `build --profile {found}` keeps to the other",
            name = name.unwrap_or_default(),
            found = found.name(),
            wanted = profile.name(),
        );
    }
}

/// Returns the profile by which the composefs image of an image of the OCI was made.
fn profile_of(repository: &Repository, digest: &Digest) -> Option<ComposefsProfile> {
    let image = oci::Image::open(repository, digest).ok()?;
    let mut formats = repository.metadata().formats();
    let format = formats.find(|format| *format != ErofsFormat::V2)?;
    let made = image.image(format)?;
    let is_by = |profile: &ComposefsProfile| {
        let name = oci::profile_name(format, profile.name());
        image.images.get(&name) == Some(&made)
    };
    // `cfsctl` itself does not say.
    let said = ComposefsProfile::ALL.into_iter().find(is_by);
    Some(said.unwrap_or(ComposefsProfile::Cfsctl))
}

/// An image of the OCI that is there whole.
#[derive(Clone, Debug)]
pub(crate) struct FoundImage {
    pub(crate) image: oci::Image,
    /// The id of the composefs image that was made of it.
    pub(crate) id: FileDigest,
    /// Set if its layers were compared with their diff_ids before they were published. Others than lithify, who do not say by which
    /// rules they made an image, may have compared nothing.
    pub(crate) is_compared: bool,
}

/// Finds an image of the OCI that is there whole, with the images that are made of it: by a profile, or any.
pub(crate) fn find_image(
    repository: &Repository,
    digest: &Digest,
    profile: Option<ComposefsProfile>,
) -> Result<Option<FoundImage>, Error> {
    let failed = |e: oci::ImageError| Error::in_repository(repository.path(), e);
    let image = match oci::Image::open(repository, digest).map_err(failed) {
        Ok(image) => image,
        // What is missing or damaged is stored once more.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Verification) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let mut id = None;
    let mut is_compared = true;
    for format in repository.metadata().formats() {
        if format == ErofsFormat::V2 {
            continue;
        }
        let Some(made) = image.image(format) else {
            return Ok(None);
        };
        let is_by = |profile: ComposefsProfile| {
            image.images.get(&oci::profile_name(format, profile.name())) == Some(&made)
        };
        if profile.is_some_and(|profile| !is_by(profile)) {
            return Ok(None);
        }
        is_compared &= ComposefsProfile::ALL.into_iter().any(is_by);
        id.get_or_insert(made);
    }
    let Some(id) = id else {
        return Ok(None);
    };
    match image.is_intact(repository).map_err(failed)? {
        true => Ok(Some(FoundImage {
            image,
            id,
            is_compared,
        })),
        false => Ok(None),
    }
}
