//! The files, in order.

use std::path::{Path, PathBuf};

use crate::environment::Environment;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `auths`, `credHelpers`, `credsStore`.
    Members,
    /// Entries at the top, as in `~/.dockercfg`.
    Legacy,
}

pub(super) struct Location {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    /// Whether it is an error that there is no such file.
    pub(super) required: bool,
}

pub(super) fn all(environment: &Environment, file: Option<&Path>) -> Vec<Location> {
    let location = |path: PathBuf| Location {
        path,
        format: Format::Members,
        required: false,
    };
    if let Some(path) = file {
        return vec![Location {
            required: true,
            ..location(path.to_owned())
        }];
    }
    if let Some(path) = &environment.registry_auth_file {
        return vec![location(path.clone())];
    }
    let mut locations = Vec::new();
    locations.extend(runtime_file(environment).map(location));
    locations.extend(config_file(environment).map(location));
    if let Some(home) = environment.docker_home() {
        locations.push(location(home.join("config.json")));
    }
    if let Some(home) = &environment.home {
        locations.push(Location {
            format: Format::Legacy,
            ..location(home.join(".dockercfg"))
        });
    }
    locations
}

pub(crate) fn runtime_file(environment: &Environment) -> Option<PathBuf> {
    match (&environment.xdg_runtime_dir, environment.uid) {
        (Some(directory), _) => Some(directory.join("containers/auth.json")),
        (None, Some(uid)) => Some(environment.system(&format!("/run/containers/{uid}/auth.json"))),
        (None, None) => None,
    }
}

pub(crate) fn config_file(environment: &Environment) -> Option<PathBuf> {
    Some(environment.config_home()?.join("containers/auth.json"))
}
