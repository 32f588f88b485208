//! What is configured: hosts, mirrors, certificates.
//!
//! One TOML file, the first that exists of
//!
//! 1. the one the caller names ([`Config::load`]), which must exist;
//! 2. `$LITHIFY_REGISTRIES`, which must exist too;
//! 3. `$XDG_CONFIG_HOME/lithify/registries.toml` (`~/.config/lithify/registries.toml`);
//! 4. `/etc/lithify/registries.toml`.
//!
//! Its meaning is that of containers-registries.conf(5), in our own spelling:
//!
//! ```
//! use lithify_registry::config::{Config, Environment, PlainHttp, Role};
//!
//! let config = Config::parse(r#"
//!     [[registry]]
//!     prefix = "docker.io"
//!     mirror = [{ location = "localhost:5000/hub" }]
//! "#, "registries.toml".as_ref(), Environment::empty())?;
//!
//! let endpoints = config.endpoints(&"alpine:3.20".parse().unwrap())?;
//! assert_eq!(endpoints[0].host, "localhost:5000");
//! assert_eq!(endpoints[0].repository, "hub/library/alpine");
//! assert_eq!(endpoints[0].role, Role::Mirror);
//! assert_eq!(endpoints[0].plain_http, PlainHttp::Allowed);
//! assert_eq!(endpoints[1].host, "registry-1.docker.io");
//! assert_eq!(endpoints[1].repository, "library/alpine");
//! assert_eq!(endpoints[1].plain_http, PlainHttp::Refused);
//! # Ok::<(), lithify_registry::config::ConfigError>(())
//! ```
//!
//! # Matching
//! The `[[registry]]` with the longest `prefix` of `host[:port]/repository` is used; prefixes end at a `/`, a port is
//! part of its host. `*.example.com` is every host below `example.com`, at any depth, and comes after every prefix
//! without a star. What follows the prefix is appended to the `location`.
//!
//! # Plain HTTP and `insecure`
//! Loopback hosts (`localhost`, `127.0.0.0/8`, `[::1]`) may be spoken to in plain HTTP if they do not speak TLS; what
//! TLS they speak is checked. `insecure` means what skopeo's `--tls-verify=false` does: certificates are not checked,
//! and plain HTTP is tried where TLS is not spoken. `plain-http` says that a host speaks nothing else.
//!
//! # Certificates
//! Beside `ca`, `client-cert` and `client-key`, the directories docker and podman use are read: the first that exists of
//! `~/.config/containers/certs.d/HOST[:PORT]`, `/etc/containers/certs.d/…` and `/etc/docker/certs.d/…`. In it `*.crt`
//! are further authorities, `NAME.cert` with `NAME.key` a client's certificate; what is of no use is passed over with a warning.

mod certificates;
mod endpoint;
mod error;
mod file;
mod matching;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use lithify_escape::Escaped;
use lithify_oci::reference::Reference;

pub use endpoint::{Endpoint, FoundFiles, PlainHttp, Role, Timeouts, TlsFiles};
pub use error::ConfigError;

use crate::Secret;
pub use crate::environment::Environment;
use file::{File, MirrorTable, PullFrom, RegistryTable};
use matching::{Prefix, canonical};

/// Longest configuration in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Retries of a request that failed for a passing reason.
const DEFAULT_RETRIES: u32 = 5;

/// What is configured for all registries.
#[derive(Clone, Debug)]
pub struct Config {
    registries: Vec<Entry>,
    retries: u32,
    proxy: Option<Secret>,
    no_proxy: Option<Vec<String>>,
    timeouts: Timeouts,
    max_connections: Option<u32>,
    insecure: Option<bool>,
    environment: Environment,
    source: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Entry {
    prefix: Prefix,
    table: RegistryTable,
}

/// One host and path to ask, before it is an [`Endpoint`].
struct Place<'a> {
    name: String,
    insecure: bool,
    plain_http: bool,
    ca: &'a [PathBuf],
    client: Option<(PathBuf, PathBuf)>,
    role: Role,
    namespace: Option<String>,
}

impl Config {
    /// No file: every registry as it comes.
    #[must_use]
    pub fn empty(environment: Environment) -> Self {
        Self {
            registries: Vec::new(),
            retries: DEFAULT_RETRIES,
            proxy: None,
            no_proxy: None,
            timeouts: Timeouts::default(),
            max_connections: None,
            insecure: None,
            environment,
            source: None,
        }
    }

