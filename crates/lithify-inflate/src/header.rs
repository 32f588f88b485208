//! The header of a dynamic block (RFC 1951, 3.2.7): the code lengths, themselves run-length and
//! Huffman coded.

use crate::bits::Bits;
use crate::error::{CodeKind, DeflateError};
use crate::huffman::{Sorted, reverse};

const MAX_LITLEN: usize = 286;
const MAX_DIST: usize = 30;
const END_OF_BLOCK: usize = 256;

/// The order in which the lengths of the code-length code are stored.
const ORDER: [u8; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Reads the header of a dynamic block, wherever input chunks cut it.
#[derive(Debug)]
pub(crate) struct DynamicHeader {
    stage: Stage,
    litlen: usize,
    dist: usize,
    code_lengths: usize,
    /// Lengths read so far in this stage.
    have: usize,
    order: [u8; 19],
    table: CodeLengthTable,
    lens: [u8; MAX_LITLEN + MAX_DIST],
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Counts,
    CodeLengthCode,
    Lengths,
}

impl DynamicHeader {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Counts,
            litlen: 0,
            dist: 0,
            code_lengths: 0,
            have: 0,
            order: [0; 19],
            table: CodeLengthTable::new(),
            lens: [0; MAX_LITLEN + MAX_DIST],
        }
    }

    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Counts;
    }

    /// The codeword lengths of the literal/length and of the distance symbols.
    pub(crate) fn lengths(&self) -> (&[u8], &[u8]) {
        self.lens[..self.litlen + self.dist].split_at(self.litlen)
    }

    /// Goes on reading; true when the header is complete, false when the input ends before.
    pub(crate) fn read(
        &mut self,
        bits: &mut Bits,
        input: &[u8],
        pos: &mut usize,
    ) -> Result<bool, DeflateError> {
        loop {
            bits.refill(input, pos);
            match self.stage {
                Stage::Counts => {
                    let Some(counts) = bits.take(14) else {
                        return Ok(false);
                    };
                    self.litlen = (counts & 31) as usize + 257;
                    self.dist = (counts >> 5 & 31) as usize + 1;
                    self.code_lengths = (counts >> 10) as usize + 4;
                    if self.litlen > MAX_LITLEN {
                        return Err(DeflateError::TooManyLitLenCodes {
                            found: self.litlen as u16,
                        });
                    }
                    if self.dist > MAX_DIST {
                        return Err(DeflateError::TooManyDistanceCodes {
                            found: self.dist as u16,
                        });
                    }
                    self.order = [0; 19];
                    self.have = 0;
                    self.stage = Stage::CodeLengthCode;
                }
                Stage::CodeLengthCode => {
                    if self.have < self.code_lengths {
                        let Some(len) = bits.take(3) else {
                            return Ok(false);
                        };
                        self.order[usize::from(ORDER[self.have])] = len as u8;
                        self.have += 1;
                    } else {
                        self.table.build(&self.order)?;
                        self.have = 0;
                        self.stage = Stage::Lengths;
                    }
                }
                Stage::Lengths => {
                    if self.have < self.litlen + self.dist {
                        if !self.read_lengths(bits)? {
                            return Ok(false);
                        }
                    } else if self.lens[END_OF_BLOCK] == 0 {
                        return Err(DeflateError::NoEndOfBlock);
                    } else {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Reads one length or one run of lengths.
    fn read_lengths(&mut self, bits: &mut Bits) -> Result<bool, DeflateError> {
        let (symbol, len) = self.table.lookup(bits.buffer);
        if len > bits.count {
            return Ok(false);
        }
        // Extra bits and smallest count of a run.
        let (extra, least) = match symbol {
            16 => (2, 3),
            17 => (3, 3),
            18 => (7, 11),
            _ => {
                bits.consume(len);
                self.lens[self.have] = symbol;
                self.have += 1;
                return Ok(true);
            }
        };
        if len + extra > bits.count {
            return Ok(false);
        }
        let value = match (symbol, self.have) {
            (16, 0) => return Err(DeflateError::RepeatWithoutPrevious),
            (16, have) => self.lens[have - 1],
            _ => 0,
        };
        bits.consume(len);
        let run = least + (bits.buffer & ((1 << extra) - 1)) as usize;
        bits.consume(extra);
        let end = self.have + run;
        let declared = self.litlen + self.dist;
        if end > declared {
            return Err(DeflateError::RepeatOverrun {
                end: end as u16,
                declared: declared as u16,
            });
        }
        self.lens[self.have..end].fill(value);
        self.have = end;
        Ok(true)
    }
}

/// Bits of the longest codeword of the code-length code.
const CODE_LENGTH_BITS: u32 = 7;

/// The code that a dynamic block writes its code lengths in.
#[derive(Debug)]
struct CodeLengthTable {
    /// Symbol in the low byte, codeword length in the high byte.
    entries: [(u8, u8); 1 << CODE_LENGTH_BITS],
}

impl CodeLengthTable {
    const fn new() -> Self {
        Self {
            entries: [(0, 0); 1 << CODE_LENGTH_BITS],
        }
    }

    fn build(&mut self, lens: &[u8; 19]) -> Result<(), DeflateError> {
        let sorted = Sorted::new(lens);
        if sorted.check(CodeKind::CodeLengths)? == 0 {
            // zlib reads an empty code-length code as one-bit codewords for length 0 and then
            // misses the end-of-block code: the same verdict, at the same place.
            self.entries.fill((0, 1));
            return Ok(());
        }
        let mut code = 0;
        for len in 1..=CODE_LENGTH_BITS {
            let size = 1 << (len - 1);
            self.entries.copy_within(..size, size);
            code <<= 1;
            for &symbol in sorted.of_len(len) {
                self.entries[reverse(code, len)] = (symbol as u8, len as u8);
                code += 1;
            }
        }
        Ok(())
    }

    /// The symbol and the length of the codeword that `bits` start with.
    fn lookup(&self, bits: u64) -> (u8, u32) {
        let (symbol, len) = self.entries[(bits & ((1 << CODE_LENGTH_BITS) - 1)) as usize];
        (symbol, u32::from(len))
    }
}
