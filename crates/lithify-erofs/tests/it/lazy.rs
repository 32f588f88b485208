//! How much of an image is read for how little of it.
#![cfg(target_os = "linux")]

use std::io::{self, Read as _};
use std::sync::Mutex;

use crate::common::{Builder, Content, metadata, pattern};
use lithify_erofs::{FileType, FsmetaOptions, Image, LayerImage, ReadAt, write_fsmeta};

/// Counts reads and the bytes of different blocks of 4 KiB.
struct Counting {
    bytes: Vec<u8>,
    reads: Mutex<(u64, std::collections::BTreeSet<u64>)>,
}

impl Counting {
    /// Reads and blocks since the last time.
    fn take(&self) -> (u64, u64) {
        let (reads, blocks) = std::mem::take(&mut *self.reads.lock().unwrap());
        (reads, blocks.len() as u64)
    }
}

impl ReadAt for Counting {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut reads = self.reads.lock().unwrap();
        reads.0 += 1;
        let end = offset + buffer.len() as u64;
        reads.1.extend(offset / 4096..end.div_ceil(4096));
        self.bytes.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

/// 10,000 files in 100 directories.
fn many_files() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for directory in 0..100 {
        for file in 0..100 {
            builder.file(
                format!("usr/lib/directory{directory}/file{file}"),
                metadata(0o644),
                &pattern(file, 5000),
            );
        }
    }
    builder.finish().0
}

/// Through a cache, few reads are made of many.
#[test]
fn a_cache_asks_seldom() {
    let bytes = many_files();
    let size = bytes.len() as u64;
    let source = Counting {
        bytes,
        reads: Mutex::default(),
    };
    let image = Image::open(lithify_storage::Cached::new(source, 8 << 20).unwrap()).unwrap();
    let directory = image.lookup(b"usr/lib/directory42").unwrap().unwrap();
    for entry in image.read_dir(&directory).unwrap() {
        image.inode(entry.unwrap().nid).unwrap();
    }
    let file = image.child(&directory, b"file7").unwrap().unwrap();
    assert_eq!(image.read_to_vec(&file, 5000).unwrap(), pattern(7, 5000));
    let cached = image.into_source();
    let (reads, blocks) = cached.get_ref().take();
    assert!(reads <= 16, "{reads} reads");
    assert!(blocks * 4096 * 20 < size, "{blocks} blocks of {size} bytes");
    eprintln!("{reads} reads, {} of {size} bytes", blocks * 4096);
}

#[test]
fn one_directory_of_many_is_a_small_part() {
    let bytes = many_files();
    let blocks = bytes.len() as u64 / 4096;
    let image = Image::open(Counting {
        bytes,
        reads: Mutex::default(),
    })
    .unwrap();
    let directory = image.lookup(b"usr/lib/directory42").unwrap().unwrap();
    let names: Vec<_> = image
        .read_dir(&directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let inode = image.inode(entry.nid).unwrap();
            assert_eq!(inode.file_type(), FileType::File);
            entry.name
        })
        .collect();
    assert_eq!(names.len(), 100);
    let file = image.child(&directory, b"file7").unwrap().unwrap();
    assert!(image.child(&directory, b"file").unwrap().is_none());
    assert!(image.child(&file, b"x").is_err());
    assert_eq!(image.read_to_vec(&file, 5000).unwrap(), pattern(7, 5000));
    let (reads, touched) = image.into_source().take();
    assert!(touched * 100 < blocks, "{touched} of {blocks} blocks");
    assert!(reads < 200, "{reads} reads");
}

/// A map of half a million entries was read entry by entry, each by a read of its own.
#[test]
fn maps_are_read_in_pieces() {
    let mut builder = Builder::new(Vec::new());
    let sparse = Content {
        size: 1 << 40,
        parts: vec![(1 << 39, b"x".to_vec())],
    };
    builder.sparse("sparse", metadata(0o644), sparse);
    let bytes = builder.finish().0;
    let blocks = bytes.len() as u64 / 4096;
    let image = Image::open(Counting {
        bytes,
        reads: Mutex::default(),
    })
    .unwrap();
    let inode = image.lookup(b"sparse").unwrap().unwrap();
    let found = image.segments(&inode).unwrap().unwrap();
    assert_eq!((found.len(), found[0].offset), (1, 1 << 39));
    assert!(image.verify().unwrap().is_sound());
    let layers = [LayerImage {
        image: &image,
        describes_root: true,
        tag: [b'0'; 64],
    }];
    write_fsmeta(&layers, Vec::new(), &FsmetaOptions::default()).unwrap();
    let (reads, _) = image.into_source().take();
    assert!(reads < blocks, "{reads} reads of {blocks} blocks");

    // A hole can be passed over.
    let mut builder = Builder::new(Vec::new());
    let sparse = Content {
        size: 1 << 40,
        parts: vec![(1 << 39, b"x".to_vec())],
    };
    builder.sparse("sparse", metadata(0o644), sparse);
    let image = Image::open(builder.finish().0).unwrap();
    let mut reader = image.reader(&image.lookup(b"sparse").unwrap().unwrap());
    reader.skip(1 << 39);
    let mut byte = [0];
    reader.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"x");
}
