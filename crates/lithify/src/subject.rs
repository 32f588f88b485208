//! What `ls`, `verify` and `mount` take: an image, or an artifact made of one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_oci::source::{PathKind, Source};
use lithify_storage::{open_regular, read_regular};
use lithify_tree::Escaped;
use serde::Serialize;

use crate::artifact_dir::LayersDirectory;
use crate::budgets::Budgets;
use crate::decode::{Discard, decode};
use crate::disk::Place;
use crate::error::ArtifactError;
use crate::fs_image::{FsImage, Opened};
use crate::lazy::Stack;
use crate::make::filesystem::Kind;
use crate::make::verity::{SIDECAR_MAX, sidecar_path};
use crate::make::xattrs;
use crate::name::shown_path;
use crate::{Artifact, CancelToken, Description, Error, Image, Listing, ReadOptions};

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

/// An image file, EROFS or squashfs, by itself or on a disk with the images it refers to.
#[derive(Debug)]
pub struct ImageFile {
    pub(crate) image: FsImage,
    /// Where it and the images it refers to lie, if that is not the file as it is.
    pub(crate) places: Vec<Place>,
    /// `erofs` or `squashfs` for an image, `vmdk` or `gpt` for a disk.
    format: &'static str,
    size: u64,
}

/// What [`Subject::verify`] looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The name that was verified.
    pub name: String,
    /// Entries of all layers, or inodes of an artifact.
    pub entries: u64,
    /// Bytes whose digests or structure were checked: tar bytes of an image, the size of an artifact.
    pub bytes: u64,
    /// Whether file data was checked too: of an image by its digests, of an artifact by a recorded digest or a hash
    /// tree. Data in an uncompressed image has nothing else to be checked by.
    pub data: bool,
    /// Files of an image with an extended attribute that no Linux filesystem holds, by its name: it is sound, but can be
    /// built only without them ([`BuildOptions::drop_xattrs`](crate::BuildOptions)).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unusable_xattrs: BTreeMap<String, u64>,
}

impl Subject {
    /// Opens an image by its source name or an artifact by its path.
    ///
    /// # Errors
    /// As [`Image::open`]; [`OpenError::Input`](crate::OpenError::Input) and [`ArtifactError::UnknownArtifact`](crate::ArtifactError::UnknownArtifact) for a path that is no artifact, and what is
    /// wrong with one that is.
    pub fn open(name: impl AsRef<OsStr>, options: &ReadOptions) -> Result<Self, Error> {
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
                Ok(Self::File(ImageFile::open(path, kind, &options.cancel)?))
            }
            PathKind::Unreadable(why) if path.symlink_metadata().is_ok() => {
                Err(Error::input(path, why.into()))
            }
            PathKind::Text | PathKind::Other => Err(Error::from(ArtifactError::UnknownArtifact {
                path: path.to_path_buf(),
            })),
            // A path that needs a transport is refused with it.
            _ => Ok(Self::Image(Image::open(name, options)?)),
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
    pub fn list(&self, options: &ReadOptions) -> Result<Listing, Error> {
        self.list_all(options).map_err(|e| options.reason(e))
    }

    fn list_all(&self, options: &ReadOptions) -> Result<Listing, Error> {
        match self {
            Self::Image(image) => {
                let options = &xattrs::reading(options, true);
                let decoded = decode(
                    image,
                    &mut Discard,
                    options,
                    &Budgets::new(options),
                    |never| match never {},
                )?;
                let (tree, layers) = decoded.merge(image, options)?;
                Ok(Listing::of_layers(tree, &layers))
            }
            Self::File(file) => file.image.until(&options.cancel)?.tree().map(Listing::new),
            Self::Layers(layers) => layers.tree(options).map(Listing::new),
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
        options: &ReadOptions,
    ) -> Result<Listing, Error> {
        let lazily = || match self {
            Self::Image(image) => match Stack::of(image, &options.cancel)? {
                Some(stack) => stack.list(path, depth, options).map(Some),
                None => Ok(None),
            },
            _ => Ok(None),
        };
        match lazily().map_err(|e| options.reason(e))? {
            Some(part) => Ok(part),
            None => self.list(options),
        }
    }

    /// Checks every byte: digests, sizes, checksums and diff_ids of an image's layers, and that they can be applied;
    /// the whole structure of an artifact, and its data as far as a recorded digest or a hash tree goes.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn verify(&self, options: &ReadOptions) -> Result<VerifyReport, Error> {
        self.verify_all(options).map_err(|e| options.reason(e))
    }

