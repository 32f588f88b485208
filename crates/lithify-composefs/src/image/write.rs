//! The image as a stream of bytes.

use std::io::Write;

use lithify_cancel::CancelToken;
use lithify_tree::NodeId;
use lithify_verity::file::{FileDigest, FileHasher};

use super::ImageError;
use super::attributes::Attributes;
use super::directory;
use super::format::{
    BLOCK, CHUNKS, FEATURE_COMPAT, FLAG_ACL, HEADER_MAGIC, HEADER_SIZE, HEADER_VERSION, INLINE,
    IS_EXTENDED, NOWHERE, PLAIN, SUPERBLOCK_AT, SUPERBLOCK_MAGIC, SUPERBLOCK_SIZE,
    XATTR_SHARED_MAX, XATTR_UNIT, XATTRS_HEAD,
};
use super::layout::{Layout, Stored};
use super::members::{Kind, Member, Members};
use crate::source::{Content, Source, device_number};

/// The version of an image's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first one.
    V0,
    /// Directories with whiteouts are also marked as opaque, for kernels that do not know whiteouts as attributes.
    V1,
}

impl Version {
    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
        }
    }
}

/// Options of an image. The defaults are those of `cfsctl`: version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOptions {
    /// The version.
    pub version: Version,
    /// The version of a tree that has whiteouts, if it is higher.
    pub with_whiteouts: Version,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            version: Version::V1,
            with_whiteouts: Version::V1,
        }
    }
}

/// An image that is laid out, and can be written.
///
/// It is made in memory of about 30 bytes for each inode, and of what more than one inode has of attributes.
#[derive(Debug)]
pub struct Image<'a, S: ?Sized> {
    layout: Layout<'a, S>,
    version: Version,
}

impl<'a, S: Source + ?Sized> Image<'a, S> {
    /// Lays out the image of a tree.
    ///
    /// # Errors
    /// [`ImageError`] for what an image cannot hold.
    pub fn new(
        source: &'a S,
        options: &ImageOptions,
        cancel: &CancelToken,
    ) -> Result<Self, ImageError> {
        let mut members = Members::new(source, cancel)?;
        let mut version = options.version;
        if members.has_whiteouts() {
            version = version.max(options.with_whiteouts);
        }
        members.mark_opaque(version >= Version::V1);
        Ok(Self {
            layout: Layout::new(members, cancel)?,
            version,
        })
    }

