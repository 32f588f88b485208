//! Images of the writer, looked at by e2fsprogs and the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what they expect by panicking"
)]

mod attributes; // extended attributes
mod common; // building images
mod sizes; // filesystems of every size
mod writer; // what e2fsprogs and the kernel see
