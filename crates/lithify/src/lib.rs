//! Container image layers to filesystems.
//!
//! An image is hostile input. Nothing in it names a host path, every byte is checked against the digests that name
//! it before anything made of it exists, and everything it may ask for has a limit ([`Limits`]). Nothing is unpacked
//! on the host on the way to an image file: no root, no daemon, no temporary tree.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lithify::{BuildOptions, Image, Output, Session, Subject};
//!
//! # let directory = tempfile::tempdir()?;
//! # std::fs::create_dir(directory.path().join("root"))?;
//! # std::fs::write(directory.path().join("root/motd"), "hello\n")?;
//! # let name = format!("rootfs:{}", directory.path().join("root").display());
//! # let erofs = directory.path().join("image.erofs");
//! // `oci:DIR:TAG`, `docker-archive:FILE`, `rootfs:DIR` …
//! let options = Session::default();
//! let image = Image::open(&name, &options)?;
//! let report = lithify::build(&image, &Output::Path(erofs.clone()), &BuildOptions::default(), &options)?;
//! assert_eq!(report.artifacts[0].format, "erofs");
//!
//! // Read a file back through the EROFS reader, without mounting.
//! let Subject::File(file) = Subject::open(erofs.to_str().ok_or("not UTF-8")?, &options)? else {
//!     return Err("an EROFS image was built".into());
//! };
//! assert_eq!(file.read(b"/motd")?, b"hello\n");
//! # Ok(())
//! # }
//! ```
//!
//! A build reports to a [`Progress`] and stops when its [`CancelToken`] is cancelled. Threads are bounded by
//! [`Session::jobs`]; the bytes of an artifact depend neither on it nor on the clock, the host or the user.
#![forbid(unsafe_code)]

mod artifacts; // filesystems beside images: what they are called
mod commit; // changes into layers
mod copy; // images from one place to another
mod description; // `--json`
mod error; // what can go wrong
mod fs; // filesystems in image files
mod image; // images, decoded
mod json; // values as text
mod make; // images into artifacts
mod manifest; // manifests for images without
#[cfg(feature = "mount")]
mod mount; // the kernel's view
mod name; // names as text
mod output; // files and directories that are complete or not there
mod place; // the places images are in
mod publish; // filesystems as images and artifacts
mod pull; // images of registries into the store
mod session; // what is given once
mod tag; // names in the store
mod transfer; // plans and their execution
mod view; // images and artifacts as they are

pub use commit::{CommitOptions, CommitReport, commit};
pub use copy::{CopyOptions, CopyReport, copy, plan_copy};
pub use description::{
    Artifact, ArtifactSource, Description, LayerDescription, LeftOut, LeftOutReason,
    PlatformDescription, RecordedDescription, ReferrerDescription, Referrers, Stack, Verity,
};
#[cfg(feature = "mount")]
pub use error::MountError;
pub use error::{
    ArtifactError, BuildError, Cause, CommitError, DescriptionProblem, Error, ErrorKind,
    LayerError, Names, NativeLayerError, Nested, OpenError, Operation, OutputError, PublishError,
    ReplaceError, TransferError,
};
pub use fs::{Compression, CompressionAlgorithm, UnknownCompression, VerifyReport};
pub use image::Image;
pub use json::{write_json, write_json_pretty};
pub use lithify_cancel::{CancelToken, OutputPipe};
pub use lithify_oci::LayerKind;
pub use lithify_oci::Platform;
pub use lithify_oci::source::{Source, TRANSPORTS, Transport};
/// The client of registries, for what programs want to say about it.
#[cfg(feature = "_client")]
pub use lithify_registry as registry;
/// The local store of artifacts, for programs that look after it.
pub use lithify_store as store;
pub use lithify_tree::{
    Escaped, InodeKind as TreeKind, NodeId, Printable, Tree, is_unsafe, unescape,
};
pub use make::{
    Artifacts, BuildOptions, DiskKind, Format, FormatNameError, Output, UnknownArtifacts,
    UnknownDisk, build, plan_build,
};
pub use manifest::encode::LayerCompression;
#[cfg(feature = "mount")]
pub use mount::{MountKind, MountOptions, Mounted, mounts, umount};
pub use name::{full_name, path_as_data, store_name};
pub use output::LayersDirectory;
pub use place::store::{PullOptions, PullReport};
pub use publish::{
    ErofsSpec, PublishForm, PublishOptions, PublishReport, PublishedLayer, PublishedManifest,
    UnknownErofsSpec, plan_publish, publish,
};
pub use pull::{plan_pull, pull};
pub use session::{
    Event, ImageLimits, Limits, Progress, PullPolicy, Registries, Session, Silent, StoreChoice,
    UnknownLimit, UnknownPolicy,
};
pub use tag::tag;
pub use transfer::{PartKind, PartState, PlanPart, PlanReport, TransferCounts};
pub use view::{ImageFile, ListedEntry, Listing, Subject};
