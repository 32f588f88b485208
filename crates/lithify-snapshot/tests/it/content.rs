//! Digests of disks, against one that is computed by the words of their description.

use std::io;
use std::iter::once;
use std::num::NonZeroUsize;
use std::ops::Range;

use lithify_snapshot::content::{
    self, BLOCK, ContentDigest, ContentError, ContentHasher, ContentOptions, FANOUT,
};
use lithify_storage::ReadAt;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const ZERO: &str = "disk1+sha256:ead69a64e3b35c2f3e24bf3cd3f619fe8ebb72f26d77cff8f439481be43ebd9b";

fn salted(words: &str, bytes: &[u8]) -> Vec<u8> {
    let mut salt = format!("lithify disk content 1, {words}").into_bytes();
    salt.resize(64, 0);
    Sha256::digest([&salt, bytes].concat()).to_vec()
}

/// The digest by the words of docs/formats/snapshot.md.
fn by_the_words(disk: &[u8]) -> String {
    let mut padded = disk.to_vec();
    padded.resize(disk.len().next_multiple_of(BLOCK).max(BLOCK), 0);
    let blocks = padded.chunks(BLOCK);
    let mut level: Vec<Vec<u8>> = blocks.map(|block| salted("block", block)).collect();
    let mut zero = salted("block", &[0; BLOCK]);
    while level.len() > 1 {
        level.resize(level.len().next_multiple_of(FANOUT), zero.clone());
        let nodes = level.chunks(FANOUT);
        level = nodes.map(|node| salted("node", &node.concat())).collect();
        zero = salted("node", &zero.repeat(FANOUT));
    }
    let size = (disk.len() as u64).to_le_bytes();
    let digest = salted("disk", &[&size, &*level[0]].concat());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("disk1+sha256:{hex}")
}

fn options(threads: usize) -> ContentOptions {
    ContentOptions {
        threads: NonZeroUsize::new(threads).unwrap(),
        ..ContentOptions::default()
    }
}

/// A disk that has data in some stretches, and is not to be read elsewhere but for the rest of their blocks.
#[derive(Clone)]
struct Sparse {
    bytes: Vec<u8>,
    data: Vec<Range<u64>>,
}

impl ReadAt for Sparse {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let block = BLOCK as u64;
        for at in (offset..offset + buffer.len() as u64).step_by(BLOCK) {
            let is_data = |data: &Range<u64>| {
                data.start / block <= at / block && at / block < data.end.div_ceil(block)
            };
            assert!(self.data.iter().any(is_data), "a hole is read, at {at}");
        }
        self.bytes.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

fn sparse(size: usize, stretches: &[(usize, usize)]) -> Sparse {
    let mut bytes = vec![0; size];
    let mut data = Vec::new();
    let mut end = 0;
    for (gap, length) in stretches {
        let start = end + gap;
        let stop = start + length;
        if stop > size {
            break;
        }
        for (at, byte) in bytes[start..stop].iter_mut().enumerate() {
            // Some data is zeros.
            *byte = if length % 7 == 0 {
                0
            } else {
                (at * 31 / 3) as u8
            };
        }
        data.push(start as u64..stop as u64);
        end = stop;
    }
    Sparse { bytes, data }
}

fn hashed(disk: &Sparse, piece: usize) -> ContentDigest {
    let mut hasher = ContentHasher::new(disk.bytes.len() as u64);
    for stretch in &disk.data {
        let data = &disk.bytes[stretch.start as usize..stretch.end as usize];
        for (bytes, at) in data.chunks(piece).zip((stretch.start..).step_by(piece)) {
            hasher.update(at, bytes).unwrap();
        }
    }
    hasher.finish()
}

#[test]
fn disks_of_all_sizes_around_the_levels_have_the_digest_of_the_words() {
    let node = BLOCK * FANOUT;
    let sizes = [
        0,
        1,
        511,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        2 * BLOCK,
        3 * BLOCK + 5,
        node - 1,
        node,
        node + 1,
        2 * node + BLOCK,
    ];
    for size in sizes {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 7 / 5) as u8).collect();
        let data = Vec::from_iter(once(0..size as u64));
        let disk = Sparse { bytes, data };
        let expected = by_the_words(&disk.bytes);
        assert_eq!(hashed(&disk, 1 << 20).to_string(), expected, "{size}");
        for threads in [1, 3] {
            let data = disk.data.clone();
            let found = content::digest(disk.clone(), size as u64, data, &options(threads));
            assert_eq!(found.unwrap().to_string(), expected, "{size}");
        }
        let zeros = ContentHasher::new(size as u64).finish();
        assert_eq!(zeros.to_string(), by_the_words(&vec![0; size]), "{size}");
    }
}

