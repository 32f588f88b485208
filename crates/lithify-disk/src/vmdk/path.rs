//! Names of files in a descriptor.

use std::path::{Component, Path};

use super::error::PathProblem;

/// Longest name QEMU reads, in bytes (`vmdk_parse_extents`).
const LENGTH_MAX: usize = 511;

/// Which files a descriptor may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRule {
    /// Files below the directory the descriptor is in: relative paths without `..`. A folder with descriptor and files can
    /// be moved, and a descriptor from elsewhere names nothing outside (symbolic links apart).
    #[default]
    Below,
    /// Any file.
    Any,
}

/// A path as it stands in a descriptor, with `/` between components.
pub(super) fn to_text(path: &Path, rule: PathRule) -> Result<String, PathProblem> {
    let text = path.to_str().ok_or(PathProblem::NotUtf8)?;
    if rule == PathRule::Any {
        check_characters(text)?;
        return Ok(text.into());
    }
    let mut joined = String::new();
    for component in path.components() {
        match component {
            // Rust's path of a name that is UTF-8 has components that are.
            Component::Normal(name) => {
                if !joined.is_empty() {
                    joined.push('/');
                }
                joined.push_str(name.to_str().ok_or(PathProblem::NotUtf8)?);
            }
            Component::CurDir => {}
            Component::ParentDir => return Err(PathProblem::Parent),
            Component::RootDir | Component::Prefix(_) => return Err(PathProblem::Absolute),
        }
    }
    check_text(&joined, rule)?;
    Ok(joined)
}

/// What a descriptor says, whatever system it was written on.
pub(super) fn check_text(text: &str, rule: PathRule) -> Result<(), PathProblem> {
    check_characters(text)?;
    if rule == PathRule::Any {
        return Ok(());
    }
    // Where `\` separates names, it would make another path of this one.
    if text.contains('\\') {
        return Err(PathProblem::Character('\\'));
    }
    if text.starts_with('/') {
        return Err(PathProblem::Absolute);
    }
    let mut components = text.split('/');
    // `c:file`, and what QEMU calls a protocol: `nbd:…`, `json:…`.
    if components.next().is_some_and(|first| first.contains(':')) {
        return Err(PathProblem::Protocol);
    }
    if text.split('/').any(|component| component == "..") {
        return Err(PathProblem::Parent);
    }
    Ok(())
}

fn check_characters(text: &str) -> Result<(), PathProblem> {
    if text.is_empty() {
        return Err(PathProblem::Empty);
    }
    if text.len() > LENGTH_MAX {
        return Err(PathProblem::TooLong {
            found: text.len(),
            max: LENGTH_MAX,
        });
    }
    match text.chars().find(|&c| c == '"' || c.is_control()) {
        Some(c) => Err(PathProblem::Character(c)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below() {
        let below = |path: &str| to_text(Path::new(path), PathRule::Below);
        for (path, text) in [
            ("a", "a"),
            ("./a//b/./c", "a/b/c"),
            ("layers/ä b.erofs", "layers/ä b.erofs"),
            ("a/b:c", "a/b:c"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(below(path).as_deref(), Ok(text));
        }
        for (path, problem) in [
            ("", PathProblem::Empty),
            (".", PathProblem::Empty),
            ("/a", PathProblem::Absolute),
            ("../a", PathProblem::Parent),
            ("a/../b", PathProblem::Parent),
            ("nbd:unix:/socket", PathProblem::Protocol),
            ("a\"b", PathProblem::Character('"')),
            ("a\nb", PathProblem::Character('\n')),
            ("a\u{7f}", PathProblem::Character('\u{7f}')),
            ("a\u{85}", PathProblem::Character('\u{85}')),
            ("a\0", PathProblem::Character('\0')),
        ] {
            assert_eq!(below(path), Err(problem), "{path:?}");
        }
        assert!(below(&"a".repeat(511)).is_ok());
        let problem = PathProblem::TooLong {
            found: 512,
            max: 511,
        };
        assert_eq!(below(&"a".repeat(512)), Err(problem));
    }

    #[cfg(unix)]
    #[test]
    fn names_only_unix_has() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff"));
        for rule in [PathRule::Below, PathRule::Any] {
            assert_eq!(to_text(path, rule), Err(PathProblem::NotUtf8));
        }
        let problem = Err(PathProblem::Character('\\'));
        assert_eq!(to_text(Path::new(r"a\..\b"), PathRule::Below), problem);
    }

    #[test]
    fn anything_on_request() {
        for path in ["/a/b", "../a", "a/../b"] {
            assert_eq!(to_text(Path::new(path), PathRule::Any).as_deref(), Ok(path));
        }
        let quote = Err(PathProblem::Character('"'));
        assert_eq!(to_text(Path::new("/a\"b"), PathRule::Any), quote);
    }
}
