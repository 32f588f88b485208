//! File data: blocks, fragments, holes, equal contents, and what does not survive the merge.
#![cfg(target_os = "linux")]

use crate::common::{
    Builder, Content, Expected, build, build_with, check_with_reader, compressed, metadata,
    pattern, threads,
};
use lithify_squashfs::{DataOptions, Image, ImageOptions, Storage, WriteError, Writer};
use lithify_tree::{ContentSink, DataSegment, EntryKind};

const BLOCK: usize = 128 << 10;

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Equal first blocks once made a writer take one file for another (its lookup keyed on the first 128 KiB), which gave
/// a Debian image wrong files. Here the whole contents decide.
#[test]
fn an_equal_first_block_makes_no_equal_file() {
    let built = build_with(threads(3), |b| {
        let first = noise(1, BLOCK);
        for (i, rest) in [0, 1, 5000, BLOCK, BLOCK + 77].into_iter().enumerate() {
            for seed in [2, 3] {
                let data = [first.clone(), noise(seed, rest)].concat();
                b.file(format!("{i}-{seed}"), metadata(0o644), &data);
            }
        }
        // Equal size, differing in the last byte, the middle, and the start.
        let mut data = pattern(9, 3 * BLOCK + 100);
        b.file("a", metadata(0o644), &data);
        *data.last_mut().unwrap() ^= 2;
        b.file("b", metadata(0o644), &data);
        data[BLOCK + BLOCK / 2] ^= 2;
        b.file("c", metadata(0o644), &data);
        data[0] ^= 2;
        b.file("d", metadata(0o644), &data);
    });
    // Only the two files that are nothing but the first block.
    assert_eq!(built.report.duplicates, 1);
}

/// 130 MiB that begin alike, as in the image that showed it.
#[test]
fn long_files_with_an_equal_start() {
    let built = build_with(threads(2), |b| {
        let mut data = pattern(4, 130 << 20);
        b.file("a", metadata(0o644), &data);
        let middle = data.len() / 2;
        data[middle] ^= 0x80;
        b.file("b", metadata(0o644), &data);
        b.file("c", metadata(0o644), &data);
    });
    assert_eq!(built.report.duplicates, 1);
}

#[test]
fn equal_contents_are_stored_once() {
    for count in [1, 4] {
        let sizes = [
            1,
            100,
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            2 * BLOCK,
            3 * BLOCK + 500,
        ];
        let size = |copies: usize| {
            let built = build_with(threads(count), |b| {
                for copy in 0..copies {
                    for (i, size) in sizes.into_iter().enumerate() {
                        b.file(
                            format!("{copy}-{i}"),
                            metadata(0o644),
                            &noise(i as u64, size),
                        );
                    }
                    // Something between, so that copies are found in blocks written long before.
                    b.file(
                        format!("between-{copy}"),
                        metadata(0o644),
                        &noise(99, (copy + 1) * 50_000),
                    );
                }
            });
            assert_eq!(built.report.duplicates, ((copies - 1) * sizes.len()) as u64);
            built.report.data_bytes
        };
        let between: u64 = [100_000_u64, 150_000, 200_000].iter().sum();
        assert!(size(4) < size(1) + between + 4 * BLOCK as u64 / 10);
    }
}

#[test]
fn copies_next_to_each_other() {
    let built = build_with(threads(4), |b| {
        for i in 0..200 {
            b.file(
                format!("{i:03}"),
                metadata(0o644),
                &pattern(i / 3, 3 * BLOCK + i / 3),
            );
        }
    });
    assert_eq!(built.report.duplicates, 133);
}

