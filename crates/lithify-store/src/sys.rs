//! System calls with the flags the store needs.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use lithify_cancel::CancelToken;
use lithify_digest::{Algorithm, Digest, Hasher};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::retry_on_intr;

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    // A pipe put into the store must not make anyone wait.
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Opens what has this name for reading, unless it is a symbolic link.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    Ok(retry_on_intr(|| openat(CWD, path, READ, Mode::empty()))?.into())
}

/// Opens a directory, unless a symbolic link leads there.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    let flags = READ.union(OFlags::DIRECTORY);
    Ok(retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))?.into())
}

/// Opens a file of an open directory for reading, unless it is a symbolic link.
pub(crate) fn open_at(directory: &File, name: &str) -> io::Result<File> {
    Ok(retry_on_intr(|| openat(directory, name, READ, Mode::empty()))?.into())
}

/// Makes a file of an open directory, for reading and writing.
pub(crate) fn create_at(directory: &File, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file: File =
        retry_on_intr(|| openat(directory, name, flags, Mode::RUSR | Mode::WUSR))?.into();
    // Whatever the umask: the file is opened again.
    set_mode(&file, 0o600)?;
    Ok(file)
}

/// Makes a directory that its owner can use, whatever the umask.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    let mut permissions = fs::symlink_metadata(path)?.permissions();
    let mode = std::os::unix::fs::PermissionsExt::mode(&permissions);
    if mode & 0o700 != 0o700 {
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, mode | 0o700);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Whether the name still leads to this open file.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Opens a file for reading and writing, and makes it if it is not there.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let file: File = retry_on_intr(|| openat(CWD, path, flags, Mode::RUSR | Mode::WUSR))?.into();
    Ok(file)
}

/// Sets the permissions of an open file.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Adds permissions to those of an open file.
pub(crate) fn ensure_mode(file: &File, mode: u32) -> io::Result<()> {
    let found = file.metadata()?.mode();
    match found & mode == mode {
        true => Ok(()),
        false => set_mode(file, (found | mode) & 0o7777),
    }
}

/// The bytes of a file, unless they are more than `limit`.
pub(crate) fn read_limited(file: File, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Makes the names in a directory last.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Length and SHA-256 of a file's bytes.
pub(crate) fn sha256(file: &File, cancel: &CancelToken) -> io::Result<(u64, Digest)> {
    digest(file, Algorithm::Sha256, cancel)
}

/// Length and digest of a file's bytes.
pub(crate) fn digest(
    file: &File,
    algorithm: Algorithm,
    cancel: &CancelToken,
) -> io::Result<(u64, Digest)> {
    let (length, hasher) = hash(file, algorithm, cancel)?;
    Ok((length, hasher.finish()))
}

/// Length and running digest of a file's bytes, as long as the work goes on.
pub(crate) fn hash(
    file: &File,
    algorithm: Algorithm,
    cancel: &CancelToken,
) -> io::Result<(u64, Hasher)> {
    let mut buffer = vec![0; 1 << 20];
    let mut hasher = Hasher::new(algorithm);
    let mut offset = 0;
    loop {
        cancel.check()?;
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok((offset, hasher)),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Seconds since 1970, 0 before.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
