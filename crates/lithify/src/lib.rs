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
//! # What there is
//!
//! - A [`Session`] is made once: store, registries, limits, progress, cancellation.
//! - [`Image::open`] opens an image wherever it is ([`TRANSPORTS`]), [`Subject::open`] an artifact too.
//! - [`build`] makes an artifact of an image, [`commit`](commit()) an image of changes, [`publish`](publish()) filesystems beside an image;
//!   [`copy`](copy()) and [`pull`](pull()) move images. [`plan_build`], [`plan_copy`], [`plan_pull`] and [`plan_publish`] say what these would do.
//! - [`Subject`] lists, reads and verifies.
//! - An [`Error`] has a [kind](Error::kind) that says what can be done about it, and a [cause](Error::cause).
//!
//! A build reports to a [`Progress`] and stops when its [`CancelToken`] is cancelled. Threads are bounded by
//! [`Session::jobs`]; the bytes of an artifact depend neither on it nor on the clock, the host or the user.
//!
//! # Listing, and stopping work
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lithify::{CancelToken, Session, Subject};
//!
//! # let directory = tempfile::tempdir()?;
//! # std::fs::create_dir(directory.path().join("etc"))?;
//! # std::fs::write(directory.path().join("etc/motd"), "hello\n")?;
//! # let name = format!("rootfs:{}", directory.path().display());
//! let cancel = CancelToken::new();
//! let session = Session { cancel: cancel.clone(), ..Session::default() };
//! let subject = Subject::open(&name, &session)?;
//! let listing = subject.list(&session)?;
//! assert_eq!(listing.entry(listing.find(b"/etc/motd")?).size, Some(6));
//!
//! // From a signal handler's thread, or wherever it is known that nobody waits any more.
//! cancel.cancel();
//! assert!(subject.list(&session).is_err_and(|e| e.is_cancelled()));
//! # Ok(())
//! # }
//! ```
//!
//! # Changes as a new image
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lithify::{CommitOptions, CopyOptions, Image, Session};
//!
//! # let directory = tempfile::tempdir()?;
//! # let at = |name: &str| directory.path().join(name);
//! # std::fs::create_dir(at("root"))?;
//! # std::fs::create_dir(at("upper"))?;
//! # std::fs::write(at("upper/motd"), "hello\n")?;
//! # let (root, upper) = (format!("rootfs:{}", at("root").display()), at("upper"));
//! # let (base, new) = (format!("oci:{}:1", at("images").display()), format!("oci:{}:2", at("images").display()));
//! let session = Session::default();
//! // A file tree is an image of one layer.
//! lithify::copy(&root, &base, &CopyOptions::default(), &session)?;
//! let base = Image::open(&base, &session)?;
//! let report = lithify::commit(&upper, Some(&base), &new, &CommitOptions::default(), &session)?;
//! assert_eq!(report.layers, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Pulling
//!
//! ```no_run
//! # fn main() -> Result<(), lithify::Error> {
//! use std::sync::Arc;
//! use lithify::{Event, Progress, PullOptions, Session};
//!
//! struct Dots;
//! impl Progress for Dots {
//!     fn event(&self, event: Event<'_>) {
//!         if let Event::BlobDone { bytes, .. } = event {
//!             println!("{bytes} bytes more");
//!         }
//!     }
//! }
//!
//! let session = Session { progress: Arc::new(Dots), ..Session::default() };
//! let report = lithify::pull("debian:12", &PullOptions::default(), &session)?;
//! println!("{}: {}", report.reference, report.digest);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! All are on by default. `registry`: images of registries, which brings HTTP and TLS. `daemon`: images of a Docker or Podman daemon
//! (by the same client). `mount`: mounting. `squashfs`: squashfs images. What was built without is [`Cause::NotBuiltIn`].
#![forbid(unsafe_code)]

mod artifacts; // filesystems beside images: what they are called
mod commit; // changes into layers
mod copy; // images from one place to another
mod delta; // new images as what is different from old ones
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
mod repository; // composefs repositories
mod session; // what is given once
mod tag; // names in the store
mod transfer; // plans and their execution
mod view; // images and artifacts as they are

pub use commit::{CommitOptions, CommitReport, commit};
pub use copy::{CopyOptions, CopyReport, copy, copy_image, plan_copy};
pub use delta::{
    DeltaDescription, DeltaLayerDescription, DeltaLayerOrigin, DeltaOptions, DeltaPlan,
    DeltaPlanStep, DeltaPolicy, DeltaReport, DeltaTarget, DeltaTargetReport, ImageDeltaReport,
    TarDeltaOptions, TarDeltaReport, TarPatchOptions, TarPatchReport, UnknownDeltaPolicy,
    apply_tar_delta, create_delta, create_tar_delta, inspect_delta, plan_delta,
};
pub use description::{
    Artifact, ArtifactSource, Description, LayerDescription, LeftOut, LeftOutReason,
    PlatformDescription, RecordedDescription, ReferrerDescription, Referrers, Stack, Verity,
};
#[cfg(feature = "mount")]
pub use error::MountError;
pub use error::{
    ArtifactError, BuildError, Cause, CommitError, ComposefsError, DamagedFile, DamagedFiles,
    DeltaError, DescriptionProblem, Error, ErrorKind, FileFault, LayerError, Names,
    NativeLayerError, Nested, OpenError, Operation, OutputError, PublishError, ReplaceError,
    RepositoryFault, SealCheck, SealError, SealReport, SealState, TransferError, report,
};
pub use fs::{
    Compression, CompressionAlgorithm, Journal, UnknownCompression, VerifiedComposefs,
    VerifyReport, VolumeOptions,
};
pub use image::Image;
pub use json::{write_json, write_json_pretty};
pub use lithify_cancel::{CancelToken, OutputPipe};
/// composefs repositories and images, for programs that look after them.
pub use lithify_composefs as composefs;
pub use lithify_delta::diff::Effort;
pub use lithify_digest::Digest;
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
    UnknownDisk, build, check_disk_name, create_disk, plan_build,
};
pub use manifest::encode::LayerCompression;
#[cfg(feature = "mount")]
pub use mount::{
    FileVerity, MountKind, MountOptions, Mounted, UnknownFileVerity, mount, mounts, umount,
};
pub use name::{full_name, path_as_data, store_name};
pub use output::LayersDirectory;
pub use place::store::{DeltaSavings, PullOptions, PullReport};
pub use publish::{
    ErofsSpec, PublishForm, PublishOptions, PublishReport, PublishedLayer, PublishedManifest,
    UnknownErofsSpec, plan_publish, publish,
};
pub use pull::{plan_pull, pull, pull_by_delta};
pub use repository::{
    ComposefsCheck, ComposefsDump, ComposefsImage, ComposefsImageOptions, ComposefsImageReport,
    ComposefsImageUsage, ComposefsKind, ComposefsName, ComposefsRepository, ComposefsUsage,
    FileCount, ObjectCount, missing_objects,
};
pub use repository::{ComposefsProfile, UnknownProfile, composefs_id};
pub use session::{
    Event, ImageLimits, Limits, Progress, PullPolicy, Registries, Session, Silent, StoreChoice,
    UnknownLimit, UnknownPolicy,
};
pub use tag::tag;
pub use transfer::{PartKind, PartState, PlanPart, PlanReport, TransferCounts};
pub use view::{ImageFile, ListedEntry, Listing, Subject};
