//! `composefs:`: images in a composefs repository.

mod content; // images whose blobs are there as they are
mod destination; // an image on its way there
mod layers; // the tars of an image
mod target; // the place an image is to go to

use std::path::Path;
use std::sync::Arc;

use lithify_composefs::oci;
use lithify_composefs::repository::{EntryError, Repository};
use lithify_oci::manifest::{Descriptor, ImageManifest, media_type};
use lithify_oci::source::Source;
use lithify_oci::{Located, Unpacked};

use self::content::InRepositoryContent;
use self::layers::Tars;
use super::room::{Place, Writing};
use crate::Error;
use crate::error::{ComposefsError, TransferError};
use crate::image::Origin;
use crate::repository::{Named, TreeInRepository, open};
use crate::session::Session;
use crate::transfer::Target;

/// A repository, and which of its images.
pub(super) struct InRepository<'a> {
    pub(super) path: &'a Path,
    pub(super) source: &'a Source,
}

impl InRepository<'_> {
    fn find(&self, name: &str, session: &Session) -> Result<(Arc<Repository>, Named), Error> {
        let repository = open(self.path, session)?;
        let selector = match self.source {
            Source::Composefs { selector, .. } => selector.as_ref(),
            _ => None,
        };
        let named = Named::find(&repository, selector, name)?;
        Ok((Arc::new(repository), named))
    }
}

impl Place for InRepository<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        let (repository, named) = self.find(name, session)?;
        let digest = match named {
            Named::Oci(digest) => digest,
            Named::Tree(id) => {
                let tree = TreeInRepository::open(repository, id, &session.cancel)?;
                return Ok(Origin::Filesystem(Arc::new(tree)));
            }
        };
        let image = oci::Image::open(&repository, &digest);
        let image = image.map_err(|e| Error::in_repository(self.path, e))?;
        match located(Arc::clone(&repository), &image) {
            Some(located) => Origin::of_located(name, located, session),
            None => unpacked(name, repository, image, session),
        }
    }

    fn is_for_one_platform(&self) -> bool {
        true
    }

    fn locate(&self, name: &str, session: &Session) -> Result<Located, Error> {
        let not_moved = || {
            Error::from(TransferError::NotTransferable {
                name: name.to_owned(),
            })
        };
        let (repository, named) = self.find(name, session)?;
        let Named::Oci(digest) = named else {
            return Err(not_moved());
        };
        let image = oci::Image::open(&repository, &digest);
        let image = image.map_err(|e| Error::in_repository(self.path, e))?;
        located(repository, &image).ok_or_else(not_moved)
    }

    fn target(
        &self,
        name: &str,
        writing: &Writing,
        session: &Session,
    ) -> Result<Box<dyn Target>, Error> {
        target::of(self.path, self.source, name, writing, session)
    }
}

/// Returns the manifest of an image whose blobs are there as they were: none is compressed.
fn located(repository: Arc<Repository>, image: &oci::Image) -> Option<Located> {
    let manifest = ImageManifest::parse(&image.manifest, None).ok()?;
    let blobs = manifest.layers.iter().map(|layer| layer.digest);
    if !blobs.eq(image.layers.iter().map(|layer| layer.digest)) {
        return None;
    }
    let media_type = manifest
        .media_type
        .unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
    let size = image.manifest.len() as u64;
    let root = Descriptor::new(&media_type, image.digest, size);
    let content = InRepositoryContent::new(repository, image);
    Some(Located::new(Arc::new(content), root, Vec::new()))
}

/// Opens an image of which the repository has the tars that the blobs were compressed from.
fn unpacked(
    name: &str,
    repository: Arc<Repository>,
    image: oci::Image,
    session: &Session,
) -> Result<Origin, Error> {
    let path = repository.path().to_path_buf();
    let mut sizes = Vec::with_capacity(image.layers.len());
    for (index, layer) in image.layers.iter().enumerate() {
        let opened = oci::open_layer(&*repository, &layer.digest);
        let opened = opened.map_err(|e| match e {
            EntryError::Missing { at } => ComposefsError::Gone {
                path: path.clone(),
                at,
            }
            .into(),
            e => Error::in_repository(&path, e),
        })?;
        if !opened.is_tar() {
            return Err(ComposefsError::NotATar {
                index,
                name: layer.digest.to_string(),
                hint: "copy the image from where it came from",
            }
            .into());
        }
        sizes.push(Some(opened.size()));
    }
    let digests = image.layers.iter().map(|layer| layer.digest);
    let store = Tars::new(repository, digests.collect());
    let unpacked = Unpacked {
        names: Vec::new(),
        manifest: (image.digest, image.manifest),
        config: (image.config_digest, image.config),
        sizes,
        store: Arc::new(store),
    };
    let opened = lithify_oci::Image::from_unpacked(unpacked, &session.limits.image);
    let opened = opened.map_err(|e| Error::opening(name, e))?;
    Ok(Origin::Oci(Arc::new(opened)))
}
