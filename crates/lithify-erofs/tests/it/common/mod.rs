//! EROFS for the suite all filesystems have, and its tools for the tests only this one has.
#![allow(unreachable_pub, reason = "shared by test programs")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use lithify_erofs::{
    DataCounts, DataOptions, FinishReport, Image, ImageOptions, Inode, ProblemKind, ReadAt,
    ReadError, Storage, WriteError, Writer,
};
use lithify_fskit::read::Verification;
use lithify_fstests::Filesystem;
use lithify_testkit::{require, run};
use lithify_tree::{Tree, Xattrs};
use proptest::sample::Index;

pub use lithify_fstests::{Content, Expected, acl, metadata, pattern, with_xattrs};

/// The filesystem of this crate.
#[derive(Debug)]
pub struct Erofs;

pub type Builder<S> = lithify_fstests::Builder<Erofs, S>;
pub type Built = lithify_fstests::Built<Erofs>;

impl Filesystem for Erofs {
    const NAME: &'static str = "erofs";
    const CASES: u32 = 300;
    const MOUNTED_CASES: u32 = 60;
    const SUPERBLOCK: Range<usize> = 1024..1152;

    type DataOptions = DataOptions;
    type ImageOptions = ImageOptions;
    type Writer<S: Storage> = Writer<S>;
    type Report = FinishReport;
    type WriteError = WriteError;
    type Image<R: ReadAt> = Image<R>;
    type Inode = Inode;
    type ReadError = ReadError;
    type Problem = ProblemKind;
    type Counts = DataCounts;
    type Choice = Choice;

    fn writer<S: Storage>(storage: S, options: DataOptions) -> Writer<S> {
        Writer::new(storage, options)
    }

    fn finish_image<S: Storage>(
        writer: Writer<S>,
        tree: &Tree,
        options: &ImageOptions,
    ) -> Result<(S, FinishReport), WriteError> {
        writer.finish_image(tree, options)
    }

    fn size(report: &FinishReport) -> u64 {
        report.size
    }

    fn open<R: ReadAt>(source: R) -> Result<Image<R>, ReadError> {
        Image::open(source)
    }

    fn verify<R: ReadAt>(
        image: &Image<R>,
    ) -> Result<Verification<ProblemKind, DataCounts>, ReadError> {
        image.verify()
    }

    fn lookup<R: ReadAt>(image: &Image<R>, path: &[u8]) -> Result<Option<Inode>, ReadError> {
        image.lookup(path)
    }

    fn read<R: ReadAt>(
        image: &Image<R>,
        inode: &Inode,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, ReadError> {
        image.read(inode, offset, buffer)
    }

    fn io_error(error: &WriteError) -> Option<&io::Error> {
        match error {
            WriteError::Io { source, .. } => Some(source),
            _ => None,
        }
    }

    fn overlay_xattr(error: &ReadError) -> Option<&[u8]> {
        match error {
            ReadError::OverlayXattr { name, .. } => Some(name),
            _ => None,
        }
    }

    fn check_counts(counts: &DataCounts) {
        assert_eq!(counts.shared_data_bytes, 0);
    }

    fn is_sound(bytes: &[u8]) -> bool {
        Image::open(bytes).is_ok_and(|image| image.verify_data().is_ok_and(|v| v.is_sound()))
    }

    fn fsck(path: &Path) {
        fsck(path);
    }

    fn refusal(path: &Path) -> Option<String> {
        let output = run::command("fsck.erofs").arg(path).output().unwrap();
        (!output.status.success()).then(|| {
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            String::from_utf8_lossy(&said).into_owned()
        })
    }

    /// Makes the superblock's checksum right again.
    fn repair(bytes: &mut [u8]) {
        bytes[1028..1032].fill(0);
        let mut sum = !0_u32;
        for &byte in &bytes[1024..4096] {
            sum ^= u32::from(byte);
            for _ in 0..8 {
                sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
            }
        }
        bytes[1028..1032].copy_from_slice(&sum.to_le_bytes());
    }

    fn choices(_: Index) -> Vec<Choice> {
        [None, Some(0), Some(1024)]
            .map(|aligned| Choice {
                aligned,
                spilling: false,
            })
            .into()
    }

    /// Wherever tails are kept.
    fn same_bytes(choice: &Choice) -> Choice {
        Choice {
            spilling: !choice.spilling,
            ..*choice
        }
    }

    fn options(choice: &Choice) -> DataOptions {
        let mut options = DataOptions::default();
        if let Some(small_file_max) = choice.aligned {
            options.block_aligned = true;
            options.small_file_max = small_file_max;
        }
        if choice.spilling {
            options.tail_memory = 1000;
            options.spill = Some(Box::new(|| Ok(Box::new(Vec::new()))));
        }
        options
    }

    /// Linux has no handler for Lustre's prefix.
    fn shown(xattrs: &Xattrs) -> Xattrs {
        let mut shown = Xattrs::new();
        for (name, value) in xattrs.iter() {
            if !name.starts_with(b"lustre.") {
                shown.set(name, value).unwrap();
            }
        }
        shown
    }
}

/// Builds an image in a temporary file and has everyone check it.
pub fn build(describe: impl FnOnce(&mut Builder<File>)) -> Built {
    build_with(DataOptions::default(), describe)
}

pub fn build_with(options: DataOptions, describe: impl FnOnce(&mut Builder<File>)) -> Built {
    lithify_fstests::build_with(options, describe)
}

/// Builds an image in a temporary file.
pub fn build_unchecked(options: DataOptions, describe: impl FnOnce(&mut Builder<File>)) -> Built {
    lithify_fstests::build_unchecked(options, describe)
}

/// Compares what this crate reads with what should be there.
pub fn check_with_reader<R: ReadAt>(source: R, expected: &Expected) {
    lithify_fstests::check_with_reader::<Erofs, R>(source, expected);
}

/// Has the kernel mount an image and compares everything it shows.
pub fn mount_and_check(path: &Path, expected: &Expected) {
    lithify_fstests::mount_and_check::<Erofs>(path, expected);
}

/// Compares what this crate reads of an opened image with what should be there.
pub fn check_image<R: ReadAt>(image: &Image<R>, expected: &Expected) {
    lithify_fstests::check_image::<Erofs, R>(image, expected);
}

/// Has `fsck.erofs` check an image.
pub fn fsck(path: &Path) {
    if require::tool("fsck.erofs") {
        run::ok(run::command("fsck.erofs").arg(path));
    }
}

/// Options to try.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Data in blocks of its own, and the longest file that is not.
    aligned: Option<u32>,
    /// Ends of files wait in a file.
    spilling: bool,
}

/// Compares what the kernel shows with what should be there.
pub fn check_mounted(root: &Path, expected: &Expected) {
    lithify_fstests::check_mounted::<Erofs>(root, expected);
}
