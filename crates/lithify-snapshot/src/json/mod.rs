//! JSON values, and the one form that each has as bytes (RFC 8785).
//!
//! Of JSON only what has one meaning everywhere is taken: no key twice, whole numbers that are exact in a double, no surrogates alone.

mod canonical; // values to bytes
mod parse; // bytes to values
mod value; // what they are

pub use parse::JsonError;
pub(crate) use parse::parse;
pub(crate) use value::{Json, Key, NUMBER_MAX, Object};
