//! Seeds of deltas.

use lithify_testkit::{Compression, Layout, Tar, TarEntry, digest};
use serde_json::{Value, json};

/// The manifest of a delta, and the target's manifest and configuration, with zero bytes between them: one layer is reused, one made,
/// one there as it is.
pub(super) fn manifests() -> Vec<Vec<u8>> {
    let tars: Vec<Vec<u8>> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            let mut tar = Tar::new();
            tar.add(TarEntry::file(name, name));
            tar.finish()
        })
        .collect();
    let layout = Layout::new()
        .layer(&tars[0], Compression::Gzip)
        .layer(&tars[1], Compression::Gzip)
        .layer(&tars[2], Compression::Zstd);
    let files = layout.files();
    let documents: Vec<&Vec<u8>> = files
        .iter()
        .map(|(_, bytes)| bytes)
        .filter(|bytes| bytes.starts_with(b"{"))
        .collect();
    let with = |key: &str| {
        let found = documents.iter().find(|bytes| {
            let parsed = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            parsed.get(key).is_some()
        });
        found.map(|bytes| (*bytes).clone()).unwrap_or_default()
    };
    let (target, config) = (with("layers"), with("rootfs"));
    let parsed: Value = serde_json::from_slice(&target).unwrap_or_default();
    let key = |name: &str| format!("io.github.containers.delta.{name}");
    let entry = |bytes: &[u8], media_type: &str, content: &str| {
        json!({
            "mediaType": media_type,
            "digest": digest(bytes),
            "size": bytes.len(),
            "annotations": { key("content"): content },
        })
    };
    let mut made = entry(b"tar-diff", "application/vnd.tar-diff", "image-layer");
    made["annotations"][key("to")] = parsed["layers"][1]["digest"].clone();
    made["annotations"]["dev.lithify.delta.tar-size"] = json!("2048");
    made["annotations"]["dev.lithify.delta.compression"] = json!("gzip-6;v1");
    let mut whole = parsed["layers"][2].clone();
    whole["annotations"] =
        json!({ key("content"): "image-layer", key("to"): parsed["layers"][2]["digest"] });
    let list = |digest: &Value| json!([digest]).to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "artifactType": "application/vnd.io.github.containers.oci-delta.v1",
        "config": entry(b"{}", "application/vnd.oci.empty.v1+json", ""),
        "layers": [
            entry(&target, "application/vnd.oci.image.manifest.v1+json", "image-manifest"),
            entry(&config, "application/vnd.oci.image.config.v1+json", "image-config"),
            made,
            whole,
            entry(b"signature", "application/vnd.oci.image.manifest.v1+json", "cosign-signature"),
        ],
        "annotations": {
            key("target"): digest(&target),
            key("source"): digest(b"source"),
            key("source-config"): digest(b"config"),
            key("reused"): list(&parsed["layers"][0]["digest"]),
            key("reused-diff-id"): list(&json!(digest(&tars[0]))),
        },
    });
    let bytes = manifest.to_string().into_bytes();
    vec![[&bytes[..], b"\0", &target, b"\0", &config].concat()]
}
