//! Extended attributes.

use lithify_tree::{XATTR_VALUE_MAX, Xattrs};

use super::data::Position;
use super::{Image, Inode, compare};
use crate::format::inode::{FLAG_VALUE, OLD_LEN};
use crate::format::superblock::{INCOMPAT_64BIT, INCOMPAT_VALUE_INODES};
use crate::format::xattr::{
    BLOCK_HEADER_LEN, Entries, INODE_HEADER_LEN, Stored, acl_as_seen, checksum, has_magic,
    is_one_block, value_hash,
};
use crate::{Damage, FileType, ReadAt, ReadError};

/// Most bytes of names and values one inode can have: values in inodes can be stored once and referred to many times, so that
/// they could take memory out of proportion.
const TOTAL_MAX: usize = 16 << 20;

/// A value of an attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) bytes: &'a [u8],
    /// The inode it is in, if it is in one.
    pub(super) holder: Option<Inode>,
    /// Whether the attribute is in a block, not behind the inode.
    pub(super) is_in_block: bool,
}

/// Attributes as programs see them.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) xattrs: Xattrs,
    total: usize,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            xattrs: Xattrs::new(),
            total: 0,
        }
    }

    /// Adds an attribute, unless it is of the filesystem's own. What is wrong with it is an error.
    pub(super) fn add(&mut self, entry: &Stored<'_>, value: &[u8]) -> Result<(), Damage> {
        if entry.is_internal() {
            return Ok(());
        }
        let index = entry.index;
        let name = entry.full_name().ok_or(Damage::XattrIndex { index })?;
        self.total += name.len() + entry.value_len;
        if self.total > TOTAL_MAX {
            return Err(Damage::XattrsTooLong { limit: TOTAL_MAX });
        }
        let set = match entry.is_acl() {
            true => {
                let value = acl_as_seen(value).ok_or(Damage::Acl)?;
                self.xattrs.set(&name, &value)
            }
            false if self.xattrs.get(&name).is_some() => return Err(Damage::Xattr { name }),
            false => self.xattrs.set(&name, value),
        };
        set.map_err(|_| Damage::Xattr { name })
    }
}

impl<R: ReadAt> Image<R> {
    /// The extended attributes of an inode, ACLs in the form programs see them in.
    ///
    /// # Errors
    /// [`ReadError`] when they are damaged.
    pub fn xattrs(&self, inode: &Inode) -> Result<Xattrs, ReadError> {
        let mut seen = Seen::new();
        self.each_xattr(
            inode,
            |_| false,
            |entry, value| seen.add(entry, value.bytes),
        )?;
        Ok(seen.xattrs)
    }

    /// Gives all attributes, also the filesystem's own, to `visit`: those behind the inode, then those in its block. Values in inodes of
    /// their own that are `known` are not read again, and empty.
    pub(super) fn each_xattr(
        &self,
        inode: &Inode,
        mut known: impl FnMut(u32) -> bool,
        mut visit: impl FnMut(&Stored<'_>, Value<'_>) -> Result<(), Damage>,
    ) -> Result<(), ReadError> {
        let (bytes, stored) = self.stored_inode(inode.number())?;
        let behind = bytes
            .get()
            .get(OLD_LEN + stored.extra..)
            .unwrap_or_default();
        if stored.extra > 0 && behind.len() > INODE_HEADER_LEN && has_magic(behind) {
            let body = &behind[INODE_HEADER_LEN..];
            self.each_in(inode, (body, body, false), &mut known, &mut visit)?;
        }
        let block = self.xattr_block(inode);
        if block == 0 {
            return Ok(());
        }
        let damaged = |reason| ReadError::Block {
            what: "the extended attributes",
            number: inode.number(),
            block,
            reason,
        };
        self.blocks.check(block, 1).map_err(damaged)?;
        let bytes = self.blocks.block(block)?;
        if !has_magic(&bytes) || !is_one_block(&bytes) {
            return Err(damaged(Damage::XattrMagic));
        }
        if self.superblock.has_checksums() {
            compare(checksum(&bytes, block, self.superblock.seed)).map_err(damaged)?;
        }
        let entries = &bytes[BLOCK_HEADER_LEN..];
        self.each_in(inode, (entries, &bytes, true), &mut known, &mut visit)
    }

