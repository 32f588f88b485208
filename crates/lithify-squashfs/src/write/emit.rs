//! The sequential metadata pass: inodes, directories, tables.
//!
//! A listing refers to its inodes by where they lie, and a directory's inode to its listing: both are known only when
//! what is below is written. So directories are written bottom-up: for each, first everything in its subdirectories,
//! then the inodes of all its entries side by side, then its listing. Its own inode is among those of its parent.

use std::collections::HashMap;

use lithify_tree::{InodeId, InodeKind, NodeId, Timestamp, Tree};

use super::Appender;
use super::contents::{Contents, expand};
use super::directories::{Listing, Name, write as write_listing};
use super::ids::IdTable;
use super::metadata::MetadataWriter;
use super::xattrs::XattrTable;
use crate::FileType;
use crate::error::Operation;
use crate::format::directory::SIZE_EXTRA;
use crate::format::inode::{Body, Head, encode_device};
use crate::format::{NONE, Position};
use crate::{Compression, Storage, WriteError};

/// Bytes of finished inodes collected before a write.
const WRITE_LEN: usize = 256 << 10;

/// "Not written yet", in the table of references.
const UNWRITTEN: u64 = u64::MAX;

/// What the pass leaves.
#[derive(Debug)]
pub(crate) struct Emitted {
    pub(crate) ids: IdTable,
    /// References of all inodes in the order of their numbers.
    pub(crate) references: Vec<u64>,
    /// Blocks of the directory table.
    pub(crate) directories: Vec<u8>,
    pub(crate) counts: Counts,
}

/// What was met on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) clamped_times: u64,
    pub(crate) truncated_times: u64,
    pub(crate) sparse_files: u64,
}

/// Writes inodes to the storage and directories to memory.
pub(crate) fn emit<S: Storage>(
    storage: &mut S,
    appender: &mut Appender,
    tree: &Tree,
    contents: &Contents,
    xattrs: &XattrTable,
    compression: Compression,
    block_size: u32,
) -> Result<Emitted, WriteError> {
    let mut emitter = Emitter {
        storage,
        appender,
        tree,
        contents,
        xattrs,
        block_size,
        inodes: MetadataWriter::new(compression)?,
        directories: MetadataWriter::new(compression)?,
        emitted: Emitted {
            ids: IdTable::default(),
            references: vec![UNWRITTEN; tree.inode_count()],
            directories: Vec::new(),
            counts: Counts::default(),
        },
        listings: HashMap::new(),
        bytes: Vec::new(),
    };
    emitter.run()?;
    let Emitter {
        mut emitted,
        directories,
        ..
    } = emitter;
    emitted.directories = directories.out;
    Ok(emitted)
}

struct Emitter<'a, S> {
    storage: &'a mut S,
    appender: &'a mut Appender,
    tree: &'a Tree,
    contents: &'a Contents,
    xattrs: &'a XattrTable,
    block_size: u32,
    inodes: MetadataWriter,
    directories: MetadataWriter,
    emitted: Emitted,
    /// Of directories whose inode has not been written.
    listings: HashMap<NodeId, Listing>,
    bytes: Vec<u8>,
}

/// A time as squashfs has it: whole seconds from 1970 to 2106.
pub(crate) fn clamp_time(time: Timestamp) -> (u32, bool) {
    match u32::try_from(time.seconds) {
        Ok(seconds) => (seconds, false),
        Err(_) if time.seconds < 0 => (0, true),
        Err(_) => (u32::MAX, true),
    }
}

const fn file_type(kind: &InodeKind<'_>) -> FileType {
    match kind {
        InodeKind::Directory => FileType::Directory,
        InodeKind::Symlink { .. } => FileType::Symlink,
        InodeKind::CharDevice(_) => FileType::CharDevice,
        InodeKind::BlockDevice(_) => FileType::BlockDevice,
        InodeKind::Fifo => FileType::Fifo,
        InodeKind::Socket => FileType::Socket,
        // The tree has no other kinds.
        _ => FileType::File,
    }
}

/// Inode numbers count from 1.
fn number(id: InodeId) -> u32 {
    id.index() as u32 + 1
}

