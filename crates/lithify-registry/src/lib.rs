//! A client of container registries (OCI distribution-spec 1.1, and what Docker's registries do besides).
//!
//! Everything blocks; nothing here needs an async runtime. A registry is as hostile as an image: it may lie about
//! lengths and digests, redirect anywhere, ask for credentials that are not its own, or never stop sending.
#![forbid(unsafe_code)]

pub mod auth; // who we are, and proving it
pub mod config; // hosts, mirrors, certificates
mod secret; // what is never printed

pub use secret::Secret;
