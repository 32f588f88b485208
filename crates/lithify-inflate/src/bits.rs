//! The bit buffer.

/// Bits read from the input but not decoded yet, the next one lowest.
///
/// Between two calls of the decoder it holds only what the input chunk's end cut in two: less than
/// one byte, or the beginning of a symbol (at most 47 bits) that the next chunk completes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bits {
    /// Bits from `count` on are zero.
    pub(crate) buffer: u64,
    /// At most 63.
    pub(crate) count: u32,
}

impl Bits {
    /// Takes whole bytes of `input` from `pos` on while there are any and room for them: at least
    /// 56 bits unless the input ends.
    pub(crate) fn refill(&mut self, input: &[u8], pos: &mut usize) {
        while self.count < 56 {
            let Some(&byte) = input.get(*pos) else { return };
            self.buffer |= u64::from(byte) << self.count;
            self.count += 8;
            *pos += 1;
        }
    }

    pub(crate) fn consume(&mut self, count: u32) {
        debug_assert!(count <= self.count, "{count} bits of {}", self.count);
        self.buffer >>= count;
        self.count -= count;
    }

    /// Takes `count` bits (at most 32), if there are so many.
    pub(crate) fn take(&mut self, count: u32) -> Option<u32> {
        if self.count < count {
            return None;
        }
        let value = (self.buffer & ((1 << count) - 1)) as u32;
        self.consume(count);
        Some(value)
    }

    /// Drops bits up to the next byte boundary of the input.
    pub(crate) fn align(&mut self) {
        self.consume(self.count % 8);
    }

    /// Hands whole bytes back to the input, as many as there are, but none before `start`.
    pub(crate) fn give_back(&mut self, pos: &mut usize, start: usize) {
        let bytes = (self.count as usize / 8).min(*pos - start);
        *pos -= bytes;
        self.count -= 8 * bytes as u32;
        self.buffer &= (1 << self.count) - 1;
    }
}
