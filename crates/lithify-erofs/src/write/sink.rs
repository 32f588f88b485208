//! Taking file data: each byte goes where it stays.

use lithify_fskit::ZEROS;
use lithify_tree::{ContentId, ContentSink, DataSegment};

use super::appender::next_block;
use super::compress::{self, Compressor, Piece};
use super::sparse::{self, Cursor, Plan};
use super::{Compression, DataOptions, Writer};
use crate::format::chunk::MAP_ENTRY_LEN;
use crate::format::inode::{COMPACT_LEN, EXTENDED_LEN};
use crate::format::{BLOCK_SIZE, NULL_BLOCK};
use crate::{Storage, WriteError};

/// Longest tail kept for its inode, in bytes; longer ones get a block of their own at once. The rest of the block is
/// for the inode itself and, where moving the file's other blocks would be costly, for a few attributes: a tail that
/// turns out not to fit takes all data of its file with it.
const fn tail_max(size: u64) -> u64 {
    const MOVED_MAX: u64 = 1 << 20;
    let inode = if size < BLOCK_SIZE as u64 {
        COMPACT_LEN
    } else if size < MOVED_MAX {
        EXTENDED_LEN
    } else {
        2 * EXTENDED_LEN
    };
    (BLOCK_SIZE - inode) as u64
}

/// Which bytes of a file go to blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    /// Files over this many bytes are in blocks of their own, all of them.
    aligned_over: Option<u64>,
}

impl Placement {
    pub(super) fn new(options: &DataOptions) -> Self {
        let small = u64::from(options.small_file_max).min(BLOCK_SIZE as u64 - 1);
        Self {
            aligned_over: options.block_aligned.then_some(small),
        }
    }

    /// Whether ends of files are in blocks of their own, as those of compressed ones.
    pub(super) const fn is_aligned(self) -> bool {
        self.aligned_over.is_some()
    }

    /// Bytes of a file that go to blocks; the rest is its tail.
    pub(super) fn in_blocks(self, size: u64) -> u64 {
        let tail = size % BLOCK_SIZE as u64;
        let aligned = self.aligned_over.is_some_and(|small| size > small);
        if aligned || tail > tail_max(size) {
            size
        } else {
            size - tail
        }
    }
}

/// Holes of more than this many times the data are left out by mapping the file, less by compressing them.
const COMPRESSED_HOLES_MAX: u64 = 8;

/// The file being written.
#[derive(Debug)]
pub(super) struct Open {
    size: u64,
    start: u32,
    /// Data bytes announced.
    announced: u64,
    /// Data bytes written.
    written: u64,
    form: OpenForm,
}

#[derive(Debug)]
enum OpenForm {
    /// The first bytes go to blocks, the rest to the tail.
    Flat(Store),
    /// Only data is stored.
    Sparse {
        plan: Plan,
        cursor: Cursor,
        segments: std::vec::IntoIter<DataSegment>,
        current: DataSegment,
    },
    /// Holes are stored as zeros.
    Filled {
        store: Store,
        segments: std::vec::IntoIter<DataSegment>,
        current: DataSegment,
        at: u64,
    },
}

/// What is done with a file's bytes.
#[derive(Debug)]
enum Store {
    /// The first bytes go to blocks, the rest to the tail.
    AsIs {
        in_blocks: u64,
        tail: Vec<u8>,
    },
    Compressed(Piece),
}

impl<S: Storage> Writer<S> {
    /// Appends data that belongs at offset `done` of the file.
    fn append_flat(&mut self, store: &mut Store, done: u64, data: &[u8]) -> Result<(), WriteError> {
        match store {
            Store::AsIs { in_blocks, tail } => self.append_as_is(*in_blocks, done, tail, data),
            Store::Compressed(file) => self.compress(*file, data),
        }
    }

    fn append_as_is(
        &mut self,
        in_blocks: u64,
        done: u64,
        tail: &mut Vec<u8>,
        data: &[u8],
    ) -> Result<(), WriteError> {
        let for_blocks = in_blocks.saturating_sub(done).min(data.len() as u64) as usize;
        let (blocks, rest) = data.split_at(for_blocks);
        self.data.append(&mut self.storage, blocks)?;
        tail.extend_from_slice(rest);
        Ok(())
    }

