//! Manifests, and what they are asked for by.

use std::fmt;

use lithify_digest::Digest;
use lithify_oci::manifest::Descriptor;

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestName {
    /// By a tag, which may lead to another manifest tomorrow.
    Tag(String),
    /// By its digest.
    Digest(Digest),
}

impl fmt::Display for ManifestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A manifest or index, byte for byte, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// Media type, digest and size. The digest is computed, never the registry's word.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}
