//! Any bytes as a certificate a server shows, trusted or not: no panic, and there are words for what is wrong with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_registry::headers;

fuzz_target!(|der: &[u8]| {
    for trusted in [false, true] {
        if let Err(words) = headers::certificate(der, trusted) {
            assert!(!words.is_empty() && !words.contains(char::is_control));
        }
    }
    // Nobody is believed unless he is trusted.
    assert!(headers::certificate(der, false).is_err());
});
