//! The data of a file that a tar has without its holes.

use std::os::fd::BorrowedFd;

use lithify_composefs::repository::{ObjectError, ObjectWriter, Stored};
use lithify_tree::DataSegment;

/// Writes the object of a file whose data comes in the order of its segments.
#[derive(Debug)]
pub(super) struct Spread<'a> {
    object: ObjectWriter<'a>,
    size: u64,
    segments: std::vec::IntoIter<DataSegment>,
    /// Bytes left of the segment that data is in.
    left: u64,
}

impl<'a> Spread<'a> {
    /// Starts a file of so many bytes; without segments all of them are data.
    pub(super) fn new(
        object: ObjectWriter<'a>,
        size: u64,
        segments: Option<Vec<DataSegment>>,
    ) -> Self {
        let whole = DataSegment {
            offset: 0,
            length: size,
        };
        Self {
            object,
            size,
            segments: segments.unwrap_or_else(|| vec![whole]).into_iter(),
            left: 0,
        }
    }

    /// Adds data: no more than the segments have.
    pub(super) fn data(&mut self, mut data: &[u8]) -> Result<(), ObjectError> {
        while !data.is_empty() {
            while self.left == 0 {
                let Some(next) = self.segments.next() else {
                    // The tar's parser compared both.
                    return Ok(());
                };
                let hole = next.offset.saturating_sub(self.object.size());
                self.object.hole(hole)?;
                self.left = next.length;
            }
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            let (now, rest) = data.split_at(most.min(data.len()));
            self.object.write(now)?;
            self.left -= now.len() as u64;
            data = rest;
        }
        Ok(())
    }

    /// Returns the bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the blocks of a file whose data it is, where that can be.
    pub(super) fn share(&mut self, file: BorrowedFd<'_>) -> Result<(), ObjectError> {
        self.object.share(file).map(drop)
    }

    pub(super) fn finish(mut self) -> Result<Stored, ObjectError> {
        self.object
            .hole(self.size.saturating_sub(self.object.size()))?;
        self.object.finish()
    }
}

/// The content of a short file whose data comes in the order of its segments.
#[derive(Debug)]
pub(super) struct Short {
    file: Vec<u8>,
    segments: Vec<DataSegment>,
    /// Bytes of data so far.
    taken: usize,
}

impl Short {
    /// Starts a file of so many bytes; without segments all of them are data.
    pub(super) fn new(size: u64, segments: Option<Vec<DataSegment>>) -> Self {
        let whole = DataSegment {
            offset: 0,
            length: size,
        };
        Self {
            // Few.
            file: vec![0; usize::try_from(size).unwrap_or(0)],
            segments: segments.unwrap_or_else(|| vec![whole]),
            taken: 0,
        }
    }

    /// Adds data: no more than the segments have.
    pub(super) fn data(&mut self, data: &[u8]) {
        let mut places = self
            .segments
            .iter()
            .flat_map(|s| s.offset..s.offset + s.length);
        let mut places = places.by_ref().skip(self.taken);
        for (byte, place) in data.iter().zip(&mut places) {
            let place = usize::try_from(place).ok();
            if let Some(place) = place.and_then(|place| self.file.get_mut(place)) {
                *place = *byte;
            }
        }
        self.taken += data.len();
    }

    /// Returns the content.
    pub(super) fn finish(self) -> Vec<u8> {
        self.file
    }
}
