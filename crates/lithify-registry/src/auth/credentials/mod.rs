//! Credentials: where they are kept, and which belong to a repository.
//!
//! # Where they are looked for
//! The first place that has some wins:
//!
//! 1. what the caller gave ([`Credentials::with_credential`], [`Credentials::with_file`]);
//! 2. `$REGISTRY_AUTH_FILE`;
//! 3. `$XDG_RUNTIME_DIR/containers/auth.json`, or `/run/containers/UID/auth.json` if that variable is not set;
//! 4. `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config/containers/auth.json`);
//! 5. `$DOCKER_CONFIG/config.json` (`~/.docker/config.json`);
//! 6. `~/.dockercfg`, docker's format before 1.7.
//!
//! A file named by the caller or by `$REGISTRY_AUTH_FILE` is the only one read, as in containers' tools
//! (containers-auth.json(5)). A file that is missing holds nothing, unless the caller named it; one that may not be
//! read is passed over with a warning; one that is malformed is an error.
//!
//! # Which entry of a file
//! Keys are `host[:port][/namespace…]`; the longest prefix of `host/repository` wins (containers-auth.json(5)). Docker's
//! keys with a scheme or API version (`https://index.docker.io/v1/`) mean the host alone; `index.docker.io` and
//! `registry-1.docker.io` are `docker.io`. For prefixes of equal length `credHelpers` comes before `credsStore` (which
//! stands for every host) before `auths`.
//!
//! A helper that is not installed, fails, or answers something else than the protocol has, is passed over with a warning
//! that has its own words: a configuration copied from a desktop, a locked keychain or a session without D-Bus must not
//! break pulls that need no credentials. Where the registry then wants some, the error says what the helper said.
//!
//! # Files others may read
//! are used, since the tools that wrote them use them too, but [`Found::exposed`] says so and a warning is logged.

mod error;
mod file;
mod helper;
mod key;
pub(crate) mod locations;
mod process;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lithify_cancel::CancelToken;
use lithify_escape::Escaped;

pub use error::CredentialsError;
pub use helper::HELPER_TIMEOUT;

pub(crate) use file::{Text, read};
pub(crate) use helper::{Helper, Reply};
pub(crate) use key::{Key, canonical_host, servers};

use crate::Secret;
use crate::environment::Environment;
use file::AuthFile;
use locations::{Format, Location};

/// What proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password (or what a registry takes for one).
    Basic {
        /// The name; never has a `:`.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, exchanged for access tokens at the realm.
    IdentityToken(Secret),
    /// A token that is sent to the registry as it is.
    RegistryToken(Secret),
}

/// Where credentials came from; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Given by the caller.
    Given,
    /// An entry of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The entry's key as written.
        key: String,
    },
    /// A credential helper.
    Helper {
        /// Its name, the part after `docker-credential-`.
        name: String,
        /// What it was asked for.
        server: String,
        /// The file that names it.
        path: PathBuf,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("the command line"),
            Self::File { path, key } => {
                write!(f, "{} (`{}`)", Escaped::path(path), Escaped(key))
            }
            Self::Helper { name, server, .. } => {
                write!(f, "docker-credential-{name} (`{}`)", Escaped(server))
            }
        }
    }
}

/// Credentials and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The credentials.
    pub credential: Credential,
    /// Where they came from.
    pub source: Source,
    /// Whether they were in a file that group or others may read.
    pub exposed: bool,
}

/// A place that was looked at, and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or the file that names the helper.
    pub path: PathBuf,
    /// The helper asked, if the place is one.
    pub helper: Option<String>,
    /// What was found.
    pub outcome: Outcome,
}

/// Why a place gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// There is no such file or program.
    Missing,
    /// It may not be read.
    Unreadable,
    /// It has nothing for this registry.
    Nothing,
    /// The helper did not say.
    Failed {
        /// Why, in a sentence that names the helper.
        reason: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.helper {
            Some(helper) => write!(f, "docker-credential-{helper}")?,
            None => write!(f, "{}", Escaped::path(&self.path))?,
        }
        match &self.outcome {
            Outcome::Missing => f.write_str(" (missing)"),
            Outcome::Unreadable => f.write_str(" (may not be read)"),
            Outcome::Nothing => Ok(()),
            Outcome::Failed { reason } => write!(f, " ({reason})"),
        }
    }
}

