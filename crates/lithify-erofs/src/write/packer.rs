//! Filling metadata blocks: records of inodes with what stands behind them, on 32-byte slots, none crossing a block
//! unless it is longer than one.

use std::collections::VecDeque;

use crate::WriteError;
use crate::format::BLOCK_SIZE;
use crate::format::inode::SLOT_SIZE;

/// Slots in a block.
pub(crate) const SLOTS: u32 = (BLOCK_SIZE / SLOT_SIZE) as u32;

/// Blocks that wait for a record that fits their remaining space. More would fill blocks better and spread inodes of
/// one directory further.
const OPEN_MAX: usize = 4096;

/// Best-fit packing with a bounded number of open blocks.
#[derive(Debug)]
pub(crate) struct Packer {
    /// Open blocks by the number of slots they have left, the oldest in front.
    open: Vec<VecDeque<u32>>,
    /// Bit `n` says that `open[n]` is not empty.
    present: u128,
    open_count: usize,
    next_block: u32,
    used: u64,
}

impl Packer {
    /// Starts with block 0, of which the last `first_free` slots are free.
    pub(crate) fn new(first_free: u32) -> Self {
        let mut packer = Self {
            open: (0..SLOTS).map(|_| VecDeque::new()).collect(),
            present: 0,
            open_count: 0,
            next_block: 1,
            used: 0,
        };
        packer.put_back(0, first_free);
        packer
    }

    /// Places a record and gives its first slot: block number times [`SLOTS`] plus slot in the block.
    pub(crate) fn place(&mut self, length: u64) -> Result<u32, WriteError> {
        let slots = length.div_ceil(SLOT_SIZE as u64);
        self.used += slots;
        if slots < u64::from(SLOTS) {
            let slots = slots as u32;
            if let Some((block, free)) = self.take(slots) {
                self.put_back(block, free - slots);
                return Ok(block * SLOTS + SLOTS - free);
            }
        }
        let block = self.next_block;
        let blocks = slots.div_ceil(u64::from(SLOTS));
        let next = u64::from(block) + blocks;
        // Slot numbers have 32 bits.
        self.next_block = u32::try_from(next)
            .ok()
            .filter(|&n| n < u32::MAX / SLOTS)
            .ok_or(WriteError::TooMuchMetadata)?;
        self.put_back(
            self.next_block - 1,
            (blocks * u64::from(SLOTS) - slots) as u32,
        );
        Ok(block * SLOTS)
    }

    /// Number of blocks begun, block 0 included.
    pub(crate) fn blocks(&self) -> u32 {
        self.next_block
    }

    /// Slots in use.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// The open block whose free space fits best: of several the one begun last, being the closest to where its
    /// neighbours in the tree are.
    fn take(&mut self, slots: u32) -> Option<(u32, u32)> {
        let fitting = self.present & (u128::MAX << slots);
        if fitting == 0 {
            return None;
        }
        let free = fitting.trailing_zeros();
        let list = &mut self.open[free as usize];
        let block = list.pop_back()?;
        if list.is_empty() {
            self.present &= !(1 << free);
        }
        self.open_count -= 1;
        Some((block, free))
    }

    fn put_back(&mut self, block: u32, free: u32) {
        if free == 0 {
            return;
        }
        self.open[free as usize].push_back(block);
        self.present |= 1 << free;
        self.open_count += 1;
        if self.open_count > OPEN_MAX {
            // Give up on the one with the least space.
            let least = self.present.trailing_zeros();
            let list = &mut self.open[least as usize];
            list.pop_front();
            if list.is_empty() {
                self.present &= !(1 << least);
            }
            self.open_count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_records_fill_gaps() {
        let mut p = Packer::new(2);
        assert_eq!(p.place(4096).unwrap(), SLOTS);
        assert_eq!(p.place(64).unwrap(), SLOTS - 2);
        assert_eq!(p.place(4033).unwrap(), 2 * SLOTS);
        assert_eq!(p.place(4000).unwrap(), 3 * SLOTS);
        assert_eq!(p.place(32).unwrap(), 2 * SLOTS + 127);
        assert_eq!(p.place(97).unwrap(), 4 * SLOTS);
        assert_eq!(p.place(64).unwrap(), 3 * SLOTS + 125);
        assert_eq!(p.place(10_000).unwrap(), 5 * SLOTS);
        assert_eq!(p.blocks(), 8);
    }

    proptest! {
        #[test]
        fn records_never_overlap(lengths in prop::collection::vec(1_u64..9000, 1..3000)) {
            let mut p = Packer::new(92);
            let mut placed: Vec<(u32, u32)> = Vec::new();
            for length in lengths {
                let at = p.place(length).unwrap();
                let slots = length.div_ceil(32) as u32;
                prop_assert!(slots > SLOTS || at / SLOTS == (at + slots - 1) / SLOTS);
                placed.push((at, at + slots));
            }
            placed.sort_unstable();
            prop_assert!(placed[0].0 >= SLOTS - 92);
            prop_assert!(placed.windows(2).all(|w| w[0].1 <= w[1].0));
            prop_assert!(placed.iter().all(|r| r.1 <= p.blocks() * SLOTS));
        }
    }
}
