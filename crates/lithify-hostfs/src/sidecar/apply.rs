//! What was written about a file, given back to it, if it still is that file.

use std::io;

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, Digest, Hasher};
use lithify_tree::{EntryKind, Metadata, Timestamp, TreePath, XattrError};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, RawMode, Stat};

use super::Special;
use super::read::{Record, Sidecar};

/// Mode bits that have a file run as somebody.
const SET_ID: u16 = 0o6000;

/// How a directory compares with what was written about it ([`ScanOptions::sidecar`](crate::ScanOptions::sidecar)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedSummary {
    /// Files that got what they lacked.
    pub restored: u64,
    /// Files that are not what was written about, and stay as they are.
    pub changed: u64,
    /// Files of which something was written that were not met by any name written: removed, renamed, or met by a new
    /// name before.
    pub gone: u64,
    /// Up to eight of those that changed.
    pub examples: Vec<TreePath>,
    /// Up to eight of those that are gone, by their first names.
    pub gone_examples: Vec<TreePath>,
}

/// What became of a file.
pub(crate) enum Restored {
    /// Nothing was written about it.
    Unknown,
    Done,
    Changed,
}

impl Sidecar {
    /// Gives a file what was written about it, but for the attributes in `exclude`. `file` opens it, should its content have
    /// to be compared.
    pub(crate) fn restore(
        &mut self,
        path: &TreePath,
        stat: &Stat,
        metadata: &mut Metadata,
        kind: &mut EntryKind,
        file: Option<Checked<&OwnedFd>>,
        exclude: &[Vec<u8>],
    ) -> Result<Restored, RestoreError> {
        let writer = self.owner;
        let Some(record) = self.record(path) else {
            return Ok(Restored::Unknown);
        };
        if !record.is_of(stat, writer) || !record.has_content(metadata.mode, file)? {
            return Ok(Restored::Changed);
        }
        if let Some(node) = record.node {
            *kind = match node {
                Special::CharDevice(device) => EntryKind::CharDevice(device),
                Special::BlockDevice(device) => EntryKind::BlockDevice(device),
                Special::Fifo => EntryKind::Fifo,
                Special::Socket => EntryKind::Socket,
            };
        }
        if let Some((uid, gid)) = record.owner {
            (metadata.uid, metadata.gid) = (uid, gid);
        }
        metadata.mode = record.mode.unwrap_or(metadata.mode);
        metadata.mtime = record.mtime.unwrap_or(metadata.mtime);
        let left_out = |name: &[u8]| exclude.iter().any(|excluded| excluded == name);
        for (name, value) in record.xattrs.iter().filter(|(name, _)| !left_out(name)) {
            metadata.xattrs.set(name, value)?;
        }
        Ok(Restored::Done)
    }
}

/// Why a file cannot be compared with what was written about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Xattr(#[from] XattrError),
}

impl Record {
    /// Whether a file looks like the one that was written about. Of directories only the type is looked at: what is put into
    /// them or taken out has records of its own.
    fn is_of(&self, stat: &Stat, writer: u32) -> bool {
        if FileType::from_raw_mode(stat.st_mode as RawMode) != self.is {
            return false;
        }
        // What could not be given its owner belongs to who wrote it. Nobody else can make a file that does.
        if self.owner.is_some() && stat.st_uid != writer {
            return false;
        }
        self.found
            .is_none_or(|(size, at)| stat.st_size as u64 == size && mtime(stat) == at)
    }

    /// Whether the content is what was written about, where that matters: size and time can be made to fit, and what runs as
    /// somebody, or has attributes the kernel lets only root set, must not be of somebody's choosing.
    fn has_content(&self, mode: u16, file: Option<Checked<&OwnedFd>>) -> io::Result<bool> {
        let is_file = self.is == FileType::RegularFile && self.node.is_none();
        let lends = self.mode.unwrap_or(mode) & SET_ID != 0
            && (self.owner.is_some() || self.mode.is_some());
        if !is_file || !lends && self.xattrs.is_empty() {
            return Ok(true);
        }
        match (&self.sha256, file) {
            (Some(expected), Some(file)) => Ok(sha256(&file)? == **expected),
            _ => Ok(false),
        }
    }
}

/// The digest of an open file, as long as the work goes on.
pub(crate) fn sha256(file: &Checked<&OwnedFd>) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let fd = file.get()?;
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut buffer[..], at))?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the fields' types differ between systems"
)]
pub(crate) fn mtime(stat: &Stat) -> Timestamp {
    Timestamp {
        seconds: stat.st_mtime as i64,
        nanoseconds: stat.st_mtime_nsec as u32,
    }
}
