//! Descriptors against their files.

use std::collections::BTreeMap;
use std::io;

use super::error::CheckError;
use super::parse::Descriptor;

impl Descriptor {
    /// Whether every file has all bytes the descriptor uses. `size_of` says how large a file is, by its path in the
    /// descriptor; it is asked once for each file.
    ///
    /// # Errors
    /// The first file, by name, that is not there or too short.
    pub fn check(
        &self,
        mut size_of: impl FnMut(&str) -> io::Result<u64>,
    ) -> Result<(), CheckError> {
        let mut ends = BTreeMap::new();
        for extent in &self.extents {
            let end = ends.entry(extent.path.as_str()).or_insert(0);
            *end = (extent.offset + extent.length).max(*end);
        }
        for (path, expected) in ends {
            let found = size_of(path).map_err(|source| CheckError::File {
                path: path.into(),
                source,
            })?;
            if found < expected {
                return Err(CheckError::Short {
                    path: path.into(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}
