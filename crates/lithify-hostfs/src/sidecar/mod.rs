//! The file beside a directory that says what it lacks of its image (`docs/formats/dir-sidecar.md`): written with the
//! directory, and read with it.

mod apply; // given back
mod error;
mod read;
mod write;

use std::ffi::OsStr;

use lithify_tree::Device;
use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Mode, OFlags, RawMode, fstat, openat};
use rustix::io::{Errno, pread, retry_on_intr};

pub use apply::RecordedSummary;
pub(crate) use apply::{RestoreError, Restored, mtime, sha256};
pub use error::{SidecarError, SidecarFault};
pub(crate) use read::Sidecar;
pub use read::check_sidecar;
pub(crate) use write::{Found, Line, SidecarWriter};

/// What the directory's path is followed by to name the file.
pub const SIDECAR_SUFFIX: &str = ".lithify-metadata.jsonl";

/// What the first line of the file says.
const FORMAT: &str = "lithify-metadata";
const VERSION: u32 = 2;

/// What an empty regular file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}

/// Whether a name in a directory is such a file, by its first bytes.
pub(crate) fn is_one(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<bool> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(directory, name, flags, Mode::empty())) {
        // A symbolic link; a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(false),
        opened => opened?,
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode as RawMode) != FileType::RegularFile {
        return Ok(false);
    }
    let start = format!(r#"{{"format":"{FORMAT}""#);
    let mut found = vec![0; start.len()];
    let mut length = 0;
    while length < found.len() {
        match retry_on_intr(|| pread(&file, &mut found[length..], length as u64))? {
            0 => break,
            n => length += n,
        }
    }
    Ok(found[..length] == *start.as_bytes())
}
