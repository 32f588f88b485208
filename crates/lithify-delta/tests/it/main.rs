//! Tests of `lithify-delta` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod bounds;
mod common;
mod create;
mod format;
mod hostile;
mod hostile_sources;
mod patch;
mod random;
mod referee;
