//! A layout in a directory.

use std::io;
use std::path::Path;

use lithify_storage::{Beneath, BeneathError};

use super::{Error, Member, Members};
use crate::blob::{self, Blob, BlobName};

/// An opened layout directory. The directory is held open, so renaming it does not matter.
#[derive(Debug)]
pub struct Directory(Beneath);

impl Directory {
    /// Opens the directory `path`. The path itself may lead through symbolic links; nothing inside is read through one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotADirectory`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        match Beneath::open(path) {
            Ok(directory) => Ok(Self(directory)),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory && path.exists() => {
                Err(Error::NotADirectory {
                    path: path.to_owned(),
                })
            }
            Err(source) => Err(Error::Io {
                action: "open the directory",
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// A layout in a directory that is held.
    pub(super) fn held(directory: Beneath) -> Self {
        Self(directory)
    }

    /// The directory that is held.
    pub(super) fn beneath(&self) -> &Beneath {
        &self.0
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Members for Directory {
    fn open(&self, member: Member<'_>) -> Result<Option<Blob>, blob::Error> {
        let name = match member {
            Member::OciLayout => BlobName::OciLayout,
            Member::IndexJson => BlobName::IndexJson,
            Member::Blob(_) => BlobName::Path(member.path()),
        };
        let file = match self.0.file(member.path()) {
            Ok(file) => file,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(refused(name, Path::new(&member.path()), e)),
        };
        match file.metadata() {
            Ok(metadata) => Ok(Some(Blob::of_file(file, metadata.len()))),
            Err(source) => Err(blob::Error::Io { name, source }),
        }
    }

    fn other_kind(&self) -> &'static str {
        other_kind(&|name| self.0.path().join(name).exists())
    }
}

fn refused(name: BlobName, path: &Path, error: BeneathError) -> blob::Error {
    match error {
        BeneathError::Io(source) => blob::Error::Io { name, source },
        // A directory on the way to it.
        BeneathError::Link { at } if at != path => blob::Error::LinkedDirectory {
            name,
            directory: at,
        },
        _ => blob::Error::NotRegular { name },
    }
}

/// What a directory without `oci-layout` seems to be.
fn other_kind(there: &dyn Fn(&str) -> bool) -> &'static str {
    if there("manifest.json") && there("version") {
        "; this seems to be skopeo's `dir:` format, convert it with `skopeo copy dir:X oci:Y`"
    } else if there("manifest.json") {
        "; this seems to be an unpacked `docker save`, use docker-archive: on the archive itself"
    } else if there("rootfs") && there("config.json") {
        "; this seems to be a runtime bundle, use rootfs:DIR/rootfs"
    } else if there("usr") || there("etc") || there("bin") {
        "; this seems to be a file tree, use rootfs:DIR"
    } else {
        ""
    }
}
