//! The entries of one layer, kept until all layers are known.

use crate::xattr_table::XattrTable;
use crate::{ContentId, Device, Entry, EntryKind, Timestamp, XattrSetId, Xattrs};

/// More than 4 GiB of paths, or more than 2³² entries, in one layer.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a layer's paths and link targets take more than 4 GiB")]
pub struct LayerFull;

/// The entries of one layer in tar order, about 56 bytes each plus their paths and link targets.
///
/// File data is not in here: the target that took it gave a [`ContentId`] for it.
#[derive(Debug)]
pub struct LayerEntries {
    records: Vec<Record>,
    /// Paths and link targets.
    bytes: Vec<u8>,
    xattrs: XattrTable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
    Whiteout,
    Opaque,
}

const NO_CONTENT: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Record {
    seconds: i64,
    /// File: size. Device: major and minor. Link: offset of the target, its length is `content`.
    payload: u64,
    nanoseconds: u32,
    uid: u32,
    gid: u32,
    path: u32,
    xattrs: XattrSetId,
    content: u32,
    path_length: u16,
    mode: u16,
    kind: Kind,
}

const _: () = assert!(size_of::<Record>() == 48);

/// A stored entry, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    pub(crate) xattrs: &'a Xattrs,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) content: Option<ContentId>,
    pub(crate) device: Device,
    pub(crate) target: &'a [u8],
}

impl Default for LayerEntries {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerEntries {
    /// A layer without entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            records: Vec::new(),
            bytes: Vec::new(),
            xattrs: XattrTable::new(),
        }
    }

    /// Adds the next entry of the layer, with what the target called its data.
    ///
    /// # Errors
    /// [`LayerFull`] past 4 GiB of names.
    pub fn push(&mut self, entry: &Entry, content: Option<ContentId>) -> Result<(), LayerFull> {
        let path = self.store(entry.path.as_bytes())?;
        let mut content = content.map_or(NO_CONTENT, |c| c.0);
        let mut payload = 0;
        let kind = match &entry.kind {
            EntryKind::File { size, .. } => {
                payload = *size;
                Kind::File
            }
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink { target } => {
                payload = u64::from(self.store(target)?);
                content = u32::try_from(target.len()).map_err(|_| LayerFull)?;
                Kind::Symlink
            }
            EntryKind::HardLink { target } => {
                let target = target.as_bytes();
                payload = u64::from(self.store(target)?);
                content = u32::try_from(target.len()).map_err(|_| LayerFull)?;
                Kind::HardLink
            }
            EntryKind::CharDevice(d) => {
                payload = u64::from(d.major) << 32 | u64::from(d.minor);
                Kind::CharDevice
            }
            EntryKind::BlockDevice(d) => {
                payload = u64::from(d.major) << 32 | u64::from(d.minor);
                Kind::BlockDevice
            }
            EntryKind::Fifo => Kind::Fifo,
            EntryKind::Socket => Kind::Socket,
            EntryKind::Whiteout => Kind::Whiteout,
            EntryKind::Opaque => Kind::Opaque,
        };
        let m = &entry.metadata;
        self.records.push(Record {
            seconds: m.mtime.seconds,
            payload,
            nanoseconds: m.mtime.nanoseconds,
            uid: m.uid,
            gid: m.gid,
            path,
            xattrs: self.xattrs.intern(&m.xattrs),
            content,
            // A cleaned path has at most PATH_MAX = 4096 bytes.
            path_length: entry.path.as_bytes().len() as u16,
            mode: m.mode & 0o7777,
            kind,
        });
        Ok(())
    }

    fn store(&mut self, bytes: &[u8]) -> Result<u32, LayerFull> {
        let offset = u32::try_from(self.bytes.len()).map_err(|_| LayerFull)?;
        self.bytes.extend_from_slice(bytes);
        Ok(offset)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the layer says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Stored<'_>> {
        self.records.iter().map(|r| self.view(r))
    }

    fn view(&self, r: &Record) -> Stored<'_> {
        let is_link = matches!(r.kind, Kind::Symlink | Kind::HardLink);
        Stored {
            path: &self.bytes[r.path as usize..][..usize::from(r.path_length)],
            mode: r.mode,
            uid: r.uid,
            gid: r.gid,
            mtime: Timestamp {
                seconds: r.seconds,
                nanoseconds: r.nanoseconds,
            },
            xattrs: self.xattrs.get(r.xattrs),
            kind: r.kind,
            size: if r.kind == Kind::File { r.payload } else { 0 },
            content: (r.kind == Kind::File && r.content != NO_CONTENT)
                .then_some(ContentId(r.content)),
            device: Device {
                major: (r.payload >> 32) as u32,
                minor: r.payload as u32,
            },
            target: if is_link {
                &self.bytes[r.payload as usize..][..r.content as usize]
            } else {
                b""
            },
        }
    }
}
