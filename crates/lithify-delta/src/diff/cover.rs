//! Parts that are the same, almost.

/// A part of a new file that is, but for some bytes, a part of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover {
    /// Where it begins in the new file, in bytes.
    pub new: usize,
    /// Where it begins in the old file, in bytes.
    pub old: usize,
    /// Its length in bytes.
    pub length: usize,
}

impl Cover {
    /// Returns the cover of two files of one length, of which one is the other.
    pub(crate) const fn of_all(length: usize) -> Self {
        Self {
            new: 0,
            old: 0,
            length,
        }
    }

    /// Returns where it ends in the new file.
    #[must_use]
    pub const fn new_end(&self) -> usize {
        self.new + self.length
    }

    /// Returns where it ends in the old file.
    #[must_use]
    pub const fn old_end(&self) -> usize {
        self.old + self.length
    }

    /// Tells whether another one, behind it, has the same alignment: both would be one if what is between were covered.
    pub(super) const fn is_aligned(&self, next: &Self) -> bool {
        self.old_end() <= next.old && next.new - self.new_end() == next.old - self.old_end()
    }

    /// Returns the part that lies within these places of the new file; `None` if nothing does.
    pub(super) fn within(&self, from: usize, to: usize) -> Option<Self> {
        let begin = self.new.max(from);
        let end = self.new_end().min(to);
        (begin < end).then(|| Self {
            new: begin,
            old: self.old + (begin - self.new),
            length: end - begin,
        })
    }

    /// Appends a cover to others, as one with the last of them if they meet.
    pub(super) fn push(self, covers: &mut Vec<Self>) {
        match covers.last_mut() {
            Some(last) if last.new_end() == self.new && last.old_end() == self.old => {
                last.length += self.length;
            }
            _ => covers.push(self),
        }
    }
}

/// Returns the byte of the old file that is at an alignment's other end of a place in the new one.
pub(super) fn place(new: usize, shift: isize, old_len: usize) -> Option<usize> {
    new.checked_add_signed(shift).filter(|old| *old < old_len)
}