    /// Returns its size in bytes: a multiple of 4096.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layout.size()
    }

    /// Returns its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes the image, and adds it to the digest that is its id.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn write(
        &self,
        out: &mut dyn Write,
        mut hasher: FileHasher,
        cancel: &CancelToken,
    ) -> Result<FileDigest, ImageError> {
        let mut out = Output {
            inner: out,
            hasher: &mut hasher,
            buffer: Vec::with_capacity(BUFFER + 2 * BLOCK as usize),
            at: 0,
        };
        self.head(&mut out);
        self.inodes(&mut out, cancel)?;
        out.fill(self.layout.inodes_end)?;
        for attribute in self.layout.shared.iter() {
            attribute.encode(&mut out.buffer);
            out.flush_full()?;
        }
        out.fill(self.layout.data_at())?;
        self.data(&mut out, cancel)?;
        out.flush()?;
        Ok(hasher.finish())
    }

    /// Writes what is before the inodes.
    fn head(&self, out: &mut Output<'_>) {
        let layout = &self.layout;
        let flags = if layout.has_acl { FLAG_ACL } else { 0 };
        let mut head = Vec::with_capacity(HEADER_SIZE);
        for word in [HEADER_MAGIC, HEADER_VERSION, flags, self.version.number()] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        head.resize(SUPERBLOCK_AT as usize, 0);
        head.extend_from_slice(&SUPERBLOCK_MAGIC.to_le_bytes());
        head.extend_from_slice(&0_u32.to_le_bytes());
        head.extend_from_slice(&FEATURE_COMPAT.to_le_bytes());
        head.extend_from_slice(&[BLOCK.trailing_zeros().to_le_bytes()[0], 0]);
        // The root directory is the first inode: at most in the block after the superblock's.
        head.extend_from_slice(&layout.slot(0).to_le_bytes()[..2]);
        head.extend_from_slice(&(layout.members.order.len() as u64).to_le_bytes());
        head.extend_from_slice(&layout.time.seconds.to_le_bytes());
        head.extend_from_slice(&layout.time.nanoseconds.to_le_bytes());
        // Both were compared with what four bytes hold.
        head.extend_from_slice(&(layout.size() / BLOCK).to_le_bytes()[..4]);
        head.extend_from_slice(&0_u32.to_le_bytes());
        head.extend_from_slice(&(layout.inodes_end / BLOCK).to_le_bytes()[..4]);
        head.resize((SUPERBLOCK_AT + SUPERBLOCK_SIZE) as usize, 0);
        out.buffer.extend_from_slice(&head);
    }

    fn inodes(&self, out: &mut Output<'_>, cancel: &CancelToken) -> Result<(), ImageError> {
        let mut block = self.layout.data_at() / BLOCK;
        self.layout
            .each(cancel, |number, member, at, stored, attributes| {
                out.fill(at)?;
                inode(number as u32, stored, block, &mut out.buffer);
                self.attributes(attributes, &mut out.buffer);
                block += stored.blocks;
                if stored.tail > 0 {
                    self.tail(member, stored, &mut out.buffer);
                }
                out.flush_full()
            })?;
        Ok(())
    }

    fn attributes(&self, attributes: &Attributes, out: &mut Vec<u8>) {
        if attributes.is_empty() {
            return;
        }
        let shared_at = self.layout.inodes_end % BLOCK;
        let offsets = || {
            let all = attributes
                .iter()
                .map(|a| (a, self.layout.shared.offset(&a)));
            let mut shared = 0;
            all.map(move |(attribute, offset)| {
                let offset = offset.filter(|_| shared < XATTR_SHARED_MAX);
                shared += usize::from(offset.is_some());
                (attribute, offset)
            })
        };
        let count = offsets().filter(|(_, offset)| offset.is_some()).count();
        let head = out.len();
        out.extend_from_slice(&attributes.filter().to_le_bytes());
        // At most 128.
        out.push(count.to_le_bytes()[0]);
        out.resize(head + XATTRS_HEAD as usize, 0);
        for offset in offsets().filter_map(|(_, offset)| offset) {
            let unit = (shared_at + offset) / XATTR_UNIT as u64;
            out.extend_from_slice(&unit.to_le_bytes()[..4]);
        }
        for (attribute, _) in offsets().filter(|(_, offset)| offset.is_none()) {
            attribute.encode(out);
        }
    }

    /// Writes the data behind an inode.
    fn tail(&self, member: &Member, stored: &Stored<'_>, out: &mut Vec<u8>) {
        let tail = stored.tail as usize;
        match (stored.facts.kind, member) {
            (Kind::Directory, Member::Node(node)) => {
                let entries = self.layout.entries(*node);
                if let Some(last) = directory::chunks(&entries).last() {
                    directory::encode(last, |number| self.layout.slot(number), out);
                }
            }
            (Kind::Symlink(target), _) => out.extend_from_slice(target),
            (Kind::File { id, .. }, _) => match self.layout.members.content(id) {
                Content::Inline(content) => out.extend_from_slice(&content[content.len() - tail..]),
                _ => out.resize(out.len() + tail, NOWHERE),
            },
            _ => {}
        }
    }

    /// Writes the blocks of data, in the order of the inodes.
    fn data(&self, out: &mut Output<'_>, cancel: &CancelToken) -> Result<(), ImageError> {
        if self.layout.data_blocks == 0 {
            return Ok(());
        }
        self.layout.each(cancel, |_, member, _, stored, _| {
            let end = out.position() + stored.blocks * BLOCK;
            match (stored.facts.kind, member) {
                _ if stored.blocks == 0 => {}
                (Kind::Directory, Member::Node(node)) => self.blocks_of(*node, stored, out)?,
                (Kind::Symlink(target), _) => out.buffer.extend_from_slice(target),
                // The addresses of chunks stand behind the inode.
                (Kind::File { id, .. }, _) => {
                    if let Content::Inline(content) = self.layout.members.content(id) {
                        let length = content.len().min((stored.blocks * BLOCK) as usize);
                        out.buffer.extend_from_slice(&content[..length]);
                    }
                }
                _ => {}
            }
            out.fill(end)?;
            out.flush_full()
        })?;
        Ok(())
    }

    fn blocks_of(
        &self,
        directory: NodeId,
        stored: &Stored<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ImageError> {
        let entries = self.layout.entries(directory);
        for chunk in directory::chunks(&entries).take(stored.blocks as usize) {
            let end = out.position() + BLOCK;
            directory::encode(chunk, |number| self.layout.slot(number), &mut out.buffer);
            out.fill(end)?;
            out.flush_full()?;
        }
        Ok(())
    }
}

