//! Open files that are locked.
//!
//! A lock of `flock(2)` belongs to the open file, which a child made by `fork(2)` has too, until it starts its own program
//! and what is marked close-on-exec closes. A process with threads that start programs must therefore end its locks
//! itself: if it only closed the file, the lock would last as long as the child takes to start.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Deref;

/// A file or directory this process has locked. The lock ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Takes the exclusive lock if nobody has any; the file comes back if somebody has.
    ///
    /// # Errors
    /// What the system says: some filesystems have no locks.
    pub fn try_exclusive(file: File) -> io::Result<Result<Self, File>> {
        let result = file.try_lock();
        tried(file, result)
    }

    /// Takes a shared lock if nobody has the exclusive one; the file comes back if somebody has.
    ///
    /// # Errors
    /// As [`try_exclusive`](Self::try_exclusive).
    pub fn try_shared(file: File) -> io::Result<Result<Self, File>> {
        let result = file.try_lock_shared();
        tried(file, result)
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // What fails here ends with the file.
        self.0.unlock().ok();
    }
}

fn tried(file: File, result: Result<(), TryLockError>) -> io::Result<Result<Locked, File>> {
    match result {
        Ok(()) => Ok(Ok(Locked(file))),
        Err(TryLockError::WouldBlock) => Ok(Err(file)),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "tests state what they expect by panicking"
)]
mod tests {
    use super::*;

    /// A duplicate stands for the file a child has that was just forked.
    #[test]
    fn a_lock_ends_although_a_child_has_the_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let file = File::create(&path).unwrap();
        let childs = file.try_clone().unwrap();
        let locked = Locked::try_exclusive(file).unwrap().unwrap();
        let other = || File::open(&path).unwrap();
        assert!(Locked::try_shared(other()).unwrap().is_err());
        drop(locked);
        assert!(Locked::try_exclusive(other()).unwrap().is_ok());
        drop(childs);
    }
}
