//! Why a filesystem, disk or directory cannot be made of an image.

use std::path::PathBuf;

use lithify_digest::Mismatch;
use lithify_tree::Escaped;

use super::ErrorKind;
use super::words::At;

/// Why a filesystem, disk or directory cannot be made of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// What is made of an image is larger than the limits allow.
    #[error("what is made is too large{}", At(.path.as_ref()))]
    OutputBudget {
        /// The file that was too much, if it was one.
        path: Option<lithify_tree::TreePath>,
        /// Which limit, and how far it got.
        source: lithify_cancel::BudgetExceeded,
    },
    /// The directory cannot be written.
    #[error(transparent)]
    Materialise(#[from] lithify_hostfs::MaterialiseError),
    /// The image cannot be written: in the words of its format's writer.
    #[error(transparent)]
    WriteImage(Box<dyn std::error::Error + Send + Sync>),
    /// A writable filesystem that is not made so: in the words of its format's writer.
    #[error(transparent)]
    Volume(Box<dyn std::error::Error + Send + Sync>),
    /// An attribute the filesystem has no room for.
    #[error(
        "{attribute}; leave out what cannot be held with --drop-xattrs, or build -f tar, which holds all"
    )]
    UnsupportedXattr {
        /// Which file has which, in the words of the format's error.
        attribute: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The merged image over layers cannot be written.
    #[error("cannot write the merged image over the layers")]
    Fsmeta(#[source] Box<lithify_erofs::FsmetaError>),
    /// The hash tree cannot be written.
    #[error(transparent)]
    WriteVerity(Box<lithify_verity::WriteError>),
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
    /// A compression that does not exist, or not in this filesystem.
    #[error("compression `{compression}` is not possible: {expected}")]
    Compression {
        /// What was asked for.
        compression: String,
        /// What there is.
        expected: String,
    },
    /// A block size that does not exist in this filesystem, or not for such data.
    #[error("blocks of {found} bytes: expected {expected}")]
    BlockSize {
        /// What was asked for.
        found: u32,
        /// What there is.
        expected: &'static str,
    },
    /// An option the format has no use for.
    #[error("{option} cannot be chosen for {format}")]
    UnusedOption {
        /// The option.
        option: &'static str,
        /// The format.
        format: &'static str,
    },
    /// The name of an output that is no repository, or says no name of an image.
    #[error(
        "`{output}` is no composefs repository and name: write REPO:NAME, or REPO for an image without a name"
    )]
    RepositoryName {
        /// The output.
        output: String,
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
    /// A size that no disk can have.
    #[error(
        "a size of {found} bytes on a disk (--disk {disk}): expected a multiple of 512, such as {expected}"
    )]
    DiskSize {
        /// What was asked for.
        found: u64,
        /// The kind of disk.
        disk: &'static str,
        /// The next that would do.
        expected: u64,
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
    /// The cpio archive cannot be written.
    #[error(transparent)]
    Cpio(lithify_cpio::WriteError),
    /// A file whose holes, written as zeros, make an archive too large.
    #[error(
        "`{path}` has holes of {holes} bytes, which a {format} holds as zeros, at most {limit} of them: {hint}"
    )]
    Holes {
        /// The file.
        path: lithify_tree::TreePath,
        /// Bytes of its holes.
        holes: u64,
        /// The kind of archive.
        format: &'static str,
        /// The limit `tar_bytes`.
        limit: u64,
        /// What to do.
        hint: &'static str,
    },
    /// A merged path cannot stand in an archive: its way led through symbolic links and got longer than names may be.
    #[error(transparent)]
    TarPath(lithify_tree::PathError),
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
}

impl BuildError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ArtifactBlob { .. } => ErrorKind::Verification,
            Self::Compression { .. }
            | Self::BlockSize { .. }
            | Self::UnusedOption { .. }
            | Self::RepositoryName { .. }
            | Self::Volume(_)
            | Self::DiskSize { .. }
            | Self::Alignment { .. } => ErrorKind::Usage,
            Self::OutputBudget { .. } | Self::Holes { .. } | Self::ArtifactTooLarge { .. } => {
                ErrorKind::Limit
            }
            Self::CacheConflict { .. } => ErrorKind::Exists,
            Self::NoArtifact { .. } => ErrorKind::NotFound,
            Self::UnsupportedXattr { .. }
            | Self::NoLayers
            | Self::TarPath(_)
            | Self::DiskMismatch { .. }
            | Self::Facts { .. } => ErrorKind::Unsupported,
            Self::Materialise(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            Self::WriteImage(source) => ErrorKind::of_causes(&**source, ErrorKind::Unsupported),
            Self::Fsmeta(source) => ErrorKind::of_causes(&**source, ErrorKind::Unsupported),
            Self::WriteVerity(source) => ErrorKind::of_causes(&**source, ErrorKind::Unsupported),
            Self::RawDisk { source, .. } => ErrorKind::of_causes(&**source, ErrorKind::Unsupported),
            Self::Disk(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            Self::Vmdk(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            Self::Cpio(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            Self::Tar(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
        }
    }
}
