//! Tests of `lithify-disk` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod boot;
mod common;
mod properties;
mod qcow2;
mod referees;
