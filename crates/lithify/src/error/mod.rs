//! The error of every operation of this crate, and the errors it is made of: one enum for each room.

mod artifact; // files and directories that were built
mod build; // making filesystems
mod causes; // kinds of others' errors
#[cfg_attr(not(feature = "_client"), path = "no_client.rs")]
mod client; // errors of the client of registries among others
mod commit; // changes as layers
mod composefs; // repositories
mod damaged_files; // files of composefs images
mod delta; // deltas
mod description; // descriptions of layered builds
mod kind; // what can be done about it
mod layer; // reading and applying layers
#[cfg(feature = "mount")]
mod mount; // mounts
mod native; // layers that are filesystems
mod nested; // errors of what was part of something else
mod open; // opening images
mod output; // writing files
mod publish; // filesystems as artifacts
mod readers; // kinds of what readers report
mod replace; // outputs in the place of others
mod seals; // digests of composefs beside an image
mod transfer; // images from place to place
mod words; // parts of messages

use std::fmt;
use std::io;
use std::path::Path;

use lithify_digest::{Digest, Mismatch};
#[cfg(feature = "_client")]
use lithify_registry::daemon::DaemonError;
use lithify_tree::TreePath;

pub use artifact::ArtifactError;
pub use build::BuildError;
pub use commit::CommitError;
pub use composefs::{ComposefsError, RepositoryFault};
pub use damaged_files::{DamagedFile, DamagedFiles, FileFault};
pub use delta::DeltaError;
pub use description::DescriptionProblem;
pub use kind::ErrorKind;
pub use layer::LayerError;
#[cfg(feature = "mount")]
pub use mount::MountError;
pub use native::NativeLayerError;
pub use nested::Nested;
pub use open::OpenError;
pub(crate) use output::directory_of;
pub use output::{Operation, OutputError};
pub use publish::PublishError;
pub use replace::{Names, ReplaceError};
pub use seals::{SealCheck, SealError, SealReport, SealState};
pub use transfer::TransferError;

/// The error of every operation of this crate: its [kind](Self::kind) says what can be done about it, its
/// [cause](Self::cause) what exactly went wrong.
///
/// ```
/// use lithify::{ErrorKind, Image, Session};
///
/// let error = Image::open("oci:/no/such/layout", &Session::default()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(error.report().starts_with("cannot open image `oci:/no/such/layout`: "));
/// ```
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Cause>);

/// The error of the room in which an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// An image cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Layers cannot be read or applied.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A built artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Something cannot be made of an image.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// An image cannot be moved.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An image cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Changes cannot be made a layer.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A composefs repository cannot be used, or an image not made for one.
    #[error(transparent)]
    Composefs(#[from] ComposefsError),
    /// A delta cannot be created or applied.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// An image is not what its composefs digests say, or cannot be compared with them.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An image cannot be mounted.
    #[cfg(feature = "mount")]
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A registry does not give or take what it should.
    #[cfg(feature = "_client")]
    #[error(transparent)]
    Registry(lithify_registry::Error),
    /// A daemon does not give or take what it should.
    #[cfg(feature = "_client")]
    #[error(transparent)]
    Daemon(DaemonError),
    /// The store cannot do what it was asked.
    #[error(transparent)]
    Store(lithify_store::Error),
    /// Something this library was built without.
    #[error("this was built without {what}: build lithify with the feature `{feature}`")]
    NotBuiltIn {
        /// The thing that is missing.
        what: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// [`CancelToken::cancel`](crate::CancelToken::cancel) was called.
    #[error("cancelled")]
    Cancelled,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Cause::Open(e) => e.kind(),
            Cause::Layer(e) => e.kind(),
            Cause::Artifact(e) => e.kind(),
            Cause::Build(e) => e.kind(),
            Cause::Output(e) => e.kind(),
            Cause::Transfer(e) => e.kind(),
            Cause::Publish(e) => e.kind(),
            Cause::Commit(e) => e.kind(),
            Cause::Composefs(e) => e.kind(),
            Cause::Delta(e) => e.kind(),
            Cause::Seal(e) => e.kind(),
            #[cfg(feature = "mount")]
            Cause::Mount(e) => e.kind(),
            #[cfg(feature = "_client")]
            Cause::Registry(e) => ErrorKind::of_registry(e),
            #[cfg(feature = "_client")]
            Cause::Daemon(DaemonError::NoSuchImage { .. }) => ErrorKind::NotFound,
            #[cfg(feature = "_client")]
            Cause::Daemon(e) => ErrorKind::of_causes(e, ErrorKind::Registry),
            Cause::Store(e) => ErrorKind::of_store(e),
            Cause::NotBuiltIn { .. } => ErrorKind::Unsupported,
            Cause::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// Returns the error of the room in which the operation failed.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// Returns the error of the room in which the operation failed.
    #[must_use]
    pub fn into_cause(self) -> Cause {
        *self.0
    }

    /// Returns the message with those of its causes: what the command prints.
    #[must_use]
    pub fn report(&self) -> String {
        report(self)
    }

    /// Whether bytes were not what a digest, size, checksum or format promised: the command's exit code 3.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        self.kind() == ErrorKind::Verification
    }

    /// Whether the work was stopped on request.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, Cause::Cancelled)
    }
}

