//! One file of credentials.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lithify_escape::Escaped;

use super::key::Key;
use super::{Credential, CredentialsError};
use crate::Secret;
use crate::auth::json::{JsonError, Members};
use crate::auth::sendable;

/// Longest file of credentials in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a path holds.
pub(crate) enum Text {
    Some { text: String, exposed: bool },
    Missing,
    Unreadable,
}

/// Reads a file that need not be there.
pub(crate) fn read(path: &Path) -> Result<Text, CredentialsError> {
    let failed = |source| CredentialsError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = match open(path) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(Text::Missing),
                ErrorKind::PermissionDenied => Ok(Text::Unreadable),
                _ => Err(failed(error)),
            };
        }
    };
    let metadata = file.metadata().map_err(failed)?;
    // A pipe would be empty at this moment, whatever is to come. Who says /dev/null means no credentials.
    if metadata.is_dir() || is_pipe(&metadata) {
        return Err(CredentialsError::NotFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(CredentialsError::TooLong {
            path: path.to_owned(),
            limit: MAX_FILE,
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| CredentialsError::Json {
        path: path.to_owned(),
        field: String::new(),
        source: syntax_at(error.as_bytes(), error.utf8_error().valid_up_to()),
    })?;
    Ok(Text::Some {
        text,
        exposed: is_exposed(&metadata),
    })
}

/// A FIFO at that path must not hang us, so opening does not wait for a writer.
fn open(path: &Path) -> std::io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
    }
    #[cfg(not(unix))]
    File::open(path)
}

#[cfg(unix)]
fn is_pipe(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn is_exposed(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &std::fs::Metadata) -> bool {
    false
}

fn syntax_at(bytes: &[u8], position: usize) -> JsonError {
    let before = &bytes[..position];
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|&&b| b != b'\n').count();
    JsonError::Syntax { line, column }
}

/// A file cut into its members; what an entry holds is looked at when it is wanted, so that a broken entry of another
/// registry stands in nobody's way.
pub(super) struct AuthFile<'a> {
    pub(super) path: &'a Path,
    auths: Members,
    helpers: Members,
    top: Members,
    legacy: bool,
}

impl<'a> AuthFile<'a> {
    pub(super) fn parse(
        path: &'a Path,
        text: &str,
        legacy: bool,
    ) -> Result<Self, CredentialsError> {
        // An empty file is what `touch` and some tools leave; containers' tools take it for no entries too.
        let text = if text.trim().is_empty() { "{}" } else { text };
        let json = |field: &str, source| CredentialsError::Json {
            path: path.to_owned(),
            field: field.to_owned(),
            source,
        };
        let top = Members::parse(text).map_err(|source| json("", source))?;
        if legacy {
            return Ok(Self {
                path,
                auths: top,
                helpers: Members::default(),
                top: Members::default(),
                legacy,
            });
        }
        let object = |name: &str| top.object(name).map_err(|source| json(name, source));
        Ok(Self {
            path,
            auths: object("auths")?,
            helpers: object("credHelpers")?,
            top,
            legacy,
        })
    }

    /// The helper named for exactly this key.
    pub(super) fn helper(&self, wanted: &str) -> Result<Option<String>, CredentialsError> {
        let Some(key) = find(&self.helpers, wanted) else {
            return Ok(None);
        };
        let field = field("credHelpers", key);
        self.helpers
            .string(key)
            .map_err(|source| self.json(field, source))
            // Docker writes an empty name for "the file itself".
            .map(|name| name.filter(|name| !name.is_empty()))
    }

    /// The helper for all hosts.
    pub(super) fn store(&self) -> Result<Option<String>, CredentialsError> {
        self.top
            .string("credsStore")
            .map_err(|source| self.json("credsStore".to_owned(), source))
            .map(|name| name.filter(|name| !name.is_empty()))
    }

