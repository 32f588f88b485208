//! Any bytes as an image of composefs: no panic, and a tree that is read makes an image, which is read as that tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_cancel::CancelToken;
use lithify_composefs::{dumpfile, image};
use lithify_verity::file::{FileHasher, FileOptions};

fuzz_target!(|data: &[u8]| {
    let cancel = CancelToken::new();
    // Devices may have numbers that no text has either.
    dumpfile::write_image(data, &mut std::io::sink(), &cancel).ok();
    dumpfile::list_image(data, &mut std::io::sink(), &cancel).ok();
    let Ok(filesystem) = image::read(data, &cancel) else {
        return;
    };
    let mut text = Vec::new();
    // Devices may have numbers that dumpfiles and images do not hold.
    let is_text = dumpfile::write(&filesystem, &mut text, &cancel).is_ok();
    let Ok(made) = image::Image::new(&filesystem, &image::ImageOptions::default(), &cancel) else {
        return;
    };
    assert!(is_text, "what an image holds, a dumpfile does");
    let hasher = || FileHasher::new(&FileOptions::default()).expect("the defaults");
    let mut bytes = Vec::new();
    let id = made.write(&mut bytes, hasher(), &cancel).expect("memory");
    let mut text = Vec::new();
    dumpfile::write_image(&*bytes, &mut text, &cancel).expect("what was made is text");
    let of_text = dumpfile::read(&*text, &cancel).expect("the text of an image is read");
    let of_text = image::Image::new(&of_text, &image::ImageOptions::default(), &cancel);
    let of_text = of_text.expect("what was made can be made of text");
    let again = image::read(bytes, &cancel).expect("what was made is read");
    let made = image::Image::new(&again, &image::ImageOptions::default(), &cancel);
    let made = made.expect("what was made can be made");
    for made in [made, of_text] {
        let written = made.write(&mut std::io::sink(), hasher(), &cancel);
        assert_eq!(written.expect("a sink"), id);
    }
});
