//! Filesystems of every size, block size, journal and number of inodes.

use std::fs;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, Journal, WriteError, Writer};
use lithify_testkit::{Mount, require};
use lithify_tree::EntryKind;

use crate::common::{Builder, Image};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

fn block_sizes() -> [BlockSize; 3] {
    [BlockSize::Small, BlockSize::Medium, BlockSize::Large]
}

fn of_size(block_size: BlockSize, size: u64) -> DataOptions {
    let mut options = DataOptions::default();
    options.block_size = block_size;
    options.size = Some(size);
    options
}

fn without_journal() -> ImageOptions {
    let mut options = ImageOptions::default();
    options.journal = Journal::None;
    options
}

/// A little of everything that has blocks.
fn fill(b: &mut Builder) {
    b.file("data", &[7; 10_000]);
    b.sparse("sparse", 1 << 20, &[0, 500_000], b"0123456789");
    let target = vec![b'x'; 900];
    b.entry("link", 0o777, EntryKind::Symlink { target }, None);
}

/// Looks at an image with e2fsprogs, and compares what `dumpe2fs` says with the report.
fn check(image: &Image) {
    image.fsck();
    let found = image.superblock();
    let report = &image.report;
    assert_eq!(found.number("Free blocks"), report.free_blocks);
    assert_eq!(found.number("Inode count"), u64::from(report.total_inodes));
    let free_inodes = report.total_inodes - report.inodes;
    assert_eq!(found.number("Free inodes"), u64::from(free_inodes));
    let journal = found.get("Total journal blocks").map_or(0, |blocks| {
        blocks.parse::<u64>().unwrap() * found.number("Block size")
    });
    assert_eq!(journal, report.journal_bytes);
    assert_eq!(image.path.metadata().unwrap().len(), report.size);
    assert!(found.number("Block count") * found.number("Block size") <= report.size);
}

#[test]
fn of_every_size() {
    for block_size in block_sizes() {
        let block = u64::from(block_size.bytes());
        let group = 8 * block * block;
        let sizes = [
            // The least, and a little more.
            64 * block,
            65 * block,
            MIB,
            // With the first journal.
            2048 * block,
            // One group, and a second too small to be one.
            group,
            group + block,
            group + 60 * block,
            // Two, and a third without copies.
            2 * group + 49 * block,
            2 * group + 51 * block,
            // The last group has copies.
            3 * group + 40 * block,
            5 * group + 200 * block,
            // Tables reach into several groups.
            100 * group + 12_345,
            GIB,
            100 * GIB,
        ];
        for size in sizes {
            for journal in [true, false] {
                let mut b = Builder::new(of_size(block_size, size));
                let options = match journal {
                    true => ImageOptions::default(),
                    false => without_journal(),
                };
                if size >= MIB {
                    fill(&mut b);
                }
                match b.try_finish(&options) {
                    Ok(image) => {
                        check(&image);
                        assert_eq!(image.report.size, size);
                        let has_journal = journal && size >= 2048 * block;
                        assert_eq!(image.report.journal_bytes > 0, has_journal, "{size}");
                    }
                    // Half of it would be the journal.
                    Err(WriteError::TooSmall { .. }) if journal && size <= 2048 * block => {}
                    Err(error) => panic!("{size}: {error}"),
                }
            }
        }
    }
}

#[test]
fn the_kernel_writes_to_them() {
    if !require::kernel_filesystem("ext4") {
        return;
    }
    for block_size in block_sizes() {
        let block = u64::from(block_size.bytes());
        let group = 8 * block * block;
        for size in [
            64 * block,
            2048 * block + 30 * KIB,
            3 * group + 60 * block,
            20 * group + 100 * block,
        ] {
            for options in [ImageOptions::default(), without_journal()] {
                let Ok(image) = Builder::new(of_size(block_size, size)).try_finish(&options) else {
                    continue;
                };
                let mount = Mount::writable("ext4", &image.path);
                fs::create_dir(mount.path().join("new")).unwrap();
                fs::write(mount.path().join("new/file"), [7; 5000]).unwrap();
                drop(mount);
                image.fsck();
                let mount = Mount::image("ext4", &image.path);
                assert_eq!(fs::read(mount.path().join("new/file")).unwrap(), [7; 5000]);
            }
        }
    }
}

