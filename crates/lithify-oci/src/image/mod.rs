//! Opened images.

mod budget;
mod content;
mod docker;
mod list;
mod oci;
mod select;
mod unpacked;

use std::collections::BTreeMap;
use std::sync::Arc;

use lithify_cancel::CancelToken;
use lithify_digest::{Digest, Mismatch};

use crate::archive::Archive;
use crate::blob::{self, Blob, BlobName, RandomAccess};
use crate::layout::Directory;
use crate::manifest::{Compression, Descriptor, ImageConfig};
use crate::platform::Platform;
use crate::source::{DaemonImage, Selector, Source};
use crate::{Error, Limits};

pub use content::{Content, LayerStore, Located, referrers_among, signature_tags};
pub use unpacked::Unpacked;

pub use list::{Listed, ListedPlatform, list};

/// How to choose and read an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The platform the image must be for; `None` for [`Platform::host`].
    pub platform: Option<Platform>,
    /// Which manifest to take where an index has one with tars and one with EROFS images for the same platform.
    /// A platform asked for with features of the system (`linux(+erofs)/amd64`) says so itself.
    pub prefer: LayerKind,
    /// Bounds on what is read.
    pub limits: Limits,
    /// Stops what takes long: copying an archive that is compressed, or comes through a pipe.
    pub cancel: CancelToken,
}

impl OpenOptions {
    /// The same options for `platform`.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// The same options with another preference.
    #[must_use]
    pub fn preferring(mut self, kind: LayerKind) -> Self {
        self.prefer = kind;
        self
    }

    /// The same options for work that is stopped by this.
    #[must_use]
    pub fn until(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// The same options with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn platform_or_host(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }
}

/// One image for one platform: verified manifest and config, and where its layers are.
#[derive(Debug)]
pub struct Image {
    names: Vec<String>,
    manifest: Option<Manifest>,
    config_digest: Digest,
    raw_config: Vec<u8>,
    config: ImageConfig,
    platform: Platform,
    layers: Vec<LayerDescriptor>,
    /// Where it came from, if things have digests there.
    content: Option<Arc<dyn Content>>,
    store: Arc<dyn LayerStore>,
}

/// What only images with a manifest have.
#[derive(Debug)]
struct Manifest {
    digest: Digest,
    media_type: String,
    raw: Vec<u8>,
    annotations: BTreeMap<String, String>,
}

/// What the blob of a layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayerKind {
    /// A tar.
    #[default]
    Tar,
    /// An EROFS image that is a layer of an overlay.
    Erofs,
    /// An index of the EROFS layer before it, without files of its own.
    ErofsChunkIndex,
}

/// A layer as the image describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerDescriptor {
    /// Digest of the blob. `None` in a docker-archive that does not name its layers so; the diff
    /// id verifies them then.
    pub digest: Option<Digest>,
    /// Bytes of the blob, by the manifest or the archive.
    pub size: Option<u64>,
    /// What it is, by its media type; tars by default.
    pub kind: LayerKind,
    /// Media type in the manifest. `None` in a docker-archive.
    pub media_type: Option<String>,
    /// What the media type says of the compression, which may be wrong.
    pub compression: Option<Compression>,
    /// Digest of the uncompressed tar or EROFS image, by the config. Names the layer's content for good.
    pub diff_id: Digest,
    /// Whether it is non-distributable, so its blob may be missing.
    pub foreign: bool,
    /// Where the image says a foreign layer can be got. Hostile input.
    pub urls: Vec<String>,
    /// Annotations in the manifest, such as those of eStargz and zstd:chunked. Hostile input.
    pub annotations: BTreeMap<String, String>,
}

/// Opens the image `source` names.
///
/// # Errors
/// [`Error`]; [`Error::is_verification`] tells broken content from everything else.
/// [`Error::NotAnImage`] for `rootfs:` and `tar:`, [`Error::Unavailable`] for sources that need a
/// daemon, a registry or a store.
pub fn open(source: &Source, options: &OpenOptions) -> Result<Image, Error> {
    match source {
        Source::Oci { path, selector } => {
            Image::from_layout(Directory::open(path)?, selector.as_ref(), options)
        }
        Source::OciArchive { path, selector } => {
            Image::from_oci_archive(open_archive(path, options)?, selector.as_ref(), options)
        }
        Source::DockerArchive { path, selector } => {
            Image::from_docker_archive(&open_archive(path, options)?, selector.as_ref(), options)
        }
        other => Err(unavailable(other)),
    }
}