#[test]
fn the_largest_disk_has_a_digest_at_once() {
    let mut hasher = ContentHasher::new(u64::MAX);
    hasher.update(u64::MAX - 4, b"data").unwrap();
    let end = hasher.finish();
    assert_ne!(end, ContentHasher::new(u64::MAX).finish());
    assert_ne!(
        ContentHasher::new(u64::MAX).finish(),
        ContentHasher::new(u64::MAX - 1).finish()
    );
}

#[test]
fn digests_stay_what_they_are() {
    // Computed once by the words of the description, in another language.
    assert_eq!(ContentHasher::new(1 << 30).finish().to_string(), ZERO);
    assert_eq!(ZERO.parse::<ContentDigest>().unwrap().to_string(), ZERO);
    let upper = ZERO.to_uppercase();
    for words in ["", "sha256:00", &ZERO[6..], &ZERO[..70], &upper] {
        words.parse::<ContentDigest>().unwrap_err();
    }
}

#[test]
fn data_comes_in_order_and_within_the_disk() {
    let mut hasher = ContentHasher::new(1000);
    hasher.update(100, &[1; 100]).unwrap();
    let order = hasher.update(199, &[1]).unwrap_err();
    assert!(matches!(
        order,
        ContentError::Order {
            offset: 199,
            end: 200
        }
    ));
    for (offset, length) in [(999, 2), (1001, 0), (u64::MAX, 1)] {
        let past = hasher.update(offset, &vec![1; length]).unwrap_err();
        assert!(
            matches!(past, ContentError::PastEnd { size: 1000, .. }),
            "{offset}"
        );
    }
    // What was refused is not in it.
    let mut same = ContentHasher::new(1000);
    same.update(100, &[1; 100]).unwrap();
    assert_eq!(hasher.finish(), same.finish());

    let disk = vec![1; 1000];
    for (data, is_order) in [(vec![0..10, 5..20], true), (vec![0..10, 20..1001], false)] {
        let error = content::digest(disk.clone(), 1000, data, &options(2)).unwrap_err();
        assert_eq!(
            matches!(error, ContentError::Order { .. }),
            is_order,
            "{error}"
        );
    }
    // The file became shorter.
    let short = content::digest(disk, 2000, once(0..2000), &options(2)).unwrap_err();
    assert!(matches!(short, ContentError::Read { .. }), "{short}");
}

#[test]
fn it_can_be_stopped() {
    let options = options(2);
    options.cancel.cancel();
    let stopped = content::digest(vec![1; 1 << 20], 1 << 20, once(0..1 << 20), &options);
    assert!(matches!(stopped, Err(ContentError::Cancelled(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn holes_and_pieces_do_not_matter(
        size in 0_usize..40 * BLOCK,
        stretches in prop::collection::vec(
            (prop_oneof![0_usize..3, 0_usize..3 * BLOCK], prop_oneof![0_usize..9, 0_usize..4 * BLOCK]),
            0..12,
        ),
        piece in prop_oneof![Just(BLOCK), 1000_usize..200_000],
        threads in 1_usize..4,
    ) {
        let disk = sparse(size, &stretches);
        let expected = by_the_words(&disk.bytes);
        prop_assert_eq!(hashed(&disk, piece).to_string(), &*expected);
        let data = disk.data.clone();
        let found = content::digest(disk, size as u64, data, &options(threads)).unwrap();
        prop_assert_eq!(found.to_string(), expected);
    }
}
