//! The authorities of the system, or those that variables name in their place.

use std::ffi::OsString;
use std::path::Path;

use rustls_native_certs::ErrorKind;

use super::TlsError;
use super::trust::Trust;

/// Believes the system's authorities; says which variable names something that cannot be read.
///
/// Go 1.19.8 passes over such a variable without a word, and curl 7.88.1 ends with an error that names the file: whoever
/// set it meant somebody to be believed.
pub(super) fn add_to(trust: &mut Trust) -> Option<TlsError> {
    let system = rustls_native_certs::load_native_certs();
    for certificate in &system.certs {
        if let Err(error) = trust.add(certificate) {
            log::debug!("a certificate of the system cannot be used: {error:?}");
        }
    }
    let mut found = None;
    for error in system.errors {
        match error.kind {
            ErrorKind::Io { inner, path } if found.is_none() => {
                match variable(&path, |name| std::env::var_os(name)) {
                    Some(variable) => {
                        found = Some(TlsError::Variable {
                            variable,
                            path,
                            source: inner,
                        });
                    }
                    None => log::debug!("certificates of the system: {}: {inner}", path.display()),
                }
            }
            // Those that cannot be read or parsed do not matter as long as there are others.
            kind => log::debug!("certificates of the system: {kind:?}"),
        }
    }
    found
}

/// The variable that names a path.
fn variable(path: &Path, get: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    const FILE: &str = "SSL_CERT_FILE";
    const DIRECTORIES: &str = "SSL_CERT_DIR";

    let is_file = get(FILE).is_some_and(|value| Path::new(&value) == path);
    let directories = get(DIRECTORIES).unwrap_or_default();
    let is_directory = std::env::split_paths(&directories).any(|directory| directory == path);
    match (is_file, is_directory) {
        (true, _) => Some(FILE),
        (false, true) => Some(DIRECTORIES),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_named_a_path() {
        let get = |name: &str| {
            Some(OsString::from(match name {
                "SSL_CERT_FILE" => "/a.pem",
                _ => "/b:/c",
            }))
        };
        for (path, expected) in [
            ("/a.pem", Some("SSL_CERT_FILE")),
            ("/c", Some("SSL_CERT_DIR")),
            ("/d", None),
        ] {
            assert_eq!(variable(Path::new(path), get), expected, "{path}");
        }
        assert_eq!(variable(Path::new("/a.pem"), |_| None), None);
    }
}
