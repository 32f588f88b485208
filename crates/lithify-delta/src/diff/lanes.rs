//! Covers by the cheapest way through the new file.
//!
//! Each byte of the new file is either a literal or covered in one of several alignments, its lanes. From byte to byte the price of
//! the cheapest way to each lane, and to being a literal, is known (Viterbi, 1967): the price to stay there, or that of the cheapest
//! way at all and to change from it. At the end of the file the cheapest way is gone back.
//!
//! An alignment becomes a lane some bytes before a match that has it, so that it may begin with bytes that differ.

use super::cover::{Cover, place};
use super::price::{BIT, Literals, SEEK, Tables};
use super::seeds::{GROUP, Seeds};
use crate::bytes::{common_prefix, common_suffix};

/// Alignments that are followed at a time. More make nothing smaller that is worth the time.
const LANES: usize = 12;

/// Bytes behind the place at hand where matches are searched.
const AHEAD: usize = 48;

/// Shortest match whose alignment is followed, in bytes.
const SHORTEST: usize = 12;

/// Bytes that are equal in the cheapest lane, at least, for the others to be left behind there.
const RUN: usize = 48;

/// To begin literals.
const LEAVE: Sum = (14 * BIT) as Sum;

/// To go on, after literals, in the old file where they began: no position is written.
const RETURN: Sum = (20 * BIT) as Sum;

/// To go to any other place of the old file.
const CHANGE: Sum = SEEK as Sum;

/// More than any way costs.
const NEVER: Sum = Sum::MAX / 4;

/// Steps that are remembered. Before there are more, the cheapest way is decided on.
const STEPS: usize = 256 << 10;

/// Returns the most bytes of memory that steps take for a new file of that length. A byte may begin two.
pub(super) fn memory(new: u64) -> u64 {
    new.saturating_mul(2).min(STEPS as u64) * size_of::<Step>() as u64
}

/// A sum of prices.
type Sum = i64;

/// The number of a step.
type StepId = u32;

/// A stretch of a way.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The place in the new file where it begins.
    start: usize,
    /// The step before it.
    before: Option<StepId>,
    /// `None` for literals.
    shift: Option<isize>,
}

/// The last stretch of the cheapest way to somewhere.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    cost: Sum,
    step: Step,
    /// The number of `step`, once another one came after it.
    id: Option<StepId>,
}

impl Stretch {
    fn new(cost: Sum, start: usize, before: Option<StepId>, shift: Option<isize>) -> Self {
        let step = Step {
            start,
            before,
            shift,
        };
        Self {
            cost,
            step,
            id: None,
        }
    }

    /// Returns its number, by which it is gone back to.
    fn id(&mut self, steps: &mut Vec<Step>) -> Option<StepId> {
        if self.id.is_none() {
            self.id = StepId::try_from(steps.len()).ok();
            steps.push(self.step);
        }
        self.id
    }
}

/// An alignment that is followed.
#[derive(Clone, Debug)]
struct Lane {
    shift: isize,
    way: Stretch,
    tables: Tables,
    /// The last place where it was not dearer than to change to it.
    useful: usize,
}

/// The last byte of a way: a literal, or covered in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Literal,
    Lane(usize),
}

struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    seeds: &'a Seeds,
    literals: &'a Literals,
    lanes: Vec<Lane>,
    literal: Stretch,
    /// The place of the old file that is read next, after the literals.
    cursor: isize,
    steps: Vec<Step>,
    /// Matches were searched up to here.
    searched: usize,
    /// There is no run up to here.
    no_run: usize,
    covers: Vec<Cover>,
}

/// Finds the covers of the cheapest way, in the order of the new file.
pub(super) fn find(old: &[u8], new: &[u8], seeds: &Seeds, literals: &Literals) -> Vec<Cover> {
    find_with(old, new, seeds, literals, STEPS)
}

fn find_with(
    old: &[u8],
    new: &[u8],
    seeds: &Seeds,
    literals: &Literals,
    most_steps: usize,
) -> Vec<Cover> {
    // Files begin aligned.
    let first = Lane {
        shift: 0,
        way: Stretch::new(0, 0, None, Some(0)),
        tables: Tables::new(),
        useful: 0,
    };
    let mut search = Search {
        old,
        new,
        seeds,
        literals,
        lanes: vec![first],
        literal: Stretch::new(LEAVE, 0, None, None),
        cursor: 0,
        steps: Vec::new(),
        searched: 0,
        no_run: 0,
        covers: Vec::new(),
    };
    let mut at = 0;
    while at < new.len() {
        if search.steps.len() >= most_steps {
            search.decide(at);
        }
        let (best, cost) = search.best();
        if let Some(run) = search.run(at, best, cost) {
            at += run;
            continue;
        }
        search.look_ahead(at, best, cost);
        search.advance(at, best, cost);
        at += 1;
    }
    search.decide(at);
    search.covers
}

