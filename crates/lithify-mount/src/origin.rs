//! The sources that overlays of this crate have in the mount table, by which [`umount`](crate::umount) knows them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::context::STRING_MAX;

/// Every such source begins so; a colon and the image's name may follow.
const MARK: &[u8] = b"lithify";
/// The names of composefs images begin so; those of others are absolute paths.
const COMPOSEFS: &[u8] = b"composefs:";

/// The origin of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The name of its image, where it has one that fits.
    pub(crate) name: Option<PathBuf>,
    pub(crate) is_composefs: bool,
}

impl Origin {
    /// Reads the source of a mount; `None` if it is another program's.
    pub(crate) fn parse(source: &OsStr) -> Option<Self> {
        let rest = source.as_bytes().strip_prefix(MARK)?;
        let (name, is_composefs) = match rest.strip_prefix(b":") {
            None if rest.is_empty() => (None, false),
            None => return None,
            Some(COMPOSEFS) => (None, true),
            Some(name) => {
                let is_composefs = name.starts_with(COMPOSEFS);
                let name = Path::new(OsStr::from_bytes(name));
                if !is_composefs && !name.is_absolute() {
                    return None;
                }
                (Some(name.to_path_buf()), is_composefs)
            }
        };
        Some(Self { name, is_composefs })
    }
}

/// Returns the source of an overlay of an image.
pub(crate) fn of_image(name: Option<&Path>) -> Vec<u8> {
    let name = name.and_then(|name| name.canonicalize().ok());
    let named = name.and_then(|name| fitting([MARK, b":", name.as_os_str().as_bytes()].concat()));
    named.unwrap_or_else(|| MARK.to_vec())
}

/// Returns the source of an overlay of a composefs image.
pub(crate) fn of_composefs(name: &Path) -> Vec<u8> {
    let begun = [MARK, b":", COMPOSEFS].concat();
    fitting([&begun, name.as_os_str().as_bytes()].concat()).unwrap_or(begun)
}

fn fitting(source: Vec<u8>) -> Option<Vec<u8>> {
    (source.len() <= STRING_MAX).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(source: &[u8]) -> Option<(Option<PathBuf>, bool)> {
        let origin = Origin::parse(OsStr::from_bytes(source))?;
        Some((origin.name, origin.is_composefs))
    }

    #[test]
    fn sources_are_read_as_they_are_written() {
        assert_eq!(parse(&of_image(None)), Some((None, false)));
        let here = std::env::temp_dir().canonicalize().unwrap();
        assert_eq!(parse(&of_image(Some(&here))), Some((Some(here), false)));
        let name = Path::new("/repository:a:b");
        let whole = Some("composefs:/repository:a:b".into());
        assert_eq!(parse(&of_composefs(name)), Some((whole, true)));
        let long = PathBuf::from(format!("/{}", "n".repeat(STRING_MAX)));
        assert_eq!(parse(&of_composefs(&long)), Some((None, true)));
    }

    #[test]
    fn sources_of_others_are_none() {
        for source in ["overlay", "composefs:/r:n", "lithifying", "lithify:name"] {
            assert_eq!(parse(source.as_bytes()), None, "{source}");
        }
    }
}
