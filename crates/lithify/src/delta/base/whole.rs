//! Files of filesystems, which are read from start to end.

use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use lithify_delta::apply::SourceError;
use lithify_storage::ReadAt;

use crate::Error;
use crate::image::OpenedFile;
use crate::output::scratch_file;

/// Size in bytes of the largest file that is held in memory.
const IN_MEMORY: u64 = 16 << 20;

/// Bytes copied at a time.
const BUFFER: usize = 1 << 20;

/// Reads a file, which is then to be had by position: in memory, or in a scratch file.
pub(super) fn read(file: OpenedFile<'_>) -> Result<Box<dyn ReadAt + Send>, SourceError> {
    let size = file.size;
    if size <= IN_MEMORY {
        // Not more than the bound above.
        let mut bytes = vec![0; size as usize];
        copy(file, |data, at| {
            let at = at as usize;
            bytes[at..at + data.len()].copy_from_slice(data);
            Ok(())
        })?;
        return Ok(Box::new(bytes));
    }
    let scratch = scratch_file(None)?;
    scratch.set_len(size)?;
    copy(file, |data, at| scratch.write_all_at(data, at))?;
    Ok(Box::new(scratch))
}

/// Gives out the data of a file with the place of each piece; what is between them are holes.
fn copy(
    mut file: OpenedFile<'_>,
    mut put: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut piece = |reader: &mut dyn Read, mut at: u64, length: u64| {
        let end = at + length;
        while at < end {
            let wanted = (end - at).min(BUFFER as u64) as usize;
            reader.read_exact(&mut buffer[..wanted])?;
            put(&buffer[..wanted], at)?;
            at += wanted as u64;
        }
        Ok(())
    };
    let Some(segments) = file.segments else {
        return piece(&mut file.reader, 0, file.size);
    };
    let mut at = 0;
    for segment in segments {
        file.reader.skip(segment.offset - at)?;
        piece(&mut file.reader, segment.offset, segment.length)?;
        at = segment.offset + segment.length;
    }
    Ok(())
}

/// Returns the error of a file that could not be opened, for who applies a delta.
pub(super) fn failed(error: Error) -> SourceError {
    SourceError::Read(error.into_io())
}