/// Finds the manifest or index `source` names, without choosing a platform.
///
/// # Errors
/// As [`open`]; [`Error::NoManifest`] for a docker-archive, which has none.
pub fn locate(source: &Source, limits: &Limits) -> Result<Located, Error> {
    locate_until(source, limits, &CancelToken::new())
}

/// As [`locate`], until the work is stopped.
///
/// # Errors
/// As [`locate`]; when the work is stopped, one of an archive that could not be read.
pub fn locate_until(
    source: &Source,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<Located, Error> {
    match source {
        Source::Oci { path, selector } => {
            oci::locate(Arc::new(Directory::open(path)?), selector.as_ref(), limits)
        }
        Source::OciArchive { path, selector } => {
            let options = OpenOptions::default()
                .with_limits(limits.clone())
                .until(cancel);
            oci::locate(
                Arc::new(open_archive(path, &options)?),
                selector.as_ref(),
                limits,
            )
        }
        Source::DockerArchive { .. } => Err(Error::NoManifest),
        other => Err(unavailable(other)),
    }
}

fn open_archive(path: &std::path::Path, options: &OpenOptions) -> Result<Archive, Error> {
    Archive::open_until(path, &options.limits, &options.cancel).map_err(|source| Error::Archive {
        path: path.to_owned(),
        source,
    })
}

/// The error for sources that are no files here.
fn unavailable(source: &Source) -> Error {
    let unavailable = |what, instead| Error::Unavailable { what, instead };
    match source {
        Source::Rootfs(_) => Error::NotAnImage { kind: "rootfs:" },
        Source::Ext4(_) => Error::NotAnImage { kind: "ext4:" },
        Source::Tar(_) => Error::NotAnImage { kind: "tar:" },
        Source::Composefs { path, .. } => unavailable(
            "images of a composefs repository",
            format!(
                "open `{}` with lithify-composefs",
                lithify_escape::Escaped::path(path)
            ),
        ),
        Source::DockerDaemon(image) => {
            let name = match image {
                DaemonImage::Name(name) => name.to_string(),
                DaemonImage::Id(id) => id.to_string(),
            };
            unavailable(
                "images of a Docker daemon",
                format!("run `docker save -o image.tar {name}` and use docker-archive:image.tar"),
            )
        }
        Source::Docker(name) | Source::Store(name) | Source::Name(name) => unavailable(
            "images of a registry",
            format!("run `skopeo copy docker://{name} oci:image:latest` and use oci:image:latest"),
        ),
        // The sources that are files are opened before this is asked.
        Source::Oci { .. } | Source::OciArchive { .. } | Source::DockerArchive { .. } => {
            Error::Empty
        }
    }
}

impl Image {
    /// Opens an image of a layout directory.
    ///
    /// # Errors
    /// As [`open`].
    pub fn from_layout(
        layout: Directory,
        selector: Option<&Selector>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        oci::open(Arc::new(layout), selector, options)
    }

    /// Opens an image of an archive that holds an OCI layout. Where the archive also is one of
    /// `docker save`, that part of it is not looked at.
    ///
    /// # Errors
    /// As [`open`].
    pub fn from_oci_archive(
        archive: Archive,
        selector: Option<&Selector>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        oci::open(Arc::new(archive), selector, options)
    }

    /// Opens the image that `root`, a manifest or index, is of. The image goes by `names`.
    ///
    /// # Errors
    /// As [`open`].
    pub fn from_content(
        content: Arc<dyn Content>,
        root: Descriptor,
        names: Vec<String>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        oci::open_root(content, root, names, options)
    }

    /// Opens an image of an archive as `docker save` writes it, by its `manifest.json` (also where the
    /// archive holds an OCI layout too, as those of Docker 25 and later do).
    ///
    /// # Errors
    /// As [`open`].
    pub fn from_docker_archive(
        archive: &Archive,
        selector: Option<&Selector>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        docker::open(archive, selector, options)
    }

    /// Where the image's parts are found by their digests. `None` in a docker-archive.
    #[must_use]
    pub fn content(&self) -> Option<&Arc<dyn Content>> {
        self.content.as_ref()
    }

    /// The names the source gives this image: annotations in `index.json`, tags in
    /// `manifest.json`. Hostile input.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Digest of the manifest. `None` in a docker-archive, which has none.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<&Digest> {
        self.manifest.as_ref().map(|m| &m.digest)
    }

    /// Media type of the manifest. `None` in a docker-archive.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.manifest.as_ref().map(|m| m.media_type.as_str())
    }

    /// The manifest, byte for byte. `None` in a docker-archive.
    #[must_use]
    pub fn raw_manifest(&self) -> Option<&[u8]> {
        self.manifest.as_ref().map(|m| m.raw.as_slice())
    }

    /// Annotations of the manifest. Hostile input.
    #[must_use]
    pub fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        self.manifest.as_ref().map(|m| &m.annotations)
    }

    /// Digest of the config, also known as the image id. In a docker-archive that does not name the
    /// config by a digest, its SHA-256.
    #[must_use]
    pub fn config_digest(&self) -> &Digest {
        &self.config_digest
    }

    /// The config, byte for byte.
    #[must_use]
    pub fn raw_config(&self) -> &[u8] {
        &self.raw_config
    }

    /// The config, parsed.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The platform by the config, completed from the index where the config does not say.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[LayerDescriptor] {
        &self.layers
    }

    /// Says what the blob of a layer turned out to be, whatever its media type says. The manifest stays as it is.
    pub fn set_layer_kind(&mut self, index: usize, kind: LayerKind, compression: Compression) {
        if let Some(layer) = self.layers.get_mut(index) {
            layer.kind = kind;
            layer.compression = Some(compression);
        }
    }

    /// Opens the blob of a layer, from its start. Any number may be open at once.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], [`Error::ForeignLayer`], and [`Error::Blob`] when the blob is missing, no regular
    /// file, or not as long as the manifest says.
    pub fn open_layer(&self, index: usize) -> Result<Blob, Error> {
        let no_such = || Error::NoSuchLayer {
            index,
            layers: self.layers.len(),
        };
        let layer = self.layers.get(index).ok_or_else(no_such)?;
        let name = BlobName::Layer(Box::new(layer.digest.unwrap_or(layer.diff_id)));
        let Some(blob) = self.store.open_layer(index)? else {
            return Err(if layer.foreign {
                Error::ForeignLayer {
                    index,
                    urls: layer.urls.clone(),
                }
            } else {
                blob::Error::Missing { name }.into()
            });
        };
        if let Some(expected) = layer.size {
            Mismatch::of_sizes(expected, blob.len())
                .map_err(|source| blob::Error::Mismatch { name, source })?;
        }
        Ok(blob)
    }

    /// Opens the blob of a layer for reads by position, without reading it; `None` where only reading from start to end is
    /// possible. Nothing read from it is verified.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], and [`Error::Blob`] when the blob cannot be opened or is not as long as the manifest says.
    pub fn open_layer_at(&self, index: usize) -> Result<Option<RandomAccess>, Error> {
        let layer = self.layers.get(index).ok_or(Error::NoSuchLayer {
            index,
            layers: self.layers.len(),
        })?;
        let name = || BlobName::Layer(Box::new(layer.digest.unwrap_or(layer.diff_id)));
        let Some(source) = self.store.open_layer_at(index)? else {
            return Ok(None);
        };
        let found = source.size().map_err(|source| blob::Error::Io {
            name: name(),
            source,
        })?;
        if let Some(expected) = layer.size {
            Mismatch::of_sizes(expected, found).map_err(|source| blob::Error::Mismatch {
                name: name(),
                source,
            })?;
        }
        Ok(Some(source))
    }

    /// Checks that every layer can be opened and is as long as the manifest says, so that a build can
    /// stop before it starts.
    ///
    /// # Errors
    /// As [`open_layer`](Self::open_layer), for the lowest layer that fails.
    pub fn check_layers(&self) -> Result<(), Error> {
        (0..self.layers.len()).try_for_each(|index| self.open_layer(index).map(drop))
    }
}
