//! Holes of sparse files as zeros: layers are written so, because a sparse member is a file of another name and size to every
//! reader that does not know the format (image-spec, `layer.md`, "File Types": sparse files should not be used).

use std::collections::VecDeque;
use std::io::{self, Write};

use lithify_tree::DataSegment;

/// How the holes of sparse files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holes {
    /// As the zeros they read as, which everyone understands. Default, with 64 GiB.
    Zeros {
        /// Bytes of them in one tar after which the next file with a hole is an error.
        bytes_max: u64,
    },
    /// As a map of where data is: sparse format 1.0 of GNU tar. Only GNU tar, libarchive, Go, Python and lithify know it.
    Map,
}

impl Default for Holes {
    fn default() -> Self {
        Self::Zeros {
            bytes_max: 64 << 30,
        }
    }
}

/// Zeros written at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What is to come of a file whose holes are written as zeros.
#[derive(Debug)]
pub(super) struct Filler {
    /// Bytes of the file already written.
    at: u64,
    size: u64,
    /// Data not yet written, as far as it is not.
    segments: VecDeque<DataSegment>,
}

impl Filler {
    /// For segments in order and within the size.
    pub(super) fn new(size: u64, segments: &[DataSegment]) -> Self {
        Self {
            at: 0,
            size,
            segments: segments.iter().copied().collect(),
        }
    }

    /// Writes data of the file where it belongs, with the holes before it.
    pub(super) fn data(&mut self, mut data: &[u8], out: &mut impl Write) -> io::Result<()> {
        while !data.is_empty() {
            let Some(segment) = self.segments.front_mut() else {
                return Err(io::Error::other("more data than the segments of the file"));
            };
            zeros(segment.offset - self.at, out)?;
            self.at = segment.offset;
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
        Ok(())
    }

    /// Writes the hole at the end.
    pub(super) fn finish(self, out: &mut impl Write) -> io::Result<()> {
        zeros(self.size - self.at, out)
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
