//! Layers.

use std::borrow::Borrow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use lithify_digest::{Digest, Mismatch, VerifiedReader, Verifier};
use lithify_verity::file::FileDigest;

use crate::INLINE_MAX;
use crate::repository::{
    Category, EntryError, ObjectError, ObjectWriter, Repository, Stored, StreamObject,
};
use crate::splitstream::{Check, ContentType, Objects, Rebuilt, StreamError};

use super::error::LayerError;
use super::names::layer_stream;

/// The writer of a layer's stream: it is given the tar, piece by piece, with the files in it told
/// apart.
///
/// Nothing has a name before [`finish`](Self::finish) compared the whole with the diff_id; what was
/// written until then is collected.
#[derive(Debug)]
pub struct LayerWriter<'a> {
    repository: &'a Repository,
    stream: StreamObject<'a>,
    /// The diff_id, if it is compared here.
    verifier: Option<Verifier>,
    file: Option<FileData<'a>>,
}

/// A file whose data is being written.
#[derive(Debug)]
struct FileData<'a> {
    /// Bytes still to come.
    left: u64,
    size: u64,
    place: Place<'a>,
}

/// The place of a file's data.
#[derive(Debug)]
enum Place<'a> {
    /// The stream.
    Stream,
    /// An object, of which nothing came yet.
    Object,
    /// An object that is being written.
    Begun(Box<ObjectWriter<'a>>),
    /// An object whose data came at once.
    Stored(Stored),
}

impl<'a> LayerWriter<'a> {
    /// Starts a layer whose whole is compared with a diff_id.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn new(repository: &'a Repository, diff_id: Digest) -> Result<Self, LayerError> {
        let mut writer = Self::unverified(repository)?;
        writer.verifier = Some(Verifier::promised(Some(diff_id), None));
        Ok(writer)
    }

    /// Starts a layer whose whole somebody else compares, before it is published.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn unverified(repository: &'a Repository) -> Result<Self, LayerError> {
        Ok(Self {
            repository,
            stream: repository.write_stream(ContentType::LAYER)?,
            verifier: None,
            file: None,
        })
    }

    /// Returns the bytes of the tar so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stream.size()
    }

    /// Adds whatever is no file's data: headers, padding, the end.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        if self.file.is_some() {
            return Err(LayerError::Order);
        }
        self.verify(bytes)?;
        Ok(self.stream.inline(bytes)?)
    }

    /// Says that a member begins here, or that the end was reached: only here a long run of headers
    /// is cut, since readers want what belongs to a member at once.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn boundary(&mut self) -> Result<(), LayerError> {
        Ok(self.stream.boundary()?)
    }

    /// Starts the data of a regular file of so many bytes. Up to [`INLINE_MAX`] they stay in the
    /// stream, more become an object.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn start_file(&mut self, size: u64) -> Result<(), LayerError> {
        if self.file.is_some() {
            return Err(LayerError::Order);
        }
        let place = match size > INLINE_MAX {
            true => Place::Object,
            false => Place::Stream,
        };
        self.file = Some(FileData {
            left: size,
            size,
            place,
        });
        Ok(())
    }

    /// Adds data of the file that was started.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.verify(bytes)?;
        let Some(file) = &mut self.file else {
            return Err(LayerError::Order);
        };
        let length = bytes.len() as u64;
        let Some(left) = file.left.checked_sub(length) else {
            return Err(LayerError::FileSize {
                expected: file.size,
                found: file.size - file.left + length,
            });
        };
        file.left = left;
        match &mut file.place {
            Place::Stream => self.stream.inline(bytes)?,
            Place::Object if left == 0 => {
                file.place = Place::Stored(self.repository.store_object(bytes)?);
            }
            Place::Object => {
                let mut object = self.repository.write_object()?;
                object.write(bytes)?;
                file.place = Place::Begun(Box::new(object));
            }
            Place::Begun(object) => object.write(bytes)?,
            // Nothing is left of it.
            Place::Stored(_) => {}
        }
        Ok(())
    }

    /// Ends the data of a file; returns its object, if it has one.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn end_file(&mut self) -> Result<Option<Stored>, LayerError> {
        let file = self.file.take().ok_or(LayerError::Order)?;
        if file.left > 0 {
            return Err(LayerError::FileSize {
                expected: file.size,
                found: file.size - file.left,
            });
        }
        let stored = match file.place {
            Place::Stream => return Ok(None),
            // It is longer than nothing, and nothing is left of it.
            Place::Object => return Err(LayerError::Order),
            Place::Begun(object) => object.finish()?,
            Place::Stored(stored) => stored,
        };
        self.stream.object(stored.id, stored.size)?;
        Ok(Some(stored))
    }

    /// Adds the data of a file that is an object already: it is longer than [`INLINE_MAX`], and the
    /// layer's whole is compared by somebody else.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn object(&mut self, id: FileDigest, size: u64) -> Result<(), LayerError> {
        if self.file.is_some() {
            return Err(LayerError::Order);
        }
        if self.verifier.is_some() {
            return Err(LayerError::Unseen);
        }
        if size <= INLINE_MAX {
            return Err(LayerError::Short {
                found: size,
                limit: INLINE_MAX,
            });
        }
        Ok(self.stream.object(id, size)?)
    }

    /// Says that images of the layer need an object that is no part of the tar: a sparse file, of
    /// which the tar has the data alone.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn keep(&mut self, id: FileDigest) -> Result<(), LayerError> {
        Ok(self.stream.keep(id)?)
    }

    /// Ends the layer: its stream is an object then, to be published as [`layer_stream`].
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn finish(self) -> Result<Stored, LayerError> {
        if self.file.is_some() {
            return Err(LayerError::Order);
        }
        if let Some(verifier) = self.verifier {
            verifier.finish().map_err(content)?;
        }
        Ok(self.stream.finish()?)
    }

    fn verify(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        match &mut self.verifier {
            Some(verifier) => verifier.update(bytes).map_err(content),
            None => Ok(()),
        }
    }
}

