//! Tests of `lithify-store` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod blobs;
mod collect;
mod common;
mod contention;
mod damage;
mod images;
mod layout;
mod limits;
mod pulls;
mod referrers;
mod store;