    fn append_to(&mut self, open: &mut Open, mut data: &[u8]) -> Result<(), WriteError> {
        match &mut open.form {
            OpenForm::Flat(store) => self.append_flat(store, open.written, data),
            OpenForm::Filled {
                store,
                segments,
                current,
                at,
            } => {
                while !data.is_empty() {
                    advance(segments, current);
                    self.fill(store, at, current.offset)?;
                    let n = current.length.min(data.len() as u64);
                    let (head, rest) = data.split_at(n as usize);
                    self.append_flat(store, *at, head)?;
                    *at += n;
                    consume(current, n);
                    data = rest;
                }
                Ok(())
            }
            OpenForm::Sparse {
                plan,
                cursor,
                segments,
                current,
            } => {
                while !data.is_empty() {
                    advance(segments, current);
                    let base = u64::from(open.start) * BLOCK_SIZE as u64;
                    let n = current.length.min(data.len() as u64);
                    let (head, rest) = data.split_at(n as usize);
                    // Stored offsets of one segment are contiguous: all its chunks are in one run.
                    let target = base + cursor.seek(plan, current.offset);
                    self.data.zeros_to(&mut self.storage, target)?;
                    self.data.append(&mut self.storage, head)?;
                    consume(current, n);
                    data = rest;
                }
                Ok(())
            }
        }
    }

    /// Stores zeros from `at` to `to`.
    fn fill(&mut self, store: &mut Store, at: &mut u64, to: u64) -> Result<(), WriteError> {
        let (in_blocks, tail) = match store {
            Store::AsIs { in_blocks, tail } => (*in_blocks, tail),
            Store::Compressed(file) => {
                while *at < to {
                    let n = (to - *at).min(ZEROS.len() as u64);
                    self.compress(*file, &ZEROS[..n as usize])?;
                    *at += n;
                }
                return Ok(());
            }
        };
        if *at < to.min(in_blocks) {
            let end = self.data.offset() + (to.min(in_blocks) - *at);
            self.data.zeros_to(&mut self.storage, end)?;
            *at = to.min(in_blocks);
        }
        if *at < to {
            // Less than a block is left.
            tail.resize(tail.len() + (to - *at) as usize, 0);
            *at = to;
        }
        Ok(())
    }
}

/// Moves on to the next segment with data when the current one is used up.
fn advance(segments: &mut std::vec::IntoIter<DataSegment>, current: &mut DataSegment) {
    while current.length == 0 {
        let Some(next) = segments.next() else {
            // The caller never writes more than was announced.
            current.length = u64::MAX;
            return;
        };
        *current = next;
    }
}

fn consume(current: &mut DataSegment, n: u64) {
    current.offset += n;
    current.length -= n;
}

const NO_SEGMENT: DataSegment = DataSegment {
    offset: 0,
    length: 0,
};

