//! A layer's entries, out of its tar, without input or output.

use std::collections::BTreeMap;

use lithify_tar::{Detail, Event, MemberKind, Parser};
use lithify_tree::{Convention, DataSegment, Entry, EntryKind, Metadata, TreePath};

use crate::{EntryFault, Error, Names};

/// Makes entries of a tar that is given to it piece by piece, by the same rules wherever the tar comes from.
///
/// ```
/// use lithify_layer::{Limits, Names, Step, TarEntries};
/// use lithify_tar::TarWriter;
/// use lithify_tree::{Entry, EntryKind, Metadata, TreePath};
///
/// let mut tar = TarWriter::new(Vec::new());
/// let path = TreePath::clean(b"hello")?;
/// tar.append(&Entry { path, metadata: Metadata::default(), kind: EntryKind::File { size: 5, segments: None } })?;
/// tar.data(b"world")?;
/// let tar = tar.finish()?;
///
/// let mut entries = TarEntries::new(&Limits::default(), Names::default());
/// let mut input = &tar[..];
/// let Step::Entry(entry) = entries.next(&mut input)? else { panic!() };
/// assert_eq!(entry.path.as_bytes(), b"hello");
/// // The data may be read, or passed over where it is elsewhere.
/// assert_eq!(entries.data_left(), 5);
/// assert!(input.starts_with(b"world"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TarEntries {
    parser: Parser,
    names: Names,
    /// The file whose data comes next.
    file: Option<File>,
}

/// A regular file: its size, and where its data is in it if it is sparse.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) size: u64,
    pub(crate) segments: Option<Vec<DataSegment>>,
}

/// What the next bytes of a tar are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The headers of an entry, to their end.
    Entry(Entry),
    /// The headers of a member that is part of no image.
    Passed,
    /// Something unfinished: there has to be more input, or [`TarEntries::finish`].
    NeedInput,
    /// The mark that ends the archive.
    End,
}

impl TarEntries {
    /// Starts at the beginning of a tar.
    #[must_use]
    pub fn new(limits: &crate::Limits, names: Names) -> Self {
        Self {
            parser: Parser::new(limits.tar(), Detail::Everything),
            names,
            file: None,
        }
    }

    /// Takes bytes off the front of `input`, data of the last entry that is left as well.
    ///
    /// # Errors
    /// [`Error::Tar`] or [`Error::Entry`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Step, Error> {
        match self.parser.next(input)? {
            Event::Member => match self.entry() {
                Ok(Some(entry)) => Ok(Step::Entry(entry)),
                Ok(None) => Ok(Step::Passed),
                Err(fault) => Err(self.parser.error(fault).into()),
            },
            Event::NeedInput => Ok(Step::NeedInput),
            Event::End => Ok(Step::End),
        }
    }

    /// Returns the bytes of data of the last entry that were not taken.
    #[must_use]
    pub fn data_left(&self) -> u64 {
        self.parser.data_left()
    }

    /// Says that bytes of data were taken, wherever they came from; at most [`data_left`](Self::data_left).
    pub fn take_data(&mut self, length: u64) {
        self.parser.take_data(length);
    }

    /// Ends the tar where the input ends.
    ///
    /// # Errors
    /// [`Error::Tar`] if something is unfinished.
    pub fn finish(&mut self) -> Result<(), Error> {
        Ok(self.parser.finish()?)
    }

    /// Returns the number of members so far.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.parser.entries()
    }

    /// Returns the error for a tar that goes on after its end: so many bytes behind it something is no zero.
    #[must_use]
    pub fn data_after_end(&self, beyond: u64) -> Error {
        self.parser.data_after_end(beyond).into()
    }

    /// Returns the attributes that were left out since this was asked last, by name, and of how many files.
    pub fn take_dropped(&mut self) -> BTreeMap<Vec<u8>, u64> {
        self.parser.take_dropped()
    }

    /// Returns the file whose data comes next, once.
    pub(crate) fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }

    /// Makes the present member an entry; `None` if it is none.
    fn entry(&mut self) -> Result<Option<Entry>, EntryFault> {
        let data = self.parser.data_left();
        let member = self.parser.member();
        self.file = None;
        let path = TreePath::clean(&member.path).map_err(EntryFault::Path)?;
        if self.names == Names::Plain && path.has_reserved_name() {
            return Err(EntryFault::ReservedName);
        }
        let path = match Convention::of(path)? {
            Convention::Ordinary(path) => path,
            Convention::Whiteout(path) => return Ok(Some(marker(path, EntryKind::Whiteout))),
            Convention::Opaque(path) => return Ok(Some(marker(path, EntryKind::Opaque))),
            // Hard links lead to these.
            Convention::AufsFile(path) if member.kind == MemberKind::File => path,
            Convention::AufsFile(_) | Convention::AufsLeftover => return Ok(None),
        };
        if path.is_root() && member.kind != MemberKind::Directory {
            return Err(EntryFault::RootNotDirectory {
                kind: member.kind.name(),
            });
        }
        let kind = match member.kind {
            MemberKind::File => {
                let segments = member.segments.take();
                debug_assert!(segments.is_some() || data == member.size);
                self.file = Some(File {
                    size: member.size,
                    segments: segments.clone(),
                });
                EntryKind::File {
                    size: member.size,
                    segments,
                }
            }
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::Symlink => EntryKind::Symlink {
                target: member.link_target.clone(),
            },
            MemberKind::HardLink => {
                let target =
                    TreePath::clean(&member.link_target).map_err(EntryFault::HardLinkTarget)?;
                EntryKind::HardLink { target }
            }
            MemberKind::CharDevice => EntryKind::CharDevice(member.device),
            MemberKind::BlockDevice => EntryKind::BlockDevice(member.device),
            MemberKind::Fifo => EntryKind::Fifo,
        };
        let metadata = Metadata {
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
            xattrs: std::mem::take(&mut member.xattrs),
        };
        Ok(Some(Entry {
            path,
            metadata,
            kind,
        }))
    }
}

/// An entry that says something of lower layers and has no properties of its own.
fn marker(path: TreePath, kind: EntryKind) -> Entry {
    Entry {
        path,
        metadata: Metadata::default(),
        kind,
    }
}
