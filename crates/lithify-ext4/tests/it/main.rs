//! Tests of `lithify-ext4` from outside, as one program: it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what they expect by panicking"
)]

mod attributes; // extended attributes
mod bytes; // what is written, and how often
mod common; // building images
mod damage; // what is wrong, and where
mod directories; // few names and many
mod features; // beside mke2fs
mod files; // files of every size
mod filesystem; // ext4 for the suite
mod journal; // filesystems that were not unmounted
mod kernel; // images the kernel changed
mod mutations; // bytes changed one by one
mod peers; // images of others
mod rdump; // copies that debugfs makes
mod seal; // checksums made right
mod shown; // what the reader sees
mod sizes; // filesystems of every size
mod suite; // what all filesystems have
mod writer; // what e2fsprogs and the kernel see
