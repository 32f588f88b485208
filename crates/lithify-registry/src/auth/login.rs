//! Storing credentials, and forgetting them.
//!
//! # Which file
//! The one the caller names; else `$REGISTRY_AUTH_FILE`; else `$XDG_RUNTIME_DIR/containers/auth.json` if that directory
//! exists; else `/run/containers/UID/auth.json` if `/run/containers/UID` exists (containers' tools have signed in
//! there); else `~/.config/containers/auth.json`. No place that comes earlier in the search then holds an entry that
//! would be found instead, and skopeo, buildah and podman read each of them. Unlike theirs, a machine without a runtime
//! directory gets a file that outlives a restart.
//!
//! # How
//! If the file names a helper for the registry (`credHelpers`, `credsStore`), the helper stores the secret. Otherwise
//! the file gets an `auth` entry: it is written anew next to the old one (mode 0600), synced and renamed over it, so
//! that a reader sees the old or the new one. All else in it stays as it is, letter for letter; a symbolic link is
//! followed, not replaced. Writers of ours wait for each other; other tools know no lock for these files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use lithify_cancel::CancelToken;

use super::credentials::{
    CredentialsError, HELPER_TIMEOUT, Helper, Key, Source, Text, locations, read, servers,
};
use super::json::{Members, quote};
use super::{Credential, JsonError};
use crate::environment::Environment;

/// Most symbolic links followed to a file.
const MAX_LINKS: usize = 32;

/// Where credentials are stored.
///
/// ```
/// use lithify_registry::Secret;
/// use lithify_registry::auth::{Credential, Credentials, Login};
/// use lithify_registry::config::Environment;
///
/// let directory = tempfile::tempdir()?;
/// let mut environment = Environment::empty();
/// environment.home = Some(directory.path().to_owned());
/// let login = Login::new(&environment, None)?;
/// let credential = Credential::Basic { username: "me".into(), password: Secret::new("hunter2") };
/// login.store("registry.example.com", &credential)?;
///
/// let credentials = Credentials::new(environment);
/// assert_eq!(credentials.find("registry.example.com", "a")?.found.unwrap().credential, credential);
/// assert_eq!(login.remove("registry.example.com")?.sources.len(), 1);
/// assert!(credentials.find("registry.example.com", "a")?.found.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Login {
    file: PathBuf,
    environment: Environment,
    limit: Duration,
    cancel: CancelToken,
}

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Where it had been; empty if there was nothing.
    pub sources: Vec<Source>,
}

/// The file a sign-in goes to if the caller names none.
#[must_use]
pub fn default_file(environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = &environment.registry_auth_file {
        return Some(path.clone());
    }
    let exists = |path: &Path| path.is_dir();
    let runtime = match &environment.xdg_runtime_dir {
        Some(directory) => exists(directory),
        None => environment
            .uid
            .is_some_and(|uid| exists(&environment.system(&format!("/run/containers/{uid}")))),
    };
    runtime
        .then(|| locations::runtime_file(environment))
        .flatten()
        .or_else(|| locations::config_file(environment))
}

impl Login {
    /// Stores in `file`, or in [`default_file`].
    ///
    /// # Errors
    /// If there is no home directory either.
    pub fn new(environment: &Environment, file: Option<&Path>) -> Result<Self, CredentialsError> {
        let file = file
            .map(Path::to_owned)
            .or_else(|| default_file(environment))
            .ok_or(CredentialsError::NoPlace)?;
        Ok(Self {
            file,
            environment: environment.clone(),
            limit: HELPER_TIMEOUT,
            cancel: CancelToken::new(),
        })
    }

