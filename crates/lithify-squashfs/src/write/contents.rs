//! What the writer knows about each content and each fragment block.

use lithify_tree::ContentId;

use crate::WriteError;
use crate::format::{BLOCK_STORED, NONE};

/// Set in a number of the list of block lengths that stands for that many blocks of zeros.
const ZEROS: u32 = 1 << 31;

/// Most blocks of zeros one number stands for.
const ZEROS_MAX: u32 = ZEROS - 1;

/// Most blocks of all files together: each takes four bytes of the inode table, half a gigabyte in all.
pub(crate) const BLOCKS_MAX: u64 = 1 << 27;

/// Length that has to be filled in when the block has been compressed.
const PENDING: u32 = 0;

/// Where a content's data is: 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// Size of the file in bytes.
    pub(crate) size: u64,
    /// Offset in the image of the first block, once it is known.
    pub(crate) start: u64,
    /// Where its block lengths start in the list.
    first: u32,
    /// Fragment block with the end of the file, or [`NONE`].
    pub(crate) fragment: u32,
    /// Offset in the fragment block.
    pub(crate) offset: u32,
    /// What contents have in common only if they are equal, or by chance.
    pub(crate) print: u32,
}

const _: () = assert!(size_of::<Content>() == 32);

/// The contents, by [`ContentId`].
#[derive(Debug, Default)]
pub(crate) struct Contents {
    records: Vec<Content>,
    /// Lengths of blocks as the image has them, runs of zero blocks in one number.
    lengths: Vec<u32>,
    /// Blocks the list stands for.
    blocks: u64,
}

impl Contents {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Blocks of all contents, those of zeros too.
    pub(crate) const fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(crate) fn get(&self, id: ContentId) -> Option<&Content> {
        self.records.get(id.0 as usize)
    }

    pub(crate) fn at(&self, index: usize) -> &Content {
        &self.records[index]
    }

    pub(crate) fn at_mut(&mut self, index: usize) -> &mut Content {
        &mut self.records[index]
    }

    /// Where the next content's lengths start.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            first: self.lengths.len(),
            blocks: self.blocks,
        }
    }

    /// Forgets lengths.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.lengths.truncate(mark.first);
        self.blocks = mark.blocks;
    }

    /// Adds a block whose length comes later; says where to put it.
    pub(crate) fn push_block(&mut self) -> Result<usize, WriteError> {
        self.count(1)?;
        self.lengths.push(PENDING);
        Ok(self.lengths.len() - 1)
    }

    pub(crate) fn set_length(&mut self, place: usize, length: u32) {
        self.lengths[place] = length;
    }

    /// Adds blocks of zeros to the content whose lengths start at `mark`.
    pub(crate) fn push_zeros(&mut self, mark: Mark, mut count: u64) -> Result<(), WriteError> {
        self.count(count)?;
        if self.lengths.len() > mark.first
            && let Some(last) = self.lengths.last_mut()
            && *last & ZEROS != 0
        {
            let more = count.min(u64::from(ZEROS_MAX - (*last & !ZEROS)));
            *last += more as u32;
            count -= more;
        }
        while count > 0 {
            let n = count.min(u64::from(ZEROS_MAX));
            self.lengths.push(ZEROS | n as u32);
            count -= n;
        }
        Ok(())
    }

    fn count(&mut self, more: u64) -> Result<(), WriteError> {
        self.blocks = self
            .blocks
            .checked_add(more)
            .filter(|&n| n <= BLOCKS_MAX)
            .ok_or(WriteError::TooManyBlocks { limit: BLOCKS_MAX })?;
        Ok(())
    }

    /// Completes a content.
    pub(crate) fn push(
        &mut self,
        mark: Mark,
        size: u64,
        start: u64,
        print: u32,
    ) -> Result<ContentId, WriteError> {
        // The highest number is left free: the tree uses it for "none".
        let id = u32::try_from(self.records.len())
            .ok()
            .filter(|&id| id < u32::MAX)
            .ok_or(WriteError::TooManyContents)?;
        self.records.push(Content {
            size,
            start,
            // At most BLOCKS_MAX numbers are in the list.
            first: mark.first as u32,
            fragment: NONE,
            offset: 0,
            print,
        });
        Ok(ContentId(id))
    }

    /// The numbers a content's list consists of.
    pub(crate) fn list(&self, index: usize) -> &[u32] {
        let first = self.records[index].first as usize;
        let end = match self.records.get(index + 1) {
            Some(next) => next.first as usize,
            None => self.lengths.len(),
        };
        &self.lengths[first..end]
    }

    /// As [`list`](Self::list), for the content that is being written.
    pub(crate) fn open_list(&self, mark: Mark) -> &[u32] {
        &self.lengths[mark.first..]
    }
}

/// Where the lengths of a content start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    first: usize,
    blocks: u64,
}

/// Bytes the blocks of a list take in the image.
pub(crate) fn stored_len(list: &[u32]) -> u64 {
    list.iter()
        .filter(|&n| n & ZEROS == 0)
        .map(|&n| u64::from(n & !BLOCK_STORED))
        .sum()
}

/// The lengths as the image has them: stretches of one number.
pub(crate) fn expand(list: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    list.iter().map(|&n| {
        if n & ZEROS != 0 {
            (0, n & !ZEROS)
        } else {
            (n, 1)
        }
    })
}

/// A fragment block: ends of files, one after another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fragment {
    /// Offset in the image.
    pub(crate) start: u64,
    /// Length as the image has it.
    pub(crate) length: u32,
    /// Length uncompressed.
    pub(crate) raw_len: u32,
}

impl Fragment {
    pub(crate) fn stored_len(self) -> u64 {
        u64::from(self.length & !BLOCK_STORED)
    }
}
