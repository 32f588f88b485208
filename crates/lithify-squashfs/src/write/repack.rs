//! Leaving out what no one refers to: data of files that later layers replaced or removed.
//!
//! Fragment blocks were filled as files came, so one may hold ends of dead files among those of live ones. Waiting for
//! the merge before packing any would need no repacking, but most files of an image are shorter than a block: half of
//! its data would have to be kept, and be compressed when nothing else is left to do. So only blocks with dead ends
//! are read back and their live ends packed again; blocks without live ends are dropped, and so are dead files'
//! blocks. [`gaps`](super::gaps) says how the space is closed.

use lithify_tree::ContentId;

use super::Writer;
use super::contents::stored_len;
use super::gaps::{self, Extent, What};
use crate::error::Operation;
use crate::format::NONE;
use crate::{Storage, WriteError};

/// A set of contents.
#[derive(Debug, Default)]
pub(crate) struct ContentSet {
    bits: Vec<u64>,
}

impl ContentSet {
    pub(crate) fn insert(&mut self, id: ContentId) {
        let (word, bit) = (id.0 as usize / 64, id.0 % 64);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << bit;
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.bits
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 != 0)
    }
}

/// What closing the space of dead data came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    /// Where the data ends.
    pub(crate) end: u64,
    /// Bytes copied.
    pub(crate) moved: u64,
    /// Bytes that became zeros.
    pub(crate) padding: u64,
}

impl<S: Storage> Writer<S> {
    /// Packs the live ends of files again whose fragment block holds dead ones.
    pub(super) fn repack_fragments(&mut self, live: &ContentSet) -> Result<(), WriteError> {
        let open = self.data.fragments.len();
        let mut live_len = vec![0_u32; open + 1];
        let indices = || (0..self.contents.len()).filter(|&i| live.contains(i));
        let block_size = u64::from(self.block_size);
        let tail_len = move |size: u64| (size % block_size) as u32;
        for content in indices().map(|i| self.contents.at(i)) {
            if content.fragment != NONE {
                live_len[content.fragment as usize] += tail_len(content.size);
            }
        }
        let raw_len = |number: usize| match self.data.fragments.get(number) {
            Some(fragment) => fragment.raw_len,
            None => self.tails.raw.len() as u32,
        };
        let is_dirty: Vec<bool> = (0..=open)
            .map(|f| live_len[f] != 0 && live_len[f] != raw_len(f))
            .collect();
        // Ends to move, block by block in the order they lie in.
        let mut moving: Vec<(u32, u32, u32)> = indices()
            .map(|i| (i, self.contents.at(i)))
            .filter(|(_, c)| c.fragment != NONE && is_dirty[c.fragment as usize])
            .map(|(i, c)| (c.fragment, c.offset, i as u32))
            .collect();
        moving.sort_unstable();

        // The open block first: what is live in it makes room for the rest.
        if live_len[open] == 0 {
            self.tails.raw.clear();
        } else if is_dirty[open] {
            let new = self.data.pool.buffers();
            let old = std::mem::replace(&mut self.tails, new);
            for &(_, offset, content) in moving.iter().filter(|m| m.0 as usize == open) {
                let length = tail_len(self.contents.at(content as usize).size) as usize;
                self.place_tail(content as usize, &old.raw[offset as usize..][..length])?;
            }
            self.data.pool.recycle(old);
        }
        moving.retain(|m| (m.0 as usize) < open);
        if !moving.is_empty() {
            self.data.drain(&mut self.storage, &mut self.contents)?;
        }
        for &(number, offset, content) in &moving {
            let length = tail_len(self.contents.at(content as usize).size) as usize;
            let block = self.data.read_fragment(&mut self.storage, number)?;
            // The block was made of these very pieces.
            let tail = block
                .get(offset as usize..offset as usize + length)
                .unwrap_or_default()
                .to_vec();
            self.place_tail(content as usize, &tail)?;
        }
        self.repacked = moving.len() as u64;
        self.seal_fragment()
    }

    /// Drops dead fragment blocks from the table and closes the space of what is dead.
    pub(super) fn close_gaps(
        &mut self,
        live: &ContentSet,
        first: u64,
    ) -> Result<Closed, WriteError> {
        let mut used = vec![false; self.data.fragments.len()];
        let mut extents = Vec::new();
        for index in (0..self.contents.len()).filter(|&i| live.contains(i)) {
            let content = self.contents.at(index);
            if content.fragment != NONE {
                used[content.fragment as usize] = true;
            }
            let length = stored_len(self.contents.list(index));
            if length > 0 {
                let (start, what) = (content.start, What::Content(index as u32));
                extents.push(Extent {
                    start,
                    length,
                    what,
                });
            }
        }
        // New numbers for the blocks that stay.
        let mut numbers = vec![NONE; used.len()];
        let mut fragments = Vec::new();
        for (old, fragment) in self.data.fragments.iter().enumerate() {
            if used[old] {
                numbers[old] = fragments.len() as u32;
                extents.push(Extent {
                    start: fragment.start,
                    length: fragment.stored_len(),
                    what: What::Fragment(fragments.len() as u32),
                });
                fragments.push(*fragment);
            }
        }
        for index in (0..self.contents.len()).filter(|&i| live.contains(i)) {
            let content = self.contents.at_mut(index);
            if content.fragment != NONE {
                content.fragment = numbers[content.fragment as usize];
            }
        }
        extents.sort_unstable_by_key(|e| e.start);
        let plan = gaps::close(&mut extents, first);
        for extent in &extents {
            match extent.what {
                What::Content(index) => self.contents.at_mut(index as usize).start = extent.start,
                What::Fragment(number) => fragments[number as usize].start = extent.start,
            }
        }
        self.data.fragments = fragments;
        let mut moved = 0;
        for &(from, to, length) in &plan.moves {
            self.storage
                .move_down(from, to, length)
                .map_err(Operation::MoveData.failed())?;
            moved += length;
        }
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut padding = 0;
        for &(start, length) in &plan.zeros {
            let mut at = start;
            while at < start + length {
                let n = (start + length - at).min(ZEROS.len() as u64);
                self.storage
                    .write_all_at(&ZEROS[..n as usize], at)
                    .map_err(Operation::MoveData.failed())?;
                at += n;
            }
            padding += length;
        }
        Ok(Closed {
            end: plan.end,
            moved,
            padding,
        })
    }
}
