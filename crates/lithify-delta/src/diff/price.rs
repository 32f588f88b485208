//! Estimates of what bytes cost, once they are compressed.

use super::Way;

/// A sixteenth of a bit.
pub(super) type Price = i32;

/// A bit.
const BIT: Price = 16;

/// To go to another place of the old file: an operation with a position of three bytes, and those around it.
pub(super) const SEEK: Price = 45 * BIT;

/// To leave a cover and come back to it, without another one between.
pub(super) const GAP: Price = 24 * BIT;

/// Bytes whose price is one number.
const STRETCH: usize = 32 << 10;

/// What bytes of the new file cost if no cover has them.
#[derive(Debug)]
pub(super) struct Literals {
    stretches: Vec<Price>,
}

impl Literals {
    /// Estimates them by compressing each stretch on its own, if one of the ways wants to know.
    pub(super) fn of(new: &[u8], ways: &[Way]) -> Self {
        let most = 8 * BIT;
        let mut stretches = vec![most; new.len().div_ceil(STRETCH).max(1)];
        if !ways.iter().any(|way| matches!(way, Way::Cheaper)) {
            return Self { stretches };
        }
        let mut out = vec![0; zstd::zstd_safe::compress_bound(STRETCH)];
        let compressor = zstd::bulk::Compressor::new(1);
        let Ok(mut compressor) = compressor else {
            return Self { stretches };
        };
        for (stretch, price) in new.chunks(STRETCH).zip(&mut stretches) {
            if let Ok(length) = compressor.compress_to_buffer(stretch, &mut out[..]) {
                let bits = length as u64 * 8 * BIT as u64 / stretch.len() as u64;
                *price = Price::try_from(bits).unwrap_or(most).clamp(BIT / 8, most);
            }
        }
        Self { stretches }
    }

    /// Returns the price of the byte at a place.
    pub(super) fn at(&self, place: usize) -> Price {
        self.stretches[(place / STRETCH).min(self.stretches.len() - 1)]
    }
}

/// What differences cost: of each byte of a cover to the old file's byte.
///
/// Zeros are nothing. Others are as cheap as they are frequent: in tables of addresses the same few come again and again.
#[derive(Clone, Debug)]
pub(super) struct Differences {
    recent: [u8; 8],
    next: usize,
    /// Set after a zero.
    is_run: bool,
}

impl Differences {
    /// The first of a group of differences ends a run of zeros.
    const START: Price = 6 * BIT;
    const KNOWN: Price = 3 * BIT;
    const FIRST: Price = 9 * BIT;
    const OTHER: Price = 7 * BIT;
    /// Bytes in front of a place that are looked at.
    const BEFORE: usize = 64;

    pub(super) const fn new() -> Self {
        Self {
            recent: [0; 8],
            next: 0,
            is_run: true,
        }
    }

    /// Starts with what differs in the last bytes before: by them it is known what is frequent.
    pub(super) fn after(new: &[u8], old: &[u8]) -> Self {
        let mut differences = Self::new();
        let before = new.len().min(old.len()).min(Self::BEFORE);
        let pairs = new[new.len() - before..]
            .iter()
            .zip(&old[old.len() - before..]);
        for (new, old) in pairs {
            differences.price(*new, *old);
        }
        differences
    }

    /// Returns the price of the next byte.
    pub(super) fn price(&mut self, new: u8, old: u8) -> Price {
        let difference = new.wrapping_sub(old);
        if difference == 0 {
            self.is_run = true;
            return 0;
        }
        let was_run = std::mem::take(&mut self.is_run);
        let start = if was_run { Self::START } else { 0 };
        if self.recent.contains(&difference) {
            return start + Self::KNOWN;
        }
        self.recent[self.next] = difference;
        self.next = (self.next + 1) % self.recent.len();
        start + if was_run { Self::FIRST } else { Self::OTHER }
    }
}
