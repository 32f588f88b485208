//! The errors of a repository, an enum for each of its rooms.

use std::io;
use std::path::PathBuf;

use lithify_cancel::Cancelled;
use lithify_escape::Escaped;
use lithify_storage::BeneathError;
use lithify_verity::file::kernel::KernelError;
use lithify_verity::file::{DigestError, FileAlgorithm, FileDigest, FileOptionsError};

use crate::splitstream::StreamError;

/// Faults of `meta.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not JSON, or without a field it needs.
    #[error("`meta.json` is not the metadata of a repository")]
    Json(#[source] serde_json::Error),
    /// A version nobody here knows.
    #[error("the repository is of version {found}, expected at most {known}: use a newer lithify")]
    Version {
        /// The version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// Names of objects that are not fs-verity digests of blocks of 4096 bytes.
    #[error(
        "the repository's algorithm is `{}`, expected `fsverity-sha256-12` or `fsverity-sha512-12`",
        Escaped(.found)
    )]
    Algorithm {
        /// The algorithm.
        found: String,
    },
    /// A format of images nobody here knows.
    #[error(
        "the repository's images are of format {found}, expected 0, 1 or 2: use a newer lithify"
    )]
    Format {
        /// The format's number.
        found: u64,
    },
    /// Features without which the repository must not be used.
    #[error(
        "the repository has features lithify does not know ({}): use a newer lithify",
        Escaped(&.features.join(", "))
    )]
    Features {
        /// Their names.
        features: Vec<String>,
    },
}

/// Failures of opening or creating a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A directory without `meta.json` and objects.
    #[error(
        "`{}` is no composefs repository (it has no `meta.json`): create one with `lithify composefs init`",
        Escaped::path(.path)
    )]
    NotARepository {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing at the path.
    #[error(
        "no composefs repository is there: `{}` does not exist; `lithify composefs init` creates one",
        Escaped::path(.path)
    )]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A repository to be created in a directory that does not exist.
    #[error(
        "the composefs repository `{}` cannot be created: there is no directory to create it in; create that first",
        Escaped::path(.path)
    )]
    NoParent {
        /// The path.
        path: PathBuf,
    },
    /// A repository from before there was `meta.json`.
    #[error(
        "`{}` has objects but no `meta.json`, as composefs repositories had before composefs-rs 0.7: `cfsctl init` brings it up to date",
        Escaped::path(.path)
    )]
    Old {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that holds something else.
    #[error(
        "`{}` is to become a composefs repository but has files in it: give an empty directory, or one that does not exist",
        Escaped::path(.path)
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A repository that was created with other options.
    #[error(
        "`{}` is a composefs repository with {found}, not with {expected}: leave that option out, or give another directory",
        Escaped::path(.path)
    )]
    Other {
        /// The directory.
        path: PathBuf,
        /// The property asked for.
        expected: String,
        /// The property it has.
        found: String,
    },
    /// Metadata that is wrong or of a later time.
    #[error("`{}`", Escaped::path(.path))]
    Metadata {
        /// The repository.
        path: PathBuf,
        /// The fault.
        #[source]
        source: MetadataError,
    },
    /// A repository whose objects are to be under fs-verity, where that cannot be.
    #[error(
        "`{}` cannot hold a repository under fs-verity: use another filesystem, or create the repository without fs-verity",
        Escaped::path(.path)
    )]
    Verity {
        /// The directory.
        path: PathBuf,
        /// The error of the kernel.
        #[source]
        source: KernelError,
    },
    /// The work was stopped.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The system said so.
    #[error("`{}` cannot be used", Escaped::path(.path))]
    Io {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// The reason why nothing is written to a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadOnly {
    /// Features of a writer that is newer.
    #[error(
        "the repository has features lithify does not know ({}) and can only be read: use a newer lithify",
        Escaped(&.features.join(", "))
    )]
    Features {
        /// Their names.
        features: Vec<String>,
    },
}

