//! ext4 for the suite all filesystems have.

use std::io;
use std::ops::Range;
use std::path::Path;

use lithify_ext4::{
    BlockSize, Counts, DataOptions, FinishReport, Image, ImageOptions, Inode, ProblemKind, ReadAt,
    ReadError, Storage, Verification, WriteError, Writer,
};
use lithify_fstests::Filesystem;
use lithify_testkit::{require, run};
use lithify_tree::{Timestamp, Tree};
use proptest::sample::Index;

/// The filesystem of this crate.
#[derive(Debug)]
pub(crate) struct Ext4;

impl Filesystem for Ext4 {
    const NAME: &'static str = "ext4";
    const CASES: u32 = 48;
    const MOUNTED_CASES: u32 = 32;
    const SUPERBLOCK: Range<usize> = 1024..2048;
    const ADDED: &'static [&'static str] = &["lost+found"];
    const LINKS_MAX: u32 = 65_000;

    type DataOptions = DataOptions;
    type ImageOptions = ImageOptions;
    type Writer<S: Storage> = Writer<S>;
    type Report = FinishReport;
    type WriteError = WriteError;
    type Image<R: ReadAt> = Image<R>;
    type Inode = Inode;
    type ReadError = ReadError;
    type Problem = ProblemKind;
    type Counts = Counts;
    type Choice = DataOptions;

    fn writer<S: Storage>(storage: S, options: DataOptions) -> Writer<S> {
        Writer::new(storage, options).unwrap()
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

    fn verify<R: ReadAt>(image: &Image<R>) -> Result<Verification, ReadError> {
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

    /// Has `e2fsck` look at everything, and `debugfs` copy it.
    fn fsck(path: &Path) {
        if require::tool("e2fsck") {
            run::ok(run::command("e2fsck").arg("-fn").arg(path));
        }
        crate::rdump::compare(path);
    }

    /// Has `debugfs` do it.
    fn extract(image: &Path, into: &Path) -> bool {
        let can = require::root() && require::tool("debugfs");
        if can {
            let command = format!("rdump / {}", into.display());
            run::ok(run::command("debugfs").args(["-R", &command]).arg(image));
        }
        can
    }

    fn refusal(path: &Path) -> Option<String> {
        let output = run::command("e2fsck").arg("-fn").arg(path).output();
        let output = output.unwrap();
        (!output.status.success()).then(|| {
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            String::from_utf8_lossy(&said).into_owned()
        })
    }

    /// A size of block, and one of what else decides where everything is.
    fn choices(pick: Index) -> Vec<DataOptions> {
        let sizes = [BlockSize::Large, BlockSize::Small, BlockSize::Medium];
        let number = pick.index(4 * sizes.len());
        let mut options = DataOptions::default();
        options.block_size = sizes[number % sizes.len()];
        match number / sizes.len() {
            0 => {}
            1 => options.size = Some(64 << 20),
            2 => options.bytes_per_inode = 1024,
            _ => options.inodes = Some(5000),
        }
        vec![options]
    }

    fn same_bytes(choice: &DataOptions) -> DataOptions {
        choice.clone()
    }

    fn options(choice: &DataOptions) -> DataOptions {
        choice.clone()
    }

    /// A block, less a byte.
    fn target_max(choice: &DataOptions) -> usize {
        choice.block_size.bytes() as usize - 1
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

    /// Takes the feature that all metadata has checksums off, so that what is behind them is read.
    fn repair(bytes: &mut [u8]) {
        if let Some(features) = bytes.get_mut(1024 + 100..1024 + 104) {
            features[1] &= !4;
        }
    }

    fn links(nlink: u32, is_directory: bool) -> u32 {
        match nlink {
            65_000.. if is_directory => 1,
            nlink => nlink,
        }
    }

    /// A time as ext4 can have it.
    fn time(time: Timestamp) -> Timestamp {
        let (first, last) = (-(1 << 31), (1 << 34) - (1 << 31) - 1);
        match time.seconds {
            seconds if seconds < first => Timestamp {
                seconds: first,
                nanoseconds: 0,
            },
            seconds if seconds > last => Timestamp {
                seconds: last,
                nanoseconds: 0,
            },
            _ => time,
        }
    }
}
