//! Any bytes as the file beside a directory: no panic, and what is accepted has no more lines than the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_hostfs::check_sidecar;

fuzz_target!(|data: &[u8]| {
    if let Ok(lines) = check_sidecar(data) {
        let newlines = data.iter().filter(|&&b| b == b'\n').count() as u64;
        assert_eq!(lines + 1, newlines);
    }
});
