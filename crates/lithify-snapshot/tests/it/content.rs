//! Digests of disks, against those of `fsverity`.

use std::io;
use std::iter::once;
use std::num::NonZeroUsize;
use std::ops::Range;

use lithify_snapshot::content::{
    self, BLOCK, ContentDigest, ContentError, ContentHasher, ContentOptions,
};
use lithify_storage::ReadAt;
use lithify_testkit::{require, run, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileHasher, FileOptions};
use proptest::prelude::*;

/// What `fsverity` says of 1 GiB of zeros.
const ZERO: &str =
    "fsverity-sha256-16:e1fea2e4dd2344abdb7cb52febf078927d3d296f3ba3a5445053008c72749ae3";

/// Digests in a node of the tree.
const FANOUT: usize = BLOCK / 32;

/// The digest of all bytes, holes or not, one after the other.
fn dense(disk: &[u8]) -> String {
    let mut hasher = FileHasher::new(&FileOptions {
        block_size: BLOCK as u32,
        ..FileOptions::new(FileAlgorithm::Sha256)
    })
    .unwrap();
    hasher.update(disk);
    format!("fsverity-sha256-16:{}", hasher.finish().hex())
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
fn disks_of_all_sizes_have_the_digest_of_fsverity() {
    if !require::tool("fsverity") {
        return;
    }
    let tmp = temp_dir();
    let path = tmp.path().join("disk");
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
        node,
        node + 1,
    ];
    for size in sizes {
        // Data at both ends of what is there, and a hole between.
        let ends = 0..(size as u64).min(70_000);
        let last = (size as u64).saturating_sub(1).max(ends.end)..size as u64;
        let mut bytes = vec![0; size];
        for at in ends.clone().chain(last.clone()) {
            bytes[at as usize] = (at * 7 / 5) as u8 | 1;
        }
        std::fs::write(&path, &bytes).unwrap();
        let mut command = run::command("fsverity");
        command.args([
            "digest",
            "--compact",
            "--hash-alg=sha256",
            "--block-size=65536",
        ]);
        let said = run::text(command.arg(&path));
        let expected = format!("fsverity-sha256-16:{}", said.trim());
        let data = vec![ends, last];
        let disk = Sparse { bytes, data };
        assert_eq!(hashed(&disk, 1 << 20).to_string(), expected, "{size}");
        for threads in [1, 3] {
            let data = disk.data.clone();
            let found = content::digest(disk.clone(), size as u64, data, &options(threads));
            assert_eq!(found.unwrap().to_string(), expected, "{size}");
        }
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
    assert_eq!(ContentHasher::new(1 << 30).finish().to_string(), ZERO);
    assert_eq!(ZERO.parse::<ContentDigest>().unwrap().to_string(), ZERO);
    let upper = ZERO.to_uppercase();
    for words in ["", "sha256:00", &ZERO[9..], &ZERO[..70], &upper] {
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
        let expected = dense(&disk.bytes);
        prop_assert_eq!(hashed(&disk, piece).to_string(), &*expected);
        let data = disk.data.clone();
        let found = content::digest(disk, size as u64, data, &options(threads)).unwrap();
        prop_assert_eq!(found.to_string(), expected);
    }
}
