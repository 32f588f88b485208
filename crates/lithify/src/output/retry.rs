//! Reads that go on after a signal.

use std::io::{self, Read};

/// Reads what there is; a signal that was taken meanwhile is no error.
pub(crate) fn read_some(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_no_error() {
        struct Signals(u32);
        impl Read for Signals {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1..=3 => Err(io::ErrorKind::Interrupted.into()),
                    4 => {
                        buffer[0] = 7;
                        Ok(1)
                    }
                    _ => Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
        }
        let mut buffer = [0; 4];
        let mut reader = Signals(0);
        assert_eq!(read_some(&mut reader, &mut buffer).unwrap(), 1);
        let error = read_some(&mut reader, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