    fn verify_all(&self, options: &ReadOptions) -> Result<VerifyReport, Error> {
        match self {
            Self::Image(image) => {
                let options = &xattrs::reading(options, true);
                let decoded = decode(
                    image,
                    &mut Discard,
                    options,
                    &Budgets::new(options),
                    |never| match never {},
                )?;
                let (_, layers) = decoded.merge(image, options)?;
                let mut unusable_xattrs = BTreeMap::new();
                xattrs::add(&mut unusable_xattrs, &layers);
                Ok(VerifyReport {
                    unusable_xattrs,
                    name: image.name().to_owned(),
                    entries: layers.iter().map(|l| l.entries).sum(),
                    bytes: layers.iter().map(|l| l.tar_bytes).sum(),
                    data: true,
                })
            }
            Self::File(file) => file.verify(options),
            Self::Layers(layers) => layers.verify(options),
        }
    }
}

/// Opens an image file of either filesystem, told by its first bytes, to be read as long as the work goes on.
pub(crate) fn open_image(path: &Path, file: File, cancel: &CancelToken) -> Result<FsImage, Error> {
    let mut magic = [0; 4];
    let kind = match file.read_exact_at(&mut magic, 0) {
        Ok(()) if &magic == b"hsqs" => Kind::Squashfs,
        Ok(()) => Kind::Erofs,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Kind::Erofs,
        Err(e) => return Err(Error::input(path, e)),
    };
    FsImage::open(path, file, kind, cancel)
}

