//! Manifests of deltas.

use lithify_oci::Limits;
use lithify_oci::delta::{Delta, DeltaError, Encoded, LayerDelta, LayerOrigin, Reused, TAR_DIFF};
use lithify_oci::manifest::{Descriptor, ImageManifest, media_type};
use proptest::prelude::*;
use serde_json::json;

use crate::support::sha256;

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, sha256(bytes), bytes.len() as u64)
}

/// The layers of a target: what each comes from.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Reused,
    Made(bool),
    Whole,
}

/// A target with such layers, its configuration, and its delta.
fn target(kinds: &[Kind]) -> (ImageManifest, Vec<u8>, Delta) {
    let blob = |n: usize| format!("blob {n}").into_bytes();
    let diff_id = |n: usize| sha256(format!("tar {n}").as_bytes());
    let diff_ids: Vec<String> = (0..kinds.len()).map(|n| diff_id(n).to_string()).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = config.to_string().into_bytes();
    let layers = (0..kinds.len()).map(|n| descriptor(media_type::OCI_LAYER_GZIP, &blob(n)));
    let config_descriptor = descriptor(media_type::OCI_CONFIG, &config);
    let manifest = ImageManifest::new(config_descriptor.clone(), layers.collect());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let mut delta = Delta::new(
        descriptor(media_type::OCI_MANIFEST, &bytes),
        config_descriptor,
        Some(sha256(b"source")),
        sha256(b"config"),
    );
    for (n, kind) in kinds.iter().enumerate() {
        let to = manifest.layers[n].clone();
        match kind {
            Kind::Reused => delta.reused.push(Reused::new(to.digest, diff_id(n))),
            Kind::Made(said) => {
                let blob = descriptor(TAR_DIFF, format!("diff {n}").as_bytes());
                let encoded = match said {
                    true => Encoded::new(Some(n as u64), Some("gzip".to_owned())),
                    false => Encoded::default(),
                };
                delta.layers.push(LayerDelta::new(to.digest, blob, encoded));
            }
            Kind::Whole => {
                let digest = to.digest;
                delta
                    .layers
                    .push(LayerDelta::new(digest, to, Encoded::default()));
            }
        }
    }
    (manifest, config, delta)
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let kind = prop_oneof![
        Just(Kind::Reused),
        any::<bool>().prop_map(Kind::Made),
        Just(Kind::Whole),
    ];
    prop::collection::vec(kind, 0..12)
}

proptest! {
    /// What is written is read as the same, and says where every layer comes from.
    #[test]
    fn deltas_come_back(kinds in kinds()) {
        let (manifest, config, delta) = target(&kinds);
        let empty = descriptor(media_type::OCI_EMPTY, b"{}");
        let json = serde_json::to_vec(&delta.to_manifest(empty)).unwrap();
        let parsed = ImageManifest::parse(&json, Some(media_type::OCI_MANIFEST)).unwrap();
        let limits = Limits::default();
        let read = Delta::parse(&parsed, &limits).unwrap();
        prop_assert_eq!(&read.reused, &delta.reused);
        prop_assert_eq!((read.target, read.source, read.source_config), (delta.target, delta.source, delta.source_config));
        for (read, written) in read.layers.iter().zip(&delta.layers) {
            prop_assert_eq!((read.to, &read.encoded, read.is_whole()), (written.to, &written.encoded, written.is_whole()));
        }
        let layers = read.layers_of(&manifest, &config, &limits).unwrap();
        prop_assert_eq!(layers.len(), kinds.len());
        for (layer, kind) in layers.iter().zip(&kinds) {
            let is_it = match (&layer.origin, kind) {
                (LayerOrigin::Reused, Kind::Reused) => true,
                (LayerOrigin::Delta(delta), Kind::Made(_)) => !delta.is_whole(),
                (LayerOrigin::Delta(delta), Kind::Whole) => delta.is_whole(),
                _ => false,
            };
            prop_assert!(is_it);
        }
    }

    /// A layer that nothing is said of is an error, and so is one that the target does not have.
    #[test]
    fn every_layer_is_said_once(kinds in kinds(), index in any::<prop::sample::Index>()) {
        let (manifest, config, delta) = target(&kinds);
        let limits = Limits::default();
        let mut more = delta.clone();
        more.reused.push(Reused::new(sha256(b"unknown"), sha256(b"unknown")));
        let refused = matches!(
            more.layers_of(&manifest, &config, &limits),
            Err(DeltaError::Unknown { .. })
        );
        prop_assert!(refused);
        let mut fewer = delta;
        let said = fewer.reused.len() + fewer.layers.len();
        if said > 0 {
            let index = index.index(said);
            match index.checked_sub(fewer.reused.len()) {
                None => drop(fewer.reused.remove(index)),
                Some(index) => drop(fewer.layers.remove(index)),
            }
            let refused = matches!(
                fewer.layers_of(&manifest, &config, &limits),
                Err(DeltaError::NotCovered { .. })
            );
            prop_assert!(refused);
        }
    }
}
