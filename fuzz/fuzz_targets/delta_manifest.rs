//! Any bytes as the manifest of a delta, and the target's manifest and configuration: no panic; what is accepted says where each
//! layer of the target comes from, and survives a round trip.
//!
//! Zero bytes part the documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_oci::Limits;
use lithify_oci::delta::{Delta, LayerOrigin};
use lithify_oci::manifest::{ImageManifest, media_type};

fuzz_target!(|data: &[u8]| {
    let mut documents = data.splitn(3, |byte| *byte == 0);
    let mut next = || documents.next().unwrap_or_default();
    let (artifact, target, config) = (next(), next(), next());
    let limits = Limits::default();
    let Ok(artifact) = ImageManifest::parse(artifact, Some(media_type::OCI_MANIFEST)) else {
        return;
    };
    let Ok(delta) = Delta::parse(&artifact, &limits) else {
        return;
    };
    assert_eq!(delta.manifest.digest, delta.target);
    let again = delta.to_manifest(artifact.config.clone());
    let again = Delta::parse(&again, &limits).expect("what is written is valid");
    assert_eq!(again.layers.len(), delta.layers.len());
    for (again, layer) in again.layers.iter().zip(&delta.layers) {
        // A number may have been spelled in another way.
        assert_eq!((again.to, &again.encoded), (layer.to, &layer.encoded));
        assert_eq!(again.blob.digest, layer.blob.digest);
    }
    assert_eq!((&again.reused, again.source), (&delta.reused, delta.source));
    let Ok(target) = ImageManifest::parse(target, Some(&delta.manifest.media_type)) else {
        return;
    };
    let Ok(layers) = delta.layers_of(&target, config, &limits) else {
        return;
    };
    assert_eq!(layers.len(), target.layers.len());
    for (layer, descriptor) in layers.iter().zip(&target.layers) {
        assert_eq!(layer.descriptor.digest, descriptor.digest);
        match &layer.origin {
            LayerOrigin::Delta(delta) => assert_eq!(delta.to, descriptor.digest),
            LayerOrigin::Reused => {
                let said = delta.reused.iter().find(|r| r.digest == descriptor.digest);
                assert!(said.is_some());
            }
        }
    }
});
