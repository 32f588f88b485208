//! Paths inside an image: bytes, cleaned once, then trusted.

use std::fmt;

use crate::Escaped;

/// Longest path in bytes (`PATH_MAX` of Linux, without its terminating NUL counted).
pub const PATH_MAX: usize = 4096;

/// Longest path component in bytes (`NAME_MAX` of Linux).
pub const NAME_MAX: usize = 255;

/// A path relative to the image root: `usr/bin/env`, or empty for the root itself.
///
/// Never absolute, no empty, `.` or `..` component, no NUL, no component over [`NAME_MAX`] bytes,
/// at most [`PATH_MAX`] bytes. It is bytes, not UTF-8: tar and Linux have no notion of encoding.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

/// Why a name from an archive cannot be a path in an image.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// A `..` component. Refused rather than resolved: no honest tool writes one.
    #[error("`{}` has a `..` component", Escaped(.path))]
    ParentComponent {
        /// The raw name.
        path: Vec<u8>,
    },
    /// A NUL byte.
    #[error("`{}` has a NUL byte", Escaped(.path))]
    Nul {
        /// The raw name.
        path: Vec<u8>,
    },
    /// A component over [`NAME_MAX`] bytes.
    #[error("`{}` has a component of {length} bytes, the limit is {NAME_MAX}", Escaped(.path))]
    ComponentTooLong {
        /// The raw name.
        path: Vec<u8>,
        /// Length of the component in bytes.
        length: usize,
    },
    /// A path over [`PATH_MAX`] bytes.
    #[error("`{}…` has {length} bytes, the limit is {PATH_MAX}", Escaped(.start))]
    TooLong {
        /// The first bytes of the raw name.
        start: Vec<u8>,
        /// Length of the raw name in bytes.
        length: usize,
    },
}

impl TreePath {
    /// The image root.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Cleans a name as found in a tar header: leading `/` and `./` go, empty and `.` components too.
    ///
    /// # Errors
    /// [`PathError`] for what cannot be a path: see its variants.
    ///
    /// ```
    /// use lithify_tree::TreePath;
    ///
    /// assert_eq!(TreePath::clean(b"./usr//bin/./env")?.as_bytes(), b"usr/bin/env");
    /// assert!(TreePath::clean(b"/./")?.is_root());
    /// assert!(TreePath::clean(b"usr/../etc").is_err());
    /// # Ok::<(), lithify_tree::PathError>(())
    /// ```
    pub fn clean(raw: &[u8]) -> Result<Self, PathError> {
        if raw.len() > PATH_MAX {
            return Err(PathError::TooLong {
                start: raw[..64].to_vec(),
                length: raw.len(),
            });
        }
        if raw.contains(&0) {
            return Err(PathError::Nul { path: raw.to_vec() });
        }
        let mut clean = Vec::with_capacity(raw.len());
        for component in raw.split(|&b| b == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::ParentComponent { path: raw.to_vec() }),
                _ if component.len() > NAME_MAX => {
                    return Err(PathError::ComponentTooLong {
                        path: raw.to_vec(),
                        length: component.len(),
                    });
                }
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
        }
        Ok(Self(clean))
    }

    /// The bytes: components joined by single slashes, empty for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the image root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components in order; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        components(&self.0)
    }

    /// Directory part and last component; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], &[u8])> {
        split_last(&self.0)
    }

    /// Whether a component begins with `.wh.`, so that the path means something else in a layer: see
    /// [`Convention`](crate::Convention).
    #[must_use]
    pub fn has_reserved_name(&self) -> bool {
        self.components()
            .any(|component| component.starts_with(crate::WHITEOUT_PREFIX))
    }

    /// This path with its last component replaced. The root stays the root.
    pub(crate) fn with_file_name(&self, name: &[u8]) -> Self {
        let Some((parent, _)) = self.split_last() else {
            return Self::root();
        };
        let mut bytes = Vec::with_capacity(parent.len() + 1 + name.len());
        bytes.extend_from_slice(parent);
        if !parent.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// The directory part; the root for a top-level name and for the root itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        self.split_last()
            .map_or_else(Self::root, |(parent, _)| Self(parent.to_vec()))
    }
}

/// The components of cleaned path bytes.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|c| !c.is_empty())
}

/// Directory part and last component of cleaned path bytes; `None` for the root.
pub(crate) fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    })
}

impl fmt::Display for TreePath {
    /// Absolute, hostile bytes escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", Escaped(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath(\"{self}\")")
    }
}
