//! Ids of composefs images, computed without making the images.

use std::io;

use lithify_composefs::oci;
use lithify_oci::LayerKind;
use lithify_oci::source::Source;
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::dump::{ComposefsImageOptions, not_made, write_image};
use super::import::{ComposefsProfile, HashedImage, LayerStream, Merged, Sparse, merge_streams};
use super::named::Named;
use super::open::open;
use crate::Error;
use crate::image::{Image, Origin, reading};
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Computes the id of the composefs image that a repository would get of an image. Nothing is written.
///
/// Of an image in a composefs repository with objects of this algorithm, the layers' streams are read and compared with their
/// digests, and no files but sparse ones: those are what the streams say, or are found damaged by a check of the repository. Any other image is decoded and verified.
///
/// # Errors
/// Whatever is wrong with the image; [`ComposefsError::Tree`](crate::ComposefsError::Tree) and
/// [`ComposefsError::Profile`](crate::ComposefsError::Profile).
pub fn composefs_id(
    image: &Image,
    profile: ComposefsProfile,
    options: &ComposefsImageOptions,
    session: &Session,
) -> Result<FileDigest, Error> {
    let compute = || {
        if let Some(merged) = merge_found(image, profile, options.algorithm, session)? {
            let (filesystem, none) = (&merged.filesystem, &mut io::sink());
            let written = write_image(filesystem, options, none, &session.cancel);
            return written.map_err(|e| not_made(image.name(), e));
        }
        let hashed = HashedImage::of(image, profile, &[options.algorithm], session)?;
        hashed.write(options, &mut io::sink(), session)
    };
    let made = compute().map_err(|e: Error| session.reason(e))?;
    Ok(made.id)
}

/// Makes the filesystem of an image that is in a repository, whose objects are named by an algorithm;
/// `None` for any other image. Nothing is written.
fn merge_found(
    image: &Image,
    profile: ComposefsProfile,
    algorithm: FileAlgorithm,
    session: &Session,
) -> Result<Option<Merged>, Error> {
    let (Source::Composefs { path, selector }, Origin::Oci(layers)) =
        (image.source(), image.origin())
    else {
        return Ok(None);
    };
    let mut layers = layers.layers().iter();
    let repository = open(path, session)?;
    if repository.algorithm() != algorithm || !layers.all(|layer| layer.kind == LayerKind::Tar) {
        return Ok(None);
    }
    let Named::Oci(manifest) = Named::find(&repository, selector.as_ref(), image.name())? else {
        return Ok(None);
    };
    let stored = oci::Image::open(&repository, &manifest);
    let stored = stored.map_err(|e| Error::in_repository(repository.path(), e))?;
    let layers = stored.layers.iter().map(|layer| LayerStream {
        diff_id: layer.digest,
        id: layer.id,
        is_found: true,
    });
    let layers: Vec<_> = layers.collect();
    // One that Linux cannot hold is none that `cfsctl` leaves.
    let session = &reading(session, profile == ComposefsProfile::Cfsctl);
    let budgets = Budgets::of_data(session);
    let reading = (session, &budgets);
    let name = image.name();
    merge_streams(&repository, name, &layers, profile, Sparse::Hashed, reading).map(Some)
}
