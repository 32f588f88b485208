//! EROFS as a kind of filesystem.

use std::ops::Range;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_erofs::{Image, Inode, Storage, WriteError, Writer};
use lithify_tree::{ContentSink, LayerEntries, Metadata, Tree, TreePath, Xattrs};

use super::compression::{Compression, CompressionAlgorithm};
use super::format::{
    COMPRESSED_SIZES, Checks, Entries, Format, FsError, ImageReader, ImageWriter, PlacedEntries,
    Source, Target, Written, check_compressed_size, placed,
};
use super::options::{Filesystem, Placement};
use crate::error::BuildError;
use crate::image::OpenedFile;
use crate::output::scratch_file;
use crate::session::budgets::Budgets;
use crate::{CancelToken, Error, Session};

/// The longest file, in bytes, that a layer's image has behind its inode where a merged image has a copy. Alone it would
/// take a block: so up to three merged images over a layer, and many more of files of usual lengths, take less than that
/// together, and what they do not share stays small.
const SMALL_FILE_MAX: u32 = 1024;

/// EROFS.
pub(super) struct Erofs;

impl Erofs {
    /// Returns the options of data, without what the bytes do not depend on.
    fn data(&self, filesystem: &Filesystem) -> Result<lithify_erofs::DataOptions, Error> {
        let mut data = lithify_erofs::DataOptions::default();
        data.block_aligned = match filesystem.placement {
            Placement::Packed => false,
            Placement::Merged => filesystem.compression.is_none(),
            Placement::Aligned => true,
        };
        if filesystem.placement == Placement::Merged {
            data.small_file_max = SMALL_FILE_MAX;
        }
        if let Some(compression) = filesystem.compression {
            let mut compression = method(compression)?;
            // Layers mount on the kernels they mounted on.
            compression.inline = filesystem.placement == Placement::Packed;
            if let Some(size) = filesystem.block_size {
                compression.cluster_size = size;
            }
            data.compression = Some(compression);
        }
        Ok(data)
    }
}

/// Returns the compression as the writer takes it.
fn method(compression: Compression) -> Result<lithify_erofs::Compression, Error> {
    let method = match compression.algorithm {
        CompressionAlgorithm::Lz4 => lithify_erofs::CompressionMethod::Lz4,
        CompressionAlgorithm::Zstd => lithify_erofs::CompressionMethod::Zstd {
            level: compression.level.map_or(3, |level| level as i32),
        },
        _ => return Err(refused(compression)),
    };
    Ok(lithify_erofs::Compression::new(method))
}

fn refused(compression: Compression) -> Error {
    Error::from(BuildError::Compression {
        compression: compression.to_string(),
        expected: "EROFS images take none, lz4 and zstd".to_owned(),
    })
}

impl Format for Erofs {
    fn writer_version(&self) -> u32 {
        lithify_erofs::WRITER_VERSION
    }

    fn check_compression(&self, compression: Compression) -> Result<(), Error> {
        match compression.algorithm {
            CompressionAlgorithm::Gzip | CompressionAlgorithm::Xz => Err(refused(compression)),
            _ => Ok(()),
        }
    }

    fn check_block_size(&self, size: u32, compression: Option<Compression>) -> Result<(), Error> {
        match compression {
            Some(_) => check_compressed_size(size),
            None => Err(Error::from(BuildError::BlockSize {
                found: size,
                expected: COMPRESSED_SIZES,
            })),
        }
    }

    fn has_placement(&self) -> bool {
        true
    }

    fn key_options(
        &self,
        filesystem: &Filesystem,
        add: &mut dyn FnMut(&str, String),
    ) -> Result<(), Error> {
        let data = self.data(filesystem)?;
        let compression = match data.compression {
            None => "none".to_owned(),
            Some(compression) => {
                add("cluster_size", compression.cluster_size.to_string());
                add("inline", compression.inline.to_string());
                match compression.method {
                    lithify_erofs::CompressionMethod::Zstd { level } => format!("zstd:{level}"),
                    _ => "lz4".to_owned(),
                }
            }
        };
        add("compression", compression);
        add("block_aligned", data.block_aligned.to_string());
        add("small_file_max", data.small_file_max.to_string());
        Ok(())
    }

