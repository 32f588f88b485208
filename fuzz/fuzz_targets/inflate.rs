//! Deflate and gzip streams: the same verdict, the same bytes and the same end of the stream as miniz_oxide, however input
//! and output are cut into pieces.
//!
//! The input is the stream. A hash of it chooses the cuts, so that every input is reproducible by itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_inflate::{
    DeflateError, Gzip, GzipError, Inflate, Progress, Status, WINDOW_SIZE, carry_history,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Streams that expand further are not looked at.
const LIMIT: usize = 256 * 1024;

fuzz_target!(|data: &[u8]| {
    let cuts = Cuts::new(data);
    if data.starts_with(&[0x1f, 0x8b]) {
        let whole = decode(&mut Gzip::new(), data, LARGE);
        let cut = decode(&mut Gzip::new(), data, cuts);
        if whole != Ok(End::TooLong) && cut != Ok(End::TooLong) {
            assert_eq!(cut, whole);
        }
        // The most frequent header has no optional fields; behind it comes a deflate stream.
        if let Some((&[_, _, 8, 0, ..], body)) = data.split_first_chunk::<10>() {
            deflate(body, cuts);
        }
    } else {
        deflate(data, cuts);
    }
});

fn deflate(stream: &[u8], cuts: Cuts) {
    check(stream, cuts);
    // Bytes after the stream let the fast loop decode to its end; 40,000 bytes before it fill the window, which selects
    // the loop that does not check distances.
    let len = 40_000_u16;
    let mut input = vec![0];
    input.extend(len.to_le_bytes());
    input.extend((!len).to_le_bytes());
    input.extend((0..u32::from(len)).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    input.extend(stream);
    input.extend([0x55; 64]);
    check(&input[5 + usize::from(len)..], cuts);
    check(&input, cuts);
}

fn check(input: &[u8], cuts: Cuts) {
    let Some(expected) = reference(input) else {
        return;
    };
    for cuts in [LARGE, cuts] {
        let found = decode(&mut Inflate::new(), input, cuts).unwrap_or(End::Corrupt);
        match (&found, &expected) {
            // miniz_oxide notices some errors in a block's header earlier than zlib, before the input ends.
            (End::Truncated { .. }, End::Corrupt) | (End::Corrupt, End::Truncated { .. }) => {}
            _ => assert_eq!(found, expected),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Complete { out: Vec<u8>, consumed: usize },
    Truncated { out: Vec<u8> },
    Corrupt,
    TooLong,
}

/// What miniz_oxide makes of it; nothing if it is too long.
fn reference(input: &[u8]) -> Option<End> {
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let mut out = vec![0; LIMIT];
    let mut decoder = Box::<DecompressorOxide>::default();
    let (status, consumed, produced) = decompress(&mut decoder, input, &mut out, 0, flags);
    out.truncate(produced);
    match status {
        TINFLStatus::Done => Some(End::Complete { out, consumed }),
        TINFLStatus::HasMoreOutput => None,
        TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
            Some(End::Truncated { out })
        }
        _ => Some(End::Corrupt),
    }
}

/// Both decoders.
trait Decoder {
    type Error;
    /// Whether the stream is over when the decoder says `End`.
    const ONE: bool;
    fn decode(&mut self, input: &[u8], out: &mut [u8], at: usize) -> Result<Progress, Self::Error>;
    fn finish(&self) -> Result<(), Self::Error>;
}

impl Decoder for Inflate {
    type Error = DeflateError;
    const ONE: bool = true;
    fn decode(&mut self, input: &[u8], out: &mut [u8], at: usize) -> Result<Progress, Self::Error> {
        Inflate::decode(self, input, out, at)
    }
    fn finish(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// An error without the offset, which depends on the cuts.
#[derive(Debug, PartialEq, Eq)]
struct Kind(GzipError);

impl From<GzipError> for Kind {
    fn from(mut error: GzipError) -> Self {
        if let GzipError::Deflate { offset, .. } = &mut error {
            *offset = 0;
        }
        Self(error)
    }
}

impl Decoder for Gzip {
    type Error = Kind;
    const ONE: bool = false;
    fn decode(&mut self, input: &[u8], out: &mut [u8], at: usize) -> Result<Progress, Self::Error> {
        Ok(Gzip::decode(self, input, out, at)?)
    }
    fn finish(&self) -> Result<(), Self::Error> {
        Ok(Gzip::finish(self)?)
    }
}

/// The sizes of input chunks and output buffers, in turn.
#[derive(Debug, Clone, Copy)]
struct Cuts([[usize; 2]; 2]);

const LARGE: Cuts = Cuts([[1 << 20, 64 * 1024]; 2]);

impl Cuts {
    fn new(data: &[u8]) -> Self {
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let size =
            |shift: u32, limit: u64| 1 + (hash >> shift & 0xffff).pow(2) as usize % limit as usize;
        // Each new output buffer costs a copy of the window: every second one is not small.
        Self([
            [size(0, 100), size(12, 3000)],
            [size(24, 7), 1000 + size(36, 70_000)],
        ])
    }
}

fn decode<D: Decoder>(decoder: &mut D, input: &[u8], Cuts(cuts): Cuts) -> Result<End, D::Error> {
    let (mut in_cuts, mut out_cuts) = (
        cuts.iter().map(|c| c[0]).cycle(),
        cuts.iter().map(|c| c[1]).cycle(),
    );
    let mut next = move || in_cuts.next().unwrap_or(1);
    let mut room = move || out_cuts.next().unwrap_or(1);
    let mut all = Vec::new();
    let mut pos = 0;
    let mut chunk_end = next().min(input.len());
    let mut buffer = vec![0; room()];
    let mut at = 0;
    loop {
        let progress = decoder.decode(&input[pos..chunk_end], &mut buffer, at)?;
        pos += progress.consumed;
        all.extend_from_slice(&buffer[at..at + progress.produced]);
        if all.len() > 2 * LIMIT {
            return Ok(End::TooLong);
        }
        at += progress.produced;
        match progress.status {
            Status::NeedInput => {
                assert_eq!(pos, chunk_end);
                if pos == input.len() {
                    decoder.finish()?;
                    return Ok(End::Truncated { out: all });
                }
                chunk_end = (pos + next()).min(input.len());
            }
            Status::NeedOutput => {
                assert_eq!(at, buffer.len());
                let mut fresh = vec![0; WINDOW_SIZE + room()];
                at = carry_history(&buffer, &mut fresh);
                buffer = fresh;
            }
            Status::End if D::ONE => {
                return Ok(End::Complete {
                    out: all,
                    consumed: pos,
                });
            }
            Status::End => {}
        }
    }
}
