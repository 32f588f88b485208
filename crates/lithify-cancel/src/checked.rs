//! Readers and writers that never wait long, used as long as the work goes on.

use std::io::{self, Read, Write};

use crate::{CancelToken, Cancelled};

/// A reader or writer whose calls fail with [`Cancelled`] once the work is stopped. Whatever does its work by it ends then,
/// and needs no token of its own.
#[derive(Debug)]
pub struct Checked<T> {
    inner: T,
    token: CancelToken,
}

impl<T> Checked<T> {
    /// Uses this until then.
    pub fn new(inner: T, token: &CancelToken) -> Self {
        Self {
            inner,
            token: token.clone(),
        }
    }

    /// Gives the wrapped value, to be read or written in another way.
    ///
    /// # Errors
    /// [`Cancelled`], once the work is stopped.
    pub fn get(&self) -> Result<&T, Cancelled> {
        self.token.check().map(|()| &self.inner)
    }

    /// Gives the wrapped value, to be read or written in another way.
    ///
    /// # Errors
    /// [`Cancelled`], once the work is stopped.
    pub fn get_mut(&mut self) -> Result<&mut T, Cancelled> {
        self.token.check().map(|()| &mut self.inner)
    }

    /// Gives the wrapped value, whether the work goes on or not.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Read> Read for Checked<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.token.check()?;
        self.inner.read(buffer)
    }
}

impl<T: Write> Write for Checked<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.token.check()?;
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.token.check()?;
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_or_written_once_the_work_is_stopped() {
        let token = CancelToken::new();
        let mut reader = Checked::new(&b"ab"[..], &token);
        let mut writer = Checked::new(Vec::new(), &token);
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
        assert_eq!(writer.write(b"a").unwrap(), 1);
        token.cancel();
        assert!(reader.read(&mut [0]).is_err());
        assert!(writer.write(b"b").is_err() && writer.flush().is_err());
        assert!(reader.get().is_err() && writer.get_mut().is_err());
        assert_eq!(writer.into_inner(), b"a");
    }
}
