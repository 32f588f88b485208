//! The digest of an open file.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use lithify_cancel::CancelToken;
use lithify_storage::next_data;

use super::{FileDigest, FileHasher};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;
/// Bytes of a block as files are measured in.
const BLOCK: u64 = 512;

impl FileHasher {
    /// Computes the digest of a file by reading it from its start, but for its holes: those take no time, whatever their length.
    /// The file's own position may move.
    ///
    /// ```
    /// use lithify_cancel::CancelToken;
    /// use lithify_verity::file::{FileHasher, FileOptions};
    ///
    /// let file = tempfile::tempfile()?;
    /// std::os::unix::fs::FileExt::write_all_at(&file, b"data", 1 << 40)?;
    /// let hasher = FileHasher::new(&FileOptions::default())?;
    /// let digest = hasher.digest_of(&file, &CancelToken::new())?;
    /// # assert_eq!(digest.hex().len(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The error of the system; [`lithify_cancel::Cancelled`] in an [`io::Error`] if the work was stopped.
    pub fn digest_of(mut self, file: &File, cancel: &CancelToken) -> io::Result<FileDigest> {
        let found = file.metadata()?;
        let size = found.len();
        // Most files are short; memory that is not needed costs more than they do.
        let length = usize::try_from(size).unwrap_or(BUFFER);
        let mut buffer = vec![0; length.saturating_add(1).min(BUFFER)];
        let has_holes = found.blocks() < size / BLOCK;
        let mut data_end = 0;
        loop {
            cancel.check()?;
            let at = self.size();
            if has_holes && at == data_end && at < size {
                let data = next_data(file, at, size);
                self.zeros(data.start - at);
                data_end = data.end;
                continue;
            }
            let most = match has_holes && at < size {
                true => usize::try_from(data_end - at).unwrap_or(BUFFER),
                false => BUFFER,
            };
            let most = most.min(buffer.len());
            match file.read_at(&mut buffer[..most], at) {
                Ok(0) => return Ok(self.finish()),
                Ok(read) => self.update(&buffer[..read]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::FileOptions;

    fn hasher() -> FileHasher {
        FileHasher::new(&FileOptions::default()).unwrap()
    }

    #[test]
    fn holes_are_zeros() {
        for (length, data) in [
            (0, &[][..]),
            (1, &[0]),
            (300_000, &[299_999]),
            (BUFFER as u64 * 5, &[0, 1 << 20]),
            (10_000_001, &[4096, 5_000_000, 10_000_000]),
            (10_000_001, &[]),
        ] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(length).unwrap();
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            for &at in data {
                file.write_all_at(b"x", at).unwrap();
                bytes[usize::try_from(at).unwrap()] = b'x';
            }
            let mut whole = hasher();
            whole.update(&bytes);
            let found = hasher().digest_of(&file, &CancelToken::new()).unwrap();
            assert_eq!(found, whole.finish(), "{length} {data:?}");
        }
    }

    #[test]
    fn work_is_stopped() {
        let (file, cancel) = (tempfile::tempfile().unwrap(), CancelToken::new());
        cancel.cancel();
        hasher().digest_of(&file, &cancel).unwrap_err();
    }
}
