//! Disks as one file.

#[cfg(any(unix, windows))]
use std::fs::File;
use std::io;

#[cfg(any(unix, windows))]
use lithify_cancel::{CancelToken, Checked};
use lithify_storage::{ReadAt, Storage};

use crate::disk::{Content, Disk};
use crate::error::RawError;
use crate::part::Part;

/// Bytes read in one go.
const CHUNK: usize = 1 << 20;

/// Bytes the kernel copies in one go: more than it needs to be quick, less than takes long.
#[cfg(target_os = "linux")]
const COPY_STEP: u64 = 64 << 20;

/// Stretches of this many zeros are not written: they stay holes.
const HOLE: usize = 4096;

impl Disk {
    /// Writes the disk: a source for each part, in order. Whatever `target` held is gone; zeros become holes where it has
    /// such.
    ///
    /// # Errors
    /// Sources that are not as many, or not as large, as the parts; what a source or the target says.
    pub fn write<R: ReadAt, S: Storage + ?Sized>(
        &self,
        sources: &[R],
        target: &mut S,
    ) -> Result<(), RawError> {
        self.begin(sources, target)?;
        self.each(target, |target, part, offset| {
            copy_through_memory(&self.parts()[part], &sources[part], offset, target)
        })
    }

    /// As [`Disk::write`], by the kernel where it can: on Linux without the data passing through memory, sharing blocks on
    /// filesystems that share (btrfs, XFS), and skipping holes of the sources.
    ///
    /// # Errors
    /// As [`Disk::write`].
    #[cfg(any(unix, windows))]
    pub fn write_file(&self, sources: &[File], target: &mut File) -> Result<(), RawError> {
        self.write_checked(sources, &mut Checked::new(target, &CancelToken::new()))
    }

    /// As [`Disk::write_file`], as long as the work goes on.
    ///
    /// # Errors
    /// As [`Disk::write`]; [`RawError::Write`] of [`Cancelled`](lithify_cancel::Cancelled) once the work is stopped.
    #[cfg(any(unix, windows))]
    pub fn write_checked(
        &self,
        sources: &[File],
        target: &mut Checked<&mut File>,
    ) -> Result<(), RawError> {
        self.begin(sources, target)?;
        self.each(target, |target, part, offset| {
            copy_file(&self.parts()[part], &sources[part], offset, target)
        })
    }

    /// Writes everything but the parts, around a part that is where it belongs already.
    ///
    /// # Errors
    /// [`RawError::Write`].
    pub fn write_frame<S: Storage + ?Sized>(&self, target: &mut S) -> Result<(), RawError> {
        target
            .set_size(self.size())
            .map_err(|source| cannot_write(self.size(), source))?;
        self.each(target, |_, _, _| Ok(()))
    }

    /// Checks the sources, and makes the target a hole of the disk's size.
    fn begin<R: ReadAt, S: Storage + ?Sized>(
        &self,
        sources: &[R],
        target: &mut S,
    ) -> Result<(), RawError> {
        if sources.len() != self.parts().len() {
            return Err(RawError::Sources {
                expected: self.parts().len(),
                found: sources.len(),
            });
        }
        for (part, file) in self.parts().iter().zip(sources) {
            let found = file.size().map_err(|source| part.cannot_read(source))?;
            // What follows a part in its file, such as a hash tree, stays away from the disk.
            if found < part.size {
                return Err(RawError::SourceSize {
                    path: part.path.clone(),
                    expected: part.size,
                    found,
                });
            }
        }
        for size in [0, self.size()] {
            target
                .set_size(size)
                .map_err(|source| cannot_write(size, source))?;
        }
        Ok(())
    }

    fn each<S: Storage + ?Sized>(
        &self,
        target: &mut S,
        mut copy: impl FnMut(&mut S, usize, u64) -> Result<(), RawError>,
    ) -> Result<(), RawError> {
        for piece in self.pieces() {
            match &piece.content {
                Content::Part(part) => copy(target, *part, piece.offset)?,
                Content::Zeros => {}
                Content::Bytes(bytes) => target
                    .write_all_at(bytes, piece.offset)
                    .map_err(|source| cannot_write(piece.offset, source))?,
            }
        }
        Ok(())
    }
}

