//! Positioned reads: many cursors in one file.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use lithify_cancel::Checked;

/// Bytes that can be read at any position by several threads at once.
pub(super) trait ReadAt: Send + Sync {
    /// Reads at `offset` into `buf`; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Bytes there are.
    fn len(&self) -> io::Result<u64>;

    /// The next byte from `offset` on that is not in a hole, as far as that is known without reading; an offset at or behind
    /// the end if there is none.
    fn next_data(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }
}

/// Bytes that are read as long as the work goes on.
impl ReadAt for Checked<Arc<dyn ReadAt>> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.get()?.read_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.get()?.len()
    }

    fn next_data(&self, offset: u64) -> io::Result<u64> {
        self.get()?.next_data(offset)
    }
}

/// Fills `buf` from `offset`; false if the data ends before.
pub(super) fn fill(data: &dyn ReadAt, mut buf: &mut [u8], mut offset: u64) -> io::Result<bool> {
    while !buf.is_empty() {
        match data.read_at(buf, offset) {
            Ok(0) => return Ok(false),
            Ok(n) => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..))
            .unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(Vec::len(self) as u64)
    }
}

impl ReadAt for File {
    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }

    // Moves the file's own cursor too, which nothing here uses.
    #[cfg(windows)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    // Moves the file's own cursor too.
    #[cfg(target_os = "linux")]
    fn next_data(&self, offset: u64) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};
        match seek(self, SeekFrom::Data(offset)) {
            Ok(data) => Ok(data),
            // No data from here on.
            Err(rustix::io::Errno::NXIO) => Ok(u64::MAX),
            // A filesystem, or a device, that does not know.
            Err(_) => Ok(offset),
        }
    }
}

/// Where one file lies in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Extent {
    pub(super) fn reader(self, data: Arc<dyn ReadAt>) -> Cursor {
        Cursor { data, extent: self }
    }

    pub(super) fn window(self, data: Arc<dyn ReadAt>) -> Window {
        Window { data, extent: self }
    }
}

/// One extent by position.
pub(super) struct Window {
    data: Arc<dyn ReadAt>,
    extent: Extent,
}

impl lithify_storage::ReadAt for Window {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inside = offset
            .checked_add(buffer.len() as u64)
            .is_some_and(|end| end <= self.extent.len);
        // The extent was inside the archive when that was indexed, so the sum is no more than its length.
        if inside && fill(&*self.data, buffer, self.extent.offset + offset)? {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.extent.len)
    }
}

/// Reads one extent from start to end.
pub(super) struct Cursor {
    data: Arc<dyn ReadAt>,
    /// What is left.
    extent: Extent,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.extent.len)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        let n = self.data.read_at(&mut buf[..want], self.extent.offset)?;
        if n == 0 {
            // The index was made when the archive was longer.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.extent.offset += n as u64;
        self.extent.len -= n as u64;
        Ok(n)
    }
}
