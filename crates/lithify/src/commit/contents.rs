//! Digests of what files have in them, by which they are compared.

use std::convert::Infallible;
use std::ops::Range;

use lithify_digest::{Algorithm, Digest, Hasher};
use lithify_tree::{ContentId, ContentSink, DataSegment, LayerEntries};

use crate::image::LayerSink;

/// Bytes that are looked at together: those that are all zero count like a hole.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The digests of contents, by their numbers. Holes and zeros are the same.
#[derive(Debug, Default)]
pub(super) struct Contents {
    digests: Vec<Digest>,
    open: Option<Open>,
}

/// A file being read.
#[derive(Debug)]
struct Open {
    hasher: Hasher,
    size: u64,
    /// Where the next byte is in the file.
    at: u64,
    /// Where the data that comes is, the last first.
    segments: Vec<DataSegment>,
    /// The block that `at` is in, as far as it is known.
    block: Vec<u8>,
}

impl Open {
    fn new(size: u64, segments: Option<&[DataSegment]>) -> Self {
        let whole = [DataSegment {
            offset: 0,
            length: size,
        }];
        let segments = segments.unwrap_or(&whole).iter().rev();
        Self {
            hasher: Hasher::new(Algorithm::Sha256),
            size,
            at: 0,
            segments: segments.copied().filter(|s| s.length > 0).collect(),
            block: Vec::with_capacity(BLOCK),
        }
    }

    /// Adds a whole block, or the last one, which begins at `offset`.
    fn count(hasher: &mut Hasher, offset: u64, block: &[u8]) {
        if block != &ZEROS[..block.len()] {
            hasher.update(&offset.to_le_bytes());
            hasher.update(block);
        }
    }

    /// Goes on behind a hole.
    fn skip_to(&mut self, offset: u64) {
        let block = BLOCK as u64;
        if self.at / block != offset / block && !self.block.is_empty() {
            self.block.resize(BLOCK, 0);
            Self::count(&mut self.hasher, self.at / block * block, &self.block);
            self.block.clear();
        }
        self.block.resize((offset % block) as usize, 0);
        self.at = offset;
    }

    fn data(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let Some(DataSegment { offset, length }) = self.segments.last_mut() else {
                return;
            };
            let (offset, length) = (*offset, *length);
            if offset > self.at {
                self.skip_to(offset);
            }
            let (piece, rest) = data.split_at(length.min(data.len() as u64) as usize);
            match piece.len() as u64 == length {
                true => drop(self.segments.pop()),
                false => {
                    if let Some(segment) = self.segments.last_mut() {
                        segment.offset += piece.len() as u64;
                        segment.length -= piece.len() as u64;
                    }
                }
            }
            self.piece(piece);
            data = rest;
        }
    }

    fn piece(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let start = self.at - self.block.len() as u64;
            if self.block.is_empty()
                && let Some(block) = data.first_chunk::<BLOCK>()
            {
                Self::count(&mut self.hasher, start, block);
                self.at += BLOCK as u64;
                data = &data[BLOCK..];
                continue;
            }
            let (piece, rest) = data.split_at(data.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(piece);
            self.at += piece.len() as u64;
            data = rest;
            if self.block.len() == BLOCK {
                Self::count(&mut self.hasher, start, &self.block);
                self.block.clear();
            }
        }
    }

    fn finish(mut self) -> Digest {
        // A block that is cut by a hole at the end says the same as one with zeros.
        while self.block.last() == Some(&0) {
            self.block.pop();
        }
        let start = (self.at.saturating_sub(1)) / BLOCK as u64 * BLOCK as u64;
        if !self.block.is_empty() {
            self.block.resize(BLOCK, 0);
            Self::count(&mut self.hasher, start, &self.block);
        }
        self.hasher.update(&self.size.to_le_bytes());
        self.hasher.finish()
    }
}

impl Contents {
    /// Whether a content here and one of `other` are the same bytes.
    pub(super) fn is_same(&self, id: ContentId, other: &Self, others: ContentId) -> bool {
        let digest = |contents: &Self, id: ContentId| contents.digests.get(id.0 as usize).copied();
        let own = digest(self, id);
        own.is_some() && own == digest(other, others)
    }
}

impl ContentSink for Contents {
    type Error = Infallible;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Infallible> {
        self.open = Some(Open::new(size, segments));
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Infallible> {
        if let Some(open) = &mut self.open {
            open.data(data);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Infallible> {
        let id = ContentId(self.digests.len() as u32);
        let open = self.open.take().unwrap_or_else(|| Open::new(0, None));
        self.digests.push(open.finish());
        Ok(id)
    }
}

impl LayerSink for Contents {
    fn content_count(&self) -> u32 {
        self.digests.len() as u32
    }

    fn repeat(&mut self, _: &LayerEntries, _: Range<u32>) -> Result<u32, Infallible> {
        // The same bytes have the same digests.
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(size: u64, segments: Option<&[DataSegment]>, data: &[u8], piece: usize) -> Digest {
        let mut contents = Contents::default();
        contents.begin(size, segments).unwrap();
        for piece in data.chunks(piece.max(1)) {
            contents.write(piece).unwrap();
        }
        ContentSink::finish(&mut contents).unwrap();
        contents.digests[0]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn holes_are_zeros(
            runs in prop::collection::vec((0..3 * BLOCK, 1..2 * BLOCK, 0_u8..3), 0..6),
            end in 0..2 * BLOCK,
            piece in 1..3 * BLOCK,
        ) {
            let (mut whole, mut data, mut segments) = (Vec::new(), Vec::new(), Vec::new());
            for (hole, length, byte) in runs {
                whole.resize(whole.len() + hole, 0);
                let segment = DataSegment { offset: whole.len() as u64, length: length as u64 };
                segments.push(segment);
                whole.resize(whole.len() + length, byte);
                data.resize(data.len() + length, byte);
            }
            whole.resize(whole.len() + end, 0);
            let size = whole.len() as u64;
            let expected = of(size, None, &whole, BLOCK);
            prop_assert_eq!(of(size, Some(&segments), &data, piece), expected);
            prop_assert_eq!(of(size, None, &whole, piece), expected);
            if let Some(at) = whole.iter().rposition(|&byte| byte != 0) {
                whole[at] ^= 4;
                prop_assert_ne!(of(size, None, &whole, piece), expected);
            }
            whole.push(0);
            prop_assert_ne!(of(size + 1, None, &whole, piece), expected);
        }
    }
}
