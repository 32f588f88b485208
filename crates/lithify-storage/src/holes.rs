//! Holes of files, which read as zeros and take no space.

use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Returns the next stretch of data of a file of so many bytes, at `at` or behind it; at the end an empty one. A filesystem that
/// knows no holes has data everywhere.
///
/// It moves the file's own position. Nothing is reported as wrong: whatever is wrong with the file, reading it will tell.
///
/// ```
/// let file = tempfile::tempfile()?;
/// std::os::unix::fs::FileExt::write_all_at(&file, b"data", 1 << 20)?;
/// let data = lithify_storage::next_data(&file, 0, (1 << 20) + 4);
/// assert_eq!(data.end, (1 << 20) + 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn next_data(file: impl AsFd, at: u64, size: u64) -> Range<u64> {
    let all = at..size;
    let start = match seek(&file, SeekFrom::Data(at)) {
        Ok(start) => start.clamp(at, size),
        Err(Errno::NXIO) => return size..size,
        Err(_) => return all,
    };
    if start == size {
        return size..size;
    }
    match seek(&file, SeekFrom::Hole(start)) {
        // A file that changes meanwhile may answer anything.
        Ok(end) if end > start => start..end.min(size),
        _ => all,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn stretches(file: &File, size: u64) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < size {
            let data = next_data(file, at, size);
            assert!(at <= data.start && data.start <= data.end && data.end <= size);
            at = data.end;
            found.extend((!data.is_empty()).then_some(data));
        }
        found
    }

    #[test]
    fn stretches_cover_all_data() {
        let file = tempfile::tempfile().unwrap();
        for at in [2 * MIB, 5 * MIB, 9 * MIB] {
            file.write_all_at(&[1; 5000], at).unwrap();
        }
        file.set_len(20 * MIB).unwrap();
        let mut bytes = vec![0; 20 << 20];
        for data in stretches(&file, 20 * MIB) {
            let (start, end) = (data.start as usize, data.end as usize);
            file.read_exact_at(&mut bytes[start..end], data.start)
                .unwrap();
        }
        let whole = std::iter::repeat_n(0, 20 << 20).collect::<Vec<u8>>();
        assert!(bytes != whole);
        let mut expected = whole;
        file.read_exact_at(&mut expected, 0).unwrap();
        assert!(bytes == expected);
    }

    #[test]
    fn nothing_is_found_past_the_size_that_is_asked_for() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 10_000], 0).unwrap();
        assert!(
            stretches(&file, 5000)
                .into_iter()
                .eq(std::iter::once(0..5000))
        );
        assert_eq!(next_data(&file, 5000, 5000), 5000..5000);
        assert_eq!(stretches(&tempfile::tempfile().unwrap(), 0), []);
        // Shorter than was thought: there is no data from here on.
        assert_eq!(next_data(&file, 10_000, 20_000), 20_000..20_000);
    }
}
