//! What the writer knows about each file's data: sixteen bytes.

use lithify_tree::{ContentId, InodeId, InodeKind, Tree};

use super::extents;
use crate::WriteError;
use crate::format::extent::Extent;
use crate::geometry::Geometry;

/// The contents written, by [`ContentId`].
#[derive(Debug)]
pub(super) struct Contents {
    block_size: u32,
    records: Vec<Record>,
    sparse: Vec<SparseRecord>,
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// The first data block.
    start: u32,
    blocks: u32,
    /// The size, or with [`SPARSE`] the number of a sparse file.
    extra: u64,
}

const _: () = assert!(size_of::<Record>() == 16);

const SPARSE: u64 = 1 << 63;

#[derive(Clone, Copy, Debug)]
struct SparseRecord {
    size: u64,
    first_run: usize,
    runs: usize,
}

/// Blocks of a file that have data. The stored blocks of a file are those of its runs, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first, in the file.
    pub(super) logical: u32,
    pub(super) blocks: u32,
}

/// Where a file's data is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) size: u64,
    start: u32,
    blocks: u32,
    /// `None` for a file without holes.
    runs: Option<&'a [Run]>,
}

impl Content<'_> {
    /// Adds the extents of its data.
    pub(super) fn extents(&self, geometry: &Geometry, found: &mut Vec<Extent>) {
        let whole = [Run {
            logical: 0,
            blocks: self.blocks,
        }];
        let mut at = self.start;
        for run in self.runs.unwrap_or(&whole) {
            extents::push(found, geometry, run.logical, at, run.blocks);
            at += run.blocks;
        }
    }
}

impl Contents {
    pub(super) fn new(block_size: u32) -> Self {
        Self {
            block_size,
            records: Vec::new(),
            sparse: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    fn push(&mut self, record: Record) -> Result<ContentId, WriteError> {
        // The highest number is left free: the tree uses it for "none".
        let id = u32::try_from(self.records.len()).ok();
        let id = id.filter(|&id| id < u32::MAX);
        let id = id.ok_or(WriteError::TooManyContents)?;
        self.records.push(record);
        Ok(ContentId(id))
    }

    /// Adds a file without holes.
    pub(super) fn push_whole(&mut self, start: u32, size: u64) -> Result<ContentId, WriteError> {
        let blocks = size.div_ceil(self.block_size.into());
        self.push(Record {
            start,
            blocks: blocks as u32,
            extra: size,
        })
    }

    /// Adds a file of which only these runs are stored.
    pub(super) fn push_sparse(
        &mut self,
        start: u32,
        size: u64,
        runs: &[Run],
    ) -> Result<ContentId, WriteError> {
        let record = Record {
            start,
            blocks: runs.iter().map(|run| run.blocks).sum(),
            extra: SPARSE | self.sparse.len() as u64,
        };
        self.sparse.push(SparseRecord {
            size,
            first_run: self.runs.len(),
            runs: runs.len(),
        });
        self.runs.extend_from_slice(runs);
        self.push(record)
    }

    /// Adds a content that is there once more, in other blocks: those from `start` on.
    pub(super) fn repeat(&mut self, id: ContentId, start: u32) -> Result<ContentId, WriteError> {
        let record = self.records[id.0 as usize];
        self.push(Record { start, ..record })
    }

    pub(super) fn get(&self, id: ContentId) -> Option<Content<'_>> {
        let record = self.records.get(id.0 as usize)?;
        let (size, runs) = match record.extra & SPARSE {
            0 => (record.extra, None),
            _ => {
                let sparse = &self.sparse[(record.extra & !SPARSE) as usize];
                let runs = &self.runs[sparse.first_run..][..sparse.runs];
                (sparse.size, Some(runs))
            }
        };
        Some(Content {
            size,
            start: record.start,
            blocks: record.blocks,
            runs,
        })
    }

    /// Returns the first stored block of a content, and their number.
    pub(super) fn extent(&self, index: usize) -> (u32, u32) {
        (self.records[index].start, self.records[index].blocks)
    }

    pub(super) fn set_start(&mut self, index: usize, start: u32) {
        self.records[index].start = start;
    }

    /// Finds the contents the tree refers to, and compares their sizes. `path` returns a name of an inode.
    pub(super) fn live(
        &self,
        tree: &Tree,
        path: impl Fn(InodeId) -> Vec<u8>,
    ) -> Result<Vec<bool>, WriteError> {
        let mut live = vec![false; self.len()];
        for id in tree.inode_ids() {
            let InodeKind::File { size, content } = tree.inode(id).kind else {
                continue;
            };
            match content.and_then(|content| Some((content, self.get(content)?))) {
                Some((_, found)) if found.size != size => {
                    return Err(WriteError::ContentSize {
                        path: path(id),
                        expected: size,
                        found: found.size,
                    });
                }
                // A block belongs to one file.
                Some((content, _)) if live[content.0 as usize] => {
                    return Err(WriteError::SharedContent { path: path(id) });
                }
                Some((content, _)) => live[content.0 as usize] = true,
                None if size == 0 && content.is_none() => {}
                None => {
                    return Err(WriteError::UnknownContent {
                        path: path(id),
                        content,
                    });
                }
            }
        }
        Ok(live)
    }
}
