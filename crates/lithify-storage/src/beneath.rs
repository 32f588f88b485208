//! Files of a directory that somebody else filled.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use lithify_escape::Escaped;

/// A directory held open, of which only what is really inside is opened: regular files, on a way that no symbolic link
/// and no `..` is part of.
///
/// The path it is opened by is its user's and may lead through links. What is inside came with the directory: a link
/// there would have some file of this host read in the name of an image, a pipe would wait for ever, a device might do
/// something by being opened. None of them is: the type is known before the file is opened, and looked at again after.
///
/// Linux walks below the directory itself (`openat2(2)`, since 5.6); elsewhere the components are walked one by one.
///
/// ```
/// use lithify_storage::{Beneath, BeneathError};
///
/// # let directory = tempfile::tempdir()?;
/// # std::fs::write(directory.path().join("image.json"), "{}")?;
/// # #[cfg(unix)]
/// std::os::unix::fs::symlink("/etc/hostname", directory.path().join("name"))?;
/// let directory = Beneath::open(directory.path())?;
/// assert_eq!(directory.read("image.json", 1 << 20)?, b"{}");
/// # #[cfg(unix)]
/// assert!(matches!(directory.file("name"), Err(BeneathError::Link { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Beneath {
    path: PathBuf,
    #[cfg(unix)]
    handle: rustix::fd::OwnedFd,
}

/// Why a file of a directory is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeneathError {
    /// A symbolic link: the file, or a directory on the way to it.
    #[error(
        "`{}` is a symbolic link, and none inside a directory is followed: put in its place what it leads to",
        Escaped::path(.at)
    )]
    Link {
        /// Where, relative to the directory.
        at: PathBuf,
    },
    /// A directory, pipe, socket or device.
    #[error("`{}` is not a regular file", Escaped::path(.at))]
    NotRegular {
        /// Where, relative to the directory.
        at: PathBuf,
    },
    /// A file where a directory should be.
    #[error("`{}` is not a directory", Escaped::path(.at))]
    NotDirectory {
        /// Where, relative to the directory.
        at: PathBuf,
    },
    /// A name that is absolute, empty or has `..` in it.
    #[error("`{}` does not name anything below the directory", Escaped::path(.name))]
    Outside {
        /// The name.
        name: PathBuf,
    },
    /// A file longer than whatever it should be.
    #[error("it has more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The system said so.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a name in a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listed {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, pipe, socket or device.
    Other,
}

impl BeneathError {
    /// Whether the file, or a directory on the way to it, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(e) if e.kind() == io::ErrorKind::NotFound)
    }
}

impl From<BeneathError> for io::Error {
    fn from(error: BeneathError) -> Self {
        let kind = match error {
            BeneathError::Io(e) => return e,
            BeneathError::NotDirectory { .. } => io::ErrorKind::NotADirectory,
            BeneathError::TooLong { .. } => io::ErrorKind::FileTooLarge,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

impl Beneath {
    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`BeneathError`].
    pub fn read(&self, name: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, BeneathError> {
        read_limited(self.file(name)?, limit)
    }
}

/// All bytes of a file that has at most `limit`, whatever it says its length is.
fn read_limited(file: File, limit: u64) -> Result<Vec<u8>, BeneathError> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(BeneathError::TooLong { limit }),
    }
}

/// Reads a file a user named, of at most `limit` bytes: the path may lead through symbolic links, but must end at a
/// regular file; neither a pipe nor a device is waited for.
///
/// # Errors
/// [`BeneathError`].
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, BeneathError> {
    read_limited(open_regular(path)?, limit)
}

/// The components of a name below a directory, and the last one.
fn components(name: &Path) -> Result<(Vec<&std::ffi::OsStr>, &std::ffi::OsStr), BeneathError> {
    let outside = || BeneathError::Outside {
        name: name.to_path_buf(),
    };
    let mut way = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => way.push(part),
            Component::CurDir => {}
            _ => return Err(outside()),
        }
    }
    let last = way.pop().ok_or_else(outside)?;
    Ok((way, last))
}

#[cfg(unix)]
mod imp {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt as _;

