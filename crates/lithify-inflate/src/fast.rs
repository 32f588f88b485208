//! The fast loop: decodes with a margin of input and output in hand, so that nothing needs to be
//! checked inside.
//!
//! # How it works
//!
//! Inflate is bound by latency and by branch mispredictions, not by the amount of work: whether
//! the next symbol is a literal or a match is close to a coin toss in the data of a layer, and each
//! wrong guess costs as much as decoding three symbols. So this loop does not branch on it. The
//! tables ([`crate::table`]) form a state machine in which every step is
//!
//! ```text
//! entry = entries[next + low bits of the bit buffer]
//! bit buffer >>= entry.total          next, width = entry.next, entry.width
//! ```
//!
//! whether it decodes a literal, a length, a distance, or the prefix of a long codeword. The chain
//! of these steps (load, shift, mask: about seven cycles) is what the time goes into; everything
//! else happens in its shadow.
//!
//! Two steps make a *pair*. A distance always follows a length (or its own prefix), never another
//! distance, so a pair completes at most one match, and the bytes of a pair are: first the match
//! that its distance completes, then the literals among its two steps. Each pair does all of that
//! with selects instead of branches: it copies one chunk for the match, from a place that does not
//! matter if there is none, writes both literals, and moves the output position by what counted.
//! Branches remain for matches longer than a chunk and for those that overlap themselves, both
//! rare. Two pairs make a *group*, after which the margins are checked.
//!
//! # Why the unchecked accesses are in bounds
//!
//! 1. **Bits.** A refill leaves at least 56 bits in the buffer. A step consumes at most
//!    15 (length), 10 (its subtable), 20 (distance) or 21 (its subtable) bits, and two steps in a
//!    row at most 21 + 15 = 36; the lookup that is done before the next refill looks at 10 more. The
//!    steps after the last refill (subtable, distance prefix, distance subtable) consume at most
//!    10 + 7 + 21 = 38.
//! 2. **Input.** A refill reads 8 bytes at the input position and moves it by at most 7. The loop
//!    is entered with [`IN_MARGIN`] = 32 bytes at hand, and a group begins with as many, but for
//!    the 7 of the refill at entry: 7 + 7 + 7 + 8 ≤ 32.
//! 3. **Output.** A match has at most 258 bytes, and its copy writes at most [`CHUNK`] bytes more.
//!    A pair moves the output position by at most 258 + 2. Two pairs and the match that is
//!    completed after the loop write at most 2 · 260 + 258 + 32 + 1 ≤ [`OUT_MARGIN`] bytes.
//! 4. **History.** A distance entry gives at most 24577 + 8191 = 32768 = [`WINDOW_SIZE`]. The loop
//!    without checks runs only when that many bytes of the stream stand before the output
//!    position in the buffer; the other one compares each distance with what there is.
//! 5. **Tables.** For every entry, `next + 2^width` is at most the number of entries
//!    ([`Tables::entries`]), so a lookup through any entry finds another.

use std::hint::select_unpredictable;

use crate::WINDOW_SIZE;
use crate::bits::Bits;
use crate::copy::{CHUNK, copy_chunk, copy_long, copy_overlapping};
use crate::error::DeflateError;
use crate::output::{Output, too_far};
use crate::table::{
    DIST_FLAG, Entry, HALT, HALT_DIST, HALT_END_OF_BLOCK, HALT_LITLEN, LEN_FLAG, LITLEN_BITS,
    LITLEN_START, Tables,
};

const IN_MARGIN: usize = 32;
const OUT_MARGIN: usize = 1024;

/// Whether a group may run with so many bytes of input and so much room for output.
pub(crate) fn has_room(input: usize, output: usize) -> bool {
    input >= IN_MARGIN && output >= OUT_MARGIN
}

/// Why the fast loop stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Too little input or output is left.
    NoRoom,
    EndOfBlock,
}

/// Decodes symbols of a block while there [is room](has_room), as there must be at first.
///
/// On success it stops between two symbols. The bit buffer then holds more than it needs to; the
/// caller gives whole bytes back.
pub(crate) fn run(
    tables: &Tables,
    bits: &mut Bits,
    input: &[u8],
    pos: &mut usize,
    out: &mut Output<'_>,
) -> Result<Exit, DeflateError> {
    loop {
        let full_window = out.history() >= WINDOW_SIZE;
        let exit = if full_window {
            dispatch::<false>(tables, bits, input, pos, out)?
        } else {
            dispatch::<true>(tables, bits, input, pos, out)?
        };
        // The checking loop also stops when the window is full.
        if exit == Exit::EndOfBlock || full_window || !has_room(input.len() - *pos, out.room()) {
            return Ok(exit);
        }
    }
}

