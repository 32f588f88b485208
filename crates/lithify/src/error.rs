//! What can go wrong, and with what.

use std::io;
use std::path::{Path, PathBuf};

use lithify_digest::Mismatch;
use lithify_erofs::ReadError;
use lithify_tree::{Escaped, Printable};

/// The error of every operation of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// A registry does not give or take what it should.
    #[error(transparent)]
    Registry(Box<lithify_registry::Error>),
    /// A daemon does not give or take what it should.
    #[error(transparent)]
    Daemon(Box<lithify_registry::daemon::DaemonError>),
    /// What a daemon sent is no archive of an image.
    #[error("what the daemon sent of `{name}` cannot be used: it {source}")]
    DaemonArchive {
        /// The name asked for.
        name: String,
        /// What is wrong with it.
        source: Box<lithify_oci::archive::Error>,
    },
    /// All platforms, to where there is room for one.
    #[error(
        "`{name}` takes an image for one platform: say which with --platform, or copy all to oci-archive:FILE or oci:DIR"
    )]
    OnePlatform {
        /// The destination.
        name: String,
    },
    /// An image that `docker load` could not take.
    #[error("the image cannot be copied to `{name}`: {reason}")]
    NotArchivable {
        /// The destination.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A transferred blob is not what its descriptor says.
    #[error("blob {digest} is not what its descriptor says: {source}")]
    BlobMismatch {
        /// The blob's digest by its descriptor.
        digest: Box<lithify_digest::Digest>,
        /// The difference.
        source: Mismatch,
    },
    /// A file tree where an image with a manifest or configuration is needed.
    #[error("`{name}` is a file tree, not an image: it can be built, but not copied")]
    NotTransferable {
        /// The name asked for.
        name: String,
    },
    /// A place images are not copied to.
    #[error(
        "images cannot be copied to `{name}`: use docker://NAME:TAG, docker-daemon:NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG or store:NAME"
    )]
    TransferDestination {
        /// The name given.
        name: String,
    },
    /// A bare name as a destination, which could mean several places.
    #[error(
        "`{}` does not say where the image is to go: write store:{name} for the store, docker://{name} for a registry, or oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG, docker-daemon:NAME:TAG", Printable(.name)
    )]
    BareDestination {
        /// The name given.
        name: String,
    },
    /// What has a signature's tag at the destination would be lost.
    #[error(
        "the destination has {there} under the tag `{tag}`, with signatures that {ours}, which was to be put there, does not have: copy without \
         --referrers, or delete that tag there first if they are not wanted"
    )]
    SignaturesThere {
        /// The tag.
        tag: String,
        /// What has it there.
        there: Box<lithify_digest::Digest>,
        /// What has it at the source.
        ours: Box<lithify_digest::Digest>,
    },
    /// The image has another digest than its new name.
    #[error("`{name}` was to be its new name, but the image has digest {found}")]
    OtherDigest {
        /// The name given.
        name: String,
        /// The digest of its manifest or index.
        found: Box<lithify_digest::Digest>,
    },
    /// What hosts sent for a blob is not what its digest says.
    #[error("what {} sent cannot be used", .hosts.join(" and "))]
    GivenBy {
        /// The hosts, each once.
        hosts: Vec<String>,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Reading an image file failed.
    #[error("`{}`", Escaped::path(.path))]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A disk with partitions that cannot be read.
    #[error("`{}` is no disk lithify can read", Escaped::path(.path))]
    Gpt {
        /// The disk.
        path: PathBuf,
        /// What is wrong.
        source: Box<lithify_disk::gpt::GptError>,
    },
    /// A disk without anything on it.
    #[error("`{}` has no partitions", Escaped::path(.path))]
    EmptyDisk {
        /// The disk.
        path: PathBuf,
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
    /// Nobody published what was not to be made here.
    #[error(
        "nobody published a {target} beside `{name}` ({manifest}): make it here with --artifacts use or without that \
         option, or publish it with `lithify push --as`"
    )]
    NoArtifact {
        /// The name of the image.
        name: String,
        /// Its manifest.
        manifest: String,
        /// Format and options.
        target: String,
    },
    /// A part of an artifact is not what its manifest says.
    #[error("artifact {artifact}: its part {part} is not what the manifest says: {source}")]
    ArtifactBlob {
        /// Digest of the artifact's manifest.
        artifact: Box<lithify_digest::Digest>,
        /// Digest of the part.
        part: Box<lithify_digest::Digest>,
        /// The difference.
        source: Mismatch,
    },
    /// A part of an artifact is larger than allowed.
    #[error("artifact {artifact}: {found} bytes, at most {limit} are taken (limit `{option}`)")]
    ArtifactTooLarge {
        /// Digest of the artifact's manifest.
        artifact: Box<lithify_digest::Digest>,
        /// Its size by the manifest.
        found: u64,
        /// The limit.
        limit: u64,
        /// Its name.
        option: &'static str,
    },
    /// A blob that was being transferred cannot be read.
    #[error("blob {digest} cannot be read")]
    BlobRead {
        /// The blob.
        digest: Box<lithify_digest::Digest>,
        /// Why not.
        source: io::Error,
    },
    /// A file or directory that was named cannot be read.
    #[error("cannot read `{}`", Escaped::path(.path))]
    Input {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The path is neither an image source nor an artifact.
    #[error(
        "`{}` is no artifact lithify knows: expected an EROFS or squashfs image, a disk, the directory of a layered build, or an image such as oci:DIR:TAG",
        Escaped::path(.path)
    )]
    UnknownArtifact {
        /// The path.
        path: PathBuf,
    },
    /// A layer is not what the image says, or cannot be decoded.
    #[error("layer {index} ({name})")]
    Layer {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// What is wrong with it.
        source: Box<lithify_layer::Error>,
    },
    /// A layer that is an EROFS image is not what the image says, or cannot be used.
    #[error("layer {index} ({name})")]
    NativeLayer {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest.
        name: String,
        /// What is wrong with it.
        source: Box<crate::NativeLayerError>,
    },
    /// A layer cannot be applied to those below it.
    #[error("layer {index} ({name}) cannot be applied")]
    Merge {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// Why not.
        source: lithify_tree::MergeError,
    },
    /// All layers of an image together ask for more than the limits allow ([`ImageLimits`](crate::ImageLimits)).
    #[error("layer {index} ({name}){}", At(.path.as_ref()))]
    Budget {
        /// The layer that was too much, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// The entry that was too much, if it was one.
        path: Option<lithify_tree::TreePath>,
        /// Which limit, and how far the layers got.
        source: lithify_cancel::BudgetExceeded,
    },
    /// What is made of an image is larger than the limits allow.
    #[error("what is made is too large{}", At(.path.as_ref()))]
    OutputBudget {
        /// The file that was too much, if it was one.
        path: Option<lithify_tree::TreePath>,
        /// Which limit, and how far it got.
        source: lithify_cancel::BudgetExceeded,
    },
    /// A layer has more than 4 GiB of names.
    #[error("layer {index}")]
    LayerFull {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// The limit met.
        source: lithify_tree::LayerFull,
    },
    /// The host directory cannot be read as a root filesystem.
    #[error(transparent)]
    Scan(#[from] lithify_hostfs::ScanError),
    /// The directory cannot be written.
    #[error(transparent)]
    Materialise(#[from] lithify_hostfs::MaterialiseError),
    /// The EROFS image cannot be written.
    #[error(transparent)]
    WriteErofs(Box<lithify_erofs::WriteError>),
    /// The EROFS image is damaged.
    #[error("`{}` is damaged: {first}{}", Escaped::path(.path), and_more(*.more))]
    Damaged {
        /// The image.
        path: PathBuf,
        /// The first problem found.
        first: String,
        /// Further problems.
        more: u64,
    },
    /// The EROFS image cannot be read.
    #[error(transparent)]
    ReadErofs(#[from] lithify_erofs::ReadError),
    /// The squashfs image cannot be written.
    #[error(transparent)]
    WriteSquashfs(Box<lithify_squashfs::WriteError>),
    /// An attribute the filesystem has no room for.
    #[error(
        "{attribute}; leave out what cannot be held with --drop-xattrs, or build -f tar, which holds all"
    )]
    UnsupportedXattr {
        /// Which file has which, in the words of the format's error.
        attribute: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The squashfs image cannot be read.
    #[error(transparent)]
    ReadSquashfs(#[from] lithify_squashfs::ReadError),
    /// A layer cannot be a layer of an overlay.
    #[error("layer {index} ({name}) cannot have an image of its own")]
    Overlay {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// Why not.
        source: lithify_tree::overlay::OverlayError,
    },
    /// The merged image over layers cannot be written.
    #[error("cannot write the merged image over the layers")]
    Fsmeta(#[source] Box<lithify_erofs::FsmetaError>),
    /// The hash tree cannot be written.
    #[error(transparent)]
    WriteVerity(Box<lithify_verity::WriteError>),
    /// A hash tree and what it should cover differ, or it cannot be read.
    #[error("`{}` does not agree with its hash tree", Escaped::path(.path))]
    Verity {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        source: Box<lithify_verity::VerifyError>,
    },
    /// A file with a root hash that cannot be read.
    #[error("cannot read the root hash in `{}`", Escaped::path(.path))]
    Sidecar {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<lithify_verity::SidecarError>,
    },
    /// An `image.json` that is no description.
    #[error("`{}` is no description of a build", Escaped::path(.path))]
    DescriptionJson {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An `image.json` that names a file outside its directory.
    #[error("`{}` names `{}`, which is not below its directory", Escaped::path(.path), Escaped(.name))]
    DescriptionPath {
        /// The description.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// An `image.json` that does not describe what is in its directory.
    #[error("`{}` is not right", Escaped::path(.path))]
    DescriptionStack {
        /// The description.
        path: PathBuf,
        /// What is wrong.
        source: crate::DescriptionProblem,
    },
    /// A file of a layered build has another size than described.
    #[error("`{}` has {found} bytes, its description says {expected}", Escaped::path(.path))]
    ArtifactSize {
        /// The file.
        path: PathBuf,
        /// Its size by the description.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file of a layered build has other bytes than described.
    #[error("`{}` has the SHA-256 {found}, its description says {expected}", Escaped::path(.path))]
    ArtifactDigest {
        /// The file.
        path: PathBuf,
        /// Its digest by the description.
        expected: String,
        /// Its digest.
        found: String,
    },
    /// A VMDK descriptor that cannot be read.
    #[error("`{}` is no disk lithify can read", Escaped::path(.path))]
    VmdkText {
        /// The descriptor.
        path: PathBuf,
        /// What is wrong.
        source: Box<lithify_disk::vmdk::ParseError>,
    },
    /// A VMDK descriptor whose files are not as it needs them.
    #[error("`{}` does not fit its files", Escaped::path(.path))]
    VmdkFiles {
        /// The descriptor.
        path: PathBuf,
        /// What is wrong.
        source: Box<lithify_disk::vmdk::CheckError>,
    },
    /// A root hash that is none.
    #[error("`{}` is no root hash: expected 64 hexadecimal digits", Escaped(.found))]
    RootHash {
        /// What was found.
        found: String,
    },
    /// The store cannot do what it was asked.
    #[error(transparent)]
    Store(lithify_store::Error),
    /// Nothing says where the store is.
    #[error("there is no place for a store: set LITHIFY_STORE or HOME, or name a directory")]
    NoStoreDirectory,
    /// What the store says about an artifact is not what this version writes.
    #[error(
        "the store's entry {entry} has facts this version does not know; `lithify rm` the image and build it again"
    )]
    Facts {
        /// The entry.
        entry: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A layer means something else on other lower layers, and the cache has another image of it.
    #[error(
        "layer {index} ({name}) depends on the layers below it, and `{}` is another image of it; name another directory, \
         or leave out such layers, as is done unless the cache is said to be for one image", Escaped::path(.path)
    )]
    CacheConflict {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// The image that is there.
        path: PathBuf,
    },
    /// An image without layers has nothing to be made of.
    #[error("the image has no layers; build a flat image")]
    NoLayers,
    /// Changes a layer cannot say, or an upper directory that cannot be read.
    #[error(transparent)]
    Upper(#[from] lithify_hostfs::UpperError),
    /// A commit goes into an OCI layout, under a tag, on top of an image with a configuration.
    #[error(
        "`{name}` cannot take a commit: expected oci:DIR or oci:DIR:TAG, and a base image with layers and a configuration"
    )]
    CommitDestination {
        /// The destination asked for.
        name: String,
    },
    /// A path without a transport where a commit is to go.
    #[error("`{name}` is a path, not an image layout: a commit goes to oci:DIR or oci:DIR:TAG")]
    CommitPath {
        /// The destination asked for.
        name: String,
    },
    /// The destination cannot take what is published.
    #[error("`{}` cannot be published to: expected docker://NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG or a name in the store", Printable(.name))]
    PublishDestination {
        /// The destination asked for.
        name: String,
    },
    /// The image cannot be published as a filesystem.
    #[error("`{}` cannot be published: {reason}", Printable(.name))]
    PublishSource {
        /// The image's name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The lowest layer removes something, which the draft format forbids.
    #[error(
        "the lowest layer ({name}) removes `/{path}`, which the draft format does not allow: publish it as containerd has it"
    )]
    PublishWhiteouts {
        /// Its digest.
        name: String,
        /// What it removes, escaped.
        path: String,
    },
    /// There is nothing to append a layer to.
    #[error("there is no image layout at `{}` to append to; name the image the changes were made on with --base", Escaped::path(.path))]
    NoBase {
        /// Where one was expected.
        path: PathBuf,
    },
    /// The layout cannot be written.
    #[error(transparent)]
    Layout(Box<lithify_oci::layout::Error>),
    /// A layer of the base image is not what its digest says.
    #[error("layer {index} of the base image is not what the image says: {source}")]
    BaseLayer {
        /// Its position, 0 is the bottom.
        index: usize,
        /// The difference.
        source: Mismatch,
    },
    /// The base image's configuration is no JSON object.
    #[error("the base image's configuration cannot be extended")]
    BaseConfig {
        /// Why not.
        source: serde_json::Error,
    },
    /// A compression that does not exist, or not in this filesystem.
    #[error("compression `{compression}` is not possible: {expected}")]
    Compression {
        /// What was asked for.
        compression: String,
        /// What there is.
        expected: String,
    },
    /// A block size that does not exist, or for data that is not compressed.
    #[error(
        "blocks of {found} bytes: expected a power of two from 4 KiB to 1 MiB, for data that is compressed"
    )]
    BlockSize {
        /// What was asked for.
        found: u32,
    },
    /// An option the format has no use for.
    #[error("{option} cannot be chosen for {format}")]
    UnusedOption {
        /// The option.
        option: &'static str,
        /// The format.
        format: &'static str,
    },
    /// A disk cannot be laid out.
    #[error(transparent)]
    Disk(#[from] lithify_disk::DiskError),
    /// A VMDK descriptor cannot be written.
    #[error(transparent)]
    Vmdk(#[from] lithify_disk::vmdk::WriteError),
    /// A disk of one file cannot be written.
    #[error("cannot write the disk `{}`", Escaped::path(.path))]
    RawDisk {
        /// The disk.
        path: PathBuf,
        /// Why not.
        source: Box<lithify_disk::RawError>,
    },
    /// An alignment that is no power of two, or not from 4096 bytes to 1 GiB.
    #[error("an alignment of {found} bytes: expected a power of two from 4096 to 1 GiB")]
    Alignment {
        /// What was asked for.
        found: u64,
    },
    /// The disk and the merged image's device table differ.
    #[error(
        "layer {layer} would start at byte {found} of the disk, its merged image expects it at {expected}"
    )]
    DiskMismatch {
        /// The layer, 0 is the bottom.
        layer: usize,
        /// Where the merged image looks.
        expected: u64,
        /// Where the disk has it.
        found: u64,
    },
    /// The tar cannot be written.
    #[error(transparent)]
    Tar(lithify_tar::WriteError),
    /// A file whose holes, written as zeros, make a tar too large.
    #[error(
        "`{path}` has holes of {holes} bytes, which a tar holds as zeros, at most {limit} of them: {hint}"
    )]
    TarHoles {
        /// The file.
        path: lithify_tree::TreePath,
        /// Bytes of its holes.
        holes: u64,
        /// The limit `tar_bytes`.
        limit: u64,
        /// What to do.
        hint: &'static str,
    },
    /// A merged path cannot stand in a tar: its way led through symbolic links and got longer than names may be.
    #[error(transparent)]
    TarPath(lithify_tree::PathError),
    /// What overlayfs would take for a mark of its own.
    #[error(
        "`/{path}` {mark}, which means something else to the overlay a writable mount is: mount the image read-only, or build \
         it with -f dir and change that"
    )]
    OverlayMark {
        /// The file, escaped.
        path: String,
        /// What it is.
        mark: String,
    },
    /// The mount, or its end, did not work.
    #[error(transparent)]
    Mount(#[from] lithify_mount::MountError),
    /// The output path is taken by something that is not a regular file.
    #[error("`{}` exists and is not a regular file; name another output or remove it", Escaped::path(.path))]
    OutputExists {
        /// The output path.
        path: PathBuf,
    },
    /// What stands where an output directory is to stand is not, or not only, the output of an earlier build.
    #[error("`{}` is left as it is: name another output, or remove it first", Escaped::path(.path))]
    NotReplaced {
        /// The output path.
        path: PathBuf,
        /// What it is instead.
        source: Box<crate::ReplaceError>,
    },
    /// The output cannot be written.
    #[error("cannot {operation} `{}`", Escaped::path(.path))]
    Output {
        /// What was being done.
        operation: Operation,
        /// The output path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in the image's place for data while it is being collected.
    #[error("cannot keep file data in a scratch file; is the disk of the output full?")]
    Scratch(#[source] io::Error),
    /// The format cannot go where it was asked to.
    #[error("{format} cannot be written to {destination}")]
    Destination {
        /// The format.
        format: &'static str,
        /// Where it was asked to go.
        destination: &'static str,
    },
    /// The path does not exist in the image.
    #[error("`{path}` does not exist in the image")]
    NotInImage {
        /// The path, escaped.
        path: String,
    },
    /// The path is no regular file.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// The path, escaped.
        path: String,
    },
    /// Whatever the caller wanted data written to does not take it.
    #[error("cannot write the data")]
    Sink(#[source] io::Error),
    /// [`CancelToken::cancel`](crate::CancelToken::cancel) was called.
    #[error("cancelled")]
    Cancelled,
}

/// What was being done to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Making the file.
    Create,
    /// Opening what is there.
    Open,
    /// Writing data.
    Write,
    /// Waiting for the disk.
    Sync,
    /// Giving the finished file its name.
    Rename,
    /// Removing what it replaced.
    Remove,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename the finished file to",
            Self::Remove => "remove what was replaced, now",
        })
    }
}

