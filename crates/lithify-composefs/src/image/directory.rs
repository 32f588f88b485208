//! The entries of a directory, in blocks.

use std::borrow::Cow;

use super::format::{BLOCK, DIRENT};

/// A name in a directory.
#[derive(Clone, Debug)]
pub(super) struct Named<'a> {
    pub(super) name: Cow<'a, [u8]>,
    /// The number of the inode in the image's order; which slot that is is known when all are placed.
    pub(super) number: u32,
    pub(super) kind: u8,
}

/// Divides the entries of a directory, in the order of their names, into those of each block.
pub(super) fn chunks<'e, 'a>(
    mut entries: &'e [Named<'a>],
) -> impl Iterator<Item = &'e [Named<'a>]> {
    std::iter::from_fn(move || {
        let mut size = 0;
        let fits = entries.iter().take_while(|entry| {
            size += DIRENT + entry.name.len();
            size as u64 <= BLOCK
        });
        let (chunk, rest) = entries.split_at(fits.count());
        entries = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Returns the bytes a block's entries take.
pub(super) fn size(chunk: &[Named<'_>]) -> u64 {
    chunk.iter().map(|e| (DIRENT + e.name.len()) as u64).sum()
}

/// Writes the entries of a block: first what they say, then their names. `slot` returns the slot of an inode.
pub(super) fn encode(chunk: &[Named<'_>], slot: impl Fn(u32) -> u64, out: &mut Vec<u8>) {
    let mut name_at = chunk.len() * DIRENT;
    for entry in chunk {
        out.extend_from_slice(&slot(entry.number).to_le_bytes());
        // Less than a block.
        out.extend_from_slice(&name_at.to_le_bytes()[..2]);
        out.extend_from_slice(&[entry.kind, 0]);
        name_at += entry.name.len();
    }
    chunk.iter().for_each(|e| out.extend_from_slice(&e.name));
}
