//! The old image.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

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
pub trait OldFiles: Sync {
    /// Fills a buffer from a file, by its number, at an offset in bytes.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The files of the old image, and what they are known by.
pub struct OldImage<'a> {
    pub(super) files: Vec<OldFile>,
    contents: &'a dyn OldFiles,
    prints: Vec<Print>,
    by_content: HashMap<(u64, u32), Vec<usize>>,
    by_path: HashMap<Vec<u8>, usize>,
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    by_feature: HashMap<u64, Vec<usize>>,
}

impl std::fmt::Debug for OldImage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OldImage({} files)", self.files.len())
    }
}

impl<'a> OldImage<'a> {
    /// Reads all files once. Those that no delta can name (empty, or with a path that is not UTF-8, too long, or of ostree's own
    /// store) are left out.
    ///
    /// # Errors
    /// [`CreateError::Old`], [`CreateError::Cancelled`].
    pub fn read(
        files: Vec<OldFile>,
        contents: &'a dyn OldFiles,
        options: &CreateOptions,
    ) -> Result<Self, CreateError> {
        let usable: Vec<usize> = (0..files.len())
            .filter(|at| is_usable(&files[*at]))
            .collect();
        let mut prints = prints(&files, &usable, contents, options)?;
        let mut old = Self {
            contents,
            by_content: HashMap::new(),
            by_path: HashMap::new(),
            by_name: HashMap::new(),
            by_feature: HashMap::new(),
            files,
            prints: Vec::new(),
        };
        for at in usable {
            let print = &prints[at];
            let path = old.files[at].path.as_bytes();
            old.by_path.insert(path.to_vec(), at);
            old.by_name.entry(masked(path)).or_default().push(at);
            let content = old.by_content.entry((print.size, print.crc));
            content.or_default().push(at);
            for feature in &print.sketch {
                old.by_feature.entry(*feature).or_default().push(at);
            }
        }
        std::mem::swap(&mut old.prints, &mut prints);
        Ok(old)
    }

    pub(super) fn print(&self, file: usize) -> &Print {
        &self.prints[file]
    }

    /// Returns the files that may have this very content.
    pub(super) fn with_content(&self, print: &Print) -> &[usize] {
        let found = self.by_content.get(&(print.size, print.crc));
        found.map_or(&[], Vec::as_slice)
    }

    pub(super) fn at(&self, path: &[u8]) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// Returns the files of that name, without versions.
    pub(super) fn named(&self, name: &[u8]) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the files that have a feature; none if too many have.
    pub(super) fn with_feature(&self, feature: u64) -> &[usize] {
        match self.by_feature.get(&feature) {
            Some(files) if files.len() <= COMMON => files,
            _ => &[],
        }
    }

    /// Reads a part of a file.
    pub(super) fn part(&self, file: usize, from: u64, to: u64) -> Result<Vec<u8>, CreateError> {
        let failed = |source| CreateError::Old {
            path: self.files[file].path.clone(),
            source,
        };
        let length = usize::try_from(to - from).map_err(|e| failed(io::Error::other(e)))?;
        let mut bytes = vec![0; length];
        self.contents.read(file, &mut bytes, from).map_err(failed)?;
        Ok(bytes)
    }
}

fn is_usable(file: &OldFile) -> bool {
    let path = file.path.as_bytes();
    file.size > 0
        && path.len() as u64 <= crate::format::PATH_MAX
        && std::str::from_utf8(path).is_ok()
        && !path.starts_with(b"sysroot/ostree/")
}

/// Reads files, on several threads.
fn prints(
    files: &[OldFile],
    usable: &[usize],
    contents: &dyn OldFiles,
    options: &CreateOptions,
) -> Result<Vec<Print>, CreateError> {
    let prints = Mutex::new(vec![Printer::new().finish(); files.len()]);
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), CreateError> {
        let mut buffer = vec![0; BUFFER];
        while let Some(&at) = usable.get(next.fetch_add(1, Ordering::Relaxed)) {
            options.cancel.check()?;
            let mut printer = Printer::new();
            let mut offset = 0;
            while offset < files[at].size {
                let left = files[at].size - offset;
                let length = BUFFER.min(usize::try_from(left).unwrap_or(BUFFER));
                let read = contents.read(at, &mut buffer[..length], offset);
                read.map_err(|source| CreateError::Old {
                    path: files[at].path.clone(),
                    source,
                })?;
                printer.update(&buffer[..length]);
                offset += length as u64;
            }
            let print = printer.finish();
            prints.lock().unwrap_or_else(PoisonError::into_inner)[at] = print;
        }
        Ok(())
    };
    thread::scope(|scope| {
        // Where the system gives fewer threads, this one does their work.
        let others: Vec<_> = (1..options.threads.get())
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut result = work();
        for other in others {
            let found = other.join();
            let found = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(found);
        }
        result
    })?;
    Ok(prints.into_inner().unwrap_or_else(PoisonError::into_inner))
}
