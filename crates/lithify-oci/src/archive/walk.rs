//! The one pass over the headers.

use super::entries::{Entries, Entry, clean};
use super::header::{BLOCK, Header, until_nul};
use super::pax::Pax;
use super::read_at::{Extent, ReadAt, fill};
use super::{Error, HeaderProblem, MAX_NAME};
use crate::Limits;

/// What extension headers said of the member that must follow.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

/// Zeros read at once.
const PIECE: usize = 64 << 10;

/// What is done about what follows the end of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing but zeros may.
    Zeros,
    /// It is not looked at.
    Unread,
}

/// Indexes the archive in `data`.
pub(super) fn walk(data: &dyn ReadAt, limits: &Limits, tail: Tail) -> Result<Entries, Error> {
    let io = |source| Error::Io {
        action: "read the archive",
        source,
    };
    let len = data.len().map_err(io)?;
    let mut entries = Entries::default();
    let mut pending = Pending::default();
    let mut members = 0;
    let mut name_bytes = 0;
    let mut at = 0u64;
    loop {
        let problem = |problem| Error::Header {
            offset: at,
            problem,
        };
        let truncated = |what| Error::Truncated {
            what,
            offset: at,
            len,
        };
        let mut block = [0; BLOCK];
        if at == len && members > 0 && pending.is_empty() {
            return Ok(entries);
        }
        if !fill(data, &mut block, at).map_err(io)? {
            return Err(if at == 0 && len > 0 {
                Error::NotTar
            } else {
                truncated("the end mark or a header")
            });
        }
        let next = at + BLOCK as u64;
        if block == [0; BLOCK] {
            if !pending.is_empty() {
                return Err(problem(HeaderProblem::Dangling));
            }
            // Two zero blocks end an archive. Some writers leave it at one; nothing may follow it then.
            let ended = !fill(data, &mut block, next).map_err(io)? || block == [0; BLOCK];
            if !ended {
                return Err(problem(HeaderProblem::LoneZeroBlock));
            }
            if tail == Tail::Unread {
                return Ok(entries);
            }
            return match first_data(data, next, len).map_err(io)? {
                None => Ok(entries),
                Some(offset) => Err(Error::DataAfterEnd { offset }),
            };
        }
        let header =
            Header::new(&block).map_err(|p| if at == 0 { Error::NotTar } else { problem(p) })?;
        let mut size = header.size().map_err(problem)?;

        if let kind @ (b'x' | b'g' | b'L' | b'K') = header.kind() {
            let limit = limits.archive_header_bytes;
            if size > limit {
                return Err(problem(HeaderProblem::ExtensionTooLarge { size, limit }));
            }
            if len.checked_sub(next).is_none_or(|rest| rest < size) {
                return Err(truncated("an extension header"));
            }
            let too_large = || problem(HeaderProblem::ExtensionTooLarge { size, limit });
            let mut content = vec![0; usize::try_from(size).map_err(|_| too_large())?];
            if !fill(data, &mut content, next).map_err(io)? {
                return Err(truncated("an extension header"));
            }
            extend(&mut pending, kind, &content).map_err(problem)?;
            at = end(next, size, len).ok_or_else(|| truncated("an extension header"))?;
            continue;
        }

        members += 1;
        if members > limits.archive_entries {
            return Err(Error::TooManyEntries {
                limit: limits.archive_entries,
            });
        }
        let Pending {
            pax,
            long_name,
            long_link,
        } = std::mem::take(&mut pending);
        let pax = pax.unwrap_or_default();
        if pax.sparse {
            return Err(problem(HeaderProblem::Sparse));
        }
        // The size field of what has no data means nothing; a PAX record would promise data (`HasContent`).
        let content = match header.kind() {
            b'1'..=b'6' => pax.size.unwrap_or(0),
            _ => pax.size.unwrap_or(size),
        };
        size = content;
        let name = agreed(pax.path, long_name, "name")
            .map_err(problem)?
            .unwrap_or_else(|| header.name());
        let link = agreed(pax.linkpath, long_link, "link target")
            .map_err(problem)?
            .unwrap_or_else(|| header.link().to_vec());
        let found = name.len().max(link.len());
        if found > MAX_NAME {
            return Err(problem(HeaderProblem::NameTooLong { found }));
        }
        name_bytes += name.len() + link.len();
        if name_bytes > limits.archive_names {
            let limit = limits.archive_names;
            return Err(Error::TooManyNames { limit });
        }
        let bad_name = |name: &[u8]| {
            problem(HeaderProblem::Name {
                name: name.to_vec(),
            })
        };
        let clean_name = clean(&name).ok_or_else(|| bad_name(&name))?;

        let entry = match header.kind() {
            // A plain v7 header marks directories by a trailing slash only.
            b'0' | 0 | b'7' if name.last() == Some(&b'/') && size == 0 => Entry::Other,
            b'0' | 0 | b'7' => Entry::File(Extent {
                offset: next,
                len: size,
            }),
            b'1' => Entry::Hardlink(clean(&link).ok_or_else(|| bad_name(&link))?.into()),
            b'2' => Entry::Symlink(link.into()),
            b'3'..=b'6' => Entry::Other,
            b'S' => return Err(problem(HeaderProblem::Sparse)),
            kind => return Err(problem(HeaderProblem::Kind { kind })),
        };
        let size = match entry {
            Entry::File(Extent { len, .. }) => len,
            _ if size > 0 => {
                return Err(problem(HeaderProblem::HasContent {
                    kind: header.kind(),
                    size,
                }));
            }
            _ => 0,
        };
        at = end(next, size, len).ok_or_else(|| truncated("an entry"))?;
        // The root directory has no name of its own.
        if !clean_name.is_empty() {
            entries.insert(clean_name, entry);
        }
    }
}