    /// How long a helper may take; 30 s if not said.
    #[must_use]
    pub fn with_helper_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Helpers are ended, and locks not waited for, when the work is stopped.
    #[must_use]
    pub fn until(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Stores a credential for `host[:port][/namespace…]`, in place of an older one. The registry is not asked whether
    /// it is right.
    ///
    /// # Errors
    /// If the file is malformed or cannot be written, a helper fails, or the name or user is not allowed.
    pub fn store(
        &self,
        registry: &str,
        credential: &Credential,
    ) -> Result<Source, CredentialsError> {
        let key = key(registry)?;
        let entry = entry(credential)?;
        let target = Target::open(&self.file, &self.cancel)?;
        let mut document = Document::read(&target.path)?;
        if let Some(helper) = self.helper(&document, &target.path, &key)? {
            let server = helper_server(&key);
            match credential {
                Credential::Basic { username, password } => {
                    helper.store(&server, username, password)?;
                }
                Credential::IdentityToken(token) | Credential::RegistryToken(token) => {
                    helper.store(&server, "<token>", token)?;
                }
            }
            return Ok(Source::Helper {
                name: helper.name().to_owned(),
                server,
                path: target.path.clone(),
            });
        }
        let name = document.entry_name(&key, &target.path);
        document.remove_others(&key, &name);
        document.auths.set(&name, entry);
        document.write(&target)?;
        Ok(Source::File {
            path: target.path.clone(),
            key: name,
        })
    }

    /// Removes what is stored for a registry in this file and the helper it names. Other files may have credentials
    /// for it too; [`Credentials::find`](super::Credentials::find) tells.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub fn remove(&self, registry: &str) -> Result<Removed, CredentialsError> {
        let key = key(registry)?;
        let mut removed = Removed::default();
        if matches!(read(&self.file)?, Text::Missing) {
            return Ok(removed);
        }
        let target = Target::open(&self.file, &self.cancel)?;
        let mut document = Document::read(&target.path)?;
        if let Some(helper) = self.helper(&document, &target.path, &key)? {
            for server in servers(key.as_str()) {
                // Some helpers say nothing when there was nothing, so they are asked first.
                let held = helper.get(&server)? != super::credentials::Reply::Nothing;
                if held && helper.erase(&server)? {
                    removed.sources.push(Source::Helper {
                        name: helper.name().to_owned(),
                        server,
                        path: target.path.clone(),
                    });
                }
            }
        }
        let gone = document.remove(&key);
        if !gone.is_empty() {
            document.write(&target)?;
        }
        let path = &target.path;
        removed
            .sources
            .extend(gone.into_iter().map(|key| Source::File {
                path: path.clone(),
                key,
            }));
        Ok(removed)
    }

    /// The helper for this very key, or the one for all hosts.
    fn helper(
        &self,
        document: &Document,
        path: &Path,
        key: &Key,
    ) -> Result<Option<Helper>, CredentialsError> {
        let json = |field: &str, source| CredentialsError::Json {
            path: path.to_owned(),
            field: field.to_owned(),
            source,
        };
        let helpers = document
            .top
            .object("credHelpers")
            .map_err(|source| json("credHelpers", source))?;
        let named = helpers
            .0
            .iter()
            .map(|(name, _)| name)
            .find(|name| Key::normalise(name).as_ref() == Some(key));
        let name = match named {
            Some(name) => helpers
                .string(name)
                .map_err(|source| json("credHelpers", source))?,
            None if key.as_str() == key.host() => document
                .top
                .string("credsStore")
                .map_err(|source| json("credsStore", source))?,
            None => None,
        };
        name.filter(|name| !name.is_empty())
            .map(|name| {
                let (path_variable, cancel) = (self.environment.path.clone(), self.cancel.clone());
                Helper::new(path, name, path_variable, self.limit, cancel)
            })
            .transpose()
    }
}

/// The name a helper is to store a key under: docker's own for Docker Hub.
fn helper_server(key: &Key) -> String {
    servers(key.as_str()).swap_remove(0)
}

fn key(registry: &str) -> Result<Key, CredentialsError> {
    let wrong = || CredentialsError::Registry {
        name: registry.to_owned(),
    };
    let key = Key::normalise(registry).ok_or_else(wrong)?;
    // The grammar of references, with any host: `localhost` and names without dots too.
    let (host, path) = key.as_str().split_once('/').unwrap_or((key.as_str(), "x"));
    let host = if host.contains(['.', ':']) || host == "localhost" {
        host.to_owned()
    } else {
        format!("{host}:443")
    };
    let reference = format!("{host}/{path}").parse::<lithify_oci::reference::Reference>();
    match reference {
        Ok(reference) if reference.tag().is_none() && reference.digest().is_none() => Ok(key),
        _ => Err(wrong()),
    }
}