    fn unsupported_xattrs<'a>(&self, set: &'a Xattrs) -> Vec<&'a [u8]> {
        lithify_erofs::unsupported_xattrs(set)
    }

    fn writer(
        &self,
        file: Target,
        filesystem: &Filesystem,
        session: &Session,
        budgets: &Budgets,
        beside: &Path,
    ) -> Result<Box<dyn ImageWriter>, Error> {
        let mut data = self.data(filesystem)?;
        data.budget = budgets.output_bytes.clone();
        data.spill = Some(spill(beside.to_path_buf(), session.cancel.clone()));
        if let Some(compression) = &mut data.compression {
            compression.threads = session.threads();
        }
        Ok(Box::new(ErofsWriter(Writer::new(file, data))))
    }

    fn open(
        &self,
        source: Source,
        devices: Option<Vec<Source>>,
    ) -> Result<Box<dyn ImageReader>, Error> {
        let image = match devices {
            None => Image::open(source)?,
            Some(devices) => Image::open_with_devices(source, devices)?,
        };
        Ok(Box::new(image))
    }
}

/// Makes the scratch file, once it is needed.
fn spill(beside: PathBuf, cancel: CancelToken) -> lithify_erofs::SpillFactory {
    Box::new(move || {
        let file = Checked::new(scratch_file(Some(&beside))?, &cancel);
        Ok(Box::new(file) as Box<dyn Storage + Send>)
    })
}

impl From<WriteError> for FsError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io { source, .. } => Self::Io(source),
            WriteError::Budget(e) => Self::Budget(e),
            e @ (WriteError::XattrName { .. }
            | WriteError::XattrValue { .. }
            | WriteError::XattrCount { .. }) => Self::Xattr(Box::new(e)),
            e => Self::Other(BuildError::WriteImage(Box::new(e))),
        }
    }
}

struct ErofsWriter(Writer<Target>);

impl ContentSink for ErofsWriter {
    type Error = FsError;

    fn begin(
        &mut self,
        size: u64,
        segments: Option<&[lithify_tree::DataSegment]>,
    ) -> Result<(), FsError> {
        Ok(self.0.begin(size, segments)?)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), FsError> {
        Ok(self.0.write(data)?)
    }

    fn finish(&mut self) -> Result<lithify_tree::ContentId, FsError> {
        Ok(ContentSink::finish(&mut self.0)?)
    }
}

impl ImageWriter for ErofsWriter {
    fn content_count(&self) -> u32 {
        self.0.content_count()
    }

    fn repeat(&mut self, _: &LayerEntries, contents: Range<u32>) -> Result<u32, FsError> {
        Ok(self.0.repeat(contents)?)
    }

    fn finish_image(self: Box<Self>, tree: &Tree, seed: &[u8]) -> Result<Written, FsError> {
        let mut options = lithify_erofs::ImageOptions::default();
        options.uuid_seed = seed.to_vec();
        let (_, report) = self.0.finish_image(tree, &options)?;
        let inodes = u64::from(report.compact_inodes) + u64::from(report.extended_inodes);
        Ok(Written {
            size: report.size,
            statistics: vec![
                ("inodes", inodes),
                ("padding_bytes", report.padding_bytes),
                ("data_bytes", report.data_bytes),
                ("metadata_bytes", report.metadata_bytes),
                ("moved_bytes", report.moved_bytes),
            ],
        })
    }
}

impl ImageReader for Image<Source> {
    fn entries(&self) -> PlacedEntries<'_> {
        placed(Self::entries(self))
    }

    fn layer_entries(&self, describes_root: bool) -> Entries<'_> {
        let entries = self.overlay_entries(describes_root);
        Box::new(entries.map(|entry| Ok(entry?.0)))
    }

    fn root_metadata(&self) -> Result<Metadata, Error> {
        let root = self.overlay_entry(TreePath::root(), &self.root()?)?;
        Ok(root.entry.metadata)
    }

    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("inodes", self.superblock().inodes),
            ("block_size", self.block_size()),
            ("devices", self.devices().len() as u64),
        ]
    }

    fn verify(&self) -> Result<Checks, Error> {
        let found = self.verify_data()?;
        Ok(Checks {
            inodes: found.inodes,
            problems: found.problems.iter().map(ToString::to_string).collect(),
            more_problems: found.more_problems,
        })
    }

    fn file(&self, path: &[u8]) -> Result<Option<OpenedFile<'_>>, Error> {
        let inode = self.lookup(path)?;
        inode.map(|inode| opened(self, &inode)).transpose()
    }

    fn file_at(&self, place: u64) -> Result<OpenedFile<'_>, Error> {
        opened(self, &lithify_fskit::read::Image::inode(self, place)?)
    }

    fn read(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.lookup(path)? {
            Some(inode) => Ok(Some(self.read_to_vec(&inode, u64::MAX)?)),
            None => Ok(None),
        }
    }

    fn as_erofs(&self) -> Option<&lithify_erofs::Image<Source>> {
        Some(self)
    }
}

fn opened<'a>(image: &'a Image<Source>, inode: &Inode) -> Result<OpenedFile<'a>, Error> {
    Ok(OpenedFile {
        size: inode.size(),
        segments: image.segments(inode)?,
        reader: Box::new(image.reader(inode)),
    })
}
