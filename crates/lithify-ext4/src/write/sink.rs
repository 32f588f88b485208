//! Taking file data: each block goes where it stays, holes are left out.

use std::collections::VecDeque;

use lithify_storage::Storage;
use lithify_tree::{ContentId, ContentSink, DataSegment};

use super::blocks::next_block;
use super::contents::Run;
use super::writer::Writer;
use crate::WriteError;

/// The file being written.
#[derive(Debug)]
pub(super) struct Open {
    size: u64,
    start: u32,
    /// Data bytes announced.
    announced: u64,
    /// Data bytes written.
    written: u64,
    /// Of a file with holes.
    sparse: Option<Sparse>,
}

#[derive(Debug)]
struct Sparse {
    /// Those that have not begun.
    segments: VecDeque<DataSegment>,
    current: DataSegment,
    /// Where in the file the next stored byte belongs.
    at: u64,
    runs: Vec<Run>,
}

/// Returns the runs of blocks that have data of ascending segments, and the bytes of data.
fn runs(
    size: u64,
    segments: &[DataSegment],
    block_size: u64,
) -> Result<(Vec<Run>, u64), WriteError> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut end, mut bytes) = (0, 0);
    for &DataSegment { offset, length } in segments {
        let after = offset.checked_add(length).filter(|after| *after <= size);
        let Some(after) = after.filter(|_| offset >= end) else {
            return Err(WriteError::Segment {
                offset,
                length,
                size,
            });
        };
        end = after;
        bytes += length;
        if length == 0 {
            continue;
        }
        // Less than 2³² blocks: the size was looked at.
        let first = (offset / block_size) as u32;
        let after = ((after - 1) / block_size) as u32 + 1;
        match runs.last_mut() {
            Some(run) if first <= run.logical + run.blocks => {
                run.blocks = run.blocks.max(after - run.logical);
            }
            _ => runs.push(Run {
                logical: first,
                blocks: after - first,
            }),
        }
    }
    Ok((runs, bytes))
}

impl<S: Storage> Writer<S> {
    /// Appends data of a file with holes.
    fn append_sparse(&mut self, sparse: &mut Sparse, mut data: &[u8]) -> Result<(), WriteError> {
        let block_size = u64::from(self.blocks.geometry.block_size);
        while !data.is_empty() {
            while sparse.current.length == 0 {
                // The caller never writes more than was announced.
                sparse.current = sparse.segments.pop_front().unwrap_or(DataSegment {
                    offset: sparse.at,
                    length: u64::MAX,
                });
            }
            let DataSegment { offset, length } = &mut sparse.current;
            if *offset > sparse.at {
                // To the end of the block begun, then, if another one is begun, from its start.
                let block_end = sparse.at.next_multiple_of(block_size);
                let zeros = match *offset < block_end {
                    true => *offset - sparse.at,
                    false => block_end - sparse.at + *offset % block_size,
                };
                let to = self.data.offset() + zeros;
                self.data.zeros_to(&mut self.blocks, to)?;
                sparse.at = *offset;
            }
            let (piece, rest) = data.split_at((*length).min(data.len() as u64) as usize);
            self.data.append(&mut self.blocks, piece)?;
            *offset += piece.len() as u64;
            *length -= piece.len() as u64;
            sparse.at = *offset;
            data = rest;
        }
        Ok(())
    }
}

impl<S: Storage> ContentSink for Writer<S> {
    type Error = WriteError;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), WriteError> {
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "begin",
                state: "while a file was open",
            });
        }
        let block_size = self.blocks.geometry.block_size;
        if size > u64::from(block_size) * u64::from(u32::MAX) {
            return Err(WriteError::FileTooLarge { size, block_size });
        }
        let (announced, stored, sparse) = match segments {
            None => (size, size.div_ceil(block_size.into()), None),
            Some(segments) => {
                let (runs, bytes) = runs(size, segments, block_size.into())?;
                let blocks = runs.iter().map(|run| u64::from(run.blocks)).sum();
                let sparse = Sparse {
                    segments: segments.iter().copied().collect(),
                    current: DataSegment {
                        offset: 0,
                        length: 0,
                    },
                    at: 0,
                    runs,
                };
                (bytes, blocks, Some(sparse))
            }
        };
        let start = next_block(&self.data, block_size)?;
        let end = self.data.offset() + stored * u64::from(block_size);
        if end / u64::from(block_size) >= u64::from(u32::MAX) {
            return Err(WriteError::TooLarge { block_size });
        }
        self.budget.grow_to(end)?;
        self.open = Some(Open {
            size,
            start,
            announced,
            written: 0,
            sparse,
        });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let Some(mut open) = self.open.take() else {
            return Err(WriteError::CallOrder {
                call: "write",
                state: "without an open file",
            });
        };
        open.written += data.len() as u64;
        if open.written > open.announced {
            return Err(WriteError::DataLength {
                announced: open.announced,
                found: open.written,
            });
        }
        match &mut open.sparse {
            None => self.data.append(&mut self.blocks, data)?,
            Some(sparse) => self.append_sparse(sparse, data)?,
        }
        self.open = Some(open);
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, WriteError> {
        let Some(open) = self.open.take() else {
            return Err(WriteError::CallOrder {
                call: "finish",
                state: "without an open file",
            });
        };
        if open.written != open.announced {
            return Err(WriteError::DataLength {
                announced: open.announced,
                found: open.written,
            });
        }
        self.data.pad(&mut self.blocks)?;
        match open.sparse {
            None => self.contents.push_whole(open.start, open.size),
            Some(sparse) => self
                .contents
                .push_sparse(open.start, open.size, &sparse.runs),
        }
    }
}
