//! The place of each inode and of its data.

use lithify_cancel::CancelToken;
use lithify_tree::{NodeId, Timestamp};

use super::ImageError;
use super::attributes::Attributes;
use super::directory::{self, Named};
use super::format::{
    ACL_ACCESS, ACL_DEFAULT, BLOCK, CHUNK_ADDRESS, CHUNK_BITS_MAX, COMPACT, EXTENDED, INODES_AT,
    SLOT, TAIL_MAX, XATTR_SHARED_MAX, XATTR_UNIT, XATTRS_HEAD, dirent,
};
use super::members::{Facts, Kind, Member, Members};
use super::shared::{Shared, unfit};
use crate::source::{Content, Source, device_number};

/// Most bytes of an inode's attributes: their number of units has 16 bits, and the head counts as one.
pub(super) const XATTRS_MAX: u64 = XATTRS_HEAD + XATTR_UNIT as u64 * (u16::MAX as u64 - 1);
/// Longest file: the addresses of its chunks stand behind the inode, where Linux looks for them, and always fit there if they leave a slot free.
pub(super) const FILE_MAX: u64 = ((BLOCK - SLOT) / CHUNK_ADDRESS) << CHUNK_BITS_MAX;
/// Longest target of a symbolic link (`PATH_MAX` of Linux counts a zero byte).
pub(super) const SYMLINK_MAX: usize = 4095;
/// Slots there are, so that four bytes number one.
const SLOTS: u64 = 1 << 32;

/// All inodes of an image with their places.
#[derive(Debug)]
pub(super) struct Layout<'a, S: ?Sized> {
    pub(super) members: Members<'a, S>,
    pub(super) shared: Shared,
    /// The slot of each inode.
    slots: Vec<u32>,
    /// The time that inodes have which say none.
    pub(super) time: Timestamp,
    pub(super) has_acl: bool,
    /// Byte at which the inodes end.
    pub(super) inodes_end: u64,
    /// Blocks of data.
    pub(super) data_blocks: u64,
}

/// An inode and its data as they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) is_compact: bool,
    /// `i_size`.
    pub(super) size: u64,
    /// Bytes of attributes.
    pub(super) xattrs: u64,
    /// Blocks of data.
    pub(super) blocks: u64,
    /// Bytes of data behind the inode.
    pub(super) tail: u64,
    /// The binary logarithm of the length of chunks; of a file that is an object.
    pub(super) chunk_bits: Option<u32>,
}

impl<'a> Stored<'a> {
    fn head(&self) -> u64 {
        self.xattrs + if self.is_compact { COMPACT } else { EXTENDED }
    }

    /// Finds the place behind `end`, and moves data out of the way that does not fit there.
    fn place(&mut self, end: u64) -> u64 {
        let mut at = end.next_multiple_of(SLOT);
        let head = self.head();
        if let Kind::Symlink(_) = self.facts.kind {
            let whole = head + self.tail;
            let is_across = at / BLOCK != (at + whole - 1) / BLOCK;
            if whole >= BLOCK {
                self.move_to_block();
            }
            return if is_across {
                at.next_multiple_of(BLOCK)
            } else {
                at
            };
        }
        let room = BLOCK - (at + head) % BLOCK;
        if room < self.tail {
            let gap = room.next_multiple_of(SLOT);
            if self.tail <= BLOCK - (at + head + gap) % BLOCK {
                at += gap;
            } else {
                self.move_to_block();
                at = at.next_multiple_of(BLOCK);
            }
        }
        at
    }

    fn move_to_block(&mut self) {
        self.blocks += 1;
        self.tail = 0;
    }
}

impl<'a, S: Source + ?Sized> Layout<'a, S> {
    pub(super) fn new(members: Members<'a, S>, cancel: &CancelToken) -> Result<Self, ImageError> {
        let shared = Shared::find(&members, cancel)?;
        let times = members.order.iter().map(|m| members.facts(m).mtime);
        let time = times.min().unwrap_or_default();
        let mut layout = Self {
            slots: vec![0; members.order.len()],
            members,
            shared,
            time,
            has_acl: false,
            inodes_end: INODES_AT,
            data_blocks: 0,
        };
        let mut slots = std::mem::take(&mut layout.slots);
        let (mut has_acl, mut data_blocks) = (false, 0);
        let inodes_end = layout.each(cancel, |number, _, at, stored, attributes| {
            let slot = u32::try_from(at / SLOT).map_err(|_| ImageError::Size {
                found: at,
                limit: SLOTS * SLOT,
            })?;
            slots[number] = slot;
            data_blocks += stored.blocks;
            has_acl |= [ACL_ACCESS, ACL_DEFAULT]
                .iter()
                .any(|acl| attributes.get(acl).is_some());
            Ok(())
        })?;
        layout.slots = slots;
        layout.has_acl = has_acl;
        layout.data_blocks = data_blocks;
        layout.inodes_end = inodes_end.next_multiple_of(SLOT);
        let found = layout.size();
        if found / BLOCK > u64::from(u32::MAX) {
            let limit = (u64::from(u32::MAX) + 1) * BLOCK;
            return Err(ImageError::Size { found, limit });
        }
        Ok(layout)
    }

