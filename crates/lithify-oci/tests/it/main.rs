//! Tests of `lithify-oci` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod archive;
mod archive_headers;
mod delta;
mod docker_archive;
mod layout;
mod layout_choice;
mod layout_manifests;
mod properties;
mod support;
mod tools;
mod writing;
