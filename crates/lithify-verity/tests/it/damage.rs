//! Trees over any data; damage of every kind.

use std::io;

use lithify_digest::{Algorithm, Digest};
use lithify_verity::{
    GeometryError, Hash, Place, ReadAt, Storage, Superblock, TreeBuilder, VerifyError,
    VerifyOptions, VerityOptions, WriteError, append, verify,
};
use proptest::prelude::*;

fn options(data_block: u32, hash_block: u32, threads: usize) -> VerityOptions {
    VerityOptions {
        data_block,
        hash_block,
        threads: threads.try_into().unwrap(),
        ..VerityOptions::default()
    }
}

fn block_size() -> impl Strategy<Value = u32> {
    (9..=13_u32).prop_map(|bits| 1 << bits)
}

/// The tree as one would explain it: level by level, all in memory.
fn model(image: &[u8], options: &VerityOptions) -> (Hash, Vec<u8>) {
    let digest = |block: &[u8]| {
        let bytes = [options.salt.as_slice(), block].concat();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Hash::from_bytes(digest.as_bytes().try_into().unwrap())
    };
    let padded = |bytes: &[u8], block: u32| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(block as usize), 0);
        bytes
    };
    let mut below = padded(image, options.data_block);
    let mut block = options.data_block;
    let mut tree = Vec::new();
    while below.len() > block as usize {
        let digests = below.chunks(block as usize).map(digest);
        let level: Vec<u8> = digests.flat_map(|d| d.as_bytes().to_vec()).collect();
        let level = padded(&level, options.hash_block);
        tree = [level.as_slice(), &tree].concat();
        (below, block) = (level, options.hash_block);
    }
    (digest(&below), tree)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn trees_are_the_models(
        image in proptest::collection::vec(any::<u8>(), 1..200_000),
        (data_block, hash_block) in (block_size(), block_size()),
        threads in 1..4_usize,
        salt in proptest::collection::vec(any::<u8>(), 0..=256),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let options = VerityOptions { salt, ..options(data_block, hash_block, threads) };
        let mut appended = image.clone();
        let report = append(&mut appended, image.len() as u64, &options).unwrap();
        let (root, tree) = model(&image, &options);
        prop_assert_eq!(report.root, root);
        prop_assert!(appended.ends_with(&tree));
        prop_assert_eq!(appended.len() as u64, report.size);
        prop_assert_eq!(report.hash_offset + report.hash_size, report.size);

        // Fed in pieces, into a storage that holds no image: the same bytes behind it.
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(image.len())).collect();
        cuts.extend([0, image.len()]);
        cuts.sort_unstable();
        let mut behind = Vec::new();
        let mut builder = TreeBuilder::new(image.len() as u64, &options).unwrap();
        for pair in cuts.windows(2) {
            builder.update(&image[pair[0]..pair[1]], &mut behind).unwrap();
        }
        prop_assert_eq!(&builder.finish(&mut behind).unwrap(), &report);
        prop_assert!(behind[image.len()..] == appended[image.len()..]);

        // Once more over what is there already.
        let again = append(&mut appended, image.len() as u64, &options).unwrap();
        prop_assert_eq!(&again, &report);
        prop_assert!(behind[image.len()..] == appended[image.len()..]);

        let good = verify(&appended, report.hash_offset, &VerifyOptions { root: Some(root), threads: threads.try_into().unwrap() });
        prop_assert_eq!(good.unwrap().end, report.size);
    }

    /// Whatever byte is changed, with the root known: it is found, and found at its place.
    #[test]
    fn any_change_is_found(
        size in 1..100_000_usize,
        (data_block, hash_block) in (block_size(), block_size()),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut image: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
        let options = options(data_block, hash_block, 2);
        let report = append(&mut image, size as u64, &options).unwrap();
        let at = at.index(image.len());
        image[at] ^= 1_u8 << bit;
        let checked = verify(
            &image,
            report.hash_offset,
            &VerifyOptions { root: Some(report.root), threads: 2.try_into().unwrap() },
        );
        let tree = report.geometry.tree_offset(report.hash_offset).unwrap();
        let superblock = report.hash_offset..report.hash_offset + 512;
        match (at as u64, checked) {
            (at, Err(VerifyError::Mismatch { place: Place::Data { block, offset }, .. })) => {
                prop_assert_eq!(block, at / u64::from(data_block));
                prop_assert_eq!(offset, block * u64::from(data_block));
            }
            (at, Err(VerifyError::Mismatch { place: Place::Tree { offset, .. }, .. })) => {
                prop_assert!((offset..offset + u64::from(hash_block)).contains(&at));
            }
            (at, Err(VerifyError::Root { .. } | VerifyError::Spare { .. })) => {
                // The top block, a lone block of data, or what the superblock says of both.
                prop_assert!(at >= report.hash_offset || report.geometry.levels().is_empty());
            }
            (at, Err(VerifyError::Superblock { .. } | VerifyError::Overlap { .. } | VerifyError::Short { .. })) => {
                prop_assert!(superblock.contains(&at));
            }
            // The UUID, and what is between superblock and tree, mean nothing.
            (at, Ok(_)) => {
                let uuid = report.hash_offset + 16..report.hash_offset + 32;
                prop_assert!(uuid.contains(&at) || (superblock.end..tree).contains(&at));
            }
            (at, Err(error)) => prop_assert!(false, "byte {}: {}", at, error),
        }
    }

    #[test]
    fn any_bytes_are_no_reason_to_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 512..20_000),
        good in any::<bool>(),
        fields in proptest::collection::vec((0..512_usize, any::<u8>()), 0..4),
        block in 0..8_u64,
    ) {
        let offset = block * 512;
        if good {
            let mut image = bytes.clone();
            let report = append(&mut image, bytes.len() as u64, &options(512, 512, 1)).unwrap();
            let superblock = &image[report.hash_offset as usize..][..512];
            if let Some(place) = bytes.get_mut(offset as usize..offset as usize + 512) {
                place.copy_from_slice(superblock);
                for (at, byte) in fields {
                    place[at] = byte;
                }
            }
        }
        let checked = verify(&bytes, offset, &VerifyOptions { root: None, threads: 1.try_into().unwrap() });
        if let Ok(found) = checked {
            prop_assert!(found.end <= bytes.len() as u64);
        }
    }

    #[test]
    fn superblocks_that_parse_are_written_the_same(mut bytes in any::<[u8; 32]>(), seed in any::<u64>()) {
        let mut image = vec![1; 5000];
        let report = append(&mut image, 5000, &options(512, 1024, 1)).unwrap();
        let mut superblock: [u8; 512] = image[report.hash_offset as usize..][..512].try_into().unwrap();
        let at = (seed % 480) as usize;
        bytes[16..].fill((seed >> 32) as u8);
        superblock[at..at + 8].copy_from_slice(&bytes[..8]);
        if let Ok(parsed) = Superblock::parse(&superblock) {
            prop_assert_eq!(parsed.to_bytes(), superblock);
        }
    }
}