fn dispatch<const CHECK: bool>(
    tables: &Tables,
    bits: &mut Bits,
    input: &[u8],
    pos: &mut usize,
    out: &mut Output<'_>,
) -> Result<Exit, DeflateError> {
    #[cfg(test)]
    if tests::PORTABLE.get() {
        return decode::<CHECK, Portable>(tables, bits, input, pos, out);
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("avx")
    {
        // SAFETY: the processor has the features.
        return unsafe { decode_bmi2::<CHECK>(tables, bits, input, pos, out) };
    }
    decode::<CHECK, Portable>(tables, bits, input, pos, out)
}

/// The loop compiled for processors (any x86-64 server since 2013) whose shifts take their count
/// from any register and leave the flags alone.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,avx")]
fn decode_bmi2<const CHECK: bool>(
    tables: &Tables,
    bits: &mut Bits,
    input: &[u8],
    pos: &mut usize,
    out: &mut Output<'_>,
) -> Result<Exit, DeflateError> {
    decode::<CHECK, Bmi2>(tables, bits, input, pos, out)
}

/// The one operation that compilers do not find by themselves.
trait Isa {
    /// The low `count` bits of `bits`, where the low byte of `count` is below 64 and the rest of
    /// it does not matter.
    fn low_bits(bits: u64, count: u32) -> u64;
}

struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn low_bits(bits: u64, count: u32) -> u64 {
        bits & ((1 << (count & 63)) - 1)
    }
}

#[cfg(target_arch = "x86_64")]
struct Bmi2;

#[cfg(target_arch = "x86_64")]
impl Isa for Bmi2 {
    #[inline(always)]
    fn low_bits(bits: u64, count: u32) -> u64 {
        // SAFETY: only `decode_bmi2` uses this type, and it runs only where BMI2 was detected.
        unsafe { std::arch::x86_64::_bzhi_u64(bits, count) }
    }
}

