//! Writing a new layout.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lithify_cancel::CancelToken;
use lithify_digest::{Algorithm, Digest, Hasher};
use lithify_storage::Beneath;
use serde::Serialize;

use super::member::blob_path;
use super::{Error, REF_NAME};
use crate::manifest::{Descriptor, ImageConfig, ImageManifest, Index, media_type};

/// Writes an OCI image layout into a new directory: blobs, then manifests, then
/// [`finish`](Self::finish).
///
/// The same calls write the same bytes on any machine at any time. Blobs appear under their name only
/// when whole; `index.json` is written last, so a layout left unfinished has none. Nothing is
/// synced to disk: this is for making images, not for keeping them safe.
///
/// ```no_run
/// use lithify_oci::layout::{ImageOptions, Writer};
/// use lithify_oci::manifest::{ImageConfig, media_type};
/// # let (tar, diff_id): (Vec<u8>, lithify_digest::Digest) = unimplemented!();
///
/// let mut writer = Writer::create("image".as_ref())?;
/// let layer = writer.put(media_type::OCI_LAYER, &tar)?;
/// let mut config = ImageConfig::default();
/// config.os = "linux".into();
/// config.architecture = "amd64".into();
/// config.diff_ids = vec![diff_id];
/// writer.put_image(&config, vec![layer], ImageOptions::named("latest"))?;
/// writer.finish()?;
/// # Ok::<(), lithify_oci::layout::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    manifests: Vec<Descriptor>,
    /// The `index.json` that is added to, as it stands.
    index: Option<serde_json::Map<String, serde_json::Value>>,
    durable: bool,
    /// What goes again if the layout is not finished.
    made: Option<Made>,
    cancel: CancelToken,
}

/// What a writer made for its layout.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// The directory.
    Directory,
    /// What is in a directory that was empty.
    Content,
}

/// How an image is entered in `index.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageOptions {
    /// Its `org.opencontainers.image.ref.name`.
    pub name: Option<String>,
    /// Whether its descriptor says the config's platform.
    pub platform: bool,
}

impl ImageOptions {
    /// Under this name, with its platform.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            platform: true,
        }
    }
}

