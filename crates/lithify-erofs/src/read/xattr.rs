//! Extended attributes of an inode.

use lithify_tree::Xattrs;

use super::{Image, Inode};
use crate::error::XattrDamage;
use crate::format::get_u32;
use crate::format::xattr::{
    ENTRY_LEN, EntryHead, HEADER_LEN, ID_LEN, LONG_PREFIX, decode_entry, entry_len, join_name,
    shared_count,
};
use crate::{ReadAt, ReadError};

/// The ids and entries of an inode, not yet looked into.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) shared: Vec<u32>,
    entries: Vec<u8>,
}

/// A shared entry.
#[derive(Debug)]
pub(super) struct SharedEntry {
    pub(super) name: Vec<u8>,
    value: Vec<u8>,
    /// Where it is in the image, in bytes.
    pub(super) range: std::ops::Range<u64>,
}

impl<R: ReadAt> Image<R> {
    /// The extended attributes of an inode.
    ///
    /// # Errors
    /// [`ReadError`] when they are damaged.
    pub fn xattrs(&self, inode: &Inode) -> Result<Xattrs, ReadError> {
        let mut xattrs = Xattrs::new();
        let body = self.xattr_body(inode)?;
        for &id in &body.shared {
            let entry = self.shared_xattr(inode.nid(), id)?;
            add(&mut xattrs, inode, &entry.name, &entry.value)?;
        }
        self.inline_xattrs(inode, &body, |name, value| {
            add(&mut xattrs, inode, name, value)
        })?;
        Ok(xattrs)
    }

    /// Calls `each` with the names and values of an inode's extended attributes, in the order in which they stand: its own, then
    /// those it shares.
    ///
    /// # Errors
    /// [`ReadError`] when they are damaged.
    pub fn each_stored_xattr(
        &self,
        inode: &Inode,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), ReadError> {
        let body = self.xattr_body(inode)?;
        self.inline_xattrs(inode, &body, |name, value| {
            each(name, value);
            Ok(())
        })?;
        for &id in &body.shared {
            let entry = self.shared_xattr(inode.nid(), id)?;
            each(&entry.name, &entry.value);
        }
        Ok(())
    }

    /// Reads what stands behind an inode: at most 256 KiB.
    pub(super) fn xattr_body(&self, inode: &Inode) -> Result<Body, ReadError> {
        let length = inode.xattr_len();
        if length == 0 {
            return Ok(Body {
                shared: Vec::new(),
                entries: Vec::new(),
            });
        }
        let (what, nid, address) = (
            "the extended attributes",
            inode.nid(),
            inode.xattr_address(),
        );
        self.check_range(what, nid, address, length as u64)?;
        let mut bytes = vec![0; length];
        self.read_part(what, nid, address, &mut bytes)?;
        let count = shared_count(&bytes);
        let rest = bytes.split_off(HEADER_LEN);
        if count * ID_LEN > rest.len() {
            let reason = XattrDamage::SharedCount {
                count,
                length: rest.len(),
            };
            return Err(ReadError::Xattrs { nid, reason });
        }
        let (ids, entries) = rest.split_at(count * ID_LEN);
        let shared = ids.chunks_exact(ID_LEN).map(|id| get_u32(id, 0)).collect();
        Ok(Body {
            shared,
            entries: entries.to_vec(),
        })
    }

    /// Hands the entries behind an inode to `sink` one by one.
    pub(super) fn inline_xattrs(
        &self,
        inode: &Inode,
        body: &Body,
        mut sink: impl FnMut(&[u8], &[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let nid = inode.nid();
        let damaged = || ReadError::Xattrs {
            nid,
            reason: XattrDamage::EntryRange,
        };
        let mut rest = body.entries.as_slice();
        while !rest.is_empty() {
            // Everything counts in units of four bytes, so an entry's fixed part is there.
            let head = decode_entry(rest.get(..ENTRY_LEN).ok_or_else(damaged)?);
            let length = entry_len(head.name_len, head.value_len);
            let (entry, after) = rest.split_at_checked(length).ok_or_else(damaged)?;
            let (name, value) = split(nid, head, &entry[ENTRY_LEN..])?;
            sink(&name, value)?;
            rest = after;
        }
        Ok(())
    }

    /// Reads a shared entry.
    pub(super) fn shared_xattr(&self, nid: u64, id: u32) -> Result<SharedEntry, ReadError> {
        let what = "a shared extended attribute";
        let base = u64::from(self.superblock.xattr_block) << self.superblock.block_bits;
        let address = base + u64::from(id) * ID_LEN as u64;
        let mut head = [0; ENTRY_LEN];
        self.read_part(what, nid, address, &mut head)?;
        let head = decode_entry(&head);
        // At most 64 KiB and a name.
        let mut bytes = vec![0; head.name_len + head.value_len];
        self.read_part(what, nid, address + ENTRY_LEN as u64, &mut bytes)?;
        let (name, value) = split(nid, head, &bytes)?;
        let length = entry_len(head.name_len, head.value_len) as u64;
        Ok(SharedEntry {
            name,
            value: value.to_vec(),
            range: address..address + length,
        })
    }
}

/// Full name and value of an entry; `rest` starts behind its fixed part.
fn split(nid: u64, head: EntryHead, rest: &[u8]) -> Result<(Vec<u8>, &[u8]), ReadError> {
    if head.index & LONG_PREFIX != 0 {
        return Err(ReadError::XattrPrefix { nid });
    }
    let (name, value) = rest.split_at(head.name_len);
    let reason = XattrDamage::NameIndex { index: head.index };
    let name = join_name(head.index, name).ok_or(ReadError::Xattrs { nid, reason })?;
    Ok((name, &value[..head.value_len]))
}

fn add(xattrs: &mut Xattrs, inode: &Inode, name: &[u8], value: &[u8]) -> Result<(), ReadError> {
    let nid = inode.nid();
    if xattrs.get(name).is_some() {
        return Err(ReadError::Xattrs {
            nid,
            reason: XattrDamage::Duplicate,
        });
    }
    xattrs.set(name, value).map_err(|_| ReadError::Xattrs {
        nid,
        reason: XattrDamage::Name,
    })
}
