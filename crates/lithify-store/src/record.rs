//! What `entry.json` says.

use lithify_digest::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::seal::{self, RecordError};
use crate::{EntryId, Facts, Key};

/// The record's name in the entry's directory.
pub(crate) const RECORD: &str = "entry.json";
/// The stamp's name in the entry's directory.
pub(crate) const STAMP: &str = "stamp.json";
/// The version of records written here.
pub(crate) const RECORD_VERSION: u64 = 1;
/// Most files of an entry.
pub(crate) const MAX_FILES: usize = 1024;

/// One file of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileRecord {
    /// Its name within the entry.
    pub name: String,
    /// The SHA-256 of its bytes.
    #[serde(with = "crate::text::digest")]
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What is recorded of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EntryRecord {
    /// When it was made, in seconds since 1970. Not part of the identity.
    pub created: u64,
    /// What the caller wanted to know again.
    pub facts: Facts,
    /// Its files, sorted by name.
    pub files: Vec<FileRecord>,
    /// What it is found by.
    pub key: Key,
    pub(crate) version: u64,
}

/// As much of any record as tells its version.
#[derive(Deserialize)]
pub(crate) struct Versioned {
    version: u64,
}

/// Reads a record after looking at its version.
pub(crate) fn unseal_version<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    known: u64,
) -> Result<T, RecordError> {
    let Versioned { version } = seal::unseal(bytes)?;
    match version == known {
        true => seal::unseal(bytes),
        false => Err(RecordError::Version {
            found: version,
            known,
        }),
    }
}

impl EntryRecord {
    /// Reads and checks the bytes of `entry.json` of the entry of this name.
    ///
    /// # Errors
    /// [`RecordError`] for anything but the bytes lithify wrote for that entry.
    pub fn parse(bytes: &[u8], id: EntryId) -> Result<Self, RecordError> {
        let record: Self = unseal_version(bytes, RECORD_VERSION)?;
        record.check()?;
        let belongs = record.key.id();
        if belongs != id {
            return Err(RecordError::Misplaced {
                belongs: format!("entry {belongs}"),
            });
        }
        Ok(record)
    }

    /// The bytes of the record's file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        self.check()?;
        seal::seal(self)
    }

    fn check(&self) -> Result<(), RecordError> {
        let wrong = |member, expected| Err(RecordError::Member { member, expected });
        if self.key.check().is_err() {
            return wrong("key", "a key by the rules of keys");
        }
        if self.files.len() > MAX_FILES {
            return wrong("files", "1024 files at most");
        }
        if !self.files.is_sorted_by(|a, b| a.name < b.name) {
            return wrong("files", "files sorted by name, each once");
        }
        for file in &self.files {
            if !is_file_name(&file.name) {
                return wrong("files", "names by the rules of names");
            }
            if file.sha256.algorithm() != Algorithm::Sha256 {
                return wrong("sha256", "a digest sha256:…");
            }
        }
        match self
            .files
            .iter()
            .try_fold(0_u64, |sum, f| sum.checked_add(f.size))
        {
            Some(_) => Ok(()),
            None => wrong("files", "sizes that add up to less than 2^64"),
        }
    }

    /// Length of all files in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        // The sum fits: checked when the record was read or written.
        self.files.iter().map(|f| f.size).sum()
    }
}

/// Whether a file of an entry may have this name.
pub(crate) fn is_file_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        && name != RECORD
        && name != STAMP
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Input, InputKind};

    fn record(files: Vec<FileRecord>) -> EntryRecord {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let kind = InputKind::DiffId;
        EntryRecord {
            created: 1,
            facts: Facts::new(),
            files,
            key: Key::new(Input { kind, digest }, "erofs", "1").unwrap(),
            version: RECORD_VERSION,
        }
    }

    fn file(name: &str, size: u64) -> FileRecord {
        FileRecord {
            name: name.into(),
            sha256: Digest::of(Algorithm::Sha256, b"y"),
            size,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(names in prop::collection::btree_set("[a-z][a-zA-Z0-9._-]{0,20}", 0..5), created: u64, size in 0..1_u64 << 50) {
            let mut record = record(names.iter().map(|n| file(n, size)).collect());
            record.created = created;
            record.facts.insert("fact".into(), created.into());
            let bytes = record.to_bytes().unwrap();
            prop_assert_eq!(EntryRecord::parse(&bytes, record.key.id()).unwrap(), record);
        }

        #[test]
        fn any_sealed_json_is_no_panic(json in "[\\[\\]{}:,0-9a-z\"]{0,60}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&json) {
                let id = record(vec![]).key.id();
                prop_assert!(EntryRecord::parse(&seal::seal(&value).unwrap(), id).is_err());
            }
        }
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            ".a",
            "a\0",
            "ä",
            "a b",
            RECORD,
            STAMP,
            &"x".repeat(129),
        ] {
            assert!(!is_file_name(name), "{name:?}");
            // Not even when the record's own digest is right.
            let bytes = seal::seal(&record(vec![file(name, 0)])).unwrap();
            let id = record(vec![]).key.id();
            assert!(matches!(
                EntryRecord::parse(&bytes, id),
                Err(RecordError::Member {
                    member: "files",
                    ..
                })
            ));
        }
        for name in ["layer.erofs", "layer.erofs.dmverity", "A_-9"] {
            assert!(is_file_name(name));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let id = record(vec![]).key.id();
        let refused = |record: &EntryRecord| {
            EntryRecord::parse(&seal::seal(record).unwrap(), id).unwrap_err()
        };
        refused(&record(vec![file("b", 0), file("a", 0)]));
        refused(&record(vec![file("a", 0), file("a", 0)]));
        refused(&record(vec![file("a", u64::MAX), file("b", 1)]));
        let mut newer = record(vec![]);
        newer.version = 2;
        assert!(matches!(
            refused(&newer),
            RecordError::Version { found: 2, known: 1 }
        ));
        let other = Digest::of(Algorithm::Sha256, b"z").hex().parse().unwrap();
        let bytes = record(vec![]).to_bytes().unwrap();
        assert!(matches!(
            EntryRecord::parse(&bytes, other),
            Err(RecordError::Misplaced { .. })
        ));
    }
}