/// Where in a layer something is.
struct At<'a>(Option<&'a lithify_tree::TreePath>);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(path) => write!(f, ": `{path}`"),
            None => Ok(()),
        }
    }
}

/// How many problems were not shown.
pub(crate) fn and_more(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(" (and {count} more problems)")
    }
}

impl From<lithify_cancel::Cancelled> for Error {
    fn from(_: lithify_cancel::Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// What is made is too large, at a file that whoever knows it may add.
    pub(crate) fn output_budget(source: lithify_cancel::BudgetExceeded) -> Self {
        Self::OutputBudget { path: None, source }
    }

    pub(crate) fn output(operation: Operation, path: &Path, source: io::Error) -> Self {
        Self::Output {
            operation,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Says which hosts sent what is wrong, where the error does not.
    pub(crate) fn given_by(self, hosts: Vec<String>) -> Self {
        let is_told = matches!(self, Self::Registry(_) | Self::GivenBy { .. }) || came_wrong(&self);
        match hosts.is_empty() || is_told || !self.is_verification() {
            true => self,
            false => Self::GivenBy {
                hosts,
                source: Box::new(self),
            },
        }
    }

    /// Says which file it is about, where the error does not.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::ReadErofs(_) | Self::ReadSquashfs(_) => Self::InFile {
                path: path.to_path_buf(),
                source: Box::new(self),
            },
            other => other,
        }
    }

