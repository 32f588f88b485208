//! Any bytes as an EROFS image, its superblock's checksum made right: no panic, everything ends, and an image that
//! `verify` finds sound can be read to the last byte. Devices it says it has are the same bytes again.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use lithify_erofs::{
    DataLayout, FileType, FsmetaOptions, Image, LayerImage, ReadAt, ReadError, write_fsmeta,
};
use lithify_tree::EntryKind;

/// Bytes read of each file.
const READ_MAX: usize = 1 << 16;

/// Devices given.
const DEVICES_MAX: usize = 40;

/// Sizes of compressed files read, together: a byte of one may be in an extent of twelve megabytes.
const DECOMPRESS_MAX: u64 = 64 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    fix_checksum(&mut bytes);
    let Ok(image) = Image::open(bytes.as_slice()) else {
        return;
    };
    check(&image);
    image.overlay_entries(true).for_each(drop);
    let count = image.devices().len();
    if (1..=DEVICES_MAX).contains(&count)
        && let Ok(image) = Image::open_with_devices(bytes.as_slice(), vec![bytes.as_slice(); count])
    {
        check(&image);
    }
    let layer = LayerImage {
        image: &image,
        describes_root: true,
        tag: [b'0'; 64],
    };
    if let Ok((merged, _)) = write_fsmeta(&[layer], Vec::new(), &FsmetaOptions::default()) {
        let merged = Image::open_with_devices(merged, vec![bytes.clone()]).expect("just made");
        assert!(
            !sound(&image) || sound(&merged),
            "a sound layer, and a merged image that is not"
        );
    }
});

fn sound<R: ReadAt>(image: &Image<R>) -> bool {
    image.verify().expect("memory can be read").is_sound()
}

fn check<R: ReadAt>(image: &Image<R>) {
    let sound = image.verify().expect("memory can be read").is_sound();

    let mut buffer = vec![0; READ_MAX];
    let mut seen = HashSet::new();
    let mut decompress_left = DECOMPRESS_MAX;
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
        // Found again by bisection, unless names are out of order.
        if sound {
            let found = image.lookup(entry.path.as_bytes()).expect("a sound image");
            assert_eq!(found.map(|i| i.nid()), Some(inode.nid()));
        }
        if !matches!(entry.kind, EntryKind::File { .. }) || !seen.insert(inode.nid()) {
            continue;
        }
        assert_eq!(inode.file_type(), FileType::File);
        if matches!(
            inode.layout(),
            DataLayout::CompressedFull | DataLayout::CompressedCompact
        ) {
            let Some(left) = decompress_left.checked_sub(inode.size()) else {
                continue;
            };
            decompress_left = left;
        }
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
}

/// What is no damage of the image, since this reader does not go there, or what only decompressing everything shows.
fn is_limit(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::Compressed { .. }
            | ReadError::Decompress { .. }
            | ReadError::ExtraDevice { .. }
            | ReadError::PathTooLong { .. }
    )
}

/// Writes the checksum of everything from the superblock to the end of its block.
fn fix_checksum(bytes: &mut [u8]) {
    let Some(&bits) = bytes.get(1024 + 12) else {
        return;
    };
    let block = 1_usize << bits.min(16);
    let end = if block > 1024 { block } else { 1024 + block };
    if bytes.len() < end || end < 1024 + 128 {
        return;
    }
    bytes[1028..1032].fill(0);
    let mut sum = !0_u32;
    for &byte in &bytes[1024..end] {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    bytes[1028..1032].copy_from_slice(&sum.to_le_bytes());
}
