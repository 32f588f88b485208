//! A filesystem image being written, of whichever kind: what flat images and layers have in common.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_erofs::Storage;
use lithify_tree::{ContentId, ContentSink, DataSegment, LayerEntries, Tree};

use super::Kind;
use super::compression::{Compression, CompressionAlgorithm};
use super::xattrs::drop_unsupported;
use crate::CancelToken;
use crate::Error;
use crate::error::{BuildError, Operation};
use crate::image::Dropped;
use crate::image::LayerSink;
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;

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

/// The longest file, in bytes, that a layer's image has behind its inode where a merged image has a copy. Alone it would
/// take a block: so up to three merged images over a layer, and many more of files of usual lengths, take less than that
/// together, and what they do not share stays small.
const SMALL_FILE_MAX: u32 = 1024;

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
}

/// The options every kind of image file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FsOptions {
    /// How file data is compressed. Default: not in EROFS, `zstd` in squashfs.
    pub(crate) compression: Option<Compression>,
    /// Bytes compressed together at most; the default depends on the filesystem.
    pub(crate) block_size: Option<u32>,
    /// Whether attributes the filesystem cannot hold are left out.
    pub(crate) drop_xattrs: bool,
}

/// Returns options by name, those that are given.
fn given<const N: usize>(options: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    let options = options.into_iter();
    options
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

impl Filesystem {
    /// What the options ask for; combinations that do not exist are refused.
    pub(crate) fn new(kind: Kind, placement: Placement, options: FsOptions) -> Result<Self, Error> {
        let compression = options
            .compression
            .filter(|c| kind != Kind::Erofs || c.algorithm != CompressionAlgorithm::None);
        if let Some(compression) = compression {
            compression.check(kind)?;
        }
        if let Some(size) = options.block_size {
            let (compressed, range) = match kind {
                Kind::Erofs => (compression.is_some(), 4096..=1 << 20),
                Kind::Squashfs => (true, 4096..=1 << 20),
            };
            if !compressed || !size.is_power_of_two() || !range.contains(&size) {
                return Err(Error::from(BuildError::BlockSize { found: size }));
            }
        }
        Ok(Self {
            kind,
            compression,
            block_size: options.block_size,
            placement: match kind {
                Kind::Erofs => placement,
                Kind::Squashfs => Placement::Packed,
            },
            drop_xattrs: options.drop_xattrs,
        })
    }

    /// A filesystem image with all defaults.
    pub(crate) fn plain(kind: Kind) -> Self {
        Self {
            kind,
            compression: None,
            block_size: None,
            placement: Placement::Packed,
            drop_xattrs: false,
        }
    }

    /// The options by name, for keys and descriptions: only those that are not the default.
    pub(crate) fn options(&self) -> BTreeMap<String, String> {
        let compression = self.compression.map(|c| c.to_string());
        let block_size = self.block_size.map(|n| n.to_string());
        let small = (self.placement == Placement::Merged).then(|| "inline".to_owned());
        let xattrs = self.drop_xattrs.then(|| "drop".to_owned());
        given([
            ("compression", compression),
            ("block_size", block_size),
            ("small_files", small),
            ("unsupported_xattrs", xattrs),
        ])
    }
}

impl Filesystem {
    /// Returns everything the bytes of an image depend on besides its content, defaults too, for a store's key.
    pub(crate) fn key_options(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut options = BTreeMap::new();
        let mut add = |name: &str, value: String| options.insert(name.to_owned(), value);
        match self.kind {
            Kind::Erofs => {
                let data = self.erofs_data()?;
                let compression = match data.compression {
                    None => "none".to_owned(),
                    Some(compression) => {
                        add("cluster_size", compression.cluster_size.to_string());
                        add("inline", compression.inline.to_string());
                        match compression.method {
                            lithify_erofs::CompressionMethod::Zstd { level } => {
                                format!("zstd:{level}")
                            }
                            _ => "lz4".to_owned(),
                        }
                    }
                };
                add("compression", compression);
                add("block_aligned", data.block_aligned.to_string());
                add("small_file_max", data.small_file_max.to_string());
            }
            Kind::Squashfs => {
                let data = self.squashfs_data()?;
                add("compression", data.compression.to_string());
                add("block_size", data.block_size.to_string());
            }
        }
        add("drop_xattrs", self.drop_xattrs.to_string());
        Ok(options)
    }

    /// Returns the options of data in an EROFS image, without what its bytes do not depend on.
    fn erofs_data(&self) -> Result<lithify_erofs::DataOptions, Error> {
        let mut data = lithify_erofs::DataOptions::default();
        data.block_aligned = match self.placement {
            Placement::Packed => false,
            Placement::Merged => self.compression.is_none(),
            Placement::Aligned => true,
        };
        if self.placement == Placement::Merged {
            data.small_file_max = SMALL_FILE_MAX;
        }
        if let Some(compression) = self.compression {
            let mut compression = compression.erofs()?;
            // Layers mount on the kernels they mounted on.
            compression.inline = self.placement == Placement::Packed;
            if let Some(size) = self.block_size {
                compression.cluster_size = size;
            }
            data.compression = Some(compression);
        }
        Ok(data)
    }

    /// Returns the options of data in a squashfs image, without what its bytes do not depend on.
    fn squashfs_data(&self) -> Result<lithify_squashfs::DataOptions, Error> {
        let mut data = lithify_squashfs::DataOptions::default();
        if let Some(compression) = self.compression {
            data.compression = compression.squashfs()?;
        }
        if let Some(size) = self.block_size {
            data.block_size = size;
        }
        Ok(data)
    }
}

/// Takes file data, then the tree, as long as the work goes on.
pub(crate) enum FsWriter {
    Erofs(Box<lithify_erofs::Writer<Checked<File>>>),
    Squashfs(Box<lithify_squashfs::Writer<Checked<File>>>),
}

/// Why an image cannot be written.
#[derive(Debug)]
pub(crate) enum FsError {
    Erofs(lithify_erofs::WriteError),
    Squashfs(lithify_squashfs::WriteError),
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct FsReport {
    pub(crate) size: u64,
    /// Attributes that were left out.
    pub(crate) dropped: Dropped,
    pub(crate) statistics: Vec<(&'static str, u64)>,
}

impl FsError {
    /// The error of this crate, for what happened to the file at `path`.
    pub(crate) fn at(self, path: &Path) -> Error {
        match self {
            Self::Erofs(lithify_erofs::WriteError::Io { source, .. })
            | Self::Squashfs(lithify_squashfs::WriteError::Io { source, .. }) => {
                Error::output(Operation::Write, path, source)
            }
            Self::Erofs(
                e @ (lithify_erofs::WriteError::XattrName { .. }
                | lithify_erofs::WriteError::XattrValue { .. }
                | lithify_erofs::WriteError::XattrCount { .. }),
            ) => Error::from(BuildError::UnsupportedXattr {
                attribute: Box::new(e),
            }),
            Self::Erofs(lithify_erofs::WriteError::Budget(e))
            | Self::Squashfs(lithify_squashfs::WriteError::Budget(e)) => Error::output_budget(e),
            Self::Erofs(e) => Error::from(BuildError::WriteErofs(Box::new(e))),
            Self::Squashfs(e @ lithify_squashfs::WriteError::XattrName { .. }) => {
                Error::from(BuildError::UnsupportedXattr {
                    attribute: Box::new(e),
                })
            }
            Self::Squashfs(e) => Error::from(BuildError::WriteSquashfs(Box::new(e))),
        }
    }
}

impl FsWriter {
    /// Starts an image in an empty file. Data that has to wait goes to a scratch file in the directory of `beside`.
    pub(crate) fn new(
        file: File,
        filesystem: &Filesystem,
        session: &Session,
        budgets: &Budgets,
        beside: &Path,
    ) -> Result<Self, Error> {
        let file = Checked::new(file, &session.cancel);
        Ok(match filesystem.kind {
            Kind::Erofs => {
                let mut data = filesystem.erofs_data()?;
                data.budget = budgets.output_bytes.clone();
                data.spill = Some(spill(beside.to_path_buf(), session.cancel.clone()));
                if let Some(compression) = &mut data.compression {
                    compression.threads = session.threads();
                }
                Self::Erofs(Box::new(lithify_erofs::Writer::new(file, data)))
            }
            Kind::Squashfs => {
                let mut data = filesystem.squashfs_data()?;
                data.budget = budgets.output_bytes.clone();
                data.threads = session.threads();
                Self::Squashfs(Box::new(lithify_squashfs::Writer::new(file, data)))
            }
        })
    }

    /// Writes everything but the data. `seed` identifies the data.
    pub(crate) fn finish(
        self,
        filesystem: &Filesystem,
        tree: &mut Tree,
        seed: &[u8],
    ) -> Result<FsReport, FsError> {
        let dropped = match filesystem.drop_xattrs {
            true => drop_unsupported(tree, filesystem.kind),
            false => Dropped::new(),
        };
        match self {
            Self::Erofs(writer) => {
                let mut options = lithify_erofs::ImageOptions::default();
                options.uuid_seed = seed.to_vec();
                let (_, report) = writer
                    .finish_image(tree, &options)
                    .map_err(FsError::Erofs)?;
                let inodes = u64::from(report.compact_inodes) + u64::from(report.extended_inodes);
                Ok(FsReport {
                    size: report.size,
                    dropped,
                    statistics: vec![
                        ("inodes", inodes),
                        ("padding_bytes", report.padding_bytes),
                        ("data_bytes", report.data_bytes),
                        ("metadata_bytes", report.metadata_bytes),
                        ("moved_bytes", report.moved_bytes),
                    ],
                })
            }
            Self::Squashfs(writer) => {
                let options = lithify_squashfs::ImageOptions::default();
                let (_, report) = writer
                    .finish_image(tree, &options)
                    .map_err(FsError::Squashfs)?;
                Ok(FsReport {
                    size: report.size,
                    dropped,
                    statistics: vec![
                        ("inodes", u64::from(report.inodes)),
                        ("data_bytes", report.data_bytes),
                        ("metadata_bytes", report.metadata_bytes),
                        ("moved_bytes", report.moved_bytes),
                        ("duplicates", report.duplicates),
                        ("clamped_times", report.clamped_times),
                    ],
                })
            }
        }
    }
}

/// Makes the scratch file, once it is needed.
fn spill(beside: PathBuf, cancel: CancelToken) -> lithify_erofs::SpillFactory {
    Box::new(move || {
        let file = Checked::new(scratch_file(Some(&beside))?, &cancel);
        Ok(Box::new(file) as Box<dyn Storage + Send>)
    })
}

impl ContentSink for FsWriter {
    type Error = FsError;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), FsError> {
        match self {
            Self::Erofs(writer) => writer.begin(size, segments).map_err(FsError::Erofs),
            Self::Squashfs(writer) => writer.begin(size, segments).map_err(FsError::Squashfs),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), FsError> {
        match self {
            Self::Erofs(writer) => writer.write(data).map_err(FsError::Erofs),
            Self::Squashfs(writer) => writer.write(data).map_err(FsError::Squashfs),
        }
    }

    fn finish(&mut self) -> Result<ContentId, FsError> {
        match self {
            Self::Erofs(writer) => ContentSink::finish(&mut **writer).map_err(FsError::Erofs),
            Self::Squashfs(writer) => ContentSink::finish(&mut **writer).map_err(FsError::Squashfs),
        }
    }
}

impl LayerSink for FsWriter {
    fn content_count(&self) -> u32 {
        match self {
            Self::Erofs(writer) => writer.content_count(),
            Self::Squashfs(_) => 0,
        }
    }

    fn repeat(&mut self, layer: &LayerEntries, contents: Range<u32>) -> Result<u32, FsError> {
        match self {
            Self::Erofs(writer) => writer.repeat(contents).map_err(FsError::Erofs),
            // Each would be found to be there.
            Self::Squashfs(writer) => {
                writer.count_repeated(layer.file_count());
                Ok(0)
            }
        }
    }
}
