//! The bytes of images: the same every time, none of files that did not survive, and not more than have to be.

use std::fs;
use std::io;

use lithify_ext4::{BlockSize, DataOptions, FinishReport, ImageOptions, WriteError, Writer};
use lithify_storage::{ReadAt, Storage};
use lithify_tree::{
    ContentId, ContentSink as _, Entry, EntryKind, LayerEntries, Merge, Metadata, Tree, TreePath,
};

use crate::common::{Builder, run};

/// A file that counts what is written to it.
struct Counting {
    file: fs::File,
    bytes: u64,
    writes: u64,
}

impl ReadAt for Counting {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.file)
    }
}

impl Storage for Counting {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.bytes += data.len() as u64;
        self.writes += 1;
        self.file.write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.file.set_size(length)
    }
}

fn counted(options: DataOptions, files: u32) -> (Counting, FinishReport) {
    let storage = Counting {
        file: tempfile::tempfile().unwrap(),
        bytes: 0,
        writes: 0,
    };
    let mut writer = Writer::new(storage, options).unwrap();
    let contents: Vec<Vec<u8>> = (0..files).map(|n| vec![n as u8; 10_000]).collect();
    let mut layer = LayerEntries::new();
    for (n, data) in contents.iter().enumerate() {
        let content = write(&mut writer, data, usize::MAX).unwrap();
        push(
            &mut layer,
            &format!("{:02}/{n}", n % 50),
            data.len(),
            content,
        );
    }
    let tree = merged(layer);
    writer
        .finish_image(&tree, &ImageOptions::default())
        .unwrap()
}

fn write<S: Storage>(
    writer: &mut Writer<S>,
    data: &[u8],
    piece: usize,
) -> Result<ContentId, WriteError> {
    writer.begin(data.len() as u64, None)?;
    for piece in data.chunks(piece.min(data.len().max(1))) {
        writer.write(piece)?;
    }
    writer.finish()
}

fn push(layer: &mut LayerEntries, path: &str, size: usize, content: ContentId) {
    let entry = Entry {
        path: TreePath::clean(path.as_bytes()).unwrap(),
        metadata: Metadata::default(),
        kind: EntryKind::File {
            size: size as u64,
            segments: None,
        },
    };
    layer.push(&entry, Some(content)).unwrap();
}

fn merged(layer: LayerEntries) -> Tree {
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    merge.finish()
}

/// An empty disk costs what says that it is empty; the journal is a hole but for its first block.
#[test]
fn a_large_empty_disk_is_little_written() {
    let mut options = DataOptions::default();
    options.size = Some(20 << 30);
    let (storage, report) = counted(options, 0);
    assert_eq!(report.journal_bytes, 128 << 20);
    assert!(storage.bytes < 1 << 20, "{}", storage.bytes);
    assert!(storage.writes < 60, "{}", storage.writes);

    let mut options = DataOptions::default();
    options.size = Some(100 << 30);
    let (storage, report) = counted(options, 100);
    assert_eq!(report.data_bytes, 100 * (12 << 10));
    let rest = storage.bytes - report.data_bytes;
    // Most are the numbers of blocks to grow into.
    assert!(rest < 5 << 20, "{rest}");
}

/// Blocks are written once, and many together.
#[test]
fn data_is_written_once_and_metadata_in_large_pieces() {
    let (storage, report) = counted(DataOptions::default(), 5000);
    let data = report.data_bytes + report.metadata_bytes;
    assert_eq!(report.data_bytes, 5000 * (12 << 10));
    // Inodes, bitmaps, descriptors, what is reserved for more of them, and copies of both.
    let inodes = u64::from(report.inodes) * 256;
    assert!(
        storage.bytes < data + inodes + (1 << 20),
        "{}",
        storage.bytes
    );
    assert!(storage.writes < data / (1 << 20) + 40, "{}", storage.writes);
}

/// What a file system holds that a later layer replaced or removed, it does not hold at all.
#[test]
fn nothing_of_removed_files_is_left() {
    const SECRET: &[u8] = b"a secret that was removed";
    let secret =
        |length: usize| -> Vec<u8> { SECRET.iter().copied().cycle().take(length).collect() };
    for block_size in [BlockSize::Small, BlockSize::Large] {
        let mut options = DataOptions::default();
        options.block_size = block_size;
        let make = |secret: &dyn Fn(usize) -> Vec<u8>| {
            let mut b = Builder::new(options.clone());
            for n in 0..20_u8 {
                b.data(&secret(300_000 * usize::from(n % 7) + 5));
                b.file(&format!("{n}"), &vec![n; 100_000 * usize::from(n % 5)]);
            }
            b.data(&secret(20 << 20));
            let image = b.finish(&ImageOptions::default());
            image.fsck();
            assert!(image.report.size < 40 << 20, "{:?}", image.report);
            fs::read(&image.path).unwrap()
        };
        let found = make(&secret);
        assert!(!found.windows(SECRET.len()).any(|bytes| bytes == SECRET));
        // Nor does anything depend on what was in them.
        assert!(found == make(&|length| vec![7; length]));
    }
}

#[test]
fn the_same_whatever_pieces_data_comes_in() {
    let make = |piece: usize| {
        let dir = lithify_testkit::temp_dir();
        let path = dir.path().join("image.ext4");
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let mut writer = Writer::new(file, DataOptions::default()).unwrap();
        let mut layer = LayerEntries::new();
        for n in 0..40_usize {
            let data: Vec<u8> = (0..n * n * 400).map(|at| (at / 7 + n) as u8).collect();
            let content = write(&mut writer, &data, piece).unwrap();
            // Every third one is not in the tree.
            if n % 3 != 0 {
                push(&mut layer, &format!("d/{n}"), data.len(), content);
            }
        }
        writer
            .finish_image(&merged(layer), &ImageOptions::default())
            .unwrap();
        run("e2fsck", &["-fn"], &path);
        fs::read(&path).unwrap()
    };
    let whole = make(usize::MAX);
    for piece in [1000, 4096, 65_536, 200_001] {
        assert!(make(piece) == whole, "{piece}");
    }
}
