//! A buffer that is read in words at any position.

/// Bytes behind the positions of a [`Bytes`], so that a word at the last one can be read.
pub(crate) const SPARE: usize = 8;

/// The input around the current position.
///
/// There are `SIZE - SPARE` positions, a power of two: a position is masked before each access,
/// which costs less than a check and needs no `unsafe`. No position in use is changed by the mask.
pub(crate) struct Bytes<const SIZE: usize>(Box<[u8; SIZE]>);

impl<const SIZE: usize> Bytes<SIZE> {
    const MASK: usize = {
        assert!((SIZE - SPARE).is_power_of_two());
        SIZE - SPARE - 1
    };

    pub(crate) fn new() -> Self {
        Self(boxed(0))
    }

    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.0[at & Self::MASK]
    }

    /// Reads four bytes, the first one lowest.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.chunk(at))
    }

    /// Reads eight bytes, the first one lowest.
    #[inline(always)]
    pub(crate) fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.chunk(at))
    }

    #[inline(always)]
    fn chunk<const N: usize>(&self, at: usize) -> [u8; N] {
        match self.0[at & Self::MASK..].first_chunk() {
            Some(chunk) => *chunk,
            None => unreachable!("there are {SPARE} bytes behind the last position"),
        }
    }

    /// Counts the equal bytes from `left` and from `right` on, up to `limit`.
    #[inline(always)]
    pub(crate) fn common(&self, left: usize, right: usize, limit: usize) -> usize {
        let mut len = 0;
        while len < limit {
            let difference = self.long(left + len) ^ self.long(right + len);
            if difference != 0 {
                return limit.min(len + (difference.trailing_zeros() / 8) as usize);
            }
            len += 8;
        }
        limit
    }

    pub(crate) fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.0[from..to]
    }

    /// Copies as much of `input` to `at` as there is room for before `end`.
    pub(crate) fn fill(&mut self, at: usize, end: usize, input: &[u8]) -> usize {
        let len = input.len().min(end - at);
        self.0[at..at + len].copy_from_slice(&input[..len]);
        len
    }

    /// Moves the bytes of `from..to` to the beginning.
    pub(crate) fn move_to_front(&mut self, from: usize, to: usize) {
        self.0.copy_within(from..to, 0);
    }
}

/// Makes a large array without a copy of it on the stack.
pub(crate) fn boxed<T: Copy, const N: usize>(item: T) -> Box<[T; N]> {
    match vec![item; N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("a vector of {N} items has {N} items"),
    }
}
