//! Files that appear under their name complete or not at all, in a directory that is held open.
//!
//! On Linux a file under construction has no name: it is opened with `O_TMPFILE` and linked when it is done, so that not
//! even `SIGKILL` or a power cut leaves one. Where the filesystem cannot do that, and for the moment in which it takes
//! another's place, it has a temporary name nobody can guess.
//!
//! Whatever has a temporary name is locked (`flock`) as long as the process that made it lives; the kernel drops the lock
//! with the process, however it ends. So what is old and not locked was left, whatever container or machine state its
//! maker came from.

use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, linkat, openat,
    renameat, renameat_with, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::{Beneath, Listed};

/// How old something must be to be taken for left: it is locked only after it is made, and a hard link of another file is
/// not locked at all while it waits for its name.
pub const LEFT_AFTER: Duration = Duration::from_secs(60);

const PREFIX: &str = ".lithify-";
const SUFFIX: &str = ".tmp";

/// Permissions before the umask.
const MODE: Mode = Mode::from_raw_mode(0o666);

/// A temporary name nobody has and nobody can guess.
#[must_use]
pub fn temporary_name() -> OsString {
    // Keys the system gave the process, changed with every call.
    let number = RandomState::new().build_hasher().finish();
    OsString::from(format!("{PREFIX}{number:016x}{SUFFIX}"))
}

/// Whether a name is one of [`temporary_name`], or of those made of the numbers of a process.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    let numbers = name
        .to_str()
        .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    numbers.is_some_and(|numbers| {
        let parts: Vec<&str> = numbers.split('-').collect();
        let is_number =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
        matches!(parts.len(), 1..=3) && parts.iter().all(is_number)
    })
}

/// Locks a file or directory under a temporary name, until it is closed.
pub fn claim(file: impl AsFd) {
    // Filesystems without locks only keep what killed processes leave.
    flock(file, FlockOperation::NonBlockingLockShared).ok();
}