    /// Reads the file the caller names, or the first of the usual ones, or none.
    ///
    /// # Errors
    /// If a file that was named is missing, or one cannot be read or is malformed.
    pub fn load(environment: Environment, file: Option<&Path>) -> Result<Self, ConfigError> {
        let named = file
            .map(Path::to_owned)
            .or_else(|| environment.lithify_registries.clone());
        if let Some(path) = named {
            return match read(&path)? {
                Some(text) => Self::parse(&text, &path, environment),
                None => Err(ConfigError::Missing { path }),
            };
        }
        let usual = [
            environment
                .config_home()
                .map(|home| home.join("lithify/registries.toml")),
            Some(environment.system("/etc/lithify/registries.toml")),
        ];
        for path in usual.into_iter().flatten() {
            let text = match read(&path) {
                // Nobody named it; a service may run with another user's home.
                Err(error) if error.is_out_of_reach() => {
                    log::debug!("{error}");
                    None
                }
                other => other?,
            };
            if let Some(text) = text {
                log::debug!("registries are configured by {}", Escaped::path(&path));
                return Self::parse(&text, &path, environment);
            }
        }
        Ok(Self::empty(environment))
    }

    /// Reads a configuration; `path` is what errors name and what relative paths of certificates are relative to.
    ///
    /// # Errors
    /// If it is malformed: no TOML, unknown keys, hosts that are none, certificates without keys.
    pub fn parse(text: &str, path: &Path, environment: Environment) -> Result<Self, ConfigError> {
        let file = File::parse(text, path)?;
        let mut registries: Vec<Entry> = Vec::with_capacity(file.registry.len());
        for table in file.registry {
            let prefix = table.prefix(path)?;
            if registries.iter().any(|entry| entry.prefix == prefix) {
                return Err(ConfigError::Duplicate {
                    path: path.to_owned(),
                    prefix: prefix.to_string(),
                });
            }
            let table = table.checked(path, &prefix)?;
            registries.push(Entry { prefix, table });
        }
        Ok(Self {
            registries,
            retries: file.retries.unwrap_or(DEFAULT_RETRIES),
            proxy: file.proxy.map(Secret::new),
            no_proxy: file.no_proxy,
            timeouts: file.timeouts.over(Timeouts::default()),
            max_connections: file.max_connections,
            source: Some(path.to_owned()),
            ..Self::empty(environment)
        })
    }

    /// Overrides `insecure` for every host, as `--insecure` does.
    #[must_use]
    pub fn with_insecure(mut self, insecure: bool) -> Self {
        self.insecure = Some(insecure);
        self
    }

    /// The file, if there is one.
    #[must_use]
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// How often a request is repeated that failed for a passing reason; 5 if not said.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// The proxy for all hosts, in place of what the environment says. It may have a password in it.
    #[must_use]
    pub fn proxy(&self) -> Option<&Secret> {
        self.proxy.as_ref()
    }

    /// Hosts and domains that are asked without a proxy, in place of what the environment says; `None` if the file
    /// says nothing of it.
    #[must_use]
    pub fn no_proxy(&self) -> Option<&[String]> {
        self.no_proxy.as_deref()
    }

