//! The compression levels, and the numbers that Go gives each.

use thiserror::Error;

/// A compression level of Go's `compress/gzip`: 1 to 9.
///
/// Go's levels 0 (stored blocks only) and -2 (Huffman codes without matches) are not here.
///
/// ```
/// use lithify_deflate::Level;
///
/// assert_eq!(Level::try_from(-1), Ok(Level::DEFAULT));
/// assert_eq!(Level::DEFAULT.get(), 6);
/// assert!(Level::try_from(10).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

/// A number that is not a compression level of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("compression level is `{found}`, expected -1 (the default, 6) or 1 to 9")]
pub struct LevelError {
    /// The number given.
    pub found: i32,
}

impl Level {
    /// Level 1, Go's `BestSpeed`.
    pub const FASTEST: Self = Self(1);

    /// Level 6, Go's `DefaultCompression` (-1).
    pub const DEFAULT: Self = Self(6);

    /// Level 9, Go's `BestCompression`.
    pub const BEST: Self = Self(9);

    /// Returns the level as a number, 1 to 9.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// Returns all levels, the fastest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=9).map(Self)
    }

    pub(crate) fn strategy(self) -> Strategy {
        match self.0 {
            1 => Strategy::Sampled,
            2 => greedy(8, 16, 5),
            3 => greedy(32, 32, 6),
            4 => lazy(16, 16, 4),
            5 => lazy(32, 32, 16),
            6 => lazy(128, 128, 16),
            7 => lazy(256, 128, 32),
            8 => lazy(1024, 258, 128),
            _ => lazy(4096, 258, 258),
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<i32> for Level {
    type Error = LevelError;

    /// Takes a level as Go counts them: -1 is the default.
    fn try_from(found: i32) -> Result<Self, LevelError> {
        match found {
            -1 => Ok(Self::DEFAULT),
            1..=9 => Ok(Self(found as u8)),
            _ => Err(LevelError { found }),
        }
    }
}

/// The way a level looks for matches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Strategy {
    /// One candidate for each hash, and fewer positions the longer nothing matches: level 1.
    Sampled,
    /// The longest match of a hash chain: levels 2 to 9.
    Chained(Choice),
}

/// The choice of the matches that are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    /// All that are found: levels 2 and 3.
    Greedy {
        effort: Effort,
        /// The positions inside of a longer match are not put into the chains.
        index_up_to: usize,
    },
    /// Those than which the next position has no longer one: levels 4 to 9.
    Lazy {
        effort: Effort,
        /// A match of this length or more is taken without a look at the next position.
        settle: usize,
    },
}

/// Bounds of one search in a hash chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Candidates looked at.
    pub(crate) tries: u32,
    /// The length that ends the search.
    pub(crate) enough: usize,
}

const fn greedy(tries: u32, enough: usize, index_up_to: usize) -> Strategy {
    Strategy::Chained(Choice::Greedy {
        effort: Effort { tries, enough },
        index_up_to,
    })
}

const fn lazy(tries: u32, enough: usize, settle: usize) -> Strategy {
    Strategy::Chained(Choice::Lazy {
        effort: Effort { tries, enough },
        settle,
    })
}