#[test]
fn zeros_and_holes_are_equal() {
    let built = build(|b| {
        let mut data = vec![0; 5 * BLOCK];
        data[2 * BLOCK + 5] = 1;
        b.file("written", metadata(0o644), &data);
        let parts = vec![(2 * BLOCK as u64 + 5, vec![1])];
        b.sparse(
            "hole",
            metadata(0o644),
            Content {
                size: 5 * BLOCK as u64,
                parts,
            },
        );
        // The same data elsewhere is another content.
        let parts = vec![(3 * BLOCK as u64 + 5, vec![1])];
        b.sparse(
            "moved",
            metadata(0o644),
            Content {
                size: 5 * BLOCK as u64,
                parts,
            },
        );
    });
    assert_eq!((built.report.duplicates, built.report.sparse_files), (1, 3));
    let image = built.image();
    let hole = image.lookup(b"hole").unwrap().unwrap();
    let segments = [DataSegment {
        offset: 2 * BLOCK as u64,
        length: BLOCK as u64,
    }];
    assert_eq!(image.segments(&hole).unwrap().unwrap(), segments);
}

#[test]
fn holes_of_every_shape() {
    build(|b| {
        let block = BLOCK as u64;
        for (i, size) in [1, block - 1, block, block + 1, 3 * block, 3 * block + 7]
            .into_iter()
            .enumerate()
        {
            b.sparse(
                format!("empty-{i}"),
                metadata(0o644),
                Content {
                    size,
                    parts: vec![],
                },
            );
            for at in [0, block - 1, block, size - 1] {
                if at < size {
                    let parts = vec![(at, vec![7])];
                    b.sparse(
                        format!("one-{i}-{at}"),
                        metadata(0o644),
                        Content { size, parts },
                    );
                }
            }
        }
        let parts = vec![
            (10, pattern(1, 10)),
            (20, pattern(2, 10)),
            (block, pattern(3, BLOCK)),
            (5 * block + 100, pattern(4, 2 * BLOCK)),
        ];
        b.sparse(
            "many",
            metadata(0o644),
            Content {
                size: 9 * block,
                parts,
            },
        );
    });
}

/// Another writer panicked from 4 GiB on.
#[test]
fn over_four_gibibytes() {
    let built = build_with(threads(2), |b| {
        let parts = vec![
            (3, b"start".to_vec()),
            ((5 << 30) - 3, pattern(1, 300_000)),
            ((6 << 30) + 1, b"end".to_vec()),
        ];
        b.sparse(
            "big",
            metadata(0o644),
            Content {
                size: (6 << 30) + 4,
                parts,
            },
        );
        b.sparse(
            "hole",
            metadata(0o644),
            Content {
                size: 1 << 40,
                parts: vec![],
            },
        );
        b.file("behind", metadata(0o644), b"behind");
    });
    assert!(built.report.size < 1 << 20, "{:?}", built.report);
}

/// Data behind offset 2³² of the image: inodes of the extended form, and everything behind it.
#[test]
fn an_image_over_four_gibibytes() {
    /// Keeps nothing of the middle of the image, which is gigabytes of data that do not matter.
    struct Hollow {
        inner: Vec<u8>,
        shift: u64,
    }
    impl lithify_squashfs::ReadAt for Hollow {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            let offset = if offset >= self.shift {
                offset - self.shift
            } else {
                offset
            };
            self.inner.read_exact_at(buffer, offset)
        }
        fn size(&self) -> std::io::Result<u64> {
            Ok(self.inner.len() as u64 + self.shift)
        }
    }
    impl Storage for Hollow {
        fn write_all_at(&mut self, data: &[u8], offset: u64) -> std::io::Result<()> {
            if offset >= self.shift + 4096 {
                return self.inner.write_all_at(data, offset - self.shift);
            }
            if offset < 4096 {
                return self
                    .inner
                    .write_all_at(&data[..data.len().min(4096)], offset);
            }
            Ok(())
        }
        fn set_size(&mut self, length: u64) -> std::io::Result<()> {
            self.inner.set_size(length - self.shift)
        }
    }
    let hollow = Hollow {
        inner: Vec::new(),
        shift: (4 << 30) + (8 << 20),
    };
    let mut options = compressed("none");
    options.block_size = 1 << 20;
    let mut b = Builder::with(hollow, options);
    let filler = noise(1, 1 << 20);
    b.writer.begin(4200 << 20, None).unwrap();
    for i in 0..4200_u32 {
        // No block equals another, and no file either.
        let mut piece = filler.clone();
        piece[..4].copy_from_slice(&i.to_le_bytes());
        b.writer.write(&piece).unwrap();
    }
    let id = b.writer.finish().unwrap();
    let kind = EntryKind::File {
        size: 4200 << 20,
        segments: None,
    };
    b.entry("filler", metadata(0o644), kind, Some(id));
    b.file("behind", metadata(0o644), &pattern(5, 3 << 20));
    b.file("tail", metadata(0o644), b"a fragment behind it");
    let (storage, report, expected) = b.finish();
    assert!(report.size > 4 << 30);
    let image = Image::open(storage).unwrap();
    for (path, data) in [
        ("behind", pattern(5, 3 << 20)),
        ("tail", b"a fragment behind it".to_vec()),
    ] {
        let inode = image.lookup(path.as_bytes()).unwrap().unwrap();
        assert_eq!(image.read_to_vec(&inode, 1 << 30).unwrap(), data);
    }
    drop(expected);
}

