//! The file that says what a directory lacks of its image, written.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use lithify_digest::Digest;
use lithify_tree::Timestamp;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{FORMAT, SIDECAR_SUFFIX, Special, VERSION, mtime};
use crate::text::{Hex, Percent};

/// Its name in the work directory.
const NAME: &str = "metadata";

/// What one file of the directory lacks.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) node: Option<Special>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: Option<u16>,
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a file was when its line was written.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) stat: Stat,
    /// Of regular files that lend somebody's rights to their content.
    pub(crate) sha256: Option<Digest>,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.node.is_none()
            && self.owner.is_none()
            && self.mode.is_none()
            && self.mtime.is_none()
            && self.xattrs.is_empty()
    }

    fn write(&self, out: &mut impl io::Write, path: &[u8], found: &Found) -> io::Result<()> {
        write!(out, r#"{{"path":"{}""#, Percent(path))?;
        match self.node {
            Some(Special::CharDevice(d)) => {
                write!(
                    out,
                    r#","type":"char","major":{},"minor":{}"#,
                    d.major, d.minor
                )?;
            }
            Some(Special::BlockDevice(d)) => {
                write!(
                    out,
                    r#","type":"block","major":{},"minor":{}"#,
                    d.major, d.minor
                )?;
            }
            Some(Special::Fifo) => write!(out, r#","type":"fifo""#)?,
            Some(Special::Socket) => write!(out, r#","type":"socket""#)?,
            None => {}
        }
        if let Some((uid, gid)) = self.owner {
            write!(out, r#","uid":{uid},"gid":{gid}"#)?;
        }
        if let Some(mode) = self.mode {
            write!(out, r#","mode":"{mode:04o}""#)?;
        }
        if let Some(t) = self.mtime {
            write!(out, r#","mtime":[{},{}]"#, t.seconds, t.nanoseconds)?;
        }
        if !self.xattrs.is_empty() {
            write!(out, r#","xattrs":{{"#)?;
            for (index, (name, value)) in self.xattrs.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(out, r#"{comma}"{}":"{}""#, Percent(name), Hex(value))?;
            }
            write!(out, "}}")?;
        }
        found.write(out)?;
        writeln!(out, "}}")
    }
}

impl Found {
    fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        let is = match FileType::from_raw_mode(self.stat.st_mode as RawMode) {
            FileType::Directory => return write!(out, r#","is":"dir""#),
            FileType::Symlink => "symlink",
            FileType::CharacterDevice => "char",
            FileType::BlockDevice => "block",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            _ => "file",
        };
        let (size, at) = (self.stat.st_size, mtime(&self.stat));
        write!(
            out,
            r#","is":"{is}","size":{size},"at":[{},{}]"#,
            at.seconds, at.nanoseconds
        )?;
        match &self.sha256 {
            Some(digest) => write!(out, r#","sha256":"{}""#, digest.hex()),
            None => Ok(()),
        }
    }
}

/// Writes the file in the work directory, once there is something to say.
#[derive(Debug, Default)]
pub(crate) struct SidecarWriter {
    file: Option<BufWriter<File>>,
}

impl SidecarWriter {
    pub(crate) fn add(
        &mut self,
        work: BorrowedFd<'_>,
        path: &[u8],
        line: &Line,
        found: &Found,
    ) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            slot => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let fd: OwnedFd = openat(work, NAME, flags, Mode::from_raw_mode(0o644))?;
                let file = slot.insert(BufWriter::with_capacity(1 << 16, fd.into()));
                writeln!(file, r#"{{"format":"{FORMAT}","version":{VERSION}}}"#)?;
                file
            }
        };
        line.write(file, path, found)
    }

    /// Adds a further name of a file that has a line.
    pub(crate) fn add_name(&mut self, path: &[u8], first: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => writeln!(
                file,
                r#"{{"path":"{}","link":"{}"}}"#,
                Percent(path),
                Percent(first)
            ),
            None => Ok(()),
        }
    }

    /// Puts the file next to the target, or removes that of an earlier target of the same name.
    pub(crate) fn publish(
        self,
        work: BorrowedFd<'_>,
        parent: BorrowedFd<'_>,
        target: &Path,
    ) -> io::Result<Option<PathBuf>> {
        let mut path = OsString::from(target);
        path.push(SIDECAR_SUFFIX);
        let path = PathBuf::from(path);
        let Some(name) = path.file_name() else {
            return Ok(None);
        };
        match self.file {
            Some(mut file) => {
                file.flush()?;
                renameat(work, NAME, parent, name)?;
                Ok(Some(path))
            }
            None => match unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
                Err(e) => Err(e.into()),
            },
        }
    }
}
