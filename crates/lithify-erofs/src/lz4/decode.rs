//! Decoding a block of known decompressed length.

use super::{LENGTH_MASK, MIN_MATCH};

/// Why a block cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the LZ4 block ends before its data does")]
    Truncated,
    #[error("the LZ4 block has more data than belongs to it")]
    TooLong,
    #[error("an LZ4 match reaches back {distance} bytes where there are {available}")]
    Distance { distance: usize, available: usize },
}

/// Decodes until `out` is full and gives the number of bytes of `block` used, all of them in a sound block. A match or
/// literals that go on behind the end of `out` are an error.
pub(crate) fn decode(block: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    decode_until(block, out, false)
}

/// Decodes like [`decode`], but the block may go on behind what `out` has room for.
pub(crate) fn decode_part(block: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    decode_until(block, out, true)
}

fn decode_until(block: &[u8], out: &mut [u8], partial: bool) -> Result<usize, DecodeError> {
    let (mut i, mut o) = (0, 0);
    loop {
        let token = usize::from(*block.get(i).ok_or(DecodeError::Truncated)?);
        i += 1;
        let mut literals = token >> 4;
        if literals == LENGTH_MASK {
            literals += length(block, &mut i)?;
        }
        let room = out.len() - o;
        if literals > room {
            if !partial {
                return Err(DecodeError::TooLong);
            }
            literals = room;
        }
        let source = block.get(i..i + literals).ok_or(DecodeError::Truncated)?;
        out[o..o + literals].copy_from_slice(source);
        i += literals;
        o += literals;
        // The last sequence has no match.
        if o == out.len() && (partial || i == block.len()) {
            return Ok(i);
        }
        let &[low, high] = block.get(i..i + 2).ok_or(DecodeError::Truncated)? else {
            return Err(DecodeError::Truncated);
        };
        i += 2;
        let distance = usize::from(u16::from_le_bytes([low, high]));
        let mut matched = token & LENGTH_MASK;
        if matched == LENGTH_MASK {
            matched += length(block, &mut i)?;
        }
        matched += MIN_MATCH;
        if distance == 0 || distance > o {
            return Err(DecodeError::Distance {
                distance,
                available: o,
            });
        }
        let room = out.len() - o;
        if matched > room {
            if !partial {
                return Err(DecodeError::TooLong);
            }
            matched = room;
        }
        copy_within(out, o, distance, matched);
        o += matched;
        if o == out.len() && partial {
            return Ok(i);
        }
    }
}

/// The bytes behind a length that did not fit the token.
fn length(block: &[u8], i: &mut usize) -> Result<usize, DecodeError> {
    let mut sum = 0_usize;
    loop {
        let byte = *block.get(*i).ok_or(DecodeError::Truncated)?;
        *i += 1;
        // Below 255 times the length of a block.
        sum += usize::from(byte);
        if byte != u8::MAX {
            return Ok(sum);
        }
    }
}

/// Copies `length` bytes to `at` from `distance` before, where both may overlap: then what is copied repeats.
fn copy_within(out: &mut [u8], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    if distance >= length {
        out.copy_within(from..from + length, at);
        return;
    }
    if distance == 1 {
        let byte = out[from];
        out[at..at + length].fill(byte);
        return;
    }
    // Each round doubles what there is to copy from.
    let (mut done, mut have) = (0, distance);
    while done < length {
        let n = have.min(length - done);
        out.copy_within(from..from + n, at + done);
        done += n;
        have += n;
    }
}
