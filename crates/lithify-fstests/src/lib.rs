//! One suite of tests for every filesystem that images are written in.
//!
//! A crate that writes and reads a filesystem implements [`Filesystem`] in its tests, says `lithify_fstests::suite!(TYPE)`, and
//! has the suite: what goes in comes out, through its own reader and through the kernel, whatever names, kinds, attributes,
//! holes and layers there are; damaged images give errors; a full disk is an error; nothing is written of an image nobody wants. What
//! only one format has is tested in its crate, with the same [`Builder`] and checks.
//!
//! It is a crate of its own, above `lithify-testkit`, which knows nothing of the code under test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "tests state what they expect by panicking"
)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "a test's name is its documentation"
)]

mod build; // images for tests
mod check; // what an image is, compared with what was asked for
mod filesystem; // what a format says of itself
mod mounted; // what the kernel shows
pub mod mutations; // fields changed one by one
pub mod suite; // the tests

pub use build::{
    Builder, Built, Content, Expected, acl, build_unchecked, build_with, metadata, pattern,
    with_xattrs, xattrs,
};
pub use check::{check_image, check_with_reader};
pub use filesystem::Filesystem;
pub use mounted::{check_extracted, check_mounted, mount_and_check};
