//! Reasons why an artifact is no delta, or not of its target.

use lithify_digest::{Digest, ParseError};
use lithify_escape::Escaped;

use crate::manifest;

/// The reason why an artifact is no delta that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A manifest of another type.
    #[error("it is no delta, and none refers to it: {}, expected `{}`", typed(.found), super::ARTIFACT_TYPE)]
    Type {
        /// The type found; empty if it says none.
        found: String,
    },
    /// An annotation that every delta has.
    #[error("it says no `{key}`, which every delta does")]
    NoAnnotation {
        /// The annotation.
        key: &'static str,
    },
    /// An annotation that should be a digest.
    #[error("`{key}`: {source}")]
    Digest {
        /// The annotation.
        key: &'static str,
        /// The fault.
        source: ParseError,
    },
    /// An annotation that should be a list of digests.
    #[error("`{key}` is no list of texts in JSON: {source}")]
    List {
        /// The annotation.
        key: &'static str,
        /// The fault.
        source: serde_json::Error,
    },
    /// Lists that belong together, of different length.
    #[error("it lists {digests} layers as reused, and {diff_ids} diff_ids of them")]
    ReusedCount {
        /// Digests.
        digests: usize,
        /// diff_ids.
        diff_ids: usize,
    },
    /// More entries than [`Limits`](crate::Limits) allow.
    #[error("it has {found} layers, at most {limit} are allowed (limit `layers`)")]
    TooMany {
        /// Entries found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A document of the target, which has to be there once.
    #[error("it has {found} entries `{content}`, expected one")]
    Documents {
        /// The kind of entry.
        content: &'static str,
        /// Entries found.
        found: usize,
    },
    /// The document is not that of the target.
    #[error("its `{content}` is {found}, but its target has {expected}")]
    OtherDocument {
        /// The kind of entry.
        content: &'static str,
        /// The digest of what it has.
        found: Box<Digest>,
        /// The digest that the target says.
        expected: Box<Digest>,
    },
    /// Two entries for one layer that say different things.
    #[error("it has two entries for the layer {digest}, with different blobs")]
    Repeated {
        /// The layer.
        digest: Box<Digest>,
    },
    /// An entry for a layer that the target does not have.
    #[error("it has an entry for the layer {digest}, which its target does not have")]
    Unknown {
        /// The layer.
        digest: Box<Digest>,
    },
    /// A layer of the target of which it says nothing.
    #[error("it says nothing of the layer {digest} of its target")]
    NotCovered {
        /// The layer.
        digest: Box<Digest>,
    },
    /// Two diff_ids of one layer.
    #[error(
        "it says the diff_id {found} of the layer {digest}, the target's configuration {expected}"
    )]
    DiffId {
        /// The layer.
        digest: Box<Digest>,
        /// The diff_id it says.
        found: Box<Digest>,
        /// That of the configuration.
        expected: Box<Digest>,
    },
    /// A layer that is there as it is, but under another digest.
    #[error("the layer {to} is there as {found}: a layer that is no tar-diff is there as it is")]
    OtherLayer {
        /// The layer of the target.
        to: Box<Digest>,
        /// The digest of what it has.
        found: Box<Digest>,
    },
    /// An annotation that should be a number of bytes.
    #[error("`{key}` is `{}`, expected a number", Escaped(.found))]
    Number {
        /// The annotation.
        key: &'static str,
        /// The text found.
        found: String,
    },
    /// The target's manifest, or its configuration.
    #[error("its target: {0}")]
    Target(#[from] manifest::Error),
}

/// Says a type, which may be missing.
fn typed(found: &str) -> String {
    match found {
        "" => "it is of no type of artifacts".to_owned(),
        found => format!("its type is `{}`", Escaped(found)),
    }
}
