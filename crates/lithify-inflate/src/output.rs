//! The caller's output buffer: history, then produced bytes, then room.

use crate::WINDOW_SIZE;
use crate::error::DeflateError;

/// The output buffer of one call.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    buffer: &'a mut [u8],
    /// Where the next byte goes; at most the buffer's length.
    pos: usize,
    /// The first byte that belongs to the stream; at most `pos`.
    base: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(buffer: &'a mut [u8], pos: usize, base: usize) -> Self {
        debug_assert!(base <= pos && pos <= buffer.len());
        Self { buffer, pos, base }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.buffer.len() - self.pos
    }

    /// Bytes of the stream before the position.
    pub(crate) fn history(&self) -> usize {
        self.pos - self.base
    }

    /// The whole buffer, for the fast loop, which reports where it stopped with
    /// [`set_pos`](Self::set_pos).
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        self.buffer
    }

    pub(crate) fn set_pos(&mut self, pos: usize) {
        debug_assert!(self.pos <= pos && pos <= self.buffer.len());
        self.pos = pos;
    }

    /// Appends a byte; there must be room.
    pub(crate) fn push(&mut self, byte: u8) {
        self.buffer[self.pos] = byte;
        self.pos += 1;
    }

    /// Appends bytes; there must be room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.buffer[self.pos..self.pos + bytes.len()].copy_from_slice(bytes);
        self.pos += bytes.len();
    }

    /// Appends `length` bytes from `distance` bytes back; there must be that much room and history.
    pub(crate) fn copy_match(&mut self, distance: usize, length: usize) {
        debug_assert!(distance <= self.history() && distance <= WINDOW_SIZE);
        let start = self.pos - distance;
        let end = self.pos + length;
        if distance == 1 {
            let byte = self.buffer[start];
            self.buffer[self.pos..end].fill(byte);
        } else {
            // An overlapping match repeats its first `distance` bytes; each round copies all that
            // is there and so doubles it.
            while self.pos < end {
                let len = (self.pos - start).min(end - self.pos);
                self.buffer.copy_within(start..start + len, self.pos);
                self.pos += len;
            }
        }
        self.pos = end;
    }
}

/// The error for a match that begins before the stream, whose `history` bytes are fewer than
/// `distance`, and so fewer than the window.
pub(crate) fn too_far(distance: usize, history: usize) -> DeflateError {
    debug_assert!(history < distance && distance <= WINDOW_SIZE);
    DeflateError::DistanceTooFar {
        distance: distance as u16,
        available: history as u16,
    }
}

/// Makes `to` ready to go on after `from[..from_pos]`: copies the last [`WINDOW_SIZE`] bytes (or
/// all, if fewer) to its front and gives the output position in it.
///
/// ```
/// let mut next = vec![0; 64 * 1024];
/// let full = vec![7; 40_000];
/// let out_pos = lithify_inflate::carry_history(&full, &mut next);
/// assert_eq!(out_pos, lithify_inflate::WINDOW_SIZE);
/// ```
///
/// # Panics
///
/// If `to` is shorter than what has to be copied.
pub fn carry_history(from: &[u8], to: &mut [u8]) -> usize {
    let history = &from[from.len().saturating_sub(WINDOW_SIZE)..];
    to[..history.len()].copy_from_slice(history);
    history.len()
}