/// The first byte from `start` on that is not zero. Holes are not read.
fn first_data(data: &dyn ReadAt, start: u64, len: u64) -> std::io::Result<Option<u64>> {
    let mut at = start;
    let mut buffer = vec![0; PIECE];
    loop {
        at = data.next_data(at)?;
        if at >= len {
            return Ok(None);
        }
        let count = usize::try_from(len - at).unwrap_or(usize::MAX);
        let piece = &mut buffer[..count.min(PIECE)];
        if !fill(data, piece, at)? {
            return Ok(None);
        }
        if let Some(found) = piece.iter().position(|&b| b != 0) {
            return Ok(Some(at + found as u64));
        }
        at += piece.len() as u64;
    }
}

/// Where the block after `size` bytes from `start` begins, unless those bytes go past `len`.
fn end(start: u64, size: u64, len: u64) -> Option<u64> {
    let end = start.checked_add(size).filter(|&end| end <= len)?;
    end.checked_next_multiple_of(BLOCK as u64)
}

/// Takes in one extension header.
fn extend(pending: &mut Pending, kind: u8, content: &[u8]) -> Result<(), HeaderProblem> {
    let conflict = |what| Err(HeaderProblem::Conflict { what });
    match kind {
        b'g' => {
            // Global records outlive their place, and few readers agree on these.
            let global = Pax::parse(content)?;
            if global != Pax::default() {
                return conflict("global PAX path, linkpath, size or sparse map");
            }
        }
        b'x' => {
            let pax = Pax::parse(content)?;
            if pending.pax.replace(pax).is_some() {
                return conflict("PAX header");
            }
        }
        _ => {
            let (slot, what) = match kind {
                b'L' => (&mut pending.long_name, "GNU long name"),
                _ => (&mut pending.long_link, "GNU long link"),
            };
            if slot.replace(until_nul(content).to_vec()).is_some() {
                return conflict(what);
            }
        }
    }
    Ok(())
}

/// PAX and GNU extensions may both name a member only if they agree.
fn agreed(
    pax: Option<Vec<u8>>,
    gnu: Option<Vec<u8>>,
    what: &'static str,
) -> Result<Option<Vec<u8>>, HeaderProblem> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(HeaderProblem::Conflict { what }),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lithify_cancel::{CancelToken, Checked};

    use super::*;

    /// More than can be read while anybody waits.
    const ENDLESS: u64 = 1 << 50;

    /// Zeros without end, of which all or nothing is a hole. Stops the work when the tail is read.
    struct Zeros {
        hole: bool,
        pieces: AtomicUsize,
        token: CancelToken,
    }

    impl ReadAt for Zeros {
        fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<usize> {
            if buf.len() > BLOCK {
                self.pieces.fetch_add(1, Ordering::Relaxed);
                self.token.cancel();
            }
            buf.fill(0);
            Ok(buf.len())
        }

        fn len(&self) -> io::Result<u64> {
            Ok(ENDLESS)
        }

        fn next_data(&self, offset: u64) -> io::Result<u64> {
            Ok(if self.hole { u64::MAX } else { offset })
        }
    }

    /// Walks them; whether that went well, and how many pieces of the tail were read.
    fn walked(hole: bool, tail: Tail) -> (Result<usize, Error>, usize) {
        let token = CancelToken::new();
        let zeros = Arc::new(Zeros {
            hole,
            pieces: AtomicUsize::new(0),
            token: token.clone(),
        });
        let data = Checked::new(Arc::clone(&zeros) as Arc<dyn ReadAt>, &token);
        let walked = walk(&data, &Limits::default(), tail).map(|entries| entries.len());
        (walked, zeros.pieces.load(Ordering::Relaxed))
    }

    #[test]
    fn a_tail_without_end_is_read_as_long_as_the_work_goes_on() {
        let (walked, pieces) = walked(false, Tail::Zeros);
        assert!(matches!(walked, Err(Error::Io { .. })), "{walked:?}");
        assert_eq!(pieces, 1);
    }

    #[test]
    fn neither_holes_nor_what_nobody_asked_about_are_read() {
        for (hole, tail) in [
            (true, Tail::Zeros),
            (false, Tail::Unread),
            (true, Tail::Unread),
        ] {
            assert!(matches!(walked(hole, tail), (Ok(0), 0)), "{hole} {tail:?}");
        }
    }
}
