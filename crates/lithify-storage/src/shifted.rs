//! Storage that begins somewhere in another one.

use std::io;

use crate::{ReadAt, Storage};

/// Everything behind an offset of another storage, such as a partition of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Shifted<T> {
    inner: T,
    /// Bytes of `inner` in front.
    offset: u64,
}

impl<T> Shifted<T> {
    /// Returns what is behind `offset` bytes of `inner`.
    pub const fn new(inner: T, offset: u64) -> Self {
        Self { inner, offset }
    }

    /// Returns the whole.
    pub fn into_inner(self) -> T {
        self.inner
    }

    fn at(&self, offset: u64) -> io::Result<u64> {
        let sum = self.offset.checked_add(offset);
        sum.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }
}

impl<T: ReadAt> ReadAt for Shifted<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, self.at(offset)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.inner.size()?.saturating_sub(self.offset))
    }
}

impl<T: Storage> Storage for Shifted<T> {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let offset = self.at(offset)?;
        self.inner.write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        let length = self.at(length)?;
        self.inner.set_size(length)
    }

    fn go_on(&self) -> io::Result<()> {
        self.inner.go_on()
    }

    fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        self.inner.move_down(from, to, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_front_stays() {
        let mut storage = Shifted::new(b"head".to_vec(), 4);
        assert_eq!(storage.size().unwrap(), 0);
        storage.write_all_at(b"abcdef", 0).unwrap();
        storage.move_down(3, 0, 3).unwrap();
        storage.set_size(5).unwrap();
        let mut found = [0; 5];
        storage.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"defde");
        assert_eq!(storage.size().unwrap(), 5);
        assert!(storage.read_exact_at(&mut found, u64::MAX).is_err());
        assert_eq!(storage.into_inner(), b"headdefde");
    }
}
