//! Files of a composefs image that are not what the image says.

use std::path::PathBuf;
use std::sync::Arc;

use lithify_composefs::repository::ObjectError;
use lithify_tree::Escaped;
use lithify_verity::file::FileDigest;

/// Files of a composefs image that are not what the image says.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} of the composefs image {id} in `{}` {} damaged, the first one `/{}`: {}",
    Count(.files.len() as u64 + .more),
    Escaped::path(.repository),
    if .files.len() as u64 + .more == 1 { "is" } else { "are" },
    .files.first().map(|f| Escaped(&f.path).to_string()).unwrap_or_default(),
    .files.first().map(|f| f.fault.to_string()).unwrap_or_default()
)]
pub struct DamagedFiles {
    /// The repository.
    pub repository: PathBuf,
    /// The id of the image.
    pub id: Box<FileDigest>,
    /// The files, by every name they have, in the order of the image; 10,000 at most.
    pub files: Vec<DamagedFile>,
    /// Names that are not listed.
    pub more: u64,
}

struct Count(u64);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("1 file"),
            count => write!(f, "{count} files"),
        }
    }
}

/// A name of a file that is not what its image says.
#[derive(Clone, Debug)]
pub struct DamagedFile {
    /// The name, from the root directory.
    pub path: Vec<u8>,
    /// The object it should be, if the image names one.
    pub object: Option<FileDigest>,
    /// The fault.
    pub fault: Arc<FileFault>,
}

/// The ways in which a file is not what its image says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileFault {
    /// Its object is missing, or damaged.
    #[error(transparent)]
    Object(ObjectError),
    /// Its object is of another size.
    #[error("the image says it has {expected} bytes, and its object has {found}")]
    Size {
        /// Bytes the image says.
        expected: u64,
        /// Bytes of the object.
        found: u64,
    },
    /// The image says no digest of it.
    #[error("the image says no digest of it, so that nothing can be compared")]
    NoDigest,
    /// The image has it read from elsewhere.
    #[error("the image has it read from `{}`, which is not the object of its digest", Escaped(.path))]
    Elsewhere {
        /// The path below the directory of objects.
        path: Vec<u8>,
    },
}
