//! Readers and writers that never wait long, used as long as the work goes on.

use std::io::{self, Read, Write};

use crate::CancelToken;

/// A reader or writer whose calls fail with [`Cancelled`](crate::Cancelled) once the work is stopped.
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
    }
}
