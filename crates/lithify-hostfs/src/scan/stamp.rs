//! Noticing that a file changed.

use rustix::fs::Stat;

use super::Change;
use crate::dirs::FileId;

/// What changes when a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    id: FileId,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the fields' types differ between systems"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            id: FileId::of(stat),
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    pub(super) fn change(&self, later: &Self) -> Option<Change> {
        if self.size != later.size {
            let (expected, found) = (self.size, later.size);
            return Some(Change::Size { expected, found });
        }
        (self != later).then_some(Change::Modified)
    }
}
