//! What takes the space.

use std::collections::BTreeMap;

use crate::Store;
use crate::error::Error;
use crate::gc::tree_bytes;
use crate::scan::Bytes;
use crate::store::{BLOBS, QUARANTINE, TEMP};

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: Bytes,
}

impl Usage {
    fn count(&mut self, bytes: Bytes) {
        self.entries += 1;
        self.bytes.add(bytes);
    }
}

/// What takes the space of a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DfReport {
    /// Entries images need.
    pub referenced: Usage,
    /// Entries no image needs.
    pub unreferenced: Usage,
    /// Both, by format; `?` stands for damaged records.
    pub formats: BTreeMap<String, Usage>,
    /// What is under construction, or was when its process died.
    pub temporary: Bytes,
    /// What was found damaged.
    pub quarantine: Bytes,
    /// The blobs of the image layout.
    pub blobs: Bytes,
    /// How many images are recorded.
    pub images: u64,
}

impl Store {
    /// Counts what the store holds, by what could be done about it.
    ///
    /// # Errors
    /// What the system said. Damaged records count as needing nothing here; [`Store::gc`] is stricter.
    pub fn df(&self) -> Result<DfReport, Error> {
        let images = self.images()?.images;
        let referenced: std::collections::BTreeSet<_> =
            images.iter().flat_map(|i| i.record.entries()).collect();
        let mut report = DfReport {
            images: images.len() as u64,
            temporary: tree_bytes(&self.at(TEMP))?,
            quarantine: tree_bytes(&self.at(QUARANTINE))?,
            blobs: tree_bytes(&self.at(BLOBS))?,
            ..DfReport::default()
        };
        for entry in self.entries()? {
            match referenced.contains(&entry.id) {
                true => report.referenced.count(entry.bytes),
                false => report.unreferenced.count(entry.bytes),
            }
            let format = entry
                .record
                .map_or("?".into(), |r| r.key.format().to_owned());
            report.formats.entry(format).or_default().count(entry.bytes);
        }
        Ok(report)
    }
}
