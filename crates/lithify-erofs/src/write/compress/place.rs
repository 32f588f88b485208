//! Gathering file data into batches, and putting what becomes of them where it stays.

use std::fmt;

use lithify_tree::ContentId;

use super::codec::{Codec, Outcome};
use super::index::index_len;
use super::pool::Pool;
use super::{BATCH_LEN, Compression, SEGMENT_LEN, inline_max};
use crate::format::BLOCK_SIZE;
use crate::format::compressed::Extent;
use crate::format::inode::EXTENDED_LEN;
use crate::write::Writer;
use crate::write::appender::next_block;
use crate::{Storage, WriteError};

/// The file data belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::write) struct Piece {
    pub(in crate::write) content: ContentId,
    /// Size of the file.
    pub(in crate::write) size: u64,
}

/// Data on its way through compression.
pub(in crate::write) struct Compressor {
    pool: Pool,
    /// Whether data may stand behind its inode.
    inline: bool,
    /// Being filled.
    batch: Batch,
    /// Bytes of the file so far.
    offset: u64,
    /// Where the segment being filled starts in the batch.
    segment: usize,
    /// Used up batches, kept for their memory.
    spare: Vec<Batch>,
    /// The file whose segments are being placed.
    placing: Placing,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Segments, and what has become of them.
#[derive(Default)]
pub(super) struct Batch {
    input: Vec<u8>,
    segments: Vec<Segment>,
    extents: Vec<Extent>,
    output: Vec<u8>,
}

struct Segment {
    file: Piece,
    is_first: bool,
    is_last: bool,
    /// Bytes of input.
    length: usize,
    /// Longest data that may stand behind the inode, in bytes; 0 if none may.
    inline_max: usize,
    outcome: Outcome,
    /// Bytes of output and number of extents.
    compressed: (usize, usize),
}

impl Batch {
    /// Compresses all segments.
    pub(super) fn compress(&mut self, codec: &mut Codec) -> Result<(), WriteError> {
        let mut at = 0;
        for segment in &mut self.segments {
            let input = &self.input[at..at + segment.length];
            at += segment.length;
            let (extents, bytes) = (self.extents.len(), self.output.len());
            segment.outcome = codec.compress(
                input,
                segment.inline_max,
                &mut self.extents,
                &mut self.output,
            )?;
            segment.compressed = (self.output.len() - bytes, self.extents.len() - extents);
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.input.clear();
        self.segments.clear();
        self.extents.clear();
        self.output.clear();
    }
}

/// The part of a file that has been placed.
#[derive(Debug, Default)]
struct Placing {
    /// First block.
    start: u32,
    /// Number of its first extent among all contents'.
    first_extent: usize,
    /// Whether any of it is compressed.
    is_compressed: bool,
}

impl Compressor {
    pub(in crate::write) fn new(options: Compression, inline: bool) -> Self {
        Self {
            pool: Pool::new(options),
            inline,
            batch: Batch::default(),
            offset: 0,
            segment: 0,
            spare: Vec::new(),
            placing: Placing::default(),
        }
    }

    /// Starts a file. What there is of one that was not completed is dropped.
    pub(in crate::write) fn begin(&mut self) {
        self.batch.input.truncate(self.segment);
        self.offset = 0;
    }

    /// Takes data of the file, at most to the end of a segment, and says how much it was.
    fn take(&mut self, file: Piece, data: &[u8]) -> usize {
        let input = &mut self.batch.input;
        let n = data.len().min(SEGMENT_LEN - (input.len() - self.segment));
        input.extend_from_slice(&data[..n]);
        self.offset += n as u64;
        let length = input.len() - self.segment;
        if self.offset == file.size || length == SEGMENT_LEN {
            self.batch.segments.push(Segment {
                file,
                is_first: self.offset == length as u64,
                is_last: self.offset == file.size,
                length,
                inline_max: if self.inline && file.size == length as u64 {
                    inline_max(file.size) as usize
                } else {
                    0
                },
                outcome: Outcome::Plain,
                compressed: (0, 0),
            });
            self.segment = self.batch.input.len();
            if self.segment >= BATCH_LEN {
                self.submit();
            }
        }
        n
    }

    /// Hands the batch in.
    fn submit(&mut self) {
        if self.batch.segments.is_empty() {
            return;
        }
        let empty = self.spare.pop().unwrap_or_default();
        self.segment = 0;
        self.pool.submit(std::mem::replace(&mut self.batch, empty));
    }
}

impl<S: Storage> Writer<S> {
    /// Takes data of a file to be compressed.
    pub(in crate::write) fn compress(
        &mut self,
        file: Piece,
        mut data: &[u8],
    ) -> Result<(), WriteError> {
        while !data.is_empty() {
            let Some(compressor) = &mut self.compressor else {
                return Ok(());
            };
            let n = compressor.take(file, data);
            data = &data[n..];
            self.place_done(false)?;
        }
        Ok(())
    }

