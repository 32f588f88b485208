//! Extended attributes.

use lithify_tree::{NAME_MAX, XATTR_VALUE_MAX, Xattrs};

use super::{Image, Inode};
use crate::error::Damage;
use crate::format::xattr::{
    ENTRY_LEN, ID_LEN, OUT_OF_LINE, PREFIX_MASK, REFERENCE_LEN, TABLE_HEADER_LEN, prefix,
};
use crate::format::{NO_TABLE, NONE, Position, u16_at, u32_at, u64_at};
use crate::{ReadAt, ReadError};

/// Most bytes of names and values one inode can have: values can be stored once and referred to many times, so that
/// they could take memory out of proportion.
const TOTAL_MAX: usize = 16 << 20;

impl<R: ReadAt> Image<R> {
    /// The extended attributes of an inode.
    ///
    /// # Errors
    /// [`ReadError`] when they are damaged.
    pub fn xattrs(&self, inode: &Inode) -> Result<Xattrs, ReadError> {
        let number = self.xattr_number(inode)?;
        let mut found = Xattrs::new();
        if number == NONE {
            return Ok(found);
        }
        let table = self.superblock.xattr_table;
        if table == NO_TABLE {
            return Err(inode.damaged(Damage::Index {
                table: "attribute",
                index: u64::from(number),
                count: 0,
            }));
        }
        let mut header = [0; TABLE_HEADER_LEN];
        self.read_part("attribute", table, &mut header)?;
        let (pairs, count) = (u64_at(&header, 0), u64::from(u32_at(&header, 8)));
        let list = table.saturating_add(TABLE_HEADER_LEN as u64);
        let mut entry = [0; ID_LEN];
        self.table_entry("attribute", list, u64::from(number), count, &mut entry)?;
        let place = Position::from_reference(u64_at(&entry, 0));
        let mut cursor = self.cursor("the attributes", pairs, place);
        let mut total = 0;
        for _ in 0..u32_at(&entry, 8) {
            let mut head = [0; ENTRY_LEN];
            cursor.read(&mut head)?;
            let kind = u16_at(&head, 0);
            let prefix = prefix(kind & PREFIX_MASK).ok_or_else(|| {
                inode.damaged(Damage::XattrPrefix {
                    prefix: kind & PREFIX_MASK,
                })
            })?;
            let rest = usize::from(u16_at(&head, 2));
            if prefix.len() + rest > NAME_MAX {
                return Err(inode.damaged(Damage::Xattr));
            }
            let mut name = prefix.to_vec();
            name.extend(cursor.read_vec(rest)?);
            let length = cursor.u32()? as usize;
            let value = if kind & OUT_OF_LINE == 0 {
                self.xattr_value(inode, &mut cursor, length)?
            } else {
                if length != REFERENCE_LEN {
                    return Err(inode.damaged(Damage::Xattr));
                }
                let mut reference = [0; REFERENCE_LEN];
                cursor.read(&mut reference)?;
                let place = Position::from_reference(u64::from_le_bytes(reference));
                let mut elsewhere = self.cursor("the attributes", pairs, place);
                let length = elsewhere.u32()? as usize;
                self.xattr_value(inode, &mut elsewhere, length)?
            };
            total += name.len() + value.len();
            if total > TOTAL_MAX {
                return Err(inode.damaged(Damage::XattrsTooLong { limit: TOTAL_MAX }));
            }
            if found.get(&name).is_some() || found.set(&name, &value).is_err() {
                return Err(inode.damaged(Damage::Xattr));
            }
        }
        Ok(found)
    }

    fn xattr_value(
        &self,
        inode: &Inode,
        cursor: &mut super::metadata::Cursor<'_, R>,
        length: usize,
    ) -> Result<Vec<u8>, ReadError> {
        if length > XATTR_VALUE_MAX {
            return Err(inode.damaged(Damage::Xattr));
        }
        cursor.read_vec(length)
    }
}
