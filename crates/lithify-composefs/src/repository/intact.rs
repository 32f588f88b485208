//! A cheap look at what was published.
//!
//! An object is written once, before the link to it is made. One that was written to since then has a later time than the
//! link. Only such objects, and those of the clock's same tick, are read; damage below the filesystem is what a [check](Repository::fsck) finds.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, Stat, statat};
use rustix::io::Errno;

use lithify_verity::file::FileDigest;

use super::error::{EntryError, ObjectError};
use super::handle::Repository;
use super::names::Category;
use super::objects::is_file;
use super::threads;

/// A time of the filesystem: seconds and nanoseconds.
type Time = (i64, i64);

/// Objects whose names are held at a time.
const AT_A_TIME: usize = 1 << 16;

/// Objects of which looking at a share takes longer than starting a thread for it.
const WORTH_A_THREAD: usize = 2048;

/// Objects that a thread looks at before it takes more: few, so that none waits long for another one, whose processor is busy.
const SHARE: usize = 512;

impl Repository {
    /// Tells whether a stream or an image is there with everything its stream consists of: nothing is missing, and what
    /// was written to since it was published still has its digest. In a secure repository nothing can have been. With an id
    /// it has to be that object.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn is_intact(
        &self,
        category: Category,
        name: &str,
        expected: Option<&FileDigest>,
    ) -> Result<bool, EntryError> {
        let at = || category.at(name);
        let failed = |source| EntryError::Object { at: at(), source };
        let id = match self.entry(category, name) {
            Ok(Some(id)) => id,
            // Whatever has the name gives way to what is published.
            Ok(None) | Err(EntryError::NotALink { .. } | EntryError::Target { .. }) => {
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        if expected.is_some_and(|expected| *expected != id) {
            return Ok(false);
        }
        let Some(published) = self.published(category, name)? else {
            return Ok(false);
        };
        let is_intact = |id: &FileDigest| self.is_object_intact(id, published).map_err(failed);
        if !is_intact(&id)? {
            return Ok(false);
        }
        if category == Category::Images {
            return Ok(true);
        }
        let mut next = 0;
        let mut stream = match self.open_stream_object(&id, at) {
            Err(EntryError::Stream { .. }) => return Ok(false),
            opened => opened?,
        };
        loop {
            let mut objects = Vec::new();
            while next < stream.object_count() && objects.len() < AT_A_TIME {
                // One that cannot be read is none that was published.
                let Ok(object) = stream.object(next) else {
                    return Ok(false);
                };
                objects.push(object);
                next += 1;
            }
            if objects.is_empty() {
                return Ok(true);
            }
            if !self.are_intact(&objects, published).map_err(failed)? {
                return Ok(false);
            }
        }
    }

    /// Looks at objects, by several threads if they are many.
    fn are_intact(&self, objects: &[FileDigest], published: Time) -> Result<bool, ObjectError> {
        let threads = match objects.len() < WORTH_A_THREAD {
            true => 1,
            false => threads::available(),
        };
        let shares: Vec<_> = objects.chunks(SHARE).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<bool, ObjectError> {
            while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                for object in *share {
                    self.cancel().check()?;
                    if !self.is_object_intact(object, published)? {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        };
        let found: Result<Vec<bool>, _> = threads::together(threads, work).into_iter().collect();
        Ok(found?.into_iter().all(|intact| intact))
    }

    /// Returns the time at which a link was made.
    fn published(&self, category: Category, name: &str) -> Result<Option<Time>, EntryError> {
        let Some(directory) = self.directory_at(category.directory())? else {
            return Ok(None);
        };
        match statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(time(&found))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(EntryError::Io {
                at: category.at(name),
                source: e.into(),
            }),
        }
    }

    fn is_object_intact(&self, id: &FileDigest, published: Time) -> Result<bool, ObjectError> {
        let Some(found) = self.object_stat(id)?.filter(is_file) else {
            return Ok(false);
        };
        if self.is_secure() || time(&found) < published {
            return Ok(true);
        }
        match self.check_object(id) {
            Ok(()) => Ok(true),
            Err(ObjectError::Damaged { .. } | ObjectError::Missing { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn time(found: &Stat) -> Time {
    // Less than 10⁹.
    (found.st_mtime, found.st_mtime_nsec as i64)
}
