//! Sparse maps (GNU tar manual, "Storing Sparse Files"): old GNU, PAX 0.0, 0.1 and 1.0.

use lithify_tree::DataSegment;

use crate::error::{SparseFault, TarFault};
use crate::header::{BLOCK, Field};
use crate::limits::{Limit, LimitExceeded, Limits};

/// A map being collected.
#[derive(Debug, Default)]
pub(crate) struct SparseMap {
    segments: Vec<DataSegment>,
    /// Entries seen, those without bytes included.
    count: u64,
    /// End of the last entry.
    end: u64,
    /// Sum of the lengths.
    data: u64,
    /// The last segment, if its data does not end with a block.
    unaligned: Option<(u64, u64)>,
}

impl SparseMap {
    /// Adds an entry. One of no bytes marks where a trailing hole ends and leaves no segment.
    pub(crate) fn push(
        &mut self,
        offset: u64,
        length: u64,
        size: u64,
        limits: &Limits,
    ) -> Result<(), TarFault> {
        let index = self.count;
        self.count += 1;
        LimitExceeded::check(Limit::SparseSegments, limits.sparse_segments, self.count)?;
        if offset < self.end {
            return Err(SparseFault::Overlap {
                index,
                offset,
                expected: self.end,
            }
            .into());
        }
        match offset.checked_add(length) {
            Some(end) if end <= size => self.end = end,
            _ => return Err(SparseFault::BeyondEnd { index, size }.into()),
        }
        if length == 0 {
            return Ok(());
        }
        if let Some((index, length)) = self.unaligned {
            return Err(SparseFault::Unaligned { index, length }.into());
        }
        if !length.is_multiple_of(BLOCK as u64) {
            self.unaligned = Some((index, length));
        }
        self.data += length;
        match self.segments.last_mut() {
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => self.segments.push(DataSegment { offset, length }),
        }
        Ok(())
    }

    /// Adds an entry of an old GNU map.
    pub(crate) fn push_fields(
        &mut self,
        entry: (Field<'_>, Field<'_>),
        size: u64,
        limits: &Limits,
    ) -> Result<(), TarFault> {
        self.push(entry.0.unsigned()?, entry.1.unsigned()?, size, limits)
    }

    /// The segments, when they hold exactly the `archived` bytes; `None` when they leave no hole.
    pub(crate) fn finish(
        self,
        size: u64,
        archived: u64,
        count: Option<u64>,
    ) -> Result<Option<Vec<DataSegment>>, SparseFault> {
        if let Some(expected) = count
            && expected != self.count
        {
            return Err(SparseFault::Count {
                expected,
                found: self.count,
            });
        }
        if self.data != archived {
            return Err(SparseFault::DataSize {
                segments: self.data,
                archived,
            });
        }
        // Without holes the only segment covers the file, or an empty file has none.
        Ok(if self.data == size {
            None
        } else {
            Some(self.segments)
        })
    }
}

/// The map of a PAX 1.0 sparse file, which stands before its data: lines of decimal numbers (their count, then offset
/// and length of each entry), padded with NULs to a block.
#[derive(Debug, Default)]
pub(crate) struct MapText {
    /// Bytes read so far, the padding left out.
    read: u64,
    /// Digits of the number being read.
    digits: u8,
    number: u64,
    /// Entries announced, once known.
    announced: Option<u64>,
    offset: Option<u64>,
    map: SparseMap,
}

/// Digits of the largest 64-bit number: more could only be leading zeros without end.
const DIGITS_MAX: u8 = 20;