/// Writes an inode. Its data begins at a block.
fn inode(number: u32, stored: &Stored<'_>, block: u64, out: &mut Vec<u8>) {
    let facts = &stored.facts;
    // Blocks were compared with what four bytes hold.
    let block = if stored.blocks > 0 { block as u32 } else { 0 };
    let (layout, data) = match (facts.kind, stored.chunk_bits) {
        (Kind::CharDevice(device) | Kind::BlockDevice(device), _) => {
            // One that is too large was refused.
            (PLAIN, device_number(device).unwrap_or(0))
        }
        (_, Some(bits)) => (CHUNKS, bits - BLOCK.trailing_zeros()),
        _ if stored.tail > 0 => (INLINE, block),
        _ => (PLAIN, block),
    };
    let format = layout | if stored.is_compact { 0 } else { IS_EXTENDED };
    let units = match stored.xattrs {
        0 => 0,
        // At most 65535.
        bytes => ((bytes - XATTRS_HEAD) / XATTR_UNIT as u64 + 1) as u16,
    };
    out.extend_from_slice(&format.to_le_bytes());
    out.extend_from_slice(&units.to_le_bytes());
    out.extend_from_slice(&facts.mode.to_le_bytes());
    if stored.is_compact {
        // All numbers fit.
        out.extend_from_slice(&facts.nlink.to_le_bytes()[..2]);
        out.extend_from_slice(&stored.size.to_le_bytes()[..4]);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&data.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&facts.uid.to_le_bytes()[..2]);
        out.extend_from_slice(&facts.gid.to_le_bytes()[..2]);
        out.extend_from_slice(&[0; 4]);
    } else {
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&stored.size.to_le_bytes());
        out.extend_from_slice(&data.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&facts.uid.to_le_bytes());
        out.extend_from_slice(&facts.gid.to_le_bytes());
        out.extend_from_slice(&facts.mtime.seconds.to_le_bytes());
        out.extend_from_slice(&facts.mtime.nanoseconds.to_le_bytes());
        out.extend_from_slice(&facts.nlink.to_le_bytes());
        out.extend_from_slice(&[0; 16]);
    }
}

/// Bytes that are written at once.
const BUFFER: usize = 256 * 1024;

/// The image as it is written, and its digest.
struct Output<'o> {
    inner: &'o mut dyn Write,
    hasher: &'o mut FileHasher,
    buffer: Vec<u8>,
    /// Bytes written before those in the buffer.
    at: u64,
}

impl Output<'_> {
    fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// Adds zeros up to a position.
    fn fill(&mut self, end: u64) -> Result<(), ImageError> {
        let missing = end.saturating_sub(self.position());
        // Less than a block and what an inode may be aligned by.
        self.buffer.resize(self.buffer.len() + missing as usize, 0);
        self.flush_full()
    }

    fn flush_full(&mut self) -> Result<(), ImageError> {
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ImageError> {
        self.inner
            .write_all(&self.buffer)
            .map_err(ImageError::Write)?;
        self.hasher.update(&self.buffer);
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