    /// Has everything compressed that has been taken, and placed.
    pub(in crate::write) fn finish_compression(&mut self) -> Result<(), WriteError> {
        if let Some(compressor) = &mut self.compressor {
            compressor.begin();
            compressor.submit();
            self.place_done(true)?;
        }
        Ok(())
    }

    /// Places batches that are done; waits for those that have to be, or all.
    fn place_done(&mut self, all: bool) -> Result<(), WriteError> {
        while let Some(compressor) = &mut self.compressor {
            let wait = all || compressor.pool.is_full();
            let Some(mut batch) = compressor.pool.take(wait)? else {
                break;
            };
            let mut placing = std::mem::take(&mut compressor.placing);
            self.place_batch(&batch, &mut placing)?;
            batch.clear();
            if let Some(compressor) = &mut self.compressor {
                compressor.placing = placing;
                compressor.spare.push(batch);
            }
        }
        Ok(())
    }

    fn place_batch(&mut self, batch: &Batch, placing: &mut Placing) -> Result<(), WriteError> {
        let (mut input, mut output, mut extents) = (&*batch.input, &*batch.output, &*batch.extents);
        for segment in &batch.segments {
            let (raw, rest) = input.split_at(segment.length);
            input = rest;
            let (bytes, count) = segment.compressed;
            let (compressed, rest) = output.split_at(bytes);
            output = rest;
            let (own, rest) = extents.split_at(count);
            extents = rest;
            self.place_segment(segment, raw, compressed, own, placing)?;
        }
        Ok(())
    }

    fn place_segment(
        &mut self,
        segment: &Segment,
        raw: &[u8],
        compressed: &[u8],
        extents: &[Extent],
        placing: &mut Placing,
    ) -> Result<(), WriteError> {
        let Piece { content, size } = segment.file;
        if segment.is_first {
            *placing = Placing {
                start: next_block(&self.data)?,
                first_extent: self.contents.extent_count(),
                is_compressed: false,
            };
        }
        let is_all = segment.is_first && segment.is_last;
        let is_smaller = !is_all || self.is_smaller(size, compressed.len() as u64);
        if segment.outcome == Outcome::Inline && is_smaller {
            self.contents.push_extents(extents.iter().copied())?;
            let at = self.tails.push(compressed)?;
            self.contents
                .set_inline(content, size, at, compressed.len(), placing.first_extent);
            return Ok(());
        }
        let is_compressed = segment.outcome == Outcome::Blocks && is_smaller;
        placing.is_compressed |= is_compressed;
        if is_compressed {
            self.data.append(&mut self.storage, compressed)?;
            self.contents.push_extents(extents.iter().copied())?;
        } else if segment.is_last && !placing.is_compressed {
            // Nothing of the file is compressed.
            self.contents.truncate_extents(placing.first_extent);
            let in_blocks = self.placement.in_blocks(size);
            let before = size - raw.len() as u64;
            let (blocks, tail) = raw.split_at((in_blocks - before) as usize);
            self.data.append(&mut self.storage, blocks)?;
            self.data.pad(&mut self.storage)?;
            if tail.is_empty() {
                return self.contents.set_blocks(content, placing.start, size);
            }
            let at = self.tails.push(tail)?;
            return self.contents.set_tail(content, placing.start, size, at);
        } else {
            self.data.append(&mut self.storage, raw)?;
            self.data.pad(&mut self.storage)?;
            self.contents
                .push_extents(raw.chunks(BLOCK_SIZE).map(|block| Extent {
                    length: block.len() as u32,
                    blocks: 0,
                }))?;
        }
        if segment.is_last {
            let blocks = next_block(&self.data)? - placing.start;
            self.contents.set_compressed(
                content,
                placing.start,
                blocks,
                size,
                placing.first_extent,
            );
        }
        Ok(())
    }

    /// Whether a file takes less space compressed to `length` bytes, index and all.
    fn is_smaller(&self, size: u64, length: u64) -> bool {
        let in_blocks = self.placement.in_blocks(size);
        let flat = in_blocks.next_multiple_of(BLOCK_SIZE as u64) + (size - in_blocks);
        length + index_len(EXTENDED_LEN as u64, size) < flat
    }
}
