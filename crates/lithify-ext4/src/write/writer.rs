//! The writer: what it holds while data comes, and the order of what comes then.

use lithify_cancel::Share;
use lithify_fskit::Repeats;
use lithify_storage::Storage;
use lithify_tree::{InodeId, Tree};

use super::blocks::Appender;
use super::contents::Contents;
use super::options::{DataOptions, FinishReport, ImageOptions};
use super::plan::Plan;
use super::sink::Open;
use super::{emit, gaps};
use crate::geometry::DataBlocks;
use crate::{Operation, WriteError};

/// Writes one ext4 filesystem.
#[derive(Debug)]
pub struct Writer<S> {
    /// The data blocks of the filesystem, and through them all of it.
    pub(super) blocks: DataBlocks<S>,
    pub(super) data: Appender,
    pub(super) contents: Contents,
    pub(super) open: Option<Open>,
    pub(super) options: DataOptions,
    pub(super) budget: Share,
    pub(super) repeats: Repeats,
}

impl<S: Storage> Writer<S> {
    /// Starts a filesystem on a storage. What is not written stays a hole, so it should be empty.
    ///
    /// # Errors
    /// [`WriteError::Size`] and [`WriteError::BytesPerInode`] for options that make no filesystem.
    pub fn new(storage: S, options: DataOptions) -> Result<Self, WriteError> {
        let geometry = options.geometry()?;
        Ok(Self {
            data: Appender::new(0, geometry.block_size.into(), Operation::WriteData),
            contents: Contents::new(geometry.block_size),
            blocks: DataBlocks { storage, geometry },
            open: None,
            budget: Share::of(options.budget.clone()),
            repeats: Repeats::default(),
            options,
        })
    }

    /// Returns the number of the next content.
    #[must_use]
    pub fn content_count(&self) -> u32 {
        self.contents.len() as u32
    }

    /// Writes everything but the data: what `tree` says is the filesystem. Gives the storage back, as long as the filesystem
    /// and not yet synced.
    ///
    /// # Errors
    /// [`WriteError`] when the storage fails or the tree holds what ext4 cannot.
    pub fn finish_image(
        self,
        tree: &Tree,
        options: &ImageOptions,
    ) -> Result<(S, FinishReport), WriteError> {
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "finish_image",
                state: "while a file was open",
            });
        }
        let plan = Plan::new(tree, options, self.blocks.geometry.block_size)?;
        self.finish_planned(tree, options, &plan)
    }

    pub(super) fn finish_planned(
        mut self,
        tree: &Tree,
        options: &ImageOptions,
        plan: &Plan,
    ) -> Result<(S, FinishReport), WriteError> {
        let block_size = self.blocks.geometry.block_size;
        let path = |id: InodeId| tree.path(plan.first_names[id.index()]);
        let live = self.contents.live(tree, path)?;
        self.data.flush(&mut self.blocks)?;
        self.repeats
            .copy(&mut self.blocks, block_size, &self.contents, |i| live[i])
            .map_err(Operation::MoveData.failed())?;
        let (end, moved) = gaps::close(&mut self.blocks, &mut self.contents, &live)?;
        let end = u64::from(end) * u64::from(block_size);
        if end < self.data.offset() {
            // What nobody refers to must not be found where nothing is written: in tables of inodes and in the journal zeros
            // are expected, and a file that was removed is not to be read in free blocks.
            let cut = self.blocks.storage.set_size(self.blocks.locate(end).0);
            cut.map_err(Operation::MoveData.failed())?;
        }
        self.data.rewind(end);
        let (storage, mut report) = emit::emit(self, tree, plan, options)?;
        report.moved_bytes = moved;
        Ok((storage, report))
    }
}