impl MapText {
    /// Reads bytes of the map up to its last newline. Says how many, and whether the map is complete.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        size: u64,
        limits: &Limits,
    ) -> Result<(usize, bool), TarFault> {
        for (index, &byte) in input.iter().enumerate() {
            match byte {
                b'0'..=b'9' if self.digits < DIGITS_MAX => {
                    self.digits += 1;
                    let digit = u64::from(byte - b'0');
                    self.number = self
                        .number
                        .checked_mul(10)
                        .and_then(|n| n.checked_add(digit))
                        .ok_or(SparseFault::Map)?;
                }
                b'\n' if self.digits > 0 => {
                    let number = std::mem::take(&mut self.number);
                    self.digits = 0;
                    if self.line(number, size, limits)? {
                        self.read += index as u64 + 1;
                        return Ok((index + 1, true));
                    }
                }
                _ => return Err(SparseFault::Map.into()),
            }
        }
        self.read += input.len() as u64;
        Ok((input.len(), false))
    }

    fn line(&mut self, number: u64, size: u64, limits: &Limits) -> Result<bool, TarFault> {
        let Some(announced) = self.announced else {
            LimitExceeded::check(Limit::SparseSegments, limits.sparse_segments, number)?;
            self.announced = Some(number);
            return Ok(number == 0);
        };
        match self.offset.take() {
            None => self.offset = Some(number),
            Some(offset) => self.map.push(offset, number, size, limits)?,
        }
        Ok(self.offset.is_none() && self.map.count == announced)
    }

    /// Bytes from the last newline to the end of its block.
    pub(crate) fn padding(&self) -> u64 {
        self.read.next_multiple_of(BLOCK as u64) - self.read
    }

    pub(crate) fn into_map(self) -> SparseMap {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(
        entries: &[(u64, u64)],
        size: u64,
        archived: u64,
    ) -> Result<Option<Vec<DataSegment>>, TarFault> {
        let mut map = SparseMap::default();
        for &(offset, length) in entries {
            map.push(offset, length, size, &Limits::default())?;
        }
        Ok(map.finish(size, archived, None)?)
    }

    fn segments(list: &[(u64, u64)]) -> Option<Vec<DataSegment>> {
        Some(
            list.iter()
                .map(|&(offset, length)| DataSegment { offset, length })
                .collect(),
        )
    }

    #[test]
    fn maps_are_normalised() {
        assert_eq!(
            map(&[(0, 512), (600, 5), (800, 0)], 800, 517),
            Ok(segments(&[(0, 512), (600, 5)]))
        );
        assert_eq!(
            map(&[(0, 512), (512, 5)], 600, 517),
            Ok(segments(&[(0, 517)]))
        );
        assert_eq!(map(&[(0, 512), (512, 5)], 517, 517), Ok(None));
        assert_eq!(map(&[(20, 0)], 20, 0), Ok(segments(&[])));
        assert_eq!(map(&[], 20, 0), Ok(segments(&[])));
        assert_eq!(map(&[], 0, 0), Ok(None));
    }

    #[test]
    fn maps_that_are_wrong() {
        let overlap = SparseFault::Overlap {
            index: 1,
            offset: 4,
            expected: 5,
        };
        assert_eq!(map(&[(0, 5), (4, 5)], 20, 10), Err(overlap.into()));
        let unaligned = SparseFault::Unaligned {
            index: 0,
            length: 5,
        };
        assert_eq!(
            map(&[(0, 5), (5, 0), (6, 5)], 20, 10),
            Err(unaligned.into())
        );
        assert_eq!(
            map(&[(0, 5), (16, 5)], 20, 10),
            Err(SparseFault::BeyondEnd { index: 1, size: 20 }.into())
        );
        assert_eq!(
            map(&[(u64::MAX, 5)], 20, 5),
            Err(SparseFault::BeyondEnd { index: 0, size: 20 }.into())
        );
        assert_eq!(
            map(&[(0, 5)], 20, 6),
            Err(SparseFault::DataSize {
                segments: 5,
                archived: 6
            }
            .into())
        );
    }

    fn text(text: &[u8], step: usize) -> Result<(u64, u64), TarFault> {
        let mut parser = MapText::default();
        let mut used = 0;
        for piece in text.chunks(step) {
            let (read, done) = parser.read(
                piece,
                1000,
                &Limits {
                    sparse_segments: 3,
                    ..Limits::default()
                },
            )?;
            used += read as u64;
            if done {
                return Ok((used, parser.padding()));
            }
        }
        Err(TarFault::EmptyPath)
    }

    #[test]
    fn text_maps_may_come_in_any_pieces() {
        for step in 1..20 {
            assert_eq!(text(b"2\n0\n512\n600\n10\nrest", step), Ok((15, 497)));
            assert_eq!(text(b"0\n", step), Ok((2, 510)));
            for bad in [
                &b"2\n\n10\n"[..],
                b"\n",
                b"-1\n",
                b"1\n1 \n",
                b"1\n0\n99999999999999999999\n",
                b"000000000000000000001\n",
            ] {
                assert_eq!(text(bad, step), Err(SparseFault::Map.into()));
            }
            let limit = LimitExceeded {
                limit: Limit::SparseSegments,
                max: 3,
                found: 4,
            };
            assert_eq!(text(b"4\n", step), Err(limit.into()));
        }
    }
}
