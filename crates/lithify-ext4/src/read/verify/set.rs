//! Sets of numbers, one bit each.

use std::collections::HashMap;

/// Numbers that stand together.
const CHUNK: u64 = 4096;

/// A set of numbers. It takes memory where there are any.
#[derive(Debug, Default)]
pub(super) struct Set {
    chunks: HashMap<u64, Box<[u64; 64]>>,
}

impl Set {
    /// Adds a number. Tells whether it is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        self.insert_range(number, 1).is_none()
    }

    /// Adds numbers that follow each other. Returns the first that was there.
    pub(super) fn insert_range(&mut self, first: u64, count: u64) -> Option<u64> {
        let mut there = None;
        let (mut at, end) = (first, first.saturating_add(count));
        while at < end {
            let chunk = self
                .chunks
                .entry(at / CHUNK)
                .or_insert_with(|| Box::new([0; 64]));
            let chunk_end = end.min((at / CHUNK + 1) * CHUNK);
            while at < chunk_end {
                let bits = (64 - at % 64).min(chunk_end - at);
                let mask = (u64::MAX >> (64 - bits)) << (at % 64);
                let word = &mut chunk[(at % CHUNK / 64) as usize];
                if there.is_none() && *word & mask != 0 {
                    let bit = u64::from((*word & mask).trailing_zeros());
                    there = Some(at / 64 * 64 + bit);
                }
                *word |= mask;
                at += bits;
            }
        }
        there
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.byte(number / 8) >> (number % 8) & 1 == 1
    }

    /// Tells which of eight numbers are in it, as a bitmap does.
    pub(super) fn byte(&self, index: u64) -> u8 {
        let first = index * 8;
        self.chunks.get(&(first / CHUNK)).map_or(0, |chunk| {
            (chunk[(first % CHUNK / 64) as usize] >> (first % 64)) as u8
        })
    }

    /// Returns how many numbers from a multiple of 8 on are in it.
    pub(super) fn count(&self, first: u64, count: u64) -> u64 {
        let whole: u64 = (first / 8..(first + count) / 8)
            .map(|index| u64::from(self.byte(index).count_ones()))
            .sum();
        let rest = (first + count) / 8 * 8..first + count;
        whole + rest.filter(|number| self.contains(*number)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Set;

    #[test]
    fn numbers_are_there_once_they_were_added() {
        let mut set = Set::default();
        assert!(set.insert(5));
        assert!(!set.insert(5));
        assert_eq!(set.insert_range(6, 10_000), None);
        assert_eq!(set.insert_range(0, 100), Some(5));
        assert_eq!(set.insert_range(10_006, 0), None);
        assert_eq!(set.insert_range(10_000, 64), Some(10_000));
        assert_eq!(set.count(0, 20_000), 10_064);
        assert_eq!(set.count(8, 13), 13);
        assert_eq!(set.count(10_056, 100), 8);
        assert!(set.contains(10_063) && !set.contains(10_064));
        assert_eq!(set.byte(10_064 / 8), 0);
        assert_eq!(set.byte(0), 0xff);
    }
}
