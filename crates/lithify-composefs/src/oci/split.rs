//! Telling the files of a tar apart, as it passes.

use lithify_digest::Digest;
use lithify_tar::{Detail, Event, Limits, Parser, TarError};

use crate::repository::{Repository, Stored};

use super::error::LayerError;
use super::layer::LayerWriter;

/// Writes a layer's stream from the bytes of its tar, in pieces of any length.
///
/// Data of sparse files is kept as it is in the tar.
#[derive(Debug)]
pub struct LayerSplitter<'a> {
    parser: Parser,
    writer: LayerWriter<'a>,
    /// Inside the data of a member, which is a file's.
    is_file: bool,
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
            parser: Parser::new(limits, Detail::Everything),
            writer,
            is_file: false,
        }
    }

    /// Returns the number of members so far.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.parser.entries()
    }

    /// Adds the tar's next bytes.
    ///
    /// # Errors
    /// [`LayerError`]; the splitter is of no use after it.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            if self.is_file {
                let left = usize::try_from(self.parser.data_left()).unwrap_or(usize::MAX);
                let (data, rest) = bytes.split_at(left.min(bytes.len()));
                self.writer.data(data)?;
                self.parser.take_data(data.len() as u64);
                bytes = rest;
                if self.parser.data_left() > 0 {
                    return Ok(());
                }
                self.writer.end_file()?;
                self.is_file = false;
                continue;
            }
            let before = bytes;
            let event = self.parser.next(&mut bytes).map_err(tar)?;
            let used = &before[..before.len() - bytes.len()];
            if event == Event::End && used.is_empty() {
                // What follows the end is padding of whoever wrote it.
                self.writer.boundary()?;
                return self.writer.raw(bytes);
            }
            self.writer.raw(used)?;
            if event == Event::Member {
                self.writer.boundary()?;
                let size = self.parser.data_left();
                if size > 0 {
                    self.writer.start_file(size)?;
                    self.is_file = true;
                }
            }
        }
        Ok(())
    }

    /// Ends the layer; see [`LayerWriter::finish`].
    ///
    /// # Errors
    /// [`LayerError`], also for a tar that is cut.
    pub fn finish(mut self) -> Result<Stored, LayerError> {
        self.parser.finish().map_err(tar)?;
        self.writer.finish()
    }
}

fn tar(error: TarError) -> LayerError {
    LayerError::Tar(Box::new(error))
}
