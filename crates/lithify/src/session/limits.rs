//! Limits on what an image may contain, and their names.

use lithify_tree::Escaped;

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

/// Bounds on what all layers of an image may ask for together. Of a layer that an image has several times, what is read and kept
/// counts once where it is decoded once; its entries, their names and attributes count each time they are merged.
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

/// A limit by its name.
struct Named {
    name: &'static str,
    /// The things that are counted.
    counted: &'static str,
    set: fn(&mut Limits, u64),
}

/// The one table of names: from it come [`Limits::NAMES`], [`Limits::set`] and the help of the command. Every limit that an
/// error names is in it.
macro_rules! table {
    ($($name:literal: $counted:literal => |$limits:ident, $value:ident| $set:expr;)*) => {
        const TABLE: &[Named] = &[$(Named {
            name: $name,
            counted: $counted,
            set: |$limits, $value| $set,
        }),*];
        const NAMES: &[&str] = &[$($name),*];
    };
}

table! {
    "tar_bytes": "bytes of tar in one layer" => |l, v| l.layer.tar_bytes = v;
    "entries": "entries in one layer" => |l, v| l.layer.entries = v;
    "names": "names in the merged filesystem" => |l, v| l.names = u32::try_from(v).unwrap_or(u32::MAX);
    "image_entries": "entries in all layers" => |l, v| l.total.entries = v;
    "image_name_bytes": "bytes of names and link targets in all layers" => |l, v| l.total.name_bytes = v;
    "image_xattr_bytes": "bytes of extended attributes in all layers" => |l, v| l.total.xattr_bytes = v;
    "image_tar_bytes": "bytes of tar in all layers" => |l, v| l.total.tar_bytes = v;
    "output_bytes": "bytes of what is made, disks and hash trees aside; what is hidden later counts" => |l, v| l.total.output_bytes = v;
    "memory_bytes": "bytes of memory for entries, and as many for the merged filesystem" => |l, v| l.total.memory_bytes = v;
    "path_bytes": "bytes of one path or link target" => |l, v| l.layer.path_bytes = v;
    "metadata_bytes": "bytes of extended headers before one entry" => |l, v| l.layer.metadata_bytes = v;
    "xattr_bytes": "bytes of extended attributes of one entry" => |l, v| l.layer.xattr_bytes = v;
    "file_bytes": "apparent size of one file" => |l, v| l.layer.file_bytes = v;
    "sparse_segments": "data stretches in one sparse file" => |l, v| l.layer.sparse_segments = v;
    "zstd_window_log": "window of a zstd layer, as a power of two" => |l, v| l.layer.zstd_window_log = u32::try_from(v).unwrap_or(u32::MAX);
    "layers": "layers in one image" => |l, v| l.image.layers = count(v);
    "manifest_bytes": "bytes of one manifest or index" => |l, v| l.image.manifest_bytes = v;
    "config_bytes": "bytes of one image configuration" => |l, v| l.image.config_bytes = v;
    "document_bytes": "bytes of all manifests and configurations that are read to choose an image" => |l, v| l.image.document_bytes = v;
    "index_entries": "entries of one index" => |l, v| l.image.index_entries = count(v);
    "index_depth": "indexes within indexes" => |l, v| l.image.index_depth = count(v);
    "archive_entries": "entries in one archive" => |l, v| l.image.archive_entries = count(v);
    "archive_names": "bytes of the names in one archive" => |l, v| l.image.archive_names = count(v);
    "archive_header_bytes": "bytes of extended headers before one member of an archive" => |l, v| l.image.archive_header_bytes = v;
    "spool_bytes": "bytes of a compressed archive, decompressed" => |l, v| l.image.spool_bytes = v;
}

/// A number of things in memory.
fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

impl Limits {
    /// The names [`set`](Self::set) knows, which are those errors use.
    pub const NAMES: &[&str] = NAMES;

    /// Returns the limits by name, each with the things it counts.
    pub fn named() -> impl Iterator<Item = (&'static str, &'static str)> {
        TABLE.iter().map(|limit| (limit.name, limit.counted))
    }

    /// Sets a limit by its name.
    ///
    /// # Errors
    /// [`UnknownLimit`].
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), UnknownLimit> {
        match TABLE.iter().find(|limit| limit.name == name) {
            Some(limit) => {
                (limit.set)(self, value);
                Ok(())
            }
            None => Err(UnknownLimit {
                name: name.to_owned(),
            }),
        }
    }
}
