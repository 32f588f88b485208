//! The entries of a layer, out of its stream: objects are not read.

use std::fs::File;
use std::io::Read as _;

use lithify_cancel::BudgetExceeded;
use lithify_composefs::repository::{ObjectError, Repository};
use lithify_composefs::splitstream::{Chunk, StreamReader};
use lithify_composefs::{Content, Contents, INLINE_MAX};
use lithify_layer::{Names, Step, TarEntries};
use lithify_tree::{DataSegment, Entry, EntryKind, Escaped, LayerEntries, TreePath};
use lithify_verity::file::FileDigest;

use super::sink::hasher;
use super::sparse::{Short, Spread, WholeFile};
use crate::Error;
use crate::error::{ComposefsError, LayerError};
use crate::image::{Dropped, budget_error};
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// A layer whose entries are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerName<'a> {
    /// Its position, 0 is the bottom.
    pub(super) index: usize,
    pub(super) name: &'a str,
    /// Whether its objects were there before, written by whoever.
    pub(super) is_found: bool,
    pub(super) sparse: Sparse,
}

/// The use of a file that a tar has without its holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sparse {
    /// An object is made of it.
    Stored,
    /// It is hashed, to know the object.
    Hashed,
}

/// The contents of the files of all layers.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) contents: Contents,
    /// Objects that are in no stream: files with holes, of which a tar has the rest alone.
    pub(super) kept: Vec<FileDigest>,
}

/// Reads the entries of a layer.
pub(super) fn read_entries(
    repository: &Repository,
    mut stream: StreamReader<File>,
    layer: LayerName<'_>,
    found: &mut Found,
    session: &Session,
    budgets: &Budgets,
) -> Result<(LayerEntries, Dropped), Error> {
    let mut walk = Walk {
        repository,
        layer,
        found,
        budgets,
        tar: TarEntries::new(&session.limits.layer, Names::Layer),
        awaited: None,
        entries: LayerEntries::new(),
        memory: 0,
        beyond: None,
    };
    let broken = |source| {
        Error::from(ComposefsError::Layer {
            name: layer.name.to_owned(),
            source,
        })
    };
    let mut buffer = vec![0; BUFFER];
    while let Some(chunk) = stream.next_chunk().map_err(broken)? {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        match chunk {
            Chunk::Inline(_) => loop {
                match stream.read_inline(&mut buffer).map_err(broken)? {
                    0 => break,
                    read => walk.bytes(&buffer[..read])?,
                }
            },
            Chunk::Object(id) => walk.object(id)?,
        }
    }
    let finished = walk.tar.finish();
    finished.map_err(|e| walk.fault(e))?;
    let dropped = walk.tar.take_dropped().into_iter();
    let dropped = dropped.map(|(name, files)| (Escaped(&name).to_string(), files));
    Ok((walk.entries, dropped.collect()))
}

/// The data of a member, of which some has still to come.
enum Data<'a> {
    /// Of a member that is part of no image.
    Passed,
    /// Of a short file.
    Short(Short),
    /// Of a file that may be one object of the stream.
    Whole { size: u64 },
    /// Of a file that becomes an object here.
    Spread(Box<Spread<WholeFile<'a>>>),
}

struct Walk<'a, 'f> {
    repository: &'a Repository,
    layer: LayerName<'a>,
    found: &'f mut Found,
    budgets: &'a Budgets,
    tar: TarEntries,
    awaited: Option<(Option<Entry>, Data<'a>)>,
    entries: LayerEntries,
    /// Bytes of memory that were counted.
    memory: u64,
    /// Bytes seen behind the end.
    beyond: Option<u64>,
}

impl<'a> Walk<'a, '_> {
    /// Takes bytes that are in the stream.
    fn bytes(&mut self, mut input: &[u8]) -> Result<(), Error> {
        while !input.is_empty() {
            if let Some(beyond) = self.beyond {
                if let Some(at) = input.iter().position(|&b| b != 0) {
                    let error = self.tar.data_after_end(beyond + at as u64);
                    return Err(self.fault(error));
                }
                self.beyond = Some(beyond + input.len() as u64);
                return Ok(());
            }
            if self.awaited.is_some() {
                let left = usize::try_from(self.tar.data_left()).unwrap_or(usize::MAX);
                let (data, rest) = input.split_at(left.min(input.len()));
                self.data(data)?;
                self.took(data.len() as u64)?;
                input = rest;
                continue;
            }
            match self.tar.next(&mut input).map_err(|e| self.fault(e))? {
                Step::Entry(entry) => self.member(Some(entry))?,
                Step::Passed => self.member(None)?,
                Step::NeedInput => {}
                Step::End => self.beyond = Some(0),
            }
        }
        Ok(())
    }

