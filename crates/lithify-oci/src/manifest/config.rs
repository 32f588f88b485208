//! Image configs.

use std::collections::BTreeMap;

use lithify_digest::Digest;
use serde::{Deserialize, Serialize, Serializer};

use super::descriptor::check_platform;
use super::error::Error;
use super::field::{as_key_set, key_set, null_default, string_map, words};
use super::scan::{self, Role};
use crate::platform::Platform;

/// What an image says of itself: platform, how to run it, which layers make it up
/// (image-spec, `config.md`; Docker's config has the same form).
///
/// Serialising writes a valid config of the fields lithify knows, always the same bytes for the same
/// value. It is for making images, not for copying them: an image's own bytes are kept raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageConfig {
    /// When the image was made, as written (RFC 3339 by the specification).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `GOARCH`; empty if not stated.
    pub architecture: String,
    /// `GOOS`; empty if not stated.
    pub os: String,
    /// Version of the operating system, on Windows.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features the operating system must have.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How to run a container of it.
    pub config: ExecutionConfig,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(rename = "rootfs", serialize_with = "as_rootfs")]
    pub diff_ids: Vec<Digest>,
    /// How each layer came to be; also has entries for steps that made no layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// The defaults for a container of an image: the `config` object of an image config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ExecutionConfig {
    /// User and group, as `user`, `uid`, `user:group`, `uid:gid` and so on; empty for root.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Ports, such as `80/tcp`; sorted.
    #[serde(
        default,
        deserialize_with = "key_set",
        serialize_with = "as_key_set",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exposed_ports: Vec<String>,
    /// Environment, as `NAME=value`, in order.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program and its first arguments. `None` differs from an empty list.
    #[serde(
        default,
        deserialize_with = "words",
        skip_serializing_if = "Option::is_none"
    )]
    pub entrypoint: Option<Vec<String>>,
    /// The further arguments, or the program if there is no entrypoint.
    #[serde(
        default,
        deserialize_with = "words",
        skip_serializing_if = "Option::is_none"
    )]
    pub cmd: Option<Vec<String>>,
    /// Health check, Docker's extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// On Windows: the first word of the command is already a whole command line.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub args_escaped: bool,
    /// Directories meant for data that outlives the container; sorted.
    #[serde(
        default,
        deserialize_with = "key_set",
        serialize_with = "as_key_set",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub volumes: Vec<String>,
    /// Where the program starts; empty for `/`.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Instructions for builds on top of it, Docker's extension.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// Labels, sorted. Untrusted: never to be taken for settings of the host (CVE-2026-53488).
    #[serde(
        default,
        deserialize_with = "string_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the program to end, such as `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and the kill, Docker's extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Shell for the shell form of commands, Docker's extension.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shell: Vec<String>,
}

/// Docker's health check. Times are nanoseconds; 0 means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty to inherit.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "is_zero"
    )]
    pub interval: i64,
    /// For one check.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "is_zero"
    )]
    pub timeout: i64,
    /// During which failures do not count.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "is_zero"
    )]
    pub start_period: i64,
    /// Between two checks during the start period.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "is_zero"
    )]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "is_zero"
    )]
    pub retries: i64,
}

/// How one layer came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// When, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
}

#[derive(Default, Deserialize)]
struct RawConfig {
    created: Option<String>,
    author: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    architecture: String,
    #[serde(default, deserialize_with = "null_default")]
    os: String,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(default, rename = "os.features", deserialize_with = "null_default")]
    os_features: Vec<String>,
    variant: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    config: ExecutionConfig,
    rootfs: Option<RawRootfs>,
    #[serde(default, deserialize_with = "null_default")]
    history: Vec<Option<History>>,
}

#[derive(Default, Deserialize)]
struct RawRootfs {
    #[serde(default, rename = "type", deserialize_with = "null_default")]
    kind: String,
    #[serde(default, deserialize_with = "null_default")]
    diff_ids: Vec<String>,
}

