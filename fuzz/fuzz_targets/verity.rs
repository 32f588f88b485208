//! Any bytes as an image with a dm-verity superblock: no panic, and what `verify` finds good is what `append` makes.
//!
//! The first byte says where the superblock is, in sectors; the rest is the image.
#![no_main]

use std::num::NonZeroUsize;

use libfuzzer_sys::fuzz_target;
use lithify_verity::{Sidecar, VerifyOptions, VerityOptions, append, verify};

fuzz_target!(|data: &[u8]| {
    if let Ok(sidecar) = Sidecar::parse(data) {
        assert_eq!(
            Sidecar::parse(sidecar.to_json().as_bytes()).expect("its own text"),
            sidecar
        );
    }
    let Some((&sector, image)) = data.split_first() else {
        return;
    };
    let offset = u64::from(sector) * 512;
    let options = VerifyOptions {
        root: None,
        threads: NonZeroUsize::MIN,
    };
    let Ok(found) = verify(image, offset, &options) else {
        return;
    };
    let geometry = &found.superblock.geometry;
    let mut again = image[..geometry.data_size() as usize].to_vec();
    let options = VerityOptions {
        data_block: geometry.data_block(),
        hash_block: geometry.hash_block(),
        salt: found.superblock.salt.clone(),
        uuid: Some(found.superblock.uuid),
        threads: NonZeroUsize::MIN,
    };
    let report =
        append(&mut again, geometry.data_size(), &options).expect("the same measures make a tree");
    assert_eq!(report.root, found.root);
});
