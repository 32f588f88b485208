//! Match copies of the fast loop: whole chunks, with room behind the match to overshoot into.
//!
//! # Safety of all functions here
//!
//! The caller guarantees that `to` points into a buffer which has at least `distance` initialised
//! bytes before `to` and at least `length + CHUNK` bytes from `to` on. Chunks are read into a
//! register before they are written, so source and destination may overlap.

/// Bytes copied at a time.
pub(crate) const CHUNK: usize = 32;

/// Copies one chunk.
///
/// # Safety
///
/// `from` is readable and `to` writable for [`CHUNK`] bytes.
#[inline(always)]
pub(crate) unsafe fn copy_chunk(from: *const u8, to: *mut u8) {
    // SAFETY: the caller's guarantee.
    unsafe {
        let chunk = from.cast::<[u8; CHUNK]>().read_unaligned();
        to.cast::<[u8; CHUNK]>().write_unaligned(chunk);
    }
}

/// Completes a match that does not overlap itself and is longer than the chunk already copied.
///
/// # Safety
///
/// See the module; also `length <= distance`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn copy_long(to: *mut u8, length: usize, distance: usize) {
    let mut done = CHUNK;
    while done < length {
        // SAFETY: the source begins inside the history and ends at most CHUNK bytes after `to +
        // done`; the destination ends at most at `length + CHUNK`.
        unsafe { copy_chunk(to.sub(distance).add(done), to.add(done)) };
        done += CHUNK;
    }
}

/// Copies a match that may overlap itself, that is, repeats its first `distance` bytes.
///
/// # Safety
///
/// See the module; also `1 <= distance`. A chunk from `to - distance` may already have been copied
/// to `to`, which leaves the first `distance` bytes of the match in place.
#[cold]
#[inline(never)]
pub(crate) unsafe fn copy_overlapping(to: *mut u8, length: usize, distance: usize) {
    // SAFETY: `to - distance` is inside the buffer, and so are the CHUNK bytes from there on.
    let from = unsafe { to.sub(distance).cast_const() };
    if distance >= CHUNK {
        let mut done = 0;
        while done < length {
            // SAFETY: the bytes before `to + done` are in place, and the chunk that begins
            // `distance >= CHUNK` bytes before it lies among them; the destination ends at most at
            // `length + CHUNK`.
            unsafe { copy_chunk(from.add(done), to.add(done)) };
            done += CHUNK;
        }
    } else if distance >= 8 {
        // The first `distance` bytes of the chunk are the period. Writing it at each multiple of
        // the distance lets each write mend what the one before put after its period.
        // SAFETY: as for `from`.
        let chunk = unsafe { from.cast::<[u8; CHUNK]>().read_unaligned() };
        let mut done = 0;
        while done < length {
            // SAFETY: the write ends at most at `length + CHUNK`.
            unsafe { to.add(done).cast::<[u8; CHUNK]>().write_unaligned(chunk) };
            done += distance;
        }
    } else {
        // Shorter periods are first repeated in a register, as often as they fit.
        // SAFETY: as for `from`.
        let bytes = u64::from_le(unsafe { from.cast::<u64>().read_unaligned() });
        let period = 8 * distance as u32;
        let mut pattern = bytes & ((1 << period) - 1);
        pattern |= pattern << period;
        pattern |= pattern.checked_shl(2 * period).unwrap_or(0);
        pattern |= pattern.checked_shl(4 * period).unwrap_or(0);
        let stride = 8 - 8 % distance;
        let mut done = 0;
        while done < length {
            // SAFETY: the write ends at most at `length + 8`.
            unsafe { to.add(done).cast::<u64>().write_unaligned(pattern.to_le()) };
            done += stride;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every distance up to two chunks with every length, against a byte-by-byte copy.
    #[test]
    fn every_short_distance_and_length() {
        const START: usize = 512;
        for distance in 1..=2 * CHUNK + 1 {
            for length in 3..=258 {
                let mut buffer: Vec<u8> = (0..1024_u32).map(|i| ((i * 37) >> 2) as u8).collect();
                let mut expected = buffer.clone();
                for i in START..START + length {
                    expected[i] = expected[i - distance];
                }
                // SAFETY: 512 bytes before, and 512 after the position, of which 258 + CHUNK are
                // needed.
                unsafe {
                    let to = buffer.as_mut_ptr().add(START);
                    copy_chunk(to.sub(distance), to);
                    if length > distance {
                        copy_overlapping(to, length, distance);
                    } else if length > CHUNK {
                        copy_long(to, length, distance);
                    }
                }
                let end = START + length;
                assert_eq!(
                    buffer[..end],
                    expected[..end],
                    "distance {distance} length {length}"
                );
                assert_eq!(buffer[end + CHUNK..], expected[end + CHUNK..]);
            }
        }
    }

    /// The way the loop finishes an open match: without a first chunk, whatever the length.
    #[test]
    fn overlapping_copy_also_does_matches_that_do_not_overlap() {
        const START: usize = 512;
        for (distance, length) in [
            (300, 3),
            (300, 258),
            (40, 40),
            (32, 3),
            (31, 3),
            (8, 8),
            (7, 3),
        ] {
            let mut buffer: Vec<u8> = (0..1024_u32).map(|i| ((i * 37) >> 2) as u8).collect();
            let mut expected = buffer.clone();
            for i in START..START + length {
                expected[i] = expected[i - distance];
            }
            // SAFETY: as above.
            unsafe { copy_overlapping(buffer.as_mut_ptr().add(START), length, distance) };
            assert_eq!(buffer[..START + length], expected[..START + length]);
        }
    }
}
