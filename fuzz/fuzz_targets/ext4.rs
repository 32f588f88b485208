//! Any bytes as an ext4 image: no panic, everything ends, and an image that `verify` finds sound can be read to the last byte. The
//! superblock's checksum is made right; the last byte says whether metadata has checksums, so that changes of everything behind the
//! superblock are seen, and which file is a journal to be replayed: one that `mke2fs` makes is too large for a fuzzer.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use lithify_ext4::{FileType, Image, ReadError};
use lithify_tree::EntryKind;

/// Bytes read of each file.
const READ_MAX: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    let choice = bytes.pop().unwrap_or(0);
    prepare(&mut bytes, choice);
    let Ok(image) = Image::open(bytes.as_slice()) else {
        return;
    };
    let sound = image.verify().expect("memory can be read").is_sound();

    let mut buffer = vec![0; READ_MAX];
    let mut seen = HashSet::new();
    for entry in image.entries() {
        let (entry, inode) = match entry {
            Ok(found) => found,
            Err(e) => {
                assert!(
                    !sound || is_limit(&e),
                    "verify found nothing, reading did: {e}"
                );
                break;
            }
        };
        // By its hash, where there is a tree of them.
        if sound {
            let found = image.lookup(entry.path.as_bytes()).expect("a sound image");
            assert_eq!(found.map(|i| i.number()), Some(inode.number()));
        }
        if !matches!(entry.kind, EntryKind::File { .. }) || !seen.insert(inode.number()) {
            continue;
        }
        assert_eq!(inode.file_type(), FileType::File);
        for offset in [0, inode.size().saturating_sub(READ_MAX as u64)] {
            match image.read(&inode, offset, &mut buffer) {
                Ok(n) => assert_eq!(n as u64, (inode.size() - offset).min(READ_MAX as u64)),
                Err(e) => assert!(
                    !sound || is_limit(&e),
                    "verify found nothing, reading did: {e}"
                ),
            }
        }
    }
});

/// What is no damage of the image.
fn is_limit(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::Encrypted { .. } | ReadError::PathTooLong { .. }
    )
}

/// Sets features, and writes the superblock's checksum.
fn prepare(bytes: &mut [u8], choice: u8) {
    let Some(superblock) = bytes.get_mut(1024..2048) else {
        return;
    };
    if choice & 1 != 0 {
        // Without checksums of all metadata, and of group descriptors.
        superblock[100] &= !0x10;
        superblock[101] &= !4;
    }
    if choice & 2 != 0 {
        // Its journal is to be replayed, which is in some file.
        superblock[96] |= 4;
        superblock[92] |= 4;
        superblock[224..228].copy_from_slice(&[11 + (choice >> 2), 0, 0, 0]);
    }
    let mut sum = !0_u32;
    for &byte in &superblock[..1020] {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    superblock[1020..].copy_from_slice(&sum.to_le_bytes());
}
