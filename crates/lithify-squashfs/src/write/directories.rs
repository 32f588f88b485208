//! Listings of directories.

use super::metadata::MetadataWriter;
use crate::FileType;
use crate::WriteError;
use crate::format::directory::{ENTRY_LEN, Entry, HEADER_LEN, Header, Index, RUN_MAX};
use crate::format::inode::type_code;
use crate::format::{METADATA_LEN, Position};

/// A name and the inode it refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: Position,
    pub(crate) number: u32,
    pub(crate) file_type: FileType,
}

/// A listing in the directory table.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) place: Position,
    /// Length in bytes; `None` when 32 bits do not hold it.
    pub(crate) length: Option<u32>,
    /// Entries of the index, and their bytes.
    pub(crate) index_count: u16,
    pub(crate) index: Vec<u8>,
}

/// Writes a listing of names in ascending order.
pub(crate) fn write(table: &mut MetadataWriter, names: &[Name<'_>]) -> Result<Listing, WriteError> {
    let mut listing = Listing {
        place: table.position(),
        length: None,
        index_count: 0,
        index: Vec::new(),
    };
    let (mut length, mut rest) = (0_u64, names);
    let mut indexed_block = listing.place.block;
    let mut run = Vec::new();
    while let Some(head) = rest.first() {
        let place = table.position();
        if place.block != indexed_block
            && listing.index_count < u16::MAX
            && let (Ok(offset), Ok(block)) = (u32::try_from(length), u32::try_from(place.block))
        {
            let name_len = head.name.len() as u64;
            Index {
                offset,
                block,
                name_len,
            }
            .encode(&mut listing.index);
            listing.index.extend_from_slice(head.name);
            listing.index_count += 1;
            indexed_block = place.block;
        }
        let (members, behind) = rest.split_at(run_len(rest, usize::from(place.offset)));
        run.clear();
        let block = u32::try_from(head.inode.block)
            .map_err(|_| WriteError::TooMuchMetadata { what: "inodes" })?;
        Header {
            count: members.len() as u32,
            block,
            number: head.number,
        }
        .encode(&mut run);
        for member in members {
            Entry {
                offset: member.inode.offset,
                // As `run_len` has checked.
                delta: member.number.wrapping_sub(head.number) as i16,
                file_type: type_code(member.file_type),
                name_len: member.name.len(),
            }
            .encode(&mut run);
            run.extend_from_slice(member.name);
        }
        table.push(&run)?;
        length += run.len() as u64;
        rest = behind;
    }
    listing.length = u32::try_from(length).ok();
    Ok(listing)
}

/// How many of the names can share a header that stands at an offset of its block: their inodes are in one block, their
/// numbers near the first one's, and they start in the header's block, so that the index leads close to each.
fn run_len(names: &[Name<'_>], offset: usize) -> usize {
    let head = &names[0];
    let mut at = offset + HEADER_LEN;
    names
        .iter()
        .take(RUN_MAX)
        .enumerate()
        .take_while(|(i, n)| {
            let near = i16::try_from(i64::from(n.number) - i64::from(head.number)).is_ok();
            let fits = *i == 0 || at < METADATA_LEN;
            at += ENTRY_LEN + n.name.len();
            near && fits && n.inode.block == head.inode.block
        })
        .count()
}
