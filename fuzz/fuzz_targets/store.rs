//! JSON as a record of the store, sealed so that it is looked into: no panic, and what is accepted is what was meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_digest::{Algorithm, Digest};
use lithify_store::{EntryId, EntryRecord, ImageRecord};

fuzz_target!(|data: &[u8]| {
    let digest = Digest::of(Algorithm::Sha256, data).hex();
    let sealed = [
        b"{\"record\":",
        data,
        b",\"sha256\":\"",
        digest.as_bytes(),
        b"\"}\n",
    ]
    .concat();
    let id: EntryId = digest.parse().expect("a SHA-256 has 64 digits");
    for bytes in [data, &sealed] {
        if let Ok(record) = EntryRecord::parse(bytes, id) {
            assert_eq!(record.key.id(), id);
        }
        if let Ok(record) = ImageRecord::parse(bytes, &format!("{digest}.json")) {
            assert!(!record.name.is_empty());
        }
    }
});