    /// The block with attributes of an inode; 0 for none. Its number has 48 bits with the feature for that only.
    pub(super) fn xattr_block(&self, inode: &Inode) -> u64 {
        match self.superblock.has_incompat(INCOMPAT_64BIT) {
            true => inode.stored.xattr_block,
            false => inode.stored.xattr_block & 0xffff_ffff,
        }
    }

    fn each_in(
        &self,
        inode: &Inode,
        (entries, values, is_in_block): (&[u8], &[u8], bool),
        known: &mut impl FnMut(u32) -> bool,
        visit: &mut impl FnMut(&Stored<'_>, Value<'_>) -> Result<(), Damage>,
    ) -> Result<(), ReadError> {
        for entry in Entries::new(entries) {
            let range = || inode.damaged(Damage::XattrRange);
            let entry = entry.ok_or_else(range)?;
            let length = entry.value_len;
            if entry.inode != 0 {
                let is_known = known(entry.inode);
                let (bytes, holder) = self.value_in_inode(inode, &entry, is_known)?;
                let value = Value {
                    bytes: &bytes,
                    holder: Some(holder),
                    is_in_block,
                };
                visit(&entry, value).map_err(|e| inode.damaged(e))?;
                continue;
            }
            let value = match length {
                0 => Some(&[][..]),
                _ => entry
                    .offset
                    .checked_add(length)
                    .and_then(|end| values.get(entry.offset..end)),
            };
            let value = value.ok_or_else(range)?;
            if !entry.hash_is_right(value) {
                let name = entry.name.to_vec();
                return Err(inode.damaged(Damage::XattrHash { name }));
            }
            let value = Value {
                bytes: value,
                holder: None,
                is_in_block,
            };
            visit(&entry, value).map_err(|e| inode.damaged(e))?;
        }
        Ok(())
    }

    /// Reads a value that is the data of an inode of its own, whose checksum is its time of access; one that is known need not be
    /// read.
    fn value_in_inode(
        &self,
        inode: &Inode,
        entry: &Stored<'_>,
        is_known: bool,
    ) -> Result<(Vec<u8>, Inode), ReadError> {
        let refused = || {
            inode.damaged(Damage::XattrInode {
                name: entry.name.to_vec(),
                inode: entry.inode,
            })
        };
        let s = &self.superblock;
        if !s.has_incompat(INCOMPAT_VALUE_INODES)
            || entry.inode < s.first_inode
            || entry.value_len > XATTR_VALUE_MAX
        {
            return Err(refused());
        }
        let holder = self.any_inode(entry.inode)?;
        let is_right = holder.has(FLAG_VALUE)
            && holder.stored.links != 0
            && holder.file_type() == FileType::File
            && !holder.is_inline()
            && holder.stored.xattr_block == 0
            && holder.size() == entry.value_len as u64;
        if !is_right {
            return Err(refused());
        }
        let mut value = Vec::new();
        let mut sum = holder.stored.atime;
        if !is_known {
            value.resize(entry.value_len, 0);
            self.fill(&holder, 0, &mut value, &mut Position::default())?;
            sum = value_hash(s.seed, &value);
        }
        if sum != holder.stored.atime || !entry.hash_is_right(&sum.to_le_bytes()) {
            return Err(inode.damaged(Damage::XattrHash {
                name: entry.name.to_vec(),
            }));
        }
        Ok((value, holder))
    }

    /// Reads the part of an inode's data that is in an attribute.
    pub(super) fn inline_xattr(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        let mut data = Vec::new();
        let mut visit = |entry: &Stored<'_>, value: Value<'_>| {
            if entry.is_data() && value.holder.is_none() {
                data = value.bytes.to_vec();
            }
            Ok(())
        };
        self.each_xattr(inode, |_| true, &mut visit)?;
        Ok(data)
    }
}