impl Writer {
    /// Starts a layout in `path`, which must not exist or be an empty directory.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        let io = |action| {
            move |source| Error::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let made = match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(path).map_err(io("list"))?;
                if entries.next().is_some() {
                    return Err(Error::Exists {
                        path: path.to_owned(),
                    });
                }
                Made::Content
            }
            result => result
                .map(|()| Made::Directory)
                .map_err(io("create the directory"))?,
        };
        make_blob_directory(path, Algorithm::Sha256)?;
        let writer = Self {
            path: path.to_owned(),
            manifests: Vec::new(),
            index: None,
            durable: false,
            made: Some(made),
            cancel: CancelToken::new(),
        };
        writer.write_file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(writer)
    }

    /// Goes on with the layout in `path`: what is in it stays, except that a name given to a new image is taken from
    /// the image that had it. Blobs that are there already are not written again. A layout that was never finished is gone
    /// on with too.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::IndexJson`] when `index.json` is not one.
    pub fn append(path: &Path) -> Result<Self, Error> {
        let file = path.join("index.json");
        let read = |source: io::Error| Error::Io {
            action: "read",
            path: file.clone(),
            source,
        };
        let layout = Beneath::open(path).map_err(read)?;
        let limit = crate::Limits::default().manifest_bytes;
        let json = match layout.read("index.json", limit) {
            Ok(json) => json,
            // One that was begun and never finished.
            Err(e) if e.is_not_found() && layout.file("oci-layout").is_ok() => {
                return Self::resume(path);
            }
            Err(e) => return Err(read(e.into())),
        };
        let failed = |source| Error::IndexJson {
            path: file.clone(),
            source,
        };
        let mut index: serde_json::Map<_, _> = serde_json::from_slice(&json).map_err(failed)?;
        // Before blobs are written that nothing could list; `null` is what Go writes for an empty list.
        let listed = index.remove("manifests").unwrap_or_default();
        let listed: Option<Vec<serde_json::Value>> =
            serde_json::from_value(listed).map_err(failed)?;
        index.insert("manifests".to_owned(), listed.unwrap_or_default().into());
        Self::going_on(path, Some(index))
    }

    /// Goes on with a layout that has no `index.json` yet.
    fn resume(path: &Path) -> Result<Self, Error> {
        Self::going_on(path, None)
    }

    fn going_on(
        path: &Path,
        index: Option<serde_json::Map<String, serde_json::Value>>,
    ) -> Result<Self, Error> {
        make_blob_directory(path, Algorithm::Sha256)?;
        Ok(Self {
            path: path.to_owned(),
            manifests: Vec::new(),
            index,
            durable: false,
            made: None,
            cancel: CancelToken::new(),
        })
    }

    /// Whether every file is on the disk before the next one depends on it. Default no.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// What a new layout has so far is kept when it is not finished, to be gone on with; nothing is when that is because
    /// the work was stopped.
    #[must_use]
    pub fn until(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Whether a blob is there, by its digest.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.length_of(digest).is_some()
    }

    /// Whether a blob is there, as long as its descriptor says.
    #[must_use]
    pub fn has_whole(&self, blob: &Descriptor) -> bool {
        self.length_of(&blob.digest) == Some(blob.size)
    }

    fn length_of(&self, digest: &Digest) -> Option<u64> {
        let file = Beneath::open(&self.path).ok()?.file(blob_path(digest));
        file.ok()?.metadata().ok().map(|metadata| metadata.len())
    }

    /// Stores `bytes` as a blob.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        self.write_file(&blob_path(&digest), bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Stores what `reader` yields as a blob, without keeping it in memory.
    ///
    /// # Errors
    /// [`Error::Io`], also for errors of the reader.
    pub fn put_reader(
        &mut self,
        media_type: &str,
        reader: &mut dyn Read,
    ) -> Result<Descriptor, Error> {
        self.store(media_type, None, reader)
    }

    /// Stores what `reader` yields as the blob it must be. Nothing appears under its name unless it is.
    ///
    /// # Errors
    /// [`Error::Content`] for other bytes, [`Error::Io`], also for errors of the reader.
    pub fn put_verified(
        &mut self,
        expected: &Descriptor,
        reader: &mut dyn Read,
    ) -> Result<(), Error> {
        let mut bounded = reader.take(expected.size.saturating_add(1));
        self.store(&expected.media_type, Some(expected), &mut bounded)
            .map(drop)
    }

    fn store(
        &mut self,
        media_type: &str,
        expected: Option<&Descriptor>,
        reader: &mut dyn Read,
    ) -> Result<Descriptor, Error> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io {
                action,
                path,
                source,
            }
        };
        let mut new = NewFile::create(&self.path)?;
        let temporary = new.path.clone();
        let algorithm = expected.map_or(Algorithm::Sha256, |e| e.digest.algorithm());
        let mut hasher = Hasher::new(algorithm);
        let mut size = 0u64;
        let mut buf = vec![0; 1 << 17];
        loop {
            let n = match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io("read the content of", &temporary)(e)),
            };
            hasher.update(&buf[..n]);
            new.file
                .write_all(&buf[..n])
                .map_err(io("write", &temporary))?;
            size += n as u64;
        }
        if self.durable {
            new.file.sync_all().map_err(io("sync", &temporary))?;
        }
        let digest = hasher.finish();
        if let Some(expected) = expected
            && (expected.digest, expected.size) != (digest, size)
        {
            return Err(Error::Content {
                expected: Box::new(expected.clone()),
                found: Box::new(digest),
                found_size: size,
            });
        }
        let path = self.path.join(blob_path(&digest));
        if algorithm != Algorithm::Sha256 {
            make_blob_directory(&self.path, algorithm)?;
        }
        new.rename(&path).map_err(io("write", &path))?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// Stores the JSON of a config, manifest or index as a blob.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_json(
        &mut self,
        media_type: &str,
        document: &impl Serialize,
    ) -> Result<Descriptor, Error> {
        let bytes = self.json(document)?;
        self.put(media_type, &bytes)
    }

    /// Stores the config and manifest of an image and enters it in `index.json`. Returns the
    /// manifest's descriptor.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_image(
        &mut self,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        options: ImageOptions,
    ) -> Result<Descriptor, Error> {
        let config_descriptor = self.put_json(media_type::OCI_CONFIG, config)?;
        let manifest = ImageManifest::new(config_descriptor, layers);
        let mut descriptor = self.put_json(media_type::OCI_MANIFEST, &manifest)?;
        descriptor.platform = options.platform.then(|| config.platform());
        if let Some(name) = options.name {
            descriptor.annotations = BTreeMap::from([(REF_NAME.to_owned(), name)]);
        }
        self.add(descriptor.clone());
        Ok(descriptor)
    }

    /// Enters a manifest or index stored before in `index.json`.
    pub fn add(&mut self, descriptor: Descriptor) {
        self.manifests.push(descriptor);
    }

    /// Writes `index.json`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<(), Error> {
        let mut index = self.json(&Index::new(self.manifests.clone()))?;
        if let Some(old) = self.index.clone() {
            index = self.joined(old, &index)?;
        }
        if self.durable {
            self.sync_directory("blobs/sha256")?;
        }
        self.write_file("index.json", &index)?;
        self.made = None;
        match self.durable {
            true => self.sync_directory("."),
            false => Ok(()),
        }
    }

    /// The old index with the images of the new one.
    fn joined(
        &self,
        mut old: serde_json::Map<String, serde_json::Value>,
        new: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::IndexJson {
            path: self.path.join("index.json"),
            source,
        };
        let mut new: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(new).map_err(failed)?;
        let name_of = |entry: &serde_json::Value| entry["annotations"][REF_NAME].clone();
        if let Some(serde_json::Value::Array(added)) = new.remove("manifests") {
            let names: Vec<_> = added
                .iter()
                .map(name_of)
                .filter(|n| n.is_string())
                .collect();
            let listed = old.remove("manifests").unwrap_or_default();
            let mut manifests: Vec<serde_json::Value> =
                serde_json::from_value(listed).map_err(failed)?;
            manifests.retain(|entry| !names.contains(&name_of(entry)));
            for entry in added {
                // What has no name is there once, by its digest.
                let twice = |old: &serde_json::Value| {
                    !name_of(&entry).is_string() && old["digest"] == entry["digest"]
                };
                if !manifests.iter().any(twice) {
                    manifests.push(entry);
                }
            }
            old.insert("manifests".to_owned(), manifests.into());
        }
        serde_json::to_vec(&old).map_err(failed)
    }

    fn sync_directory(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        fs::File::open(&path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| Error::Io {
                action: "sync",
                path,
                source,
            })
    }

    fn json(&self, document: &impl Serialize) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(document).map_err(|e| Error::Io {
            action: "encode a document of",
            path: self.path.clone(),
            source: e.into(),
        })
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let mut new = NewFile::create(&self.path)?;
        new.file
            .write_all(bytes)
            .and_then(|()| match self.durable {
                true => new.file.sync_all(),
                false => Ok(()),
            })
            .and_then(|()| new.rename(&path))
            .map_err(|source| Error::Io {
                action: "write",
                path,
                source,
            })
    }
}

