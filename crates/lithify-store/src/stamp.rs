//! The cheap check: what a file looked like to the filesystem when its bytes were last known to be right.
//!
//! Writing to a file changes its modification time, and whoever sets that back changes the time of the last status
//! change, which nobody can set. A link made or removed changes the latter too, so it counts only while the number of
//! links is the same: outputs are hard links where files cannot be cloned, and removing an output must not cost a read
//! of the whole artifact. Stored files get a modification time of a whole second in the past, so that no later write
//! can leave it as it was, however coarse the clock.
//!
//! What no time tells, a disk that gives other bytes than were written, is found by reading: all files of an entry are read
//! again when it is used and they have not been for a while ([`Stamps::is_due`]).

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seal::{self, RecordError};

/// Longest stamp file, in bytes.
pub(crate) const MAX_STAMP: usize = 1 << 20;

/// What one file looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamp {
    ctime: (i64, i64),
    inode: u64,
    links: u64,
    mtime: (i64, i64),
    size: u64,
}

/// How a file compares with its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Untouched.
    Same,
    /// Only linked or unlinked: the stamp should be renewed.
    Linked,
    /// Perhaps written to: only the digest can tell.
    Unknown,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            links: metadata.nlink(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
        }
    }

    pub(crate) fn compare(&self, now: &Self) -> Verdict {
        let content = |s: &Self| (s.inode, s.mtime, s.size);
        if content(self) != content(now) {
            Verdict::Unknown
        } else if self.links != now.links {
            Verdict::Linked
        } else if self.ctime != now.ctime {
            Verdict::Unknown
        } else {
            Verdict::Same
        }
    }
}

/// The stamps of an entry's files, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamps {
    /// When all files were last read, or written, in seconds since 1970; if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checked: Option<u64>,
    pub(crate) files: BTreeMap<String, Stamp>,
}

impl Stamps {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        seal::unseal(bytes)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        seal::seal(self)
    }

    /// Whether, at `now`, the files of an entry made at `created` have to be read again to be believed. A time in the future
    /// says nothing.
    pub(crate) fn is_due(&self, created: u64, now: u64, after: Duration) -> bool {
        let age = now.checked_sub(self.checked.unwrap_or(created));
        age.is_none_or(|age| age >= after.as_secs())
    }
}

/// Makes a file read-only and its modification time one no later write can give it again.
pub(crate) fn settle(file: &File) -> io::Result<()> {
    crate::sys::set_mode(file, 0o444)?;
    let past = rustix::fs::Timespec {
        tv_sec: i64::try_from(crate::sys::now().saturating_sub(1)).unwrap_or(0),
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: past,
        last_modification: past,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let stamp = Stamp {
            ctime: (5, 6),
            inode: 7,
            links: 1,
            mtime: (4, 0),
            size: 10,
        };
        assert_eq!(stamp.compare(&stamp), Verdict::Same);
        let linked = Stamp {
            links: 2,
            ctime: (9, 0),
            ..stamp
        };
        assert_eq!(stamp.compare(&linked), Verdict::Linked);
        for other in [
            Stamp {
                ctime: (5, 7),
                ..stamp
            },
            Stamp { inode: 8, ..linked },
            Stamp {
                mtime: (4, 1),
                ..linked
            },
            Stamp { size: 11, ..linked },
        ] {
            assert_eq!(stamp.compare(&other), Verdict::Unknown);
        }
    }

    #[test]
    fn stamps_survive() {
        let file = tempfile::tempfile().unwrap();
        settle(&file).unwrap();
        let stamp = Stamp::of(&file.metadata().unwrap());
        assert_eq!(stamp.mtime.1, 0);
        for checked in [None, Some(7)] {
            let stamps = Stamps {
                checked,
                files: BTreeMap::from([("a".into(), stamp)]),
            };
            assert_eq!(Stamps::parse(&stamps.to_bytes().unwrap()).unwrap(), stamps);
        }
    }

    #[test]
    fn files_are_due_after_a_while() {
        let due = |checked, now| {
            let stamps = Stamps {
                checked,
                ..Stamps::default()
            };
            stamps.is_due(1000, now, Duration::from_secs(100))
        };
        assert!(!due(None, 1000) && !due(None, 1099) && due(None, 1100));
        assert!(!due(Some(2000), 2099) && due(Some(2000), 2100));
        // The clock was set back.
        assert!(due(Some(2000), 1999) && due(None, 999));
        let always = Stamps::default();
        assert!(always.is_due(1000, 1000, Duration::ZERO));
    }
}