impl Search<'_> {
    /// Returns the end of the cheapest way, and what it costs.
    fn best(&self) -> (At, Sum) {
        let lanes = self.lanes.iter().enumerate();
        let lane = lanes.min_by_key(|(_, lane)| lane.way.cost);
        match lane {
            Some((number, lane)) if lane.way.cost < self.literal.cost => {
                (At::Lane(number), lane.way.cost)
            }
            _ => (At::Literal, self.literal.cost),
        }
    }

    /// Returns the length of a long run of equal bytes in the cheapest lane. Whatever differs there can be changed to behind it as well.
    fn run(&mut self, at: usize, best: At, cost: Sum) -> Option<usize> {
        let At::Lane(best) = best else {
            return None;
        };
        if at < self.no_run {
            return None;
        }
        let length = equal_run(self.old, &self.new[at..], at, self.lanes[best].shift);
        if length < RUN {
            self.no_run = at + length.max(1);
            return None;
        }
        let run = &self.new[at..at + length];
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if number != best && equal_run(self.old, run, at, lane.shift) < length {
                lane.way.cost = lane.way.cost.max(cost + CHANGE);
            }
        }
        self.lanes[best].tables.zeros(length);
        self.literal.cost = NEVER;
        self.no_run = at + length;
        self.searched = self.searched.max(at + length);
        Some(length)
    }

    /// Makes the alignments of matches that come soon lanes.
    fn look_ahead(&mut self, at: usize, best: At, cost: Sum) {
        let end = (at + AHEAD + 1).min((self.new.len() + 1).saturating_sub(GROUP));
        let mut next = self.searched.max(at);
        while next < end {
            // Where the cheapest lane has a match, no other is searched.
            if let At::Lane(best) = best {
                let rest = &self.new[next..(next + 64).min(self.new.len())];
                let equal = equal_run(self.old, rest, next, self.lanes[best].shift);
                if equal >= GROUP {
                    next += (equal - GROUP).max(1);
                    continue;
                }
            }
            for old_at in self.seeds.places(&self.new[next..]) {
                self.offer(at, next, old_at, best, cost);
            }
            next += 1;
        }
        self.searched = next;
    }

    /// Takes the alignment of a match, if there is one, for a lane.
    fn offer(&mut self, at: usize, match_at: usize, old_at: usize, best: At, cost: Sum) {
        // Neither is more than isize::MAX: they are places in slices.
        let shift = old_at as isize - match_at as isize;
        if self.lanes.iter().any(|lane| lane.shift == shift) {
            return;
        }
        let after = common_prefix(&self.new[match_at..], &self.old[old_at..]);
        let before = common_suffix(&self.new[at..match_at], &self.old[..old_at]);
        if after < GROUP || after + before < SHORTEST {
            return;
        }
        let tables = match best {
            // What is usual there may be here too.
            At::Lane(best) => self.lanes[best].tables.clone(),
            At::Literal => Tables::new(),
        };
        let lane = Lane {
            shift,
            way: Stretch::new(NEVER, at, None, Some(shift)),
            tables,
            useful: match_at,
        };
        if self.lanes.len() < LANES {
            self.lanes.push(lane);
            return;
        }
        // Of those that it costs as much to be in as to change to, the one that was so for the longest time makes room; else the dearest one.
        let others = self.lanes.iter_mut().enumerate();
        let others = others.filter(|(number, _)| At::Lane(*number) != best);
        let worst = others.max_by_key(|(_, lane)| match lane.way.cost >= cost + CHANGE {
            true => (true, -(lane.useful as Sum)),
            false => (false, lane.way.cost),
        });
        if let Some((_, worst)) = worst {
            *worst = lane;
        }
    }

    /// Moves all ways over a byte.
    fn advance(&mut self, at: usize, best: At, cost: Sum) {
        let change = cost + CHANGE;
        if let At::Lane(number) = best
            && cost + LEAVE < self.literal.cost
        {
            let lane = &mut self.lanes[number];
            let before = lane.way.id(&mut self.steps);
            self.literal = Stretch::new(cost + LEAVE, at, before, None);
            self.cursor = at as isize + lane.shift;
        }
        // Only what was literal before this byte can be returned from.
        let (literal_cost, is_literal) = (self.literal.cost, self.literal.step.start < at);
        for number in 0..self.lanes.len() {
            let Lane { shift, way, .. } = &self.lanes[number];
            let (shift, stay) = (*shift, way.cost);
            let Some(old_at) = place(at, shift, self.old.len()) else {
                self.lanes[number].way.cost = NEVER;
                continue;
            };
            let back = match is_literal && self.cursor == at as isize + shift {
                true => literal_cost + RETURN,
                false => NEVER,
            };
            if back < stay.min(change) {
                let before = self.literal.id(&mut self.steps);
                self.lanes[number].way = Stretch::new(back, at, before, Some(shift));
            } else if change < stay {
                let before = match best {
                    At::Literal => self.literal.id(&mut self.steps),
                    At::Lane(best) => self.lanes[best].way.id(&mut self.steps),
                };
                self.lanes[number].way = Stretch::new(change, at, before, Some(shift));
            }
            let lane = &mut self.lanes[number];
            let difference = self.new[at].wrapping_sub(self.old[old_at]);
            lane.way.cost += Sum::from(lane.tables.price(difference));
            if lane.way.cost < change {
                lane.useful = lane.useful.max(at);
            }
        }
        self.literal.cost += Sum::from(self.literals.at(at));
    }

    /// Decides on the cheapest way up to a place, and forgets the steps of all.
    fn decide(&mut self, at: usize) {
        let (best, cost) = self.best();
        let mut next = Some(match best {
            At::Literal => self.literal.step,
            At::Lane(number) => self.lanes[number].way.step,
        });
        let mut end = at;
        let mut covers = Vec::new();
        while let Some(step) = next {
            if let Some(shift) = step.shift
                && step.start < end
                && let Some(old) = step.start.checked_add_signed(shift)
            {
                covers.push(Cover {
                    new: step.start,
                    old,
                    length: end - step.start,
                });
            }
            end = step.start;
            next = step.before.map(|before| self.steps[before as usize]);
        }
        for cover in covers.into_iter().rev() {
            cover.push(&mut self.covers);
        }
        self.steps.clear();
        // All go on from there.
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let more = if At::Lane(number) == best { 0 } else { CHANGE };
            lane.way = Stretch::new(cost + more, at, None, Some(lane.shift));
        }
        let more = if At::Literal == best { 0 } else { LEAVE };
        if let At::Lane(number) = best {
            self.cursor = at as isize + self.lanes[number].shift;
        }
        self.literal = Stretch::new(cost + more, at, None, None);
    }
}

