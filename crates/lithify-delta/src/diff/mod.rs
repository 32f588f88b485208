//! What two files have in common.
//!
//! A new file is described by [covers](Cover): parts of it that are, but for some bytes, parts of the old one. What no cover
//! has is written as it is. Which covers are best is a matter of what is left to compress, so that there are several ways to
//! find them, and a trial compression picks, for each stretch of the new file, the way that came out smallest.
//!
//! One way works like this: old bytes are indexed by groups of eight. From the front of the new file matches are
//! searched; one that continues the alignment of the match before is taken first, another only if it is worth going to. Then
//! covers are extended from matches over bytes that differ, as long as that gains something.

mod choose; // the best of several ways
mod cover; // parts that are the same, almost
mod extend; // matches to covers
mod lanes; // the cheapest way through the new file
mod matches; // parts that are the same
mod price; // estimates of what bytes cost
mod seeds; // where groups of bytes are

pub use cover::Cover;

use choose::Trial;
use seeds::{Density, Seeds};

/// The effort with which covers are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// One way, no trial.
    Fast,
    /// Two ways.
    #[default]
    Default,
    /// All ways.
    Best,
}

/// A way to find covers.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A match is gone to if it has so many bytes more than those that the alignment at hand has right there.
    Longer(usize),
    /// A match is gone to if that is cheaper, by estimates of bits.
    Cheaper,
    /// The cheapest of many ways through the file, by estimates of bits.
    Cheapest,
}

impl Effort {
    /// Returns the ways that are tried, besides that of no covers at all.
    const fn ways(self) -> &'static [Way] {
        match self {
            Self::Fast => &[Way::Longer(12)],
            Self::Default => &[Way::Longer(12), Way::Cheaper],
            Self::Best => &[
                Way::Longer(8),
                Way::Longer(4),
                Way::Longer(24),
                Way::Cheaper,
                Way::Cheapest,
            ],
        }
    }

    /// Returns the number of equal bytes in a row, at least, that are copied among changed ones
    /// (see [`Encoder::with_shortest_copy`](crate::format::Encoder::with_shortest_copy)).
    #[must_use]
    pub const fn shortest_copy(self) -> usize {
        match self {
            Self::Fast => 16,
            Self::Default => 6,
            Self::Best => 5,
        }
    }

    /// Returns the density of the index of an old file.
    const fn density(self) -> Density {
        match self {
            Self::Fast => Density {
                step: 16,
                places: 1,
            },
            Self::Default => Density { step: 1, places: 1 },
            Self::Best => Density { step: 1, places: 4 },
        }
    }

    /// Returns an estimate of the bytes of memory that [`covers`] takes for files of these lengths, besides the files.
    #[must_use]
    pub fn memory(self, old: u64, new: u64, index_memory: u64) -> u64 {
        let index = Seeds::memory(old, self.density(), index_memory);
        // Of all ways, and of no more than so many bytes of the new file.
        let covers = (self.ways().len() as u64 + 1) * new / 16;
        let trial = if self == Self::Fast {
            0
        } else {
            choose::MEMORY
        };
        let steps = if self == Self::Best {
            lanes::memory(new)
        } else {
            0
        };
        index + covers + trial + steps
    }
}

/// Finds what a new file has of an old one. Both are shorter than 4 GiB. The covers are in the order of the new file, and none
/// overlaps another there. The same files, effort and memory always give the same covers.
///
/// The index of the old file takes at most so many bytes of memory; less than four for each byte of the file is found less in.
#[must_use]
pub fn covers(old: &[u8], new: &[u8], effort: Effort, index_memory: u64) -> Vec<Cover> {
    let seeds = Seeds::of(old, effort.density(), index_memory);
    let longer = |by: usize| {
        let matches = matches::find(old, new, &seeds, &mut matches::Longer::by(by));
        extend::extend(old, new, matches, &mut extend::Equal)
    };
    if let [Way::Longer(by)] = effort.ways() {
        return longer(*by);
    }
    let trial = |covers| Trial::of(old, new, covers, effort.shortest_copy());
    let none = trial(Vec::new());
    let literals = none.literals(new.len());
    let find = |way: &Way| match way {
        Way::Longer(by) => longer(*by),
        Way::Cheaper => {
            let matches = matches::find(old, new, &seeds, &mut matches::Cheaper::than(&literals));
            extend::extend(old, new, matches, &mut extend::Priced::of(&literals))
        }
        Way::Cheapest => lanes::find(old, new, &seeds, &literals),
    };
    let mut found: Vec<Trial> = effort.ways().iter().map(|way| trial(find(way))).collect();
    found.push(none);
    choose::best(new.len(), found)
}
