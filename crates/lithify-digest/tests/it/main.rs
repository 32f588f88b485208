//! Tests of `lithify-digest` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod digest;
mod salted;
mod verified;
