//! What the writer knows about each file's data: sixteen bytes.

use lithify_tree::ContentId;

use super::compress::Settings;
use super::external::{External, Piece};
use super::sparse::{Plan, Run, stored};
use crate::WriteError;
use crate::format::BLOCK_SIZE;
use crate::format::compressed::Extent;
use crate::format::inode::SLOT_SIZE;

/// The contents written, by [`ContentId`].
#[derive(Debug, Default)]
pub(crate) struct Contents {
    records: Vec<Record>,
    sparse: Vec<SparseRecord>,
    runs: Vec<Run>,
    external: Vec<External>,
    pieces: Vec<Piece>,
    compressed: Vec<CompressedRecord>,
    extents: Vec<PackedExtent>,
    compression: Option<Settings>,
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

const FORM: u64 = SPARSE | TAIL;
const SPARSE: u64 = 1 << 63;
const TAIL: u64 = 1 << 62;
const EXTERNAL: u64 = 1 << 60;
const COMPRESSED: u64 = SPARSE | TAIL;
/// Bits of `extra` for a length below the block size.
const LENGTH_BITS: u32 = BLOCK_SIZE.trailing_zeros();

#[derive(Clone, Copy, Debug)]
struct SparseRecord {
    size: u64,
    first_run: u32,
    runs: u32,
    chunk_bits: u8,
}

#[derive(Clone, Copy, Debug)]
struct CompressedRecord {
    size: u64,
    first_extent: u32,
    extents: u32,
    /// Place and length in the tail store, of data that has no blocks.
    tail: Option<(u64, u16)>,
}

/// An [`Extent`] in four bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedExtent(u32);

impl PackedExtent {
    /// Bits for the length: up to 4 MiB − 1.
    const LENGTH_BITS: u32 = 22;

    const fn new(extent: Extent) -> Self {
        debug_assert!(extent.length < 1 << Self::LENGTH_BITS && extent.blocks < 1 << 10);
        Self((extent.blocks as u32) << Self::LENGTH_BITS | extent.length)
    }

    pub(crate) const fn get(self) -> Extent {
        Extent {
            length: self.0 & ((1 << Self::LENGTH_BITS) - 1),
            blocks: (self.0 >> Self::LENGTH_BITS) as u16,
        }
    }
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
    /// Compressed, extent after extent, in the blocks or all of it in the tail store.
    Compressed {
        extents: &'a [PackedExtent],
        tail: Option<(u64, u16)>,
    },
}

impl Contents {
    pub(crate) fn new(compression: Option<Settings>) -> Self {
        Self {
            compression,
            ..Self::default()
        }
    }

    /// How compressed contents are compressed, if there may be any.
    pub(crate) fn compression(&self) -> Option<Settings> {
        self.compression
    }

    /// Whether there are compressed contents.
    pub(crate) fn has_compressed(&self) -> bool {
        !self.compressed.is_empty()
    }

    /// Bytes behind the superblock that say how contents are compressed, in whole slots.
    pub(crate) fn superblock_extra_len(&self) -> usize {
        self.compression
            .filter(|_| self.has_compressed())
            .map_or(0, |c| {
                c.superblock_extra().len().next_multiple_of(SLOT_SIZE)
            })
    }

    /// A file whose place is not known yet: until it is, an empty one.
    pub(crate) fn reserve(&mut self) -> Result<ContentId, WriteError> {
        self.push(Record::blocks(0, 0)?)
    }

    pub(crate) fn extent_count(&self) -> usize {
        self.extents.len()
    }

    pub(crate) fn push_extents(
        &mut self,
        extents: impl Iterator<Item = Extent>,
    ) -> Result<(), WriteError> {
        self.extents.extend(extents.map(PackedExtent::new));
        if self.extents.len() > u32::MAX as usize {
            return Err(WriteError::TooManyContents);
        }
        Ok(())
    }

    pub(crate) fn truncate_extents(&mut self, count: usize) {
        self.extents.truncate(count);
    }

    /// A reserved content is compressed: its extents are those from `first_extent` on.
    pub(crate) fn set_compressed(
        &mut self,
        id: ContentId,
        start: u32,
        blocks: u32,
        size: u64,
        first_extent: usize,
    ) {
        self.records[id.0 as usize] = Record {
            start,
            blocks,
            extra: COMPRESSED | self.compressed.len() as u64,
        };
        self.push_compressed(size, first_extent, None);
    }

    /// A reserved content is compressed to one extent, which is in the tail store.
    pub(crate) fn set_inline(
        &mut self,
        id: ContentId,
        size: u64,
        at: u64,
        length: usize,
        first_extent: usize,
    ) {
        self.records[id.0 as usize] = Record {
            start: 0,
            blocks: 0,
            extra: COMPRESSED | self.compressed.len() as u64,
        };
        // Less than a block.
        self.push_compressed(size, first_extent, Some((at, length as u16)));
    }

    fn push_compressed(&mut self, size: u64, first_extent: usize, tail: Option<(u64, u16)>) {
        // At most as many as all extents.
        self.compressed.push(CompressedRecord {
            size,
            first_extent: first_extent as u32,
            extents: (self.extents.len() - first_extent) as u32,
            tail,
        });
    }

    /// The end of a reserved content is in the tail store.
    pub(crate) fn set_tail(
        &mut self,
        id: ContentId,
        start: u32,
        size: u64,
        at: u64,
    ) -> Result<(), WriteError> {
        self.records[id.0 as usize] = Record::tail(start, size, at)?;
        Ok(())
    }

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
        self.push(Record::tail(start, size, at)?)
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

    /// A content that is there once more, in other blocks: those from `start` on. Its end is where the other's is.
    pub(crate) fn repeat(&mut self, id: ContentId, start: u32) -> Result<ContentId, WriteError> {
        let mut record = self.records[id.0 as usize];
        record.start = start;
        self.push(record)
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
        let (size, form) = if extra & FORM == COMPRESSED {
            let c = self.compressed.get((extra & !FORM) as usize)?;
            let extents = &self.extents[c.first_extent as usize..][..c.extents as usize];
            let tail = c.tail;
            (c.size, Form::Compressed { extents, tail })
        } else if extra & SPARSE != 0 {
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
    fn tail(start: u32, size: u64, at: u64) -> Result<Self, WriteError> {
        let length = size % BLOCK_SIZE as u64;
        let blocks = u32::try_from(size / BLOCK_SIZE as u64).map_err(|_| WriteError::TooLarge)?;
        Ok(Self {
            start,
            blocks,
            extra: TAIL | at << LENGTH_BITS | length,
        })
    }

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
