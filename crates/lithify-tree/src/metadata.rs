//! What a filesystem knows about a file besides its name and content.

use crate::{Escaped, NAME_MAX};

/// A point in time: seconds since 1970-01-01 UTC (negative before) plus nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, 0 to 999 999 999.
    pub nanoseconds: u32,
}

/// A device number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Ownership, permissions, time and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Permission bits with set-user-ID, set-group-ID and sticky: at most `0o7777`, no type bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// What a directory gets that no layer describes: 0755, root:root, no attributes.
    #[must_use]
    pub fn implicit_directory(mtime: Timestamp) -> Self {
        Self {
            mode: 0o755,
            mtime,
            ..Self::default()
        }
    }
}

/// Longest extended attribute value, in bytes (`XATTR_SIZE_MAX` of Linux).
pub const XATTR_VALUE_MAX: usize = 65536;

/// Why an extended attribute cannot exist on Linux.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum XattrError {
    /// Name empty, over [`NAME_MAX`] bytes or with a NUL.
    #[error("extended attribute name `{}` is not 1 to {NAME_MAX} bytes without NUL", Escaped(.name))]
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// Value over [`XATTR_VALUE_MAX`] bytes.
    #[error("extended attribute `{}` has {length} bytes, the limit is {XATTR_VALUE_MAX}", Escaped(.name))]
    ValueTooLong {
        /// The name.
        name: Vec<u8>,
        /// Length of the value in bytes.
        length: usize,
    },
}

/// A set of extended attributes: full names (`security.capability`), sorted, each once.
///
/// An empty value is a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Xattrs(Vec<Xattr>);

/// Name and value.
type Xattr = (Box<[u8]>, Box<[u8]>);

impl Xattrs {
    /// No attributes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an attribute, replacing one of the same name.
    ///
    /// # Errors
    /// [`XattrError`] when Linux could not hold it.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), XattrError> {
        if name.is_empty() || name.len() > NAME_MAX || name.contains(&0) {
            let shown = &name[..name.len().min(NAME_MAX)];
            return Err(XattrError::Name {
                name: shown.to_vec(),
            });
        }
        if value.len() > XATTR_VALUE_MAX {
            return Err(XattrError::ValueTooLong {
                name: name.to_vec(),
                length: value.len(),
            });
        }
        match self.0.binary_search_by(|(n, _)| n.as_ref().cmp(name)) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (name.into(), value.into())),
        }
        Ok(())
    }

    /// Removes an attribute; says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match self.0.binary_search_by(|(n, _)| n.as_ref().cmp(name)) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self
            .0
            .binary_search_by(|(n, _)| n.as_ref().cmp(name))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
