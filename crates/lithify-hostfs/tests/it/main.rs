//! Tests of `lithify-hostfs` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod cancel;
mod common;
mod escape;
mod manifest;
mod materialise;
mod rootless;
mod roundtrip;
mod scan;
mod sidecar;
mod upper;
