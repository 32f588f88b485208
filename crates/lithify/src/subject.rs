//! What `ls`, `verify` and `mount` take: an image, or an artifact made of one.

use std::fs::File;
use std::path::{Path, PathBuf};

use lithify_tree::{Escaped, LayerEntries, Merge, Tree};
use serde::Serialize;

use crate::decode::{Discard, decode};
use crate::{Error, Image, Listing, ReadOptions};

/// An image or an artifact.
#[derive(Debug)]
#[non_exhaustive]
pub enum Subject {
    /// An image source.
    Image(Image),
    /// An EROFS image file.
    Erofs(ErofsFile),
}

/// An EROFS image file.
#[derive(Debug)]
pub struct ErofsFile {
    path: PathBuf,
    image: lithify_erofs::Image<File>,
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
}

impl Subject {
    /// Opens an image by its source name or an artifact by its path.
    ///
    /// # Errors
    /// As [`Image::open`]; [`Error::Input`] and [`Error::UnknownArtifact`] for a path that is no artifact.
    pub fn open(name: &str, options: &ReadOptions) -> Result<Self, Error> {
        let path = Path::new(name);
        if has_transport(name) || !path.exists() {
            return Ok(Self::Image(Image::open(name, options)?));
        }
        let file = File::open(path).map_err(|e| Error::input(path, e))?;
        let metadata = file.metadata().map_err(|e| Error::input(path, e))?;
        if metadata.is_dir() {
            return Err(Error::UnknownArtifact {
                path: path.to_path_buf(),
            });
        }
        let image = lithify_erofs::Image::open(file)?;
        Ok(Self::Erofs(ErofsFile {
            path: path.to_path_buf(),
            image,
        }))
    }

    /// The names and metadata.
    ///
    /// # Errors
    /// Whatever is wrong with the image; its layers are decoded and verified for this.
    pub fn list(&self, options: &ReadOptions) -> Result<Listing, Error> {
        match self {
            Self::Image(image) => {
                let decoded = decode(image, &mut Discard, options, |never| match never {})?;
                Ok(Listing::new(decoded.merge(image, options)?.0))
            }
            Self::Erofs(file) => file.tree().map(Listing::new),
        }
    }

    /// Checks every byte: digests, sizes, checksums and diff_ids of an image's layers, and that they can be applied;
    /// the whole structure of an artifact.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn verify(&self, options: &ReadOptions) -> Result<VerifyReport, Error> {
        match self {
            Self::Image(image) => {
                let decoded = decode(image, &mut Discard, options, |never| match never {})?;
                let (_, layers) = decoded.merge(image, options)?;
                Ok(VerifyReport {
                    name: image.name().to_owned(),
                    entries: layers.iter().map(|l| l.entries).sum(),
                    bytes: layers.iter().map(|l| l.tar_bytes).sum(),
                })
            }
            Self::Erofs(file) => {
                let found = file.image.verify()?;
                if let Some(problem) = found.problems.first() {
                    let more = found.problems.len() as u64 - 1 + found.more_problems;
                    return Err(Error::Damaged {
                        path: file.path.clone(),
                        first: problem.to_string(),
                        more,
                    });
                }
                Ok(VerifyReport {
                    name: file.path.to_string_lossy().into_owned(),
                    entries: found.inodes,
                    bytes: file.image.size(),
                })
            }
        }
    }
}

impl ErofsFile {
    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The data of a file; symbolic links on the way are not followed.
    ///
    /// # Errors
    /// [`Error::NotInImage`]; [`Error::ReadErofs`] for damage and for what is no regular file.
    pub fn read(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let inode = self.image.lookup(path)?.ok_or_else(|| Error::NotInImage {
            path: Escaped(path).to_string(),
        })?;
        Ok(self.image.read_to_vec(&inode, u64::MAX)?)
    }

    /// The names and metadata as a tree.
    fn tree(&self) -> Result<Tree, Error> {
        let mut layer = LayerEntries::new();
        for entry in self.image.entries() {
            let (entry, _) = entry?;
            layer
                .push(&entry, None)
                .map_err(|source| Error::LayerFull { index: 0, source })?;
        }
        let mut merge = Merge::new();
        let name = self.path.to_string_lossy();
        merge.apply(layer).map_err(|source| Error::Merge {
            index: 0,
            name: name.into_owned(),
            source,
        })?;
        Ok(merge.finish())
    }

    /// The reader, for looking up and reading files.
    #[must_use]
    pub fn image(&self) -> &lithify_erofs::Image<File> {
        &self.image
    }
}

/// Whether a name says how it is to be opened. A path such as `./oci:x` does not.
fn has_transport(name: &str) -> bool {
    name.split_once(':').is_some_and(|(transport, _)| {
        matches!(
            transport,
            "oci"
                | "oci-archive"
                | "docker-archive"
                | "docker-daemon"
                | "docker"
                | "rootfs"
                | "tar"
        )
    })
}
