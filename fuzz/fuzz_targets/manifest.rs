//! Any bytes as an index, manifest or config: no panic, and what is accepted survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_oci::Limits;
use lithify_oci::manifest::{Document, ImageConfig, media_type};

fuzz_target!(|data: &[u8]| {
    for descriptor in [
        None,
        Some(media_type::OCI_MANIFEST),
        Some(media_type::DOCKER_LIST),
    ] {
        match Document::parse(data, descriptor) {
            Ok(Document::Manifest(manifest)) => {
                if manifest.check_image(&Limits::default()).is_ok() {
                    assert!(manifest.layers.len() <= Limits::default().layers);
                }
                let again = serde_json::to_vec(&manifest).expect("a manifest is JSON");
                let again = Document::parse(&again, None).expect("what is written is valid");
                assert_eq!(Document::Manifest(manifest), again);
            }
            Ok(Document::Index(index)) => {
                let again = serde_json::to_vec(&index).expect("an index is JSON");
                let again = Document::parse(&again, None).expect("what is written is valid");
                assert_eq!(Document::Index(index), again);
            }
            Ok(_) | Err(_) => {}
        }
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let again = serde_json::to_vec(&config).expect("a config is JSON");
        assert_eq!(
            ImageConfig::parse(&again).expect("what is written is valid"),
            config
        );
    }
});
