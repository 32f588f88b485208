//! Why a built artifact (an image file, a disk, the directory of a layered build) cannot be read, or is not what it should be.

use std::path::PathBuf;

use lithify_tree::Escaped;

use super::words::and_more;
use super::{DescriptionProblem, ErrorKind, Nested};

/// Why a built artifact (an image file, a disk, the directory of a layered build) cannot be read, or is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Reading an image file failed.
    #[error("`{}`", Escaped::path(.path))]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Nested,
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
    /// A disk whose partitions hold no filesystem of a kind, or several.
    #[error("{found} partitions of `{}` have an {kind} filesystem, expected one: copy a partition into a file of its own, or name its device", Escaped::path(.path))]
    Partitions {
        /// The disk.
        path: PathBuf,
        /// The filesystem.
        kind: &'static str,
        /// The number of partitions that have one.
        found: usize,
    },
    /// The path is neither an image source nor an artifact.
    #[error(
        "`{}` is no artifact lithify knows: expected an EROFS, squashfs or ext4 image, a disk, the directory of a layered build, or an image such as oci:DIR:TAG",
        Escaped::path(.path)
    )]
    UnknownArtifact {
        /// The path.
        path: PathBuf,
    },
    /// The image is damaged.
    #[error("`{}` is damaged: {first}{}", Escaped::path(.path), and_more(*.more))]
    Damaged {
        /// The image.
        path: PathBuf,
        /// The first problem found.
        first: String,
        /// Further problems.
        more: u64,
    },
    /// The image cannot be read: in the words of its format's reader.
    #[error(transparent)]
    ReadImage(Nested),
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
        source: DescriptionProblem,
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
}

impl ArtifactError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InFile { source, .. } => source.kind(),
            Self::Gpt { source, .. } => match **source {
                lithify_disk::gpt::GptError::Io { .. } => ErrorKind::Io,
                _ => ErrorKind::Verification,
            },
            Self::Verity { source, .. } => match **source {
                lithify_verity::VerifyError::Io { .. } => ErrorKind::Io,
                _ => ErrorKind::Verification,
            },
            Self::ReadImage(source) => source.kind(),
            Self::Damaged { .. }
            | Self::ArtifactSize { .. }
            | Self::ArtifactDigest { .. }
            | Self::DescriptionJson { .. }
            | Self::DescriptionPath { .. }
            | Self::DescriptionStack { .. }
            | Self::Sidecar { .. }
            | Self::RootHash { .. }
            | Self::VmdkText { .. }
            | Self::VmdkFiles { .. } => ErrorKind::Verification,
            Self::EmptyDisk { .. }
            | Self::Partitions { .. }
            | Self::UnknownArtifact { .. }
            | Self::NotAFile { .. } => ErrorKind::Unsupported,
            Self::NotInImage { .. } => ErrorKind::NotFound,
        }
    }
}