    pub(crate) fn input(path: &Path, source: io::Error) -> Self {
        Self::Input {
            path: path.to_path_buf(),
            source,
        }
    }

    /// What happened while a merged image was written at `path`.
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
            e => Self::Fsmeta(Box::new(e)),
        }
    }

    /// What happened while a tar was written; `hint` says what to do about holes.
    pub(crate) fn tar(error: lithify_tar::WriteError, hint: &'static str) -> Self {
        match error {
            lithify_tar::WriteError::Holes { path, holes, limit } => Self::TarHoles {
                path,
                holes,
                limit,
                hint,
            },
            e => Self::Tar(e),
        }
    }

    /// What happened while a disk was written at `path`.
    pub(crate) fn raw_disk(error: lithify_disk::RawError, path: &Path) -> Self {
        Self::RawDisk {
            path: path.to_path_buf(),
            source: Box::new(error),
        }
    }

    /// The message with those of its causes: what the command prints.
    #[must_use]
    pub fn report(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
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

    /// Whether bytes were not what a digest, size, checksum or format promised: the command's exit code 3.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Open { source, .. } => source.is_verification() || came_wrong(&**source),
            Self::Layer { source, .. } => source.is_verification() || came_wrong(&**source),
            Self::Registry(source) => source.is_verification(),
            Self::InFile { source, .. } | Self::GivenBy { source, .. } => source.is_verification(),
            Self::Gpt { source, .. } => !matches!(**source, lithify_disk::gpt::GptError::Io { .. }),
            Self::Store(lithify_store::Error::BlobMismatch { .. }) => true,
            Self::Layout(source) => {
                matches!(**source, lithify_oci::layout::Error::Mismatch { .. })
            }
            Self::BlobMismatch { .. }
            | Self::Damaged { .. }
            | Self::ArtifactSize { .. }
            | Self::ArtifactDigest { .. }
            | Self::ArtifactBlob { .. }
            | Self::DescriptionJson { .. }
            | Self::DescriptionPath { .. }
            | Self::DescriptionStack { .. }
            | Self::Sidecar { .. }
            | Self::RootHash { .. }
            | Self::BaseLayer { .. }
            | Self::VmdkText { .. }
            | Self::VmdkFiles { .. } => true,
            Self::Verity { source, .. } => {
                !matches!(**source, lithify_verity::VerifyError::Io { .. })
            }
            Self::ReadSquashfs(e) => !matches!(
                e,
                lithify_squashfs::ReadError::Io { .. }
                    | lithify_squashfs::ReadError::Length { .. }
                    | lithify_squashfs::ReadError::UnknownCompressor { .. }
            ),
            Self::ReadErofs(e) => erofs_is_verification(e),
            Self::NativeLayer { source, .. } => source.is_verification(),
            _ => false,
        }
    }
}

