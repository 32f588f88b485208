//! The way an image moves: a plan of blobs and documents, and the engine that puts them where they go.
//!
//! Everything that makes or moves an image makes a [`Plan`] and runs it. Nothing here knows what places there are.

mod blob; // blobs that are read
mod config; // configurations on their way
mod destination; // places that take an image
mod plan; // the parts of an image
pub(crate) mod referrers; // manifests that refer to an image
mod run; // the engine
pub(crate) mod signatures; // signatures that are at a destination already
mod survey; // a plan as a report

pub(crate) use blob::{BlobSource, Nature, Placed};
pub(crate) use config::read_config;
pub(crate) use destination::{Destination, Look, Sort, Target};
pub(crate) use plan::{FileBlob, Plan, PlannedBlob, SignatureTag, is_left_to_its_vendor};
pub(crate) use run::{Transferred, run};
pub(crate) use survey::survey;

pub use run::TransferCounts;
pub use survey::{PartKind, PartState, PlanPart, PlanReport};
