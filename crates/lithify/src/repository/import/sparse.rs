//! The data of a file that a tar has without its holes.

use std::convert::Infallible;
use std::os::fd::BorrowedFd;

use lithify_composefs::repository::{ObjectError, ObjectWriter};
use lithify_tree::DataSegment;
use lithify_verity::file::{FileDigest, FileHasher};

/// Takes the data of an object from its start to its end.
pub(crate) trait ObjectData {
    type Error;

    /// Returns the bytes so far.
    fn size(&self) -> u64;

    /// Adds data.
    fn write(&mut self, data: &[u8]) -> Result<(), Self::Error>;

    /// Adds zeros.
    fn hole(&mut self, length: u64) -> Result<(), Self::Error>;

    /// Takes the blocks of a file whose data it is, where that can be. The data is added all the same.
    fn share(&mut self, file: BorrowedFd<'_>) -> Result<(), Self::Error> {
        let _ = file;
        Ok(())
    }
}

impl ObjectData for ObjectWriter<'_> {
    type Error = ObjectError;

    fn size(&self) -> u64 {
        self.size()
    }

    fn write(&mut self, data: &[u8]) -> Result<(), ObjectError> {
        self.write(data)
    }

    fn hole(&mut self, length: u64) -> Result<(), ObjectError> {
        self.hole(length)
    }

    fn share(&mut self, file: BorrowedFd<'_>) -> Result<(), ObjectError> {
        self.share(file).map(drop)
    }
}

/// All of them get the same data.
impl ObjectData for Vec<FileHasher> {
    type Error = Infallible;

    fn size(&self) -> u64 {
        self.first().map_or(0, FileHasher::size)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Infallible> {
        self.iter_mut().for_each(|hasher| hasher.update(data));
        Ok(())
    }

    fn hole(&mut self, length: u64) -> Result<(), Infallible> {
        self.iter_mut().for_each(|hasher| hasher.zeros(length));
        Ok(())
    }
}

/// A file with its holes: an object, or the digest of one.
#[derive(Debug)]
pub(super) enum WholeFile<'a> {
    Stored(ObjectWriter<'a>),
    Hashed(FileHasher),
}

impl WholeFile<'_> {
    /// Returns the object that it is.
    pub(super) fn finish(self) -> Result<FileDigest, ObjectError> {
        match self {
            Self::Stored(object) => object.finish().map(|stored| stored.id),
            Self::Hashed(hasher) => Ok(hasher.finish()),
        }
    }
}

impl ObjectData for WholeFile<'_> {
    type Error = ObjectError;

    fn size(&self) -> u64 {
        match self {
            Self::Stored(object) => object.size(),
            Self::Hashed(hasher) => hasher.size(),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), ObjectError> {
        match self {
            Self::Stored(object) => object.write(data),
            Self::Hashed(hasher) => {
                hasher.update(data);
                Ok(())
            }
        }
    }

    fn hole(&mut self, length: u64) -> Result<(), ObjectError> {
        match self {
            Self::Stored(object) => object.hole(length),
            Self::Hashed(hasher) => {
                hasher.zeros(length);
                Ok(())
            }
        }
    }
}

/// Gives an object the data of a file, which comes in the order of its segments.
#[derive(Debug)]
pub(crate) struct Spread<O> {
    object: O,
    size: u64,
    segments: std::vec::IntoIter<DataSegment>,
    /// Bytes left of the segment that data is in.
    left: u64,
}

impl<O: ObjectData> Spread<O> {
    /// Starts a file of so many bytes; without segments all of them are data.
    pub(super) fn new(object: O, size: u64, segments: Option<Vec<DataSegment>>) -> Self {
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
    pub(super) fn data(&mut self, mut data: &[u8]) -> Result<(), O::Error> {
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
    pub(super) fn share(&mut self, file: BorrowedFd<'_>) -> Result<(), O::Error> {
        self.object.share(file)
    }

    /// Returns the object with all of its data.
    pub(super) fn finish(mut self) -> Result<O, O::Error> {
        let hole = self.size.saturating_sub(self.object.size());
        self.object.hole(hole)?;
        Ok(self.object)
    }
}

/// The content of a short file whose data comes in the order of its segments.
#[derive(Debug)]
pub(crate) struct Short {
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
