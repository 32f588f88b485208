//! Arrays of digests, read window by window.

use std::io;
use std::ops::Range;

use lithify_storage::ReadAt;
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::StreamError;

/// Bytes read at once.
const WINDOW: u64 = 8192;

/// The digests in a range of a file.
#[derive(Debug)]
pub(super) struct References {
    part: &'static str,
    algorithm: FileAlgorithm,
    range: Range<u64>,
    /// The bytes of the range that were read last, and where they begin in it.
    window: Vec<u8>,
    window_at: u64,
}

impl References {
    /// Takes a range that is inside the file.
    pub(super) fn new(
        part: &'static str,
        algorithm: FileAlgorithm,
        range: Range<u64>,
    ) -> Result<Self, StreamError> {
        let (found, digest) = (range.end - range.start, algorithm.digest_size());
        if found % digest as u64 != 0 {
            return Err(StreamError::PartialDigest {
                part,
                found,
                digest,
            });
        }
        Ok(Self {
            part,
            algorithm,
            range,
            window: Vec::new(),
            window_at: 0,
        })
    }

    pub(super) fn len(&self) -> u64 {
        (self.range.end - self.range.start) / self.algorithm.digest_size() as u64
    }

    /// Returns a digest by its number.
    pub(super) fn get(
        &mut self,
        source: &impl ReadAt,
        index: u64,
    ) -> Result<FileDigest, StreamError> {
        if index >= self.len() {
            return Err(StreamError::Index {
                part: self.part,
                index,
                count: self.len(),
            });
        }
        let size = self.algorithm.digest_size();
        // Inside the range, and so of the file.
        let at = index * size as u64;
        let is_inside =
            at >= self.window_at && at - self.window_at + size as u64 <= self.window.len() as u64;
        if !is_inside {
            let length = WINDOW.min(self.range.end - self.range.start - at);
            self.window.clear();
            self.window
                .resize(usize::try_from(length).unwrap_or(size), 0);
            if let Err(e) = source.read_exact_at(&mut self.window, self.range.start + at) {
                self.window.clear();
                return Err(e.into());
            }
            self.window_at = at;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).and_then(|b| b.get(..size));
        let digest = bytes.and_then(|b| FileDigest::from_bytes(self.algorithm, b).ok());
        digest.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}
