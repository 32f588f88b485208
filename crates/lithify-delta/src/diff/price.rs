//! Estimates of what bytes cost, once they are compressed.

/// A sixteenth of a bit.
pub(super) type Price = i32;

/// A bit.
pub(super) const BIT: Price = 16;

/// To go to another place of the old file: an operation with a position of three bytes, and those around it.
pub(super) const SEEK: Price = 45 * BIT;

/// To leave a cover and come back to it, without another one between.
pub(super) const GAP: Price = 24 * BIT;

/// Prices of the new file's bytes that no cover has.
#[derive(Debug)]
pub(super) struct Literals {
    /// Prices of a byte in each stretch of so many bytes.
    stretches: Vec<Price>,
    stretch: usize,
}

impl Literals {
    const MOST: Price = 8 * BIT;
    const LEAST: Price = BIT / 8;

    /// Takes them from stretches of a new file, by the lengths that they were compressed to, all in bytes.
    pub(super) fn of(new_len: usize, stretch: usize, compressed: &[u32]) -> Self {
        let lengths = (0..new_len)
            .step_by(stretch)
            .map(|at| stretch.min(new_len - at));
        let prices = compressed.iter().zip(lengths).map(|(compressed, length)| {
            let bits = u64::from(*compressed) * 8 * BIT as u64 / length as u64;
            let price = Price::try_from(bits).unwrap_or(Self::MOST);
            price.clamp(Self::LEAST, Self::MOST)
        });
        Self {
            stretches: prices.collect(),
            stretch,
        }
    }

    /// Returns the price of the byte at a place.
    pub(super) fn at(&self, place: usize) -> Price {
        let price = self.stretches.get(place / self.stretch);
        price.copied().unwrap_or(Self::MOST)
    }
}

/// The differences that came last, each once.
#[derive(Clone, Copy, Debug)]
struct Recent {
    differences: [u8; 8],
    next: usize,
}

impl Recent {
    const fn new() -> Self {
        Self {
            differences: [0; 8],
            next: 0,
        }
    }

    /// Tells whether a difference is one of them; from now on it is.
    fn has(&mut self, difference: u8) -> bool {
        if self.differences.contains(&difference) {
            return true;
        }
        self.differences[self.next] = difference;
        self.next = (self.next + 1) % self.differences.len();
        false
    }
}

/// Prices of differences: of each byte of a cover to the old file's byte.
///
/// Zeros are nothing. Others are as cheap as they are frequent: in tables of addresses the same few come again and again.
#[derive(Clone, Debug)]
pub(super) struct Differences {
    recent: Recent,
    /// Set after a zero.
    is_run: bool,
}

impl Differences {
    /// The first of a group of differences ends a run of zeros.
    const START: Price = 6 * BIT;
    const KNOWN: Price = 3 * BIT;
    const FIRST: Price = 9 * BIT;
    /// A byte that is anything costs less as a literal.
    const OTHER: Price = 9 * BIT;
    /// Bytes in front of a place that are looked at.
    const BEFORE: usize = 64;

    pub(super) const fn new() -> Self {
        Self {
            recent: Recent::new(),
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
        Self::of(difference, was_run, &mut self.recent)
    }

    /// Returns the price of a difference that is not zero, by whether zeros were before it.
    fn of(difference: u8, was_run: bool, recent: &mut Recent) -> Price {
        let start = if was_run { Self::START } else { 0 };
        start
            + match (recent.has(difference), was_run) {
                (true, _) => Self::KNOWN,
                (false, true) => Self::FIRST,
                (false, false) => Self::OTHER,
            }
    }
}

/// Prices of differences by what came before them: one that followed the same others before costs almost nothing. Tables of numbers
/// that all changed by the same are such.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    recent: Recent,
    /// Zeros since the last difference; no more than 255.
    zeros: u8,
    /// The last two differences.
    last: [u8; 2],
    /// Differences that came as expected, in a row.
    expected: u8,
    /// By a hash of the two differences before: the one that came then, and the zeros in front of it.
    after: [(u8, u8); Self::SLOTS],
}

impl Tables {
    const SLOTS: usize = 64;
    /// A difference that is expected, and one after some others that were.
    const EXPECTED: Price = 3 * BIT;
    const USUAL: Price = 12;
    const SOME: u8 = 2;

    pub(super) const fn new() -> Self {
        Self {
            recent: Recent::new(),
            zeros: u8::MAX,
            last: [0; 2],
            expected: 0,
            after: [(0, 0); Self::SLOTS],
        }
    }

    /// Notes a run of equal bytes.
    pub(super) fn zeros(&mut self, count: usize) {
        let count = u8::try_from(count).unwrap_or(u8::MAX);
        self.zeros = self.zeros.saturating_add(count);
    }

    /// Returns the price of the next byte's difference.
    pub(super) fn price(&mut self, difference: u8) -> Price {
        if difference == 0 {
            self.zeros(1);
            return 0;
        }
        let hash = usize::from(u16::from_le_bytes(self.last)).wrapping_mul(0x9e37);
        let slot = &mut self.after[(hash >> 6) % Self::SLOTS];
        let now = (difference, self.zeros);
        let is_expected = std::mem::replace(slot, now) == now;
        let was_run = std::mem::take(&mut self.zeros) > 0;
        self.last = [difference, self.last[0]];
        if is_expected {
            self.expected = self.expected.saturating_add(1);
            return match self.expected > Self::SOME {
                true => Self::USUAL,
                false => Self::EXPECTED,
            };
        }
        self.expected = 0;
        Differences::of(difference, was_run, &mut self.recent)
    }
}
