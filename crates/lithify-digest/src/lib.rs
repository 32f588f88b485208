//! OCI content digests: parsed into a type before use, computed while bytes stream past.
//!
//! A digest string comes from a manifest, a reference or a file name, all of which may be hostile.
//! [`Digest`] is the only form in which lithify passes one on: the algorithm is one lithify knows,
//! the hexadecimal part has exactly the algorithm's length and is lower case
//! (image-spec, `descriptor.md`, "Digests"), so [`Digest::hex`] is always a safe file name.
//!
//! ```
//! use lithify_digest::{Algorithm, Digest};
//!
//! let digest = Digest::of(Algorithm::Sha256, b"hello");
//! let parsed: Digest = digest.to_string().parse()?;
//! assert_eq!(parsed, digest);
//! assert!("sha256:../../etc/passwd".parse::<Digest>().is_err());
//! # Ok::<(), lithify_digest::ParseError>(())
//! ```
//!
//! Whatever has to be verified is so by the one [`VerifiedReader`] (or its [`Verifier`], where bytes are pushed): size,
//! digest, and nothing after the end, with one [`Mismatch`] for what is wrong.
#![deny(unsafe_code)]

mod algorithm;
mod digest;
mod hasher;
mod hashing; // digests of what goes past
mod mismatch; // other bytes than promised
#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "a function for processors that have the instructions, called where they have them"
)]
mod pair; // two digests at once
mod salted; // digests of what begins alike
mod verified; // bytes as promised, or an error

pub use algorithm::Algorithm;
pub use digest::{Digest, ParseError};
pub use hasher::Hasher;
pub use hashing::{HashingWriter, digest_of};
pub use mismatch::Mismatch;
pub use salted::Salted;
pub use verified::{VerifiedReader, Verifier};
