//! The findings of a check.

use std::io;

use lithify_digest::Mismatch;
use lithify_escape::Escaped;
use lithify_verity::file::FileDigest;

use crate::splitstream::StreamError;

/// The things a check looked at, and the faults it found.
#[derive(Debug, Default)]
pub struct FsckReport {
    /// Objects read.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Streams looked at.
    pub streams: u64,
    /// Images looked at.
    pub images: u64,
    /// References looked at.
    pub references: u64,
    /// The faults, by their places.
    pub findings: Vec<Finding>,
}

impl FsckReport {
    /// Tells whether nothing is wrong, or nothing is wrong any more.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_repaired)
    }
}

/// Something that is wrong.
#[derive(Debug)]
pub struct Finding {
    /// Its place, such as `objects/xx/yyyy…` or `streams/NAME`.
    pub at: String,
    /// The fault.
    pub fault: Fault,
    /// Streams, images and references that need it, directly or through others, sorted.
    pub needed_by: Vec<String>,
    /// It was taken away, so that what needs it is made anew by the next import.
    pub is_repaired: bool,
    /// The object, where it is about one.
    pub(super) id: Option<FileDigest>,
    /// Entries whose content is not whole without it.
    pub(super) part_of: Vec<String>,
}

impl Finding {
    /// Returns the object that is damaged or missing, where it is about one.
    #[must_use]
    pub fn id(&self) -> Option<FileDigest> {
        self.id
    }

    pub(super) fn new(at: String, fault: Fault) -> Self {
        Self {
            at,
            fault,
            needed_by: Vec::new(),
            is_repaired: false,
            id: None,
            part_of: Vec::new(),
        }
    }
}

/// The ways in which something is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A file among the objects whose name is no object's.
    #[error("it is among the objects, but its name is none of an object")]
    NotAnObject,
    /// An object that is not what its name says.
    #[error("its digest is {found}")]
    Digest {
        /// The digest of its bytes.
        found: Box<FileDigest>,
    },
    /// An object that the kernel does not check, in a repository where it checks all.
    #[error("it is not under fs-verity, as all objects of its repository should be")]
    NotUnderVerity,
    /// An object that is needed and not there.
    #[error("it is missing")]
    Missing,
    /// Something that cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// An entry or reference that is no symbolic link.
    #[error("it is no symbolic link")]
    NotALink,
    /// An entry that leads to something else than an object, or a reference to something else than
    /// an entry.
    #[error("it leads to `{}`", Escaped(.target))]
    Target {
        /// The target.
        target: Vec<u8>,
    },
    /// A reference to an entry that is not there.
    #[error("it leads to `{}`, which is not there", Escaped(.entry))]
    Dangling {
        /// The entry.
        entry: String,
    },
    /// An image under the name of another one.
    #[error("it leads to another image, {found}")]
    OtherImage {
        /// The other one.
        found: Box<FileDigest>,
    },
    /// A splitstream that is none.
    #[error("it is damaged")]
    Stream(#[source] StreamError),
    /// A splitstream whose whole is not what its name says.
    #[error("it is not what its name says")]
    Content(#[source] Mismatch),
    /// An image that is none.
    #[error("it is damaged")]
    Image(#[source] Box<dyn std::error::Error + Send + Sync>),
}
