//! Image files and disks.

use std::path::{Path, PathBuf};

use lithify_composefs::Filesystem;
use lithify_composefs::image::read_header;
use lithify_oci::source::PathKind;
use lithify_storage::read_regular;
use lithify_tree::Escaped;

use crate::Artifact;
use crate::CancelToken;
use crate::Description;
use crate::Error;
use crate::error::{ArtifactError, ComposefsError};
use crate::fs::Kind;
use crate::fs::disk;
use crate::fs::disk::Place;
use crate::fs::image::{FsImage, open_artifact};
use crate::fs::verify::VerifyReport;
use crate::fs::verify::verify_tree;
use crate::fs::verity::{SIDECAR_MAX, sidecar_path};
use crate::name::shown_path;
use crate::repository;
use crate::session::Session;

/// An image file, EROFS, squashfs or ext4, by itself or on a disk with the images it refers to.
#[derive(Debug)]
pub struct ImageFile {
    pub(crate) image: FsImage,
    /// Where it and the images it refers to lie, if that is not the file as it is.
    pub(crate) places: Vec<Place>,
    /// `erofs`, `squashfs` or `ext4` for an image, `vmdk` or `gpt` for a disk.
    format: &'static str,
    size: u64,
    /// Set if it is the metadata of a composefs image: the data of most files is elsewhere.
    is_composefs: bool,
}

impl ImageFile {
    pub(super) fn open(path: &Path, kind: PathKind, cancel: &CancelToken) -> Result<Self, Error> {
        let file = open_artifact(path)?;
        let size = file.metadata().map_err(|e| Error::input(path, e))?.len();
        let disk = match kind {
            PathKind::Vmdk => Some(("vmdk", disk::open_vmdk(path, &file)?)),
            PathKind::Gpt => Some(("gpt", disk::open_gpt(path, &file)?)),
            _ => None,
        };
        if let Some((format, disk)) = disk {
            let image = match disk.devices {
                Some(devices) if !devices.is_empty() => {
                    FsImage::open_with_devices(path, disk.image, devices, cancel)?
                }
                _ => FsImage::open_any(path, disk.image, cancel)?,
            };
            return Ok(Self {
                image,
                places: disk.places,
                format,
                size,
                is_composefs: false,
            });
        }
        let is_composefs = read_header(&file).is_ok();
        let image = FsImage::open_any(path, file, cancel)?;
        let format = image.kind.name();
        Ok(Self {
            image,
            places: Vec::new(),
            format,
            size,
            is_composefs,
        })
    }

    /// Returns the filesystem that it is the metadata of, if it is a composefs image: without the entries by which overlayfs
    /// finds objects, and with what is known of the data.
    pub(super) fn composefs(&self, cancel: &CancelToken) -> Result<Option<Filesystem>, Error> {
        if !self.is_composefs {
            return Ok(None);
        }
        let path = self.path();
        let read = lithify_composefs::image::read(open_artifact(path)?, cancel);
        let read = read.map_err(|source| ComposefsError::Image {
            path: path.to_path_buf(),
            source: Box::new(source),
        });
        Ok(Some(read?))
    }

    /// Checks that all files are in it.
    pub(crate) fn check_data(&self) -> Result<(), Error> {
        match self.is_composefs {
            false => Ok(()),
            true => Err(ComposefsError::MetadataAlone {
                path: self.path().to_path_buf(),
            }
            .into()),
        }
    }

    /// What its superblock says.
    pub(super) fn describe(&self) -> Description {
        let name = shown_path(self.path());
        let statistics = self.image.statistics().into_iter();
        let statistics = statistics.map(|(name, value)| (name.to_owned(), value));
        Description {
            reference: name.clone(),
            artifacts: vec![Artifact {
                path: name,
                format: self.format.to_owned(),
                size: self.size,
                statistics: statistics.collect(),
                ..Artifact::default()
            }],
            ..Description::default()
        }
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.image.path
    }

    /// The filesystem in it: `erofs`, `squashfs` or `ext4`.
    #[must_use]
    pub fn filesystem(&self) -> &'static str {
        self.image.kind.name()
    }

    /// The data of a file; symbolic links on the way are not followed.
    ///
    /// # Errors
    /// [`ArtifactError::NotInImage`](crate::ArtifactError::NotInImage); [`ArtifactError::ReadImage`](crate::ArtifactError::ReadImage)
    /// for damage and for what is no regular file; [`ComposefsError::MetadataAlone`] for a composefs image.
    pub fn read(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.check_data()?;
        self.image.read(path)?.ok_or_else(|| {
            Error::from(ArtifactError::NotInImage {
                path: Escaped(path).to_string(),
            })
        })
    }

    pub(super) fn verify(&self, session: &Session) -> Result<VerifyReport, Error> {
        let mut report = self.image.until(&session.cancel)?.verify()?;
        // The layers' trees on a disk are not of the disk.
        if !self.places.is_empty() {
            return Ok(report);
        }
        if let Some(sidecar) = read_sidecar(self.path())? {
            let file = open_artifact(self.path())?;
            verify_tree(self.path(), &file, &sidecar, session)?;
            report.data = true;
        }
        if self.image.kind == Kind::Erofs {
            let file = open_artifact(self.path())?;
            report.composefs = repository::verify::describe(self.path(), &file, session)?;
        }
        Ok(report)
    }
}

/// What the file beside an image says about its hash tree, if there is one.
fn read_sidecar(image: &Path) -> Result<Option<lithify_verity::Sidecar>, Error> {
    let path: PathBuf = sidecar_path(image);
    match read_regular(&path, SIDECAR_MAX) {
        Ok(bytes) => lithify_verity::Sidecar::parse(&bytes)
            .map(Some)
            .map_err(|source| {
                Error::from(ArtifactError::Sidecar {
                    path,
                    source: Box::new(source),
                })
            }),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(Error::input(&path, e.into())),
    }
}
