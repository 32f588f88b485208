//! What `ls`, `verify` and `mount` take: an image, or an artifact made of one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use lithify_oci::source::{PathKind, Source};

use super::file::ImageFile;
use super::lazy::Stack;
use super::listing::Listing;
use crate::Description;
use crate::Error;
use crate::Image;
use crate::error::ArtifactError;
use crate::fs::verify::VerifyReport;
use crate::image::Discard;
use crate::image::LayerSummary;
use crate::image::add_dropped;
use crate::image::decode;
use crate::image::reading;
use crate::output::LayersDirectory;
use crate::repository;
use crate::repository::verify::Made;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// An image or an artifact.
#[derive(Debug)]
#[non_exhaustive]
pub enum Subject {
    /// An image source.
    Image(Image),
    /// An image file, or a disk.
    File(ImageFile),
    /// The directory of a layered build.
    Layers(LayersDirectory),
}

impl Subject {
    /// Opens an image by its source name or an artifact by its path.
    ///
    /// # Errors
    /// As [`Image::open`]; [`OpenError::Input`](crate::OpenError::Input) and [`ArtifactError::UnknownArtifact`](crate::ArtifactError::UnknownArtifact) for a path that is no artifact, and what is
    /// wrong with one that is.
    pub fn open(name: impl AsRef<OsStr>, session: &Session) -> Result<Self, Error> {
        let name = name.as_ref();
        let path = Path::new(name);
        let kind = match Source::has_transport(name) {
            true => PathKind::Missing,
            false => PathKind::of(path),
        };
        match kind {
            PathKind::Layers => Ok(Self::Layers(LayersDirectory::open(path)?)),
            // Of what is not told by its first bytes the name says whether it should have been an artifact.
            kind if kind.is_artifact() || (kind == PathKind::Other && named_as_image(path)) => {
                Ok(Self::File(ImageFile::open(path, kind, &session.cancel)?))
            }
            PathKind::Unreadable(why) if path.symlink_metadata().is_ok() => {
                Err(Error::input(path, why.into()))
            }
            PathKind::Text | PathKind::Other => Err(Error::from(ArtifactError::UnknownArtifact {
                path: path.to_path_buf(),
            })),
            // A path that needs a transport is refused with it.
            _ => Ok(Self::Image(Image::open(name, session)?)),
        }
    }

    /// The image as data, or what there is to say of an artifact.
    #[must_use]
    pub fn describe(&self) -> Description {
        match self {
            Self::Image(image) => image.describe(),
            Self::File(file) => file.describe(),
            Self::Layers(layers) => layers.describe(),
        }
    }

    /// The names and metadata.
    ///
    /// # Errors
    /// Whatever is wrong with the image; its layers are decoded and verified for this.
    pub fn list(&self, session: &Session) -> Result<Listing, Error> {
        self.list_all(session).map_err(|e| session.reason(e))
    }

    fn list_all(&self, session: &Session) -> Result<Listing, Error> {
        match self {
            Self::Image(image) => {
                let session = &reading(session, true);
                let decoded = decode(
                    image,
                    &mut Discard,
                    session,
                    &Budgets::new(session),
                    |never| match never {},
                )?;
                let (tree, layers) = decoded.merge(image, session)?;
                Ok(Listing::of_layers(tree, &layers))
            }
            Self::File(file) => match file.composefs(&session.cancel)? {
                Some(filesystem) => Ok(Listing::new(filesystem.into_tree())),
                None => file.image.until(&session.cancel)?.tree().map(Listing::new),
            },
            Self::Layers(layers) => layers.tree(session).map(Listing::new),
        }
    }

    /// The names and metadata at a path and below it, directories deeper than `depth` not entered; 0 is the path alone.
    /// The listing may hold more: it always has what leads to the path.
    ///
    /// Of an image whose layers are all EROFS images, uncompressed and within reach by position, only the part asked for
    /// is read, which can then not be compared with the layers' digests: [`verify`](Self::verify) does that. Whatever
    /// else is listed as a whole.
    ///
    /// # Errors
    /// As [`list`](Self::list); [`ArtifactError::NotInImage`](crate::ArtifactError::NotInImage).
    pub fn list_part(
        &self,
        path: &[u8],
        depth: Option<usize>,
        session: &Session,
    ) -> Result<Listing, Error> {
        let lazily = || match self {
            Self::Image(image) => match Stack::of(image, &session.cancel)? {
                Some(stack) => stack.list(path, depth, session).map(Some),
                None => Ok(None),
            },
            _ => Ok(None),
        };
        match lazily().map_err(|e| session.reason(e))? {
            Some(part) => Ok(part),
            None => self.list(session),
        }
    }

    /// Checks every byte: digests, sizes, checksums and diff_ids of an image's layers, and that they can be applied;
    /// the whole structure of an artifact, and its data as far as a recorded digest or a hash tree goes. Of an image in a
    /// composefs repository the composefs image is checked too: its bytes by its id, its structure, every object it refers
    /// to by its name, and the whole by what the layers make.
    ///
    /// # Errors
    /// The first thing found wrong; of files of a composefs image all, in [`ComposefsError::Files`](crate::ComposefsError::Files).
    pub fn verify(&self, session: &Session) -> Result<VerifyReport, Error> {
        self.verify_all(session).map_err(|e| session.reason(e))
    }

    fn verify_all(&self, session: &Session) -> Result<VerifyReport, Error> {
        match self {
            Self::Image(image) => {
                let Source::Composefs { path, selector } = image.source() else {
                    return verify_layers(image, session);
                };
                let name = image.name();
                let made =
                    repository::verify::verify_named(path, selector.as_ref(), name, session)?;
                match made {
                    Made::Tree(report) => Ok(report),
                    Made::Image(None) => verify_layers(image, session),
                    Made::Image(Some(made)) => {
                        let mut report = match made.compare(image, session)? {
                            Some(layers) => verified(image, &layers),
                            None => verify_layers(image, session)?,
                        };
                        report.bytes += made.report.bytes;
                        report.composefs = made.report.composefs;
                        Ok(report)
                    }
                }
            }
            Self::File(file) => file.verify(session),
            Self::Layers(layers) => layers.verify(session),
        }
    }
}

/// Decodes the layers of an image, which compares all their digests.
fn verify_layers(image: &Image, session: &Session) -> Result<VerifyReport, Error> {
    let session = &reading(session, true);
    let decoded = decode(
        image,
        &mut Discard,
        session,
        &Budgets::new(session),
        |never| match never {},
    )?;
    let (_, layers) = decoded.merge(image, session)?;
    Ok(verified(image, &layers))
}

/// Returns what was found of an image whose layers were decoded.
pub(super) fn verified(image: &Image, layers: &[LayerSummary]) -> VerifyReport {
    let mut unusable_xattrs = BTreeMap::new();
    add_dropped(&mut unusable_xattrs, layers);
    VerifyReport {
        unusable_xattrs,
        name: image.name().to_owned(),
        entries: layers.iter().map(|l| l.entries).sum(),
        bytes: layers.iter().map(|l| l.tar_bytes).sum(),
        data: true,
        ..VerifyReport::default()
    }
}

/// Whether a file's name says that it is a filesystem image or a disk.
fn named_as_image(path: &Path) -> bool {
    let known = [
        "erofs", "squashfs", "sqfs", "sqsh", "sfs", "img", "raw", "vmdk", "gpt",
    ];
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| known.iter().any(|known| found.eq_ignore_ascii_case(known)))
}
