//! Decompressing LZO1X: the format by `Documentation/staging/lzo.rst` of Linux.

use std::io;

use super::bad;

/// Decompresses a block of at most `max` bytes.
pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, max: usize) -> io::Result<()> {
    Stream {
        input,
        at: 0,
        out,
        max,
    }
    .run()
}

struct Stream<'a> {
    input: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    max: usize,
}

impl Stream<'_> {
    fn byte(&mut self) -> io::Result<usize> {
        let byte = self
            .input
            .get(self.at)
            .ok_or_else(|| bad("the block is cut short"))?;
        self.at += 1;
        Ok(usize::from(*byte))
    }

    /// A length that did not fit its bits: 255 for each zero byte, and the first byte that is not zero.
    fn long(&mut self, base: usize) -> io::Result<usize> {
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length += 255,
                n => return Ok(length + n),
            }
            if length > self.max {
                return Err(bad("it is longer than a block"));
            }
        }
    }

    fn literals(&mut self, count: usize) -> io::Result<()> {
        let from = self.input.get(self.at..).and_then(|rest| rest.get(..count));
        let from = from.ok_or_else(|| bad("the block is cut short"))?;
        if count > self.max - self.out.len() {
            return Err(bad("it is longer than a block"));
        }
        self.out.extend_from_slice(from);
        self.at += count;
        Ok(())
    }

    fn copy(&mut self, distance: usize, length: usize) -> io::Result<()> {
        if distance == 0 || distance > self.out.len() {
            return Err(bad("it refers to bytes before its start"));
        }
        if length > self.max - self.out.len() {
            return Err(bad("it is longer than a block"));
        }
        let from = self.out.len() - distance;
        // Source and target may overlap.
        for i in from..from + length {
            self.out.push(self.out[i]);
        }
        Ok(())
    }

    fn run(&mut self) -> io::Result<()> {
        // Literals copied by the instruction before: 0 to 3 of them, or 4 for "a long run".
        let mut state = 0;
        if let Some(&first @ 18..) = self.input.first() {
            self.at = 1;
            let count = usize::from(first) - 17;
            self.literals(count)?;
            state = count.min(4);
        }
        loop {
            let op = self.byte()?;
            let (distance, length, next) = match op {
                0..16 if state == 0 => {
                    let length = if op == 0 { self.long(15)? } else { op } + 3;
                    self.literals(length)?;
                    state = 4;
                    continue;
                }
                0..16 => {
                    let base = if state == 4 { 2049 } else { 1 };
                    let length = if state == 4 { 3 } else { 2 };
                    ((self.byte()? << 2) + (op >> 2) + base, length, op & 3)
                }
                16..32 => {
                    let low = op & 7;
                    let length = if low == 0 { self.long(7)? } else { low } + 2;
                    let bits = self.byte()? | self.byte()? << 8;
                    let distance = 16384 + ((op & 8) << 11) + (bits >> 2);
                    if distance == 16384 {
                        // The end, if it is one: it has a length of 3.
                        return if length == 3 && self.at == self.input.len() {
                            Ok(())
                        } else {
                            Err(bad("its end is not where it should be"))
                        };
                    }
                    (distance, length, bits & 3)
                }
                32..64 => {
                    let low = op & 31;
                    let length = if low == 0 { self.long(31)? } else { low } + 2;
                    let bits = self.byte()? | self.byte()? << 8;
                    ((bits >> 2) + 1, length, bits & 3)
                }
                64..128 => {
                    let distance = (self.byte()? << 3) + (op >> 2 & 7) + 1;
                    (distance, 3 + (op >> 5 & 1), op & 3)
                }
                _ => {
                    let distance = (self.byte()? << 3) + (op >> 2 & 7) + 1;
                    (distance, 5 + (op >> 5 & 3), op & 3)
                }
            };
            self.copy(distance, length)?;
            self.literals(next)?;
            state = next;
        }
    }
}