    use rustix::fd::{AsFd as _, OwnedFd};
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};
    use rustix::io::{Errno, retry_on_intr};

    use super::{Beneath, BeneathError, File, Listed, Path, PathBuf, components, io};

    const DIRECTORY: OFlags = OFlags::RDONLY
        .union(OFlags::DIRECTORY)
        .union(OFlags::CLOEXEC);

    /// Opening never waits for the other end of a pipe, and makes no terminal ours.
    const FILE: OFlags = OFlags::RDONLY
        .union(OFlags::NONBLOCK)
        .union(OFlags::NOCTTY)
        .union(OFlags::CLOEXEC);

    impl Beneath {
        /// Opens a directory, by a path that may lead through symbolic links.
        ///
        /// # Errors
        /// What the system says.
        pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
            let path = path.as_ref();
            let handle = retry_on_intr(|| openat(CWD, path, DIRECTORY, Mode::empty()))?;
            Ok(Self {
                path: path.to_path_buf(),
                handle,
            })
        }

        /// Opens a regular file, for reading.
        ///
        /// # Errors
        /// [`BeneathError`].
        pub fn file(&self, name: impl AsRef<Path>) -> Result<File, BeneathError> {
            let name = name.as_ref();
            let (way, last) = components(name)?;
            let walked;
            let directory = match way.is_empty() {
                true => self.handle.as_fd(),
                false => {
                    walked = self.walk(&way)?;
                    walked.as_fd()
                }
            };
            let at = || name.to_path_buf();
            let named = retry_on_intr(|| statat(directory, last, AtFlags::SYMLINK_NOFOLLOW));
            regular(named.map_err(io::Error::from)?.st_mode, at)?;
            let flags = FILE | OFlags::NOFOLLOW;
            let file = match retry_on_intr(|| openat(directory, last, flags, Mode::empty())) {
                // Put there between the look and the opening.
                Err(Errno::LOOP | Errno::MLINK) => return Err(BeneathError::Link { at: at() }),
                opened => opened.map_err(io::Error::from)?,
            };
            regular(fstat(&file).map_err(io::Error::from)?.st_mode, at)?;
            Ok(file.into())
        }

        /// Opens a directory inside.
        ///
        /// # Errors
        /// [`BeneathError`].
        pub fn directory(&self, name: impl AsRef<Path>) -> Result<Self, BeneathError> {
            let name = name.as_ref();
            let (mut way, last) = components(name)?;
            way.push(last);
            Ok(Self {
                path: self.path.join(name),
                handle: self.walk(&way)?,
            })
        }

        /// The names in it, sorted, with what they are.
        ///
        /// # Errors
        /// What the system says.
        pub fn list(&self) -> io::Result<Vec<(OsString, Listed)>> {
            let mut names = Vec::new();
            for item in rustix::fs::Dir::read_from(&self.handle)? {
                let item = item?;
                let name = item.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                let kind = match item.file_type() {
                    FileType::Unknown => {
                        let flags = AtFlags::SYMLINK_NOFOLLOW;
                        FileType::from_raw_mode(
                            statat(&self.handle, item.file_name(), flags)?.st_mode,
                        )
                    }
                    kind => kind,
                };
                let listed = match kind {
                    FileType::RegularFile => Listed::File,
                    FileType::Directory => Listed::Directory,
                    _ => Listed::Other,
                };
                names.push((OsStr::from_bytes(name).to_os_string(), listed));
            }
            names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Ok(names)
        }

        /// The directory's descriptor.
        #[must_use]
        pub fn into_handle(self) -> OwnedFd {
            self.handle
        }

        /// The directory's descriptor.
        #[must_use]
        pub fn handle(&self) -> rustix::fd::BorrowedFd<'_> {
            self.handle.as_fd()
        }

        fn walk(&self, way: &[&OsStr]) -> Result<OwnedFd, BeneathError> {
            #[cfg(target_os = "linux")]
            if let Some(found) = self.walk_at_once(way)? {
                return Ok(found);
            }
            self.walk_by_hand(way)
        }

        /// Goes down in one call; `None` where that cannot be, or where something is in the way that has to be found
        /// to be named.
        #[cfg(target_os = "linux")]
        fn walk_at_once(&self, way: &[&OsStr]) -> Result<Option<OwnedFd>, BeneathError> {
            use rustix::fs::{ResolveFlags, openat2};
            let path: PathBuf = way.iter().collect();
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let opened =
                retry_on_intr(|| openat2(&self.handle, &path, DIRECTORY, Mode::empty(), resolve));
            match opened {
                Ok(found) => Ok(Some(found)),
                Err(e @ (Errno::NOENT | Errno::ACCESS)) => Err(io::Error::from(e).into()),
                // Before Linux 5.6, or a sandbox that does not know the call; else a link or a file on the way.
                Err(_) => Ok(None),
            }
        }

        fn walk_by_hand(&self, way: &[&OsStr]) -> Result<OwnedFd, BeneathError> {
            let mut at = PathBuf::new();
            let mut directory = None::<OwnedFd>;
            for part in way {
                at.push(part);
                let above = directory.as_ref().unwrap_or(&self.handle);
                let flags = DIRECTORY | OFlags::NOFOLLOW;
                let next = match retry_on_intr(|| openat(above, *part, flags, Mode::empty())) {
                    Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => {
                        return Err(not_a_directory(above, part, at));
                    }
                    opened => opened.map_err(io::Error::from)?,
                };
                directory = Some(next);
            }
            Ok(directory.map_or_else(|| self.handle.try_clone(), Ok)?)
        }

        #[cfg(test)]
        pub(super) fn file_by_hand(&self, name: &str) -> Result<File, BeneathError> {
            let (way, last) = components(Path::new(name))?;
            let directory = Self {
                path: self.path.clone(),
                handle: self.walk_by_hand(&way)?,
            };
            directory.file(last)
        }
    }

    /// The error for what stands where a directory should.
    fn not_a_directory(above: &OwnedFd, name: &OsStr, at: PathBuf) -> BeneathError {
        let is_link = statat(above, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode as _) == FileType::Symlink);
        match is_link {
            true => BeneathError::Link { at },
            false => BeneathError::NotDirectory { at },
        }
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the field's type differs between systems"
    )]
    fn regular(mode: impl Into<u32>, at: impl Fn() -> PathBuf) -> Result<(), BeneathError> {
        match FileType::from_raw_mode(mode.into() as _) {
            FileType::RegularFile => Ok(()),
            FileType::Symlink => Err(BeneathError::Link { at: at() }),
            _ => Err(BeneathError::NotRegular { at: at() }),
        }
    }

    /// Opens a regular file a user named, for reading: the path may lead through symbolic links.
    ///
    /// # Errors
    /// [`BeneathError`].
    pub fn open_regular(path: &Path) -> Result<File, BeneathError> {
        let at = || path.to_path_buf();
        // Not even opened, if it is something else.
        let named = retry_on_intr(|| rustix::fs::stat(path)).map_err(io::Error::from)?;
        regular(named.st_mode, at)?;
        let opened = retry_on_intr(|| openat(CWD, path, FILE, Mode::empty()));
        let file = opened.map_err(io::Error::from)?;
        regular(fstat(&file).map_err(io::Error::from)?.st_mode, at)?;
        Ok(file.into())
    }
}

