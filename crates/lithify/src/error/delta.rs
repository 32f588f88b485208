//! Reasons why a delta cannot be created or applied.

use std::path::{Path, PathBuf};

use lithify_delta::apply::PatchError;
use lithify_delta::create::CreateError;
use lithify_delta::format::WriteError;
use lithify_digest::{Digest, Mismatch};
use lithify_oci::delta::DeltaError as ArtifactFault;
use lithify_tree::Escaped;

use super::{ErrorKind, Operation};

/// The reason why a delta cannot be created or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A delta cannot be created.
    #[error("no delta can be made of `{}`", Escaped::path(.path))]
    Create {
        /// The new layer.
        path: PathBuf,
        /// The fault.
        source: Box<CreateError>,
    },
    /// A delta cannot be applied.
    #[error("the delta `{}` cannot be applied", Escaped::path(.path))]
    Patch {
        /// The delta.
        path: PathBuf,
        /// The fault.
        source: Box<PatchError>,
    },
    /// A layer that a delta of images should make.
    #[error("the tar-diff {digest} of the delta `{name}` cannot be applied")]
    Layer {
        /// The delta.
        name: String,
        /// The tar-diff.
        digest: Box<Digest>,
        /// The fault.
        source: Box<PatchError>,
    },
    /// A thing that is no delta of images.
    #[error("`{name}` is not to be used as a delta of images")]
    Artifact {
        /// Its name.
        name: String,
        /// The fault.
        source: Box<ArtifactFault>,
    },
    /// No delta for the platform that was asked for.
    #[error("`{name}` has no delta for {wanted}, but {}", listed(.there))]
    Platform {
        /// Its name.
        name: String,
        /// The platform asked for.
        wanted: String,
        /// Platforms that it has deltas for.
        there: Vec<String>,
    },
    /// A delta whose old image is not known.
    #[error(
        "the delta `{name}` is for the image with the configuration {config}, which is not in the store: name it, or what has its files, with --base"
    )]
    NoBase {
        /// The delta.
        name: String,
        /// The digest of the old image's configuration.
        config: Box<Digest>,
    },
    /// A layer that the old image should have.
    #[error("the delta `{name}` takes the layer with the diff_id {diff_id} from its base, {}", without_layer(*.is_image))]
    NoLayer {
        /// The delta.
        name: String,
        /// The layer.
        diff_id: Box<Digest>,
        /// Whether the base is an image, with other layers.
        is_image: bool,
    },
    /// A target that does not come out with its own manifest.
    #[error(
        "the target of the delta `{name}` does not come out with its manifest {target}: of some layers it is not known how they were compressed (`lithify delta inspect`), or the base has them compressed otherwise; leave --exact away to have them compressed again, under a new manifest"
    )]
    NotExact {
        /// The delta.
        name: String,
        /// The digest of the target's manifest.
        target: String,
    },
    /// An image without a manifest, or none with layers.
    #[error(
        "`{name}` has no manifest, and a delta is of images that have one: copy it to a layout first (lithify copy `{name}` oci:DIR)"
    )]
    NoManifest {
        /// The image.
        name: String,
    },
    /// An image that several deltas refer to.
    #[error("several deltas refer to `{name}`: name one by its digest, as in oci:DIR@DIGEST: {}", some(.deltas))]
    Several {
        /// The image.
        name: String,
        /// The digests of the deltas.
        deltas: Vec<String>,
    },
    /// No delta to apply.
    #[error("no delta was named")]
    NoDeltas,
    /// A delta that is not for the target of the one before.
    #[error(
        "the delta `{name}` is for the image with the configuration {expected}, and `{before}` before it makes {found}: name them in the order they are applied"
    )]
    Chain {
        /// The delta.
        name: String,
        /// The configuration of the image that it is for.
        expected: Box<Digest>,
        /// The delta before.
        before: String,
        /// The configuration of the image that one makes.
        found: Box<Digest>,
    },
    /// A delta of another image.
    #[error("the delta `{name}` makes the image {found}, not {expected}")]
    OtherTarget {
        /// The delta.
        name: String,
        /// The digest of its target's manifest.
        found: Box<Digest>,
        /// The digest of the manifest that is wanted.
        expected: Box<Digest>,
    },
    /// An image without a delta that is of use.
    #[error(
        "there is no delta of `{name}` that is of use: none refers to it whose old image is in the store and which saves something; a layer that is pulled has to come out byte for byte (`lithify delta inspect`)"
    )]
    NoDelta {
        /// The image.
        name: String,
    },
    /// Images that have no platform in common.
    #[error("`{old}` and `{new}` have no platform in common")]
    NoPair {
        /// The old image.
        old: String,
        /// The new image.
        new: String,
    },
    /// A place that takes no deltas.
    #[error(
        "deltas are put in layouts (oci:DIR:TAG), archives (oci-archive:FILE) and registries (docker://NAME:TAG), not `{name}`"
    )]
    Destination {
        /// The place.
        name: String,
    },
    /// A place in a registry without a tag.
    #[error(
        "`{name}` needs a tag: one for the delta, or that of the new image, to which the delta will refer"
    )]
    NoTag {
        /// The place.
        name: String,
    },
    /// A name that is another image's.
    #[error(
        "`{name}` is another image ({digest}): give the delta a tag of its own, or that of the new image, to which it will refer"
    )]
    OtherImage {
        /// The name.
        name: String,
        /// The digest of what has the name.
        digest: Box<Digest>,
    },
    /// A delta that made something else.
    #[error("the delta `{}` made another tar than the one it is for: is the base the right one?", Escaped::path(.path))]
    Result {
        /// The delta.
        path: PathBuf,
        /// The difference.
        source: Mismatch,
    },
}

