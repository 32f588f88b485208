//! Parts that are the same.

use super::cover::{Cover, place};
use super::price::{Differences, Literals, Price, SEEK};
use super::seeds::{GROUP, Seeds};
use crate::bytes::{common_prefix, common_suffix, equal};

/// Decides whether to go to a match elsewhere.
pub(super) trait Judge {
    /// Shortest match that it wants to be asked about.
    fn shortest(&self) -> usize;

    /// Tells whether a match, from one place of the new file to another, is worth leaving the alignment for.
    fn is_better(&mut self, old: &[u8], new: &[u8], from: usize, to: usize, shift: isize) -> bool;
}

/// Goes to a match that has more bytes than the alignment has equal ones there, by so many.
#[derive(Debug)]
pub(super) struct Longer {
    by: usize,
}

impl Longer {
    pub(super) const fn by(by: usize) -> Self {
        Self { by }
    }
}

impl Judge for Longer {
    fn shortest(&self) -> usize {
        self.by.max(GROUP) + 4
    }

    fn is_better(&mut self, old: &[u8], new: &[u8], from: usize, to: usize, shift: isize) -> bool {
        let begin = from.max(shift.min(0).unsigned_abs());
        let equal = match place(begin, shift, old.len()) {
            Some(old_begin) if begin < to => equal(&new[begin..to], &old[old_begin..]),
            _ => 0,
        };
        to - from > equal + self.by
    }
}

/// Goes to a match if what the alignment costs there is more than to go.
#[derive(Debug)]
pub(super) struct Cheaper<'a> {
    literals: &'a Literals,
}

impl<'a> Cheaper<'a> {
    pub(super) const fn than(literals: &'a Literals) -> Self {
        Self { literals }
    }
}

impl Judge for Cheaper<'_> {
    fn shortest(&self) -> usize {
        12
    }

    fn is_better(&mut self, old: &[u8], new: &[u8], from: usize, to: usize, shift: isize) -> bool {
        let literal = self.literals.at(to);
        let length = Price::try_from(to - from).unwrap_or(Price::MAX);
        if length.saturating_mul(literal) <= SEEK {
            return false;
        }
        let begin = place(from, shift, old.len()).unwrap_or(0);
        let mut differences = Differences::after(&new[..from], &old[..begin]);
        let mut price: Price = 0;
        for (at, byte) in (from..to).zip(&new[from..to]) {
            price += match place(at, shift, old.len()) {
                Some(old_at) => differences.price(*byte, old[old_at]),
                None => literal,
            };
            if price > SEEK {
                return true;
            }
        }
        false
    }
}

/// Finds matches, in the order of the new file; none overlaps another there.
pub(super) fn find(old: &[u8], new: &[u8], seeds: &Seeds, judge: &mut impl Judge) -> Vec<Cover> {
    let mut found: Vec<Cover> = Vec::new();
    // From a place of the new file to that of the old one. Files begin aligned.
    let mut shift = 0_isize;
    let (mut at, mut end) = (0, 0);
    while at + GROUP <= new.len() {
        if let Some(old_at) = place(at, shift, old.len()) {
            let length = common_prefix(&new[at..], &old[old_at..]);
            if length >= GROUP {
                let before = common_suffix(&new[end..at], &old[..old_at]);
                let run = Cover {
                    new: at - before,
                    old: old_at - before,
                    length: before + length,
                };
                run.push(&mut found);
                at += length;
                end = at;
                continue;
            }
        }
        let mut best: Option<Cover> = None;
        for old_at in seeds.places(&new[at..]) {
            if at.checked_add_signed(shift) == Some(old_at) {
                continue;
            }
            let length = common_prefix(&new[at..], &old[old_at..]);
            if length < GROUP {
                continue;
            }
            let before = common_suffix(&new[end..at], &old[..old_at]);
            if best.is_none_or(|best| before + length > best.length) {
                best = Some(Cover {
                    new: at - before,
                    old: old_at - before,
                    length: before + length,
                });
            }
        }
        if let Some(best) = best
            && best.length >= judge.shortest()
            && judge.is_better(old, new, best.new, best.new_end(), shift)
        {
            // Neither is more than isize::MAX: they are places in slices.
            shift = best.old as isize - best.new as isize;
            at = best.new_end();
            end = at;
            found.push(best);
        } else {
            at += 1;
        }
    }
    found
}
