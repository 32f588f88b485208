//! What the process' surroundings say.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variables and directories that decide where files are looked for. A value, so that a test or an embedder says
/// them without touching the process.
///
/// ```
/// use lithify_registry::config::Environment;
///
/// let mut environment = Environment::empty();
/// environment.home = Some("/home/me".into());
/// assert_eq!(environment.config_home(), Some("/home/me/.config".into()));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Environment {
    /// `$HOME`, or what the user database says.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`; `~/.config` if unset.
    pub xdg_config_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `$DOCKER_CONFIG`, a directory; `~/.docker` if unset.
    pub docker_config: Option<PathBuf>,
    /// `$REGISTRY_AUTH_FILE`.
    pub registry_auth_file: Option<PathBuf>,
    /// `$LITHIFY_REGISTRIES`, our configuration.
    pub lithify_registries: Option<PathBuf>,
    /// `$PATH`, where credential helpers are found.
    pub path: Option<OsString>,
    /// The user's number, part of `/run/containers/UID`.
    pub uid: Option<u32>,
    /// What `/etc` and `/run` are taken relative to; `/` outside tests.
    pub root: PathBuf,
}

impl Environment {
    /// Nothing set, nothing found but what is below `/etc`.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            home: None,
            xdg_config_home: None,
            xdg_runtime_dir: None,
            docker_config: None,
            registry_auth_file: None,
            lithify_registries: None,
            path: None,
            uid: None,
            root: PathBuf::from("/"),
        }
    }

    /// That of this process. Variables set to the empty string count as unset.
    #[must_use]
    pub fn of_process() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(PathBuf::from);
        #[cfg(unix)]
        let uid = Some(rustix::process::getuid().as_raw());
        #[cfg(not(unix))]
        let uid = None;
        Self {
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            docker_config: path("DOCKER_CONFIG"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            lithify_registries: path("LITHIFY_REGISTRIES"),
            path: set("PATH"),
            uid,
            root: PathBuf::from("/"),
        }
    }

    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    #[must_use]
    pub fn config_home(&self) -> Option<PathBuf> {
        self.xdg_config_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".config")))
    }

    /// `$DOCKER_CONFIG`, else `~/.docker`.
    #[must_use]
    pub fn docker_home(&self) -> Option<PathBuf> {
        self.docker_config
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }

    /// An absolute path of the system, below [`root`](Self::root).
    pub(crate) fn system(&self, path: &str) -> PathBuf {
        self.root
            .join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }
}
