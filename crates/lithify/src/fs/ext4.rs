//! ext4 as a kind of filesystem.

use std::ops::Range;
use std::path::Path;

use lithify_ext4::{
    BlockSize, DataOptions, FinishReport, Image, ImageOptions, Inode, ReadError, WriteError, Writer,
};
use lithify_tree::{ContentSink, LayerEntries, Metadata, Timestamp, Tree, TreePath, Xattrs};

use super::compression::{Compression, CompressionAlgorithm};
use super::format::{
    Checks, Entries, Format, FsError, ImageReader, ImageWriter, PlacedEntries, Source, Target,
    Written, placed,
};
use super::options::Filesystem;
use super::volume::VolumeOptions;
use crate::error::BuildError;
use crate::image::OpenedFile;
use crate::session::budgets::Budgets;
use crate::{Error, ErrorKind, Session};

/// ext4.
pub(super) struct Ext4;

/// Returns the options of data.
fn data(volume: &VolumeOptions, block_size: Option<u32>) -> Result<DataOptions, Error> {
    let mut data = DataOptions::default();
    if let Some(bytes) = block_size {
        data.block_size = checked_block_size(bytes)?;
    }
    data.size = volume.size;
    data.inodes = volume.inodes;
    if let Some(bytes) = volume.bytes_per_inode {
        data.bytes_per_inode = bytes;
    }
    Ok(data)
}

/// Returns the options of everything else.
fn image(volume: &VolumeOptions) -> ImageOptions {
    let mut image = ImageOptions::default();
    image.label = volume.label.clone().into_bytes();
    image.journal = volume.journal;
    image.free = volume.free;
    image
}

fn checked_block_size(bytes: u32) -> Result<BlockSize, Error> {
    let sizes = [BlockSize::Small, BlockSize::Medium, BlockSize::Large];
    let found = sizes.into_iter().find(|size| size.bytes() == bytes);
    found.ok_or_else(|| {
        Error::from(BuildError::BlockSize {
            found: bytes,
            expected: "1K, 2K or 4K in an ext4 filesystem",
        })
    })
}

/// The error for options that make no filesystem. Nothing was written yet: what is wrong is what was asked for.
fn refused(error: WriteError) -> Error {
    Error::from(BuildError::Volume(Box::new(error)))
}

impl Format for Ext4 {
    fn writer_version(&self) -> u32 {
        lithify_ext4::WRITER_VERSION
    }

    fn check_compression(&self, compression: Compression) -> Result<(), Error> {
        match compression.algorithm {
            CompressionAlgorithm::None => Ok(()),
            _ => Err(Error::from(BuildError::Compression {
                compression: compression.to_string(),
                expected: "ext4 has none".to_owned(),
            })),
        }
    }

    fn check_block_size(&self, size: u32, _: Option<Compression>) -> Result<(), Error> {
        checked_block_size(size).map(drop)
    }

    fn check_volume(&self, volume: &VolumeOptions, block_size: Option<u32>) -> Result<(), Error> {
        let checked = image(volume).check(&data(volume, block_size)?);
        checked.map_err(refused)
    }

    fn key_options(
        &self,
        filesystem: &Filesystem,
        add: &mut dyn FnMut(&str, String),
    ) -> Result<(), Error> {
        let data = data(&filesystem.volume, filesystem.block_size)?;
        add("block_size", data.block_size.bytes().to_string());
        add("bytes_per_inode", data.bytes_per_inode.to_string());
        for (name, value) in filesystem.volume.given() {
            add(name, value);
        }
        Ok(())
    }

