//! A plan as a report: the parts of an image, which of them are there, and which would be moved.

use std::collections::HashSet;

use lithify_oci::manifest::{Descriptor, Document};
use serde::Serialize;

use super::{Plan, Sort};
use crate::Error;

/// What a build, pull, push or copy would do, found out without doing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// The image's name.
    pub source: String,
    /// The place it would go to.
    pub destination: String,
    /// Digest of its manifest or index; absent where that would be made on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The parts, in the order they are needed.
    pub parts: Vec<PlanPart>,
    /// Parts that are there.
    pub there: u64,
    /// Their bytes.
    pub there_bytes: u64,
    /// Parts that would be moved, fetched or read.
    pub moved: u64,
    /// Their bytes, as far as they are known.
    pub moved_bytes: u64,
    /// Parts that would be made.
    pub made: u64,
    /// Layers that would stay with their vendor.
    pub foreign: u64,
    /// The reasons why not everything is known that refers to the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
}

/// One part of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanPart {
    /// The kind of part.
    pub kind: PartKind,
    /// The thing that would be done with it.
    pub state: PartState,
    /// Its digest, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The digest of a layer's tar, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// Its media type, or the format of what would be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its bytes, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// The kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartKind {
    /// A layer of an image, or a blob of an artifact.
    Layer,
    /// A configuration.
    Config,
    /// The manifest of an image or artifact.
    Manifest,
    /// An index.
    Index,
    /// A filesystem made of an image, or of one of its layers.
    Filesystem,
}

impl PartKind {
    /// Returns the name of the kind, as `--json` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Config => "config",
            Self::Manifest => "manifest",
            Self::Index => "index",
            Self::Filesystem => "filesystem",
        }
    }
}

/// The thing that would be done with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartState {
    /// Nothing: it is there.
    There,
    /// It would be moved to the destination, or fetched from a registry.
    Move,
    /// It would be read here.
    Read,
    /// It would be made.
    Make,
}

impl PartState {
    /// Returns the name of the state, as `--json` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Move => "move",
            Self::Read => "read",
            Self::Make => "make",
        }
    }
}

impl PlanReport {
    /// A report without parts.
    pub(crate) fn new(source: &str, destination: &str) -> Self {
        Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a part, and counts it.
    pub(crate) fn add(&mut self, part: PlanPart) {
        let size = part.size.unwrap_or(0);
        match part.state {
            PartState::There => {
                self.there += 1;
                self.there_bytes += size;
            }
            PartState::Move | PartState::Read => {
                self.moved += 1;
                self.moved_bytes += size;
            }
            PartState::Make => self.made += 1,
        }
        self.parts.push(part);
    }
}

impl PlanPart {
    /// A part nothing is known of.
    pub(crate) fn new(kind: PartKind, state: PartState) -> Self {
        Self {
            kind,
            state,
            digest: None,
            diff_id: None,
            media_type: None,
            size: None,
        }
    }

    fn of(kind: PartKind, state: PartState, descriptor: &Descriptor) -> Self {
        Self {
            digest: Some(descriptor.digest.to_string()),
            media_type: Some(descriptor.media_type.clone()).filter(|t| !t.is_empty()),
            size: Some(descriptor.size),
            ..Self::new(kind, state)
        }
    }
}

/// Compares a plan with what is at its destination, by `is_there`.
pub(crate) fn survey(
    plan: &Plan,
    source: &str,
    destination: &str,
    is_there: &dyn Fn(Sort, &Descriptor) -> Result<bool, Error>,
) -> Result<PlanReport, Error> {
    let mut report = PlanReport::new(source, destination);
    report.digest = plan.root().map(|root| root.digest.to_string());
    report.foreign = plan.foreign;
    report.referrers_unlisted.clone_from(&plan.unlisted);
    let state = |sort, descriptor: &Descriptor| {
        is_there(sort, descriptor).map(|there| match there {
            true => PartState::There,
            false => PartState::Move,
        })
    };
    let documents = plan.documents.iter().map(|(descriptor, bytes)| {
        let parsed = Document::parse(bytes, Some(&descriptor.media_type));
        (descriptor, parsed)
    });
    let documents: Vec<_> = documents.collect();
    let mut configs = HashSet::new();
    for (_, parsed) in &documents {
        if let Ok(Document::Manifest(manifest)) = parsed {
            configs.insert(manifest.config.digest);
        }
    }
    for blob in &plan.blobs {
        let kind = match configs.contains(&blob.descriptor.digest) {
            true => PartKind::Config,
            false => PartKind::Layer,
        };
        let part = PlanPart::of(kind, state(Sort::Blob, &blob.descriptor)?, &blob.descriptor);
        report.add(part);
    }
    for (descriptor, parsed) in &documents {
        let kind = match parsed {
            Ok(Document::Index(_)) => PartKind::Index,
            _ => PartKind::Manifest,
        };
        let part = PlanPart::of(kind, state(Sort::Document, descriptor)?, descriptor);
        report.add(part);
    }
    Ok(report)
}
