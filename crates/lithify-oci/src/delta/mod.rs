//! Deltas of images: artifacts that hold what is different between two images (oci-delta).
//!
//! An artifact is a manifest of the image-spec, by whose layers a target image is made of a source image:
//!
//! ```text
//! schemaVersion  2
//! artifactType   application/vnd.io.github.containers.oci-delta.v1
//! config         application/vnd.oci.empty.v1+json, the two bytes {}
//! subject        the target's manifest (type, digest, size)
//! annotations    io.github.containers.delta.
//!                  target          digest of the target's manifest
//!                  source          digest of the source's manifest
//!                  source-config   digest of the source's configuration
//!                  reused          JSON list of digests: layers of the target that the source has, by diff_id
//!                  reused-diff-id  JSON list of their diff_ids, in the same order
//! layers         each with io.github.containers.delta.content:
//!   image-manifest   the target's manifest
//!   image-config     the target's configuration
//!   image-layer      application/vnd.tar-diff: what makes the tar of a layer of the source's files; or, with the type it has in
//!                    the target, a layer as it is. io.github.containers.delta.to is its digest in the target
//!   anything else    of others, and passed over: signatures, for example
//! ```
//!
//! lithify adds annotations that others pass over, to a layer of type `application/vnd.tar-diff`:
//!
//! ```text
//! dev.lithify.delta.tar-size      bytes of the tar it makes
//! dev.lithify.delta.compression   the way its blob in the target is compressed, where the very bytes of it come out again
//! ```
//!
//! Everything here is hostile input: digests are parsed before they are names of anything, lists are bounded, and what an artifact says of
//! its target is compared with the manifest and the configuration of the target that it holds ([`Delta::layers_of`]).

mod document;
mod error;
mod ways;

pub use document::{Delta, Encoded, LayerDelta, Reused};
pub use error::DeltaError;
pub use ways::{LayerOrigin, LayerWay};

/// The type of the artifact.
pub const ARTIFACT_TYPE: &str = "application/vnd.io.github.containers.oci-delta.v1";

/// The media type of a tar-diff, of any version.
pub const TAR_DIFF: &str = "application/vnd.tar-diff";
