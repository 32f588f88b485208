//! A client of container registries (OCI distribution-spec 1.1, and what Docker's registries do besides).
//!
//! Everything blocks; nothing here needs an async runtime. A registry is as hostile as an image: it may lie about
//! lengths and digests, redirect anywhere, ask for credentials that are not its own, or never stop sending.
#![forbid(unsafe_code)]

pub mod auth; // who we are, and proving it
mod blob; // reading blobs
mod client; // what all repositories share
pub mod config; // hosts, mirrors, certificates
mod content; // a repository as a place to open images from
#[cfg(unix)]
pub mod daemon; // images of a daemon on this machine
mod document; // answers that are read as a whole
mod environment; // what the process' surroundings say
mod error; // why not
mod givers; // who gave what of blobs
#[doc(hidden)]
pub mod headers; // what the fuzzer parses
mod http; // requests and answers
mod manifest; // manifests, and what they are asked for by
mod push; // writing
mod realm; // asking for tokens
mod referrers; // what refers to a manifest
mod repository; // reading
mod said; // text of others
mod secret; // what is never printed
mod session; // credentials, redirects, retries

pub use blob::BlobReader;
pub use client::{Client, ClientOptions};
pub use content::RepositoryContent;
pub use error::{Error, LocationError, Operation, source_of};
pub use http::Failure;
pub use http::retry::RetryPolicy;
pub use http::tls::TlsError;
pub use http::url::{Url, UrlError};
pub use manifest::{Manifest, ManifestName};
pub use push::{Content, PushOptions, Pushed, Stored};
pub use repository::Repository;
pub use secret::Secret;
pub use session::{OnPause, Pause};
