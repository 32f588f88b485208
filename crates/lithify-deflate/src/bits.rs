//! The output, filled bit by bit.

/// The most bits that one call of [`Cursor::put`] takes: 7 more may be waiting.
const MAX_PUT: u32 = 56;

/// Compressed bytes that are not handed on yet, and the bits of a byte that is not complete.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    len: usize,
    /// The bytes before this one are handed on.
    sent: usize,
    bits: u64,
    count: u32,
}

/// A place to put a bounded number of bits.
pub(crate) struct Cursor<'a> {
    bytes: &'a mut [u8],
    len: usize,
    bits: u64,
    count: u32,
}

impl Cursor<'_> {
    /// Appends the low `count` bits of `bits`, the lowest first. The others have to be zero.
    #[inline(always)]
    pub(crate) fn put(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= MAX_PUT && bits >> count == 0);
        self.bits |= bits << self.count;
        self.count += count;
        // All of them are stored, and those of the last byte again with the next call: this has
        // no branch that depends on the data.
        self.bytes[self.len..self.len + 8].copy_from_slice(&self.bits.to_le_bytes());
        self.len += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }
}

impl BitWriter {
    /// Lets `write` put up to `bits` bits.
    #[inline(always)]
    pub(crate) fn with_room(&mut self, bits: usize, write: impl FnOnce(&mut Cursor<'_>)) {
        let needed = self.len + bits / 8 + 16;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        let mut cursor = Cursor {
            bytes: &mut self.bytes,
            len: self.len,
            bits: self.bits,
            count: self.count,
        };
        write(&mut cursor);
        (self.len, self.bits, self.count) = (cursor.len, cursor.bits, cursor.count);
    }

    pub(crate) fn put(&mut self, bits: u32, count: u32) {
        self.with_room(count as usize, |cursor| cursor.put(bits.into(), count));
    }

    /// Fills the last byte with zero bits.
    pub(crate) fn align(&mut self) {
        self.put(0, (8 - self.count) % 8);
    }

    /// Appends bytes. The last byte before has to be complete.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0);
        let end = self.len + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Returns the complete bytes that are not handed on yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..self.len]
    }

    /// Records that the next `count` pending bytes are handed on.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.len {
            self.sent = 0;
            self.len = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_lowest() {
        let mut writer = BitWriter::default();
        writer.put(0b1, 1);
        writer.put(0b10, 2);
        writer.put(0x3ff, 10);
        assert_eq!(writer.pending(), [0xfd]);
        writer.align();
        writer.align();
        writer.append(b"ab");
        assert_eq!(writer.pending(), [0xfd, 0x1f, b'a', b'b']);
        writer.advance(3);
        assert_eq!(writer.pending(), b"b");
        writer.advance(1);
        writer.put(0xff, 8);
        assert_eq!(writer.pending(), [0xff]);
    }
}