/// Files of later layers replace those of earlier ones, whose data is written by then.
fn layers<S: Storage>(b: &mut Builder<S>) {
    for i in 0..300 {
        let data = [b"SECRET".as_slice(), &noise(i, (i as usize * 977) % 40_000)].concat();
        b.file(format!("f{i}"), metadata(0o644), &data);
        b.file(
            format!("keep{i}"),
            metadata(0o644),
            &noise(1000 + i, (i as usize * 331) % 9000),
        );
    }
    b.file(
        "long",
        metadata(0o644),
        &[b"SECRET".as_slice(), &noise(5, 700_000)].concat(),
    );
    b.file("kept", metadata(0o644), &noise(6, 700_000));
    b.next_layer();
    for i in 0..300 {
        b.file(
            format!("f{i}"),
            metadata(0o644),
            &noise(2000 + i, (i as usize * 513) % 30_000),
        );
    }
    b.entry("long", metadata(0), EntryKind::Whiteout, None);
}

#[test]
fn no_byte_of_a_dead_file_stays() {
    for compression in ["none", "zstd"] {
        for count in [1, 3] {
            let mut options = threads(count);
            options.compression = compression.parse().unwrap();
            let built = build_with(options, layers);
            assert!(built.report.repacked_tails > 0 && built.report.moved_bytes > 0);
            let bytes = built.bytes();
            assert!(!bytes.windows(6).any(|w| w == b"SECRET"));
            // Nothing lies between what is live.
            let verification = built.image().verify().unwrap();
            assert_eq!(verification.data_bytes, built.report.data_bytes);
        }
    }
}

/// A few dead files in much data: blocks from the end take their place, and hardly anything moves.
#[test]
fn little_moves_for_little_that_is_dead() {
    let built = build_with(threads(2), |b| {
        for i in 0..6 {
            let data = [
                b"SECRET".as_slice(),
                &noise(i, 3 * BLOCK + 7000 * i as usize),
            ]
            .concat();
            b.file(format!("dead{i}"), metadata(0o644), &data);
            b.file(format!("f{i}"), metadata(0o644), &noise(50 + i, 16 << 20));
        }
        // Blocks of all lengths.
        for i in 0..400 {
            let mut data = noise(100 + i, 3000 + 71 * i as usize);
            data.resize(BLOCK, b'x');
            b.file(format!("small{i}"), metadata(0o644), &data);
        }
        b.next_layer();
        for i in 0..6 {
            b.entry(format!("dead{i}"), metadata(0), EntryKind::Whiteout, None);
        }
    });
    let report = built.report;
    assert!(report.moved_bytes < 8 << 20, "{report:?}");
    assert!(report.padding_bytes > 0 && report.padding_bytes < report.data_bytes / 1000);
    let bytes = built.bytes();
    assert!(!bytes.windows(6).any(|w| w == b"SECRET"));
    assert_eq!(
        built.image().verify().unwrap().data_bytes,
        report.data_bytes
    );
}

