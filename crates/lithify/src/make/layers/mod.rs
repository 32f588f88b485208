//! Layers into images of their own, each once: what is in the store already is taken from there.
//!
//! 1. The ids of the layers say what to look for. What is missing is locked, all keys in one order whatever the image,
//!    so that builders wait for each other but never in a circle, and looked for again.
//! 2. Missing layers are decoded, several at a time, each into a file of the store that has no name yet.
//!    A layer that is an EROFS image already is verified and kept as it is, unless an option asks for other bytes.
//! 3. One after the other, bottom first, they are applied to the merged filesystem ([`turns`]). That says whether a
//!    layer means the same on other lower layers, so by which key it is kept, and gives the tree of its image.
//! 4. The image is finished and kept.
//!
//! Nothing is merged when nothing is missing.

mod build; // all layers of an image
mod options; // what is asked for, and what is kept
mod turns; // applying layers in order
mod work; // making the missing ones

pub(crate) use build::{build, find};
pub(crate) use options::{BuiltLayer, IMAGE, LayerOptions};
