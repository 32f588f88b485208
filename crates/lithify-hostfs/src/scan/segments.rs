//! Stretches of data in sparse files.

use std::io;

use lithify_cancel::CancelToken;
use lithify_storage::next_data;
use lithify_tree::DataSegment;
use rustix::fd::BorrowedFd;

/// Segments told apart in one file; everything behind the last counts as data.
const SEGMENTS_MAX: usize = 1 << 20;

/// Returns the data of a file of `size` bytes as its filesystem reports it; `None` when there are no holes. At most 2²⁰
/// segments are told apart.
///
/// # Errors
/// [`lithify_cancel::Cancelled`], in an [`io::Error`].
pub fn segments(
    file: BorrowedFd<'_>,
    size: u64,
    cancel: &CancelToken,
) -> io::Result<Option<Vec<DataSegment>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        cancel.check()?;
        let mut data = next_data(file, at, size);
        if data.is_empty() {
            break;
        }
        if found.len() + 1 == SEGMENTS_MAX {
            data.end = size;
        }
        at = data.end;
        found.push(DataSegment {
            offset: data.start,
            length: data.end - data.start,
        });
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
