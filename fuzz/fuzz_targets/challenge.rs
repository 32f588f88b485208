//! Any bytes as `WWW-Authenticate` headers (one a line) and as `registries.toml`: no panic, and bounded results.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_registry::auth::Challenge;
use lithify_registry::config::{Config, Environment};

fuzz_target!(|data: &[u8]| {
    if let Ok(challenges) = Challenge::parse_all(data.split(|&b| b == b'\n')) {
        assert!(challenges.len() <= 16);
        for challenge in &challenges {
            assert!(!challenge.scheme().is_empty());
            assert!(challenge.scopes().iter().count() <= 64);
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let mut environment = Environment::empty();
        environment.root = "/nonexistent".into();
        if let Ok(config) = Config::parse(text, "registries.toml".as_ref(), environment) {
            let reference = "a.io/b".parse().expect("a reference");
            drop(config.endpoints(&reference));
        }
    }
});