impl Part {
    fn cannot_read(&self, source: io::Error) -> RawError {
        RawError::Read {
            path: self.path.clone(),
            source,
        }
    }
}

fn cannot_write(offset: u64, source: io::Error) -> RawError {
    RawError::Write { offset, source }
}

/// Copies a part; what is zero stays a hole.
fn copy_through_memory<R: ReadAt + ?Sized, S: Storage + ?Sized>(
    part: &Part,
    source: &R,
    offset: u64,
    target: &mut S,
) -> Result<(), RawError> {
    copy_stretch(part, source, 0..part.size, offset, target)
}

fn copy_stretch<R: ReadAt + ?Sized, S: Storage + ?Sized>(
    part: &Part,
    source: &R,
    stretch: std::ops::Range<u64>,
    offset: u64,
    target: &mut S,
) -> Result<(), RawError> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(part.size).unwrap_or(CHUNK))];
    let mut done = stretch.start;
    while done < stretch.end {
        let length = (stretch.end - done).min(buffer.len() as u64) as usize;
        let chunk = &mut buffer[..length];
        source
            .read_exact_at(chunk, done)
            .map_err(|source| part.cannot_read(source))?;
        let mut at = 0;
        while at < length {
            // One write for each stretch of blocks that are not zero.
            let blocks = |at: usize| chunk[at..].chunks(HOLE);
            at += blocks(at)
                .take_while(|b| is_zero(b))
                .map(<[u8]>::len)
                .sum::<usize>();
            let data = blocks(at)
                .take_while(|b| !is_zero(b))
                .map(<[u8]>::len)
                .sum::<usize>();
            let place = offset + done + at as u64;
            target
                .write_all_at(&chunk[at..at + data], place)
                .map_err(|source| cannot_write(place, source))?;
            at += data;
        }
        done += length as u64;
    }
    Ok(())
}

/// Tells whether bytes are zeros; quick for those that are not.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| b == 0)
}

#[cfg(target_os = "linux")]
fn copy_file(
    part: &Part,
    source: &File,
    offset: u64,
    target: &mut Checked<&mut File>,
) -> Result<(), RawError> {
    let mut done = 0;
    while done < part.size {
        // Holes of the source are not looked at. (Nothing here depends on a file's position.)
        let data = lithify_storage::next_data(source, done, part.size);
        done = data.end;
        copy_range(part, source, data, offset, target)?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn copy_range(
    part: &Part,
    source: &File,
    stretch: std::ops::Range<u64>,
    offset: u64,
    target: &mut Checked<&mut File>,
) -> Result<(), RawError> {
    use rustix::io::Errno;

    let mut done = stretch.start;
    while done < stretch.end {
        let (mut from, mut to) = (done, offset + done);
        let length = (stretch.end - done).min(COPY_STEP) as usize;
        let out: &File = target
            .get()
            .map_err(|cancelled| cannot_write(offset + done, cancelled.into()))?;
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut from), out, Some(&mut to), length);
        match copied {
            Ok(0) => return Err(part.cannot_read(io::ErrorKind::UnexpectedEof.into())),
            Ok(copied) => done += copied as u64,
            Err(Errno::INTR) => {}
            // Not every pair of filesystems can; what is done stays done.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV | Errno::PERM) => {
                return copy_stretch(part, source, done..stretch.end, offset, target);
            }
            Err(errno) => {
                return Err(RawError::Copy {
                    path: part.path.clone(),
                    offset: offset + done,
                    source: errno.into(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(all(any(unix, windows), not(target_os = "linux")))]
fn copy_file(
    part: &Part,
    source: &File,
    offset: u64,
    target: &mut Checked<&mut File>,
) -> Result<(), RawError> {
    copy_through_memory(part, source, offset, target)
}