impl Error {
    pub(crate) fn cancelled() -> Self {
        Cause::Cancelled.into()
    }

    /// A scratch file in the system's directory for such files cannot be made, written or read.
    pub(crate) fn scratch(source: io::Error) -> Self {
        let directory = std::env::temp_dir();
        OutputError::Scratch { directory, source }.into()
    }

    /// As [`scratch`](Self::scratch), of a scratch file beside an output.
    pub(crate) fn scratch_beside(output: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        move |source| {
            let directory = directory_of(output);
            OutputError::Scratch { directory, source }.into()
        }
    }

    /// What is made is too large, at a file that whoever knows it may add.
    pub(crate) fn output_budget(source: lithify_cancel::BudgetExceeded) -> Self {
        BuildError::OutputBudget { path: None, source }.into()
    }

    pub(crate) fn output(operation: Operation, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        OutputError::Output {
            operation,
            path,
            source,
        }
        .into()
    }

    /// An image of that name cannot be opened.
    pub(crate) fn opening(name: impl Into<String>, source: impl Into<lithify_oci::Error>) -> Self {
        OpenError::Open {
            name: name.into(),
            source: Box::new(source.into()),
        }
        .into()
    }

    pub(crate) fn input(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        OpenError::Input { path, source }.into()
    }

    /// A merged path that cannot be a name.
    pub(crate) fn tar_path(error: lithify_tree::PathError) -> Self {
        BuildError::TarPath(error).into()
    }

    /// Replaces the error if it says that the output would be too large.
    pub(crate) fn over_output(
        self,
        replace: impl FnOnce(lithify_cancel::BudgetExceeded) -> Self,
    ) -> Self {
        match *self.0 {
            Cause::Build(BuildError::OutputBudget { source, .. }) => replace(source),
            cause => cause.into(),
        }
    }

    /// Says at which entry the layers were too much, if that is the error.
    pub(crate) fn at_entry(mut self, entry: &TreePath) -> Self {
        if let Cause::Layer(LayerError::Budget { path, .. }) = &mut *self.0 {
            *path = Some(entry.clone());
        }
        self
    }

    /// Whether nothing says where the store is.
    pub(crate) fn is_no_place_for_a_store(&self) -> bool {
        matches!(*self.0, Cause::Open(OpenError::NoStoreDirectory))
    }

    /// Whether there is no store where one was expected.
    pub(crate) fn is_no_store(&self) -> bool {
        matches!(*self.0, Cause::Store(lithify_store::Error::NoStore { .. }))
    }

    /// Whether an image has no layers that an overlay could stack.
    #[cfg(feature = "mount")]
    pub(crate) fn is_no_overlay(&self) -> bool {
        matches!(
            *self.0,
            Cause::Layer(LayerError::Overlay { .. }) | Cause::Build(BuildError::NoLayers)
        )
    }

    /// An error for what this library was built without.
    #[cfg(not(all(feature = "registry", feature = "daemon", feature = "squashfs")))]
    pub(crate) fn not_built_in(what: &'static str, feature: &'static str) -> Self {
        Cause::NotBuiltIn { what, feature }.into()
    }

    /// Says which hosts sent what is wrong, where the error does not.
    pub(crate) fn given_by(self, hosts: Vec<String>) -> Self {
        let is_told = match &*self.0 {
            #[cfg(feature = "_client")]
            Cause::Registry(_) => true,
            Cause::Transfer(TransferError::GivenBy { .. }) => true,
            cause => is_of_registry(cause),
        };
        match hosts.is_empty() || is_told || !self.is_verification() {
            true => self,
            false => TransferError::GivenBy {
                hosts,
                source: self.into(),
            }
            .into(),
        }
    }

    /// The error of the reader of an image's format.
    pub(crate) fn unreadable(
        kind: ErrorKind,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        ArtifactError::ReadImage(Nested::new(kind, Box::new(error))).into()
    }

