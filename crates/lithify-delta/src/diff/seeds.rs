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
}

/// The density of an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Density {
    /// The distance between groups, in bytes. It is more if there is not the memory.
    pub(super) step: u64,
    /// Places that are remembered of each slot.
    pub(super) places: usize,
}

impl Density {
    /// Returns the number of groups that are indexed of a file of that length, in so many bytes of memory.
    fn groups(self, old: u64, memory: u64) -> u64 {
        let most = memory / (self.places * size_of::<u32>()) as u64;
        let step = old.div_ceil(most.max(1)).max(self.step);
        old.div_ceil(step).max(1)
    }
}

impl Seeds {
    /// Returns the memory that an index takes, in bytes.
    pub(super) fn memory(old: u64, density: Density, memory: u64) -> u64 {
        density.groups(old, memory) * (density.places * size_of::<u32>()) as u64
    }

    /// Indexes a file, in at most so many bytes of memory: of a longer file not all groups.
    pub(super) fn of(old: &[u8], density: Density, memory: u64) -> Self {
        let places = density.places;
        let groups = density.groups(old.len() as u64, memory);
        // Both are at most the file's length.
        let step = (old.len() as u64).div_ceil(groups).max(1) as usize;
        let mut seeds = Self {
            table: vec![NONE; places * groups as usize],
            places,
        };
        let places_of_groups = (0_u32..NONE).step_by(step);
        for (group, place) in old.windows(GROUP).step_by(step).zip(places_of_groups) {
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
        // Fibonacci hashing: 2⁶⁴ divided by the golden ratio. The upper half of the product with the number of slots is one of them.
        let hash = u64::from_le_bytes(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slots = (self.table.len() / self.places) as u128;
        ((u128::from(hash) * slots) >> u64::BITS) as usize * self.places
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
