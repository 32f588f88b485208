//! A layout in a directory.

use std::path::{Path, PathBuf};

use super::{Error, Member, Members};
use crate::blob::{self, Blob, BlobName};

/// An opened layout directory. The directory is held open, so renaming it does not matter.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    #[cfg(unix)]
    handle: std::os::fd::OwnedFd,
}

impl Directory {
    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn missing_or(name: BlobName, source: std::io::Error) -> Result<Option<Blob>, blob::Error> {
        match source.kind() {
            std::io::ErrorKind::NotFound => Ok(None),
            _ => Err(blob::Error::Io { name, source }),
        }
    }

    fn regular(file: std::fs::File, name: BlobName) -> Result<Option<Blob>, blob::Error> {
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(Blob::of_file(file, metadata.len()))),
            Ok(_) => Err(blob::Error::NotRegular { name }),
            Err(source) => Err(blob::Error::Io { name, source }),
        }
    }
}

fn name_of(member: Member<'_>) -> BlobName {
    match member {
        Member::OciLayout => BlobName::OciLayout,
        Member::IndexJson => BlobName::IndexJson,
        Member::Blob(_) => BlobName::Path(member.path()),
    }
}

#[cfg(unix)]
mod imp {
    use std::fs::File;

    use rustix::fs::{Mode, OFlags, openat};
    use rustix::io::Errno;

    use super::{Blob, Directory, Error, Member, Members, Path, blob, name_of};

    impl Directory {
        /// Opens the directory `path`.
        ///
        /// # Errors
        /// [`Error::Io`], [`Error::NotADirectory`].
        pub fn open(path: &Path) -> Result<Self, Error> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(handle) => Ok(Self {
                    path: path.to_owned(),
                    handle,
                }),
                Err(Errno::NOTDIR) if !path.is_dir() && path.exists() => {
                    Err(Error::NotADirectory {
                        path: path.to_owned(),
                    })
                }
                Err(errno) => Err(Error::Io {
                    action: "open the directory",
                    path: path.to_owned(),
                    source: errno.into(),
                }),
            }
        }
    }

    impl Members for Directory {
        fn open(&self, member: Member<'_>) -> Result<Option<Blob>, blob::Error> {
            let name = name_of(member);
            // NOFOLLOW: the last component is the image's, and must be the content itself.
            // NONBLOCK: opening a FIFO must not wait for a writer, nor a device do anything.
            let flags = OFlags::RDONLY
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::NOCTTY
                | OFlags::CLOEXEC;
            match openat(&self.handle, member.path(), flags, Mode::empty()) {
                Ok(file) => Self::regular(File::from(file), name),
                // LOOP: a symbolic link. NXIO: a socket. Both stand where a file should.
                Err(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::OPNOTSUPP) => {
                    Err(blob::Error::NotRegular { name })
                }
                Err(errno) => Self::missing_or(name, errno.into()),
            }
        }

        fn other_kind(&self) -> &'static str {
            let there = |name: &str| {
                rustix::fs::accessat(
                    &self.handle,
                    name,
                    rustix::fs::Access::EXISTS,
                    rustix::fs::AtFlags::empty(),
                )
                .is_ok()
            };
            super::other_kind(&there)
        }
    }
}

#[cfg(not(unix))]
mod imp {
    use std::fs::File;

    use super::{Blob, Directory, Error, Member, Members, Path, blob, name_of};

    impl Directory {
        /// Opens the directory `path`.
        ///
        /// # Errors
        /// [`Error::Io`], [`Error::NotADirectory`].
        pub fn open(path: &Path) -> Result<Self, Error> {
            match path.metadata() {
                Ok(metadata) if metadata.is_dir() => Ok(Self {
                    path: path.to_owned(),
                }),
                Ok(_) => Err(Error::NotADirectory {
                    path: path.to_owned(),
                }),
                Err(source) => Err(Error::Io {
                    action: "open the directory",
                    path: path.to_owned(),
                    source,
                }),
            }
        }
    }

    impl Members for Directory {
        // Without O_NOFOLLOW there is a moment between the look and the open; what is read
        // through a link swapped in there still has to match its digest.
        fn open(&self, member: Member<'_>) -> Result<Option<Blob>, blob::Error> {
            let name = name_of(member);
            let path = self.path.join(member.path());
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_file() => match File::open(path) {
                    Ok(file) => Self::regular(file, name),
                    Err(source) => Self::missing_or(name, source),
                },
                Ok(_) => Err(blob::Error::NotRegular { name }),
                Err(source) => Self::missing_or(name, source),
            }
        }

        fn other_kind(&self) -> &'static str {
            super::other_kind(&|name| self.path.join(name).exists())
        }
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
