//! Huffman codes with a longest codeword (RFC 1951, 3.2.2), as Go chooses among equally good ones.
//!
//! There is often more than one set of code lengths of the least total size. Go's is the one that
//! package-merge gives (Larmore and Hirschberg, 1990) with these rules:
//!
//! * Symbols are sorted by frequency, and by value where the frequency is the same.
//! * Where a package and a symbol have the same weight, the package comes first.
//! * The longest codeword is at most one bit less than the number of symbols.
//! * One or two symbols have codewords of one bit. This leaves half of the code space unused where
//!   there is one symbol only.

/// The longest codeword of a literal/length or distance code.
pub(crate) const LONGEST: usize = 15;

/// The longest codeword of the code for code lengths.
pub(crate) const LONGEST_FOR_LENGTHS: usize = 7;

/// The symbols of the largest code.
const MAX_SYMBOLS: usize = 286;

/// A codeword in the order of its transmission, and its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Code {
    /// The codeword's first bit is the lowest.
    pub(crate) bits: u16,
    /// 0 for a symbol that has no codeword.
    pub(crate) len: u8,
}

/// A Huffman code.
#[derive(Debug, Clone)]
pub(crate) struct Codes<const N: usize>(pub(crate) [Code; N]);

impl<const N: usize> Codes<N> {
    /// Makes the code for symbols of the given lengths: shorter codewords first, and codewords of
    /// the same length in the order of their symbols.
    pub(crate) fn from_lengths(lengths: &[u8; N]) -> Self {
        let mut next = [0_u16; LONGEST + 2];
        for &len in lengths {
            next[usize::from(len) + 1] += u16::from(len != 0);
        }
        // From the number of codewords that are one bit shorter to the first codeword.
        for len in 1..=LONGEST {
            next[len] = (next[len] + next[len - 1]) << 1;
        }
        let mut codes = [Code::default(); N];
        for (code, &len) in codes.iter_mut().zip(lengths) {
            if len != 0 {
                let word = &mut next[usize::from(len)];
                code.bits = word.reverse_bits() >> (16 - len);
                code.len = len;
                *word += 1;
            }
        }
        Self(codes)
    }

    /// Makes the best code for symbols of the given frequencies, with codewords of at most
    /// `longest` bits.
    pub(crate) fn from_frequencies(frequencies: &[u32; N], longest: usize) -> Self {
        Self::from_lengths(&best_lengths(frequencies, longest))
    }

    /// Returns the number of bits that symbols of the given frequencies take.
    pub(crate) fn size(&self, frequencies: &[u32; N]) -> usize {
        let sizes = self.0.iter().zip(frequencies);
        sizes
            .map(|(code, &frequency)| usize::from(code.len) * frequency as usize)
            .sum()
    }
}

