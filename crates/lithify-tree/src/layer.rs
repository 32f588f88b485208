//! The entries of one layer, kept until all layers are known.

use std::sync::Arc;

use crate::entry::AUFS_LINKS;
use crate::xattr_table::XattrTable;
use crate::{ContentId, Device, Entry, EntryKind, Timestamp, XattrSetId, Xattrs};

/// More names, link targets or contents in one layer than 32-bit numbers can count.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error(
    "the layer has more entries, bytes of names or file contents than 32-bit numbers can count"
)]
pub struct LayerFull;

/// The entries of one layer in tar order: 48 bytes each, plus what its path does not share with the path before it,
/// plus its link target.
///
/// File data is not in here: the target that took it gave a [`ContentId`] for it.
#[derive(Debug)]
pub struct LayerEntries {
    records: Vec<Record>,
    /// Path suffixes and link targets.
    bytes: Vec<u8>,
    xattrs: XattrTable,
    /// The path of the last entry: the next one is stored as its difference.
    last: Vec<u8>,
    markers: usize,
    content_count: u32,
    aufs_files: bool,
    name_bytes: u64,
    xattr_bytes: u64,
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

impl Kind {
    /// Whether this removes something of lower layers instead of adding.
    pub(crate) fn is_marker(self) -> bool {
        matches!(self, Self::Whiteout | Self::Opaque)
    }
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
    xattrs: XattrSetId,
    content: u32,
    /// Where in the arena the path's suffix is.
    suffix: u32,
    /// How many leading bytes the path has in common with the path before it.
    shared: u16,
    suffix_length: u16,
    mode: u16,
    kind: Kind,
}

const _: () = assert!(size_of::<Record>() == 48);

/// Where in a layer's bytes a link target is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TargetRange {
    offset: u32,
    length: u32,
}

/// A stored entry, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    /// Its number in the layer.
    pub(crate) index: u32,
    pub(crate) path: &'a [u8],
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    pub(crate) xattrs: XattrSetId,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) content: Option<ContentId>,
    pub(crate) device: Device,
    pub(crate) target: &'a [u8],
    pub(crate) target_range: TargetRange,
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
            last: Vec::new(),
            markers: 0,
            content_count: 0,
            aufs_files: false,
            name_bytes: 0,
            xattr_bytes: 0,
        }
    }

    /// Adds the next entry of the layer, with what the target called its data.
    ///
    /// # Errors
    /// [`LayerFull`] past 2³² entries, 4 GiB of names and link targets, or for [`ContentId`] 2³² − 1.
    pub fn push(&mut self, entry: &Entry, content: Option<ContentId>) -> Result<(), LayerFull> {
        if self.records.len() >= u32::MAX as usize || content == Some(ContentId(NO_CONTENT)) {
            return Err(LayerFull);
        }
        let path = entry.path.as_bytes();
        let shared = self
            .last
            .iter()
            .zip(path)
            .take_while(|(a, b)| a == b)
            .count();
        let suffix = self.store(&path[shared..])?;
        self.last.truncate(shared);
        self.last.extend_from_slice(&path[shared..]);
        if let Some(id) = content {
            self.content_count = self.content_count.max(id.0 + 1);
        }
        let mut content = content.map_or(NO_CONTENT, |c| c.0);
        let mut payload = 0;
        let kind = match &entry.kind {
            EntryKind::File { size, .. } => {
                payload = *size;
                Kind::File
            }
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink { target } => {
                (payload, content) = self.store_target(target)?;
                Kind::Symlink
            }
            EntryKind::HardLink { target } => {
                (payload, content) = self.store_target(target.as_bytes())?;
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
        self.aufs_files |= path.starts_with(AUFS_LINKS);
        self.name_bytes += entry.name_bytes();
        self.xattr_bytes += entry.xattr_bytes();
        let m = &entry.metadata;
        self.markers += usize::from(kind.is_marker());
        self.records.push(Record {
            seconds: m.mtime.seconds,
            payload,
            nanoseconds: m.mtime.nanoseconds,
            uid: m.uid,
            gid: m.gid,
            xattrs: self.xattrs.intern(&m.xattrs),
            content,
            suffix,
            // A cleaned path has at most PATH_MAX = 4096 bytes.
            shared: shared as u16,
            suffix_length: (path.len() - shared) as u16,
            mode: m.mode & 0o7777,
            kind,
        });
        Ok(())
    }

    fn store_target(&mut self, target: &[u8]) -> Result<(u64, u32), LayerFull> {
        let offset = self.store(target)?;
        let length = u32::try_from(target.len()).map_err(|_| LayerFull)?;
        Ok((u64::from(offset), length))
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

    /// Bytes of memory the entries take, about.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let bytes = self.records.len() * size_of::<Record>() + self.bytes.len();
        (bytes + self.xattrs.memory()) as u64
    }

    /// Files that are not empty, whose data a target took.
    #[must_use]
    pub fn file_count(&self) -> u64 {
        let with_data =
            |r: &&Record| r.kind == Kind::File && r.payload > 0 && r.content != NO_CONTENT;
        self.records.iter().filter(with_data).count() as u64
    }

    /// One more than the highest number of its contents.
    #[must_use]
    pub fn content_count(&self) -> u32 {
        self.content_count
    }

    /// [`Entry::name_bytes`] of all entries.
    #[must_use]
    pub fn name_bytes(&self) -> u64 {
        self.name_bytes
    }

    /// [`Entry::xattr_bytes`] of all entries: a set that several share counts for each.
    #[must_use]
    pub fn xattr_bytes(&self) -> u64 {
        self.xattr_bytes
    }

    /// Number of whiteouts and opaque markers.
    pub(crate) fn markers(&self) -> usize {
        self.markers
    }

    /// Whether it has files that only hard links may name.
    pub(crate) fn has_aufs_files(&self) -> bool {
        self.aufs_files
    }

    /// Number of distinct attribute sets, the empty one included.
    pub(crate) fn xattr_set_count(&self) -> usize {
        self.xattrs.len()
    }

    pub(crate) fn xattrs(&self, id: XattrSetId) -> &Arc<Xattrs> {
        self.xattrs.shared(id)
    }

    pub(crate) fn target(&self, range: TargetRange) -> &[u8] {
        &self.bytes[range.offset as usize..][..range.length as usize]
    }

    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor {
            layer: self,
            next: 0,
            path: Vec::new(),
        }
    }

    /// The path of an entry; reads all entries before it, so for error messages only.
    pub(crate) fn path_of(&self, index: u32) -> Vec<u8> {
        let mut cursor = self.cursor();
        for _ in 0..index {
            cursor.next();
        }
        cursor.next().map_or_else(Vec::new, |e| e.path.to_vec())
    }
}

