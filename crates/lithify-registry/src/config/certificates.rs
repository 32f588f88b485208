//! Directories of certificates: `certs.d/HOST[:PORT]` (containers-certs.d(5), docker's documentation of `certs.d`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lithify_escape::Escaped;

use super::ConfigError;
use super::endpoint::FoundFiles;
use crate::environment::Environment;

/// Most files looked at in one directory.
const MAX_FILES: usize = 1024;

/// What the first directory that exists has for a host, by any of its names.
pub(super) fn find(environment: &Environment, hosts: &[&str]) -> Result<FoundFiles, ConfigError> {
    let roots = [
        environment
            .home
            .as_ref()
            .map(|home| home.join(".config/containers/certs.d")),
        Some(environment.system("/etc/containers/certs.d")),
        Some(environment.system("/etc/docker/certs.d")),
    ];
    for root in roots.into_iter().flatten() {
        for host in hosts {
            // Hosts come from references, whose grammar has neither `/` nor `..`; a caller's may not have passed it.
            if host.contains(['/', '\\', '\0']) || matches!(*host, "" | "." | "..") {
                continue;
            }
            if let Some(files) = read(&root.join(host))? {
                return Ok(files);
            }
        }
    }
    Ok(FoundFiles::default())
}

fn read(directory: &Path) -> Result<Option<FoundFiles>, ConfigError> {
    let failed = |source| ConfigError::Io {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
                // As with credentials: what one may not read is not for one.
                ErrorKind::PermissionDenied => {
                    log::warn!(
                        "{} may not be read; its certificates are not used",
                        Escaped::path(directory)
                    );
                    Ok(None)
                }
                _ => Err(failed(error)),
            };
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        if paths.len() == MAX_FILES {
            return Err(ConfigError::TooMany {
                path: directory.to_owned(),
                what: "files",
                limit: MAX_FILES,
            });
        }
        paths.push(entry.map_err(failed)?.path());
    }
    // The order of a directory is nobody's choice; that of names is.
    paths.sort();
    let with = |extension: &str| -> Vec<PathBuf> {
        let extension = OsStr::new(extension);
        let matching = paths
            .iter()
            .filter(|path| path.extension() == Some(extension));
        matching.cloned().collect()
    };
    let (certificates, keys) = (with("cert"), with("key"));
    for (files, other) in [(&certificates, "key"), (&keys, "cert")] {
        for file in files {
            let missing = file.with_extension(other);
            if !paths.contains(&missing) && is_new(file) {
                log::warn!(
                    "{} is passed over: there is no {} beside it (a certificate of an authority is called *.crt)",
                    Escaped::path(file),
                    Escaped::path(missing.file_name().unwrap_or_default())
                );
            }
        }
    }
    let pairs = certificates.into_iter().filter_map(|certificate| {
        let key = certificate.with_extension("key");
        keys.contains(&key).then_some((certificate, key))
    });
    let clients: Vec<_> = pairs.collect();
    if clients.len() > 1 && is_new(directory) {
        log::warn!(
            "{} has {} certificates for a client; the first by name is used",
            Escaped::path(directory),
            clients.len()
        );
    }
    Ok(Some(FoundFiles {
        ca: with("crt"),
        clients,
    }))
}

/// Whether nothing was said of a file yet: directories are looked at for each image and each host it leads to.
fn is_new(path: &Path) -> bool {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    SAID.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(path.to_owned())
}
