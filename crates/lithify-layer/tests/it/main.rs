//! Tests of `lithify-layer` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state what they expect by panicking"
)]

mod blob;
mod content;
mod corpus;
mod differential;
mod integrity;
mod producers;
mod sparse;
mod support;
mod tar;
mod tar_ends;
mod tar_pax;
mod tar_types;
mod threads;
mod writer;
mod writer_properties;
mod writer_readers;
