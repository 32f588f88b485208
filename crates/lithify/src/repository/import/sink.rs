//! Data of files, into objects: kept in a repository, or hashed and forgotten.

use std::convert::Infallible;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use lithify_composefs::repository::{ObjectWriter, Repository};
use lithify_composefs::{Content, Contents, INLINE_MAX};
use lithify_tree::{ContentId, ContentSink, DataSegment, LayerEntries};
use lithify_verity::file::{FileAlgorithm, FileHasher, FileOptions};

use super::sparse::{ObjectData, Short, Spread};
use crate::Error;
use crate::error::ComposefsError;
use crate::image::LayerSink;

/// Bytes of the shortest file whose blocks are shared: one block.
const SHARED_MIN: u64 = 4096;

/// Takes the data of layers: what is longer than a few bytes becomes an object.
#[derive(Debug)]
pub(crate) struct ObjectSink<S: Objects> {
    objects: S,
    file: Option<Taken<S::Object>>,
}

/// A file whose data is being taken.
#[derive(Debug)]
enum Taken<O> {
    Empty,
    Short(Short),
    Long(Box<Spread<O>>),
}

/// Takes the contents of files, and numbers them.
pub(crate) trait Objects {
    /// An object whose data is being taken.
    type Object: ObjectData;

    /// Starts an object.
    fn start(&self) -> Result<Self::Object, Error>;

    /// Returns why data could not be added.
    fn failed(&self, error: <Self::Object as ObjectData>::Error) -> Error;

    /// Ends an object, and returns the number of that content.
    fn finish(&mut self, object: Self::Object) -> Result<ContentId, Error>;

    /// Takes a short content, and returns its number.
    fn short(&mut self, content: &[u8]) -> Result<ContentId, Error>;

    /// Returns the number of contents so far.
    fn count(&self) -> usize;
}

/// Objects of a repository.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    repository: &'a Repository,
    contents: Contents,
}

impl<'a> Objects for Stored<'a> {
    type Object = ObjectWriter<'a>;

    fn start(&self) -> Result<ObjectWriter<'a>, Error> {
        self.repository.write_object().map_err(|e| self.failed(e))
    }

    fn failed(&self, error: <ObjectWriter<'a> as ObjectData>::Error) -> Error {
        Error::in_repository(self.repository.path(), error)
    }

    fn finish(&mut self, object: ObjectWriter<'a>) -> Result<ContentId, Error> {
        let stored = object.finish().map_err(|e| self.failed(e))?;
        push(&mut self.contents, &Content::Object(stored.id))
    }

    fn short(&mut self, content: &[u8]) -> Result<ContentId, Error> {
        push(&mut self.contents, &Content::Inline(content.into()))
    }

    fn count(&self) -> usize {
        self.contents.len()
    }
}

/// Objects of which nothing but the digests is kept, by each of some algorithms.
#[derive(Debug)]
pub(crate) struct Hashed {
    contents: Vec<(FileAlgorithm, Contents)>,
}

impl Objects for Hashed {
    type Object = Vec<FileHasher>;

    fn start(&self) -> Result<Vec<FileHasher>, Error> {
        let algorithms = self.contents.iter().map(|(algorithm, _)| *algorithm);
        algorithms.map(hasher).collect()
    }

    fn failed(&self, error: Infallible) -> Error {
        match error {}
    }

    fn finish(&mut self, object: Vec<FileHasher>) -> Result<ContentId, Error> {
        let digests = object.into_iter().map(FileHasher::finish);
        let mut contents = self.contents.iter_mut().zip(digests);
        contents.try_fold(NONE, |_, ((_, contents), digest)| {
            push(contents, &Content::Object(digest))
        })
    }

    fn short(&mut self, content: &[u8]) -> Result<ContentId, Error> {
        let content = Content::Inline(content.into());
        let mut contents = self.contents.iter_mut();
        contents.try_fold(NONE, |_, (_, contents)| push(contents, &content))
    }

    fn count(&self) -> usize {
        let first = self.contents.first();
        first.map_or(0, |(_, contents)| contents.len())
    }
}

/// The number of each content where there is no algorithm.
const NONE: ContentId = ContentId(0);

fn push(contents: &mut Contents, content: &Content<'_>) -> Result<ContentId, Error> {
    let pushed = contents.push(content);
    Ok(pushed.map_err(ComposefsError::TooManyFiles)?)
}

/// Starts a digest as objects have it.
pub(super) fn hasher(algorithm: FileAlgorithm) -> Result<FileHasher, Error> {
    let hasher = FileHasher::new(&FileOptions::new(algorithm));
    Ok(hasher.map_err(ComposefsError::Hasher)?)
}

impl<'a> ObjectSink<Stored<'a>> {
    /// Returns a sink that stores objects in a repository.
    pub(crate) fn new(repository: &'a Repository) -> Self {
        Self {
            objects: Stored {
                repository,
                contents: Contents::default(),
            },
            file: None,
        }
    }

    /// Returns the contents of all files.
    pub(crate) fn into_contents(self) -> Contents {
        self.objects.contents
    }
}

impl ObjectSink<Hashed> {
    /// Returns a sink that computes digests, and keeps no data.
    pub(super) fn hashing(algorithms: &[FileAlgorithm]) -> Self {
        let contents = algorithms.iter().map(|&a| (a, Contents::default()));
        Self {
            objects: Hashed {
                contents: contents.collect(),
            },
            file: None,
        }
    }

    /// Returns the contents of all files, by algorithm.
    pub(super) fn into_contents(self) -> Vec<(FileAlgorithm, Contents)> {
        self.objects.contents
    }
}

impl<S: Objects> ContentSink for ObjectSink<S> {
    type Error = Error;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Error> {
        let segments = segments.map(<[_]>::to_vec);
        self.file = Some(match size {
            0 => Taken::Empty,
            _ if size <= INLINE_MAX => Taken::Short(Short::new(size, segments)),
            _ => {
                let object = self.objects.start()?;
                Taken::Long(Box::new(Spread::new(object, size, segments)))
            }
        });
        Ok(())
    }

    fn is_host_file(&mut self, file: BorrowedFd<'_>) -> Result<(), Error> {
        match &mut self.file {
            Some(Taken::Long(spread)) if spread.size() >= SHARED_MIN => {
                let shared = spread.share(file);
                shared.map_err(|e| self.objects.failed(e))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.file {
            Some(Taken::Short(short)) => short.data(data),
            Some(Taken::Long(spread)) => {
                spread.data(data).map_err(|e| self.objects.failed(e))?;
            }
            Some(Taken::Empty) | None => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Error> {
        match self.file.take() {
            Some(Taken::Short(short)) => self.objects.short(&short.finish()),
            Some(Taken::Long(spread)) => {
                let object = spread.finish().map_err(|e| self.objects.failed(e))?;
                self.objects.finish(object)
            }
            Some(Taken::Empty) | None => self.objects.short(&[]),
        }
    }
}

impl<S: Objects> LayerSink for ObjectSink<S> {
    fn content_count(&self) -> u32 {
        // No more than were numbered.
        self.objects.count() as u32
    }

    fn repeat(&mut self, _: &LayerEntries, _: Range<u32>) -> Result<u32, Error> {
        // The same contents.
        Ok(0)
    }
}
