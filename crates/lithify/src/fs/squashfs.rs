//! squashfs as a kind of filesystem.

use std::ops::Range;
use std::path::Path;

use lithify_squashfs::{Image, ImageOptions, Inode, ReadError, WriteError, Writer};
use lithify_tree::{ContentSink, LayerEntries, Metadata, Tree, TreePath, Xattrs};

use super::compression::Compression;
use super::format::{
    Checks, Entries, Format, FsError, ImageReader, ImageWriter, PlacedEntries, Source, Target,
    Written, check_compressed_size, placed,
};
use super::options::Filesystem;
use crate::error::BuildError;
use crate::image::OpenedFile;
use crate::session::budgets::Budgets;
use crate::{Error, ErrorKind, Session};

/// squashfs.
pub(super) struct Squashfs;

impl Squashfs {
    /// Returns the options of data, without what the bytes do not depend on.
    fn data(&self, filesystem: &Filesystem) -> Result<lithify_squashfs::DataOptions, Error> {
        let mut data = lithify_squashfs::DataOptions::default();
        if let Some(compression) = filesystem.compression {
            let text = compression.to_string();
            let refused = |e: lithify_squashfs::UnknownCompression| {
                Error::from(BuildError::Compression {
                    compression: text.clone(),
                    expected: e.to_string(),
                })
            };
            data.compression = text.parse().map_err(refused)?;
        }
        if let Some(size) = filesystem.block_size {
            data.block_size = size;
        }
        Ok(data)
    }
}

impl Format for Squashfs {
    fn writer_version(&self) -> u32 {
        lithify_squashfs::WRITER_VERSION
    }

    fn check_compression(&self, _: Compression) -> Result<(), Error> {
        Ok(())
    }

    fn compresses_unasked(&self) -> bool {
        true
    }

    fn check_block_size(&self, size: u32, _: Option<Compression>) -> Result<(), Error> {
        check_compressed_size(size)
    }

    fn key_options(
        &self,
        filesystem: &Filesystem,
        add: &mut dyn FnMut(&str, String),
    ) -> Result<(), Error> {
        let data = self.data(filesystem)?;
        add("compression", data.compression.to_string());
        add("block_size", data.block_size.to_string());
        Ok(())
    }

    fn unsupported_xattrs<'a>(&self, set: &'a Xattrs) -> Vec<&'a [u8]> {
        lithify_squashfs::unsupported_xattrs(set)
    }

    fn writer(
        &self,
        file: Target,
        filesystem: &Filesystem,
        session: &Session,
        budgets: &Budgets,
        _: &Path,
    ) -> Result<Box<dyn ImageWriter>, Error> {
        let mut data = self.data(filesystem)?;
        data.budget = budgets.output_bytes.clone();
        data.threads = session.threads();
        Ok(Box::new(SquashfsWriter(Writer::new(file, data))))
    }

    fn open(&self, source: Source, _: Option<Vec<Source>>) -> Result<Box<dyn ImageReader>, Error> {
        Ok(Box::new(Image::open(source)?))
    }
}

impl From<WriteError> for FsError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io { source, .. } => Self::Io(source),
            WriteError::Budget(e) => Self::Budget(e),
            e @ WriteError::XattrName { .. } => Self::Xattr(Box::new(e)),
            e => Self::Other(BuildError::WriteImage(Box::new(e))),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let kind = match error {
            ReadError::Io { .. } | ReadError::Length { .. } => ErrorKind::Io,
            ReadError::UnknownCompressor { .. } | ReadError::OverlayXattr { .. } => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::Verification,
        };
        Self::unreadable(kind, error)
    }
}

struct SquashfsWriter(Writer<Target>);

impl ContentSink for SquashfsWriter {
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

impl ImageWriter for SquashfsWriter {
    fn content_count(&self) -> u32 {
        0
    }

    fn repeat(&mut self, layer: &LayerEntries, _: Range<u32>) -> Result<u32, FsError> {
        // Each would be found to be there.
        self.0.count_repeated(layer.file_count());
        Ok(0)
    }

    fn finish_image(self: Box<Self>, tree: &Tree, _: &[u8]) -> Result<Written, FsError> {
        let (_, report) = self.0.finish_image(tree, &ImageOptions::default())?;
        Ok(Written {
            size: report.size,
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
            ("inodes", u64::from(self.superblock().inodes)),
            ("block_size", self.block_size()),
        ]
    }

    fn verify(&self) -> Result<Checks, Error> {
        let found = Self::verify(self)?;
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
}

fn opened<'a>(image: &'a Image<Source>, inode: &Inode) -> Result<OpenedFile<'a>, Error> {
    Ok(OpenedFile {
        size: inode.size(),
        segments: image.segments(inode)?,
        reader: Box::new(image.reader(inode)?),
    })
}
