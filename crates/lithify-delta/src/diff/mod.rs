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
mod matches; // parts that are the same
mod price; // estimates of what bytes cost
mod seeds; // where groups of bytes are

pub use cover::Cover;

use choose::Trial;
use price::Literals;
use seeds::Seeds;

/// How hard covers are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// One way, no trial.
    Fast,
    /// Three ways.
    #[default]
    Default,
    /// All ways.
    Best,
}

/// A way to find covers.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// None at all.
    Literal,
    /// A match is gone to if it has so many bytes more than those that the alignment at hand has right there.
    Longer(usize),
    /// A match is gone to if that is cheaper, by estimates of bits.
    Cheaper,
}

impl Effort {
    const fn ways(self) -> &'static [Way] {
        match self {
            Self::Fast => &[Way::Longer(12)],
            Self::Default => &[Way::Longer(12), Way::Cheaper, Way::Literal],
            Self::Best => &[
                Way::Longer(8),
                Way::Literal,
                Way::Longer(4),
                Way::Longer(24),
                Way::Cheaper,
            ],
        }
    }

    /// Places that are remembered of each group of bytes.
    const fn places(self) -> usize {
        match self {
            Self::Fast | Self::Default => 1,
            Self::Best => 4,
        }
    }

    /// Most groups that are indexed.
    const fn groups(self) -> usize {
        match self {
            Self::Fast => 4 << 20,
            Self::Default => 16 << 20,
            Self::Best => 64 << 20,
        }
    }

    /// Returns the most bytes of memory that [`covers`] takes for files of these lengths, besides the files.
    #[must_use]
    pub fn memory(self, old: usize, new: usize) -> u64 {
        let index = Seeds::memory(old, self.groups(), self.places());
        // Covers of all ways, of no more than so many bytes of the new file.
        let covers = self.ways().len() * new / 16;
        index + covers as u64 + (8 << 20)
    }
}

/// Finds what a new file has of an old one. Both are shorter than 4 GiB. The covers are in the order of the new file, and none
/// overlaps another there. The same files always have the same covers.
#[must_use]
pub fn covers(old: &[u8], new: &[u8], effort: Effort) -> Vec<Cover> {
    let seeds = Seeds::of(old, effort.groups(), effort.places());
    let literals = Literals::of(new, effort.ways());
    let find = |way: &Way| match way {
        Way::Literal => Vec::new(),
        Way::Longer(more) => {
            let matches = matches::find(old, new, &seeds, &mut matches::Longer::by(*more));
            extend::extend(old, new, matches, &mut extend::Equal)
        }
        Way::Cheaper => {
            let matches = matches::find(old, new, &seeds, &mut matches::Cheaper::than(&literals));
            extend::extend(old, new, matches, &mut extend::Priced::of(&literals))
        }
    };
    match effort.ways() {
        [way] => find(way),
        ways => {
            let found = ways.iter().map(|way| Trial::of(old, new, find(way)));
            choose::best(new.len(), found.collect())
        }
    }
}
