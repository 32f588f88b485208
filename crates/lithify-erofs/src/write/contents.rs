//! What the writer knows about each file's data: sixteen bytes.

use lithify_tree::ContentId;

use super::external::{External, Piece};
use super::sparse::{Plan, Run, stored};
use crate::WriteError;
use crate::format::BLOCK_SIZE;

/// The contents written, by [`ContentId`].
#[derive(Debug, Default)]
pub(crate) struct Contents {
    records: Vec<Record>,
    sparse: Vec<SparseRecord>,
    runs: Vec<Run>,
    external: Vec<External>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    start: u32,
    blocks: u32,
    /// What the top bits say it is: a sparse file's number, or a tail's length and place, or the bytes used in the
    /// last block.
    extra: u64,
}

const _: () = assert!(size_of::<Record>() == 16);

const SPARSE: u64 = 1 << 63;
const TAIL: u64 = 1 << 62;
const EXTERNAL: u64 = 1 << 60;
/// Bits of `extra` for a length below the block size.
const LENGTH_BITS: u32 = BLOCK_SIZE.trailing_zeros();

#[derive(Clone, Copy, Debug)]
struct SparseRecord {
    size: u64,
    first_run: u32,
    runs: u32,
    chunk_bits: u8,
}

/// Where a file's data is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    /// Size of the file in bytes.
    pub(crate) size: u64,
    /// First block.
    pub(crate) start: u32,
    /// Number of blocks.
    pub(crate) blocks: u32,
    pub(crate) form: Form<'a>,
}

/// How a file's data is arranged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    /// All of it in the blocks.
    Blocks,
    /// The last bytes in the tail store.
    Tail { at: u64, length: u16 },
    /// Chunks in the blocks, run after run.
    Sparse { chunk_bits: u8, runs: &'a [Run] },
    /// Chunks on further devices.
    External { chunk_bits: u8, pieces: &'a [Piece] },
}

impl Contents {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    fn push(&mut self, record: Record) -> Result<ContentId, WriteError> {
        // The highest number is left free: the tree uses it for "none".
        let id = u32::try_from(self.records.len())
            .ok()
            .filter(|&id| id < u32::MAX);
        let id = id.ok_or(WriteError::TooManyContents)?;
        self.records.push(record);
        Ok(ContentId(id))
    }

    /// A file whose data is in blocks.
    pub(crate) fn push_blocks(&mut self, start: u32, size: u64) -> Result<ContentId, WriteError> {
        self.push(Record::blocks(start, size)?)
    }

    /// A file whose last `length` bytes are in the tail store.
    pub(crate) fn push_tail(
        &mut self,
        start: u32,
        size: u64,
        at: u64,
    ) -> Result<ContentId, WriteError> {
        let length = size % BLOCK_SIZE as u64;
        let blocks = u32::try_from(size / BLOCK_SIZE as u64).map_err(|_| WriteError::TooLarge)?;
        self.push(Record {
            start,
            blocks,
            extra: TAIL | at << LENGTH_BITS | length,
        })
    }

    /// A sparse file.
    pub(crate) fn push_sparse(
        &mut self,
        start: u32,
        size: u64,
        plan: &Plan,
    ) -> Result<ContentId, WriteError> {
        let number = |n: usize| u32::try_from(n).map_err(|_| WriteError::TooManyContents);
        let (first_run, runs) = (number(self.runs.len())?, number(plan.runs.len())?);
        let index = number(self.sparse.len())?;
        let blocks = u32::try_from(stored(size, plan) / BLOCK_SIZE as u64)
            .map_err(|_| WriteError::TooLarge)?;
        self.runs.extend_from_slice(&plan.runs);
        self.sparse.push(SparseRecord {
            size,
            first_run,
            runs,
            chunk_bits: plan.chunk_bits,
        });
        self.push(Record {
            start,
            blocks,
            extra: SPARSE | u64::from(index),
        })
    }

    /// A file whose chunks are on further devices.
    pub(crate) fn push_external(
        &mut self,
        size: u64,
        chunk_bits: u8,
        pieces: &[Piece],
    ) -> Result<ContentId, WriteError> {
        let number = |n: usize| u32::try_from(n).map_err(|_| WriteError::TooManyContents);
        let index = number(self.external.len())?;
        self.external.push(External {
            size,
            first_piece: number(self.pieces.len())?,
            pieces: number(pieces.len())?,
            chunk_bits,
        });
        self.pieces.extend_from_slice(pieces);
        self.push(Record {
            start: 0,
            blocks: 0,
            extra: EXTERNAL | u64::from(index),
        })
    }

    /// A content that exists.
    pub(crate) fn get(&self, id: ContentId) -> Option<Content<'_>> {
        let &Record {
            start,
            blocks,
            extra,
        } = self.records.get(id.0 as usize)?;
        let length = extra & (BLOCK_SIZE as u64 - 1);
        let whole = u64::from(blocks) * BLOCK_SIZE as u64;
        let (size, form) = if extra & SPARSE != 0 {
            let s = self.sparse.get((extra & !SPARSE) as usize)?;
            let runs = &self.runs[s.first_run as usize..][..s.runs as usize];
            (
                s.size,
                Form::Sparse {
                    chunk_bits: s.chunk_bits,
                    runs,
                },
            )
        } else if extra & (TAIL | EXTERNAL) == EXTERNAL {
            let e = self.external.get((extra & !EXTERNAL) as usize)?;
            let pieces = &self.pieces[e.first_piece as usize..][..e.pieces as usize];
            (
                e.size,
                Form::External {
                    chunk_bits: e.chunk_bits,
                    pieces,
                },
            )
        } else if extra & TAIL != 0 {
            (
                whole + length,
                Form::Tail {
                    at: (extra & !TAIL) >> LENGTH_BITS,
                    length: length as u16,
                },
            )
        } else if length != 0 {
            (whole - BLOCK_SIZE as u64 + length, Form::Blocks)
        } else {
            (whole, Form::Blocks)
        };
        Some(Content {
            size,
            start,
            blocks,
            form,
        })
    }

    /// First block and number of blocks.
    pub(crate) fn extent(&self, index: usize) -> (u32, u32) {
        let r = &self.records[index];
        (r.start, r.blocks)
    }

    /// The data has moved.
    pub(crate) fn set_start(&mut self, index: usize, start: u32) {
        self.records[index].start = start;
    }

    /// The data has moved, and its tail has become its last block.
    pub(crate) fn set_blocks(
        &mut self,
        id: ContentId,
        start: u32,
        size: u64,
    ) -> Result<(), WriteError> {
        self.records[id.0 as usize] = Record::blocks(start, size)?;
        Ok(())
    }
}

impl Record {
    fn blocks(start: u32, size: u64) -> Result<Self, WriteError> {
        let blocks =
            u32::try_from(size.div_ceil(BLOCK_SIZE as u64)).map_err(|_| WriteError::TooLarge)?;
        Ok(Self {
            start,
            blocks,
            extra: size % BLOCK_SIZE as u64,
        })
    }
}
