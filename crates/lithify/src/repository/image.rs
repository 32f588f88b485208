//! composefs images: files, or those of a repository.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lithify_composefs::dumpfile;
use lithify_composefs::image::{self, ReadError};
use lithify_oci::source::{ParseError, PathKind, Selector, Source};
use lithify_storage::{Beneath, open_regular};
use lithify_verity::file::{FileAlgorithm, FileDigest, FileHasher, FileOptions};

use super::named::Named;
use super::open::open;
use crate::Error;
use crate::error::{ComposefsError, OutputError};
use crate::session::Session;

/// A composefs image: EROFS of metadata whose files are objects.
#[derive(Debug)]
pub struct ComposefsImage {
    file: File,
    path: PathBuf,
    /// Its id by its name, if it is of a repository.
    id: Option<FileDigest>,
}

/// Splits `[composefs:]REPO[:NAME|@DIGEST]`.
pub(crate) fn parse_place(text: &OsStr) -> Result<(PathBuf, Option<Selector>), Error> {
    const PREFIX: &str = "composefs:";
    let bytes = text.as_encoded_bytes();
    let mut whole = text.to_owned();
    if !bytes.starts_with(PREFIX.as_bytes()) {
        whole = PREFIX.into();
        whole.push(text);
    }
    match Source::parse(&whole)? {
        Source::Composefs { path, selector } => Ok((path, selector)),
        // No other transport has the prefix.
        _ => Ok((text.into(), None)),
    }
}

/// Tells whether a text without a transport is that of an image of a repository.
fn is_in_repository(name: &OsStr) -> bool {
    matches!(
        Source::parse(name),
        Err(ParseError::Path {
            kind: PathKind::Composefs,
            ..
        })
    )
}

impl ComposefsImage {
    /// Opens an image: `composefs:REPO[:NAME|@DIGEST]`, or the path of a file. Of a file only the header is looked at; the bytes of
    /// a repository's are those of its id.
    ///
    /// # Errors
    /// [`ComposefsError`].
    pub fn open(name: impl AsRef<OsStr>, session: &Session) -> Result<Self, Error> {
        let name = name.as_ref();
        match name.as_encoded_bytes().starts_with(b"composefs:") {
            true => Self::open_in_repository(name, session),
            false if is_in_repository(name) => Err(ComposefsError::Transport {
                name: crate::name::shown(name),
            }
            .into()),
            false => {
                let image = Self::open_any(Path::new(name))?;
                let header = image::read_header(&image.file);
                header.map_err(|source| image.failed(source))?;
                Ok(image)
            }
        }
    }

    /// Opens a file of whatever content, to compute its digest.
    ///
    /// # Errors
    /// [`OpenError::Input`](crate::OpenError::Input).
    pub fn open_any(path: &Path) -> Result<Self, Error> {
        let file = open_regular(path).map_err(|e| Error::input(path, e.into()))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            id: None,
        })
    }

    fn open_in_repository(name: &OsStr, session: &Session) -> Result<Self, Error> {
        let (path, selector) = parse_place(name)?;
        let repository = open(&path, session)?;
        let shown = crate::name::shown(name);
        let id = Named::find(&repository, selector.as_ref(), &shown)?.image(&repository)?;
        let file = repository.open_checked_image(&id);
        let file = file.map_err(|fault| Error::in_repository(&path, fault))?;
        let path = path.join("images").join(id.hex());
        Ok(Self {
            file,
            path,
            id: Some(id),
        })
    }

    /// Returns the fs-verity digest of the image: its id. That of a repository's was compared when it was opened.
    ///
    /// # Errors
    /// [`OpenError::Input`](crate::OpenError::Input).
    pub fn id(&self, algorithm: FileAlgorithm, session: &Session) -> Result<FileDigest, Error> {
        match self.id.filter(|id| id.algorithm() == algorithm) {
            Some(id) => Ok(id),
            None => {
                let found = hash(&self.file, algorithm, session);
                found.map_err(|e| session.reason(Error::input(&self.path, e)))
            }
        }
    }

    /// Returns the algorithm of its id, if it is of a repository.
    #[must_use]
    pub fn algorithm(&self) -> Option<FileAlgorithm> {
        self.id.map(|id| id.algorithm())
    }

    /// Writes the image as a dumpfile.
    ///
    /// # Errors
    /// [`ComposefsError`], and [`OutputError::Sink`].
    pub fn dump(&self, out: &mut dyn Write, session: &Session) -> Result<(), Error> {
        let written = dumpfile::write_image(&self.file, out, &session.cancel);
        written.map_err(|e| self.not_written(e))
    }

    /// Writes the names in the image, one a line, with what they lead to.
    ///
    /// # Errors
    /// [`ComposefsError`], and [`OutputError::Sink`].
    pub fn list(&self, out: &mut dyn Write, session: &Session) -> Result<(), Error> {
        let written = dumpfile::list_image(&self.file, out, &session.cancel);
        written.map_err(|e| self.not_written(e))
    }

    /// Adds the paths of the files that are not in the image, below the directory of objects.
    ///
    /// # Errors
    /// [`ComposefsError`].
    pub fn objects(&self, paths: &mut BTreeSet<Vec<u8>>, session: &Session) -> Result<(), Error> {
        let read = image::entries(&self.file, &session.cancel, |entry| {
            paths.extend(entry.external_path());
            Ok::<_, ReadError>(())
        });
        read.map_err(|e| self.failed(e))
    }

    fn failed(&self, source: ReadError) -> Error {
        match source {
            ReadError::Cancelled(_) => Error::cancelled(),
            source => ComposefsError::Image {
                path: self.path.clone(),
                source: Box::new(source),
            }
            .into(),
        }
    }

    fn not_written(&self, error: dumpfile::WriteError) -> Error {
        match error {
            dumpfile::WriteError::Image(source) => self.failed(source),
            dumpfile::WriteError::Write(source) => OutputError::Sink(source).into(),
            other => OutputError::Sink(io::Error::other(other)).into(),
        }
    }
}

/// Computes the digest of a file by reading it.
pub(super) fn hash(
    file: &File,
    algorithm: FileAlgorithm,
    session: &Session,
) -> io::Result<FileDigest> {
    let hasher = FileHasher::new(&FileOptions::new(algorithm)).map_err(io::Error::other)?;
    hasher.digest_of(file, &session.cancel)
}

/// Returns those of some paths under which there is no file in a repository, or in a directory of objects.
///
/// # Errors
/// [`OpenError::Input`](crate::OpenError::Input) for a directory that cannot be read.
pub fn missing_objects(
    directory: &Path,
    paths: BTreeSet<Vec<u8>>,
    session: &Session,
) -> Result<BTreeSet<Vec<u8>>, Error> {
    let failed = |e| Error::input(directory, e);
    let mut base = Beneath::open(directory).map_err(failed)?;
    if base.file("meta.json").is_ok() {
        base = match base.directory("objects") {
            Ok(objects) => objects,
            // Nothing was stored yet.
            Err(e) if e.is_not_found() => return Ok(paths),
            Err(e) => return Err(failed(e.into())),
        };
    }
    let mut missing = BTreeSet::new();
    for path in paths {
        session.cancel.check().map_err(|_| Error::cancelled())?;
        let name = path_of(&path);
        match base.file(name) {
            Ok(_) => {}
            Err(e) if e.is_not_found() => {
                missing.insert(path);
            }
            Err(e) => return Err(Error::input(&directory.join(name), e.into())),
        }
    }
    Ok(missing)
}

fn path_of(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(OsStr::from_bytes(bytes))
}