/// Says which there are.
fn listed(all: &[String]) -> String {
    match all.is_empty() {
        true => "none at all".to_owned(),
        false => all.join(", "),
    }
}

/// Says the first ones.
fn some(all: &[String]) -> String {
    const MOST: usize = 8;
    match all.len().checked_sub(MOST) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..MOST].join(", ")),
    }
}

/// Says what is wrong with a base that a layer is taken from.
const fn without_layer(is_image: bool) -> &'static str {
    match is_image {
        true => "which does not have it: the delta is for another image",
        false => "which has no layers: name the old image with --base",
    }
}

impl DeltaError {
    /// A thing is no delta of images.
    pub(crate) fn artifact(name: &str, source: ArtifactFault) -> crate::Error {
        Self::Artifact {
            name: name.to_owned(),
            source: Box::new(source),
        }
        .into()
    }

    /// A layer of a delta of images cannot be made.
    pub(crate) fn layer(name: &str, digest: Digest, source: PatchError) -> crate::Error {
        if matches!(source, PatchError::Cancelled(_)) {
            return crate::Error::cancelled();
        }
        Self::Layer {
            name: name.to_owned(),
            digest: Box::new(digest),
            source: Box::new(source),
        }
        .into()
    }

    pub(crate) fn create(path: &Path, output: &Path, source: CreateError) -> crate::Error {
        match source {
            CreateError::Cancelled(_) => crate::Error::cancelled(),
            CreateError::Write(WriteError::Write(e)) => {
                crate::Error::output(Operation::Write, output, e)
            }
            source => Self::Create {
                path: path.to_path_buf(),
                source: Box::new(source),
            }
            .into(),
        }
    }

    /// A delta of the layer, or against the image, of that name cannot be created.
    pub(crate) fn create_of(name: &str, source: CreateError) -> crate::Error {
        match source {
            CreateError::Cancelled(_) => crate::Error::cancelled(),
            CreateError::Write(WriteError::Write(e)) => crate::Error::scratch(e),
            source => Self::Create {
                path: name.into(),
                source: Box::new(source),
            }
            .into(),
        }
    }

    pub(crate) fn patch(path: &Path, source: PatchError) -> crate::Error {
        if matches!(source, PatchError::Cancelled(_)) {
            return crate::Error::cancelled();
        }
        Self::Patch {
            path: path.to_path_buf(),
            source: Box::new(source),
        }
        .into()
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Create { source, .. } => match &**source {
                CreateError::Tar(_) => ErrorKind::Verification,
                error => ErrorKind::of_causes(error, ErrorKind::Io),
            },
            Self::Patch { source, .. } | Self::Layer { source, .. } => ErrorKind::of_patch(source),
            Self::Artifact { source, .. } => match &**source {
                ArtifactFault::Type { .. } => ErrorKind::Unsupported,
                ArtifactFault::TooMany { .. } => ErrorKind::Limit,
                _ => ErrorKind::Verification,
            },
            Self::OtherTarget { .. } | Self::NoDelta { .. } => ErrorKind::NotFound,
            Self::Platform { .. } | Self::NoBase { .. } | Self::NoLayer { .. } => {
                ErrorKind::NotFound
            }
            Self::NotExact { .. } | Self::NoManifest { .. } | Self::NoPair { .. } => {
                ErrorKind::Unsupported
            }
            Self::Several { .. }
            | Self::Destination { .. }
            | Self::NoTag { .. }
            | Self::NoDeltas
            | Self::Chain { .. } => ErrorKind::Usage,
            Self::OtherImage { .. } => ErrorKind::Exists,
            Self::Result { .. } => ErrorKind::Verification,
        }
    }
}
