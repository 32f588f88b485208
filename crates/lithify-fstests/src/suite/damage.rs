//! Whatever becomes of an image's bytes, reading ends with data or an error.

use lithify_fskit::read::{Entries, FileType, Inode as _};
use proptest::prelude::*;

use super::roundtrip::{describe, layers, run};
use crate::{Builder, Filesystem, metadata, pattern, with_xattrs};

/// Reads everything there is to read, whatever comes of it; if a check finds nothing wrong, nothing goes wrong.
fn read_everything<F: Filesystem>(bytes: &[u8]) {
    let Ok(image) = F::open(bytes) else {
        return;
    };
    let verification = F::verify::<&[u8]>(&image).expect("memory can be read");
    let sound = verification.is_sound();
    let mut buffer = vec![0; 10_000];
    for entry in Entries::new(&image) {
        let Ok((entry, inode)) = entry else {
            assert!(
                !sound,
                "verify found nothing, reading did: {:?}",
                entry.err()
            );
            break;
        };
        if sound {
            let found = F::lookup::<&[u8]>(&image, entry.path.as_bytes()).unwrap();
            assert_eq!(found.map(|i| i.place()), Some(inode.place()));
        }
        if inode.file_type() == FileType::File {
            for offset in [0, inode.size() / 2, inode.size().saturating_sub(5)] {
                let read = F::read::<&[u8]>(&image, &inode, offset, &mut buffer);
                assert!(!sound || read.is_ok(), "{read:?}");
            }
        }
    }
}

pub fn damaged_images_give_errors<F: Filesystem>() {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20);
    let input = (
        layers(),
        any::<prop::sample::Index>(),
        damage,
        any::<bool>(),
    );
    run(48, &input, |(layers, pick, damage, in_metadata)| {
        for choice in F::choices(pick) {
            let mut b = Builder::<F, _>::with(Vec::new(), F::options(&choice));
            describe(&mut b, &layers, &choice);
            let (mut bytes, report, _) = b.finish();
            let range = match in_metadata {
                true => F::metadata(&report, bytes.len()),
                false => 0..bytes.len(),
            };
            for (place, value) in &damage {
                bytes[range.start + place.index(range.len())] = *value;
                F::repair(&mut bytes);
                read_everything::<F>(&bytes);
            }
            read_everything::<F>(&bytes[..bytes.len() / 2]);
        }
    });
}

/// The superblock's bytes, eight by eight.
pub fn damaged_superblocks_give_errors<F: Filesystem>() {
    let mut b = Builder::<F, _>::new(Vec::new());
    b.file("a/b", metadata(0o644), b"data");
    let with_xattrs = with_xattrs(&[("user.a", b"b")]);
    b.file("a/c", with_xattrs, &pattern(1, 300_000));
    let right = b.finish().0;
    assert!(F::is_sound(&right));
    run(96, &(F::SUPERBLOCK, any::<u64>()), |(at, value)| {
        let mut bytes = right.clone();
        let end = (at + 8).min(F::SUPERBLOCK.end);
        bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        read_everything::<F>(&bytes);
        F::repair(&mut bytes);
        read_everything::<F>(&bytes);
    });
}

pub fn cut_images_give_errors<F: Filesystem>() {
    let mut b = Builder::<F, _>::new(Vec::new());
    for i in 0..20 {
        b.file(
            format!("d{}/{i}", i % 3),
            metadata(0o644),
            &pattern(i, i * 999),
        );
    }
    let right = b.finish().0;
    for length in (0..right.len()).step_by(997) {
        read_everything::<F>(&right[..length]);
        // The last block may be padding.
        if length + 4096 <= right.len() {
            assert!(
                !F::is_sound(&right[..length]),
                "{length} bytes of {}",
                right.len()
            );
        }
    }
}