/// The last fragment block is still open when the merge has been made.
#[test]
fn dead_ends_in_the_last_fragment_block() {
    for dead in 0..8_u32 {
        let built = build(|b| {
            for i in 0..3 {
                b.file(format!("{i}"), metadata(0o644), &pattern(i, 100 * (i + 1)));
            }
            b.next_layer();
            for i in (0..3).filter(|i| dead & 1 << i != 0) {
                b.entry(format!("{i}"), metadata(0), EntryKind::Whiteout, None);
            }
        });
        assert_eq!(built.report.fragments, u32::from(dead != 7));
    }
}

/// A content two files share lives as long as one of them.
#[test]
fn a_shared_content_survives_one_of_its_files() {
    for data in [
        pattern(1, 50),
        pattern(1, 2 * BLOCK),
        pattern(1, 2 * BLOCK + 50),
    ] {
        let built = build(|b| {
            b.file("a", metadata(0o644), &data);
            b.file("b", metadata(0o644), &data);
            b.file("c", metadata(0o644), &pattern(2, 60));
            b.next_layer();
            b.entry("a", metadata(0), EntryKind::Whiteout, None);
        });
        assert_eq!(built.report.duplicates, 1);
    }
}

/// Every empty file was a fragment of 0 bytes in another writer's images, which Linux refuses to open.
#[test]
fn empty_files_have_no_fragment() {
    let built = build(|b| {
        for i in 0..20 {
            b.file(format!("{i}"), metadata(0o644), b"");
        }
        b.file("x", metadata(0o644), b"x");
    });
    assert_eq!(built.report.fragments, 1);
}

#[test]
fn block_sizes() {
    for block_size in [4 << 10, 64 << 10, 1 << 20] {
        for compression in ["zstd", "lz4", "xz:1"] {
            let mut options = threads(2);
            options.block_size = block_size;
            options.compression = compression.parse().unwrap();
            build_with(options, |b| {
                for size in [1, 4095, 4096, 4097, 65_536, 1 << 20, (2 << 20) + 17] {
                    b.file(format!("{size}"), metadata(0o644), &pattern(size, size));
                    b.file(format!("noise{size}"), metadata(0o644), &noise(7, size));
                }
            });
        }
    }
    for block_size in [0, 1024, 2 << 20, 100_000] {
        let mut options = DataOptions::default();
        options.block_size = block_size;
        let mut writer = Writer::new(Vec::new(), options);
        let error = writer.begin(1, None).unwrap_err();
        assert!(matches!(error, WriteError::BlockSize { found } if found == block_size));
    }
}

/// A writer can be built in one thread and finished in another.
#[test]
fn writers_and_images_can_be_sent() {
    fn check<T: Send>() {}
    check::<Writer<std::fs::File>>();
    check::<Image<std::fs::File>>();
}

#[test]
fn what_is_written_must_be_what_was_announced() {
    let mut w = Writer::new(Vec::new(), DataOptions::default());
    assert!(matches!(w.write(b"x"), Err(WriteError::CallOrder { .. })));
    assert!(matches!(w.finish(), Err(WriteError::CallOrder { .. })));
    w.begin(3, None).unwrap();
    assert!(matches!(
        w.begin(3, None),
        Err(WriteError::CallOrder { .. })
    ));
    assert!(matches!(
        w.write(b"four"),
        Err(WriteError::DataLength {
            announced: 3,
            found: 4
        })
    ));
    w.begin(3, None).unwrap();
    w.write(b"tw").unwrap();
    assert!(matches!(
        w.finish(),
        Err(WriteError::DataLength {
            announced: 3,
            found: 2
        })
    ));
    let segment = |offset, length| DataSegment { offset, length };
    for bad in [
        vec![segment(0, 11)],
        vec![segment(5, 2), segment(6, 2)],
        vec![segment(u64::MAX, 2)],
        vec![segment(6, 2), segment(0, 2)],
    ] {
        assert!(matches!(
            w.begin(10, Some(&bad)),
            Err(WriteError::Segment { .. })
        ));
    }
    assert!(matches!(
        w.begin(1 << 63, None),
        Err(WriteError::FileTooLarge { .. })
    ));
    // A hole takes metadata for each of its blocks.
    w.begin(1 << 60, Some(&[])).unwrap();
    assert!(matches!(w.finish(), Err(WriteError::TooManyBlocks { .. })));
}

