//! A filesystem under test.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;

use lithify_fskit::read::{Image, Inode, Verification};
use lithify_storage::{ReadAt, Storage};
use lithify_tree::{ContentSink, Timestamp, Tree, Xattrs};
use proptest::sample::Index;

/// A filesystem under test: its writer, its reader, the programs that referee, and what its format cannot hold.
pub trait Filesystem: Sized + 'static {
    /// Name the kernel has for it.
    const NAME: &'static str;
    /// Random images that only this crate reads.
    const CASES: u32;
    /// Random images that are mounted too.
    const MOUNTED_CASES: u32;
    /// Place of the superblock.
    const SUPERBLOCK: Range<usize>;

    /// Directories that every image has in its root: the writer adds them where a tree has none.
    const ADDED: &'static [&'static str] = &[];
    /// The most names of a file.
    const LINKS_MAX: u32 = u32::MAX;

    /// Options of data.
    type DataOptions: Default;
    /// Options of everything else.
    type ImageOptions: Default;
    /// The writer.
    type Writer<S: Storage>: ContentSink<Error = Self::WriteError>;
    /// Report of the writer.
    type Report: Debug;
    /// Error of the writer.
    type WriteError: Error + 'static;
    /// An image that was opened.
    type Image<R: ReadAt>: Image<Inode = Self::Inode, Error = Self::ReadError>;
    /// An inode of one.
    type Inode: Inode + Debug;
    /// Error of the reader.
    type ReadError: Error + 'static;
    /// Kind of problem that a check finds.
    type Problem: Error;
    /// Counts of a check that only this format has.
    type Counts: Debug;
    /// A choice among options, see [`choices`](Self::choices).
    type Choice: Debug;

    /// Starts an image.
    fn writer<S: Storage>(storage: S, options: Self::DataOptions) -> Self::Writer<S>;

    /// Finishes it.
    ///
    /// # Errors
    /// The writer's.
    fn finish_image<S: Storage>(
        writer: Self::Writer<S>,
        tree: &Tree,
        options: &Self::ImageOptions,
    ) -> Result<(S, Self::Report), Self::WriteError>;

    /// The image's size by the report.
    fn size(report: &Self::Report) -> u64;

    /// Opens an image.
    ///
    /// # Errors
    /// The reader's.
    fn open<R: ReadAt>(source: R) -> Result<Self::Image<R>, Self::ReadError>;

    /// Checks an image.
    ///
    /// # Errors
    /// The source fails.
    fn verify<R: ReadAt>(
        image: &Self::Image<R>,
    ) -> Result<Verification<Self::Problem, Self::Counts>, Self::ReadError>;

    /// Finds an inode by path.
    ///
    /// # Errors
    /// The reader's.
    fn lookup<R: ReadAt>(
        image: &Self::Image<R>,
        path: &[u8],
    ) -> Result<Option<Self::Inode>, Self::ReadError>;

    /// Reads a file's data.
    ///
    /// # Errors
    /// The reader's.
    fn read<R: ReadAt>(
        image: &Self::Image<R>,
        inode: &Self::Inode,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Self::ReadError>;

    /// Has other programs check an image that is sound; panics if they do not find it so.
    fn fsck(path: &Path);

    /// Has another program take all files out of an image into an empty directory. Returns whether there is one.
    #[must_use]
    fn extract(_image: &Path, _into: &Path) -> bool {
        false
    }

    /// What the other program that [`mutations`](crate::mutations) compare with says against an image, if anything.
    fn refusal(path: &Path) -> Option<String>;

    /// Options to try on a random image. A format with many picks some.
    fn choices(pick: Index) -> Vec<Self::Choice>;

    /// Other options that must give the same bytes.
    fn same_bytes(choice: &Self::Choice) -> Self::Choice;

    /// The options of a choice.
    fn options(choice: &Self::Choice) -> Self::DataOptions;

    /// The longest target of a symbolic link with the options of a choice.
    #[must_use]
    fn target_max(_: &Self::Choice) -> usize {
        4095
    }

    /// The I/O error of the writer's variant for those.
    fn io_error(error: &Self::WriteError) -> Option<&io::Error>;

    /// The attribute of the reader's variant for those by which overlayfs would see something else.
    fn overlay_xattr(error: &Self::ReadError) -> Option<&[u8]>;

    /// Tells whether all that can be checked is sound.
    #[must_use]
    fn is_sound(bytes: &[u8]) -> bool {
        Self::open(bytes)
            .is_ok_and(|image| Self::verify::<&[u8]>(&image).is_ok_and(|v| v.is_sound()))
    }

    /// Checks counts of an image in which no file shares data with another.
    fn check_counts(_: &Self::Counts) {}

    /// Checks the report of an image.
    fn check_report(_: &Self::Report) {}

    /// Makes checksums right again.
    fn repair(_: &mut [u8]) {}

    /// The part of an image whose damage shows most.
    fn metadata(_: &Self::Report, length: usize) -> Range<usize> {
        0..length
    }

    /// The number of names of an inode that has so many, as the format has it.
    #[must_use]
    fn links(nlink: u32, _is_directory: bool) -> u32 {
        nlink
    }

    /// A time as the format has it.
    #[must_use]
    fn time(time: Timestamp) -> Timestamp {
        time
    }

    /// The attributes that the format has.
    #[must_use]
    fn kept(xattrs: &Xattrs) -> Xattrs {
        xattrs.clone()
    }

    /// Of these, the ones that Linux shows.
    #[must_use]
    fn shown(xattrs: &Xattrs) -> Xattrs {
        Self::kept(xattrs)
    }
}
