//! The file's schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::endpoint::Timeouts;
use super::matching::{Prefix, canonical, is_location};

/// Most `[[registry]]` entries.
const MAX_REGISTRIES: usize = 1024;
/// Most mirrors of one.
const MAX_MIRRORS: usize = 64;

const A_PREFIX: &str = "host[:port][/path] or *.host[:port] (a host without a dot needs a port)";
const A_LOCATION: &str = "host[:port][/path] (a host without a dot needs a port)";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) retries: Option<u32>,
    pub(super) proxy: Option<String>,
    pub(super) no_proxy: Option<Vec<String>>,
    #[serde(default)]
    pub(super) timeouts: TimeoutsTable,
    pub(super) max_connections: Option<u32>,
    #[serde(default)]
    pub(super) registry: Vec<RegistryTable>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TimeoutsTable {
    connect: Option<Seconds>,
    idle: Option<Seconds>,
    answer: Option<Seconds>,
    min_rate: Option<u64>,
    window: Option<Seconds>,
}

/// A time in seconds, whole or not.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Number")]
struct Seconds(Duration);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected seconds, such as 60 or 0.5")]
enum Number {
    Whole(u32),
    Fraction(f64),
}

/// A number that is no time.
#[derive(Debug, thiserror::Error)]
#[error("expected seconds that are not negative, and fewer than 4 billion")]
struct NoTime;

impl TryFrom<Number> for Seconds {
    type Error = NoTime;

    fn try_from(number: Number) -> Result<Self, NoTime> {
        let time = match number {
            Number::Whole(seconds) => Duration::from_secs(seconds.into()),
            Number::Fraction(seconds) if seconds <= f64::from(u32::MAX) => {
                Duration::try_from_secs_f64(seconds).map_err(|_| NoTime)?
            }
            Number::Fraction(_) => return Err(NoTime),
        };
        Ok(Self(time))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RegistryTable {
    prefix: Option<String>,
    pub(super) location: Option<String>,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default)]
    pub(super) plain_http: bool,
    #[serde(default)]
    pub(super) blocked: bool,
    #[serde(default)]
    pub(super) mirror: Vec<MirrorTable>,
    #[serde(default)]
    pub(super) ca: Files,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) realms: Option<Vec<String>>,
    #[serde(default)]
    pub(super) timeouts: TimeoutsTable,
    pub(super) max_connections: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MirrorTable {
    pub(super) location: String,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default)]
    pub(super) plain_http: bool,
    #[serde(default)]
    pub(super) pull_from: PullFrom,
    #[serde(default)]
    pub(super) ns: bool,
    #[serde(default)]
    pub(super) ca: Files,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

/// One file or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub(super) enum Files {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl Default for Files {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Files {
    pub(super) fn files(&self) -> &[PathBuf] {
        match self {
            Self::One(file) => std::slice::from_ref(file),
            Self::Many(files) => files,
        }
    }

    fn resolve(&mut self, directory: &Path) {
        let files = self.files().iter().map(|file| directory.join(file));
        *self = Self::Many(files.collect());
    }
}

impl TimeoutsTable {
    /// The key of a time in which nothing can happen.
    fn none(&self) -> Option<&'static str> {
        let times = [
            ("connect", self.connect),
            ("idle", self.idle),
            ("answer", self.answer),
            ("window", self.window),
        ];
        let is_none = |time: Option<Seconds>| time.is_some_and(|seconds| seconds.0.is_zero());
        let mut found = times.into_iter().filter(|(_, time)| is_none(*time));
        found.next().map(|(key, _)| key)
    }

    /// These where they are said, those of `otherwise` where not.
    pub(super) fn over(self, otherwise: Timeouts) -> Timeouts {
        let or = |said: Option<Seconds>, otherwise| said.map_or(otherwise, |seconds| seconds.0);
        let idle = or(self.idle, otherwise.idle);
        Timeouts {
            connect: or(self.connect, otherwise.connect),
            idle,
            answer: or(self.answer, otherwise.answer.max(idle)),
            min_rate: self.min_rate.unwrap_or(otherwise.min_rate),
            window: or(self.window, otherwise.window),
        }
    }
}

impl File {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |position| position + 1);
            ConfigError::Syntax {
                path: path.to_owned(),
                line: 1 + before.matches('\n').count(),
                column: 1 + before[line_start..].chars().count(),
                message: error.message().to_owned(),
            }
        })?;
        let too_many = |what, limit| ConfigError::TooMany {
            path: path.to_owned(),
            what,
            limit,
        };
        if file.registry.len() > MAX_REGISTRIES {
            return Err(too_many("[[registry]]", MAX_REGISTRIES));
        }
        if file.registry.iter().any(|r| r.mirror.len() > MAX_MIRRORS) {
            return Err(too_many("mirrors", MAX_MIRRORS));
        }
        let tables = file.registry.iter().map(|registry| &registry.timeouts);
        let mut tables = std::iter::once(&file.timeouts).chain(tables);
        if let Some(key) = tables.find_map(TimeoutsTable::none) {
            return Err(ConfigError::NoTime {
                path: path.to_owned(),
                key,
            });
        }
        Ok(file)
    }
}

impl RegistryTable {
    /// The prefix; if there is none, the location is it (containers-registries.conf(5)).
    pub(super) fn prefix(&self, path: &Path) -> Result<Prefix, ConfigError> {
        let text = self.prefix.as_deref().or(self.location.as_deref());
        text.and_then(Prefix::parse)
            .ok_or_else(|| ConfigError::Name {
                path: path.to_owned(),
                field: "prefix",
                value: text.unwrap_or_default().to_owned(),
                expected: A_PREFIX,
            })
    }

    /// Checks what the types do not say, and makes paths absolute.
    pub(super) fn checked(mut self, path: &Path, prefix: &Prefix) -> Result<Self, ConfigError> {
        let directory = path.parent().unwrap_or(Path::new(""));
        if let Some(location) = &mut self.location {
            *location = location_of(location, path)?;
        }
        let name = prefix.to_string();
        check_pair(
            &mut self.client_cert,
            &mut self.client_key,
            directory,
            &name,
            path,
        )?;
        self.ca.resolve(directory);
        for mirror in &mut self.mirror {
            mirror.location = location_of(&mirror.location, path)?;
            let location = mirror.location.clone();
            check_pair(
                &mut mirror.client_cert,
                &mut mirror.client_key,
                directory,
                &location,
                path,
            )?;
            mirror.ca.resolve(directory);
        }
        Ok(self)
    }
}

fn location_of(text: &str, path: &Path) -> Result<String, ConfigError> {
    if !is_location(text) {
        return Err(ConfigError::Name {
            path: path.to_owned(),
            field: "location",
            value: text.to_owned(),
            expected: A_LOCATION,
        });
    }
    Ok(match text.split_once('/') {
        Some((host, rest)) => format!("{}/{rest}", canonical(host)),
        None => canonical(text),
    })
}

fn check_pair(
    certificate: &mut Option<PathBuf>,
    key: &mut Option<PathBuf>,
    directory: &Path,
    name: &str,
    path: &Path,
) -> Result<(), ConfigError> {
    let half = |found: &str, missing: &str| ConfigError::Pair {
        path: path.to_owned(),
        found: format!("`{name}` has {found}"),
        missing: missing.to_owned(),
    };
    match (&certificate, &key) {
        (Some(_), None) => return Err(half("client-cert", "client-key")),
        (None, Some(_)) => return Err(half("client-key", "client-cert")),
        _ => {}
    }
    for file in [certificate, key].into_iter().flatten() {
        *file = directory.join(&file);
    }
    Ok(())
}
