//! Virtual disks made of several files.
#![forbid(unsafe_code)]