/// What a search found, and where it looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The credentials, if any.
    pub found: Option<Found>,
    /// The places that had none, in order.
    pub looked: Vec<Place>,
}

/// All places credentials may be kept in. Nothing is read before [`find`](Self::find).
///
/// ```
/// use lithify_registry::Secret;
/// use lithify_registry::auth::{Credential, Credentials, Source};
/// use lithify_registry::config::Environment;
///
/// let credentials = Credentials::new(Environment::empty()).with_credential(
///     "registry.example.com",
///     Credential::Basic { username: "me".into(), password: Secret::new("hunter2") },
/// );
/// let found = credentials.find("registry.example.com", "team/app")?.found.unwrap();
/// assert_eq!(found.source, Source::Given);
/// assert!(credentials.find("other.example.com", "team/app")?.found.is_none());
/// # Ok::<(), lithify_registry::auth::CredentialsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Credentials {
    environment: Environment,
    file: Option<PathBuf>,
    given: Vec<(String, Credential)>,
    for_all: Option<Credential>,
    helper_timeout: Duration,
    anonymous: bool,
    cancel: CancelToken,
}

impl Credentials {
    /// The places the environment names.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self {
            environment,
            file: None,
            given: Vec::new(),
            for_all: None,
            helper_timeout: HELPER_TIMEOUT,
            anonymous: false,
            cancel: CancelToken::new(),
        }
    }

    /// No credentials for anyone, whatever files say.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            anonymous: true,
            ..Self::new(Environment::empty())
        }
    }

    /// Reads this file and no other.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Uses a credential for a registry (`host[:port]`, or a prefix of `host/repository`) rather than what files say.
    #[must_use]
    pub fn with_credential(mut self, registry: &str, credential: Credential) -> Self {
        self.given.push((registry.to_owned(), credential));
        self
    }

    /// Uses a credential for every registry that asks, rather than what files say: for those who speak to one. Mirrors of it on
    /// other hosts are not sent it.
    #[must_use]
    pub fn with_credential_for_all(mut self, credential: Credential) -> Self {
        self.for_all = Some(credential);
        self
    }

    /// How long a helper may take; 30 s if not said.
    #[must_use]
    pub fn with_helper_timeout(mut self, limit: Duration) -> Self {
        self.helper_timeout = limit;
        self
    }

    /// Helpers are ended when the work is stopped.
    #[must_use]
    pub fn until(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// The credentials for a repository, or for the registry as a whole if `repository` is empty.
    ///
    /// # Errors
    /// If a file is malformed or too long, the caller's file is missing, or the work is stopped. Having no credentials
    /// is no error, and neither is a helper that fails.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Lookup, CredentialsError> {
        self.search(registry, repository, self.for_all.as_ref())
    }

    /// As [`find`](Self::find), without what was given for every registry: for those the user did not name.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_stored(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Lookup, CredentialsError> {
        self.search(registry, repository, None)
    }

    fn search(
        &self,
        registry: &str,
        repository: &str,
        for_all: Option<&Credential>,
    ) -> Result<Lookup, CredentialsError> {
        let wanted = Key::wanted(registry, repository);
        let mut lookup = Lookup::default();
        if self.anonymous {
            return Ok(lookup);
        }
        for prefix in wanted.prefixes() {
            let given = self
                .given
                .iter()
                .find(|(key, _)| Key::normalise(key).is_some_and(|key| key.as_str() == prefix));
            if let Some((_, credential)) = given {
                lookup.found = Some(Found {
                    credential: credential.clone(),
                    source: Source::Given,
                    exposed: false,
                });
                return Ok(lookup);
            }
        }
        if let Some(credential) = for_all {
            lookup.found = Some(Found {
                credential: credential.clone(),
                source: Source::Given,
                exposed: false,
            });
            return Ok(lookup);
        }
        for location in locations::all(&self.environment, self.file.as_deref()) {
            if self.find_in(&location, &wanted, &mut lookup)? {
                break;
            }
        }
        Ok(lookup)
    }

    fn find_in(
        &self,
        location: &Location,
        wanted: &Key,
        lookup: &mut Lookup,
    ) -> Result<bool, CredentialsError> {
        let path = &location.path;
        let text = match read(path)? {
            Text::Some { text, exposed } => (text, exposed),
            Text::Missing if location.required => {
                return Err(CredentialsError::Missing { path: path.clone() });
            }
            Text::Missing => {
                lookup.looked.push(place(path, None, Outcome::Missing));
                return Ok(false);
            }
            Text::Unreadable => {
                log::warn!(
                    "{} may not be read; its credentials are not used",
                    Escaped::path(path)
                );
                lookup.looked.push(place(path, None, Outcome::Unreadable));
                return Ok(false);
            }
        };
        let (text, exposed) = text;
        let file = AuthFile::parse(path, &text, location.format == Format::Legacy)?;
        let found = self.match_entry(&file, wanted, lookup)?;
        let Some((credential, source)) = found else {
            lookup.looked.push(place(path, None, Outcome::Nothing));
            return Ok(false);
        };
        let exposed = exposed && matches!(source, Source::File { .. });
        if exposed {
            log::warn!(
                "{} holds credentials and can be read by others: chmod 600 it",
                Escaped::path(path)
            );
        }
        lookup.found = Some(Found {
            credential,
            source,
            exposed,
        });
        Ok(true)
    }

    fn match_entry(
        &self,
        file: &AuthFile<'_>,
        wanted: &Key,
        lookup: &mut Lookup,
    ) -> Result<Option<(Credential, Source)>, CredentialsError> {
        for prefix in wanted.prefixes() {
            if let Some(name) = file.helper(prefix)? {
                match self.ask(file.path, name, prefix)? {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(nothing) => lookup.looked.push(nothing),
                }
            }
            if prefix == wanted.host()
                && let Some(name) = file.store()?
            {
                match self.ask(file.path, name, prefix)? {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(nothing) => lookup.looked.push(nothing),
                }
            }
            if let Some((credential, key)) = file.credential(prefix)? {
                let path = file.path.to_owned();
                return Ok(Some((credential, Source::File { path, key })));
            }
        }
        Ok(None)
    }

    /// What a helper has for a prefix, or why it has nothing.
    fn ask(
        &self,
        path: &Path,
        name: String,
        prefix: &str,
    ) -> Result<Result<(Credential, Source), Place>, CredentialsError> {
        let helper = Helper::new(
            path,
            name,
            self.environment.path.clone(),
            self.helper_timeout,
            self.cancel.clone(),
        )?;
        let outcome = match ask(&helper, path, &servers(prefix)) {
            Ok(Some(answer)) => return Ok(Ok(answer)),
            Ok(None) => Outcome::Nothing,
            // Whoever stops the work has ended the helper.
            Err(error) if self.cancel.is_cancelled() => return Err(error),
            Err(error) => {
                log::warn!("{error}; going on without its credentials");
                match error {
                    CredentialsError::HelperMissing { .. } => Outcome::Missing,
                    error => Outcome::Failed {
                        reason: error.to_string(),
                    },
                }
            }
        };
        Ok(Err(place(path, Some(&helper), outcome)))
    }
}

fn ask(
    helper: &Helper,
    path: &Path,
    servers: &[String],
) -> Result<Option<(Credential, Source)>, CredentialsError> {
    for server in servers {
        if let Reply::Credential(credential) = helper.get(server)? {
            let source = Source::Helper {
                name: helper.name().to_owned(),
                server: server.clone(),
                path: path.to_owned(),
            };
            return Ok(Some((credential, source)));
        }
    }
    Ok(None)
}

fn place(path: &Path, helper: Option<&Helper>, outcome: Outcome) -> Place {
    Place {
        path: path.to_owned(),
        helper: helper.map(|helper| helper.name().to_owned()),
        outcome,
    }
}
