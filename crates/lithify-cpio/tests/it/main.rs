//! Tests of `lithify-cpio` from outside, as one program. What GNU cpio, libarchive and the kernel make of its archives is
//! tested with the command, by whole images.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod writer;