impl<S: Storage> Emitter<'_, S> {
    fn run(&mut self) -> Result<(), WriteError> {
        // Directories whose subdirectories are still to be written, and those of which that has been seen to.
        let mut stack = vec![(NodeId::ROOT, false)];
        while let Some((node, ready)) = stack.pop() {
            if ready {
                self.directory(node)?;
                continue;
            }
            stack.push((node, true));
            let tree = self.tree;
            let subdirectories = tree
                .children(node)
                .rev()
                .filter(|&c| tree.node_inode(c).kind.is_directory());
            stack.extend(subdirectories.map(|c| (c, false)));
        }
        self.inode(NodeId::ROOT)?;
        self.inodes.close_block()?;
        self.write_inodes()?;
        self.directories.close_block()
    }

    /// Writes the inodes of a directory's entries and its listing.
    fn directory(&mut self, node: NodeId) -> Result<(), WriteError> {
        let tree = self.tree;
        for child in tree.children(node) {
            let id = tree.inode_id(child);
            if self.emitted.references[id.index()] == UNWRITTEN {
                self.inode(child)?;
            }
        }
        let names: Vec<Name<'_>> = tree
            .children(node)
            .map(|child| {
                let id = tree.inode_id(child);
                Name {
                    name: tree.name(child),
                    inode: Position::from_reference(self.emitted.references[id.index()]),
                    number: number(id),
                    file_type: file_type(&tree.inode(id).kind),
                }
            })
            .collect();
        let listing = write_listing(&mut self.directories, &names)?;
        self.listings.insert(node, listing);
        Ok(())
    }

    fn inode(&mut self, node: NodeId) -> Result<(), WriteError> {
        let id = self.tree.inode_id(node);
        let inode = self.tree.inode(id);
        let place = self.inodes.position();
        if u32::try_from(place.block).is_err() {
            return Err(WriteError::TooMuchMetadata { what: "inodes" });
        }
        self.emitted.references[id.index()] = place.reference();

        let counts = &mut self.emitted.counts;
        let (mtime, clamped) = clamp_time(inode.mtime);
        counts.clamped_times += u64::from(clamped);
        counts.truncated_times += u64::from(!clamped && inode.mtime.nanoseconds != 0);
        let xattrs = self.xattrs.number(inode.xattrs);
        let nlink = inode.nlink;
        let mut extended = xattrs != NONE;
        let mut list: &[u32] = &[];
        let mut listing = None;
        let body = match inode.kind {
            InodeKind::Directory => {
                let found = self.listings.remove(&node);
                let (body, long) = self.directory_body(node, found.as_ref(), nlink, xattrs)?;
                listing = found;
                extended |= long;
                body
            }
            InodeKind::Symlink { target } => Body::Symlink {
                nlink,
                size: target.len() as u32,
            },
            InodeKind::CharDevice(d) | InodeKind::BlockDevice(d) => Body::Device {
                nlink,
                rdev: encode_device(d.major, d.minor),
                xattrs,
            },
            InodeKind::Fifo | InodeKind::Socket => Body::Ipc { nlink, xattrs },
            InodeKind::File { size, content } => {
                let (mut start, mut fragment, mut offset, mut sparse) = (0, NONE, 0, 0);
                if let Some(content) = content.filter(|_| size > 0) {
                    // As `check` has seen to, it exists.
                    let record = self.contents.at(content.0 as usize);
                    (start, fragment, offset) = (record.start, record.fragment, record.offset);
                    list = self.contents.list(content.0 as usize);
                    sparse = sparse_bytes(list, size, self.block_size);
                }
                counts.sparse_files += u64::from(sparse > 0);
                extended |= sparse > 0
                    || nlink != 1
                    || u32::try_from(size).is_err()
                    || u32::try_from(start).is_err();
                Body::File {
                    start,
                    size,
                    sparse,
                    nlink,
                    fragment,
                    offset,
                    xattrs,
                }
            }
            // The tree has no other kinds.
            _ => Body::Ipc { nlink, xattrs },
        };
        let head = Head {
            file_type: file_type(&inode.kind),
            extended,
            mode: inode.mode,
            uid: self.emitted.ids.number(inode.uid)?,
            gid: self.emitted.ids.number(inode.gid)?,
            mtime,
            number: number(id),
        };
        self.bytes.clear();
        head.encode(&mut self.bytes);
        body.encode(extended, &mut self.bytes);
        if let InodeKind::Symlink { target } = inode.kind {
            self.bytes.extend_from_slice(target);
            if extended {
                self.bytes.extend(xattrs.to_le_bytes());
            }
        }
        if let Some(listing) = listing {
            self.bytes.extend_from_slice(&listing.index);
        }
        self.inodes.push(&self.bytes)?;
        self.block_lengths(list)?;
        if self.inodes.out.len() >= WRITE_LEN {
            self.write_inodes()?;
        }
        Ok(())
    }

    fn directory_body(
        &self,
        node: NodeId,
        listing: Option<&Listing>,
        nlink: u32,
        xattrs: u32,
    ) -> Result<(Body, bool), WriteError> {
        let too_large = || WriteError::DirectoryTooLarge {
            path: self.tree.path(node),
        };
        // Directories are written before their inodes.
        let listing = listing.ok_or_else(too_large)?;
        let size = listing
            .length
            .and_then(|l| l.checked_add(SIZE_EXTRA))
            .ok_or_else(too_large)?;
        let block =
            u32::try_from(listing.place.block).map_err(|_| WriteError::TooMuchMetadata {
                what: "directories",
            })?;
        let parent = if node == NodeId::ROOT {
            // Nothing is above: the first number no inode has.
            self.tree.inode_count() as u32 + 1
        } else {
            number(self.tree.inode_id(self.tree.parent(node)))
        };
        let body = Body::Directory {
            block,
            offset: listing.place.offset,
            nlink,
            size,
            parent,
            index: listing.index_count,
            xattrs,
        };
        Ok((
            body,
            listing.index_count > 0 || u16::try_from(size).is_err(),
        ))
    }

    fn block_lengths(&mut self, list: &[u32]) -> Result<(), WriteError> {
        /// Zeros added before what is finished is written.
        const STEP: u64 = 1 << 20;
        for (length, count) in expand(list) {
            if count == 1 {
                self.inodes.push(&length.to_le_bytes())?;
                continue;
            }
            let mut left = 4 * u64::from(count);
            while left > 0 {
                let n = left.min(STEP);
                self.inodes.push_zeros(n)?;
                left -= n;
                if self.inodes.out.len() >= WRITE_LEN {
                    self.write_inodes()?;
                }
            }
        }
        Ok(())
    }

    fn write_inodes(&mut self) -> Result<(), WriteError> {
        self.appender.append(self.storage, &self.inodes.out)?;
        self.inodes.clear_out();
        Ok(())
    }
}

