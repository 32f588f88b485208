//! Tests of `lithify-registry` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod client;
mod config;
mod credentials;
mod login;
mod referrers;
mod tokens;
