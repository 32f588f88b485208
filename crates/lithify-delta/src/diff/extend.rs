//! Matches to covers: over bytes that differ, as long as that gains something.

use super::cover::Cover;
use super::price::{Differences, GAP, Literals, Price};
use crate::bytes::equal;

/// How far below its best the gain may fall before nothing more is looked at.
const PATIENCE: Price = 600 * 16;

/// Says what is gained by covering bytes.
pub(super) trait Gain {
    /// Begins at another place.
    fn begin(&mut self);

    /// Returns the gain of covering a byte, which is at a place of the new file.
    fn of(&mut self, place: usize, new: u8, old: u8) -> Price;

    /// Tells whether it is good to cover what is between two matches of one alignment.
    fn is_bridged(&mut self, old: &[u8], new: &[u8], cover: &Cover, next: &Cover) -> bool;
}

/// More equal bytes than others.
#[derive(Debug)]
pub(super) struct Equal;

impl Equal {
    const ONE: Price = 24;
    /// Gaps that are always covered, in bytes.
    const SHORT: usize = 64;
    /// Equal bytes that longer ones must have, in percent.
    const ENOUGH: usize = 30;
}

impl Gain for Equal {
    fn begin(&mut self) {}

    fn of(&mut self, _: usize, new: u8, old: u8) -> Price {
        if new == old { Self::ONE } else { -Self::ONE }
    }

    fn is_bridged(&mut self, old: &[u8], new: &[u8], cover: &Cover, next: &Cover) -> bool {
        let new = &new[cover.new_end()..next.new];
        let old = &old[cover.old_end()..next.old];
        new.len() < Self::SHORT || equal(new, old) * 100 >= new.len() * Self::ENOUGH
    }
}

/// Bits, by estimates.
#[derive(Debug)]
pub(super) struct Priced<'a> {
    literals: &'a Literals,
    differences: Differences,
}

impl<'a> Priced<'a> {
    pub(super) const fn of(literals: &'a Literals) -> Self {
        Self {
            literals,
            differences: Differences::new(),
        }
    }
}

impl Gain for Priced<'_> {
    fn begin(&mut self) {
        self.differences = Differences::new();
    }

    fn of(&mut self, place: usize, new: u8, old: u8) -> Price {
        self.literals.at(place) - self.differences.price(new, old)
    }

    fn is_bridged(&mut self, old: &[u8], new: &[u8], cover: &Cover, next: &Cover) -> bool {
        let (from, old_from) = (cover.new_end(), cover.old_end());
        self.differences = Differences::after(&new[..from], &old[..old_from]);
        let pairs = new[from..next.new].iter().zip(&old[old_from..next.old]);
        let gains = pairs.map(|(new, old)| i64::from(self.of(from, *new, *old)));
        gains.sum::<i64>() > -i64::from(GAP)
    }
}

/// Extends matches to covers.
pub(super) fn extend(
    old: &[u8],
    new: &[u8],
    matches: Vec<Cover>,
    gain: &mut impl Gain,
) -> Vec<Cover> {
    let mut covers = Vec::with_capacity(matches.len());
    let mut last: Option<Cover> = None;
    for mut next in matches {
        let Some(mut cover) = last else {
            let before = backwards(old, new, &next, 0, gain);
            last = Some(longer(next, before));
            continue;
        };
        if cover.is_aligned(&next) && gain.is_bridged(old, new, &cover, &next) {
            cover.length = next.new_end() - cover.new;
            last = Some(cover);
            continue;
        }
        let after = forwards(old, new, &cover, next.new, gain);
        let before = backwards(old, new, &next, cover.new_end(), gain);
        let overlap = (cover.new_end() + after).saturating_sub(next.new - before);
        let kept = split(old, new, &cover, &next, next.new - before, overlap);
        cover.length += after - (overlap - kept);
        next = longer(next, before - kept);
        covers.push(cover);
        last = Some(next);
    }
    if let Some(mut cover) = last {
        cover.length += forwards(old, new, &cover, new.len(), gain);
        covers.push(cover);
    }
    covers
}

/// Makes a cover longer at its front.
const fn longer(cover: Cover, before: usize) -> Cover {
    Cover {
        new: cover.new - before,
        old: cover.old - before,
        length: cover.length + before,
    }
}

/// Returns how many bytes are gained behind a cover, up to a place of the new file.
fn forwards(old: &[u8], new: &[u8], cover: &Cover, limit: usize, gain: &mut impl Gain) -> usize {
    let (from, old_from) = (cover.new_end(), cover.old_end());
    let pairs = new[from..limit].iter().zip(&old[old_from..]);
    best(pairs.zip(from..), gain)
}

/// Returns how many bytes are gained in front of a cover, back to a place of the new file.
fn backwards(old: &[u8], new: &[u8], cover: &Cover, limit: usize, gain: &mut impl Gain) -> usize {
    let pairs = new[limit..cover.new].iter().rev();
    let pairs = pairs.zip(old[..cover.old].iter().rev());
    best(pairs.zip((limit..cover.new).rev()), gain)
}

/// Returns for how many bytes, with their places, the sum of gains is largest.
fn best<'a>(bytes: impl Iterator<Item = ((&'a u8, &'a u8), usize)>, gain: &mut impl Gain) -> usize {
    gain.begin();
    let (mut sum, mut most, mut count) = (0, 0, 0);
    for (number, ((new, old), place)) in bytes.enumerate() {
        sum += gain.of(place, *new, *old);
        if sum > most {
            (most, count) = (sum, number + 1);
        } else if sum < most - PATIENCE {
            break;
        }
    }
    count
}

/// Returns how many bytes, of those that two covers would both have, are better the first one's.
fn split(old: &[u8], new: &[u8], cover: &Cover, next: &Cover, from: usize, length: usize) -> usize {
    let (mut sum, mut most, mut count) = (0_i64, 0, 0);
    for at in from..from + length {
        let of_cover = old[cover.old + (at - cover.new)];
        let of_next = old[next.old - (next.new - at)];
        sum += i64::from(new[at] == of_cover) - i64::from(new[at] == of_next);
        if sum > most {
            (most, count) = (sum, at - from + 1);
        }
    }
    count
}
