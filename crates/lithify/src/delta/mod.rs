//! Deltas: a new image, or a layer of it, as what is different from an old one.

mod base; // the old image, as files
mod tar; // deltas of single layers

pub use tar::{
    TarDeltaOptions, TarDeltaReport, TarPatchOptions, TarPatchReport, apply_tar_delta,
    create_tar_delta,
};