impl Drop for Writer {
    /// Takes away what was begun and is of no use.
    fn drop(&mut self) {
        let Some(made) = self.made else { return };
        let index = self.path.join("index.json");
        if index.exists() {
            return;
        }
        // In the order in which it can go; a blob keeps its directories, and so does whatever else came there.
        if self.cancel.is_cancelled() {
            fs::remove_dir_all(self.path.join("blobs")).ok();
        }
        let blobs = self.path.join("blobs").join(Algorithm::Sha256.name());
        if fs::remove_dir(&blobs).is_err() && blobs.exists() {
            return;
        }
        fs::remove_dir(self.path.join("blobs")).ok();
        fs::remove_file(self.path.join("oci-layout")).ok();
        if matches!(made, Made::Directory) {
            fs::remove_dir(&self.path).ok();
        }
    }
}

/// Makes the directory of blobs with this kind of digest, unless it is there. It is inside the layout, or an error.
fn make_blob_directory(layout: &Path, algorithm: Algorithm) -> Result<(), Error> {
    let inside = |source| Error::Inside {
        path: layout.to_owned(),
        source,
    };
    let opened = Beneath::open(layout).map_err(|e| inside(e.into()))?;
    let mut name = PathBuf::new();
    for part in ["blobs", algorithm.name()] {
        name.push(part);
        let path = layout.join(&name);
        match fs::create_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|source| Error::Io {
                action: "create the directory",
                path,
                source,
            })?,
        }
        // Before anything is made in it.
        opened.directory(&name).map_err(inside)?;
    }
    Ok(())
}

/// A file under a name nothing had, which goes away with the value unless it got another one.
struct NewFile {
    path: PathBuf,
    file: fs::File,
}

impl NewFile {
    fn create(layout: &Path) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = layout.join(format!("blobs/.new-{}-{number}", std::process::id()));
            match fs::File::create_new(&path) {
                Ok(file) => return Ok(Self { path, file }),
                // A killed process of the same number left it, or someone put it there: it is not written to.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => {
                    return Err(Error::Io {
                        action: "create",
                        path,
                        source,
                    });
                }
            }
        }
    }

    fn rename(&self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // It is not there any more if it was renamed; if something failed, that is the error to report.
        fs::remove_file(&self.path).ok();
    }
}
