//! Telling the files of a tar apart, as it passes.

use lithify_digest::Digest;
use lithify_tar::{Limits, Part, Splitter, TarError};

use crate::repository::{Repository, Stored};

use super::error::LayerError;
use super::layer::LayerWriter;

/// Writes a layer's stream from the bytes of its tar, in pieces of any length.
///
/// Data of sparse files is kept as it is in the tar.
#[derive(Debug)]
pub struct LayerSplitter<'a> {
    tar: Splitter,
    writer: LayerWriter<'a>,
}

impl<'a> LayerSplitter<'a> {
    /// Starts a layer whose whole is compared with a diff_id.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn new(
        repository: &'a Repository,
        diff_id: Digest,
        limits: Limits,
    ) -> Result<Self, LayerError> {
        Ok(Self::of(LayerWriter::new(repository, diff_id)?, limits))
    }

    /// Starts a layer whose whole somebody else compares, before it is published.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn unverified(repository: &'a Repository, limits: Limits) -> Result<Self, LayerError> {
        Ok(Self::of(LayerWriter::unverified(repository)?, limits))
    }

    fn of(writer: LayerWriter<'a>, limits: Limits) -> Self {
        Self {
            tar: Splitter::new(limits),
            writer,
        }
    }

    /// Returns the number of members so far.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.tar.members()
    }

    /// Adds the tar's next bytes.
    ///
    /// # Errors
    /// [`LayerError`]; the splitter is of no use after it.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while let Some(part) = self.tar.next(&mut bytes).map_err(tar)? {
            match part {
                Part::Raw(bytes) => self.writer.raw(bytes)?,
                Part::Member => {
                    self.writer.boundary()?;
                    match self.tar.data_left() {
                        0 => {}
                        size => self.writer.start_file(size)?,
                    }
                }
                Part::Data(bytes) => self.writer.data(bytes)?,
                Part::DataEnd => drop(self.writer.end_file()?),
                // What follows the end is padding of whoever wrote it.
                Part::End => self.writer.boundary()?,
            }
        }
        Ok(())
    }

    /// Ends the layer; see [`LayerWriter::finish`].
    ///
    /// # Errors
    /// [`LayerError`], also for a tar that is cut.
    pub fn finish(mut self) -> Result<Stored, LayerError> {
        self.tar.finish().map_err(tar)?;
        self.writer.finish()
    }
}

fn tar(error: TarError) -> LayerError {
    LayerError::Tar(Box::new(error))
}
