//! How an image file is written.

use std::collections::BTreeMap;

use super::compression::Compression;
use super::kind::Kind;
use super::volume::VolumeOptions;

/// Where data of files may stand in an EROFS image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Ends of files share blocks with inodes.
    Packed,
    /// As a merged image over this one can refer to it or, of short files, copy it. Compressed data cannot be
    /// referred to at all.
    Merged,
    /// In blocks of its own, as programs of others need it that merge images (erofs-utils, `lib/rebuild.c`: nothing behind
    /// inodes).
    Aligned,
}

/// How an image file is written: everything its bytes depend on, besides what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filesystem {
    pub(crate) kind: Kind,
    pub(crate) compression: Option<Compression>,
    /// Bytes compressed together at most.
    pub(crate) block_size: Option<u32>,
    /// Where data may stand.
    pub(crate) placement: Placement,
    /// Whether attributes the filesystem cannot hold are left out.
    pub(crate) drop_xattrs: bool,
    /// What is decided for a writable filesystem.
    pub(crate) volume: VolumeOptions,
}

/// The options every kind of image file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FsOptions {
    /// How file data is compressed. Default: not in EROFS, `zstd` in squashfs.
    pub(crate) compression: Option<Compression>,
    /// Bytes compressed together at most; the default depends on the filesystem.
    pub(crate) block_size: Option<u32>,
    /// Whether attributes the filesystem cannot hold are left out.
    pub(crate) drop_xattrs: bool,
    /// What is decided for a writable filesystem.
    pub(crate) volume: VolumeOptions,
}

/// Returns options by name, those that are given.
fn given<const N: usize>(options: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    let options = options.into_iter();
    options
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

impl Filesystem {
    /// A filesystem image with all defaults.
    pub(crate) fn plain(kind: Kind) -> Self {
        Self {
            kind,
            compression: None,
            block_size: None,
            placement: Placement::Packed,
            drop_xattrs: false,
            volume: VolumeOptions::default(),
        }
    }

    /// The options by name, for keys and descriptions: only those that are not the default.
    pub(crate) fn options(&self) -> BTreeMap<String, String> {
        let compression = self.compression.map(|c| c.to_string());
        let block_size = self.block_size.map(|n| n.to_string());
        let small = (self.placement == Placement::Merged).then(|| "inline".to_owned());
        let xattrs = self.drop_xattrs.then(|| "drop".to_owned());
        let mut options = given([
            ("compression", compression),
            ("block_size", block_size),
            ("small_files", small),
            ("unsupported_xattrs", xattrs),
        ]);
        let volume = self.volume.given().into_iter();
        options.extend(volume.map(|(name, value)| (name.to_owned(), value)));
        options
    }
}
