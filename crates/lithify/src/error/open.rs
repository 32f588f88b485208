//! Why an image cannot be opened, or is not where it was looked for.

use std::io;
use std::path::PathBuf;

use lithify_tree::Escaped;

use super::ErrorKind;

/// Why an image cannot be opened, or is not where it was looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is no image source.
    #[error(transparent)]
    Name(#[from] lithify_oci::source::ParseError),
    /// The source cannot be read by this version.
    #[error("`{name}` cannot be read: {hint}")]
    UnsupportedSource {
        /// The name asked for.
        name: String,
        /// What to use instead.
        hint: &'static str,
    },
    /// The image cannot be opened.
    #[error("cannot open image `{name}`")]
    Open {
        /// The name asked for.
        name: String,
        /// Why not.
        source: Box<lithify_oci::Error>,
    },
    /// What a daemon sent is no archive of an image.
    #[error("what the daemon sent of `{name}` cannot be used: it {source}")]
    DaemonArchive {
        /// The name asked for.
        name: String,
        /// What is wrong with it.
        source: Box<lithify_oci::archive::Error>,
    },
    /// A file or directory that was named cannot be read.
    #[error("cannot read `{}`", Escaped::path(.path))]
    Input {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The image is not in the store, and was not to be pulled.
    #[error("`{name}` is not in the store, and it is not to be pulled")]
    NotInStore {
        /// The name asked for.
        name: String,
    },
    /// The store has it for other platforms only, and it is not to be pulled.
    #[error(
        "`{name}` is in the store for {}, not for {wanted}, and it is not to be pulled: choose one that is there with --platform, or pull the others",
        .there.join(", ")
    )]
    NotInStoreFor {
        /// The name.
        name: String,
        /// For what it was wanted.
        wanted: String,
        /// Platforms it is there for.
        there: Vec<String>,
    },
    /// Nothing says where the store is.
    #[error("there is no place for a store: set LITHIFY_STORE or HOME, or name a directory")]
    NoStoreDirectory,
}

impl OpenError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_) => ErrorKind::Usage,
            Self::UnsupportedSource { .. } => ErrorKind::Unsupported,
            Self::Open { source, .. } => of_oci(source),
            Self::DaemonArchive { source, .. } => {
                ErrorKind::of_causes(&**source, ErrorKind::Registry)
            }
            Self::Input { source, .. } => ErrorKind::of_io(source),
            Self::NotInStore { .. } | Self::NotInStoreFor { .. } | Self::NoStoreDirectory => {
                ErrorKind::NotFound
            }
        }
    }
}

/// Returns the kind of an error of opening an image.
fn of_oci(error: &lithify_oci::Error) -> ErrorKind {
    use lithify_oci::blob;
    match error {
        e if e.is_verification() => ErrorKind::Verification,
        lithify_oci::Error::Blob(blob::Error::Missing { .. })
        | lithify_oci::Error::NoSuchImage { .. }
        | lithify_oci::Error::Empty => ErrorKind::NotFound,
        lithify_oci::Error::Blob(blob::Error::TooLarge { .. }) => ErrorKind::Limit,
        e => ErrorKind::of_causes(e, ErrorKind::Unsupported),
    }
}