/// The loop. `CHECK`: compare distances with the history there is, and stop when the window is
/// full.
///
/// Entries are handled as their bits: `e as u32` is the half that leads to the next entry (its
/// lowest byte the number of bits consumed), `e >> 32` the half that gives the value.
#[inline(always)]
fn decode<const CHECK: bool, I: Isa>(
    tables: &Tables,
    bits: &mut Bits,
    input: &[u8],
    pos: &mut usize,
    out: &mut Output<'_>,
) -> Result<Exit, DeflateError> {
    // These make the margins hold for every caller; they cost nothing next to a group.
    assert!(has_room(input.len() - *pos, out.room()));
    assert!(CHECK || out.history() >= WINDOW_SIZE);

    let entries: *const u64 = tables.entries().as_ptr().cast();
    let input_start = input.as_ptr();
    let (start, base) = (out.pos(), out.pos() - out.history());
    let buffer = out.buffer();
    let limit = buffer.len() - OUT_MARGIN;
    let limit = if CHECK {
        limit.min(base + WINDOW_SIZE)
    } else {
        limit
    };
    let buffer_start = buffer.as_mut_ptr();
    // SAFETY: `*pos` and `input.len() - IN_MARGIN` are indices into `input`, by the assertion.
    let (mut next_in, in_limit) = unsafe {
        (
            input_start.add(*pos),
            input_start.add(input.len() - IN_MARGIN),
        )
    };
    // SAFETY: `base <= start`, and `start` and `limit` are at most `buffer.len() - OUT_MARGIN`
    // (`start` by the assertion).
    let (base, mut to, out_limit) = unsafe {
        (
            buffer_start.add(base),
            buffer_start.add(start),
            buffer_start.add(limit),
        )
    };

    let mut buf = bits.buffer;
    // Only the low six bits count; subtracting whole entries spoils the others.
    let mut left = u64::from(bits.count);
    // The length that waits for its distance.
    let mut pending = 0_u64;

    /// Fills the bit buffer to between 56 and 63 bits. The bytes that the position does not move
    /// past are read again next time: the same bits in the same place.
    macro_rules! refill {
        () => {
            // SAFETY: 2 in the module's documentation.
            unsafe {
                buf |= u64::from_le(next_in.cast::<u64>().read_unaligned()) << (left & 63);
                next_in = next_in.add(7).sub((left >> 3 & 7) as usize);
            }
            left |= 56;
        };
    }
    macro_rules! lookup {
        ($entry:expr) => {{
            let index = I::low_bits(buf, ($entry as u32 >> 8) & 0xff);
            // SAFETY: 5 in the module's documentation.
            unsafe {
                *entries
                    .add(($entry as u32 >> 16) as usize)
                    .add(index as usize)
            }
        }};
    }
    macro_rules! value {
        ($entry:expr, $bits:expr) => {
            ($entry >> 48) + (I::low_bits($bits, $entry as u32) >> ($entry >> 32 & 63))
        };
    }
    /// Bytes of the stream before the output position.
    macro_rules! history {
        () => {
            // SAFETY: both point into `buffer`, and `to` only moves forward from `base` on.
            unsafe { to.offset_from_unsigned(base) }
        };
    }
    /// Writes the byte of a step; it only counts if the step decoded a literal.
    macro_rules! literal {
        ($entry:expr, $value:expr) => {
            // SAFETY: 3 in the module's documentation.
            unsafe {
                *to = $value as u8;
                to = to.add(($entry >> 63) as usize);
            }
        };
    }
    macro_rules! pair {
        ($entry:ident) => {{
            let first = $entry;
            let first_bits = buf;
            buf >>= first & 63;
            let second: u64 = lookup!(first);
            let second_bits = buf;
            buf >>= second & 63;
            $entry = lookup!(second);
            left = left.wrapping_sub(first).wrapping_sub(second);
            refill!();

            let first_value = value!(first, first_bits);
            let second_value = value!(second, second_bits);
            let (first_flags, second_flags) = ((first >> 32) as u32, (second >> 32) as u32);
            let is_match = (first_flags | second_flags) & DIST_FLAG != 0;
            let distance =
                select_unpredictable(first_flags & DIST_FLAG != 0, first_value, second_value);
            pending = select_unpredictable(first_flags & LEN_FLAG != 0, first_value, pending);
            let length = select_unpredictable(is_match, pending, 0);
            if CHECK && is_match && distance as usize > history!() {
                return Err(too_far(distance as usize, history!()));
            }
            // Outside of a match the source does not matter, but it should be neither out of
            // bounds nor a place just written to, which would have to be waited for.
            let from = select_unpredictable(
                is_match,
                to.cast_const().wrapping_sub(distance as usize),
                entries.cast::<u8>(),
            );
            // SAFETY: 3 and 4 in the module's documentation; the table has more than CHUNK bytes.
            unsafe { copy_chunk(from, to) };
            pending = select_unpredictable(second_flags & LEN_FLAG != 0, second_value, pending);
            if length > distance {
                // SAFETY: 3 and 4; there is a match, since only then the length is not 0.
                unsafe { copy_overlapping(to, length as usize, distance as usize) };
            } else if length > CHUNK as u64 {
                // SAFETY: likewise.
                unsafe { copy_long(to, length as usize, distance as usize) };
            }
            // SAFETY: 3 in the module's documentation.
            to = unsafe { to.add(length as usize) };
            literal!(first, first_value);
            literal!(second, second_value);
            second
        }};
    }

    refill!();
    // SAFETY: the first lookup finds one of the 2^LITLEN_BITS entries from LITLEN_START on.
    let mut entry: u64 = unsafe {
        *entries
            .add(LITLEN_START)
            .add(I::low_bits(buf, LITLEN_BITS) as usize)
    };
    let mut last;
    loop {
        pair!(entry);
        last = pair!(entry);
        if Entry(last).next() >= HALT || next_in > in_limit || to > out_limit {
            break;
        }
    }

    // The last step may have left a symbol open: complete it.
    while Entry(last).next() < HALT && Entry(last).next() != LITLEN_START {
        last = lookup!(last);
        let value = value!(last, buf);
        buf >>= last & 63;
        left = left.wrapping_sub(last);
        let flags = (last >> 32) as u32;
        if flags & LEN_FLAG != 0 {
            pending = value;
        } else if flags & DIST_FLAG != 0 {
            if CHECK && value as usize > history!() {
                return Err(too_far(value as usize, history!()));
            }
            // SAFETY: 3 and 4 in the module's documentation.
            unsafe {
                copy_overlapping(to, pending as usize, value as usize);
                to = to.add(pending as usize);
            }
        }
        literal!(last, value);
    }

    bits.count = (left & 63) as u32;
    bits.buffer = buf & ((1 << bits.count) - 1);
    // SAFETY: both pointers are derived from the slice's, and only moved forward.
    unsafe {
        *pos = next_in.offset_from_unsigned(input_start);
        out.set_pos(to.offset_from_unsigned(buffer_start));
    }
    match Entry(last).next() {
        HALT_END_OF_BLOCK => Ok(Exit::EndOfBlock),
        HALT_LITLEN => Err(DeflateError::LitLenCode),
        HALT_DIST => Err(DeflateError::DistanceCode),
        _ => Ok(Exit::NoRoom),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use crate::{Inflate, Status};

    thread_local! {
        /// Run the loop that other processors run.
        pub(super) static PORTABLE: Cell<bool> = const { Cell::new(false) };
    }

    #[test]
    fn portable_loop() {
        PORTABLE.set(true);
        let data: Vec<u8> = (0..2_000_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> (24 + (i >> 12) % 8)) as u8 & (i >> 8) as u8)
            .collect();
        for level in [1, 6, 9] {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&data).unwrap();
            let input = encoder.finish().unwrap();
            let mut out = vec![0; data.len() + 10];
            let progress = Inflate::new().decode(&input, &mut out, 0).unwrap();
            assert_eq!(progress.status, Status::End);
            assert!(out[..progress.produced] == data);
        }
        PORTABLE.set(false);
    }
}
