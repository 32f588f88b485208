//! What a kind of filesystem has to bring to be a target: a writer of its images, a reader, and its options.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use lithify_cancel::{BudgetExceeded, Checked};
use lithify_fskit::read::Inode;
use lithify_storage::Shifted;
use lithify_tree::{ContentSink, Entry, LayerEntries, Metadata, Timestamp, Tree, Xattrs};

use super::compression::Compression;
use super::disk::Extents;
use super::options::Filesystem;
use super::volume::VolumeOptions;
use crate::error::{BuildError, Operation};
use crate::image::OpenedFile;
use crate::session::budgets::Budgets;
use crate::{Error, Session};

/// The file an image is written to, from where it begins, as long as the work goes on.
pub(super) type Target = Checked<Shifted<File>>;

/// The bytes of an image, as long as the work goes on.
pub(crate) type Source = Checked<Arc<Extents>>;

/// A kind of filesystem.
pub(super) trait Format: Sync {
    /// Returns the version of the bytes the writer makes.
    fn writer_version(&self) -> u32;

    /// Checks that data can be compressed so.
    fn check_compression(&self, compression: Compression) -> Result<(), Error>;

    /// Whether data is compressed where nothing is said of it.
    fn compresses_unasked(&self) -> bool {
        false
    }

    /// Checks a block size, for data that is compressed so.
    fn check_block_size(&self, size: u32, compression: Option<Compression>) -> Result<(), Error>;

    /// Checks what is asked of a filesystem that is written to, as far as it does not depend on what is in it.
    fn check_volume(&self, _: &VolumeOptions, _: Option<u32>) -> Result<(), Error> {
        Ok(())
    }

    /// Whether images differ by where data may stand in them.
    fn has_placement(&self) -> bool {
        false
    }

    /// Gives everything the bytes depend on besides the content, defaults too, name by name.
    fn key_options(
        &self,
        filesystem: &Filesystem,
        add: &mut dyn FnMut(&str, String),
    ) -> Result<(), Error>;

    /// Returns the names of attributes an image cannot hold.
    fn unsupported_xattrs<'a>(&self, set: &'a Xattrs) -> Vec<&'a [u8]>;

    /// Starts an image in an empty file. Data that has to wait goes to a scratch file in the directory of `beside`.
    fn writer(
        &self,
        file: Target,
        filesystem: &Filesystem,
        session: &Session,
        budgets: &Budgets,
        beside: &Path,
    ) -> Result<Box<dyn ImageWriter>, Error>;

    /// Opens an image, and the images it refers to if they are not behind it.
    fn open(
        &self,
        source: Source,
        devices: Option<Vec<Source>>,
    ) -> Result<Box<dyn ImageReader>, Error>;
}

/// The sizes of what is compressed together.
pub(super) const COMPRESSED_SIZES: &str =
    "a power of two from 4 KiB to 1 MiB, for data that is compressed";

/// Checks the size of what is compressed together.
pub(super) fn check_compressed_size(size: u32) -> Result<(), Error> {
    match size.is_power_of_two() && (4096..=1 << 20).contains(&size) {
        true => Ok(()),
        false => Err(Error::from(BuildError::BlockSize {
            found: size,
            expected: COMPRESSED_SIZES,
        })),
    }
}

/// An image being written: takes file data, then the tree.
pub(super) trait ImageWriter: ContentSink<Error = FsError> + Send {
    /// Returns the number of the next content, where contents are numbered one after the other.
    fn content_count(&self) -> u32;

    /// Takes the data of a layer once more. Returns what is to be added to the numbers of its contents.
    fn repeat(&mut self, layer: &LayerEntries, contents: Range<u32>) -> Result<u32, FsError>;

    /// Writes everything but the data. `seed` identifies the data.
    fn finish_image(self: Box<Self>, tree: &Tree, seed: &[u8]) -> Result<Written, FsError>;
}

/// An image that was written.
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) statistics: Vec<(&'static str, u64)>,
}

/// Entries as they are read.
pub(super) type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, Error>> + 'a>;

/// Entries as they are read, with the places of their inodes.
pub(super) type PlacedEntries<'a> = Box<dyn Iterator<Item = Result<(Entry, u64), Error>> + 'a>;

/// Returns the entries of an image with the places of their inodes.
pub(super) fn placed<'a, I: Inode, E: Into<Error>>(
    entries: impl Iterator<Item = Result<(Entry, I), E>> + 'a,
) -> PlacedEntries<'a> {
    Box::new(entries.map(|entry| {
        let (entry, inode) = entry.map_err(Into::into)?;
        Ok((entry, inode.place()))
    }))
}

/// An opened image.
pub(super) trait ImageReader: fmt::Debug + Send + Sync {
    /// Returns all names with their metadata, depth first, and the places of their inodes.
    fn entries(&self) -> PlacedEntries<'_>;

    /// Returns all entries of an overlay layer as a layer of an image has them. The root directory's own only comes with
    /// `describes_root`.
    fn layer_entries(&self, describes_root: bool) -> Entries<'_>;

    /// Returns what the root directory's inode says, as a layer of an image has it.
    fn root_metadata(&self) -> Result<Metadata, Error>;

    /// Returns the bytes of the filesystem.
    fn size(&self) -> u64;

    /// Returns the numbers the superblock says.
    fn statistics(&self) -> Vec<(&'static str, u64)>;

    /// Checks the structure, and data where the filesystem has something to check it by.
    fn verify(&self) -> Result<Checks, Error>;

    /// Returns the time that an inode of the image says if it was given this one.
    fn stored_time(&self, time: Timestamp) -> Timestamp {
        time
    }

    /// Opens a file; symbolic links on the way are not followed. `None` if nothing is there.
    fn file(&self, path: &[u8]) -> Result<Option<OpenedFile<'_>>, Error>;

    /// Opens the file whose inode is in a place: as it came with its entry.
    fn file_at(&self, place: u64) -> Result<OpenedFile<'_>, Error>;

    /// Returns the data of a file, as [`file`](Self::file) finds it.
    fn read(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Returns the image if it is an EROFS image.
    fn as_erofs(&self) -> Option<&lithify_erofs::Image<Source>> {
        None
    }
}

/// The outcome of a check.
pub(super) struct Checks {
    pub(super) inodes: u64,
    /// The first problems, in words.
    pub(super) problems: Vec<String>,
    pub(super) more_problems: u64,
}

/// Why an image cannot be written.
#[derive(Debug)]
pub(crate) enum FsError {
    /// The file cannot be written.
    Io(io::Error),
    /// The output would be too large.
    Budget(BudgetExceeded),
    /// An attribute the filesystem cannot hold.
    Xattr(Box<dyn StdError + Send + Sync>),
    /// Anything else.
    Other(BuildError),
}

impl FsError {
    /// The error of this crate, for what happened to the file at `path`.
    pub(crate) fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(source) => Error::output(Operation::Write, path, source),
            Self::Budget(e) => Error::output_budget(e),
            Self::Xattr(attribute) => Error::from(BuildError::UnsupportedXattr { attribute }),
            Self::Other(e) => e.into(),
        }
    }
}
