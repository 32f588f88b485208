//! Any text as a dumpfile: no panic, and what is read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_cancel::CancelToken;
use lithify_composefs::{dumpfile, image};
use lithify_verity::file::{FileHasher, FileOptions};

fuzz_target!(|data: &[u8]| {
    let cancel = CancelToken::new();
    let Ok(filesystem) = dumpfile::read(data, &cancel) else {
        return;
    };
    let mut text = Vec::new();
    dumpfile::write(&filesystem, &mut text, &cancel).expect("devices of 32 bits have numbers");
    let again = dumpfile::read(&text[..], &cancel).expect("what was written is read");
    let mut twice = Vec::new();
    dumpfile::write(&again, &mut twice, &cancel).expect("memory");
    assert_eq!(text, twice);
    let options = image::ImageOptions::default();
    if let Ok(made) = image::Image::new(&filesystem, &options, &cancel) {
        let hasher = FileHasher::new(&FileOptions::default()).expect("the defaults");
        let mut bytes = Vec::new();
        made.write(&mut bytes, hasher, &cancel).expect("memory");
        assert_eq!(bytes.len() as u64, made.size());
        image::read(bytes, &cancel).expect("what was made is read");
    }
});
