//! Splitstreams: files of which parts lie elsewhere, as objects.
//!
//! A layer's tar is a splitstream: headers, padding and short files are in it, longer files are
//! objects that images use too. Put together, the bytes are the tar's again. A manifest or a
//! configuration is a splitstream with nothing but one object.
//!
//! # Layout
//!
//! Numbers are little-endian. A range is two numbers of 8 bytes: the offset at which it begins and
//! the one at which it ends.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 11 | `SplitStream` |
//! | 11 | 1 | version: 0 |
//! | 12 | 2 | flags: 0, not looked at |
//! | 14 | 1 | algorithm of the digests, as fs-verity numbers it: 1 SHA-256, 2 SHA-512 |
//! | 15 | 1 | size of their blocks, its binary logarithm: 12 |
//! | 16 | 16 | range of the information; what it has beyond the fields below is not looked at |
//!
//! | in the information at | bytes | |
//! |---|---|---|
//! | 0 | 16 | range of the stream references: digests of other splitstreams, and of images |
//! | 16 | 16 | range of the object references: digests of objects, in the order in which they first appear |
//! | 32 | 16 | range of the body |
//! | 48 | 16 | range of the named references |
//! | 64 | 8 | content type: 8 characters such as `ocilayer` |
//! | 72 | 8 | bytes of the whole, put together |
//!
//! Writers put everything in this order: header, information, stream references, object references,
//! named references, body. Older files have the header's fields in another order: information at 0,
//! flags at 16, `SplitStream` at 18, version at 29, algorithm at 30, size of blocks at 31. They are
//! read too.
//!
//! The body is Zstandard. In it are chunks, each begun by a signed number of 8 bytes: if it is
//! negative, as many bytes follow and are part of the whole; if not, the object of that number
//! among the object references is. The named references are Zstandard too: records `NUMBER:NAME`
//! with a NUL behind each, sorted by name; the number is of a stream reference.
//!
//! Objects' sizes are not recorded, only the size of the whole.
//!
//! # Reading
//!
//! A [`StreamReader`] checks each range and number before it is used and keeps no more than windows
//! of the references, so that what a file says of itself costs no memory. What Zstandard may unpack
//! to is limited by the size of the whole.

mod error;
mod format;
mod named;
mod reader;
mod rebuild;
mod references;
mod writer;

pub use error::StreamError;
pub use format::ContentType;
pub use named::NamedReference;
pub use reader::{Chunk, StreamReader};
pub use rebuild::{Check, Objects, Rebuilt, check_body};
pub use writer::{StreamHead, StreamWriter};
