//! A file that is read in small pieces, mostly onwards.
//!
//! `lithify_storage::Cached` is for reads that cost a round trip: it takes a lock and a look into a table for each, and these have a few
//! bytes, millions of them.

use std::io;

use lithify_storage::ReadAt;

/// Bytes read after a jump, at least, and after many reads that went on.
const FIRST: usize = 4 << 10;
const MOST: usize = 128 << 10;

/// A file, and bytes of it that were read ahead. A jump reads little, so that jumping about does not cost much more than what is
/// asked for; each read that goes on from there reads twice as much as the one before.
#[derive(Debug)]
pub(super) struct Ahead<R> {
    file: R,
    size: u64,
    bytes: Vec<u8>,
    /// The place of the first of them.
    start: u64,
}

impl<R: ReadAt> Ahead<R> {
    /// Nothing is read yet. The size is the file's.
    pub(super) const fn new(file: R, size: u64) -> Self {
        Self {
            file,
            size,
            bytes: Vec::new(),
            start: 0,
        }
    }

    /// Fills a buffer from a place of the file, all in bytes. The buffer does not reach beyond the file's size.
    pub(super) fn read(&mut self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let known = self.known(position);
        let count = known.len().min(buffer.len());
        buffer[..count].copy_from_slice(&known[..count]);
        let (buffer, position) = (&mut buffer[count..], position + count as u64);
        if buffer.is_empty() {
            return Ok(());
        }
        if buffer.len() >= MOST {
            return self.file.read_exact_at(buffer, position);
        }
        self.read_ahead(position, buffer.len())?;
        buffer.copy_from_slice(&self.bytes[..buffer.len()]);
        Ok(())
    }

    /// Returns the bytes from a place on that were read ahead.
    fn known(&self, position: u64) -> &[u8] {
        let at = position.checked_sub(self.start);
        let at = at.and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    /// Reads bytes from a place on: so many, or more.
    fn read_ahead(&mut self, position: u64, needed: usize) -> io::Result<()> {
        let goes_on = self.start + self.bytes.len() as u64 == position;
        let more = if goes_on { 2 * self.bytes.len() } else { 0 };
        let left = usize::try_from(self.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = more.clamp(FIRST, MOST).min(left).max(needed);
        // What is not whole is not known.
        self.start = 0;
        self.bytes.clear();
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(length, 0);
        self.file.read_exact_at(&mut bytes, position)?;
        (self.bytes, self.start) = (bytes, position);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    struct Counted {
        bytes: Vec<u8>,
        reads: RefCell<Vec<(u64, usize)>>,
    }

    impl ReadAt for Counted {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.reads.borrow_mut().push((offset, buffer.len()));
            self.bytes.read_exact_at(buffer, offset)
        }

        fn size(&self) -> io::Result<u64> {
            self.bytes.size()
        }
    }

    fn counted(size: usize) -> Ahead<Counted> {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 / 7) as u8).collect();
        let reads = RefCell::default();
        Ahead::new(Counted { bytes, reads }, size as u64)
    }

    #[test]
    fn small_reads_onwards_are_few_large_ones() {
        let mut ahead = counted(1 << 20);
        let mut buffer = [0; 5];
        for at in 0..200_000 {
            ahead.read(&mut buffer, at * 5).unwrap();
        }
        assert!(ahead.file.reads.borrow().len() < 20);
    }

    #[test]
    fn jumps_read_little() {
        let mut ahead = counted(1 << 20);
        let mut buffer = [0; 5];
        for at in 0..100 {
            ahead.read(&mut buffer, (100 - at) * 10_000).unwrap();
        }
        let reads = ahead.file.reads.borrow();
        assert!(reads.iter().all(|(_, length)| *length <= FIRST));
    }

    #[test]
    fn a_read_that_fails_leaves_nothing_wrong_behind() {
        let mut ahead = counted(10_000);
        // The file became shorter.
        ahead.file.bytes.truncate(6000);
        let mut buffer = [0; 100];
        ahead.read(&mut buffer, 0).unwrap();
        ahead.read(&mut buffer, 5000).unwrap_err();
        ahead.read(&mut buffer, 200).unwrap();
        assert_eq!(buffer, ahead.file.bytes[200..300]);
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_file(
            reads in prop::collection::vec((0_u64..400_000, 0_usize..200_000), 1..20),
        ) {
            let mut ahead = counted(400_000);
            for (position, length) in reads {
                let length = length.min((400_000 - position) as usize);
                let mut buffer = vec![0; length];
                ahead.read(&mut buffer, position).unwrap();
                prop_assert_eq!(&buffer, &ahead.file.bytes[position as usize..][..length]);
            }
        }
    }
}
