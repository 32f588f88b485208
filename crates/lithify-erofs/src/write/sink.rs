//! Taking file data: each byte goes where it stays.

use lithify_tree::{ContentId, ContentSink, DataSegment};

use super::Writer;
use super::sparse::{self, Cursor, Plan};
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
    Flat { in_blocks: u64, tail: Vec<u8> },
    /// Only data is stored.
    Sparse {
        plan: Plan,
        cursor: Cursor,
        segments: std::vec::IntoIter<DataSegment>,
        current: DataSegment,
    },
    /// Holes are stored as zeros.
    Filled {
        in_blocks: u64,
        tail: Vec<u8>,
        segments: std::vec::IntoIter<DataSegment>,
        current: DataSegment,
        at: u64,
    },
}

impl<S: Storage> Writer<S> {
    fn append_flat(
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
            OpenForm::Flat { in_blocks, tail } => {
                self.append_flat(*in_blocks, open.written, tail, data)
            }
            OpenForm::Filled {
                in_blocks,
                tail,
                segments,
                current,
                at,
            } => {
                while !data.is_empty() {
                    advance(segments, current);
                    self.fill(*in_blocks, at, tail, current.offset)?;
                    let n = current.length.min(data.len() as u64);
                    let (head, rest) = data.split_at(n as usize);
                    self.append_flat(*in_blocks, *at, tail, head)?;
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
    fn fill(
        &mut self,
        in_blocks: u64,
        at: &mut u64,
        tail: &mut Vec<u8>,
        to: u64,
    ) -> Result<(), WriteError> {
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
        let in_blocks = if self.block_aligned || size % block_size > tail_max(size) {
            size
        } else {
            size - size % block_size
        };
        let tail = Vec::with_capacity((size - in_blocks) as usize);
        let form = match segments {
            None => OpenForm::Flat { in_blocks, tail },
            Some(segments) => {
                let current = NO_SEGMENT;
                match sparse::plan(size, segments) {
                    Some(plan) => {
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
                            in_blocks,
                            tail,
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
            _ => in_blocks,
        };
        // Refused before a disk is filled in vain.
        let start = self.data.block()?;
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
            OpenForm::Flat { in_blocks, tail } => self.close_flat(start, size, in_blocks, &tail),
            OpenForm::Filled {
                in_blocks,
                mut tail,
                mut at,
                ..
            } => {
                self.fill(in_blocks, &mut at, &mut tail, size)?;
                self.close_flat(start, size, in_blocks, &tail)
            }
        }
    }
}

impl<S: Storage> Writer<S> {
    fn close_flat(
        &mut self,
        start: u32,
        size: u64,
        in_blocks: u64,
        tail: &[u8],
    ) -> Result<ContentId, WriteError> {
        self.data.pad(&mut self.storage)?;
        if in_blocks == size {
            return self.contents.push_blocks(start, size);
        }
        let at = self.tails.push(tail)?;
        self.contents.push_tail(start, size, at)
    }
}
