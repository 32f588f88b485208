//! Sparse files as the bytes they read as, for formats that have no holes.

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::DataSegment;

/// Zeros written at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Writes a sparse file whole: takes the data of its segments, and puts zeros where its holes are.
#[derive(Debug)]
pub struct HoleFiller {
    /// Bytes of the file already written.
    at: u64,
    size: u64,
    holes: u64,
    /// Data not yet written, as far as it is not.
    segments: VecDeque<DataSegment>,
}

impl HoleFiller {
    /// Starts a file of so many bytes. `None` if the segments do not ascend within its size.
    #[must_use]
    pub fn new(size: u64, segments: &[DataSegment]) -> Option<Self> {
        let (mut end, mut holes) = (0, size);
        for segment in segments {
            if segment.offset < end {
                return None;
            }
            end = segment.offset.checked_add(segment.length)?;
            // Apart and within the size so far, so no more than that together.
            holes = (end <= size).then(|| holes - segment.length)?;
        }
        Some(Self {
            at: 0,
            size,
            holes,
            segments: segments.iter().copied().collect(),
        })
    }

    /// Returns the bytes of all holes of the file.
    #[must_use]
    pub const fn holes(&self) -> u64 {
        self.holes
    }

    /// Writes data of the file where it belongs, with the holes before it. Returns the number of bytes written.
    ///
    /// # Errors
    /// Those of `out`, and [`io::ErrorKind::Other`] for more data than the segments have.
    pub fn data(&mut self, mut data: &[u8], out: &mut impl Write) -> io::Result<u64> {
        let before = self.at;
        while !data.is_empty() {
            let Some(segment) = self.segments.front_mut() else {
                return Err(io::Error::other("more data than the segments of the file"));
            };
            zeros(segment.offset - self.at, out)?;
            let count = usize::try_from(segment.length).map_or(data.len(), |l| l.min(data.len()));
            let (now, rest) = data.split_at(count);
            out.write_all(now)?;
            data = rest;
            segment.offset += count as u64;
            segment.length -= count as u64;
            self.at = segment.offset;
            if segment.length == 0 {
                self.segments.pop_front();
            }
        }
        Ok(self.at - before)
    }

    /// Writes the hole at the end. Returns the number of bytes written.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self, out: &mut impl Write) -> io::Result<u64> {
        let count = self.size - self.at;
        zeros(count, out)?;
        Ok(count)
    }
}

fn zeros(mut count: u64, out: &mut impl Write) -> io::Result<()> {
    while count > 0 {
        let now = usize::try_from(count).map_or(ZEROS.len(), |c| c.min(ZEROS.len()));
        out.write_all(&ZEROS[..now])?;
        count -= now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, length: u64) -> DataSegment {
        DataSegment { offset, length }
    }

    #[test]
    fn holes_become_zeros_wherever_data_is_cut() {
        let segments = [segment(2, 3), segment(5, 0), segment(7, 2)];
        for piece in 1..6 {
            let mut filler = HoleFiller::new(12, &segments).unwrap();
            assert_eq!(filler.holes(), 7);
            let (mut out, mut count) = (Vec::new(), 0);
            for data in b"abcde".chunks(piece) {
                count += filler.data(data, &mut out).unwrap();
            }
            count += filler.finish(&mut out).unwrap();
            assert_eq!((out.as_slice(), count), (&b"\0\0abc\0\0de\0\0\0"[..], 12));
        }
    }

    #[test]
    fn segments_that_do_not_ascend_within_the_size_are_refused() {
        for segments in [
            &[segment(3, 2), segment(4, 1)][..],
            &[segment(9, 2)],
            &[segment(0, 11)],
            &[segment(u64::MAX, 1)],
        ] {
            assert!(HoleFiller::new(10, segments).is_none(), "{segments:?}");
        }
        assert!(HoleFiller::new(10, &[segment(0, 10)]).is_some());
    }
}
