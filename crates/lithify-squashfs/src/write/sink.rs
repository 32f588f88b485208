//! Taking file data: blocks are compressed as they fill, ends of files collected, contents that are there already
//! found.

use lithify_tree::{ContentId, ContentSink, DataSegment};

use super::Writer;
use super::contents::{Mark, stored_len};
use super::pool::Buffers;
use crate::format::NONE;
use crate::{Storage, WriteError};

/// Bytes of a block that go into a content's print. All of a file's end does: the most files have nothing else.
const PRINTED: usize = 4096;

/// Contents with the same print that turned out to differ, after which no more are compared: only an image made for
/// it has so many, and every comparison costs the decompression of a block.
const FALSE_PRINTS_MAX: u32 = 1024;

/// The file being written.
#[derive(Debug)]
pub(super) struct Open {
    size: u64,
    /// Data bytes announced.
    announced: u64,
    /// Data bytes written.
    written: u64,
    /// Where data is; one segment for a file without holes.
    segments: std::vec::IntoIter<DataSegment>,
    current: DataSegment,
    /// Offset in the file of the next byte, zeros included.
    at: u64,
    /// The block being filled.
    block: Buffers,
    mark: Mark,
    /// Blocks given away so far.
    submitted: u64,
    print: crc32fast::Hasher,
}

impl<S: Storage> Writer<S> {
    fn append_to(&mut self, open: &mut Open, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            while open.current.length == 0 {
                let Some(next) = open.segments.next() else {
                    // The caller never writes more than was announced.
                    return Ok(());
                };
                open.current = next;
            }
            self.append_zeros(open, open.current.offset)?;
            let room = self.block_size as usize - open.block.raw.len();
            let n = open.current.length.min(data.len().min(room) as u64) as usize;
            let (head, rest) = data.split_at(n);
            open.block.raw.extend_from_slice(head);
            open.at += n as u64;
            open.current.offset += n as u64;
            open.current.length -= n as u64;
            data = rest;
            self.close_full_block(open)?;
        }
        Ok(())
    }

    /// Adds the zeros of a hole up to an offset in the file.
    fn append_zeros(&mut self, open: &mut Open, to: u64) -> Result<(), WriteError> {
        let block_size = u64::from(self.block_size);
        while open.at < to {
            if open.block.raw.is_empty() && to - open.at >= block_size {
                let blocks = (to - open.at) / block_size;
                self.contents.push_zeros(open.mark, blocks)?;
                open.at += blocks * block_size;
                continue;
            }
            let room = self.block_size as usize - open.block.raw.len();
            let n = (to - open.at).min(room as u64) as usize;
            open.block.raw.resize(open.block.raw.len() + n, 0);
            open.at += n as u64;
            self.close_full_block(open)?;
        }
        Ok(())
    }

    fn close_full_block(&mut self, open: &mut Open) -> Result<(), WriteError> {
        if open.block.raw.len() < self.block_size as usize {
            return Ok(());
        }
        if is_zero(&open.block.raw) {
            open.block.raw.clear();
            return self.contents.push_zeros(open.mark, 1);
        }
        // Where a block stands counts, so that moved zeros make a difference.
        open.print.update(&open.at.to_le_bytes());
        open.print
            .update(&open.block.raw[..PRINTED.min(open.block.raw.len())]);
        let next = self.data.pool.buffers();
        let full = std::mem::replace(&mut open.block, next);
        self.data.submit_block(
            &mut self.storage,
            &mut self.contents,
            full,
            open.submitted == 0,
        )?;
        open.submitted += 1;
        Ok(())
    }

    fn close(&mut self, mut open: Open) -> Result<ContentId, WriteError> {
        let end = open.size;
        self.append_zeros(&mut open, end)?;
        let Open {
            size,
            block,
            mark,
            submitted,
            mut print,
            ..
        } = open;
        // An end of nothing but zeros is a block of zeros.
        let tail = if is_zero(&block.raw) {
            if !block.raw.is_empty() {
                self.contents.push_zeros(mark, 1)?;
            }
            &[]
        } else {
            block.raw.as_slice()
        };
        print.update(tail);
        let print = print.finalize();
        let found = self.find_equal(size, print, mark, submitted, tail)?;
        let id = match found {
            Some(id) => {
                if submitted > 0 {
                    // Everything is written: nothing but this file's blocks stands behind their start.
                    if let Some(start) = self.data.open_start {
                        self.data.appender.rewind(start);
                    }
                }
                self.contents.rewind(mark);
                self.duplicates += 1;
                id
            }
            None => {
                let start = self.data.open_start.unwrap_or(0);
                let id = self.contents.push(mark, size, start, print)?;
                if size > 0 {
                    self.index.insert(&self.contents, id.0);
                }
                if !tail.is_empty() {
                    self.place_tail(id.0 as usize, tail)?;
                }
                id
            }
        };
        self.data.open_start = None;
        self.data.pool.recycle(block);
        Ok(id)
    }

    /// Finds a content that equals the one just written, byte for byte.
    fn find_equal(
        &mut self,
        size: u64,
        print: u32,
        mark: Mark,
        submitted: u64,
        tail: &[u8],
    ) -> Result<Option<ContentId>, WriteError> {
        if size == 0 || self.false_prints >= FALSE_PRINTS_MAX {
            return Ok(None);
        }
        let Some(id) = self.index.find(&self.contents, size, print) else {
            return Ok(None);
        };
        let equal = self.is_equal(id as usize, mark, submitted, tail)?;
        if !equal {
            self.false_prints += 1;
        }
        Ok(equal.then_some(ContentId(id)))
    }

    fn is_equal(
        &mut self,
        other: usize,
        mark: Mark,
        submitted: u64,
        tail: &[u8],
    ) -> Result<bool, WriteError> {
        let candidate = *self.contents.at(other);
        if (candidate.fragment != NONE) == tail.is_empty() {
            return Ok(false);
        }
        let in_flight = candidate.fragment != NONE && {
            let sealed = self.data.fragments.get(candidate.fragment as usize);
            sealed.is_some_and(|f| f.length == 0)
        };
        if (submitted > 0 || in_flight) && !self.data.is_idle() {
            self.data.drain(&mut self.storage, &mut self.contents)?;
        }
        // Equal blocks are compressed to equal bytes, and equal bytes decompressed to equal blocks.
        let (theirs, ours) = (self.contents.list(other), self.contents.open_list(mark));
        // The last content's list goes on with the one being written.
        let theirs = if other + 1 == self.contents.len() {
            &theirs[..theirs.len() - ours.len()]
        } else {
            theirs
        };
        if theirs != ours {
            return Ok(false);
        }
        let length = stored_len(ours);
        // Draining may have told where the candidate starts.
        let start = self.contents.at(other).start;
        if length > 0
            && !self.data.equal(
                &mut self.storage,
                start,
                self.data.open_start.unwrap_or(start),
                length,
            )?
        {
            return Ok(false);
        }
        if tail.is_empty() {
            return Ok(true);
        }
        let range = candidate.offset as usize..candidate.offset as usize + tail.len();
        let block = if candidate.fragment as usize == self.data.fragments.len() {
            &self.tails.raw
        } else {
            self.data
                .read_fragment(&mut self.storage, candidate.fragment)?
        };
        Ok(block.get(range) == Some(tail))
    }

    /// Puts the end of a file into the open fragment block.
    pub(super) fn place_tail(&mut self, content: usize, tail: &[u8]) -> Result<(), WriteError> {
        if self.tails.raw.len() + tail.len() > self.block_size as usize {
            self.seal_fragment()?;
        }
        let record = self.contents.at_mut(content);
        record.fragment = self.data.fragments.len() as u32;
        record.offset = self.tails.raw.len() as u32;
        self.tails.raw.extend_from_slice(tail);
        Ok(())
    }

    /// Gives the open fragment block away.
    pub(super) fn seal_fragment(&mut self) -> Result<(), WriteError> {
        if self.tails.raw.is_empty() {
            return Ok(());
        }
        let next = self.data.pool.buffers();
        let full = std::mem::replace(&mut self.tails, next);
        self.data
            .submit_fragment(&mut self.storage, &mut self.contents, full)
    }
}