/// Failures of storing and opening objects.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// Nothing is written to this repository.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// An object that is not there.
    #[error("the object {id} is missing: import what it is part of once more")]
    Missing {
        /// Its name.
        id: Box<FileDigest>,
    },
    /// An object that is not what its name says.
    #[error(
        "the object {expected} is damaged (its digest is {found}): import what it is part of once more"
    )]
    Damaged {
        /// Its name.
        expected: Box<FileDigest>,
        /// The digest of its bytes.
        found: Box<FileDigest>,
    },
    /// An object that the kernel does not check, in a repository where it checks all.
    #[error(
        "the object {id} is not under fs-verity, as all objects of its repository should be: import what it is part of once more"
    )]
    NotUnderVerity {
        /// Its name.
        id: Box<FileDigest>,
    },
    /// A directory that has the name of an object.
    #[error("the object {id} cannot be stored, since a directory has its name: remove that")]
    Directory {
        /// The object's name.
        id: Box<FileDigest>,
    },
    /// A name that a repository with another algorithm has.
    #[error("an object of the repository has a {expected} digest, not a {found} one")]
    Algorithm {
        /// The repository's algorithm.
        expected: FileAlgorithm,
        /// The name's algorithm.
        found: FileAlgorithm,
    },
    /// An object that is read at once, but is longer than anything read at once.
    #[error("the object {id} has {found} bytes, expected at most {limit}")]
    TooLong {
        /// Its name.
        id: Box<FileDigest>,
        /// Its bytes.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A file to be imported that had another size a moment ago.
    #[error("the file changed while it was imported: it has {found} bytes, expected {expected}")]
    Changed {
        /// Bytes it had.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The kernel's fs-verity.
    #[error("an object cannot be put under fs-verity")]
    Verity(#[from] KernelError),
    /// Parameters of fs-verity.
    #[error(transparent)]
    Options(#[from] FileOptionsError),
    /// The work was stopped.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The system said so when an object was to be written.
    #[error("an object cannot be stored")]
    Store(#[source] io::Error),
    /// The system said so when an object was to be read, or the file that it is made of.
    #[error("an object cannot be read")]
    Io(#[from] io::Error),
    /// Something else has the place of an object.
    #[error("something else is in the place of an object")]
    Beneath(#[source] BeneathError),
}

impl ObjectError {
    /// Returns the error of work that writes: what the system said is about that.
    pub(super) fn of_writing(self) -> Self {
        match self {
            Self::Io(e) => Self::Store(e),
            error => error,
        }
    }
}

impl From<BeneathError> for ObjectError {
    fn from(error: BeneathError) -> Self {
        match error {
            BeneathError::Io(e) => Self::Io(e),
            error => Self::Beneath(error),
        }
    }
}

/// Names that a repository does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A name without a character.
    #[error("a name in a composefs repository cannot be empty")]
    Empty,
    /// A name with a component that leads elsewhere, or nowhere.
    #[error("`{}` is no name in a composefs repository: `{}` in it is no name of a file", Escaped(.name), Escaped(.component))]
    Component {
        /// The name.
        name: String,
        /// The component.
        component: String,
    },
    /// A name longer than a file's may be.
    #[error("`{}` is no name in a composefs repository: it has {found} bytes where {limit} are allowed", Escaped(.name))]
    TooLong {
        /// The name.
        name: String,
        /// Its bytes, or those of a component.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A name that means something else.
    #[error("`{}` is no name in a composefs repository: {reason}", Escaped(.name))]
    Reserved {
        /// The name.
        name: String,
        /// The other meaning.
        reason: &'static str,
    },
}

/// Failures with streams, images and references.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Nothing is written to this repository.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// A name that no entry has.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An entry that is not there.
    #[error("`{}` is not in the repository", Escaped(.at))]
    Missing {
        /// The entry, such as `streams/NAME`.
        at: String,
    },
    /// An entry that is no symbolic link.
    #[error("`{}` is no symbolic link: remove it, nothing in a composefs repository makes one", Escaped(.at))]
    NotALink {
        /// The entry.
        at: String,
    },
    /// An entry that leads to something else than an object.
    #[error("`{}` leads to `{}`, expected `../objects/` and the name of an object", Escaped(.at), Escaped(.target))]
    Target {
        /// The entry.
        at: String,
        /// The target.
        target: Vec<u8>,
    },
    /// A reference at the place of others, which are in a directory of that name, or inside another one.
    #[error(
        "`{}` cannot be made, since `{}` is there, and no name can begin with another one and a slash: give another name, or remove that one",
        Escaped(.at),
        Escaped(.other)
    )]
    Taken {
        /// The reference.
        at: String,
        /// The one in its way, or the directory of others.
        other: String,
    },
    /// A name that an object does not have.
    #[error("`{}`: the object's name is no digest", Escaped(.at))]
    Digest {
        /// The entry.
        at: String,
        /// The fault.
        #[source]
        source: DigestError,
    },
    /// An object that is to be published, or is published.
    #[error("`{}`", Escaped(.at))]
    Object {
        /// The entry.
        at: String,
        /// The fault.
        #[source]
        source: ObjectError,
    },
    /// A splitstream that cannot be read.
    #[error("`{}`", Escaped(.at))]
    Stream {
        /// The entry.
        at: String,
        /// The fault.
        #[source]
        source: StreamError,
    },
    /// The work was stopped.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The system said so.
    #[error("`{}`", Escaped(.at))]
    Io {
        /// The entry, or directory.
        at: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Failures of a collection. Nothing that is needed is ever removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GcError {
    /// Nothing is removed from this repository.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// A reference that cannot be followed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A splitstream or image that is needed and cannot be read, so that what it needs is not
    /// known.
    #[error(
        "`{}` needs {id}, which cannot be read, so that it is not known what else it needs: import it once more, or remove it",
        Escaped(.by)
    )]
    Unknown {
        /// The stream or image that needs it.
        by: String,
        /// The object.
        id: Box<FileDigest>,
        /// The fault.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A root that was asked for and is not there.
    #[error("`{}` is to be kept but is neither a stream nor an image of the repository", Escaped(.name))]
    Root {
        /// The name given.
        name: String,
    },
    /// Others use the repository.
    #[error(
        "the repository is in use by another process: wait until it has ended, or let `--wait` do so"
    )]
    InUse,
    /// The work was stopped.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The system said so.
    #[error("`{}`", Escaped(.at))]
    Io {
        /// The file or directory.
        at: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}