/// Whether a process that lives has claimed a file or directory; if none has, nobody can until this one is closed.
pub fn is_claimed(file: impl AsFd) -> bool {
    // Where there are no locks, nothing is ever claimed.
    flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// Removes what processes that are gone left under temporary names in a directory. Nothing depends on it: what cannot be
/// removed stays.
pub fn remove_left(directory: &Path) {
    if let Ok(directory) = Beneath::open(directory) {
        remove_left_in(&directory);
    }
}

/// As [`remove_left`], in a directory that is held.
pub fn remove_left_in(directory: &Beneath) {
    remove_left_where(directory, is_temporary);
}

/// As [`remove_left_in`], for names that `is_ours` knows.
pub fn remove_left_where(directory: &Beneath, is_ours: impl Fn(&OsStr) -> bool) {
    for (name, listed) in directory.list().unwrap_or_default() {
        if is_ours(&name) {
            // As above.
            remove(directory, &name, listed).ok();
        }
    }
}

fn remove(directory: &Beneath, name: &OsStr, listed: Listed) -> io::Result<()> {
    let opened = match listed {
        Listed::Directory => directory.directory(name)?.into_handle().into(),
        Listed::File => directory.file(name)?,
        _ => return Ok(()),
    };
    let metadata = opened.metadata()?;
    let mut changed = metadata.modified()?;
    if metadata.is_file() && metadata.nlink() > 1 {
        // A link of a file of the store has that file's time; when it was made says the time of the last change.
        let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
        changed = changed.max(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    }
    if !changed.elapsed().is_ok_and(|age| age >= LEFT_AFTER)
        || flock(&opened, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        return Ok(());
    }
    match metadata.is_dir() {
        true => std::fs::remove_dir_all(directory.path().join(name)),
        false => Ok(unlinkat(directory.handle(), name, AtFlags::empty())?),
    }
}

/// A file under construction. Dropped, it is gone.
#[derive(Debug)]
pub struct NewFile {
    file: Arc<File>,
    /// Where it is made and gets its name.
    directory: OwnedFd,
    /// The temporary name, if it has one.
    name: Option<OsString>,
}

impl NewFile {
    /// Starts a file in a directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(directory: impl AsFd) -> io::Result<Self> {
        let directory = directory.as_fd().try_clone_to_owned()?;
        let (file, name) = match open_unnamed(directory.as_fd())? {
            Some(file) => (file, None),
            None => {
                let (file, name) = open_named(directory.as_fd())?;
                (file, Some(name))
            }
        };
        if name.is_some() {
            claim(&file);
        }
        Ok(Self {
            file: Arc::new(file),
            directory,
            name,
        })
    }

    /// The file, to be written at any offset.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Ends the writing: what is written through any other descriptor of the file is written all the same, but this one is
    /// for reading alone, as fs-verity wants it.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_only(mut self) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = match &self.name {
            Some(name) => {
                let flags = flags | OFlags::NOFOLLOW;
                retry_on_intr(|| openat(&self.directory, name, flags, Mode::empty()))
            }
            None => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                retry_on_intr(|| openat(CWD, &path, flags, Mode::empty()))
            }
        };
        let file = File::from(opened?);
        if self.name.is_some() {
            claim(&file);
        }
        self.file = Arc::new(file);
        Ok(self)
    }

    /// Gives the file its name in the directory, in place of whatever file had it.
    ///
    /// # Errors
    /// What the system says; the file is gone then.
    pub fn replace(self, name: impl AsRef<Path>) -> io::Result<()> {
        let directory = self.directory.try_clone()?;
        self.replace_in(directory, name)
    }

    /// As [`replace`](Self::replace), in another directory of the same filesystem.
    ///
    /// # Errors
    /// What the system says; the file is gone then.
    pub fn replace_in(mut self, directory: impl AsFd, name: impl AsRef<Path>) -> io::Result<()> {
        let (directory, name) = (directory.as_fd(), name.as_ref());
        let temporary = match &self.name {
            Some(temporary) => temporary.clone(),
            None if self.link(directory, name)? => return Ok(()),
            // A link cannot take another's place, a rename can.
            None => {
                claim(&self.file);
                loop {
                    let temporary = temporary_name();
                    if self.link(self.directory.as_fd(), Path::new(&temporary))? {
                        self.name = Some(temporary.clone());
                        break temporary;
                    }
                }
            }
        };
        renameat(&self.directory, &temporary, directory, name)?;
        self.name = None;
        Ok(())
    }

    /// Gives the file its name in the directory, unless something has it: then the file is gone. Says which.
    ///
    /// # Errors
    /// What the system says; the file is gone then.
    pub fn keep(self, name: impl AsRef<Path>) -> io::Result<bool> {
        let directory = self.directory.try_clone()?;
        self.keep_in(directory, name)
    }

    /// As [`keep`](Self::keep), in another directory of the same filesystem.
    ///
    /// # Errors
    /// What the system says; the file is gone then.
    pub fn keep_in(self, directory: impl AsFd, name: impl AsRef<Path>) -> io::Result<bool> {
        let (directory, name) = (directory.as_fd(), name.as_ref());
        let Some(temporary) = &self.name else {
            return self.link(directory, name);
        };
        match linkat(
            &self.directory,
            temporary,
            directory,
            name,
            AtFlags::empty(),
        ) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // A filesystem without links.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.rename_to_free(directory, name)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Gives a file with a temporary name another one that nothing has.
    fn rename_to_free(mut self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<bool> {
        let Some(temporary) = self.name.clone() else {
            return self.link(directory, name);
        };
        match renameat_with(
            &self.directory,
            &temporary,
            directory,
            name,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                self.name = None;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The file without a name, for data that has to wait.
    ///
    /// # Errors
    /// What the system says.
    pub fn into_unnamed(mut self) -> io::Result<File> {
        if let Some(name) = self.name.take() {
            unlinkat(&self.directory, name, AtFlags::empty())?;
        }
        self.file.try_clone()
    }

    /// Links a file without a name; says whether the name was free.
    fn link(&self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<bool> {
        match linkat(&self.file, "", directory, name, AtFlags::EMPTY_PATH) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Before Linux 6.10 only who may read every directory links a file by its descriptor (ENOENT); others need /proc. What
            // else is wrong it says, too.
            Err(_) => {
                let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                match linkat(CWD, from, directory, name, AtFlags::SYMLINK_FOLLOW) {
                    Ok(()) => Ok(true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(e) => Err(e.into()),
                }
            }
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Something failed already; that is the error to report.
            unlinkat(&self.directory, name, AtFlags::empty()).ok();
        }
    }
}

/// Opens a new file without a name; `None` where the filesystem cannot.
fn open_unnamed(directory: BorrowedFd<'_>) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match retry_on_intr(|| openat(directory, ".", flags, MODE)) {
        Ok(fd) => Ok(Some(File::from(fd))),
        // EISDIR is what kernels and filesystems without O_TMPFILE answer.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        // In a directory that is removed, ext4 answers EPERM (fs/ext4/ialloc.c, `__ext4_new_inode`); others let the file be made,
        // and say ENOENT when it is to have a name.
        Err(Errno::PERM) if is_removed(directory) => Err(Errno::NOENT.into()),
        Err(e) => Err(e.into()),
    }
}

/// Whether a directory that is held has no name any more.
fn is_removed(directory: BorrowedFd<'_>) -> bool {
    fstat(directory).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Opens a new file under a temporary name.
fn open_named(directory: BorrowedFd<'_>) -> io::Result<(File, OsString)> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let name = temporary_name();
        match retry_on_intr(|| openat(directory, &name, flags, MODE)) {
            Ok(fd) => return Ok((File::from(fd), name)),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "tests state what they expect by panicking"
)]
mod tests {
    use std::fs;

    use super::*;

    /// Makes a file or directory look as if it had been made long ago.
    fn age(path: &Path) {
        let opened = File::open(path).unwrap();
        opened
            .set_modified(SystemTime::now() - 2 * LEFT_AFTER)
            .unwrap();
    }

    #[test]
    fn nothing_is_made_in_a_directory_that_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("gone");
        fs::create_dir(&path).unwrap();
        let held = File::open(&path).unwrap();
        let begun = NewFile::create(&held).unwrap();
        fs::remove_dir(&path).unwrap();
        let kind = |e: io::Error| e.kind();
        assert_eq!(begun.keep("a").map_err(kind), Err(io::ErrorKind::NotFound));
        let made = NewFile::create(&held).and_then(|file| file.keep("a"));
        assert_eq!(made.map_err(kind), Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn files_of_killed_builds_are_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        let names = [
            ".lithify-1-0.tmp",       // left
            ".lithify-1-0-18af3.tmp", // left by the store
            ".lithify-00f2.tmp",      // left
            ".lithify-2-0.tmp",       // young
            ".lithify-3-0.tmp",       // of a process that lives
            ".lithify-notes.tmp",     // someone's
            ".lithify-1-0.tmp.keep",  // someone's
            "mine.tmp",               // someone's
        ];
        for name in names {
            fs::write(at(name), "x").unwrap();
            age(&at(name));
        }
        fs::write(at(names[3]), "y").unwrap();
        let alive = File::open(at(names[4])).unwrap();
        claim(&alive);
        // A link just made of a file that was stored long ago.
        fs::write(at("stored"), "x").unwrap();
        age(&at("stored"));
        fs::hard_link(at("stored"), at(".lithify-4-0-1.tmp")).unwrap();
        std::os::unix::fs::symlink("stored", at(".lithify-5-0.tmp")).unwrap();
        remove_left(tmp.path());
        for name in &names[..3] {
            assert!(!at(name).exists(), "{name}");
        }
        for name in &names[3..] {
            assert!(at(name).exists(), "{name}");
        }
        assert!(at(".lithify-4-0-1.tmp").exists());
        assert!(at(".lithify-5-0.tmp").is_symlink());
        drop(alive);
        remove_left(tmp.path());
        assert!(!at(names[4]).exists());
    }

    /// As where a filesystem has no files without names.
    fn named(directory: &Path) -> NewFile {
        let directory = Beneath::open(directory).unwrap().into_handle();
        let (file, name) = open_named(directory.as_fd()).unwrap();
        claim(&file);
        NewFile {
            file: Arc::new(file),
            directory,
            name: Some(name),
        }
    }

    fn unnamed(directory: &Path) -> NewFile {
        NewFile::create(Beneath::open(directory).unwrap().handle()).unwrap()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        use std::io::Write as _;

        let tmp = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(tmp.path()).unwrap().count();
        for make in [named, unnamed] {
            let path = tmp.path().join("x");
            drop(make(tmp.path()));
            assert_eq!(names(), 0);
            let new = make(tmp.path());
            new.file().as_ref().write_all(b"1").unwrap();
            assert!(new.keep("x").unwrap());
            let other = make(tmp.path());
            other.file().as_ref().write_all(b"2").unwrap();
            assert!(!other.keep("x").unwrap());
            assert_eq!((names(), fs::read(&path).unwrap()), (1, b"1".to_vec()));
            let new = make(tmp.path());
            new.file().as_ref().write_all(b"3").unwrap();
            new.replace("x").unwrap();
            assert_eq!((names(), fs::read(&path).unwrap()), (1, b"3".to_vec()));
            fs::remove_file(&path).unwrap();
            make(tmp.path()).replace("x").unwrap();
            // What cannot be replaced: nothing is left of it.
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            make(tmp.path()).replace("x").unwrap_err();
            assert!(!make(tmp.path()).keep("x").unwrap());
            assert_eq!(names(), 1);
            fs::remove_dir(&path).unwrap();
            let waiting = make(tmp.path()).into_unnamed().unwrap();
            assert_eq!(names(), 0);
            drop(waiting);
        }
    }

    #[test]
    fn a_file_gets_its_name_in_another_directory() {
        use std::io::{Read as _, Write as _};

        let tmp = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let to = Beneath::open(other.path()).unwrap();
        for make in [named, unnamed] {
            let new = make(tmp.path());
            new.file().as_ref().write_all(b"1").unwrap();
            let new = new.read_only().unwrap();
            new.file().as_ref().write_all(b"2").unwrap_err();
            let mut text = String::new();
            new.file().as_ref().read_to_string(&mut text).unwrap();
            assert_eq!(text, "1");
            assert!(new.keep_in(to.handle(), "x").unwrap());
            assert!(!make(tmp.path()).keep_in(to.handle(), "x").unwrap());
            make(tmp.path()).replace_in(to.handle(), "x").unwrap();
            assert_eq!(fs::read(other.path().join("x")).unwrap(), b"");
            assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
            fs::remove_file(other.path().join("x")).unwrap();
        }
    }

    #[test]
    fn without_links_a_name_is_only_taken_if_it_is_free() {
        let tmp = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir_in(tmp.path()).unwrap();
        for to in [tmp.path(), other.path()] {
            let to = Beneath::open(to).unwrap();
            let rename = |new: NewFile| new.rename_to_free(to.handle(), Path::new("x")).unwrap();
            assert!(rename(named(tmp.path())));
            assert!(!rename(named(tmp.path())));
        }
        fs::remove_dir_all(other.path()).unwrap();
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_under_construction_is_not_taken_for_left() {
        let tmp = tempfile::tempdir().unwrap();
        let new = named(tmp.path());
        let path = tmp.path().join(new.name.as_ref().unwrap());
        age(&path);
        remove_left(tmp.path());
        assert!(path.exists() && is_claimed(File::open(&path).unwrap()));
        drop(new);
        assert!(!path.exists());
    }
}
