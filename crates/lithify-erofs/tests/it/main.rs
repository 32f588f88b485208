//! Tests of `lithify-erofs` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod attributes;
mod common;
mod compression;
mod data;
mod devices;
mod fsmeta;
mod fsmeta_limits;
mod fsmeta_short_files;
mod layers;
mod lazy;
mod mutations;
mod names;
mod reader;
mod size;
mod stacks;
mod suite;
mod writer;