/// A disk that is full, at every point.
#[test]
fn a_failing_storage_is_an_error() {
    struct Limited(Vec<u8>, u64);
    impl lithify_squashfs::ReadAt for Limited {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            self.0.read_exact_at(buffer, offset)
        }
        fn size(&self) -> std::io::Result<u64> {
            self.0.size()
        }
    }
    impl Storage for Limited {
        fn write_all_at(&mut self, data: &[u8], offset: u64) -> std::io::Result<()> {
            if offset + data.len() as u64 > self.1 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0.write_all_at(data, offset)
        }
        fn set_size(&mut self, length: u64) -> std::io::Result<()> {
            self.0.set_size(length)
        }
    }
    for room in [0, 100, 1 << 20, 3 << 20, 4_000_000] {
        let mut w = Writer::new(Limited(Vec::new(), room), threads(3));
        let data = noise(3, 5 << 20);
        let result = w
            .begin(data.len() as u64, None)
            .and_then(|()| w.write(&data))
            .and_then(|()| w.finish());
        let result = result.and_then(|id| {
            let mut layer = lithify_tree::LayerEntries::new();
            let path = lithify_tree::TreePath::clean(b"x").unwrap();
            let kind = EntryKind::File {
                size: data.len() as u64,
                segments: None,
            };
            let entry = lithify_tree::Entry {
                path,
                metadata: metadata(0o644),
                kind,
            };
            layer.push(&entry, Some(id)).unwrap();
            let mut merge = lithify_tree::Merge::new();
            merge.apply(layer).unwrap();
            w.finish_image(&merge.finish(), &ImageOptions::default())
                .map(drop)
        });
        match result {
            Err(WriteError::Io { source, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The same bytes for any number of threads, also where contexts are reused, blocks copied and ends repacked.
#[test]
fn threads_do_not_show() {
    for compression in [
        "zstd:1", "zstd", "zstd:4", "zstd:7", "gzip:6", "lz4", "xz:1",
    ] {
        let image = |count: usize| {
            let mut options = threads(count);
            options.compression = compression.parse().unwrap();
            let mut b = Builder::with(Vec::new(), options);
            layers(&mut b);
            for i in 0..40 {
                b.file(format!("text{i}"), metadata(0o644), &text(i, 200_000));
                b.file(format!("copy{i}"), metadata(0o644), &text(i / 2, 200_000));
            }
            let (bytes, _, expected): (Vec<u8>, _, Expected) = b.finish();
            if count == 4 {
                check_with_reader(bytes.as_slice(), &expected);
            }
            bytes
        };
        let one = image(1);
        for count in [2, 4] {
            assert!(one == image(count), "{compression} with {count} threads");
        }
    }
}

/// Words that repeat irregularly, so that what a match finder remembers matters.
fn text(seed: usize, length: usize) -> Vec<u8> {
    let choice = noise(seed as u64 + 77, length);
    let mut out = Vec::with_capacity(length + 10);
    for c in choice {
        out.extend_from_slice(&noise(u64::from(c), 3 + usize::from(c % 9)));
        if out.len() >= length {
            break;
        }
    }
    out.truncate(length);
    out
}
