//! Deltas: a new image, or a layer of it, as what is different from an old one.

mod apply; // the target of a delta, for everybody
mod artifact; // a delta of images, opened
mod base; // the files of an old image, for who applies a delta
mod create; // deltas of images, created
mod find; // the cheapest delta of an image
mod inspect; // deltas of images, described
mod old; // the files of an old image, for who creates one
mod open; // images opened by way of a delta
mod patch; // a tar-diff, applied
mod plan; // the cheapest way to an image
mod policy; // whether a delta is looked for
mod pull; // layers that are pulled by way of a delta
mod read; // a new layer, decoded
mod recipe; // compression that gives the same bytes each time
mod route; // ways over several deltas
mod tar; // deltas of single layers
mod target; // the target of a delta as an image

pub use apply::{DeltaTarget, DeltaTargetReport};
pub use create::{DeltaOptions, DeltaReport, ImageDeltaReport, create_delta};
pub use inspect::{DeltaDescription, DeltaLayerDescription, DeltaLayerOrigin, inspect_delta};
pub(crate) use open::by_delta;
pub use plan::{DeltaPlan, DeltaPlanStep, plan_delta};
pub use policy::{DeltaPolicy, UnknownDeltaPolicy};
pub(crate) use pull::with_delta;
pub use tar::{
    TarDeltaOptions, TarDeltaReport, TarPatchOptions, TarPatchReport, apply_tar_delta,
    create_tar_delta,
};
