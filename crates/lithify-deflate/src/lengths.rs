//! The code lengths in front of a dynamic block (RFC 1951, 3.2.7).

use crate::huffman::{Codes, LONGEST_FOR_LENGTHS};
use crate::token::{DISTANCE_SYMBOLS, LITLEN_SYMBOLS};

/// The symbols of the code for code lengths.
const SYMBOLS: usize = 19;

/// The order in which the lengths of that code are written: rare ones last, to be left out.
const ORDER: [usize; SYMBOLS] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// At least so many of the lengths of that code are written.
const MIN_WRITTEN: usize = 4;

const REPEAT_LENGTH: u8 = 16;
const FEW_ZEROS: u8 = 17;
const MANY_ZEROS: u8 = 18;

/// Returns the number of extra bits behind a symbol.
fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        REPEAT_LENGTH => 2,
        FEW_ZEROS => 3,
        MANY_ZEROS => 7,
        _ => 0,
    }
}

/// A symbol, and the value of its extra bits.
#[derive(Debug, Clone, Copy)]
struct Run {
    symbol: u8,
    extra: u8,
}

/// The code lengths of a block, ready to be written.
pub(crate) struct CodeLengths {
    litlen: usize,
    distance: usize,
    runs: Vec<Run>,
    codes: Codes<SYMBOLS>,
    written: usize,
    size: usize,
}

impl CodeLengths {
    /// Describes codes of which the first `litlen` and the first `distance` symbols are in use.
    pub(crate) fn new(
        litlen_codes: &Codes<LITLEN_SYMBOLS>,
        litlen: usize,
        distance_codes: &Codes<DISTANCE_SYMBOLS>,
        distance: usize,
    ) -> Self {
        let mut lengths = [0; LITLEN_SYMBOLS + DISTANCE_SYMBOLS];
        let used = litlen_codes.0[..litlen]
            .iter()
            .chain(&distance_codes.0[..distance]);
        for (length, code) in lengths.iter_mut().zip(used) {
            *length = code.len;
        }
        // Runs go on from the one code to the other.
        let runs: Vec<Run> = lengths[..litlen + distance]
            .chunk_by(|left, right| left == right)
            .flat_map(|run| Runs::new(run[0], run.len()))
            .collect();
        let mut frequencies = [0; SYMBOLS];
        let mut extra = 0;
        for run in &runs {
            frequencies[usize::from(run.symbol)] += 1;
            extra += extra_bits(run.symbol) as usize;
        }
        let codes = Codes::from_frequencies(&frequencies, LONGEST_FOR_LENGTHS);
        let last = ORDER.iter().rposition(|&symbol| frequencies[symbol] != 0);
        let written = last.map_or(0, |last| last + 1).max(MIN_WRITTEN);
        let size = 5 + 5 + 4 + 3 * written + codes.size(&frequencies) + extra;
        Self {
            litlen,
            distance,
            runs,
            codes,
            written,
            size,
        }
    }

    /// Returns the number of bits that [`CodeLengths::write`] puts.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Writes everything between the block's type and its first symbol.
    pub(crate) fn write(&self, mut put: impl FnMut(u32, u32)) {
        put((self.litlen - 257) as u32, 5);
        put((self.distance - 1) as u32, 5);
        put((self.written - MIN_WRITTEN) as u32, 4);
        for &symbol in &ORDER[..self.written] {
            put(self.codes.0[symbol].len.into(), 3);
        }
        for run in &self.runs {
            let code = self.codes.0[usize::from(run.symbol)];
            put(code.bits.into(), code.len.into());
            put(run.extra.into(), extra_bits(run.symbol));
        }
    }
}

/// The symbols for a number of equal lengths, as Go cuts them: each is the longest possible.
struct Runs {
    length: u8,
    left: usize,
    /// The length itself has to be written before it can be repeated.
    repeats: bool,
}

impl Runs {
    fn new(length: u8, left: usize) -> Self {
        Self {
            length,
            left,
            repeats: false,
        }
    }
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (symbol, least, most) = match (self.length, self.left) {
            (_, 0) => return None,
            (0, 11..) => (MANY_ZEROS, 11, 138),
            (0, 3..) => (FEW_ZEROS, 3, 10),
            (1.., 3..) if self.repeats => (REPEAT_LENGTH, 3, 6),
            (length, _) => (length, 1, 1),
        };
        let count = self.left.min(most);
        self.left -= count;
        self.repeats = true;
        Some(Run {
            symbol,
            extra: (count - least) as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(length: u8, count: usize) -> Vec<(u8, u8)> {
        Runs::new(length, count)
            .map(|run| (run.symbol, run.extra))
            .collect()
    }

    #[test]
    fn runs_are_as_long_as_possible() {
        assert_eq!(runs(0, 2), [(0, 0), (0, 0)]);
        assert_eq!(runs(0, 10), [(17, 7)]);
        assert_eq!(runs(0, 11), [(18, 0)]);
        assert_eq!(runs(0, 140), [(18, 127), (0, 0), (0, 0)]);
        assert_eq!(runs(7, 3), [(7, 0), (7, 0), (7, 0)]);
        assert_eq!(runs(7, 4), [(7, 0), (16, 0)]);
        assert_eq!(runs(7, 9), [(7, 0), (16, 3), (7, 0), (7, 0)]);
        assert_eq!(runs(7, 10), [(7, 0), (16, 3), (16, 0)]);
    }
}
