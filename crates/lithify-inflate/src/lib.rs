//! A fast streaming decoder for deflate (RFC 1951) and gzip (RFC 1952).
//!
//! Decompressing is what the time of reading an image layer goes into. This crate decodes long
//! streams in large pieces about twice as fast as zlib does, without giving up anything on the
//! way: it accepts exactly the streams zlib accepts, with the same bytes, and its use of `unsafe` is
//! confined to one loop and the copies it makes.
//!
//! * [`Inflate`] decodes one raw deflate stream, [`Gzip`] a gzip file of any number of members.
//!   Neither does input or output or owns buffers: the caller passes slices of any size. Large ones
//!   are best: input chunks of some ten KiB or more, output buffers of 256 KiB or more.
//! * [`GzipReader`] wraps [`Gzip`] into a [`std::io::Read`] for the occasional file.
//!
//! # Output buffers carry their own history
//!
//! A match copies from the last [`WINDOW_SIZE`] bytes of output. They are expected in the output
//! buffer itself, before the position to write to, so nothing has to be copied into a window of
//! the decoder's own and out of it again:
//!
//! ```text
//!            ┌──────────────────┬───────────────────────────┬──────────┐
//!    out     │ history, 32 KiB  │ produced by this call     │ room     │
//!            └──────────────────┴───────────────────────────┴──────────┘
//!                            out_pos             out_pos + produced
//! ```
//!
//! When the buffer is full, its last 32 KiB become the beginning of the next one
//! ([`carry_history`]), which may be another buffer while the full one is on its way through a
//! pipeline, or the same one.
//!
//! ```
//! use lithify_inflate::{Gzip, GzipError, Status, WINDOW_SIZE, carry_history};
//!
//! /// Decodes `chunks`, passing on the output in pieces.
//! fn decode<'a>(
//!     chunks: impl IntoIterator<Item = &'a [u8]>,
//!     mut sink: impl FnMut(&[u8]),
//! ) -> Result<(), GzipError> {
//!     let mut gzip = Gzip::new();
//!     let mut out = vec![0; WINDOW_SIZE + 256 * 1024];
//!     let mut out_pos = 0;
//!     for mut input in chunks {
//!         loop {
//!             let progress = gzip.decode(input, &mut out, out_pos)?;
//!             input = &input[progress.consumed..];
//!             sink(&out[out_pos..out_pos + progress.produced]);
//!             out_pos += progress.produced;
//!             match progress.status {
//!                 Status::NeedInput => break,
//!                 Status::NeedOutput => {
//!                     let mut next = vec![0; out.len()]; // or one that was used before
//!                     out_pos = carry_history(&out, &mut next);
//!                     out = next;
//!                 }
//!                 Status::End => {}
//!             }
//!         }
//!     }
//!     gzip.finish()
//! }
//! # let file: &[u8] = &[
//! #     0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff,
//! #     0x01, 0x02, 0x00, 0xfd, 0xff, b'h', b'i', 0xac, 0x2a, 0x93, 0xd8, 2, 0, 0, 0,
//! # ];
//! # let mut all = Vec::new();
//! # decode(file.chunks(3), |piece| all.extend_from_slice(piece))?;
//! # assert_eq!(all, b"hi");
//! # Ok::<(), GzipError>(())
//! ```
//!
//! # Hostile input
//!
//! No input makes the decoder panic, loop, or allocate: its memory is about 80 KiB of tables, made
//! once. How far a stream may expand (at most about 1032 times) is for the caller to limit, who
//! sees every byte go by. Truncated input is told apart from corrupt input: the decoder goes on
//! asking for input, and [`Gzip::finish`] says what is missing.
//!
//! # The deflate format in brief
//!
//! Bits are read from each byte lowest first; numbers come lowest bit first, Huffman codewords
//! highest bit first.
//!
//! ```text
//! stream   block … block
//! block    BFINAL:1  BTYPE:2  and then, by BTYPE,
//!   0      padding to a byte  LEN:16  NLEN:16 (= !LEN)  LEN bytes
//!   1      symbols in the fixed codes
//!   2      HLIT:5  HDIST:5  HCLEN:4  (HCLEN + 4) × 3 bits: lengths of the code-length code
//!          HLIT + 257 literal/length and HDIST + 1 distance code lengths, in that code:
//!            0…15 the length itself   16 repeat previous, 3 + 2 bits
//!            17 zeros, 3 + 3 bits     18 zeros, 11 + 7 bits
//!          symbols in the codes with these lengths
//! symbols  0…255 a literal   256 end of block
//!          257…285 length base + 0…5 bits, then: 0…29 distance base + 0…13 bits
//! ```
//!
//! The modules' own documentation goes on from there: `table` has the layout of the decode tables,
//! `fast` the loop and the argument why it stays within its buffers.
#![deny(unsafe_code)]

mod bits;
#[allow(unsafe_code, reason = "unchecked copies, argued for in the module")]
mod copy;
mod error;
#[allow(
    unsafe_code,
    reason = "with checked accesses the loop is 15 % slower; argued for in the module"
)]
mod fast;
mod gzip;
mod header;
mod huffman;
mod inflate;
mod member;
mod output;
mod reader;
mod table;

pub use error::{CodeKind, DeflateError, GzipError, MemberPart};
pub use gzip::{Gzip, MemberTrailer};
pub use inflate::Inflate;
pub use output::carry_history;
pub use reader::GzipReader;

/// How far back a match may reach: so much history must stand before the output position.
pub const WINDOW_SIZE: usize = 32 * 1024;

/// What one call of a decoder did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that were consumed. The others have to be passed again.
    pub consumed: usize,
    /// Bytes that were written from the output position on.
    pub produced: usize,
    /// Why the call returned.
    pub status: Status,
}

/// Why a call of a decoder returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All input was consumed, and more is needed.
    NeedInput,
    /// The output buffer is full, and there is more to write.
    NeedOutput,
    /// The deflate stream, or a member of the gzip stream, is complete.
    End,
}
