//! Any bytes as the manifest of a snapshot: no panic; what is accepted survives a round trip, with the same identity, and what is
//! written is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_snapshot::Manifest;

fuzz_target!(|data: &[u8]| {
    let Ok(snapshot) = Manifest::parse(data) else {
        return;
    };
    let json = snapshot.to_json().expect("what was read can be written");
    let again = Manifest::parse(json.as_bytes()).expect("what was written can be read");
    assert_eq!(again, snapshot);
    assert_eq!(again.id(), snapshot.id());
    assert_eq!(again.to_json().expect("it was written before"), json);
    // Nothing but what is said about it is added to what defines it.
    let mut silent = again;
    silent.info = Default::default();
    assert_eq!(silent.id(), snapshot.id());
});