#[cfg(not(unix))]
mod imp {
    use super::{Beneath, BeneathError, File, Listed, Path, PathBuf, components, io};

    // Without descriptors of directories there is a moment between the look and the opening.
    impl Beneath {
        /// Opens a directory, by a path that may lead through symbolic links.
        ///
        /// # Errors
        /// What the system says.
        pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
            let path = path.as_ref().to_path_buf();
            match path.metadata()?.is_dir() {
                true => Ok(Self { path }),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }

        /// Opens a regular file, for reading.
        ///
        /// # Errors
        /// [`BeneathError`].
        pub fn file(&self, name: impl AsRef<Path>) -> Result<File, BeneathError> {
            let name = name.as_ref();
            let (way, last) = components(name)?;
            let path = self.walk(&way)?.join(last);
            let at = || name.to_path_buf();
            match path.symlink_metadata()? {
                named if named.is_symlink() => Err(BeneathError::Link { at: at() }),
                named if !named.is_file() => Err(BeneathError::NotRegular { at: at() }),
                _ => Ok(File::open(path)?),
            }
        }

        /// Opens a directory inside.
        ///
        /// # Errors
        /// [`BeneathError`].
        pub fn directory(&self, name: impl AsRef<Path>) -> Result<Self, BeneathError> {
            let (mut way, last) = components(name.as_ref())?;
            way.push(last);
            let path = self.walk(&way)?;
            Ok(Self { path })
        }

        /// The names in it, sorted, with what they are.
        ///
        /// # Errors
        /// What the system says.
        pub fn list(&self) -> io::Result<Vec<(std::ffi::OsString, Listed)>> {
            let mut names = Vec::new();
            for item in std::fs::read_dir(&self.path)? {
                let item = item?;
                let listed = match item.file_type()? {
                    kind if kind.is_file() => Listed::File,
                    kind if kind.is_dir() => Listed::Directory,
                    _ => Listed::Other,
                };
                names.push((item.file_name(), listed));
            }
            names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Ok(names)
        }

