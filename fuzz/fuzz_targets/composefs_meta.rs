//! Any text as the `meta.json` of a repository: no panic, and what is accepted says formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_composefs::repository::Metadata;

fuzz_target!(|data: &[u8]| {
    if let Ok(metadata) = Metadata::parse(data) {
        assert!(metadata.formats().count() > 0);
    }
});
