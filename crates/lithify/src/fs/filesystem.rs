//! A filesystem image being written, of whichever kind: what flat images and layers have in common.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use lithify_cancel::Checked;
use lithify_storage::Shifted;
use lithify_tree::{ContentId, ContentSink, DataSegment, LayerEntries, Tree};

use super::compression::CompressionAlgorithm;
use super::format::{FsError, ImageWriter};
use super::kind::Kind;
use super::options::{Filesystem, FsOptions, Placement};
use super::xattrs::drop_unsupported;
use crate::image::{Dropped, LayerSink};
use crate::session::budgets::Budgets;
use crate::{Error, Session};

impl Filesystem {
    /// What the options ask for; combinations that do not exist are refused.
    pub(crate) fn new(kind: Kind, placement: Placement, options: FsOptions) -> Result<Self, Error> {
        let format = kind.format()?;
        let compression = options
            .compression
            .filter(|c| format.compresses_unasked() || c.algorithm != CompressionAlgorithm::None);
        if let Some(compression) = compression {
            format.check_compression(compression)?;
            compression.check_level()?;
        }
        if let Some(size) = options.block_size {
            format.check_block_size(size, compression)?;
        }
        format.check_volume(&options.volume, options.block_size)?;
        Ok(Self {
            kind,
            compression,
            block_size: options.block_size,
            placement: match format.has_placement() {
                true => placement,
                false => Placement::Packed,
            },
            drop_xattrs: options.drop_xattrs,
            volume: options.volume,
        })
    }

    /// Returns everything the bytes of an image depend on besides its content, defaults too, for a store's key.
    pub(crate) fn key_options(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut options = BTreeMap::new();
        let mut add = |name: &str, value: String| {
            options.insert(name.to_owned(), value);
        };
        self.kind.format()?.key_options(self, &mut add)?;
        add("drop_xattrs", self.drop_xattrs.to_string());
        Ok(options)
    }
}

/// Takes file data, then the tree, as long as the work goes on.
pub(crate) struct FsWriter(Box<dyn ImageWriter>);

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct FsReport {
    pub(crate) size: u64,
    /// Attributes that were left out.
    pub(crate) dropped: Dropped,
    pub(crate) statistics: Vec<(&'static str, u64)>,
}

impl FsWriter {
    /// Starts an image in an empty file. Data that has to wait goes to a scratch file in the directory of `beside`.
    pub(crate) fn new(
        file: File,
        filesystem: &Filesystem,
        session: &Session,
        budgets: &Budgets,
        beside: &Path,
    ) -> Result<Self, Error> {
        Self::at(file, 0, filesystem, session, budgets, beside)
    }

    /// Starts an image at an offset of a file in which nothing is behind that.
    pub(crate) fn at(
        file: File,
        offset: u64,
        filesystem: &Filesystem,
        session: &Session,
        budgets: &Budgets,
        beside: &Path,
    ) -> Result<Self, Error> {
        let file = Checked::new(Shifted::new(file, offset), &session.cancel);
        let format = filesystem.kind.format()?;
        let writer = format.writer(file, filesystem, session, budgets, beside)?;
        Ok(Self(writer))
    }

    /// Writes everything but the data. `seed` identifies the data.
    pub(crate) fn finish(
        self,
        filesystem: &Filesystem,
        tree: &mut Tree,
        seed: &[u8],
    ) -> Result<FsReport, FsError> {
        let dropped = match filesystem.drop_xattrs {
            true => drop_unsupported(tree, filesystem.kind),
            false => Dropped::new(),
        };
        let written = self.0.finish_image(tree, seed)?;
        Ok(FsReport {
            size: written.size,
            dropped,
            statistics: written.statistics,
        })
    }
}

impl ContentSink for FsWriter {
    type Error = FsError;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), FsError> {
        self.0.begin(size, segments)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), FsError> {
        self.0.write(data)
    }

    fn finish(&mut self) -> Result<ContentId, FsError> {
        ContentSink::finish(&mut *self.0)
    }
}

impl LayerSink for FsWriter {
    fn content_count(&self) -> u32 {
        self.0.content_count()
    }

    fn repeat(&mut self, layer: &LayerEntries, contents: Range<u32>) -> Result<u32, FsError> {
        self.0.repeat(layer, contents)
    }
}
