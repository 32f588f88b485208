//! Data of files, into objects.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use lithify_composefs::repository::{ObjectError, Repository};
use lithify_composefs::{Content, Contents, INLINE_MAX};
use lithify_tree::{ContentId, ContentSink, DataSegment, LayerEntries};

use super::sparse::{Short, Spread};
use crate::Error;
use crate::error::ComposefsError;
use crate::image::LayerSink;

/// Bytes of the shortest file whose blocks are shared: one block.
const SHARED_MIN: u64 = 4096;

/// Takes the data of layers: what is longer than a few bytes becomes an object.
#[derive(Debug)]
pub(crate) struct ObjectSink<'a> {
    repository: &'a Repository,
    contents: Contents,
    file: Option<Taken<'a>>,
}

/// A file whose data is being taken.
#[derive(Debug)]
enum Taken<'a> {
    Empty,
    Short(Short),
    Long(Box<Spread<'a>>),
}

impl<'a> ObjectSink<'a> {
    pub(crate) fn new(repository: &'a Repository) -> Self {
        Self {
            repository,
            contents: Contents::default(),
            file: None,
        }
    }

    /// Returns the contents of all files.
    pub(crate) fn into_contents(self) -> Contents {
        self.contents
    }

    fn failed(&self, error: ObjectError) -> Error {
        Error::in_repository(self.repository.path(), error)
    }
}

impl ContentSink for ObjectSink<'_> {
    type Error = Error;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Error> {
        let segments = segments.map(<[_]>::to_vec);
        self.file = Some(match size {
            0 => Taken::Empty,
            _ if size <= INLINE_MAX => Taken::Short(Short::new(size, segments)),
            _ => {
                let object = self.repository.write_object();
                let object = object.map_err(|e| self.failed(e))?;
                Taken::Long(Box::new(Spread::new(object, size, segments)))
            }
        });
        Ok(())
    }

    fn is_host_file(&mut self, file: BorrowedFd<'_>) -> Result<(), Error> {
        match &mut self.file {
            Some(Taken::Long(spread)) if spread.size() >= SHARED_MIN => {
                let shared = spread.share(file);
                shared.map_err(|e| self.failed(e))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.file {
            Some(Taken::Short(short)) => short.data(data),
            Some(Taken::Long(spread)) => spread.data(data).map_err(|e| self.failed(e))?,
            Some(Taken::Empty) | None => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Error> {
        let content = match self.file.take() {
            Some(Taken::Short(short)) => Content::Inline(short.finish().into()),
            Some(Taken::Long(spread)) => {
                Content::Object(spread.finish().map_err(|e| self.failed(e))?.id)
            }
            Some(Taken::Empty) | None => Content::Inline((&[][..]).into()),
        };
        Ok(self
            .contents
            .push(&content)
            .map_err(ComposefsError::TooManyFiles)?)
    }
}

impl LayerSink for ObjectSink<'_> {
    fn content_count(&self) -> u32 {
        // No more than were numbered.
        self.contents.len() as u32
    }

    fn repeat(&mut self, _: &LayerEntries, _: Range<u32>) -> Result<u32, Error> {
        // The same contents.
        Ok(0)
    }
}
