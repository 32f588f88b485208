//! Names of objects, entries and references, as they stand in directories.

use lithify_storage::temporary::is_temporary;
use lithify_verity::file::{DigestError, FileAlgorithm, FileDigest};

use super::error::NameError;

/// The directory of objects.
pub(super) const OBJECTS: &str = "objects";
/// The directory of references in each category.
pub(super) const REFS: &str = "refs";

/// Most bytes of a file's name (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// Most bytes of a reference: with what is before it, less than `PATH_MAX`.
const REFERENCE_MAX: usize = 3800;

/// Digits of a digest that are the name of a directory.
const DIRECTORY_DIGITS: usize = 2;

/// A category of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Splitstreams.
    Streams,
    /// Images.
    Images,
}

impl Category {
    /// Both categories.
    pub const ALL: [Self; 2] = [Self::Streams, Self::Images];

    /// Returns the name of its directory.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Images => "images",
        }
    }

    /// Returns the path of an entry.
    pub(super) fn at(self, name: &str) -> String {
        format!("{}/{name}", self.directory())
    }

    /// Returns the path of a reference.
    pub(super) fn reference_at(self, name: &str) -> String {
        format!("{}/{REFS}/{name}", self.directory())
    }
}

/// The name of an object: that of its directory, and that of the file.
pub(super) fn of_object(id: &FileDigest) -> (usize, String) {
    let rest = id.hex().split_off(DIRECTORY_DIGITS);
    (usize::from(id.as_bytes()[0]), rest)
}

/// Returns the name of a directory of objects.
pub(super) fn of_directory(number: usize) -> String {
    format!("{number:02x}")
}

/// Parses the name of a file in a directory of objects.
pub(super) fn parse_object(
    algorithm: FileAlgorithm,
    directory: usize,
    name: &str,
) -> Result<FileDigest, DigestError> {
    FileDigest::from_hex(algorithm, &format!("{}{name}", of_directory(directory)))
}

/// Returns the target of an entry.
pub(super) fn target_of_object(id: &FileDigest) -> String {
    let (directory, rest) = of_object(id);
    format!("../{OBJECTS}/{}/{rest}", of_directory(directory))
}

/// Parses the target of an entry: its last three components say the object.
pub(super) fn parse_target(algorithm: FileAlgorithm, target: &[u8]) -> Option<FileDigest> {
    let target = std::str::from_utf8(target).ok()?;
    let mut parts = target.rsplit('/');
    let (rest, directory, objects) = (parts.next()?, parts.next()?, parts.next()?);
    let is_right = objects == OBJECTS && directory.len() == DIRECTORY_DIGITS;
    is_right.then(|| FileDigest::from_hex(algorithm, &format!("{directory}{rest}")).ok())?
}

/// Checks the name of an entry, which is a file's.
pub(super) fn check_entry(name: &str) -> Result<(), NameError> {
    check_component(name, name)?;
    let reason = match name {
        REFS => "the directory of references has it",
        _ if is_temporary(name.as_ref()) => "files under construction have such names",
        _ => return Ok(()),
    };
    Err(NameError::Reserved {
        name: name.to_owned(),
        reason,
    })
}

/// Checks the name of a reference: one or more names of files, with slashes between them.
pub(super) fn check_reference(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > REFERENCE_MAX {
        return Err(NameError::TooLong {
            name: name.to_owned(),
            found: name.len(),
            limit: REFERENCE_MAX,
        });
    }
    name.split('/').try_for_each(|c| check_component(name, c))?;
    match name.split('/').any(|c| is_temporary(c.as_ref())) {
        false => Ok(()),
        true => Err(NameError::Reserved {
            name: name.to_owned(),
            reason: "files under construction have such names",
        }),
    }
}

fn check_component(name: &str, component: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if matches!(component, "" | "." | "..") || component.contains(['/', '\0']) {
        return Err(NameError::Component {
            name: name.to_owned(),
            component: component.to_owned(),
        });
    }
    match component.len() <= NAME_MAX {
        true => Ok(()),
        false => Err(NameError::TooLong {
            name: name.to_owned(),
            found: component.len(),
            limit: NAME_MAX,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["a", "oci-layer-sha256:00", "...", ".a", "a b"] {
            check_entry(name).unwrap();
            check_reference(name).unwrap();
        }
        check_reference("a/b/refs").unwrap();
        for name in [
            "",
            ".",
            "..",
            "a/../b",
            "../../../../zz",
            "/a",
            "a/",
            "a//b",
            "a\0b",
        ] {
            check_entry(name).unwrap_err();
            check_reference(name).unwrap_err();
        }
        check_entry("a/b").unwrap_err();
        check_entry("refs").unwrap_err();
        check_entry(".lithify-1.tmp").unwrap_err();
        check_reference("a/.lithify-1.tmp").unwrap_err();
        let long = "a".repeat(NAME_MAX);
        check_entry(&long).unwrap();
        check_reference(&format!("{long}/{long}")).unwrap();
        check_entry(&format!("{long}a")).unwrap_err();
        check_reference(&format!("b/{long}a")).unwrap_err();
        check_reference(&vec![long; 20].join("/")).unwrap_err();
    }

    #[test]
    fn targets_name_objects() {
        let algorithm = FileAlgorithm::Sha256;
        let id = FileDigest::from_bytes(algorithm, &[0xab; 32]).unwrap();
        let target = target_of_object(&id);
        assert_eq!(target, format!("../objects/ab/{}", "ab".repeat(31)));
        assert_eq!(parse_target(algorithm, target.as_bytes()), Some(id));
        let (directory, rest) = of_object(&id);
        assert_eq!(parse_object(algorithm, directory, &rest).unwrap(), id);
        for other in [
            "",
            "/",
            "ab",
            "../objects/ab",
            "../objects/AB/x",
            "../other/ab/x",
        ] {
            assert_eq!(parse_target(algorithm, other.as_bytes()), None);
        }
        assert_eq!(parse_target(FileAlgorithm::Sha512, target.as_bytes()), None);
    }
}
