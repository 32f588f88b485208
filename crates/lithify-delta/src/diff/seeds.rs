//! Where groups of bytes are in the old file.

/// Bytes of a group.
pub(super) const GROUP: usize = size_of::<u64>();

/// No place.
const NONE: u32 = u32::MAX;

/// A hash table of groups of bytes, each with the last places where it is. Different groups may share a slot: whoever is given a place
/// compares.
#[derive(Debug)]
pub(super) struct Seeds {
    table: Vec<u32>,
    places: usize,
    /// Bits of a hash that are not used.
    shift: u32,
}

/// Returns the distance between groups that are indexed, and the bits of the number of slots.
fn geometry(old: usize, groups: usize) -> (usize, u32) {
    let step = old.div_ceil(groups).max(1);
    let slots = (old / step).max(256).next_power_of_two();
    (step, slots.trailing_zeros())
}

impl Seeds {
    /// Returns the memory that an index takes, in bytes.
    pub(super) fn memory(old: usize, groups: usize, places: usize) -> u64 {
        let (_, bits) = geometry(old, groups);
        ((size_of::<u32>() * places) as u64) << bits
    }

    /// Indexes a file: at most so many groups of it, with so many places for each slot.
    pub(super) fn of(old: &[u8], groups: usize, places: usize) -> Self {
        let (step, bits) = geometry(old.len(), groups);
        let mut seeds = Self {
            table: vec![NONE; places << bits],
            places,
            shift: u64::BITS - bits,
        };
        for (group, place) in old
            .windows(GROUP)
            .step_by(step)
            .zip((0_u32..NONE).step_by(step))
        {
            let slot = seeds.slot(group);
            let slot = &mut seeds.table[slot..][..places];
            slot.copy_within(..places - 1, 1);
            slot[0] = place;
        }
        seeds
    }

    fn slot(&self, group: &[u8]) -> usize {
        let mut word = [0; GROUP];
        word.copy_from_slice(&group[..GROUP]);
        // Fibonacci hashing: 2⁶⁴ divided by the golden ratio.
        let hash = u64::from_le_bytes(word).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        // Less than the number of slots.
        hash as usize * self.places
    }

    /// Returns the places where a group, with which `bytes` begin, may be; the last one first.
    pub(super) fn places(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let slot = self.slot(bytes);
        let places = self.table[slot..][..self.places].iter();
        places
            .take_while(|place| **place != NONE)
            .map(|place| *place as usize)
    }
}