/// Bytes of a file that are not stored because they are zero.
fn sparse_bytes(list: &[u32], size: u64, block_size: u32) -> u64 {
    let (mut at, mut sparse) = (0_u64, 0);
    for (length, count) in expand(list) {
        let end = at + u64::from(count) * u64::from(block_size);
        if length == 0 {
            sparse += end.min(size) - at;
        }
        at = end;
    }
    sparse
}

/// Writes a table: its blocks, then where each of them is. Gives the offset of the latter.
pub(crate) fn write_table<S: Storage>(
    storage: &mut S,
    appender: &mut Appender,
    bytes: &[u8],
    compression: Compression,
    header: impl FnOnce(u64) -> Vec<u8>,
) -> Result<u64, WriteError> {
    let start = appender.offset();
    let mut writer = MetadataWriter::new(compression)?;
    let mut places = Vec::new();
    for block in bytes.chunks(crate::format::METADATA_LEN) {
        places.extend((start + writer.position().block).to_le_bytes());
        writer.push(block)?;
        writer.close_block()?;
    }
    appender.append(storage, &writer.out)?;
    let table = appender.offset();
    appender.append(storage, &header(table))?;
    appender.append(storage, &places)?;
    Ok(table)
}

/// The time the image was made, by default the latest in it.
pub(crate) fn build_time(tree: &Tree) -> u32 {
    tree.inode_ids()
        .map(|id| clamp_time(tree.inode(id).mtime).0)
        .max()
        .unwrap_or(0)
}

/// Pads the image to a multiple of 4096 bytes, as loop devices and other tools want it; gives its length.
pub(crate) fn pad<S: Storage>(storage: &mut S, appender: &mut Appender) -> Result<u64, WriteError> {
    const UNIT: u64 = 4096;
    let zeros = appender.offset().next_multiple_of(UNIT) - appender.offset();
    appender.append(storage, &vec![0; zeros as usize])?;
    appender.flush(storage)?;
    let size = appender.offset();
    storage
        .set_size(size)
        .map_err(Operation::SetLength.failed())?;
    Ok(size)
}