#[test]
fn wrong_levels_are_told_from_wrong_data() {
    // 64 blocks of 512, sixteen digests to a block: 4 blocks at level 0, one at level 1.
    let mut image: Vec<u8> = (0..64 * 512).map(|i| (i / 512) as u8).collect();
    let size = image.len() as u64;
    let report = append(&mut image, size, &options(512, 512, 1)).unwrap();
    let tree = report.geometry.tree_offset(report.hash_offset).unwrap() as usize;
    let check = |at: usize, root: Option<Hash>| {
        let mut image = image.clone();
        image[at] ^= 0x80;
        verify(
            &image,
            report.hash_offset,
            &VerifyOptions {
                root,
                threads: 3.try_into().unwrap(),
            },
        )
        .unwrap_err()
    };
    let place = |error| match error {
        VerifyError::Mismatch { place, .. } => place,
        other => panic!("{other}"),
    };
    // Top block: another root; without a root to compare with, the first block below does not fit.
    let root = check(tree + 5, Some(report.root));
    assert!(matches!(root, VerifyError::Root { expected, .. } if expected == report.root));
    let (level, block, offset) = (0, 0, tree as u64 + 512);
    assert_eq!(
        place(check(tree + 5, None)),
        Place::Tree {
            level,
            block,
            offset
        }
    );
    let (block, offset) = (2, tree as u64 + 512 * 3);
    for root in [None, Some(report.root)] {
        let found = place(check(tree + 512 * 3 + 100, root));
        assert_eq!(
            found,
            Place::Tree {
                level,
                block,
                offset
            }
        );
        let found = place(check(40 * 512 + 1, root));
        let (block, offset) = (40, 40 * 512);
        assert_eq!(found, Place::Data { block, offset });
    }
    // Four digests in the top block: the rest is spare, and covered by the root only.
    let spare = check(tree + 511, None);
    assert!(
        matches!(spare, VerifyError::Spare { level: 1, offset } if offset == tree as u64 + 511)
    );
    let shown = check(40 * 512 + 1, None).to_string();
    assert!(
        shown.starts_with("data block 40 (at byte 20480) has the hash "),
        "{shown}"
    );
}