    /// Where to read an image from, in the order to try: mirrors, then the place itself.
    ///
    /// # Errors
    /// If the registry is blocked, or its certificates' directory cannot be read.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, ConfigError> {
        let name = Name::of(reference);
        let entry = self.entry(&name)?;
        let mut endpoints = Vec::new();
        if let Some((table, rest)) = &entry {
            for mirror in &table.mirror {
                if mirror.serves(reference) {
                    endpoints.push(self.mirror(mirror, rest, &name, table)?);
                }
            }
        }
        endpoints.push(self.place_itself(&name, entry)?);
        Ok(endpoints)
    }

    /// Where to write an image to: never a mirror.
    ///
    /// # Errors
    /// As [`endpoints`](Self::endpoints).
    pub fn primary(&self, reference: &Reference) -> Result<Endpoint, ConfigError> {
        let name = Name::of(reference);
        let entry = self.entry(&name)?;
        self.place_itself(&name, entry)
    }

    /// A registry as a whole, for signing in: as [`primary`](Self::primary), with an empty repository and no rewriting.
    ///
    /// # Errors
    /// As [`endpoints`](Self::endpoints).
    pub fn registry(&self, host: &str) -> Result<Endpoint, ConfigError> {
        let name = Name {
            host: canonical(host),
            path: String::new(),
        };
        let entry = self.entry(&name)?;
        let table = entry.map(|(table, _)| table);
        self.endpoint(primary_of(name.host, table), table)
    }

    /// The entry of a name and what follows its prefix.
    fn entry(&self, name: &Name) -> Result<Option<(&RegistryTable, String)>, ConfigError> {
        let best = self
            .registries
            .iter()
            .filter_map(|entry| {
                let rest = entry.prefix.rest(&name.host, &name.path)?;
                Some((entry.prefix.rank(), entry, rest))
            })
            .max_by_key(|(rank, _, _)| *rank);
        match best {
            Some((_, entry, _)) if entry.table.blocked => Err(ConfigError::Blocked {
                name: name.to_string(),
                prefix: entry.prefix.to_string(),
                path: self.source.clone().unwrap_or_default(),
            }),
            Some((_, entry, rest)) => Ok(Some((&entry.table, rest))),
            None => Ok(None),
        }
    }

    fn place_itself(
        &self,
        name: &Name,
        entry: Option<(&RegistryTable, String)>,
    ) -> Result<Endpoint, ConfigError> {
        let rewritten = entry.as_ref().and_then(|(table, rest)| {
            let location = table.location.as_deref()?;
            Some(format!("{location}{rest}"))
        });
        let table = entry.map(|(table, _)| table);
        let name = rewritten.unwrap_or_else(|| name.to_string());
        self.endpoint(primary_of(name, table), table)
    }

    fn mirror(
        &self,
        mirror: &MirrorTable,
        rest: &str,
        original: &Name,
        table: &RegistryTable,
    ) -> Result<Endpoint, ConfigError> {
        let place = Place {
            name: format!("{}{rest}", mirror.location),
            insecure: mirror.insecure,
            plain_http: mirror.plain_http,
            ca: mirror.ca.files(),
            client: mirror.client_cert.clone().zip(mirror.client_key.clone()),
            role: Role::Mirror,
            namespace: mirror.ns.then(|| original.host.clone()),
        };
        self.endpoint(place, Some(table))
    }

    fn endpoint(
        &self,
        place: Place<'_>,
        table: Option<&RegistryTable>,
    ) -> Result<Endpoint, ConfigError> {
        let (host, path) = place
            .name
            .split_once('/')
            .unwrap_or((place.name.as_str(), ""));
        let logical = canonical(host);
        let host = if logical == "docker.io" {
            "registry-1.docker.io".to_owned()
        } else {
            logical.clone()
        };
        let insecure = self.insecure.unwrap_or(place.insecure);
        let plain_http = if place.plain_http {
            PlainHttp::Forced
        } else if insecure || matching::is_loopback(&host) {
            PlainHttp::Allowed
        } else {
            PlainHttp::Refused
        };
        let tls = TlsFiles {
            ca: place.ca.to_vec(),
            client: place.client,
            found: certificates::find(&self.environment, &[&host, &logical])?,
        };
        Ok(Endpoint {
            host,
            repository: path.to_owned(),
            plain_http,
            verify: !insecure,
            tls,
            role: place.role,
            namespace: place.namespace,
            realms: table.and_then(|table| table.realms.clone()),
            timeouts: table.map_or(self.timeouts, |table| table.timeouts.over(self.timeouts)),
            max_connections: table
                .and_then(|table| table.max_connections)
                .or(self.max_connections),
        })
    }
}

fn primary_of(name: String, table: Option<&RegistryTable>) -> Place<'_> {
    Place {
        name,
        insecure: table.is_some_and(|table| table.insecure),
        plain_http: table.is_some_and(|table| table.plain_http),
        ca: table.map_or(&[], |table| table.ca.files()),
        client: table.and_then(|table| table.client_cert.clone().zip(table.client_key.clone())),
        role: Role::Primary,
        namespace: None,
    }
}

impl MirrorTable {
    fn serves(&self, reference: &Reference) -> bool {
        match self.pull_from {
            PullFrom::All => true,
            PullFrom::DigestOnly => reference.digest().is_some(),
            PullFrom::TagOnly => reference.digest().is_none(),
        }
    }
}

/// A name in full: `docker.io` and `library/alpine`.
struct Name {
    host: String,
    path: String,
}

impl Name {
    fn of(reference: &Reference) -> Self {
        let full = reference.normalised();
        Self {
            host: canonical(full.domain().unwrap_or_default()),
            path: full.path().to_owned(),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.host);
        }
        write!(f, "{}/{}", self.host, self.path)
    }
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLong {
            path: path.to_owned(),
            limit: MAX_FILE,
        });
    }
    Ok(Some(text))
}
