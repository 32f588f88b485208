//! What images the store knows, and which entries each needs: what collection goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lithify_digest::{Algorithm, Digest};
use lithify_escape::Printable;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error};
use crate::lookup::exists;
use crate::record::unseal_version;
use crate::seal::{self, RecordError};
use crate::store::{IMAGES, TEMP};
use crate::temp::publish;
use crate::{EntryId, Facts, Store, sys};

/// The version of image records written here.
const IMAGE_VERSION: u64 = 1;
/// Longest name of an image, platform or target, in bytes.
const MAX_NAME: usize = 4096;
/// Most targets of an image, and most entries of a target.
const MAX_LIST: usize = 4096;

/// What the store knows of an image for one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ImageRecord {
    /// What the caller wants to know again: the configuration, the manifest's size…
    pub facts: Facts,
    /// The digest of its manifest.
    #[serde(with = "crate::text::digest")]
    pub manifest: Digest,
    /// The name it was built by.
    pub name: String,
    /// The platform, such as `linux/amd64`.
    pub platform: String,
    /// What was built of it, by the name of what was asked for: format and options.
    pub targets: BTreeMap<String, Target>,
    version: u64,
}

/// What one build made of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Target {
    /// When, in seconds since 1970.
    pub built: u64,
    /// The entries it needs, in the caller's order.
    pub entries: Vec<EntryId>,
    /// What the caller wants to know again.
    pub facts: Facts,
}

impl Target {
    /// A target built at this moment.
    #[must_use]
    pub fn new(entries: Vec<EntryId>, facts: Facts) -> Self {
        Self {
            built: sys::now(),
            entries,
            facts,
        }
    }
}

impl ImageRecord {
    /// An image nothing was built of yet.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        platform: impl Into<String>,
        manifest: Digest,
        facts: Facts,
    ) -> Self {
        Self {
            facts,
            manifest,
            name: name.into(),
            platform: platform.into(),
            targets: BTreeMap::new(),
            version: IMAGE_VERSION,
        }
    }

    /// Adds or replaces a target.
    #[must_use]
    pub fn target(mut self, name: impl Into<String>, target: Target) -> Self {
        self.targets.insert(name.into(), target);
        self
    }

    /// All entries it needs.
    pub fn entries(&self) -> impl Iterator<Item = EntryId> {
        self.targets
            .values()
            .flat_map(|t| t.entries.iter().copied())
    }

    /// Reads and checks the bytes of an image's record in the file of this name.
    ///
    /// # Errors
    /// [`RecordError`] for anything but the bytes lithify wrote for that file.
    pub fn parse(bytes: &[u8], file_name: &str) -> Result<Self, RecordError> {
        let record: Self = unseal_version(bytes, IMAGE_VERSION)?;
        record.check()?;
        let belongs = self::file_name(&record.name, &record.platform);
        if belongs != file_name {
            return Err(RecordError::Misplaced { belongs });
        }
        Ok(record)
    }

    fn check(&self) -> Result<(), RecordError> {
        let wrong = |member, expected| Err(RecordError::Member { member, expected });
        if !(1..=MAX_NAME).contains(&self.name.len()) {
            return wrong("name", "1 to 4096 bytes");
        }
        if self.platform.len() > MAX_NAME {
            return wrong("platform", "4096 bytes at most");
        }
        if self.targets.len() > MAX_LIST || self.targets.keys().any(|name| name.len() > MAX_NAME) {
            return wrong("targets", "4096 at most, with names of 4096 bytes at most");
        }
        if self.targets.values().any(|t| t.entries.len() > MAX_LIST) {
            return wrong("entries", "4096 at most");
        }
        Ok(())
    }
}

/// The name of an image's record. Names come from users and images, so they never are file names themselves.
fn file_name(name: &str, platform: &str) -> String {
    let text = format!("{}\n{name}{platform}", name.len());
    format!(
        "{}.json",
        Digest::of(Algorithm::Sha256, text.as_bytes()).hex()
    )
}

/// Whether an image record may have this file name.
pub(crate) fn is_image_name(name: &str) -> bool {
    name.strip_suffix(".json")
        .is_some_and(|hash| hash.parse::<EntryId>().is_ok())
}