fn content(source: Mismatch) -> LayerError {
    match &source {
        Mismatch::Digest { expected, .. } => LayerError::Content {
            expected: expected.clone(),
            source,
        },
        _ => LayerError::Io(source.into()),
    }
}

/// Stores a layer that is no tar as one object, and the stream of it, to be published as
/// [`layer_stream`] of its digest.
///
/// # Errors
/// [`LayerError`]; [`LayerError::Io`] with a [`Mismatch`] inside if the bytes are not those of the
/// digest.
pub fn store_blob_layer(
    repository: &Repository,
    digest: Digest,
    size: u64,
    blob: impl Read,
) -> Result<Stored, LayerError> {
    let mut blob = VerifiedReader::new(blob, Verifier::new(digest, size));
    let mut object = repository.write_object()?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match blob.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => object.write(&buffer[..read])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let stored = object.finish()?;
    let mut stream = repository.write_stream(ContentType::BLOB)?;
    stream.object(stored.id, stored.size)?;
    Ok(stream.finish()?)
}

/// The tar of a layer, or the blob that a layer is. It ends only if it is what its name says.
pub struct LayerReader<R: Objects> {
    whole: VerifiedReader<Rebuilt<File, R>>,
    /// The name of the stream.
    name: String,
    size: u64,
    content_type: ContentType,
}

impl<R: Objects> fmt::Debug for LayerReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerReader")
            .field("size", &self.size)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

impl<R: Objects> LayerReader<R> {
    /// Returns the bytes of the whole.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Tells whether it is a tar.
    #[must_use]
    pub fn is_tar(&self) -> bool {
        self.content_type == ContentType::LAYER
    }
}

fn is_of_object(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|error| error.is::<ObjectError>())
}

impl<R: Objects + Borrow<Repository>> LayerReader<R> {
    /// Returns the error for a layer that is not what its name says: the first object that is not what its own name says, if
    /// there is one, since that is what can be replaced.
    ///
    /// Objects are looked at once more for that. As long as nothing is wrong, comparing the whole is enough.
    fn explained(&self, error: io::Error) -> io::Error {
        let is_wrong = Mismatch::in_error(&error).is_some()
            || matches!(
                StreamError::in_error(&error),
                Some(StreamError::Size { .. })
            );
        if is_wrong {
            return match self.damaged() {
                Some(object) => io::Error::new(io::ErrorKind::InvalidData, object),
                None => error,
            };
        }
        match error.downcast::<StreamError>() {
            // The repository names the object itself.
            Ok(StreamError::OpenObject { source, .. }) if is_of_object(&source) => source,
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }

    fn damaged(&self) -> Option<ObjectError> {
        let repository = self.whole.get_ref().objects().borrow();
        let own = repository.entry(Category::Streams, &self.name).ok()?;
        let checked = own.map(|id| repository.check_object(&id));
        if let Some(Err(damaged)) = checked {
            return Some(damaged);
        }
        let stream = repository.open_stream(&self.name, self.content_type);
        let mut stream = stream.ok()?;
        (0..stream.object_count()).find_map(|index| {
            let id = stream.object(index).ok()?;
            repository.check_object(&id).err()
        })
    }
}

impl<R: Objects + Borrow<Repository>> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.whole.read(buffer);
        read.map_err(|error| self.explained(error))
    }
}

/// Opens a layer by its diff_id, or by its digest if it is no tar. The whole is compared with that. The repository is a
/// reference, counted or not.
///
/// # Errors
/// [`EntryError`].
pub fn open_layer<R: Objects + Borrow<Repository>>(
    repository: R,
    digest: &Digest,
) -> Result<LayerReader<R>, EntryError> {
    let name = layer_stream(digest);
    let stream = match repository.borrow().open_stream(&name, ContentType::LAYER) {
        Err(EntryError::Stream {
            source: StreamError::ContentType { .. },
            ..
        }) => repository.borrow().open_stream(&name, ContentType::BLOB),
        opened => opened,
    };
    let stream = stream?;
    let (size, content_type) = (stream.size(), stream.content_type());
    // The digest of the whole says it of every object.
    let whole = Rebuilt::new(stream, repository, Check::Nothing);
    Ok(LayerReader {
        whole: VerifiedReader::new(whole, Verifier::new(*digest, size)),
        name,
        size,
        content_type,
    })
}