fn entry(credential: &Credential) -> Result<Box<RawValue>, CredentialsError> {
    let text = match credential {
        Credential::Basic { username, password } => {
            if username.is_empty() || username.contains(':') || username.contains(char::is_control)
            {
                return Err(CredentialsError::Username);
            }
            let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
            format!("{{\n\t\t\t\"auth\": {}\n\t\t}}", quote(&pair))
        }
        Credential::IdentityToken(token) => {
            format!(
                "{{\n\t\t\t\"identitytoken\": {}\n\t\t}}",
                quote(token.expose())
            )
        }
        Credential::RegistryToken(token) => {
            format!(
                "{{\n\t\t\t\"registrytoken\": {}\n\t\t}}",
                quote(token.expose())
            )
        }
    };
    RawValue::from_string(text).map_err(|_| CredentialsError::Username)
}

/// The file to be replaced, and its directory, locked.
struct Target {
    path: PathBuf,
    directory: PathBuf,
    _lock: File,
}

impl Target {
    fn open(path: &Path, cancel: &CancelToken) -> Result<Self, CredentialsError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| CredentialsError::Io {
                action,
                path,
                source,
            }
        };
        let path = follow(path).map_err(failed("follow", path))?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        make_directory(&directory).map_err(failed("create", &directory))?;
        let lock = File::open(&directory).map_err(failed("open", &directory))?;
        #[cfg(unix)]
        lock_until(&lock, cancel).map_err(failed("lock", &directory))?;
        Ok(Self {
            path,
            directory,
            _lock: lock,
        })
    }
}

/// Waits for the exclusive lock of a directory.
#[cfg(unix)]
fn lock_until(directory: &File, cancel: &CancelToken) -> io::Result<()> {
    use rustix::fs::{FlockOperation, flock};

    let mut pause = Duration::from_millis(1);
    loop {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            locked => return Ok(locked?),
        }
        cancel.wait(pause)?;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// What a path leads to, also if the last link leads to nothing yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

struct Document {
    top: Members,
    auths: Members,
}

impl Document {
    fn read(path: &Path) -> Result<Self, CredentialsError> {
        let json = |field: &str| {
            let field = field.to_owned();
            move |source: JsonError| CredentialsError::Json {
                path: path.to_owned(),
                field,
                source,
            }
        };
        let text = match read(path)? {
            Text::Some { text, .. } => text,
            Text::Missing => String::new(),
            Text::Unreadable => {
                return Err(CredentialsError::Io {
                    action: "read",
                    path: path.to_owned(),
                    source: io::ErrorKind::PermissionDenied.into(),
                });
            }
        };
        let text = if text.trim().is_empty() { "{}" } else { &text };
        let top = Members::parse(text).map_err(json(""))?;
        let auths = top.object("auths").map_err(json("auths"))?;
        Ok(Self { top, auths })
    }

    /// The name an entry has or is to have. Docker finds its own registry under a URL only, so that is the name in
    /// docker's file.
    fn entry_name(&self, key: &Key, path: &Path) -> String {
        if key.as_str() == "docker.io" && path.file_name().is_some_and(|n| n == "config.json") {
            return helper_server(key);
        }
        key.as_str().to_owned()
    }

    /// Removes entries that mean the same registry by another name, which some tool would find first.
    fn remove_others(&mut self, key: &Key, name: &str) {
        self.auths
            .0
            .retain(|(other, _)| other == name || Key::normalise(other).as_ref() != Some(key));
    }

    fn remove(&mut self, key: &Key) -> Vec<String> {
        let mut gone = Vec::new();
        self.auths.0.retain(|(name, _)| {
            let matches = Key::normalise(name).as_ref() == Some(key);
            if matches {
                gone.push(name.clone());
            }
            !matches
        });
        gone
    }

    fn write(mut self, target: &Target) -> Result<(), CredentialsError> {
        let failed = |source| CredentialsError::Io {
            action: "write",
            path: target.path.clone(),
            source,
        };
        let auths = RawValue::from_string(self.auths.print(1))
            .map_err(|error| failed(io::Error::other(error)))?;
        self.top.set_field("auths", auths);
        let write = || -> io::Result<()> {
            // Made with mode 0600.
            let mut file = tempfile::Builder::new()
                .prefix(".auth.json.")
                .tempfile_in(&target.directory)?;
            file.write_all(self.top.print(0).as_bytes())?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&target.path).map_err(|error| error.error)?;
            #[cfg(unix)]
            File::open(&target.directory)?.sync_all()?;
            Ok(())
        };
        write().map_err(failed)
    }
}
