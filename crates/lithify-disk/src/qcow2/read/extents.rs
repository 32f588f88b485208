//! Extents: the stretches of a disk, in order.

use lithify_storage::ReadAt;

use super::chain::Chain;
use super::error::ReadError;
use super::member::Place;

/// The source of the bytes of a stretch of a disk. Depth 0 is the image itself, 1 its backing
/// file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtentKind {
    /// A file has them. They may be zeros too.
    Data {
        /// Its depth.
        depth: usize,
    },
    /// An image says that they are zeros, or a file ends before; so they are, whatever is below.
    Zero {
        /// Its depth.
        depth: usize,
    },
    /// No file that was asked has them; where all were, they are zeros.
    Hole,
}

/// A stretch of a disk whose bytes come from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its start on the disk, in bytes.
    pub offset: u64,
    /// Its length in bytes, never 0.
    pub length: u64,
    /// The source of its bytes.
    pub kind: ExtentKind,
}

/// The extents of a disk in order, without gaps, each as long as can be. After an error there are
/// no more.
///
/// The sum of what an image's extents say is in a file is compared with that file's size, so that
/// tables which name one cluster again and again cannot make a small file a large disk of data.
#[derive(Debug)]
pub struct Extents<'a, R> {
    chain: &'a Chain<R>,
    /// The files above this depth are asked.
    above: usize,
    at: u64,
    end: u64,
    /// Found, but not yet known to end where it does.
    open: Option<Extent>,
    /// Bytes of each file that were named.
    named: Vec<u64>,
}

impl<'a, R: ReadAt> Extents<'a, R> {
    pub(super) fn new(chain: &'a Chain<R>, above: usize, (at, end): (u64, u64)) -> Self {
        Self {
            chain,
            above,
            at,
            end,
            open: None,
            named: vec![0; above],
        }
    }

    fn find(&mut self) -> Result<Extent, ReadError> {
        let found = self.chain.locate(self.above, self.at, self.end - self.at)?;
        let kind = match (found.depth, found.place) {
            (Some(depth), Place::Zero) => ExtentKind::Zero { depth },
            (Some(depth), place @ (Place::Data { .. } | Place::Compressed { .. })) => {
                self.count(depth, place, found.length)?;
                ExtentKind::Data { depth }
            }
            (None, _) | (_, Place::Unallocated) => ExtentKind::Hole,
        };
        let extent = Extent {
            offset: self.at,
            length: found.length,
            kind,
        };
        self.at += found.length;
        Ok(extent)
    }

    /// Counts what an extent takes of a file at least.
    fn count(&mut self, depth: usize, place: Place, length: u64) -> Result<(), ReadError> {
        let taken = match place {
            Place::Data { .. } => length,
            // Once for a cluster, at its start. Its length is only a limit, so a byte is all that
            // is sure.
            Place::Compressed { within: 0, .. } => 1,
            _ => 0,
        };
        let (_, size) = self.chain.data(depth);
        let named = &mut self.named[depth];
        *named = named.saturating_add(taken);
        match *named <= size {
            true => Ok(()),
            false => Err(ReadError::DataAgain { depth }),
        }
    }
}

impl<R: ReadAt> Iterator for Extents<'_, R> {
    type Item = Result<Extent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.end {
            let found = match self.find() {
                Ok(found) => found,
                Err(error) => {
                    self.end = self.at;
                    self.open = None;
                    return Some(Err(error));
                }
            };
            match &mut self.open {
                Some(open) if open.kind == found.kind => open.length += found.length,
                open => {
                    if let Some(done) = open.replace(found) {
                        return Some(Ok(done));
                    }
                }
            }
        }
        self.open.take().map(Ok)
    }
}

impl<R: ReadAt> std::iter::FusedIterator for Extents<'_, R> {}
