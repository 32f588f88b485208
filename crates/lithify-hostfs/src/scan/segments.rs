//! Where the data of a sparse file lies.

use std::io;

use lithify_cancel::CancelToken;
use lithify_tree::DataSegment;
use rustix::fd::BorrowedFd;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Segments told apart in one file; everything behind the last counts as data.
const SEGMENTS_MAX: usize = 1 << 20;

/// The data of a file of `size` bytes as its filesystem reports it; `None` when there are no holes.
pub(crate) fn segments(
    file: BorrowedFd<'_>,
    size: u64,
    cancel: &CancelToken,
) -> io::Result<Option<Vec<DataSegment>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        cancel.check()?;
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // No data from here on.
            Err(Errno::NXIO) => break,
            // A filesystem that does not know.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if start >= size {
            break;
        }
        let full = found.len() + 1 == SEGMENTS_MAX;
        let end = if full {
            size
        } else {
            seek(file, SeekFrom::Hole(start))?.min(size)
        };
        if end <= start {
            break;
        }
        found.push(DataSegment {
            offset: start,
            length: end - start,
        });
        at = end;
    }
    let whole = matches!(found[..], [only] if only.offset == 0 && only.length == size);
    Ok((!whole).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd as _;
    use std::io::Write as _;

    #[test]
    fn a_file_without_holes_has_no_segments() {
        let token = CancelToken::new();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        assert_eq!(segments(file.as_fd(), 10_000, &token).unwrap(), None);
        file.set_len(100_000).unwrap();
        let found = segments(file.as_fd(), 100_000, &token).unwrap().unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].offset == 0 && (10_000..100_000).contains(&found[0].length));
        // Grown since its size was taken: nothing past that.
        let found = segments(file.as_fd(), 5000, &token).unwrap();
        assert_eq!(found, None);
    }
}
