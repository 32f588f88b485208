//! Tests of `lithify-tree` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

// Its macros are the other modules' words.
#[macro_use]
mod common;

mod breakouts;
mod cancel;
mod differential;
mod duplicates;
mod hard_links;
mod metadata;
mod model;
mod names;
mod overlay;
mod reports;
mod symlinked_parents;
mod tree;
mod umoci;
mod whiteouts;