impl ImageConfig {
    /// Parses a config.
    ///
    /// # Errors
    /// [`Error`] for invalid JSON, a key given twice, a `rootfs` of another type than `layers`, a diff id
    /// that is no digest. Every way to say nothing is one: `null`, an empty list, no key at all.
    ///
    /// ```
    /// use lithify_oci::manifest::ImageConfig;
    ///
    /// let json = br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"]},
    ///     "rootfs":{"type":"layers","diff_ids":[]}}"#;
    /// let config = ImageConfig::parse(json)?;
    /// assert_eq!(config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    /// assert_eq!(config.platform().to_string(), "linux/amd64");
    /// # Ok::<(), lithify_oci::manifest::Error>(())
    /// ```
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "image config";
        scan::keys(json, Role::Config, WHAT)?;
        // As Go reads them, `null` instead of all of it says nothing, and in the history is a step that says nothing.
        let raw: Option<RawConfig> =
            serde_json::from_slice(json).map_err(|source| Error::Json { what: WHAT, source })?;
        let raw = raw.unwrap_or_default();
        // Without one there are no layers, or the manifest says their diff ids alone (erofs-image-spec 5).
        let rootfs = raw.rootfs.unwrap_or_default();
        // Published images leave the type out, and there is only one.
        if !matches!(rootfs.kind.as_str(), "" | "layers") {
            return Err(Error::RootfsType { found: rootfs.kind });
        }
        let words = [&raw.architecture, &raw.os].into_iter();
        let words = words
            .chain(&raw.os_version)
            .chain(&raw.variant)
            .chain(&raw.os_features);
        check_platform(words, "platform")?;
        let diff_ids = rootfs
            .diff_ids
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let field = || format!("rootfs.diff_ids[{i}]");
                text.parse().map_err(|source| Error::Digest {
                    field: field(),
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let some = |text: Option<String>| text.filter(|t| !t.is_empty());
        Ok(Self {
            created: some(raw.created),
            author: some(raw.author),
            architecture: raw.architecture,
            os: raw.os,
            os_version: some(raw.os_version),
            os_features: raw.os_features,
            variant: some(raw.variant),
            config: raw.config,
            diff_ids,
            history: raw
                .history
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect(),
        })
    }

    /// The platform stated here; its system and architecture are empty if not stated.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
            .with_os_version(self.os_version.as_deref().unwrap_or(""))
            .with_os_features(self.os_features.iter().cloned())
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde calls"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

fn as_rootfs<S: Serializer>(diff_ids: &[Digest], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Rootfs {
        #[serde(rename = "type")]
        kind: &'static str,
        diff_ids: Vec<String>,
    }
    let diff_ids = diff_ids.iter().map(Digest::to_string).collect();
    Rootfs {
        kind: "layers",
        diff_ids,
    }
    .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<ImageConfig, Error> {
        ImageConfig::parse(json.as_bytes())
    }

    const ROOTFS: &str = r#""rootfs":{"type":"layers","diff_ids":null}"#;

    #[test]
    fn docker_nulls_and_old_forms() {
        let config = parse(&format!(
            r#"{{"created":null,"architecture":"arm","os":"linux","variant":"v6","config":{{
                "User":null,"Env":null,"Cmd":null,"Entrypoint":"one word","Volumes":{{"/b":{{}},"/a":null}},
                "ExposedPorts":null,"Labels":{{"A":"1","a":null}},"OnBuild":null,"Shell":["sh","-c"],
                "Healthcheck":{{"Test":["CMD","x"],"Interval":30000000000,"Retries":3}},
                "StopSignal":"SIGINT","Hostname":"x","Image":"","ArgsEscaped":true}},
                "container_config":{{"Cmd":["x"]}},"history":[{{"created_by":"x","empty_layer":true}}],{ROOTFS}}}"#
        ))
        .unwrap();
        let run = &config.config;
        assert_eq!(
            run.entrypoint.as_deref(),
            Some(&["one word".to_owned()][..])
        );
        assert_eq!(run.cmd, None);
        assert_eq!(run.volumes, ["/a", "/b"]);
        assert_eq!(run.labels.get("a").map(String::as_str), Some(""));
        assert_eq!(
            run.healthcheck.as_ref().map(|h| (h.interval, h.retries)),
            Some((30_000_000_000, 3))
        );
        assert!(run.args_escaped && config.history[0].empty_layer);
        assert_eq!(config.platform().to_string(), "linux/arm/v6");
        let again = ImageConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    /// Published images without `rootfs.type`, and what Go writes for an image of nothing.
    #[test]
    fn nothing_is_said_in_many_ways() {
        let empty = ImageConfig::default();
        for json in [
            "null",
            "{}",
            r#"{"rootfs":null,"history":null,"config":null}"#,
            r#"{"rootfs":{}}"#,
            r#"{"rootfs":{"type":null,"diff_ids":null}}"#,
            r#"{"rootfs":{"type":"","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers"}}"#,
            r#"{"architecture":null,"os":"","os.features":null,"variant":null,"created":null,"author":""}"#,
            r#"{"config":{"Env":null,"Cmd":null,"Labels":null,"Volumes":null,"ExposedPorts":null,"OnBuild":null}}"#,
        ] {
            assert_eq!(parse(json).unwrap(), empty, "{json}");
        }
        let history = parse(r#"{"history":[null,{"comment":"x"},{}]}"#)
            .unwrap()
            .history;
        assert_eq!((history.len(), &history[0]), (3, &History::default()));
        let id = format!("sha256:{}", "a".repeat(64));
        let untyped = format!(r#"{{"rootfs":{{"diff_ids":["{id}"]}}}}"#);
        assert_eq!(parse(&untyped).unwrap().diff_ids, [id.parse().unwrap()]);
    }

    #[test]
    fn refuses() {
        assert!(matches!(parse("[]"), Err(Error::Json { .. })));
        let windows = r#"{"rootfs":{"type":"layers+base","diff_ids":[]}}"#;
        assert!(matches!(parse(windows), Err(Error::RootfsType { .. })));
        let short = r#"{"rootfs":{"type":"layers","diff_ids":["sha256:12"]}}"#;
        assert!(
            matches!(parse(short), Err(Error::Digest { field, .. }) if field == "rootfs.diff_ids[0]")
        );
        let twice = format!(r#"{{"os":"linux","os":"windows",{ROOTFS}}}"#);
        assert!(matches!(parse(&twice), Err(Error::DuplicateKey { .. })));
        let cased = format!(r#"{{"RootFS":{{}},{ROOTFS}}}"#);
        assert!(matches!(parse(&cased), Err(Error::KeyCase { .. })));
    }
}
