//! What takes the space.

use std::collections::BTreeMap;

use crate::Store;
use crate::error::Error;
use crate::gc::tree_bytes;
use crate::scan::Bytes;
use crate::store::{BLOBS, PARTIAL, QUARANTINE, TEMP};

/// Entries or blobs, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many.
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
    /// Blobs images need.
    pub referenced_blobs: Usage,
    /// Blobs no image needs.
    pub unreferenced_blobs: Usage,
    /// Beginnings of blobs.
    pub partial: Bytes,
    /// How many images have names.
    pub tagged: u64,
    /// How many images are recorded.
    pub images: u64,
}

impl Store {
    /// Counts what the store holds, by what could be done about it.
    ///
    /// # Errors
    /// What the system said. Damaged records, manifests and lists of images count as needing nothing here; [`Store::gc`] is stricter.
    pub fn df(&self) -> Result<DfReport, Error> {
        let images = self.images()?.images;
        let referenced: std::collections::BTreeSet<_> =
            images.iter().flat_map(|i| i.record.entries()).collect();
        let mut report = DfReport {
            images: images.len() as u64,
            temporary: tree_bytes(&self.at(TEMP))?,
            quarantine: tree_bytes(&self.at(QUARANTINE))?,
            blobs: tree_bytes(&self.at(BLOBS))?,
            partial: tree_bytes(&self.at(PARTIAL))?,
            tagged: self.tagged().map_or(0, |t| t.len() as u64),
            ..DfReport::default()
        };
        let needed = self.needed_blobs(true)?;
        for (blob, needed) in self.blobs_needed(&needed)? {
            match needed {
                true => report.referenced_blobs.count(blob.bytes),
                false => report.unreferenced_blobs.count(blob.bytes),
            }
        }
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
