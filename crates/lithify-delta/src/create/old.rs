//! The old image.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use lithify_cancel::CancelToken;
use lithify_fskit::{Pool, PoolError, Task};
use lithify_tree::TreePath;

use super::error::CreateError;
use super::names::masked;
use super::options::CreateOptions;
use super::print::{Print, Printer};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// Files that are known by one feature; of more, nothing is learned by it.
const COMMON: usize = 64;

/// A regular file of the old image that deltas may read. Whoever applies them has to find it by its path, be allowed to read it,
/// and find no symbolic link on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldFile {
    /// Its path.
    pub path: TreePath,
    /// Its size in bytes.
    pub size: u64,
}

/// The contents of old files.
pub trait OldFiles: Send + Sync {
    /// Fills a buffer from a file, by its number, at an offset in bytes.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl<T: OldFiles + ?Sized> OldFiles for Arc<T> {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read(file, buffer, offset)
    }
}

/// The files of the old image, and what they are known by. A clone is the same one.
#[derive(Clone)]
pub struct OldImage(Arc<Known>);

struct Known {
    stored: Arc<Stored>,
    by_content: HashMap<(u64, u32), Vec<usize>>,
    by_path: HashMap<TreePath, usize>,
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    by_feature: HashMap<u64, Vec<usize>>,
}

struct Stored {
    files: Vec<OldFile>,
    contents: Box<dyn OldFiles>,
}

impl fmt::Debug for OldImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OldImage({} files)", self.0.stored.files.len())
    }
}

impl OldImage {
    /// Reads all files once. Those that no delta can name (empty, or with a path that is not UTF-8, or of ostree's own
    /// store) are left out.
    ///
    /// # Errors
    /// [`CreateError::Old`], [`CreateError::ThreadLost`], [`CreateError::Cancelled`].
    pub fn read(
        files: Vec<OldFile>,
        contents: impl OldFiles + 'static,
        options: &CreateOptions,
    ) -> Result<Self, CreateError> {
        let contents = Box::new(contents);
        let stored = Arc::new(Stored { files, contents });
        let mut known = Known {
            stored: Arc::clone(&stored),
            by_content: HashMap::new(),
            by_path: HashMap::new(),
            by_name: HashMap::new(),
            by_feature: HashMap::new(),
        };
        let print = PrintFile {
            stored: Arc::clone(&stored),
            cancel: options.cancel.clone(),
        };
        let limit = |threads| 16 * threads + 1;
        let mut pool = Pool::new(print, "lithify-delta", options.threads, limit);
        let usable = (0..stored.files.len()).filter(|at| is_usable(&stored.files[*at]));
        for file in usable {
            if pool.is_full() {
                known.take(&mut pool)?;
            }
            pool.submit(file);
        }
        while known.take(&mut pool)? {}
        Ok(Self(Arc::new(known)))
    }

    pub(super) fn file(&self, file: usize) -> &OldFile {
        &self.0.stored.files[file]
    }

    /// Returns the files that may have this very content.
    pub(super) fn with_content(&self, print: &Print) -> &[usize] {
        let found = self.0.by_content.get(&(print.size, print.crc));
        found.map_or(&[], Vec::as_slice)
    }

    pub(super) fn at(&self, path: &TreePath) -> Option<usize> {
        self.0.by_path.get(path).copied()
    }

    /// Returns the files of that name, without versions.
    pub(super) fn named(&self, name: &[u8]) -> &[usize] {
        self.0.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the files that have a feature; none if too many have.
    pub(super) fn with_feature(&self, feature: u64) -> &[usize] {
        match self.0.by_feature.get(&feature) {
            Some(files) if files.len() <= COMMON => files,
            _ => &[],
        }
    }

    /// Reads a part of a file.
    pub(super) fn part(&self, file: usize, from: u64, to: u64) -> Result<Vec<u8>, CreateError> {
        let length = usize::try_from(to - from).map_err(|_| io::ErrorKind::FileTooLarge.into());
        let read = length.and_then(|length| {
            let mut bytes = vec![0; length];
            self.0.stored.contents.read(file, &mut bytes, from)?;
            Ok(bytes)
        });
        read.map_err(|source| CreateError::Old {
            path: self.file(file).path.clone(),
            source,
        })
    }
}

impl Known {
    /// Notes what the next file is known by; tells whether there was one.
    fn take(&mut self, pool: &mut Pool<PrintFile>) -> Result<bool, CreateError> {
        let taken = pool.take(true).map_err(|e| match e {
            PoolError::Task(e) => e,
            PoolError::ThreadLost => CreateError::ThreadLost,
        })?;
        let Some((file, print)) = taken else {
            return Ok(false);
        };
        let path = &self.stored.files[file].path;
        self.by_path.insert(path.clone(), file);
        let name = self.by_name.entry(masked(path.as_bytes()));
        name.or_default().push(file);
        let content = self.by_content.entry((print.size, print.crc));
        content.or_default().push(file);
        for feature in print.sketch {
            self.by_feature.entry(feature).or_default().push(file);
        }
        Ok(true)
    }
}

fn is_usable(file: &OldFile) -> bool {
    let path = file.path.as_bytes();
    file.size > 0 && std::str::from_utf8(path).is_ok() && !path.starts_with(b"sysroot/ostree/")
}

/// The work of reading a file for what it is known by.
#[derive(Clone)]
struct PrintFile {
    stored: Arc<Stored>,
    cancel: CancelToken,
}

impl Task for PrintFile {
    type State = Vec<u8>;
    type Job = usize;
    type Done = (usize, Print);
    type Error = CreateError;

    fn start(&self) -> Result<Vec<u8>, CreateError> {
        Ok(vec![0; BUFFER])
    }

    fn run(&self, buffer: &mut Vec<u8>, file: usize) -> Result<(usize, Print), CreateError> {
        let OldFile { path, size } = &self.stored.files[file];
        let mut printer = Printer::new();
        let mut offset = 0;
        while offset < *size {
            self.cancel.check()?;
            let left = usize::try_from(size - offset).unwrap_or(BUFFER);
            let part = &mut buffer[..left.min(BUFFER)];
            let read = self.stored.contents.read(file, part, offset);
            read.map_err(|source| CreateError::Old {
                path: path.clone(),
                source,
            })?;
            printer.update(part);
            offset += part.len() as u64;
        }
        Ok((file, printer.finish()))
    }
}