/// Returns how many bytes, the first of which is at a place of the new file, are equal in an alignment.
fn equal_run(old: &[u8], new: &[u8], at: usize, shift: isize) -> usize {
    place(at, shift, old.len()).map_or(0, |old_at| common_prefix(new, &old[old_at..]))
}

#[cfg(test)]
mod tests {
    use lithify_testkit::Random;

    use super::super::seeds::Density;
    use super::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        Random::new(seed).bytes(length)
    }

    fn found(old: &[u8], new: &[u8], most_steps: usize) -> Vec<Cover> {
        let seeds = Seeds::of(old, Density { step: 1, places: 4 }, u64::MAX);
        let literals = Literals::of(new.len(), new.len().max(1), &[]);
        find_with(old, new, &seeds, &literals, most_steps)
    }

    fn cover(new: usize, old: usize, length: usize) -> Cover {
        Cover { new, old, length }
    }

    #[test]
    fn a_part_that_moved_is_found_with_the_bytes_that_differ_in_it() {
        let old = noise(4000, 1);
        let moved = &old[2000..3000];
        let mut new = [&noise(500, 2), moved, &noise(500, 3)].concat();
        for at in (510..1500).step_by(20) {
            new[at] ^= 1;
        }
        assert_eq!(found(&old, &new, STEPS), [cover(500, 2000, 1000)]);
    }

    #[test]
    fn a_table_of_numbers_that_all_changed_is_covered() {
        // No eight bytes of it are equal.
        let old: Vec<u8> = (0..2000_u32).flat_map(|n| (n * 48).to_le_bytes()).collect();
        let table = (0..2000_u32).flat_map(|n| (n * 48 + 0x1210).to_le_bytes());
        let new: Vec<u8> = table.collect();
        assert_eq!(found(&old, &new, STEPS), [cover(0, 0, 8000)]);
    }

    #[test]
    fn what_is_decided_early_is_in_order_and_almost_as_good() {
        let old = noise(20_000, 4);
        let pieces = (0..40).map(|n| &old[n * 7919 % 19_000..][..300 + n]);
        let new: Vec<u8> = pieces.flatten().copied().collect();
        let all = found(&old, &new, STEPS);
        for most in [1, 2, 10, 30] {
            let early = found(&old, &new, most);
            let ends: Vec<usize> = early.iter().flat_map(|c| [c.new, c.new_end()]).collect();
            assert!(ends.is_sorted(), "{most}: {early:?}");
            assert!(early.iter().all(|c| c.old_end() <= old.len()));
            let covered = |covers: &[Cover]| covers.iter().map(|c| c.length).sum::<usize>();
            assert!(covered(&early) + 2000 > covered(&all), "{most}");
        }
    }

    #[test]
    fn files_shorter_than_a_match_are_looked_at() {
        for old in [0, 1, 7, 8, 30] {
            for new in [0, 1, 7, 8, 30] {
                let (old, new) = (noise(old, 5), noise(new, 5));
                let covers = found(&old, &new, STEPS);
                assert!(covers.iter().all(|c| c.old_end() <= old.len()));
                assert!(covers.iter().all(|c| c.new_end() <= new.len()));
            }
        }
    }
}