    /// The error as one of a reader.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(Nested::new(self.kind(), Box::new(self)))
    }

    /// Says which file it is about, where the error does not.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match matches!(*self.0, Cause::Artifact(ArtifactError::ReadImage(_))) {
            true => ArtifactError::InFile {
                path: path.to_path_buf(),
                source: self.into(),
            }
            .into(),
            false => self,
        }
    }

    /// An error of writing a merged image at `path`.
    pub(crate) fn fsmeta(error: lithify_erofs::FsmetaError, path: &Path) -> Self {
        match error {
            lithify_erofs::FsmetaError::Write(lithify_erofs::WriteError::Budget(e)) => {
                Self::output_budget(e)
            }
            lithify_erofs::FsmetaError::Write(lithify_erofs::WriteError::Io {
                operation,
                source,
            }) if operation != lithify_erofs::Operation::ReadLayer => {
                Self::output(Operation::Write, path, source)
            }
            e => BuildError::Fsmeta(Box::new(e)).into(),
        }
    }

    /// An error of writing a tar; `hint` says what to do about holes.
    pub(crate) fn tar(error: lithify_tar::WriteError, hint: &'static str) -> Self {
        match error {
            lithify_tar::WriteError::Holes { path, holes, limit } => BuildError::Holes {
                path,
                holes,
                format: "tar",
                limit,
                hint,
            },
            e => BuildError::Tar(e),
        }
        .into()
    }

    /// An error of writing a disk at `path`.
    pub(crate) fn raw_disk(error: lithify_disk::RawError, path: &Path) -> Self {
        BuildError::RawDisk {
            path: path.to_path_buf(),
            source: Box::new(error),
        }
        .into()
    }

    /// The error of a blob's reader: that of verification or of a registry, if it was one.
    pub(crate) fn of_reader(digest: &Digest, error: io::Error) -> Self {
        let digest = Box::new(*digest);
        if let Some(mismatch) = Mismatch::in_error(&error) {
            let source = mismatch.clone();
            return TransferError::BlobMismatch { digest, source }.into();
        }
        match client::of_reader(error) {
            Ok(error) => error.into(),
            Err(source) => TransferError::BlobRead { digest, source }.into(),
        }
    }
}

/// Returns an error's message with those of its causes.
#[must_use]
pub fn report(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some say their cause themselves.
        let text = error.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

/// Whether an error is a registry's, on the way through a reader.
fn is_of_registry(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if client::kind_of(error).is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(Box::new(cause))
    }
}

/// Errors of a room, and those that only one room can mean.
macro_rules! from {
    ($($error:ty => $variant:path),* $(,)?) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Cause::from($variant(error)).into()
            }
        })*
    };
}

from! {
    OpenError => Cause::Open,
    LayerError => Cause::Layer,
    ArtifactError => Cause::Artifact,
    BuildError => Cause::Build,
    OutputError => Cause::Output,
    TransferError => Cause::Transfer,
    PublishError => Cause::Publish,
    CommitError => Cause::Commit,
    ComposefsError => Cause::Composefs,
    DeltaError => Cause::Delta,
    SealError => Cause::Seal,
    lithify_oci::source::ParseError => OpenError::Name,
    lithify_hostfs::ScanError => LayerError::Scan,
    lithify_hostfs::MaterialiseError => BuildError::Materialise,
    lithify_hostfs::UpperError => CommitError::Upper,
    lithify_disk::DiskError => BuildError::Disk,
    lithify_disk::vmdk::WriteError => BuildError::Vmdk,
}

#[cfg(feature = "_client")]
from! {
    DaemonError => Cause::Daemon,
}

#[cfg(feature = "mount")]
from! {
    MountError => Cause::Mount,
    lithify_mount::MountError => MountError::Mount,
}

impl From<lithify_erofs::ReadError> for Error {
    fn from(error: lithify_erofs::ReadError) -> Self {
        Self::unreadable(ErrorKind::of_erofs(&error), error)
    }
}

#[cfg(not(feature = "_client"))]
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<lithify_cancel::Cancelled> for Error {
    fn from(_: lithify_cancel::Cancelled) -> Self {
        Self::cancelled()
    }
}

impl From<lithify_store::Error> for Error {
    fn from(error: lithify_store::Error) -> Self {
        match error {
            lithify_store::Error::Cancelled => Cause::Cancelled,
            error => Cause::Store(error),
        }
        .into()
    }
}

#[cfg(feature = "_client")]
impl From<lithify_registry::Error> for Error {
    fn from(error: lithify_registry::Error) -> Self {
        match error {
            lithify_registry::Error::Cancelled => Cause::Cancelled,
            error => Cause::Registry(error),
        }
        .into()
    }
}

impl From<Error> for Nested {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), Box::new(error))
    }
}
