//! An encoder of deflate (RFC 1951) and gzip (RFC 1952) that makes the very bytes of Go's
//! `compress/gzip`.
//!
//! A container image names its layers by the digests of compressed bytes. Many builders are written
//! in Go and compress with its standard library: who makes such a layer again has to make the same
//! choices, of matches, of blocks and of codes. The format leaves all of these open; here they are
//! those of Go 1.19.8.
//!
//! [`GoGzip`] is a writer, in bounded memory of about 1 MB. How long a match is looked for, and by
//! which strategy, is a table of levels (`level.rs`): level 1 remembers the last position of each
//! hash (`sampled.rs`), levels 2 to 9 follow chains of positions (`chained.rs`, `chains.rs`). Tokens
//! become blocks (`block.rs`), whose codes have lengths that Go chooses among equally good ones in
//! one way (`huffman.rs`, `lengths.rs`).
//!
//! ```
//! use std::io::Write as _;
//!
//! use lithify_deflate::{GoGzip, Level};
//!
//! let mut gzip = GoGzip::new(Vec::new(), Level::DEFAULT);
//! gzip.write_all(b"hello hello hello")?;
//! let member = gzip.finish()?;
//! assert!(member.starts_with(&[0x1f, 0x8b]));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Versions of Go
//!
//! Go 1.26 still has the encoder of Go 1.19. Go 1.27 has another one, which comes from
//! `github.com/klauspost/compress` and makes other bytes at all levels
//! ([golang/go#75532](https://github.com/golang/go/issues/75532)): its streams are not made here.
//! Neither are those of programs that use that module, or `github.com/klauspost/pgzip`.
//!
//! Before Go 1.15, level 1 forgot its history after each 1 GiB of input
//! ([golang/go#34121](https://github.com/golang/go/issues/34121)).
//!
//! # Sizes of writes
//!
//! In Go, the sizes of the pieces that a program passes to `Write` can show in the stream, though
//! they rarely do. Here they do not show, and the stream is that of one single piece, or of pieces
//! of 32 KiB. [`GoGzip::mark_write_end`] is for the other cases. A flush never cuts the stream.
#![forbid(unsafe_code)]

mod bits; // bits into bytes
mod block; // blocks, and which kind
mod bytes; // a buffer that is read in words
mod chained; // levels 2 to 9
mod chains; // positions by hash
mod deflate; // the raw stream
mod gzip; // the member
mod huffman; // codes of bounded length
mod lengths; // code lengths of a block
mod level; // levels
mod sampled; // level 1
mod token; // literals and matches

pub use deflate::GoDeflate;
pub use gzip::GoGzip;
pub use level::{Level, LevelError};