/// An image of the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredImage {
    /// Its record.
    pub record: ImageRecord,
    /// When it was last put or touched.
    pub last_used: SystemTime,
}

/// The images of a store.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Images {
    /// Sorted by name and platform.
    pub images: Vec<StoredImage>,
    /// Records that are no good: [`Store::fsck`] sets them aside.
    pub damaged: Vec<(PathBuf, RecordError)>,
}

impl Store {
    /// Records an image. Call it while the [`Entry`](crate::Entry) values of its entries live: then they are there,
    /// and collection does not take them.
    ///
    /// Targets recorded before for the same manifest stay, except those of the same name and those that lost entries;
    /// with another manifest the record is replaced.
    ///
    /// # Errors
    /// [`Error::MissingEntry`], [`Error::Unrecordable`], or what the system said.
    pub fn put_image(&self, image: &ImageRecord) -> Result<(), Error> {
        self.writable()?;
        let unrecordable = |source| Error::Unrecordable {
            what: format!("image `{}`", Printable(&image.name)),
            source,
        };
        image.check().map_err(unrecordable)?;
        let _lock = self.lock_store()?;
        if let Some(entry) = image.entries().find(|id| !exists(self, *id)) {
            return Err(Error::MissingEntry {
                image: image.name.clone(),
                entry,
            });
        }
        let mut record = image.clone();
        // A damaged record cannot be kept in any way.
        if let Ok(Some(old)) = self.image(&image.name, &image.platform)
            && old.record.manifest == image.manifest
        {
            for (name, target) in old.record.targets {
                if target.entries.iter().all(|id| exists(self, *id)) {
                    record.targets.entry(name).or_insert(target);
                }
            }
        }
        record.check().map_err(unrecordable)?;
        let bytes = seal::seal(&record).map_err(unrecordable)?;
        let path = self.image_path(&image.name, &image.platform);
        publish(&self.at(TEMP), &path, &bytes, true)
    }

    /// The record of an image.
    ///
    /// # Errors
    /// [`Error::Record`] when it is damaged, or what the system said.
    pub fn image(&self, name: &str, platform: &str) -> Result<Option<StoredImage>, Error> {
        let path = self.image_path(name, platform);
        match self.read_image(&path)? {
            None => Ok(None),
            Some(Ok(image)) => Ok(Some(image)),
            Some(Err(source)) => Err(Error::Record { path, source }),
        }
    }

    /// All images.
    ///
    /// # Errors
    /// What the system said. Damaged records are part of the answer.
    pub fn images(&self) -> Result<Images, Error> {
        let directory = self.at(IMAGES);
        let mut all = Images::default();
        for item in fs::read_dir(&directory).context("list", &directory)? {
            let item = item.context("list", &directory)?;
            if !item.file_name().to_str().is_some_and(is_image_name) {
                continue;
            }
            let path = item.path();
            match self.read_image(&path)? {
                None => {}
                Some(Ok(image)) => all.images.push(image),
                Some(Err(problem)) => all.damaged.push((path, problem)),
            }
        }
        let key = |i: &StoredImage| (i.record.name.clone(), i.record.platform.clone());
        all.images.sort_by_key(key);
        all.damaged.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// Notes that an image was used.
    ///
    /// # Errors
    /// What the system said; a store that is only read or does not have the image is no error.
    pub fn touch_image(&self, name: &str, platform: &str) -> Result<(), Error> {
        let path = self.image_path(name, platform);
        match sys::open(&path) {
            Ok(file) if !self.read_only() => file
                .set_modified(SystemTime::now())
                .context("set the time of", &path),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("open", &path, e)),
            _ => Ok(()),
        }
    }