/// Returns the lengths of codewords that take the least room in total.
fn best_lengths<const N: usize>(frequencies: &[u32; N], longest: usize) -> [u8; N] {
    const { assert!(N <= MAX_SYMBOLS) };
    let mut lengths = [0; N];
    // The frequency in the high bits, the symbol in the low ones: both rules of the order in one
    // comparison.
    let mut sorted = [0_u64; N];
    let mut count = 0;
    for (symbol, &frequency) in frequencies.iter().enumerate() {
        if frequency != 0 {
            sorted[count] = u64::from(frequency) << 16 | symbol as u64;
            count += 1;
        }
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable();
    let symbols = sorted.iter().map(|item| (item & 0xffff) as usize);
    if count <= 2 {
        symbols.for_each(|symbol| lengths[symbol] = 1);
        return lengths;
    }
    let mut weights = [0_u32; N];
    for (weight, item) in weights.iter_mut().zip(sorted.iter()) {
        *weight = (item >> 16) as u32;
    }
    let merged = Merged::new(&weights[..count], longest.min(count - 1));
    let rarest_first: [usize; N] = {
        let mut list = [0; N];
        list.iter_mut()
            .zip(symbols)
            .for_each(|(to, symbol)| *to = symbol);
        list
    };
    // Each level adds a bit to the symbols it has taken, and these are the rarest.
    for taken in merged.taken() {
        for &symbol in &rarest_first[..taken] {
            lengths[symbol] += 1;
        }
    }
    lengths
}

/// The sorted lists of package-merge.
///
/// The first list has the symbols. Each further one has the symbols and, as packages, the pairs of
/// the list before.
struct Merged {
    /// For each list, which of its items are packages.
    is_package: [[bool; 2 * MAX_SYMBOLS]; LONGEST],
    lists: usize,
    symbols: usize,
}

impl Merged {
    fn new(symbols: &[u32], lists: usize) -> Self {
        let mut merged = Self {
            is_package: [[false; 2 * MAX_SYMBOLS]; LONGEST],
            lists,
            symbols: symbols.len(),
        };
        let mut last = [0_u32; 2 * MAX_SYMBOLS];
        let mut last_len = symbols.len();
        last[..last_len].copy_from_slice(symbols);
        for is_package in &mut merged.is_package[1..lists] {
            let mut list = [0_u32; 2 * MAX_SYMBOLS];
            let mut len = 0;
            let mut rest = symbols;
            let mut pairs = last[..last_len]
                .chunks_exact(2)
                .map(|pair| pair[0] + pair[1]);
            let mut pair = pairs.next();
            loop {
                let take_package = match (rest.first(), pair) {
                    (Some(&symbol), Some(package)) => package <= symbol,
                    (None, Some(_)) => true,
                    (Some(_), None) => false,
                    (None, None) => break,
                };
                if let (true, Some(package)) = (take_package, pair) {
                    list[len] = package;
                    is_package[len] = true;
                    pair = pairs.next();
                } else {
                    list[len] = rest[0];
                    rest = &rest[1..];
                }
                len += 1;
            }
            last = list;
            last_len = len;
        }
        merged
    }

    /// Returns the number of symbols that each list contributes to the code, from the last list on.
    fn taken(&self) -> impl Iterator<Item = usize> {
        // A code of n symbols is 2n - 2 items of the last list.
        let mut items = 2 * self.symbols - 2;
        self.is_package[..self.lists].iter().rev().map(move |list| {
            let packages = list[..items].iter().filter(|&&package| package).count();
            let symbols = items - packages;
            items = 2 * packages;
            symbols
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths<const N: usize>(frequencies: [u32; N], longest: usize) -> [u8; N] {
        best_lengths(&frequencies, longest)
    }

    #[test]
    fn few_symbols_have_codewords_of_one_bit() {
        assert_eq!(lengths([0, 0, 0], 15), [0, 0, 0]);
        assert_eq!(lengths([0, 7, 0], 15), [0, 1, 0]);
        assert_eq!(lengths([900, 0, 1], 15), [1, 0, 1]);
    }

    #[test]
    fn rare_symbols_have_long_codewords() {
        assert_eq!(lengths([1, 2, 4, 8], 15), [3, 3, 2, 1]);
        assert_eq!(lengths([1, 2, 4, 8], 2), [2, 2, 2, 2]);
        assert_eq!(lengths([5, 5, 5, 5], 15), [2, 2, 2, 2]);
    }

    /// Fibonacci frequencies make the deepest trees: the bound has to hold, and the code has to
    /// use all of the code space.
    #[test]
    fn lengths_are_bounded() {
        let mut frequencies = [1_u32; 24];
        for symbol in 2..frequencies.len() {
            frequencies[symbol] = frequencies[symbol - 1] + frequencies[symbol - 2];
        }
        for longest in [7, 15] {
            let lengths = lengths(frequencies, longest);
            assert_eq!(usize::from(lengths[0]), longest);
            let space: u32 = lengths.iter().map(|&len| 1 << (15 - len)).sum();
            assert_eq!(space, 1 << 15);
        }
    }

    /// The example of RFC 1951, 3.2.2.
    #[test]
    fn codewords_are_those_of_the_example() {
        let codes = Codes::from_lengths(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let words = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        for (code, word) in codes.0.iter().zip(words) {
            let forwards = code.bits.reverse_bits() >> (16 - code.len);
            assert_eq!(forwards, word);
        }
    }
}
