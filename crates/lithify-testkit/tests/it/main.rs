//! Tests of `lithify-testkit` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod common;
mod registry;
mod registry_wire;
mod testkit;
