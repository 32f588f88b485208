//! The digest of everything a scan says.
//!
//! SHA-256 over the [`MAGIC`], then every entry in order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: `f` file, `d` directory, `l` symbolic link, `h` hard link, `c` `b` devices, `p` pipe, `s` socket, `w` whiteout, `o` opaque |
//! | 4 + n | path: length, bytes |
//! | 2 4 4 8 4 | mode, uid, gid, seconds, nanoseconds (not for `h`, `w`, `o`) |
//! | 4 + … | extended attributes: their number, then name and value of each with a 4-byte length before each (not for `h`, `w`, `o`) |
//! | … | `l`: target, `h`: path of the first name, both with a 4-byte length; `c`, `b`: major and minor, 4 bytes each |
//! | 8 8 … | `f`: size; number of data segments, all ones for a file without holes; offset and length of each, 8 bytes each; then the data |
//!
//! All numbers are little-endian. No two different sequences of entries have the same serialisation, because every part
//! of variable length is preceded by its length. Where the holes of a sparse file lie is part of it: what is built
//! from the entries may depend on that.

use lithify_digest::{Algorithm, Digest, Hasher};
use lithify_tree::{DataSegment, Device, Entry, EntryKind, Metadata};

/// What the serialisation starts with; the number changes with the format.
pub(crate) const MAGIC: &[u8] = b"lithify directory 1\n";

/// A running digest over entries and their data: of a directory ([`Summary::digest`](crate::Summary::digest)), or of a tree from elsewhere.
#[derive(Debug)]
pub struct Fingerprint {
    hasher: Hasher,
    /// Reused for the fields of one entry.
    record: Vec<u8>,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

impl Fingerprint {
    /// Starts without an entry.
    #[must_use]
    pub fn new() -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(MAGIC);
        Self {
            hasher,
            record: Vec::new(),
        }
    }

    /// Adds an entry, before its data.
    pub fn entry(&mut self, entry: &Entry) {
        let r = &mut self.record;
        r.clear();
        r.push(tag(&entry.kind));
        blob(r, entry.path.as_bytes());
        match &entry.kind {
            EntryKind::HardLink { target } => blob(r, target.as_bytes()),
            EntryKind::Whiteout | EntryKind::Opaque => {}
            kind => {
                metadata(r, &entry.metadata);
                details(r, kind);
            }
        }
        self.hasher.update(r);
    }

    /// Adds data of the last entry.
    pub fn data(&mut self, data: &[u8]) {
        self.hasher.update(data);
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

fn tag(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::File { .. } => b'f',
        EntryKind::Directory => b'd',
        EntryKind::Symlink { .. } => b'l',
        EntryKind::HardLink { .. } => b'h',
        EntryKind::CharDevice(_) => b'c',
        EntryKind::BlockDevice(_) => b'b',
        EntryKind::Fifo => b'p',
        EntryKind::Socket => b's',
        EntryKind::Whiteout => b'w',
        EntryKind::Opaque => b'o',
        _ => unreachable!("entries have no other kind"),
    }
}

/// Lengths are below 2³² because paths, targets, attribute names and values all have limits far below.
fn blob(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    record.extend_from_slice(bytes);
}

fn metadata(record: &mut Vec<u8>, m: &Metadata) {
    record.extend_from_slice(&m.mode.to_le_bytes());
    record.extend_from_slice(&m.uid.to_le_bytes());
    record.extend_from_slice(&m.gid.to_le_bytes());
    record.extend_from_slice(&m.mtime.seconds.to_le_bytes());
    record.extend_from_slice(&m.mtime.nanoseconds.to_le_bytes());
    record.extend_from_slice(&(m.xattrs.len() as u32).to_le_bytes());
    for (name, value) in m.xattrs.iter() {
        blob(record, name);
        blob(record, value);
    }
}

fn details(record: &mut Vec<u8>, kind: &EntryKind) {
    match kind {
        EntryKind::File { size, segments } => {
            record.extend_from_slice(&size.to_le_bytes());
            let count = segments.as_ref().map_or(u64::MAX, |s| s.len() as u64);
            record.extend_from_slice(&count.to_le_bytes());
            for &DataSegment { offset, length } in segments.iter().flatten() {
                record.extend_from_slice(&offset.to_le_bytes());
                record.extend_from_slice(&length.to_le_bytes());
            }
        }
        EntryKind::Symlink { target } => blob(record, target),
        EntryKind::CharDevice(Device { major, minor })
        | EntryKind::BlockDevice(Device { major, minor }) => {
            record.extend_from_slice(&major.to_le_bytes());
            record.extend_from_slice(&minor.to_le_bytes());
        }
        _ => {}
    }
}
