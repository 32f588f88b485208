//! Any bytes as a splitstream: no panic, and reading ends with as many bytes as it says, or an error.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use lithify_composefs::splitstream::{
    Check, Objects, Rebuilt, StreamError, StreamReader, check_body,
};
use lithify_verity::file::FileDigest;

/// Most bytes read.
const READ_MAX: u64 = 1 << 20;

/// Objects that all have the bytes of their digest.
struct Digests;

impl Objects for Digests {
    type Reader = std::io::Cursor<Vec<u8>>;

    fn open(&self, id: &FileDigest) -> std::io::Result<Self::Reader> {
        Ok(std::io::Cursor::new(id.as_bytes().to_vec()))
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(mut stream) = StreamReader::open(data) else {
        return;
    };
    let size = stream.size();
    let is_sound = check_body(&mut stream, |id| {
        Ok::<_, StreamError>(Some(id.as_bytes().len() as u64))
    })
    .is_ok();
    let stream = StreamReader::open(data).expect("it was opened once");
    let mut rebuilt = Rebuilt::new(stream, Digests, Check::Nothing).take(READ_MAX);
    let read = std::io::copy(&mut rebuilt, &mut std::io::sink());
    if is_sound {
        assert_eq!(read.expect("the check found nothing"), size.min(READ_MAX));
    }
});
