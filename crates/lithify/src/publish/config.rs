//! The configuration of an image with other layers.

use lithify_digest::Digest;
use lithify_oci::platform::EROFS_FEATURE;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::error::OutputError;

/// The configuration with other diff_ids, and `erofs` among the features. Everything else stays as it is, what lithify
/// does not know too. With `has_root` there is a layer more than before, which the history says.
pub(super) fn rewrite(
    mut config: Map<String, Value>,
    diff_ids: &[Digest],
    has_root: bool,
) -> Result<Vec<u8>, Error> {
    let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
    config.insert(
        "rootfs".to_owned(),
        json!({"type": "layers", "diff_ids": diff_ids}),
    );
    let mut features: Vec<Value> = match config.remove("os.features") {
        Some(Value::Array(features)) => features,
        _ => Vec::new(),
    };
    if !features.contains(&json!(EROFS_FEATURE)) {
        features.push(json!(EROFS_FEATURE));
    }
    config.insert("os.features".to_owned(), Value::Array(features));
    if has_root && let Some(Value::Array(history)) = config.get("history") {
        let mut history = history.clone();
        let mut entry = json!({"created_by": "lithify push: metadata of the root directory"});
        if let Some(created) = config.get("created") {
            entry["created"] = created.clone();
        }
        history.push(entry);
        config.insert("history".to_owned(), Value::Array(history));
    }
    Ok(serde_json::to_vec(&config).map_err(OutputError::Json)?)
}

#[cfg(test)]
mod tests {
    use lithify_digest::Algorithm;

    use super::*;

    #[test]
    fn what_is_not_known_stays() {
        let id = Digest::of(Algorithm::Sha256, b"x");
        let raw = br#"{"architecture":"amd64","created":"2020-01-01T00:00:00Z","history":[{"created_by":"a"}],"moby.buildkit":7,
            "os":"linux","os.features":["x"],"rootfs":{"type":"layers","diff_ids":["old"]}}"#;
        let rewrite = |raw: &[u8], has_root| {
            rewrite(serde_json::from_slice(raw).unwrap(), &[id], has_root).unwrap()
        };
        let config: Value = serde_json::from_slice(&rewrite(raw, true)).unwrap();
        assert_eq!(config["moby.buildkit"], 7);
        assert_eq!(config["os.features"], json!(["x", "erofs"]));
        assert_eq!(config["rootfs"]["diff_ids"], json!([id.to_string()]));
        assert_eq!(config["history"].as_array().unwrap().len(), 2);
        assert_eq!(config["history"][1]["created"], "2020-01-01T00:00:00Z");
        let again = rewrite(&serde_json::to_vec(&config).unwrap(), false);
        assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), config);
    }
}
