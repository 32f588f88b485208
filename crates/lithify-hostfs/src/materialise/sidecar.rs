//! The file that says what a directory lacks of its image.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use lithify_tree::{Device, Timestamp};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::work::SIDECAR;
use crate::text::{Hex, Percent};

/// What the target's path is followed by to name the file that says what could not be set.
pub const SIDECAR_SUFFIX: &str = ".lithify-metadata.jsonl";

/// First line of the file.
const HEADER: &str = r#"{"format":"lithify-metadata","version":1}"#;

/// What one file of the directory lacks.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) node: Option<Special>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u16>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an empty regular file stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Special {
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.node.is_none()
            && self.owner.is_none()
            && self.mode.is_none()
            && self.mtime.is_none()
            && self.xattrs.is_empty()
    }

    fn write(&self, out: &mut impl io::Write, path: &[u8]) -> io::Result<()> {
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
        writeln!(out, "}}")
    }
}

/// Writes the file in the work directory, once there is something to say.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    file: Option<BufWriter<File>>,
}

impl Sidecar {
    pub(super) fn add(&mut self, work: BorrowedFd<'_>, path: &[u8], line: &Line) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            slot => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let fd: OwnedFd = openat(work, SIDECAR, flags, Mode::from_raw_mode(0o644))?;
                let file = slot.insert(BufWriter::with_capacity(1 << 16, fd.into()));
                writeln!(file, "{HEADER}")?;
                file
            }
        };
        line.write(file, path)
    }

    /// Puts the file next to the target, or removes that of an earlier target of the same name.
    pub(super) fn publish(
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
                renameat(work, SIDECAR, parent, name)?;
                Ok(Some(path))
            }
            None => match unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
                Err(e) => Err(e.into()),
            },
        }
    }
}