#[test]
fn a_superblock_cannot_ask_for_more_than_there_is() {
    let mut image = vec![3; 8192];
    let report = append(&mut image, 8192, &VerityOptions::default()).unwrap();
    let at = report.hash_offset as usize;
    let with_blocks = |blocks: u64| {
        let mut image = image.clone();
        image[at + 72..at + 80].copy_from_slice(&blocks.to_le_bytes());
        verify(&image, report.hash_offset, &VerifyOptions::default()).unwrap_err()
    };
    assert!(matches!(
        with_blocks(3),
        VerifyError::Overlap {
            hash_offset: 8192,
            data_size: 12288
        }
    ));
    assert!(matches!(with_blocks(1 << 50), VerifyError::Overlap { .. }));
    assert!(matches!(
        with_blocks(u64::MAX),
        VerifyError::Superblock { .. }
    ));
    let short = &image[..image.len() - 1];
    assert!(matches!(
        verify(short, report.hash_offset, &VerifyOptions::default()),
        Err(VerifyError::Short { expected, found }) if expected == found + 1
    ));
    for (offset, length) in [(8191, 0), (100, 0)] {
        assert!(matches!(
            verify(&image[length..], offset, &VerifyOptions::default()),
            Err(VerifyError::HashOffset { .. })
        ));
    }
    for offset in [image.len() as u64 / 512 * 512, 1 << 40, u64::MAX - 511] {
        assert!(matches!(
            verify(&image, offset, &VerifyOptions::default()),
            Err(VerifyError::Io { .. })
        ));
    }
}

#[test]
fn what_cannot_be_made() {
    let no_data = append(&mut Vec::new(), 0, &VerityOptions::default());
    assert!(matches!(
        no_data,
        Err(WriteError::Geometry(GeometryError::NoData))
    ));
    let short = append(&mut vec![0; 10], 11, &VerityOptions::default());
    assert!(matches!(
        short,
        Err(WriteError::Short {
            expected: 11,
            found: 10
        })
    ));
    let block = append(&mut vec![0; 10], 10, &options(0, 4096, 1));
    assert!(matches!(
        block,
        Err(WriteError::Geometry(GeometryError::BlockSize { .. }))
    ));
    let salt = VerityOptions {
        salt: vec![0; 257],
        ..VerityOptions::default()
    };
    let salt = append(&mut vec![0; 10], 10, &salt);
    assert!(matches!(salt, Err(WriteError::SaltTooLong { found: 257 })));
    for size in [u64::MAX, i64::MAX as u64] {
        let large = TreeBuilder::new(size, &VerityOptions::default());
        assert!(matches!(
            large,
            Err(WriteError::Geometry(GeometryError::TooLarge { .. }))
        ));
    }

    let mut storage = Vec::new();
    let mut builder = TreeBuilder::new(10, &VerityOptions::default()).unwrap();
    builder.update(&[0; 9], &mut storage).unwrap();
    let more = builder.update(&[0; 2], &mut storage);
    assert!(matches!(
        more,
        Err(WriteError::DataLength {
            announced: 10,
            found: 11
        })
    ));
    let less = builder.finish(&mut storage);
    assert!(matches!(
        less,
        Err(WriteError::DataLength {
            announced: 10,
            found: 9
        })
    ));
}

/// A disk that is full from some byte on.
struct Full(Vec<u8>, u64);

impl ReadAt for Full {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

impl Storage for Full {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        if offset + data.len() as u64 > self.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.0.set_size(length)
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let mut disk = Full(vec![1; 1 << 20], 1 << 20);
    let Err(WriteError::Io { source, .. }) = append(&mut disk, 1 << 20, &VerityOptions::default())
    else {
        panic!("there is no room for the tree");
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}