        fn walk(&self, way: &[&std::ffi::OsStr]) -> Result<PathBuf, BeneathError> {
            let (mut at, mut path) = (PathBuf::new(), self.path.clone());
            for part in way {
                at.push(part);
                path.push(part);
                match path.symlink_metadata()? {
                    named if named.is_symlink() => return Err(BeneathError::Link { at }),
                    named if !named.is_dir() => return Err(BeneathError::NotDirectory { at }),
                    _ => {}
                }
            }
            Ok(path)
        }
    }

    /// Opens a regular file a user named, for reading: the path may lead through symbolic links.
    ///
    /// # Errors
    /// [`BeneathError`].
    pub fn open_regular(path: &Path) -> Result<File, BeneathError> {
        match path.metadata()?.is_file() {
            true => Ok(File::open(path)?),
            false => Err(BeneathError::NotRegular {
                at: path.to_path_buf(),
            }),
        }
    }
}

pub use imp::open_regular;

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    type Opened = Result<File, BeneathError>;

    /// Asserts something of every way a file is opened.
    fn each(directory: &Beneath, name: &str, is_right: impl Fn(&Opened) -> bool) {
        for opened in [directory.file(name), directory.file_by_hand(name)] {
            assert!(is_right(&opened), "{name}: {opened:?}");
        }
    }

    #[test]
    fn only_regular_files_on_a_way_without_links_are_opened() {
        let tmp = tempfile::tempdir().unwrap();
        let inside = tmp.path().join("inside");
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir_all(tmp.path().join("outside")).unwrap();
        fs::write(tmp.path().join("outside/file"), "secret").unwrap();
        fs::write(inside.join("file"), "x").unwrap();
        fs::write(inside.join("a/b/file"), "x").unwrap();
        symlink("../outside/file", inside.join("link")).unwrap();
        symlink("file", inside.join("harmless")).unwrap();
        symlink("../../../outside", inside.join("a/b/dir")).unwrap();
        symlink("/dev/zero", inside.join("zero")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        let fifo = inside.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(inside.join("socket")).unwrap();
        // A user's own path may be a link.
        symlink("inside", tmp.path().join("typed")).unwrap();
        let directory = Beneath::open(tmp.path().join("typed")).unwrap();

        for name in ["file", "a/b/file", "./a/./b/file"] {
            each(&directory, name, Result::is_ok);
        }
        for name in ["link", "harmless", "zero", "a/b/dir"] {
            each(
                &directory,
                name,
                |o| matches!(o, Err(BeneathError::Link { at }) if Path::new(name).ends_with(at)),
            );
        }
        each(
            &directory,
            "a/b/dir/file",
            |o| matches!(o, Err(BeneathError::Link { at }) if at == Path::new("a/b/dir")),
        );
        for name in ["fifo", "socket", "a"] {
            each(&directory, name, |o| {
                matches!(o, Err(BeneathError::NotRegular { .. }))
            });
        }
        for name in ["", ".", "..", "../outside/file", "a/../file", "/etc/passwd"] {
            each(&directory, name, |o| {
                matches!(o, Err(BeneathError::Outside { .. }))
            });
        }
        each(&directory, "file/x", |o| {
            matches!(o, Err(BeneathError::NotDirectory { .. }))
        });
        for name in ["no", "a/no", "no/no"] {
            each(&directory, name, |o| {
                o.as_ref().is_err_and(BeneathError::is_not_found)
            });
        }
        assert!(matches!(
            directory.directory("a/b/dir"),
            Err(BeneathError::Link { .. })
        ));
        assert!(directory.directory("a/b").unwrap().file("file").is_ok());
        let below = directory.directory("a/b").unwrap().list().unwrap();
        assert_eq!(
            below,
            [("dir".into(), Listed::Other), ("file".into(), Listed::File)]
        );
        assert_eq!(
            directory.list().unwrap()[0],
            ("a".into(), Listed::Directory)
        );
    }

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("file"), "four").unwrap();
        let directory = Beneath::open(tmp.path()).unwrap();
        assert_eq!(directory.read("file", 4).unwrap(), b"four");
        assert!(matches!(
            directory.read("file", 3),
            Err(BeneathError::TooLong { limit: 3 })
        ));
        assert!(matches!(
            read_regular(Path::new("/dev/zero"), 4),
            Err(BeneathError::NotRegular { .. })
        ));
        symlink("file", tmp.path().join("link")).unwrap();
        assert_eq!(read_regular(&tmp.path().join("link"), 4).unwrap(), b"four");
    }
}
