//! Deltas of images, as they were created.

use std::collections::BTreeMap;

use lithify_delta::create::Report;
use lithify_digest::Digest;
use serde::Serialize;

use crate::delta::inspect::DeltaDescription;

/// A delta of images, or an index of several, as it was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaReport {
    /// The place it is in.
    pub destination: String,
    /// Digest of its manifest, or of the index.
    pub digest: String,
    /// The deltas, one for each platform.
    pub images: Vec<ImageDeltaReport>,
    /// The reasons why it is not listed as referring to the new image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
}

/// A delta of one platform's image, as it was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageDeltaReport {
    /// What it holds.
    #[serde(flatten)]
    pub delta: DeltaDescription,
    /// Files whose content the old image has, in layers that it does not have.
    pub same: u64,
    /// Bytes of these.
    pub same_bytes: u64,
    /// Files that the old image has something of.
    pub changed: u64,
    /// Bytes of these.
    pub changed_bytes_of_files: u64,
    /// Files that it has nothing of.
    pub new: u64,
    /// Bytes of these.
    pub new_bytes: u64,
}

impl ImageDeltaReport {
    pub(super) fn new(delta: DeltaDescription, layers: &BTreeMap<Digest, Report>) -> Self {
        let sum = |number: fn(&Report) -> u64| layers.values().map(number).sum();
        Self {
            delta,
            same: sum(|r| r.same),
            same_bytes: sum(|r| r.same_bytes),
            changed: sum(|r| r.changed),
            changed_bytes_of_files: sum(|r| r.changed_bytes),
            new: sum(|r| r.new),
            new_bytes: sum(|r| r.new_bytes),
        }
    }
}
