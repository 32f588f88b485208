//! Writing layouts.

mod index; // what `index.json` lists
mod place; // the directory, shared with other writers

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::Path;

use lithify_cancel::CancelToken;
use lithify_digest::{Algorithm, Digest, Hasher, Mismatch, VerifiedReader, Verifier};
use lithify_storage::temporary::NewFile;
use serde::Serialize;

use super::member::blob_path;
use super::{Error, REF_NAME};
use crate::manifest::{Descriptor, ImageConfig, ImageManifest, media_type};
use place::{Begin, Place, io_error};

/// The digest a blob is stored under.
enum Name {
    /// That of the bytes, computed as they come.
    Computed(Hasher),
    /// One that the bytes are compared with by the reader they come from.
    Verified(Digest),
}

impl Name {
    fn computed() -> Self {
        Self::Computed(Hasher::new(Algorithm::Sha256))
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Computed(hasher) => hasher.algorithm(),
            Self::Verified(digest) => digest.algorithm(),
        }
    }

    fn update(&mut self, data: &[u8]) {
        if let Self::Computed(hasher) = self {
            hasher.update(data);
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Computed(hasher) => hasher.finish(),
            Self::Verified(digest) => digest,
        }
    }
}

/// Writes images into an OCI image layout: blobs, then manifests, then
/// [`finish`](Self::finish).
///
/// The same calls write the same bytes on any machine at any time. Blobs appear under their name only
/// when whole, and what [`add`](Self::add) enters is listed by `finish`, all at once. Any number of writers, in any processes, may
/// write into one layout at the same time: what each of them enters is listed in the end. The layout is valid at every
/// moment, as are the blobs in it after a failure: the next attempt goes on with them.
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
    place: Place,
    manifests: Vec<Descriptor>,
    durable: bool,
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
        Self::begin(path, Begin::New, &CancelToken::new())
    }

    /// Goes on with the layout in `path`: what is in it stays, except that a name given to a new image is taken from
    /// the image that had it. Blobs that are there already are not written again.
    ///
    /// # Errors
    /// [`Error::NotALayout`], [`Error::Io`]; [`Error::Unreadable`] for a layout that cannot be read.
    pub fn append(path: &Path) -> Result<Self, Error> {
        Self::begin(path, Begin::Existing, &CancelToken::new())
    }

    /// Goes on with the layout in `path`, or starts one if nothing is there. Until the work is stopped by `cancel`, it waits for
    /// other writers where it has to; of a layout that was new nothing is left then, unless others write into it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`append`](Self::append).
    pub fn open(path: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        Self::begin(path, Begin::Any, cancel)
    }

    /// Checks that [`open`](Self::open) would find a layout in `path`, or could start one there. Nothing is touched.
    ///
    /// # Errors
    /// As [`open`](Self::open), as far as that can be told.
    pub fn check(path: &Path) -> Result<(), Error> {
        place::check(path)
    }

    fn begin(path: &Path, begin: Begin, cancel: &CancelToken) -> Result<Self, Error> {
        Ok(Self {
            place: Place::open(path, begin, cancel)?,
            manifests: Vec::new(),
            durable: false,
        })
    }

    /// Whether every file is on the disk before the next one depends on it. Default no.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether a blob is there as its descriptor says, byte for byte: what has only its name would be listed with the
    /// image, and be found out by whoever uses it.
    ///
    /// # Errors
    /// [`Error::Io`] once the work is stopped, or when the blob cannot be brought to the disk.
    pub fn has_whole(&self, blob: &Descriptor) -> Result<bool, Error> {
        let Some((file, length)) = self.place.blob(&blob.digest) else {
            return Ok(false);
        };
        if length != blob.size {
            return Ok(false);
        }
        let failed = |action| io_error(action, &self.place.path().join(blob_path(&blob.digest)));
        let mut reader = VerifiedReader::new(&file, Verifier::new(blob.digest, blob.size));
        let mut buf = vec![0; 1 << 17];
        loop {
            self.place.go_on().map_err(failed("read"))?;
            match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // It is written anew.
                Err(_) => return Ok(false),
            }
        }
        if self.durable {
            file.sync_all().map_err(failed("sync"))?;
        }
        Ok(true)
    }

    /// Stores `bytes` as a blob.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
        self.store(media_type, Name::computed(), &mut &*bytes)
    }

    /// Stores what `reader` yields as a blob, without keeping it in memory.
    ///
    /// # Errors
    /// [`Error::Read`] for errors of the reader, [`Error::Io`] for those of the layout.
    pub fn put_reader(
        &mut self,
        media_type: &str,
        reader: &mut dyn Read,
    ) -> Result<Descriptor, Error> {
        self.store(media_type, Name::computed(), reader)
    }

    /// Stores what `reader` yields as the blob it must be. Nothing appears under its name unless it is.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for other bytes, [`Error::Read`] for errors of the reader, [`Error::Io`] for those of the layout.
    pub fn put_verified(
        &mut self,
        expected: &Descriptor,
        reader: &mut dyn Read,
    ) -> Result<(), Error> {
        let verifier = Verifier::new(expected.digest, expected.size);
        let mut verified = VerifiedReader::new(reader, verifier);
        let name = Name::Verified(expected.digest);
        match self.store(&expected.media_type, name, &mut verified) {
            Ok(_) => Ok(()),
            Err(Error::Read { path, source }) => Err(match Mismatch::in_error(&source) {
                Some(mismatch) => Error::Mismatch {
                    digest: Box::new(expected.digest),
                    source: mismatch.clone(),
                },
                None => Error::Read { path, source },
            }),
            Err(error) => Err(error),
        }
    }

    /// Stores what `reader` yields under its digest.
    fn store(
        &mut self,
        media_type: &str,
        mut name: Name,
        reader: &mut dyn Read,
    ) -> Result<Descriptor, Error> {
        let blobs = self.place.blobs_of(name.algorithm())?;
        let new = NewFile::create(blobs.handle()).map_err(io_error("write in", blobs.path()))?;
        let mut size = 0u64;
        let mut buf = vec![0; 1 << 17];
        loop {
            let n = match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let path = self.place.path().to_path_buf();
                    return Err(Error::Read { path, source });
                }
            };
            name.update(&buf[..n]);
            new.file()
                .as_ref()
                .write_all(&buf[..n])
                .map_err(io_error("write in", blobs.path()))?;
            size += n as u64;
        }
        if self.durable {
            new.file()
                .sync_all()
                .map_err(io_error("sync a file of", blobs.path()))?;
        }
        let digest = name.finish();
        let name = digest.hex();
        new.replace(&name)
            .map_err(io_error("write", &blobs.path().join(&name)))?;
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
        let bytes = serde_json::to_vec(document)
            .map_err(|e| io_error("encode a document of", self.place.path())(e.into()))?;
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

    /// Lists what was entered in `index.json`, beside what others listed meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unreadable`] when the layout cannot be read any more, or could not be with what was entered.
    pub fn finish(mut self) -> Result<(), Error> {
        let manifests = std::mem::take(&mut self.manifests);
        self.place
            .update_index(self.durable, |listed| listed.with(&manifests))
    }
}