#[test]
fn of_the_largest_sizes() {
    let mut sizes = vec![
        (BlockSize::Small, 512 * GIB, 512 * GIB),
        (BlockSize::Large, TIB, TIB),
    ];
    if lithify_testkit::wants_all() {
        // Block numbers have 32 bits.
        sizes.push((BlockSize::Medium, 8 * TIB, 8 * TIB - 2 * KIB));
        sizes.push((BlockSize::Large, 16 * TIB, 16 * TIB - 4 * KIB));
    }
    for (block_size, size, made) in sizes {
        let mut b = Builder::new(of_size(block_size, size));
        fill(&mut b);
        let image = b.finish(&ImageOptions::default());
        assert_eq!(image.report.size, made);
        check(&image);
        if require::kernel_filesystem("ext4") {
            let mount = Mount::image("ext4", &image.path);
            assert_eq!(fs::read(mount.path().join("data")).unwrap(), [7; 10_000]);
        }
    }
    for (block_size, size) in [
        (BlockSize::Small, 512 * GIB + 1),
        (BlockSize::Medium, 8 * TIB + 1),
        (BlockSize::Large, 16 * TIB + 1),
        (BlockSize::Large, 64 * 4 * KIB - 1),
    ] {
        let file = tempfile::tempfile().unwrap();
        let refused = Writer::new(file, of_size(block_size, size)).unwrap_err();
        assert!(matches!(refused, WriteError::Size { .. }), "{refused}");
    }
}

/// Trees of many shapes.
fn shape(b: &mut Builder, number: u64) {
    match number {
        0 => {}
        1 => fill(b),
        // Inodes.
        2 => (0..3000).for_each(|n| b.file(&format!("many/{n}"), b"")),
        // Data.
        3 => (0..40).for_each(|n| b.file(&format!("{n}"), &vec![n; 300_000])),
        // Over copies of superblocks, with a tree of extents.
        _ => {
            let at: Vec<u64> = (0..6000).map(|n| n * 20_000).collect();
            b.sparse("sparse", 120_000_000, &at, b"data");
        }
    }
}