    /// Starts a member; one without data ends here.
    fn member(&mut self, mut entry: Option<Entry>) -> Result<(), Error> {
        if let Some(entry) = &entry {
            let counted = self.budgets.entry(entry);
            counted.map_err(|e| self.over(Some(&entry.path), e))?;
        }
        let data = match entry.as_mut().map(|entry| &mut entry.kind) {
            // What is in the image has no holes.
            Some(EntryKind::File { size, segments }) => match segments.take() {
                segments if *size <= INLINE_MAX => Data::Short(Short::new(*size, segments)),
                None => Data::Whole { size: *size },
                segments => Data::Spread(self.spread(*size, segments)?),
            },
            _ => Data::Passed,
        };
        self.awaited = Some((entry, data));
        self.took(0)
    }

    fn spread(
        &self,
        size: u64,
        segments: Option<Vec<DataSegment>>,
    ) -> Result<Box<Spread<WholeFile<'a>>>, Error> {
        let file = match self.layer.sparse {
            Sparse::Stored => {
                let object = self.repository.write_object();
                WholeFile::Stored(object.map_err(|e| self.failed(e))?)
            }
            Sparse::Hashed => WholeFile::Hashed(hasher(self.repository.algorithm())?),
        };
        Ok(Box::new(Spread::new(file, size, segments)))
    }

    /// Takes data of the member that is no object.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some((_, Data::Whole { size })) = self.awaited {
            let spread = self.spread(size, None)?;
            if let Some((_, data)) = &mut self.awaited {
                *data = Data::Spread(spread);
            }
        }
        match &mut self.awaited {
            Some((_, Data::Short(short))) => short.data(bytes),
            Some((_, Data::Spread(spread))) => {
                spread.data(bytes).map_err(|e| self.failed(e))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes an object of the stream.
    fn object(&mut self, id: FileDigest) -> Result<(), Error> {
        let left = self.tar.data_left();
        let length = match self.layer.is_found {
            true => self
                .repository
                .object_size(&id)
                .map_err(|e| self.failed(e))?,
            false => Some(left),
        };
        match &self.awaited {
            Some((_, Data::Whole { size })) if length == Some(left) && left == *size => {
                self.tar.take_data(left);
                self.end(Some(id))
            }
            Some((_, Data::Passed)) if length == Some(left) => self.took(left),
            Some(_) if length.is_none_or(|length| length <= left) => self.copied(id),
            _ => Err(self.misplaced(id)),
        }
    }

    /// Takes the bytes of an object as if they were in the stream.
    fn copied(&mut self, id: FileDigest) -> Result<(), Error> {
        self.repository
            .check_object(&id)
            .map_err(|e| self.failed(e))?;
        let mut object = self
            .repository
            .open_object(&id)
            .map_err(|e| self.failed(e))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = object.read(&mut buffer);
            let read = read.map_err(|e| self.failed(ObjectError::Io(e)))?;
            if read == 0 {
                return Ok(());
            }
            if self.awaited.is_none() || read as u64 > self.tar.data_left() {
                return Err(self.misplaced(id));
            }
            self.data(&buffer[..read])?;
            self.took(read as u64)?;
        }
    }

    /// Notes data that was taken. With the last of it the member ends.
    fn took(&mut self, length: u64) -> Result<(), Error> {
        self.tar.take_data(length);
        match self.tar.data_left() {
            0 => self.end(None),
            _ => Ok(()),
        }
    }

    /// Ends a member, whose data is that object, or what was taken.
    fn end(&mut self, object: Option<FileDigest>) -> Result<(), Error> {
        let Some((Some(entry), data)) = self.awaited.take() else {
            return Ok(());
        };
        let content = match (object, data) {
            (Some(id), _) => Some(Content::Object(id)),
            (None, Data::Short(short)) => {
                let bytes = short.finish();
                (!bytes.is_empty()).then(|| Content::Inline(bytes.into()))
            }
            (None, Data::Spread(spread)) => {
                let id = spread.finish().and_then(WholeFile::finish);
                let id = id.map_err(|e| self.failed(e))?;
                self.found.kept.push(id);
                Some(Content::Object(id))
            }
            (None, Data::Passed | Data::Whole { .. }) => None,
        };
        let content = content.map(|content| self.found.contents.push(&content));
        let content = content.transpose().map_err(ComposefsError::TooManyFiles)?;
        let index = self.layer.index;
        let pushed = self.entries.push(&entry, content);
        pushed.map_err(|source| LayerError::LayerFull { index, source })?;
        let counted = self.budgets.kept(&self.entries, &mut self.memory);
        counted.map_err(|e| self.over(Some(&entry.path), e))
    }

    fn fault(&self, source: lithify_layer::Error) -> Error {
        Error::from(LayerError::Layer {
            index: self.layer.index,
            name: self.layer.name.to_owned(),
            source: Box::new(source),
        })
    }

    fn over(&self, path: Option<&TreePath>, source: BudgetExceeded) -> Error {
        budget_error(self.layer.index, self.layer.name, path, source)
    }

    fn failed(&self, error: ObjectError) -> Error {
        Error::in_repository(self.repository.path(), error)
    }

    fn misplaced(&self, id: FileDigest) -> Error {
        Error::from(ComposefsError::Misplaced {
            name: self.layer.name.to_owned(),
            id: Box::new(id),
        })
    }
}

#[cfg(test)]
mod tests;
