//! How images are found and read.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lithify_oci::{LayerKind, Platform};
use lithify_registry::daemon::DaemonOptions;
use lithify_tree::Escaped;

use crate::{CancelToken, Error, Progress, PullPolicy, Registries, Silent, StoreChoice};

/// Bounds on what an image may contain: of its documents and of its layers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Manifests, configurations, archives.
    pub image: lithify_oci::Limits,
    /// Layers.
    pub layer: lithify_layer::Limits,
    /// Names in the merged filesystem, removed and replaced ones included.
    pub names: u32,
    /// All layers of one image together, and what is made of it.
    pub total: ImageLimits,
}

/// Bounds on what all layers of an image may ask for together. A layer that an image has several times counts once where it is
/// decoded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageLimits {
    /// Entries of all layers. Default 16 777 216.
    pub entries: u64,
    /// Bytes of the paths of all entries and of the targets of links, in full. Default 1 GiB.
    pub name_bytes: u64,
    /// Bytes of names and values of the extended attributes of all entries. Default 1 GiB.
    pub xattr_bytes: u64,
    /// Bytes of decompressed tar, and of layers that are EROFS images. Default 256 GiB.
    pub tar_bytes: u64,
    /// Bytes of the images that are written, or of the files of a directory or tar: data, and what the format says about holes.
    /// Data that a later layer hides counts, it is written before that is known; disks and hash trees do not. Default 256 GiB.
    pub output_bytes: u64,
    /// Bytes of memory for entries that wait for their layers to be merged, and as many for the merged filesystem. Default 2 GiB.
    pub memory_bytes: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            entries: 16 << 20,
            name_bytes: 1 << 30,
            xattr_bytes: 1 << 30,
            tar_bytes: 256 << 30,
            output_bytes: 256 << 30,
            memory_bytes: 2 << 30,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            image: lithify_oci::Limits::default(),
            layer: lithify_layer::Limits::default(),
            names: lithify_tree::DEFAULT_NAME_LIMIT,
            total: ImageLimits::default(),
        }
    }
}

/// A limit that does not exist.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("there is no limit named `{}`: there are {}", Escaped(.name), Limits::NAMES.join(", "))]
pub struct UnknownLimit {
    /// The name asked for.
    pub name: String,
}

impl Limits {
    /// The names [`set`](Self::set) knows, which are those errors use.
    pub const NAMES: [&str; 23] = [
        "names",
        "image_entries",
        "image_name_bytes",
        "image_xattr_bytes",
        "image_tar_bytes",
        "output_bytes",
        "memory_bytes",
        "tar_bytes",
        "entries",
        "path_bytes",
        "metadata_bytes",
        "xattr_bytes",
        "file_bytes",
        "sparse_segments",
        "zstd_window_log",
        "manifest_bytes",
        "config_bytes",
        "index_entries",
        "index_depth",
        "layers",
        "archive_entries",
        "archive_header_bytes",
        "spool_bytes",
    ];

    /// Sets a limit by its name.
    ///
    /// # Errors
    /// [`UnknownLimit`].
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), UnknownLimit> {
        let count = usize::try_from(value).unwrap_or(usize::MAX);
        match name {
            "names" => self.names = u32::try_from(value).unwrap_or(u32::MAX),
            "image_entries" => self.total.entries = value,
            "image_name_bytes" => self.total.name_bytes = value,
            "image_xattr_bytes" => self.total.xattr_bytes = value,
            "image_tar_bytes" => self.total.tar_bytes = value,
            "output_bytes" => self.total.output_bytes = value,
            "memory_bytes" => self.total.memory_bytes = value,
            "tar_bytes" => self.layer.tar_bytes = value,
            "entries" => self.layer.entries = value,
            "path_bytes" => self.layer.path_bytes = value,
            "metadata_bytes" => self.layer.metadata_bytes = value,
            "xattr_bytes" => self.layer.xattr_bytes = value,
            "file_bytes" => self.layer.file_bytes = value,
            "sparse_segments" => self.layer.sparse_segments = value,
            "zstd_window_log" => {
                self.layer.zstd_window_log = u32::try_from(value).unwrap_or(u32::MAX)
            }
            "manifest_bytes" => self.image.manifest_bytes = value,
            "config_bytes" => self.image.config_bytes = value,
            "index_entries" => self.image.index_entries = count,
            "index_depth" => self.image.index_depth = count,
            "layers" => self.image.layers = count,
            "archive_entries" => self.image.archive_entries = count,
            "archive_header_bytes" => self.image.archive_header_bytes = value,
            "spool_bytes" => self.image.spool_bytes = value,
            _ => {
                return Err(UnknownLimit {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Everything about reading an image that is not the image.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Which image of several; `None` is Linux on this machine's architecture.
    pub platform: Option<Platform>,
    /// Which of an image's manifests to take, if it has one with tars and one with EROFS images for the same platform.
    /// Default: tars. Whatever can use the images as they are is better off with these.
    pub layers: LayerKind,
    /// Processors to make use of; `None` is all there are. With 1 everything happens in the calling thread; with more,
    /// each layer being decoded has three threads of its own, and two layers are decoded at a time. Results never
    /// depend on it.
    pub jobs: Option<NonZeroUsize>,
    /// Bounds on what an image may contain.
    pub limits: Limits,
    /// The store bare names are looked up in, and pulled into.
    pub store: StoreChoice,
    /// When bare names are pulled. Default: when the store does not have them.
    pub pull: PullPolicy,
    /// How registries are talked to.
    pub registries: Registries,
    /// Where the Docker daemon is looked for.
    pub daemon: DaemonOptions,
    /// Who is told how far things are.
    pub progress: Arc<dyn Progress>,
    /// Stops the work, wherever it waits.
    pub cancel: CancelToken,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            platform: None,
            layers: LayerKind::Tar,
            jobs: None,
            limits: Limits::default(),
            store: StoreChoice::default(),
            pull: PullPolicy::default(),
            registries: Registries::default(),
            daemon: DaemonOptions::default(),
            progress: Arc::new(Silent),
            cancel: CancelToken::new(),
        }
    }
}

impl ReadOptions {
    /// Why something failed: because the work was stopped, if it was.
    pub(crate) fn reason(&self, error: impl Into<Error>) -> Error {
        match self.cancel.is_cancelled() {
            true => Error::cancelled(),
            false => error.into(),
        }
    }

    /// The number of threads to use.
    pub(crate) fn threads(&self) -> usize {
        self.jobs
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
    }
}