    /// Forgets an image, for all platforms or one, and returns what was recorded. Its entries stay until they are
    /// collected.
    ///
    /// # Errors
    /// What the system said. An unknown image gives an empty answer.
    pub fn remove_image(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<Vec<ImageRecord>, Error> {
        self.writable()?;
        let _lock = self.lock_store()?;
        let directory = self.at(IMAGES);
        let mut removed = Vec::new();
        for StoredImage { record, .. } in self.images()?.images {
            if record.name != name || platform.is_some_and(|p| p != record.platform) {
                continue;
            }
            let path = self.image_path(&record.name, &record.platform);
            fs::remove_file(&path).context("remove", &path)?;
            removed.push(record);
        }
        sys::sync_dir(&directory).context("sync", &directory)?;
        Ok(removed)
    }

    /// Takes the targets that lost entries out of an image's record, which goes with the last one: they have to be built
    /// again, as if they never had been.
    pub(crate) fn forget_lost_targets(&self, path: &Path) -> Result<(), Error> {
        let _lock = self.lock_store()?;
        let Some(Ok(StoredImage { mut record, .. })) = self.read_image(path)? else {
            return Ok(());
        };
        record
            .targets
            .retain(|_, target| target.entries.iter().all(|id| exists(self, *id)));
        if record.targets.is_empty() {
            return fs::remove_file(path).context("remove", path);
        }
        let bytes = seal::seal(&record).map_err(|source| Error::Unrecordable {
            what: format!("image `{}`", Printable(&record.name)),
            source,
        })?;
        publish(&self.at(TEMP), path, &bytes, true)
    }

    /// All entries any image needs.
    pub(crate) fn referenced(&self) -> Result<BTreeSet<EntryId>, Error> {
        let all = self.images()?;
        // What a record that cannot be read refers to must not be taken for unused.
        if let Some((path, source)) = all.damaged.into_iter().next() {
            return Err(Error::Record { path, source });
        }
        Ok(all.images.iter().flat_map(|i| i.record.entries()).collect())
    }

    fn image_path(&self, name: &str, platform: &str) -> PathBuf {
        self.at(IMAGES).join(file_name(name, platform))
    }

    /// Reads a record; `None` when it is gone.
    pub(crate) fn read_image(
        &self,
        path: &std::path::Path,
    ) -> Result<Option<Result<StoredImage, RecordError>>, Error> {
        let file = match sys::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if crate::lookup::is_odd(&e) => return Ok(Some(Err(RecordError::Form))),
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let metadata = file.metadata().context("look at", path)?;
        if !metadata.is_file() {
            return Ok(Some(Err(RecordError::Form)));
        }
        let last_used = metadata.modified().context("look at", path)?;
        let Some(bytes) = sys::read_limited(file, seal::MAX_RECORD).context("read", path)? else {
            return Ok(Some(Err(RecordError::TooLarge)));
        };
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        Ok(Some(
            ImageRecord::parse(&bytes, name).map(|record| StoredImage { record, last_used }),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(name in ".{1,40}", platform in ".{0,20}", targets in prop::collection::btree_map(".{0,10}", 0..4_usize, 0..4)) {
            let digest = Digest::of(Algorithm::Sha256, name.as_bytes());
            let id: EntryId = digest.hex().parse().unwrap();
            let mut record = ImageRecord::new(name.clone(), platform.clone(), digest, Facts::new());
            for (target, n) in targets {
                record = record.target(target, Target::new(vec![id; n], Facts::new()));
            }
            let file = file_name(&name, &platform);
            prop_assert!(is_image_name(&file));
            let bytes = seal::seal(&record).unwrap();
            prop_assert_eq!(ImageRecord::parse(&bytes, &file).unwrap(), record);
            prop_assert!(ImageRecord::parse(&bytes, "x.json").is_err());
        }

        #[test]
        fn any_sealed_json_is_no_panic(json in "[\\[\\]{}:,0-9a-z\"]{0,60}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&json) {
                prop_assert!(ImageRecord::parse(&seal::seal(&value).unwrap(), "x").is_err());
            }
        }
    }

    #[test]
    fn name_and_platform_do_not_run_together() {
        assert_ne!(file_name("a", "bc"), file_name("ab", "c"));
        assert_ne!(file_name("a/b:c", ""), file_name("a.b/c", ""));
        assert_ne!(file_name("1\n", "x"), file_name("1", "\nx"));
    }
}
