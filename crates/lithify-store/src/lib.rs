//! The local store of artifacts.
#![forbid(unsafe_code)]