    fn unsupported_xattrs<'a>(&self, set: &'a Xattrs) -> Vec<&'a [u8]> {
        lithify_ext4::unsupported_xattrs(set)
    }

    fn writer(
        &self,
        file: Target,
        filesystem: &Filesystem,
        _: &Session,
        budgets: &Budgets,
        _: &Path,
    ) -> Result<Box<dyn ImageWriter>, Error> {
        let mut data = data(&filesystem.volume, filesystem.block_size)?;
        data.budget = budgets.output_bytes.clone();
        Ok(Box::new(Ext4Writer {
            writer: Writer::new(file, data).map_err(refused)?,
            options: image(&filesystem.volume),
        }))
    }

    fn open(&self, source: Source, _: Option<Vec<Source>>) -> Result<Box<dyn ImageReader>, Error> {
        Ok(Box::new(Image::open(source)?))
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::Io { .. } | ReadError::Length { .. } => ErrorKind::Io,
            ReadError::Features { .. }
            | ReadError::JournalDevice
            | ReadError::Encrypted { .. }
            | ReadError::OverlayXattr { .. }
            | ReadError::Type { .. }
            | ReadError::Limit { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Verification,
        };
        Self::unreadable(kind, error)
    }
}

impl From<WriteError> for FsError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io { source, .. } => Self::Io(source),
            WriteError::Budget(e) => Self::Budget(e),
            e @ (WriteError::XattrName { .. }
            | WriteError::Acl { .. }
            | WriteError::Xattrs { .. }) => Self::Xattr(Box::new(e)),
            e @ (WriteError::TooSmall { .. }
            | WriteError::SizeNeeded { .. }
            | WriteError::TooFewInodes { .. }
            | WriteError::InodesAsked { .. }
            | WriteError::Journal { .. }
            | WriteError::Label { .. }) => Self::Other(BuildError::Volume(Box::new(e))),
            e => Self::Other(BuildError::WriteImage(Box::new(e))),
        }
    }
}

struct Ext4Writer {
    writer: Writer<Target>,
    options: ImageOptions,
}

impl ContentSink for Ext4Writer {
    type Error = FsError;

    fn begin(
        &mut self,
        size: u64,
        segments: Option<&[lithify_tree::DataSegment]>,
    ) -> Result<(), FsError> {
        Ok(self.writer.begin(size, segments)?)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), FsError> {
        Ok(self.writer.write(data)?)
    }

    fn finish(&mut self) -> Result<lithify_tree::ContentId, FsError> {
        Ok(ContentSink::finish(&mut self.writer)?)
    }
}

impl ImageWriter for Ext4Writer {
    fn content_count(&self) -> u32 {
        self.writer.content_count()
    }

    fn repeat(&mut self, _: &LayerEntries, contents: Range<u32>) -> Result<u32, FsError> {
        Ok(self.writer.repeat(contents)?)
    }

    fn finish_image(mut self: Box<Self>, tree: &Tree, seed: &[u8]) -> Result<Written, FsError> {
        self.options.uuid_seed = seed.to_vec();
        let (_, report) = self.writer.finish_image(tree, &self.options)?;
        Ok(Written {
            size: report.size,
            statistics: statistics(&report),
        })
    }
}

fn statistics(report: &FinishReport) -> Vec<(&'static str, u64)> {
    vec![
        ("inodes", report.inodes.into()),
        ("free_blocks", report.free_blocks),
        ("data_bytes", report.data_bytes),
        ("metadata_bytes", report.metadata_bytes),
        ("journal_bytes", report.journal_bytes),
        ("moved_bytes", report.moved_bytes),
        ("clamped_times", report.clamped_times),
    ]
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
        let superblock = self.superblock();
        vec![
            ("inodes", superblock.inodes.into()),
            ("free_inodes", superblock.free_inodes.into()),
            ("block_size", self.block_size()),
            ("free_blocks", superblock.free_blocks),
            ("replayed_journal", self.is_replayed().into()),
        ]
    }

    fn verify(&self) -> Result<Checks, Error> {
        let found = Self::verify(self)?;
        Ok(Checks {
            inodes: found.inodes,
            problems: found
                .problems
                .iter()
                .map(|problem| format!("{problem}; `e2fsck -f` mends what can be mended"))
                .collect(),
            more_problems: found.more_problems,
        })
    }

    fn stored_time(&self, time: Timestamp) -> Timestamp {
        Self::stored_time(self, time)
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
}

fn opened<'a>(image: &'a Image<Source>, inode: &Inode) -> Result<OpenedFile<'a>, Error> {
    Ok(OpenedFile {
        size: inode.size(),
        segments: image.segments(inode)?,
        reader: Box::new(image.reader(inode)?),
    })
}
