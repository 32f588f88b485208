//! Any bytes as a squashfs image: no panic, everything ends, and an image that `verify` finds sound can be read to the
//! last byte.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use lithify_squashfs::{FileType, Image, ReadError};
use lithify_tree::EntryKind;

/// Bytes read of each file.
const READ_MAX: usize = 1 << 16;

/// Longest file read at its end: all its block lengths come first.
const SIZE_MAX: u64 = 1 << 32;

fuzz_target!(|data: &[u8]| {
    let Ok(image) = Image::open(data) else {
        return;
    };
    let sound = image.verify().expect("memory can be read").is_sound();

    let mut buffer = vec![0; READ_MAX];
    let mut seen = HashSet::new();
    for entry in image.entries() {
        let (entry, inode) = match entry {
            Ok(found) => found,
            Err(e) => {
                let limit = matches!(e, ReadError::PathTooLong { .. });
                assert!(!sound || limit, "verify found nothing, reading did: {e}");
                break;
            }
        };
        if sound {
            let found = image.lookup(entry.path.as_bytes()).expect("a sound image");
            assert_eq!(found.map(|i| i.number()), Some(inode.number()));
        }
        if !matches!(entry.kind, EntryKind::File { .. }) || !seen.insert(inode.reference()) {
            continue;
        }
        assert_eq!(inode.file_type(), FileType::File);
        for offset in [0, inode.size().saturating_sub(READ_MAX as u64)] {
            if offset > SIZE_MAX {
                continue;
            }
            match image.read(&inode, offset, &mut buffer) {
                Ok(n) => assert_eq!(n as u64, (inode.size() - offset).min(READ_MAX as u64)),
                Err(e) => assert!(!sound, "verify found nothing, reading did: {e}"),
            }
        }
    }
});