/// Whether bytes are zero; quick for those that are not.
fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(256)
        .all(|chunk| chunk.iter().fold(0, |all, b| all | b) == 0)
}

/// Checks segments; gives the data bytes they announce.
fn check(size: u64, segments: &[DataSegment]) -> Result<u64, WriteError> {
    let (mut end, mut sum) = (0, 0);
    for &DataSegment { offset, length } in segments {
        let next = offset
            .checked_add(length)
            .filter(|&n| n <= size && offset >= end);
        end = next.ok_or(WriteError::Segment {
            offset,
            length,
            size,
        })?;
        sum += length;
    }
    Ok(sum)
}

impl<S: Storage> ContentSink for Writer<S> {
    type Error = WriteError;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), WriteError> {
        if let Some(error) = self.invalid.take() {
            return Err(error);
        }
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "begin",
                state: "while a file was open",
            });
        }
        if size > i64::MAX as u64 {
            return Err(WriteError::FileTooLarge { size });
        }
        let announced = segments.map_or(Ok(size), |s| check(size, s))?;
        let lists = (self.contents.blocks() + size.div_ceil(u64::from(self.block_size))) * 4;
        self.budget.grow_to(self.data.appender.offset() + lists)?;
        let whole = [DataSegment {
            offset: 0,
            length: size,
        }];
        let segments = Vec::from(segments.unwrap_or(&whole)).into_iter();
        self.open = Some(Open {
            size,
            announced,
            written: 0,
            segments,
            current: DataSegment {
                offset: 0,
                length: 0,
            },
            at: 0,
            block: self.data.pool.buffers(),
            mark: self.contents.mark(),
            submitted: 0,
            print: crc32fast::Hasher::new(),
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
        let found = open.written.saturating_add(data.len() as u64);
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
        if open.written != open.announced {
            return Err(WriteError::DataLength {
                announced: open.announced,
                found: open.written,
            });
        }
        self.close(open)
    }
}
