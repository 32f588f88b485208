//! The blob decoder: any bytes as a layer, under small limits.
//!
//! Whatever they are, reading them ends, takes no more than the limits allow, and says of a blob that it is right only if it is.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use lithify_digest::{Algorithm, Digest};
use lithify_layer::{Expected, LayerReader, Limits, Options, Summary, Threading};

const TAR_BYTES: u64 = 16 << 20;

fuzz_target!(|blob: &[u8]| {
    let digest = Digest::of(Algorithm::Sha256, blob);
    let known = Expected {
        digest: Some(digest),
        size: Some(blob.len() as u64),
        ..Expected::nothing()
    };
    let first = read(blob, known);
    if let Some(summary) = &first {
        assert_eq!((summary.digest, summary.size), (digest, blob.len() as u64));
        assert!(summary.tar_size <= TAR_BYTES);
        // What was found is what may be expected, and nothing else.
        let found = Expected {
            diff_id: Some(summary.diff_id),
            ..known
        };
        assert_eq!(read(blob, found), first);
        let other = Expected {
            diff_id: Some(Digest::of(Algorithm::Sha256, b"other")),
            ..known
        };
        assert_eq!(read(blob, other), None);
    }
    let longer = Expected {
        size: Some(blob.len() as u64 + 1),
        ..known
    };
    assert_eq!(read(blob, longer), None);
});

fn read(blob: &[u8], expected: Expected) -> Option<Summary> {
    let mut limits = Limits::default();
    limits.tar_bytes = TAR_BYTES;
    limits.entries = 10_000;
    limits.metadata_bytes = 64 << 10;
    limits.sparse_segments = 1000;
    limits.zstd_window_log = 20;
    let options = Options {
        limits,
        threading: Threading::Inline,
        ..Options::default()
    };
    let mut layer = LayerReader::new(Cursor::new(blob.to_vec()), expected, options).ok()?;
    while layer.next_entry().ok()?.is_some() {
        while layer.next_data().ok()?.is_some() {}
    }
    layer.finish().ok()
}
