//! Extended attributes: each set once, each value longer than a reference once.

use std::collections::HashMap;

use lithify_tree::{Tree, XattrSetId, Xattrs};

use super::metadata::MetadataWriter;
use super::{UnsupportedXattrs, check};
use crate::format::xattr::{OUT_OF_LINE, REFERENCE_LEN, split_name};
use crate::format::{NONE, Position};
use crate::{Compression, WriteError};

/// The names of a set's attributes that squashfs cannot hold: of a namespace it does not know.
#[must_use]
pub fn unsupported_xattrs(xattrs: &Xattrs) -> Vec<&[u8]> {
    let names = xattrs.iter().map(|(name, _)| name);
    names.filter(|name| split_name(name).is_none()).collect()
}

/// The attributes as the image has them.
#[derive(Debug)]
pub(crate) struct XattrTable {
    /// Blocks of names and values.
    pub(crate) pairs: Vec<u8>,
    /// Entries of the table inodes refer to, 16 bytes each.
    pub(crate) ids: Vec<u8>,
    /// By set of the tree, the number of its entry or [`NONE`].
    number: Vec<u32>,
    /// Attributes left out, counted once for each inode that has them.
    pub(crate) dropped: u64,
}

impl XattrTable {
    pub(crate) fn new(
        tree: &Tree,
        compression: Compression,
        unsupported: UnsupportedXattrs,
    ) -> Result<Self, WriteError> {
        let mut uses = vec![0_u64; tree.xattr_set_count()];
        let mut sets: Vec<XattrSetId> = Vec::new();
        for id in tree.inode_ids() {
            let set = tree.inode(id).xattrs;
            let count = &mut uses[set.index()];
            if *count == 0 && set != XattrSetId::EMPTY {
                sets.push(set);
            }
            *count += 1;
        }
        let mut table = Self {
            pairs: Vec::new(),
            ids: Vec::new(),
            number: vec![NONE; uses.len()],
            dropped: 0,
        };
        let mut writer = MetadataWriter::new(compression)?;
        // First place of each value; entries live as long as the tree.
        let mut places: HashMap<&[u8], Position> = HashMap::new();
        let mut bytes = Vec::new();
        for set in sets {
            let start = writer.position();
            let (mut count, mut length) = (0_u32, 0_u32);
            for (name, value) in tree.xattrs(set).iter() {
                let Some((prefix, rest)) = split_name(name) else {
                    if unsupported == UnsupportedXattrs::Drop {
                        table.dropped += uses[set.index()];
                        continue;
                    }
                    return Err(WriteError::XattrName {
                        path: check::path_of_set(tree, set),
                        name: name.to_vec(),
                    });
                };
                let known = places.get(value).filter(|_| value.len() > REFERENCE_LEN);
                bytes.clear();
                bytes
                    .extend((prefix | if known.is_some() { OUT_OF_LINE } else { 0 }).to_le_bytes());
                // Names have at most 255 bytes, values 65536.
                bytes.extend((rest.len() as u16).to_le_bytes());
                bytes.extend_from_slice(rest);
                writer.push(&bytes)?;
                length += bytes.len() as u32;
                bytes.clear();
                match known {
                    Some(place) => {
                        bytes.extend((REFERENCE_LEN as u32).to_le_bytes());
                        bytes.extend(place.reference().to_le_bytes());
                    }
                    None => {
                        places.insert(value, writer.position());
                        bytes.extend((value.len() as u32).to_le_bytes());
                        bytes.extend_from_slice(value);
                    }
                }
                writer.push(&bytes)?;
                length = length.saturating_add(bytes.len() as u32);
                count += 1;
            }
            if count == 0 {
                continue;
            }
            table.number[set.index()] = (table.ids.len() / crate::format::xattr::ID_LEN) as u32;
            table.ids.extend(start.reference().to_le_bytes());
            table.ids.extend(count.to_le_bytes());
            table.ids.extend(length.to_le_bytes());
        }
        writer.close_block()?;
        table.pairs = writer.out;
        Ok(table)
    }

    /// What an inode refers to its attributes by.
    pub(crate) fn number(&self, set: XattrSetId) -> u32 {
        self.number[set.index()]
    }
}
