//! Tests of `lithify-squashfs` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod common;
mod data;
mod mutations;
mod peers;
mod reader;
mod suite;
mod writer;