    /// The entry with exactly this key, if it holds anything; docker leaves empty ones for what its store has.
    pub(super) fn credential(
        &self,
        wanted: &str,
    ) -> Result<Option<(Credential, String)>, CredentialsError> {
        let Some(key) = find(&self.auths, wanted) else {
            return Ok(None);
        };
        let at = if self.legacy { "" } else { "auths" };
        let name = field(at, key);
        let entry = self.auths.get(key).map(|value| Members::parse(value.get()));
        let entry = entry
            .unwrap_or_else(|| Ok(Members::default()))
            .map_err(|source| self.json(name.clone(), source))?;
        let text = |member: &str| {
            entry
                .string(member)
                .map(|text| text.filter(|text| !text.is_empty()))
                .map_err(|source| self.json(format!("{name}.{member}"), source))
        };
        let token = |member: &str| {
            let Some(token) = text(member)? else {
                return Ok(None);
            };
            if !sendable(&token) {
                return Err(self.characters(format!("{name}.{member}")));
            }
            Ok(Some(Secret::new(token)))
        };
        // The order in which docker's and containers' clients prefer them.
        let credential = if let Some(token) = token("registrytoken")? {
            Credential::RegistryToken(token)
        } else if let Some(token) = token("identitytoken")? {
            Credential::IdentityToken(token)
        } else if let Some(auth) = text("auth")? {
            let (username, password) = decode(&auth).ok_or_else(|| CredentialsError::Encoding {
                path: self.path.to_owned(),
                field: format!("{name}.auth"),
                key: key.to_owned(),
            })?;
            Credential::Basic { username, password }
        } else if let Some(username) = text("username")? {
            if username.contains(':') || username.contains(char::is_control) {
                return Err(self.characters(format!("{name}.username")));
            }
            Credential::Basic {
                username,
                password: Secret::new(text("password")?.unwrap_or_default()),
            }
        } else {
            return Ok(None);
        };
        Ok(Some((credential, key.to_owned())))
    }

    fn json(&self, field: String, source: JsonError) -> CredentialsError {
        CredentialsError::Json {
            path: self.path.to_owned(),
            field,
            source,
        }
    }

    fn characters(&self, field: String) -> CredentialsError {
        CredentialsError::Characters {
            path: self.path.to_owned(),
            field,
        }
    }
}

/// The member whose key means `wanted`; one that says it literally comes before docker's older forms.
fn find<'a>(members: &'a Members, wanted: &str) -> Option<&'a str> {
    let mut names = members.0.iter().map(|(name, _)| name.as_str());
    names.clone().find(|name| *name == wanted).or_else(|| {
        names.find(|name| Key::normalise(name).is_some_and(|key| key.as_str() == wanted))
    })
}

fn field(parent: &str, key: &str) -> String {
    format!("{parent}[\"{}\"]", Escaped(key))
}

/// `user:password` from base64, with the line breaks of those who made it with `base64`. Docker pads passwords with NUL
/// bytes in some versions and cuts them off.
fn decode(auth: &str) -> Option<(String, Secret)> {
    let auth: String = auth.split(['\r', '\n']).collect();
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    if username.is_empty() || username.contains(char::is_control) {
        return None;
    }
    Some((
        username.to_owned(),
        Secret::new(password.trim_end_matches('\0')),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn auth_is_base64_of_user_and_password() {
        let encode = |text: &str| STANDARD.encode(text);
        assert_eq!(
            decode(&encode("me:a:b")),
            Some(("me".to_owned(), Secret::new("a:b")))
        );
        let wrapped = encode("me:a:b").chars().collect::<Vec<_>>();
        let wrapped: Vec<String> = wrapped.chunks(3).map(|c| c.iter().collect()).collect();
        for separator in ["\n", "\r\n"] {
            assert_eq!(
                decode(&format!("{}\n", wrapped.join(separator))),
                Some(("me".to_owned(), Secret::new("a:b")))
            );
        }
        assert_eq!(
            decode(&encode("me:x\0\0")),
            Some(("me".to_owned(), Secret::new("x")))
        );
        assert_eq!(
            decode(&encode("me:")),
            Some(("me".to_owned(), Secret::new("")))
        );
        for bad in ["", "me", ":x", "m\ne:x"] {
            assert_eq!(decode(&encode(bad)), None, "{bad:?}");
        }
        assert_eq!(decode("*"), None);
        assert_eq!(decode(&STANDARD.encode([0xff, b':'])), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[{}\\[\\]\",:a-z0 ]{0,60}") {
            if let Ok(file) = AuthFile::parse(Path::new("x"), &text, false) {
                drop(file.credential("a"));
                drop(file.helper("a"));
                drop(file.store());
            }
        }

        #[test]
        fn errors_hold_no_secret(kind in 0_usize..6) {
            let value = ["[\"hunter2\"]", "{\"auth\":[\"hunter2\"]}", "\"hunter2\"", "{\"auth\":\"hunter2*\"}",
                "{\"identitytoken\":\"hunter2\\n\"}", "{\"username\":\"hunter2:\",\"password\":\"x\"}"][kind];
            let text = format!("{{\"auths\":{{\"a\":{value}}}}}");
            let file = AuthFile::parse(Path::new("x"), &text, false).unwrap();
            let error = file.credential("a").unwrap_err();
            prop_assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
