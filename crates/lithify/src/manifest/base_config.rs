//! The configuration of an image that is written again for other layers.

use lithify_oci::platform::Platform;
use serde_json::{Map, Value};

use crate::Error;
use crate::error::CommitError;
use crate::session::Session;

/// Fields that say nothing if they are empty. Go's programs read `null` as absent, but an empty time is an error to
/// them, and so is an empty system.
const TEXTS: [&str; 6] = [
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "variant",
];

/// The configuration of `base` as its fields stand, what lithify does not know too. What says nothing is left out, and
/// system and architecture are those the image is read for.
pub(crate) fn of(
    base: &lithify_oci::Image,
    session: &Session,
) -> Result<Map<String, Value>, Error> {
    let config = parse(base.raw_config())?;
    Ok(with_platform(config, &platform(base, session)))
}

/// The platform of `base`, which is for the one that was asked for as far as it says nothing.
pub(crate) fn platform(base: &lithify_oci::Image, session: &Session) -> Platform {
    let wanted = session.platform.clone().unwrap_or_else(Platform::host);
    stated(base.platform(), &wanted)
}

fn stated(own: &Platform, wanted: &Platform) -> Platform {
    if !own.os().is_empty() && !own.architecture().is_empty() {
        return own.clone();
    }
    let or = |own: &str, wanted: &str| [own, wanted][usize::from(own.is_empty())].to_owned();
    let os = &or(own.os(), wanted.os());
    let architecture = &or(own.architecture(), wanted.architecture());
    Platform::new(os, architecture, own.variant())
        .with_os_version(own.os_version().unwrap_or(""))
        .with_os_features(own.os_features().iter().cloned())
}

fn parse(raw: &[u8]) -> Result<Map<String, Value>, Error> {
    let config: Option<Map<String, Value>> = serde_json::from_slice(raw)
        .map_err(|source| Error::from(CommitError::BaseConfig { source }))?;
    let mut config = config.unwrap_or_default();
    config.retain(|_, value| !value.is_null());
    config.retain(|key, value| !(TEXTS.contains(&key.as_str()) && value == ""));
    if let Some(Value::Array(history)) = config.get_mut("history") {
        for step in history {
            match step {
                Value::Object(step) => {
                    step.retain(|_, value| !value.is_null());
                    step.retain(|key, value| !(key == "created" && value == ""));
                }
                // A step nothing is known of; it has its place.
                step => *step = Value::Object(Map::new()),
            }
        }
    }
    Ok(config)
}

fn with_platform(mut config: Map<String, Value>, platform: &Platform) -> Map<String, Value> {
    for (key, value) in [
        ("os", platform.os()),
        ("architecture", platform.architecture()),
    ] {
        config.entry(key).or_insert_with(|| value.into());
    }
    config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(raw: &Value) -> Value {
        let own = Platform::new("", "", None);
        let platform = stated(&own, &Platform::new("linux", "arm64", None));
        let config = parse(raw.to_string().as_bytes()).unwrap();
        with_platform(config, &platform).into()
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let nothing = json!({"os": "linux", "architecture": "arm64"});
        for raw in [
            json!(null),
            json!({}),
            json!({"created": null, "os": null, "architecture": "", "config": null, "history": null}),
            json!({"created": "", "os": "", "author": "", "variant": "", "os.version": "", "os.features": null}),
        ] {
            assert_eq!(written(&raw), nothing, "{raw}");
        }
        let raw = json!({"os": "linux", "architecture": "riscv64", "x": "", "created": "2020-01-01T00:00:00Z",
            "config": {"Env": null, "User": ""}, "history": [null, {}, {"created": "", "comment": ""}, {"created": null}]});
        let mut wanted = raw.clone();
        wanted["history"] = json!([{}, {}, {"comment": ""}, {}]);
        assert_eq!(written(&raw), wanted);
        assert!(parse(b"[]").is_err());
    }
}