    /// Calls `with` for each inode, with its number, its place in bytes and its attributes. Returns where the last one ends.
    pub(super) fn each(
        &self,
        cancel: &CancelToken,
        mut with: impl FnMut(usize, &Member, u64, &Stored<'a>, &Attributes) -> Result<(), ImageError>,
    ) -> Result<u64, ImageError> {
        let mut attributes = Attributes::default();
        let mut end = INODES_AT;
        for (number, member) in self.members.order.iter().enumerate() {
            if number % 1024 == 0 {
                cancel.check()?;
            }
            let found = self.members.attributes(member, &mut attributes);
            found.map_err(|e| unfit(self.members.path(member), e))?;
            let mut stored = self.measure(member, &attributes)?;
            let at = stored.place(end);
            end = at + stored.head() + stored.tail;
            with(number, member, at, &stored, &attributes)?;
        }
        Ok(end)
    }

    /// Measures an inode.
    fn measure(&self, member: &Member, attributes: &Attributes) -> Result<Stored<'a>, ImageError> {
        let facts = self.members.facts(member);
        let path = || self.members.path(member);
        let (mut size, mut blocks, mut tail, mut chunk_bits) = (0, 0, 0, None);
        match facts.kind {
            Kind::Directory => {
                if let Member::Node(node) = *member {
                    for chunk in directory::chunks(&self.entries(node)) {
                        blocks += 1;
                        tail = directory::size(chunk);
                    }
                    // The last one.
                    if tail <= TAIL_MAX {
                        blocks -= 1;
                    } else {
                        tail = 0;
                    }
                    size = blocks * BLOCK + tail;
                }
            }
            Kind::Symlink(target) if target.len() > SYMLINK_MAX => {
                return Err(ImageError::Symlink {
                    path: path(),
                    found: target.len(),
                });
            }
            Kind::Symlink(target) => {
                size = target.len() as u64;
                tail = size;
            }
            Kind::File { size: bytes, id } => {
                size = bytes;
                if let Content::Inline(content) = self.members.content(id) {
                    if content.len() as u64 != bytes {
                        return Err(ImageError::ContentSize {
                            path: path(),
                            expected: bytes,
                            found: content.len() as u64,
                        });
                    }
                    (blocks, tail) = (size / BLOCK, size % BLOCK);
                    if tail > TAIL_MAX {
                        (blocks, tail) = (blocks + 1, 0);
                    }
                } else {
                    let bits = (u64::BITS - (size - 1).leading_zeros())
                        .clamp(BLOCK.trailing_zeros(), CHUNK_BITS_MAX);
                    chunk_bits = Some(bits);
                    tail = CHUNK_ADDRESS * size.div_ceil(1 << bits);
                    if size > FILE_MAX {
                        return Err(ImageError::FileSize {
                            path: path(),
                            found: size,
                        });
                    }
                }
            }
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                if device_number(device).is_none() {
                    return Err(ImageError::Device {
                        path: path(),
                        major: device.major,
                        minor: device.minor,
                    });
                }
            }
            Kind::Empty | Kind::Fifo | Kind::Socket => {}
        }
        let xattrs = self.xattrs_size(attributes);
        if xattrs > XATTRS_MAX {
            return Err(ImageError::Xattrs {
                path: path(),
                found: xattrs,
            });
        }
        let short = |number: u32| u16::try_from(number).is_ok();
        let is_compact = facts.mtime == self.time
            && short(facts.nlink)
            && short(facts.uid)
            && short(facts.gid)
            && u32::try_from(size).is_ok();
        Ok(Stored {
            facts,
            is_compact,
            size,
            xattrs,
            blocks,
            tail,
            chunk_bits,
        })
    }

    fn xattrs_size(&self, attributes: &Attributes) -> u64 {
        if attributes.is_empty() {
            return 0;
        }
        let mut shared = 0;
        let each = attributes.iter().map(|attribute| {
            if shared < XATTR_SHARED_MAX && self.shared.offset(&attribute).is_some() {
                shared += 1;
                XATTR_UNIT as u64
            } else {
                attribute.size()
            }
        });
        XATTRS_HEAD + each.sum::<u64>()
    }

    /// Returns the entries of a directory in the order of their names.
    pub(super) fn entries(&self, directory: NodeId) -> Vec<Named<'a>> {
        let members = &self.members;
        let parent = Member::Node(members.tree.parent(directory));
        let own = [(&b"."[..], Member::Node(directory)), (b"..", parent)];
        let own = own.map(|(name, member)| Named {
            name: name.into(),
            number: members.number(&member),
            kind: dirent::DIRECTORY,
        });
        let children = members.children(directory);
        let mut entries: Vec<_> = children
            .iter()
            .map(|member| Named {
                name: members.name(member),
                number: members.number(member),
                kind: members.facts(member).kind.dirent(),
            })
            .collect();
        for entry in own {
            let at = entries.partition_point(|e| e.name < entry.name);
            entries.insert(at, entry);
        }
        entries
    }

    /// Returns the slot of an inode.
    pub(super) fn slot(&self, number: u32) -> u64 {
        self.slots[number as usize].into()
    }

    /// Returns the byte at which data begins.
    pub(super) fn data_at(&self) -> u64 {
        (self.inodes_end + self.shared.size()).next_multiple_of(BLOCK)
    }

    /// Returns the size of the image in bytes.
    pub(super) fn size(&self) -> u64 {
        self.data_at() + self.data_blocks * BLOCK
    }
}