/// Goes over a layer's entries, rebuilding each path from the one before it.
#[derive(Debug)]
pub(crate) struct Cursor<'l> {
    layer: &'l LayerEntries,
    next: usize,
    path: Vec<u8>,
}

impl Cursor<'_> {
    pub(crate) fn next(&mut self) -> Option<Stored<'_>> {
        let layer = self.layer;
        let r = layer.records.get(self.next)?;
        self.path.truncate(usize::from(r.shared));
        let suffix = &layer.bytes[r.suffix as usize..][..usize::from(r.suffix_length)];
        self.path.extend_from_slice(suffix);
        let index = self.next as u32;
        self.next += 1;
        let target_range = match r.kind {
            Kind::Symlink | Kind::HardLink => TargetRange {
                offset: r.payload as u32,
                length: r.content,
            },
            _ => TargetRange {
                offset: 0,
                length: 0,
            },
        };
        Some(Stored {
            index,
            path: &self.path,
            mode: r.mode,
            uid: r.uid,
            gid: r.gid,
            mtime: Timestamp {
                seconds: r.seconds,
                nanoseconds: r.nanoseconds,
            },
            xattrs: r.xattrs,
            kind: r.kind,
            size: if r.kind == Kind::File { r.payload } else { 0 },
            content: (r.kind == Kind::File && r.content != NO_CONTENT)
                .then_some(ContentId(r.content)),
            device: Device {
                major: (r.payload >> 32) as u32,
                minor: r.payload as u32,
            },
            target: layer.target(target_range),
            target_range,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metadata, TreePath};

    fn entry(path: &[u8], kind: EntryKind) -> Entry {
        Entry {
            path: TreePath::clean(path).unwrap(),
            metadata: Metadata::default(),
            kind,
        }
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let paths: [&[u8]; 8] = [
            b"usr",
            b"usr/bin/env",
            b"usr/bin/envy",
            b"usr",
            b"",
            b"a/b/c",
            b"a/b/c",
            b"zz",
        ];
        let mut layer = LayerEntries::new();
        for (n, path) in paths.iter().enumerate() {
            let target = [b"t", *path].concat();
            let mut e = entry(path, EntryKind::Symlink { target });
            e.metadata.uid = n as u32;
            e.metadata.mode = 0xffff;
            layer.push(&e, None).unwrap();
        }
        let mut cursor = layer.cursor();
        for (n, path) in paths.iter().enumerate() {
            let stored = cursor.next().unwrap();
            assert_eq!(stored.path, *path);
            assert_eq!(stored.target, [b"t", *path].concat());
            assert_eq!(
                (stored.index, stored.uid, stored.mode),
                (n as u32, n as u32, 0o7777)
            );
            assert_eq!(layer.path_of(n as u32), *path);
        }
        assert!(cursor.next().is_none());
    }

    #[test]
    fn names_targets_and_attributes_count_in_full() {
        let mut layer = LayerEntries::new();
        let target = TreePath::clean(b"usr/bin/env").unwrap();
        let kinds = [
            EntryKind::Directory,
            EntryKind::Symlink {
                target: b"../env".to_vec(),
            },
            EntryKind::HardLink { target },
            EntryKind::Whiteout,
        ];
        for kind in kinds {
            let mut e = entry(b"usr/bin/envy", kind);
            e.metadata.xattrs.set(b"user.a", b"1").unwrap();
            layer.push(&e, None).unwrap();
        }
        assert_eq!(layer.name_bytes(), 4 * 12 + 6 + 11);
        assert_eq!(layer.xattr_bytes(), 4 * 7);
    }

    #[test]
    fn a_reserved_content_id_is_refused() {
        let mut layer = LayerEntries::new();
        let file = entry(
            b"f",
            EntryKind::File {
                size: 1,
                segments: None,
            },
        );
        assert_eq!(layer.push(&file, Some(ContentId(u32::MAX))), Err(LayerFull));
        layer.push(&file, Some(ContentId(u32::MAX - 1))).unwrap();
        let stored = layer.cursor().next().unwrap().content;
        assert_eq!(stored, Some(ContentId(u32::MAX - 1)));
    }
}
