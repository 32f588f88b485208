//! Container image layers to filesystems.
//!
//! An image is hostile input. Nothing in it names a host path, every byte is checked against the digests that name
//! it before anything made of it exists, and everything it may ask for has a limit ([`Limits`]). Nothing is unpacked
//! on the host on the way to an image file: no root, no daemon, no temporary tree.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lithify::{BuildOptions, Image, Output, ReadOptions, Subject};
//!
//! # let directory = tempfile::tempdir()?;
//! # std::fs::create_dir(directory.path().join("root"))?;
//! # std::fs::write(directory.path().join("root/motd"), "hello\n")?;
//! # let name = format!("rootfs:{}", directory.path().join("root").display());
//! # let erofs = directory.path().join("image.erofs");
//! // `oci:DIR:TAG`, `docker-archive:FILE`, `rootfs:DIR` …
//! let options = ReadOptions::default();
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
//! [`ReadOptions::jobs`]; the bytes of an artifact depend neither on it nor on the clock, the host or the user.
#![forbid(unsafe_code)]

mod artifact_dir; // layered builds as they are
mod base_config; // what an image says, for other layers
mod budgets; // what an image may ask for
mod cat; // single files
mod commit; // changes into layers
mod copy; // images from one place to another
mod decode; // layers into entries and data
mod depot; // what is kept between builds
mod description; // `--json`
mod disk; // disks for virtual machines, as they are
mod encode; // tars into layers
mod error; // what can go wrong
mod flush; // data to the disk, early
mod fs_image; // image files as they are
mod image; // opening
mod json; // values as text
mod lazy; // without reading everything
mod limits; // how much an image may ask for
mod listing; // names and metadata
mod make; // images into artifacts
mod manifest; // manifests for images without
mod mount; // the kernel's view
mod name; // names as text
mod native; // layers that are filesystems
mod options; // reading
mod output; // files that are complete or not there
mod output_dir; // and directories
mod place; // the places images are in
mod progress; // how far things are
mod publish; // filesystems as images and artifacts
mod pull; // images of registries into the store
mod pull_policy; // when bare names are pulled
mod read_back; // what was made, before anyone else reads it
mod registries; // images of registries
mod retry; // after signals
mod spool; // data that waits
mod subject; // image or artifact
mod tag; // names in the store
mod transfer; // plans and their execution
mod twins; // layers named again

pub use artifact_dir::{DescriptionProblem, LayersDirectory, Names, ReplaceError};
pub use commit::{CommitOptions, CommitReport, commit};
pub use copy::{CopyOptions, CopyReport, copy, plan_copy};
pub use depot::StoreChoice;
pub use description::{
    Artifact, ArtifactSource, Description, LayerDescription, LeftOut, LeftOutReason,
    PlatformDescription, RecordedDescription, ReferrerDescription, Referrers, Stack, Verity,
};
pub use encode::LayerCompression;
pub use error::{
    ArtifactError, BuildError, Cause, CommitError, Error, ErrorKind, LayerError, MountError,
    OpenError, Operation, OutputError, PublishError, TransferError,
};
pub use image::Image;
pub use json::{write_json, write_json_pretty};
pub use limits::{ImageLimits, Limits, UnknownLimit};
pub use listing::{ListedEntry, Listing};
pub use lithify_cancel::{CancelToken, OutputPipe};
pub use lithify_oci::LayerKind;
pub use lithify_oci::Platform;
pub use lithify_oci::source::{Source, TRANSPORTS, Transport};
/// The client of registries, for what programs want to say about it.
pub use lithify_registry as registry;
/// The local store of artifacts, for programs that look after it.
pub use lithify_store as store;
pub use lithify_tree::{
    Escaped, InodeKind as TreeKind, NodeId, Printable, Tree, is_unsafe, unescape,
};
pub use make::{
    Artifacts, BuildOptions, Compression, CompressionAlgorithm, DiskKind, Format, FormatNameError,
    Output, UnknownArtifacts, UnknownCompression, UnknownDisk, build, plan_build,
};
pub use mount::{MountKind, MountOptions, Mounted, mounts, umount};
pub use name::{full_name, path_as_data, store_name};
pub use native::NativeLayerError;
pub use options::ReadOptions;
pub use place::store::{PullOptions, PullReport};
pub use progress::{Event, Progress, Silent};
pub use publish::{
    ErofsSpec, PublishForm, PublishOptions, PublishReport, PublishedLayer, PublishedManifest,
    UnknownErofsSpec, plan_publish, publish,
};
pub use pull::{plan_pull, pull};
pub use pull_policy::{PullPolicy, UnknownPolicy};
pub use registries::Registries;
pub use subject::{ImageFile, Subject, VerifyReport};
pub use tag::tag;
pub use transfer::{PartKind, PartState, PlanPart, PlanReport, TransferCounts};