/// Whether a file's name says that it is a filesystem image or a disk.
fn named_as_image(path: &Path) -> bool {
    let known = [
        "erofs", "squashfs", "sqfs", "sqsh", "sfs", "img", "raw", "vmdk", "gpt",
    ];
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| known.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

impl ImageFile {
    fn open(path: &Path, kind: PathKind, cancel: &CancelToken) -> Result<Self, Error> {
        let file = open_artifact(path)?;
        let size = file.metadata().map_err(|e| Error::input(path, e))?.len();
        let disk = match kind {
            PathKind::Vmdk => Some(("vmdk", crate::disk::open_vmdk(path, &file)?)),
            PathKind::Gpt => Some(("gpt", crate::disk::open_gpt(path, &file)?)),
            _ => None,
        };
        if let Some((format, disk)) = disk {
            let image = match disk.devices {
                Some(devices) => FsImage::open_with_devices(path, disk.image, devices, cancel)?,
                None => FsImage::open(path, disk.image, Kind::Erofs, cancel)?,
            };
            return Ok(Self {
                image,
                places: disk.places,
                format,
                size,
            });
        }
        let image = open_image(path, file, cancel)?;
        let format = match image.opened {
            Opened::Erofs(_) => Kind::Erofs.name(),
            Opened::Squashfs(_) => Kind::Squashfs.name(),
        };
        Ok(Self {
            image,
            places: Vec::new(),
            format,
            size,
        })
    }

    /// What its superblock says.
    fn describe(&self) -> Description {
        let name = shown_path(self.path());
        let mut statistics = BTreeMap::new();
        let mut count = |name: &str, value: u64| statistics.insert(name.to_owned(), value);
        match &self.image.opened {
            Opened::Erofs(image) => {
                count("inodes", image.superblock().inodes);
                count("block_size", image.block_size());
                count("devices", image.devices().len() as u64);
            }
            Opened::Squashfs(image) => {
                count("inodes", u64::from(image.superblock().inodes));
                count("block_size", image.block_size());
            }
        }
        Description {
            reference: name.clone(),
            artifacts: vec![Artifact {
                path: name,
                format: self.format.to_owned(),
                size: self.size,
                statistics,
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

    /// The filesystem in it: `erofs` or `squashfs`.
    #[must_use]
    pub fn filesystem(&self) -> &'static str {
        match self.image.opened {
            Opened::Erofs(_) => Kind::Erofs.name(),
            Opened::Squashfs(_) => Kind::Squashfs.name(),
        }
    }

    /// The data of a file; symbolic links on the way are not followed.
    ///
    /// # Errors
    /// [`ArtifactError::NotInImage`](crate::ArtifactError::NotInImage); [`ArtifactError::ReadErofs`](crate::ArtifactError::ReadErofs) or [`ArtifactError::ReadSquashfs`](crate::ArtifactError::ReadSquashfs) for damage and for what is no regular
    /// file.
    pub fn read(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let missing = || {
            Error::from(ArtifactError::NotInImage {
                path: Escaped(path).to_string(),
            })
        };
        Ok(match &self.image.opened {
            Opened::Erofs(image) => {
                let inode = image.lookup(path).map_err(|e| self.image.failed(e))?;
                image
                    .read_to_vec(&inode.ok_or_else(missing)?, u64::MAX)
                    .map_err(|e| self.image.failed(e))?
            }
            Opened::Squashfs(image) => {
                let inode = image.lookup(path).map_err(|e| self.image.failed(e))?;
                image
                    .read_to_vec(&inode.ok_or_else(missing)?, u64::MAX)
                    .map_err(|e| self.image.failed(e))?
            }
        })
    }

    fn verify(&self, options: &ReadOptions) -> Result<VerifyReport, Error> {
        let mut report = self.image.until(&options.cancel)?.verify()?;
        // The layers' trees on a disk are not of the disk.
        if !self.places.is_empty() {
            return Ok(report);
        }
        if let Some(sidecar) = read_sidecar(self.path())? {
            let file = open_artifact(self.path())?;
            verify_tree(self.path(), &file, &sidecar, options)?;
            report.data = true;
        }
        Ok(report)
    }
}

impl FsImage {
    /// Checks the structure, and data where the filesystem has something to check it by.
    pub(crate) fn verify(&self) -> Result<VerifyReport, Error> {
        let name = shown_path(&self.path);
        match &self.opened {
            Opened::Erofs(image) => {
                let found = image.verify_data().map_err(|e| self.failed(e))?;
                damaged(&self.path, &found.problems, found.more_problems)?;
                Ok(VerifyReport {
                    name,
                    entries: found.inodes,
                    bytes: image.size(),
                    ..VerifyReport::default()
                })
            }
            Opened::Squashfs(image) => {
                let found = image.verify().map_err(|e| self.failed(e))?;
                damaged(&self.path, &found.problems, found.more_problems)?;
                Ok(VerifyReport {
                    name,
                    entries: found.inodes,
                    bytes: image.size(),
                    ..VerifyReport::default()
                })
            }
        }
    }
}

/// The first of some problems as an error.
pub(crate) fn damaged<P: ToString>(path: &Path, problems: &[P], more: u64) -> Result<(), Error> {
    match problems.first() {
        None => Ok(()),
        Some(first) => Err(Error::from(ArtifactError::Damaged {
            path: path.to_path_buf(),
            first: first.to_string(),
            more: problems.len() as u64 - 1 + more,
        })),
    }
}

/// Checks an image file against its hash tree.
pub(crate) fn verify_tree(
    path: &Path,
    file: &File,
    sidecar: &lithify_verity::Sidecar,
    options: &ReadOptions,
) -> Result<(), Error> {
    let verify = lithify_verity::VerifyOptions {
        root: Some(sidecar.root),
        threads: options.threads(),
    };
    let image = Checked::new(file, &options.cancel);
    lithify_verity::verify(&image, sidecar.hash_offset, &verify).map_err(|e| {
        Error::from(ArtifactError::Verity {
            path: path.to_path_buf(),
            source: Box::new(e),
        })
    })?;
    Ok(())
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

/// Opens what a user names as an artifact, without waiting for the other end of a pipe.
fn open_artifact(path: &Path) -> Result<File, Error> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = path.metadata().map_err(|e| Error::input(path, e))?;
    if kind.is_dir() || kind.file_type().is_block_device() {
        return File::open(path).map_err(|e| Error::input(path, e));
    }
    open_regular(path).map_err(|e| Error::input(path, e.into()))
}
