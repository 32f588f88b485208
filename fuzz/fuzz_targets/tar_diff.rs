//! Any bytes as a tar-diff: no panic, and the tar is the same however it is read.
//!
//! The lowest bit of the first byte says what the others are: frames (0), or operations (1), which are put into two frames here,
//! because the fuzzer does not find its way through compressed data. The next bit is the version, the others say where to cut.
#![no_main]

use std::io::{BufReader, Read as _};

use libfuzzer_sys::fuzz_target;
use lithify_delta::apply::{Files, Patch, PatchError, PatchOptions};
use lithify_tree::TreePath;

/// Most bytes of a tar that are looked at.
const TAR_MAX: u64 = 4 << 20;

/// Most bytes of a stored block (RFC 8878, 3.1.1.2.4).
const BLOCK_MAX: usize = 128 << 10;

/// Small files whose names are easily found.
fn old() -> Files {
    let path = |name: &str| TreePath::clean(name.as_bytes()).expect("it is clean");
    let dictionary = [&0xec30_a437_u32.to_le_bytes()[..], &[7; 60]].concat();
    Files::from([
        (path("a"), b"0123456789".to_vec()),
        (path("b"), (0..=255).cycle().take(5000).collect()),
        (path("c"), Vec::new()),
        (path("d"), dictionary),
        (path("d/e"), b"short".to_vec()),
    ])
}

/// A frame of stored blocks.
fn frame(bytes: &[u8]) -> Vec<u8> {
    // A window of 1 MiB, no checksum, no size.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at(rest.len().min(BLOCK_MAX));
        let is_last = u32::from(after.is_empty());
        let header = (u32::try_from(block.len()).expect("it is at most 128 KiB") << 3) | is_last;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
        rest = after;
        if is_last == 1 {
            return frame;
        }
    }
}

/// Applies a delta; the tar, as far as it came, and whether that was to its end.
fn apply(delta: &[u8], input: usize, output: usize) -> (Vec<u8>, bool) {
    let mut options = PatchOptions::default();
    options.limits.window_log = 20;
    options.dictionary_bytes = 1 << 20;
    options.dictionary_window_log = 20;
    let input = BufReader::with_capacity(input, delta);
    let Ok(patch) = Patch::new(input, old(), &options) else {
        return (Vec::new(), false);
    };
    let mut patch = patch.take(TAR_MAX);
    let (mut tar, mut buffer) = (Vec::new(), vec![0; output]);
    loop {
        match patch.read(&mut buffer) {
            Ok(0) => return (tar, true),
            Ok(count) => tar.extend_from_slice(&buffer[..count]),
            Err(e) => {
                e.downcast::<PatchError>().expect("every error is typed");
                return (tar, false);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let magic = [b"tardf1\n\0", b"tardf2\n\0"][usize::from(kind >> 1 & 1)];
    let delta = match kind & 1 {
        0 => [magic, bytes].concat(),
        _ => {
            let cut = usize::from(kind >> 2) * bytes.len() / 64;
            [magic, &*frame(&bytes[..cut]), &*frame(&bytes[cut..])].concat()
        }
    };
    let whole = apply(&delta, delta.len(), 64 << 10);
    let pieces = apply(&delta, 1 + usize::from(kind) % 50, 777);
    // Before an error, a buffer may or may not have been filled.
    assert!(whole.0.starts_with(&pieces.0) || pieces.0.starts_with(&whole.0));
    assert!(!(whole.1 && pieces.1) || whole.0 == pieces.0);
    // Of odd frames (an empty RLE block in a frame of no bytes) the decoder's verdict depends on whether it has all of one at
    // once: what is asked of it is only that those agree that have none but the target's own.
    if kind & 3 == 1 {
        assert_eq!(whole.1, pieces.1);
    }
});
