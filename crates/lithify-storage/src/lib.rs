//! What an image is written to and read from: bytes by position.
//!
//! Writers of filesystem images put data where it stays before they know everything about it, and readers jump: both
//! work by position, on a [`File`], in memory, or on whatever implements [`ReadAt`] and [`Storage`].
//!
//! ```
//! use lithify_storage::{ReadAt as _, Storage as _};
//!
//! let mut image = Vec::new();
//! image.write_all_at(b"data", 4096)?;
//! let mut back = [0; 4];
//! image.read_exact_at(&mut back, 4096)?;
//! assert_eq!((&back, image.size()?), (b"data", 4100));
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod beneath; // regular files of a directory, and nothing else
mod cached; // reads kept for a while
mod checked; // as long as the work goes on
#[cfg(unix)]
mod cursor; // positions of one's own
#[cfg(unix)]
mod holes; // stretches of data
mod locked; // open files with a lock
mod shifted; // storage in another storage
#[cfg(unix)]
pub mod temporary; // files that appear whole or not at all

pub use beneath::{Beneath, BeneathError, Listed, open_regular, read_regular};
pub use cached::Cached;
#[cfg(unix)]
pub use cursor::FileCursor;
#[cfg(unix)]
pub use holes::next_data;
pub use locked::Locked;
pub use shifted::Shifted;

#[cfg(any(unix, windows))]
use std::fs::File;
use std::io;

/// Bytes that can be read by position.
pub trait ReadAt {
    /// Fills `buffer` from `offset`, both in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the source ends before, else whatever the source says.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Length of the source in bytes.
    ///
    /// # Errors
    /// Whatever the source says.
    fn size(&self) -> io::Result<u64>;
}

/// Bytes that can be written by position too: what images are written to.
pub trait Storage: ReadAt {
    /// Writes all of `data` at `offset`, growing the storage as needed.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or extends (with zeros) to `length` bytes.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn set_size(&mut self, length: u64) -> io::Result<()>;

    /// Asked between pieces of long work that neither reads nor writes: whether what is made is still wanted.
    ///
    /// # Errors
    /// Why it is not.
    fn go_on(&self) -> io::Result<()> {
        Ok(())
    }

    /// Copies `length` bytes from `from` down to `to`, which is less; the two stretches may overlap.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
        move_through_memory(self, from, to, length)
    }
}

/// [`Storage::move_down`] by reading and writing.
fn move_through_memory<S: Storage + ?Sized>(
    storage: &mut S,
    from: u64,
    to: u64,
    length: u64,
) -> io::Result<()> {
    debug_assert!(to < from);
    // Bytes are read before the write that could replace them: each write ends below where the next read starts.
    let mut buffer = vec![0; COPY_CHUNK.min(usize::try_from(length).unwrap_or(COPY_CHUNK))];
    let mut done = 0;
    while done < length {
        let n = (length - done).min(buffer.len() as u64) as usize;
        storage.read_exact_at(&mut buffer[..n], from + done)?;
        storage.write_all_at(&buffer[..n], to + done)?;
        done += n as u64;
    }
    Ok(())
}

/// Bytes moved in one go.
const COPY_CHUNK: usize = 1 << 20;

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &mut T {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for std::sync::Arc<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: Storage + ?Sized> Storage for &mut T {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        (**self).set_size(length)
    }

    fn go_on(&self) -> io::Result<()> {
        (**self).go_on()
    }

    fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
        (**self).move_down(from, to, length)
    }
}

impl<T: Storage + ?Sized> Storage for Box<T> {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        (**self).set_size(length)
    }

    fn go_on(&self) -> io::Result<()> {
        (**self).go_on()
    }

    fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
        (**self).move_down(from, to, length)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let source = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl Storage for Vec<u8> {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start
            .checked_add(data.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        if self.len() < end {
            self.resize(end, 0);
        }
        self[start..end].copy_from_slice(data);
        Ok(())
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.resize(
            usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?,
            0,
        );
        Ok(())
    }
}

#[cfg(any(unix, windows))]
impl ReadAt for File {
    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match std::os::windows::fs::FileExt::seek_read(
                self,
                &mut buffer[done..],
                offset + done as u64,
            ) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let metadata = self.metadata()?;
        if metadata.is_file() {
            return Ok(metadata.len());
        }
        // A block device says how long it is only this way. Nothing here depends on the file position.
        io::Seek::seek(&mut &*self, io::SeekFrom::End(0))
    }
}

#[cfg(any(unix, windows))]
impl Storage for File {
    #[cfg(unix)]
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, data, offset)
    }

    #[cfg(windows)]
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < data.len() {
            match std::os::windows::fs::FileExt::seek_write(
                self,
                &data[done..],
                offset + done as u64,
            ) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    #[cfg(target_os = "linux")]
    fn move_down(&mut self, from: u64, to: u64, length: u64) -> io::Result<()> {
        // The kernel refuses overlapping stretches, so no step is longer than the distance; below this distance
        // steps get so short that copying through memory is faster.
        let step = (from - to).min(1 << 30);
        let mut done = 0;
        if step >= COPY_CHUNK as u64 {
            while done < length {
                let n = (length - done).min(step) as usize;
                let (mut source, mut target) = (from + done, to + done);
                match rustix::fs::copy_file_range(
                    &*self,
                    Some(&mut source),
                    &*self,
                    Some(&mut target),
                    n,
                ) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(copied) => done += copied as u64,
                    Err(rustix::io::Errno::INTR) => {}
                    // Not every filesystem can; what is done stays done.
                    Err(
                        rustix::io::Errno::INVAL
                        | rustix::io::Errno::NOSYS
                        | rustix::io::Errno::OPNOTSUPP
                        | rustix::io::Errno::XDEV
                        | rustix::io::Errno::PERM,
                    ) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        move_through_memory(self, from + done, to + done, length - done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves within a file whose bytes tell their offset.
    fn check(mut storage: impl Storage) {
        let bytes: Vec<u8> = (0..5_000_000_u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes())
            .collect();
        let length = 9_000_000;
        for (from, to) in [
            (4096, 0),
            (8_000_000, 4_000_000),
            (1_052_672, 4096),
            (10_000_000, 1),
            (10, 9),
        ] {
            storage.set_size(0).unwrap();
            storage.write_all_at(&bytes, 0).unwrap();
            storage.move_down(from, to, length).unwrap();
            let mut moved = vec![0; length as usize];
            storage.read_exact_at(&mut moved, to).unwrap();
            assert!(
                moved == bytes[from as usize..][..length as usize],
                "{from} to {to}"
            );
            let mut before = vec![0; to as usize];
            storage.read_exact_at(&mut before, 0).unwrap();
            assert!(before == bytes[..to as usize]);
            assert_eq!(storage.size().unwrap(), bytes.len() as u64);
        }
    }

    #[test]
    fn moves_in_memory() {
        check(Vec::new());
    }

    #[cfg(any(unix, windows))]
    #[test]
    fn moves_in_a_file() {
        check(tempfile::tempfile().unwrap());
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let bytes = vec![1, 2, 3];
        let mut two = [0; 2];
        bytes.read_exact_at(&mut two, 1).unwrap();
        assert_eq!(two, [2, 3]);
        for offset in [2, 3, 4, u64::MAX] {
            let error = bytes.read_exact_at(&mut two, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