#[test]
fn what_would_do_does_and_nothing_less() {
    for block_size in block_sizes() {
        for number in 0..5 {
            for (journal, inodes) in [
                (Journal::None, None),
                (Journal::Default, None),
                (Journal::Bytes(10 * MIB), None),
                (Journal::None, Some(20_000)),
                (Journal::None, Some(200_000)),
            ] {
                let make = |size: u64| {
                    let mut data = of_size(block_size, size);
                    data.inodes = inodes;
                    let mut b = Builder::new(data);
                    shape(&mut b, number);
                    let mut options = ImageOptions::default();
                    options.journal = journal;
                    b.try_finish(&options)
                };
                let least = 64 * u64::from(block_size.bytes());
                let Err(WriteError::TooSmall { size, needed }) = make(least) else {
                    assert!(number < 2 && inodes.is_none());
                    continue;
                };
                assert_eq!(size, least);
                let image = make(needed).unwrap();
                check(&image);
                // From just below and from further away the same is said.
                for size in [needed - 1, (needed / 2).max(least), least] {
                    match make(size) {
                        Err(WriteError::TooSmall { needed: again, .. }) => {
                            assert_eq!(again, needed, "{block_size:?} {number} {size}");
                        }
                        other => panic!("{block_size:?} {number} {journal:?}: {other:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn as_many_inodes_as_are_asked_for() {
    for block_size in block_sizes() {
        for size in [None, Some(20 * MIB), Some(3 * GIB)] {
            for asked in [60, 1000, 65_432, 400_000] {
                let mut data = DataOptions::default();
                data.block_size = block_size;
                data.size = size;
                data.inodes = Some(asked);
                let mut b = Builder::new(data);
                fill(&mut b);
                match b.try_finish(&ImageOptions::default()) {
                    Ok(image) => {
                        check(&image);
                        let groups = image.superblock().number("Block count")
                            / image.superblock().number("Blocks per group")
                            + 1;
                        let made = u64::from(image.report.total_inodes);
                        assert!(made >= asked.into(), "{made}");
                        assert!(made < u64::from(asked) + 16 * groups, "{made} {groups}");
                    }
                    // The tables alone are larger.
                    Err(WriteError::TooSmall { .. }) => {
                        assert!(size == Some(20 * MIB) && asked > 60_000);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    let mut data = DataOptions::default();
    data.inodes = Some(14);
    let mut b = Builder::new(data);
    fill(&mut b);
    b.file("one-more", b"");
    match b.try_finish(&ImageOptions::default()) {
        // Eleven, and the files.
        Err(WriteError::TooFewInodes { asked: 14, needed }) => assert_eq!(needed, 15),
        other => panic!("{other:?}"),
    }
}

/// With the default a tree of many small files makes no filesystem larger than its contents ask for.
#[test]
fn there_are_inodes_for_all_files_and_a_tenth_more() {
    let mut b = Builder::new(DataOptions::default());
    for n in 0..20_000 {
        b.file(&format!("{:02}/{n}", n % 100), b"");
    }
    let image = b.finish(&ImageOptions::default());
    check(&image);
    assert!(image.report.total_inodes >= 20_111 + 2011);
    assert!(image.report.size < 20 << 20, "{:?}", image.report);
}

#[test]
fn journals_of_every_size() {
    for block_size in block_sizes() {
        let block = u64::from(block_size.bytes());
        let with = |journal: u64| {
            let mut options = ImageOptions::default();
            options.journal = Journal::Bytes(journal);
            Builder::new(of_size(block_size, 4 * GIB)).try_finish(&options)
        };
        for journal in [1024 * block, MIB * 5 + 1, 300 * MIB, 2 * GIB] {
            let image = with(journal).unwrap();
            check(&image);
            assert_eq!(image.report.journal_bytes, journal - journal % block);
            if require::kernel_filesystem("ext4") && journal >= 300 * MIB {
                drop(Mount::writable("ext4", &image.path));
                image.fsck();
            }
        }
        for journal in [0, 1024 * block - 1, 10_240_001 * block] {
            let refused = with(journal).unwrap_err();
            assert!(matches!(refused, WriteError::Journal { .. }), "{refused}");
        }
        let refused = with(4 * GIB - 10 * block);
        assert!(matches!(
            refused,
            Err(WriteError::TooSmall { .. } | WriteError::Journal { .. })
        ));
    }
}

/// Sets options.
type Change<'a> = &'a dyn Fn(&mut DataOptions, &mut ImageOptions);

/// What is wrong whatever is in the filesystem is said before anything is.
#[test]
fn options_no_filesystem_can_have() {
    let check = |change: Change<'_>| {
        let (mut data, mut options) = (DataOptions::default(), ImageOptions::default());
        change(&mut data, &mut options);
        options.check(&data).map_err(|e| e.to_string())
    };
    let sound: [Change<'_>; 5] = [
        &|_, _| {},
        &|data, _| data.size = Some(16 * TIB),
        &|data, options| {
            data.size = Some(MIB);
            options.journal = Journal::None;
        },
        &|data, _| data.inodes = Some(11),
        &|_, options| options.label = b"sixteen letters.".to_vec(),
    ];
    for change in sound {
        assert_eq!(check(change), Ok(()));
    }
    let wrong: [(Change<'_>, &str); 13] = [
        (&|data, _| data.size = Some(1000), "1000 bytes is not made"),
        (&|data, _| data.bytes_per_inode = 1, "every 1 bytes"),
        (&|data, _| data.inodes = Some(10), "10 inodes is not made"),
        (
            &|_, options| options.label = b"seventeen letters".to_vec(),
            "`seventeen letters` has 17 bytes",
        ),
        (
            &|_, options| options.label = b"a\0b".to_vec(),
            "none of them zero",
        ),
        (
            &|_, options| options.journal = Journal::Bytes(MIB),
            "a journal of 1048576 bytes is not made: expected at least 4194304 bytes, at most 41943040000, or none",
        ),
        (
            &|data, options| {
                data.block_size = BlockSize::Small;
                options.journal = Journal::Bytes(1);
            },
            "a journal of 1 bytes is not made: expected at least 1048576 bytes, at most 10485760000, or none",
        ),
        (
            &|_, options| options.journal = Journal::Bytes(0),
            "a journal of 0 bytes is not made",
        ),
        (
            &|data, options| {
                data.size = Some(MIB);
                data.inodes = Some(u32::MAX);
                options.journal = Journal::Bytes(5 * MIB);
            },
            "a filesystem of 1048576 bytes has no room for its own",
        ),
        (
            &|data, _| {
                data.size = Some(16 * TIB);
                data.inodes = Some(u32::MAX);
            },
            "4294967295 inodes are more than a filesystem can have: a group of 134217728 bytes has at most 32768",
        ),
        (
            &|data, options| {
                data.size = Some(20 * MIB);
                options.journal = Journal::Bytes(20 * MIB);
            },
            "a filesystem of 20971520 bytes has no room for its own",
        ),
        (
            &|data, _| {
                data.size = Some(20 * MIB);
                data.inodes = Some(1_000_000);
            },
            "a filesystem of 20971520 bytes has no room for its own",
        ),
        (&|_, options| options.free = Some(2 * TIB), "ask for one"),
    ];
    for (change, expected) in wrong {
        let said = check(change).unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
    // What would do does, and one more does not.
    for (block_size, sizes) in [
        (BlockSize::Small, [GIB, 512 * GIB]),
        (BlockSize::Medium, [GIB, 8 * TIB]),
        (BlockSize::Large, [GIB, 16 * TIB]),
    ] {
        for size in sizes {
            let mut data = of_size(block_size, size);
            let mut options = ImageOptions::default();
            options.journal = Journal::None;
            data.inodes = Some(u32::MAX);
            let Err(WriteError::InodesAsked { most, .. }) = options.check(&data) else {
                panic!("{block_size:?} {size}");
            };
            data.inodes = Some(most);
            options.check(&data).unwrap();
            data.inodes = Some(most + 1);
            assert!(options.check(&data).is_err(), "{block_size:?} {size}");
        }
    }
    // For one without files too.
    for block_size in block_sizes() {
        let mut data = of_size(block_size, 64 * u64::from(block_size.bytes()));
        let mut options = ImageOptions::default();
        options.journal = Journal::Bytes(5 * MIB);
        let Err(WriteError::TooSmallEmpty { needed, .. }) = options.check(&data) else {
            panic!("{block_size:?}");
        };
        data.size = Some(needed - 1);
        assert!(options.check(&data).is_err());
        data.size = Some(needed);
        options.check(&data).unwrap();
        check_empty(data, &options);
    }
}

fn check_empty(data: DataOptions, options: &ImageOptions) {
    check(&Builder::new(data).finish(options));
}

/// What is not asked to have a size can have what the reserved descriptors lead to.
#[test]
fn a_size_is_asked_for_where_it_has_to_be() {
    let mut options = ImageOptions::default();
    options.free = Some(2 * TIB);
    match Builder::new(DataOptions::default()).try_finish(&options) {
        Err(WriteError::SizeNeeded { most }) => assert_eq!(most, TIB),
        other => panic!("{other:?}"),
    }
    options.free = Some(3 * GIB);
    let image = Builder::new(DataOptions::default()).finish(&options);
    check(&image);
    let free = image.report.free_blocks * 4096;
    assert!((3 * GIB..3 * GIB + MIB).contains(&free), "{free}");
}
