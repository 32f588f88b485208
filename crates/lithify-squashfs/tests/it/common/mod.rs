//! squashfs for the suite all filesystems have, and its tools for the tests only this one has.
#![allow(unreachable_pub, reason = "shared by test programs")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use lithify_fskit::read::Verification;
use lithify_fstests::Filesystem;
use lithify_squashfs::{
    Compression, DataOptions, FinishReport, Image, ImageOptions, Inode, ProblemKind, ReadAt,
    ReadError, Storage, WriteError, Writer,
};
use lithify_testkit::{require, run};
use lithify_tree::{Timestamp, Tree, Xattrs};
use proptest::sample::Index;

pub use lithify_fstests::{Content, Expected, acl, metadata, pattern, with_xattrs};

/// The filesystem of this crate.
#[derive(Debug)]
pub struct Squashfs;

pub type Builder<S> = lithify_fstests::Builder<Squashfs, S>;
pub type Built = lithify_fstests::Built<Squashfs>;

impl Filesystem for Squashfs {
    const NAME: &'static str = "squashfs";
    const CASES: u32 = 48;
    const MOUNTED_CASES: u32 = 48;
    const SUPERBLOCK: Range<usize> = 0..96;

    type DataOptions = DataOptions;
    type ImageOptions = ImageOptions;
    type Writer<S: Storage> = Writer<S>;
    type Report = FinishReport;
    type WriteError = WriteError;
    type Image<R: ReadAt> = Image<R>;
    type Inode = Inode;
    type ReadError = ReadError;
    type Problem = ProblemKind;
    type Counts = ();
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

    fn verify<R: ReadAt>(image: &Image<R>) -> Result<Verification<ProblemKind, ()>, ReadError> {
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

    /// Has `unsquashfs` and `rdsquashfs` list an image.
    fn fsck(path: &Path) {
        if require::tool("unsquashfs") {
            run::ok(run::command("unsquashfs").arg("-lls").arg(path));
        }
        if require::tool("rdsquashfs") {
            run::ok(run::command("rdsquashfs").arg("-d").arg(path));
        }
    }

    fn refusal(path: &Path) -> Option<String> {
        let mut tool = run::command("unsquashfs");
        let out = path.with_extension("out");
        tool.args(["-q", "-n", "-f", "-d"]).arg(&out).arg(path);
        let output = tool.output().unwrap();
        (!output.status.success()).then(|| {
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            String::from_utf8_lossy(&said).into_owned()
        })
    }

    /// One of many.
    fn choices(pick: Index) -> Vec<Choice> {
        const NAMES: [&str; 6] = ["zstd", "zstd:6", "gzip", "lz4", "xz:1", "none"];
        let number = pick.index(NAMES.len() * 3);
        vec![Choice {
            compression: NAMES[number / 3],
            threads: number % 3 + 1,
        }]
    }

    /// With any number of threads.
    fn same_bytes(choice: &Choice) -> Choice {
        Choice {
            threads: choice.threads % 3 + 1,
            ..*choice
        }
    }

    fn options(choice: &Choice) -> DataOptions {
        let mut options = compressed(choice.compression);
        options.threads = choice.threads.try_into().unwrap();
        // Small blocks, so that files have several.
        options.block_size = 4096;
        options
    }

    fn metadata(report: &FinishReport, length: usize) -> Range<usize> {
        let metadata = report.metadata_bytes as usize;
        length.saturating_sub(metadata + metadata.min(4096))..length
    }

    fn check_report(report: &FinishReport) {
        assert_eq!(report.size % 4096, 0);
    }

    /// A time as squashfs can have it.
    fn time(time: Timestamp) -> Timestamp {
        Timestamp {
            seconds: time.seconds.clamp(0, i64::from(u32::MAX)),
            nanoseconds: 0,
        }
    }

    /// The attributes squashfs can have.
    fn kept(xattrs: &Xattrs) -> Xattrs {
        let mut kept = Xattrs::new();
        let names = ["user.", "trusted.", "security."].map(str::as_bytes);
        for (name, value) in xattrs.iter() {
            if names.iter().any(|n| name.starts_with(n)) {
                kept.set(name, value).unwrap();
            }
        }
        kept
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
    lithify_fstests::check_with_reader::<Squashfs, R>(source, expected);
}

/// Options with another compression.
pub fn compressed(compression: &str) -> DataOptions {
    let mut options = DataOptions::default();
    options.compression = compression.parse::<Compression>().unwrap();
    options
}

/// Options with more threads.
pub fn threads(count: usize) -> DataOptions {
    let mut options = DataOptions::default();
    options.threads = count.try_into().unwrap();
    options
}

/// Options to try.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    compression: &'static str,
    threads: usize,
}