impl From<lithify_registry::daemon::DaemonError> for Error {
    fn from(error: lithify_registry::daemon::DaemonError) -> Self {
        Self::Daemon(Box::new(error))
    }
}

/// Whether an error is a registry's that sent other bytes than it should, on the way through a reader.
fn came_wrong(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error
            .downcast_ref::<io::Error>()
            .and_then(lithify_registry::source_of)
        {
            return found.is_verification();
        }
        cause = error.source();
    }
    false
}

impl From<lithify_store::Error> for Error {
    fn from(error: lithify_store::Error) -> Self {
        match error {
            lithify_store::Error::Cancelled => Self::Cancelled,
            error => Self::Store(error),
        }
    }
}

impl From<lithify_registry::Error> for Error {
    fn from(error: lithify_registry::Error) -> Self {
        match error {
            lithify_registry::Error::Cancelled => Self::Cancelled,
            error => Self::Registry(Box::new(error)),
        }
    }
}

/// Whether an EROFS image is not what its format promises, as opposed to out of reach or of a kind that is not read.
pub(crate) fn erofs_is_verification(error: &ReadError) -> bool {
    !matches!(
        error,
        ReadError::Io { .. }
            | ReadError::Length { .. }
            | ReadError::Features { .. }
            | ReadError::DirectoryBlocks { .. }
            | ReadError::ExtraDevice { .. }
            | ReadError::Compressed { .. }
            | ReadError::NoExtent { .. }
            | ReadError::DeviceCount { .. }
            | ReadError::OverlayXattr { .. }
            | ReadError::XattrPrefix { .. }
    )
}

impl Error {
    /// The error of a blob's reader: that of verification or of a registry, if it was one.
    pub(crate) fn of_reader(digest: &lithify_digest::Digest, error: io::Error) -> Self {
        if let Some(mismatch) = Mismatch::in_error(&error) {
            return Self::BlobMismatch {
                digest: Box::new(*digest),
                source: mismatch.clone(),
            };
        }
        let is_registry = error
            .get_ref()
            .is_some_and(|e| e.is::<lithify_registry::Error>());
        if !is_registry {
            return Self::BlobRead {
                digest: Box::new(*digest),
                source: error,
            };
        }
        match error
            .into_inner()
            .map(|e| e.downcast::<lithify_registry::Error>())
        {
            Some(Ok(error)) => (*error).into(),
            _ => Self::BlobRead {
                digest: Box::new(*digest),
                source: io::Error::other("the registry's error was lost"),
            },
        }
    }
}
