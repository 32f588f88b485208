//! Any bytes as an archive: no panic, every file within it, and the images in it open or fail cleanly.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use lithify_oci::archive::Archive;
use lithify_oci::{Image, Limits, OpenOptions};

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = Archive::from_bytes(data.to_vec(), &Limits::default()) else {
        return;
    };
    for (_, offset, size) in archive.files() {
        assert!(
            offset
                .checked_add(size)
                .is_some_and(|end| end <= data.len() as u64)
        );
    }
    let options = OpenOptions::default();
    let images = [
        Image::from_oci_archive(archive.clone(), None, &options),
        Image::from_docker_archive(&archive, None, &options),
    ];
    for image in images.into_iter().flatten() {
        for index in 0..image.layers().len() {
            if let Ok(mut blob) = image.open_layer(index) {
                let len = blob.len();
                let mut bytes = Vec::new();
                blob.read_to_end(&mut bytes).expect("memory can be read");
                assert_eq!(bytes.len() as u64, len);
            }
        }
    }
});