impl<S: Storage> ContentSink for Writer<S> {
    type Error = WriteError;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), WriteError> {
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "begin",
                state: "while a file was open",
            });
        }
        if size > i64::MAX as u64 {
            return Err(WriteError::FileTooLarge { size });
        }
        let announced = segments.map_or(Ok(size), |s| sparse::check(size, s))?;
        let block_size = BLOCK_SIZE as u64;
        // A file without blocks of its own starts nowhere.
        let in_blocks = self.placement.in_blocks(size);
        let store = |writer: &mut Self| match writer.compression {
            // A file without blocks has no place that depends on the order of things.
            Some(options)
                if in_blocks > 0
                    || size >= compress::FILE_MIN
                        && options.inline
                        && !writer.placement.is_aligned() =>
            {
                writer.store_compressed(options, size)
            }
            _ => Ok(Store::AsIs {
                in_blocks,
                tail: Vec::with_capacity((size - in_blocks) as usize),
            }),
        };
        let form = match segments {
            None => OpenForm::Flat(store(self)?),
            Some(segments) => {
                let current = NO_SEGMENT;
                let is_dense = self.compression.is_some()
                    && (size - announced) / COMPRESSED_HOLES_MAX <= announced;
                match sparse::plan(size, segments).filter(|_| !is_dense) {
                    Some(plan) => {
                        // Data before this file's is placed before it.
                        self.finish_compression()?;
                        let segments = Vec::from(segments).into_iter();
                        OpenForm::Sparse {
                            plan,
                            cursor: Cursor::new(),
                            segments,
                            current,
                        }
                    }
                    None => {
                        let segments = Vec::from(segments).into_iter();
                        OpenForm::Filled {
                            store: store(self)?,
                            segments,
                            current,
                            at: 0,
                        }
                    }
                }
            }
        };
        let stored = match &form {
            OpenForm::Sparse { plan, .. } => sparse::stored(size, plan),
            // How much that becomes is seen when it is placed.
            _ if self.compression.is_some() => 0,
            _ => in_blocks,
        };
        let map_len = match &form {
            OpenForm::Sparse { plan, .. } => {
                sparse::chunk_count(size, plan.chunk_bits) * MAP_ENTRY_LEN as u64
            }
            _ => 0,
        };
        // Refused before a disk is filled in vain.
        let total = self.data.offset() + stored + self.map_bytes + map_len;
        self.budget.grow_to(total)?;
        self.map_bytes += map_len;
        let start = next_block(&self.data)?;
        if u64::from(start) + stored.div_ceil(block_size) >= u64::from(NULL_BLOCK) {
            return Err(WriteError::TooLarge);
        }
        self.open = Some(Open {
            size,
            start,
            announced,
            written: 0,
            form,
        });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let Some(mut open) = self.open.take() else {
            return Err(WriteError::CallOrder {
                call: "write",
                state: "without a file open",
            });
        };
        let found = open.written + data.len() as u64;
        if found > open.announced {
            return Err(WriteError::DataLength {
                announced: open.announced,
                found,
            });
        }
        self.append_to(&mut open, data)?;
        open.written = found;
        self.open = Some(open);
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, WriteError> {
        let Some(open) = self.open.take() else {
            return Err(WriteError::CallOrder {
                call: "finish",
                state: "without a file open",
            });
        };
        let Open {
            size,
            start,
            announced,
            written,
            form,
        } = open;
        if written != announced {
            return Err(WriteError::DataLength {
                announced,
                found: written,
            });
        }
        match form {
            OpenForm::Sparse { plan, .. } => {
                let end = u64::from(start) * BLOCK_SIZE as u64 + sparse::stored(size, &plan);
                self.data.zeros_to(&mut self.storage, end)?;
                self.contents.push_sparse(start, size, &plan)
            }
            OpenForm::Flat(store) => self.close_flat(start, size, &store),
            OpenForm::Filled {
                mut store, mut at, ..
            } => {
                self.fill(&mut store, &mut at, size)?;
                self.close_flat(start, size, &store)
            }
        }
    }
}

impl<S: Storage> Writer<S> {
    fn store_compressed(&mut self, options: Compression, size: u64) -> Result<Store, WriteError> {
        match &mut self.compressor {
            Some(compressor) => compressor.begin(),
            none => {
                options.check()?;
                let inline = options.inline && !self.placement.is_aligned();
                *none = Some(Compressor::new(options, inline));
            }
        }
        let content = self.contents.reserve()?;
        Ok(Store::Compressed(Piece { content, size }))
    }

    fn close_flat(
        &mut self,
        start: u32,
        size: u64,
        store: &Store,
    ) -> Result<ContentId, WriteError> {
        let (in_blocks, tail) = match store {
            Store::AsIs { in_blocks, tail } => (*in_blocks, tail),
            Store::Compressed(file) => return Ok(file.content),
        };
        self.data.pad(&mut self.storage)?;
        if in_blocks == size {
            return self.contents.push_blocks(start, size);
        }
        let at = self.tails.push(tail)?;
        self.contents.push_tail(start, size, at)
    }
}
