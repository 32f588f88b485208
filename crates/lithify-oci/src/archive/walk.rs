//! The one pass over the headers: the parser of [`lithify_tar`], with seeks over what it does not ask for.
//!
//! What is no tar, and what readers would take differently, the parser refuses, by the same rules as in layers. What is added here is
//! of archives: names stay within them, members lie in one piece, a file of no bytes is none, and the limits have names of their own.

use lithify_tar::{
    BLOCK, Demand, Detail, Event, Limit, LimitExceeded, MemberKind, Parser, TarError, TarFault,
};

use super::entries::{Entries, Entry, clean};
use super::read_at::{Extent, ReadAt, fill};
use super::{Error, MAX_NAME};
use crate::Limits;

/// Bytes of a header.
const HEADER: u64 = BLOCK as u64;

/// Bytes read at once, of extended headers and of zeros.
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
    match len {
        // What somebody only began to write. A layer of no bytes is one without entries.
        0 => return Err(truncated("the first header", 0, len)),
        1..HEADER => return Err(Error::NotTar),
        _ => {}
    }
    let refused = |error| refused(error, limits, len);
    let mut parser = Parser::new(of_tar(limits), Detail::Placement);
    let mut entries = Entries::default();
    let mut name_bytes = 0;
    let mut buffer = vec![0; PIECE];
    let mut at = 0u64;
    loop {
        let left = len.saturating_sub(at);
        let event = match parser.demand() {
            Demand::Nothing => break,
            Demand::Skippable(count) if left > 0 => {
                let count = count.min(left);
                parser.skip(count);
                at += count;
                continue;
            }
            Demand::Bytes(count) if count == 0 || left > 0 => {
                let count = usize::try_from(count.min(left)).unwrap_or(usize::MAX);
                let piece = &mut buffer[..count.min(PIECE)];
                // It has become shorter, which is as if it had ended there.
                if !fill(data, piece, at).map_err(io)? {
                    return Err(truncated("what was read", at, len));
                }
                let mut input = &*piece;
                let event = parser.next(&mut input).map_err(refused)?;
                at += (piece.len() - input.len()) as u64;
                event
            }
            Demand::Skippable(_) | Demand::Bytes(_) => {
                parser.finish().map_err(refused)?;
                return Ok(entries);
            }
        };
        if event == Event::Member {
            let (name, entry) = entry(&mut parser)?;
            let member = parser.member();
            name_bytes += member.path.len() + member.link_target.len();
            if name_bytes > limits.archive_names {
                let limit = limits.archive_names;
                return Err(Error::TooManyNames { limit });
            }
            // The root directory has no name of its own.
            if !name.is_empty() {
                entries.insert(name, entry);
            }
        }
    }
    if tail == Tail::Zeros
        && let Some(found) = first_data(data, at, len).map_err(io)?
    {
        return Err(parser.data_after_end(found - at).into());
    }
    Ok(entries)
}

/// The member the parser is at, under its clean name.
fn entry(parser: &mut Parser) -> Result<(Vec<u8>, Entry), Error> {
    let extent = Extent {
        offset: parser.offset(),
        len: parser.data_left(),
    };
    let member = parser.member();
    let clean = |name: &[u8]| {
        clean(name).ok_or_else(|| Error::Name {
            offset: member.offset,
            name: name.to_vec(),
        })
    };
    let entry = match member.kind {
        MemberKind::File => Entry::File(extent),
        MemberKind::HardLink => Entry::Hardlink(clean(&member.link_target)?.into()),
        MemberKind::Symlink => Entry::Symlink(member.link_target.as_slice().into()),
        _ => Entry::Other,
    };
    Ok((clean(&member.path)?, entry))
}

/// The limits of a tar that is an archive.
fn of_tar(limits: &Limits) -> lithify_tar::Limits {
    let mut tar = lithify_tar::Limits::default();
    tar.entries = limits.archive_entries as u64;
    tar.path_bytes = MAX_NAME as u64;
    tar.metadata_bytes = limits.archive_header_bytes;
    // Members end within the archive.
    tar.file_bytes = u64::MAX;
    tar
}

/// An error of the parser as one of an archive of `len` bytes, whose limits have names of their own.
fn refused(error: TarError, limits: &Limits, len: u64) -> Error {
    let offset = error.offset;
    match error.fault {
        TarFault::Checksum { .. } if offset == 0 => Error::NotTar,
        TarFault::Truncated { what, .. } => truncated(what, offset, len),
        TarFault::Limit(LimitExceeded { limit, found, .. }) => match limit {
            Limit::Entries => Error::TooManyEntries {
                limit: limits.archive_entries,
            },
            Limit::PathBytes => Error::NameTooLong { offset, found },
            Limit::MetadataBytes => Error::ExtensionTooLarge {
                offset,
                found,
                limit: limits.archive_header_bytes,
            },
            _ => error.into(),
        },
        _ => error.into(),
    }
}

fn truncated(what: &'static str, offset: u64, len: u64) -> Error {
    Error::Truncated { what, offset, len }
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
