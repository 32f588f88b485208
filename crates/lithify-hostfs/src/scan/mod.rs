//! Reading a host directory as one layer.
//!
//! The parts that stand alone have files of their own; what is left is one walk, whose steps share its position and what it holds
//! open.

mod error;
mod fingerprint;
mod links;
mod listing;
mod options;
pub(crate) mod segments; // data of sparse files
mod stamp;
mod xattrs;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_tree::{
    ContentId, ContentSink, Convention, DataSegment, Device, Entry, EntryKind, Metadata, Timestamp,
    TreePath,
};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawMode, Stat, fstat, major, minor, openat};
use rustix::io::Errno;

use crate::dirs::{DirStack, FileId, PopError};
use crate::sidecar::{RecordedSummary, RestoreError, Restored, Sidecar};
use crate::sys::{self, Handle};

pub use self::segments::segments;
pub use error::{Change, CopyError, ScanError};
pub use fingerprint::Fingerprint;
use links::Links;
pub(crate) use listing::Listing;
pub use options::{ScanOptions, Summary, WhiteoutNames};
use stamp::Stamp;
use xattrs::{XattrFailure, XattrReader};

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// Walks a host directory as one layer.
///
/// Entries come in one order for one content: every directory before what is in it, siblings sorted bytewise. The
/// first is the directory itself, as the root. Symbolic links are entries, never followed. Of the names of a
/// hard-linked file the first is the file, later ones are [`EntryKind::HardLink`]. Sockets, pipes and devices are entries,
/// never opened. Filesystems mounted inside are walked too, unless [`ScanOptions::one_file_system`].
///
/// Drive it like a layer: [`next_entry`](Self::next_entry) until `None`, [`copy_into`](Self::copy_into) after every
/// [`EntryKind::File`] whose data is wanted, [`finish`](Self::finish).
///
/// The directory may change during the scan, or be changed by someone hostile: a name is opened once and everything
/// about it learned through that handle, so the worst that can be seen is a file that someone put there. A file or
/// directory that changes between its entry and the end of its data or content is an error, [`ScanError::Changed`], as
/// far as size and change times tell (kernels before 6.13 count those in ticks of up to 10 ms).
#[derive(Debug)]
pub struct Scanner {
    root: PathBuf,
    root_device: u64,
    options: ScanOptions,
    /// Open directories and, for each, what is still to do in it; empty when the scan is over.
    dirs: DirStack,
    levels: Vec<Level>,
    /// Path of the current directory.
    path: Vec<u8>,
    links: Links,
    /// The file of the last entry, if its data has not been read.
    file: Option<OpenFile>,
    xattrs: XattrReader,
    buffer: Vec<u8>,
    fingerprint: Fingerprint,
    started: bool,
    summary: Counts,
    /// What was written about files when the directory was made, and what became of that.
    recorded: Option<(Sidecar, RecordedSummary)>,
}

/// Files named in a [`RecordedSummary`].
const EXAMPLES: usize = 8;

#[derive(Debug, Default)]
struct Counts {
    entries: u64,
    bytes: u64,
    foreign_xattrs: u64,
}

#[derive(Debug)]
struct Level {
    listing: Listing,
    stamp: Stamp,
    /// Length of the parent's path.
    parent_length: usize,
}

#[derive(Debug)]
struct OpenFile {
    fd: OwnedFd,
    path: TreePath,
    stamp: Stamp,
    size: u64,
    segments: Option<Vec<DataSegment>>,
}

impl Scanner {
    /// Opens a directory. The path itself may lead through symbolic links; nothing below it does.
    ///
    /// # Errors
    /// [`ScanError`] when it is not a directory or cannot be read.
    pub fn open(directory: impl AsRef<Path>, options: ScanOptions) -> Result<Self, ScanError> {
        let root = directory.as_ref().to_path_buf();
        if !sys::has_proc() {
            return Err(ScanError::NoProc);
        }
        let fail = |operation, path: &Path, e: Errno| match e {
            Errno::NOTDIR => ScanError::NotDirectory {
                path: path.to_path_buf(),
            },
            e => ScanError::Io {
                operation,
                path: path.to_path_buf(),
                source: e.into(),
            },
        };
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, options.no_link);
        let fd = openat(CWD, &root, flags, Mode::empty()).map_err(|e| fail("open", &root, e))?;
        let stat = fstat(&fd).map_err(|e| fail("stat", &root, e))?;
        let mut scanner = Self::of_directory(fd, root, options)?;
        if scanner.options.sidecar {
            let found = Sidecar::beside(
                &scanner.root,
                &stat,
                scanner.options.entries_max,
                &scanner.options.cancel,
            );
            scanner.recorded = found
                .map_err(|e| match scanner.options.cancel.check() {
                    Ok(()) => ScanError::Sidecar(Box::new(e)),
                    Err(cancelled) => cancelled.into(),
                })?
                .map(|sidecar| (sidecar, RecordedSummary::default()));
        }
        Ok(scanner)
    }

    /// Walks a directory that is open; `root` is its path in messages.
    pub(crate) fn of_directory(
        fd: OwnedFd,
        root: PathBuf,
        options: ScanOptions,
    ) -> Result<Self, ScanError> {
        let stat = fstat(&fd).map_err(|e| ScanError::Io {
            operation: "stat",
            path: root.clone(),
            source: e.into(),
        })?;
        Ok(Self {
            root,
            root_device: FileId::of(&stat).device(),
            options,
            dirs: DirStack::new(fd),
            levels: Vec::new(),
            path: Vec::new(),
            links: Links::default(),
            file: None,
            xattrs: XattrReader::new(),
            buffer: Vec::new(),
            fingerprint: Fingerprint::new(),
            started: false,
            summary: Counts::default(),
            recorded: None,
        })
    }

    /// The next entry; `None` when the directory has been walked. Data of the entry before that nobody took is read
    /// and counts for the digest.
    ///
    /// # Errors
    /// [`ScanError`]; the scan must not be used further then.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ScanError> {
        self.options.cancel.check()?;
        if self.file.is_some() {
            match self.copy_into(&mut Discard) {
                Ok(_) | Err(CopyError::NoFile) => {}
                Err(CopyError::Scan(e)) => return Err(e),
                Err(CopyError::Sink(never)) => match never {},
            }
        }
        let entry = if self.started {
            self.advance()?
        } else {
            self.started = true;
            Some(self.root_entry()?)
        };
        if let Some(entry) = &entry {
            self.summary.entries += 1;
            if self.summary.entries > self.options.entries_max {
                return Err(self.too_many(&entry.path, self.options.entries_max));
            }
            self.fingerprint.entry(entry);
        }
        Ok(entry)
    }

    /// Writes the data of the last entry, a regular file, to a sink.
    ///
    /// # Errors
    /// [`CopyError`]: the file cannot be read or changed meanwhile, the sink refuses, or there is no data to copy.
    pub fn copy_into<S: ContentSink>(
        &mut self,
        sink: &mut S,
    ) -> Result<ContentId, CopyError<S::Error>> {
        let Some(file) = self.file.take() else {
            return Err(CopyError::NoFile);
        };
        let whole = [DataSegment {
            offset: 0,
            length: file.size,
        }];
        let segments = file.segments.as_deref().unwrap_or(&whole);
        sink.begin(file.size, file.segments.as_deref())
            .map_err(CopyError::Sink)?;
        sink.is_host_file(file.fd.as_fd())
            .map_err(CopyError::Sink)?;
        self.buffer.resize(CHUNK, 0);
        for segment in segments {
            let (mut at, mut left) = (segment.offset, segment.length);
            while left > 0 {
                self.options.cancel.check().map_err(ScanError::from)?;
                let wanted = left.min(CHUNK as u64) as usize;
                let read = rustix::io::retry_on_intr(|| {
                    rustix::io::pread(&file.fd, &mut self.buffer[..wanted], at)
                })
                .map_err(|e| self.error("read", &file.path, e.into()))?;
                if read == 0 {
                    let (expected, found) = (file.size, at);
                    let change = Change::Size { expected, found };
                    return Err(self.changed(file.path.as_bytes(), change).into());
                }
                let data = &self.buffer[..read];
                self.fingerprint.data(data);
                sink.write(data).map_err(CopyError::Sink)?;
                at += read as u64;
                left -= read as u64;
                self.summary.bytes += read as u64;
            }
        }
        let after = fstat(&file.fd).map_err(|e| self.error("stat", &file.path, e.into()))?;
        if let Some(change) = file.stamp.change(&Stamp::of(&after)) {
            return Err(self.changed(file.path.as_bytes(), change).into());
        }
        sink.finish().map_err(CopyError::Sink)
    }

    /// Leaves out the data of the last entry, which then does not count for the digest either.
    pub(crate) fn skip_data(&mut self) {
        self.file = None;
    }

    /// Has the data of the last entry, a regular file, read from another file; what kind of entry that makes it.
    pub(crate) fn replace_data(
        &mut self,
        fd: OwnedFd,
        path: &TreePath,
    ) -> Result<EntryKind, ScanError> {
        let stat = fstat(&fd).map_err(|source| self.error("stat", path, source.into()))?;
        if FileType::from_raw_mode(stat.st_mode as RawMode) != FileType::RegularFile {
            return Err(self.changed(path.as_bytes(), Change::Replaced));
        }
        self.data_of(fd, path, &stat)
    }

    pub(crate) fn too_many(&self, path: &TreePath, limit: u64) -> ScanError {
        ScanError::TooManyEntries {
            path: self.host_path(path.as_bytes()),
            limit,
        }
    }

    /// Ends the scan: walks what is left of the directory, so that the digest is always that of all of it.
    ///
    /// # Errors
    /// [`ScanError`] while walking.
    pub fn finish(mut self) -> Result<Summary, ScanError> {
        while self.next_entry()?.is_some() {}
        let recorded = self.recorded();
        Ok(Summary {
            digest: self.fingerprint.finish(),
            entries: self.summary.entries,
            bytes: self.summary.bytes,
            foreign_xattrs: self.summary.foreign_xattrs,
            recorded,
        })
    }

    /// What became of the file beside the directory.
    pub(crate) fn recorded(&self) -> Option<RecordedSummary> {
        let (sidecar, summary) = self.recorded.as_ref()?;
        let (gone, gone_examples) = sidecar.gone(EXAMPLES);
        Some(RecordedSummary {
            gone,
            gone_examples,
            ..summary.clone()
        })
    }

    /// Gives a file what was written about it.
    fn restore(&mut self, stat: &Stat, entry: &mut Entry) -> Result<(), ScanError> {
        let Some((sidecar, summary)) = &mut self.recorded else {
            return Ok(());
        };
        let path = &entry.path;
        let file = self.file.as_ref().map(|file| &file.fd);
        let file = file.map(|file| Checked::new(file, &self.options.cancel));
        let restored = sidecar.restore(
            path,
            stat,
            &mut entry.metadata,
            &mut entry.kind,
            file,
            &self.options.exclude_xattrs,
        );
        match restored {
            Ok(Restored::Unknown) => {}
            Ok(Restored::Done) => summary.restored += 1,
            Ok(Restored::Changed) => {
                summary.changed += 1;
                if summary.examples.len() < EXAMPLES {
                    summary.examples.push(path.clone());
                }
            }
            Err(RestoreError::Io(source)) => return Err(self.error("read", path, source)),
            Err(RestoreError::Xattr(source)) => {
                return Err(ScanError::XattrInvalid {
                    path: self.host_path(path.as_bytes()),
                    source,
                });
            }
        }
        // A device that an empty file stood for has no data.
        if !matches!(entry.kind, EntryKind::File { .. }) {
            self.file = None;
        }
        Ok(())
    }

    fn root_entry(&mut self) -> Result<Entry, ScanError> {
        let path = TreePath::root();
        let (handle, stat) = Handle::open(self.dirs.top(), b".")
            .map_err(|source| self.error("open", &path, source))?;
        let metadata = self.metadata(&path, &handle, &stat)?;
        self.list(&path, 0)?;
        let mut entry = Entry {
            path,
            metadata,
            kind: EntryKind::Directory,
        };
        self.restore(&stat, &mut entry)?;
        Ok(entry)
    }

    /// Lists the directory just pushed.
    fn list(&mut self, path: &TreePath, parent_length: usize) -> Result<(), ScanError> {
        // Stamped first: whatever is added or removed afterwards shows.
        let stat =
            fstat(self.dirs.top()).map_err(|source| self.error("stat", path, source.into()))?;
        let listing = Listing::read(self.dirs.top(), &self.options.cancel)
            .map_err(|source| self.error("list", path, source))?;
        self.levels.push(Level {
            listing,
            stamp: Stamp::of(&stat),
            parent_length,
        });
        Ok(())
    }

    /// The next entry after the root's.
    fn advance(&mut self) -> Result<Option<Entry>, ScanError> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.listing.next() else {
                self.leave()?;
                continue;
            };
            let name = name.to_vec();
            if let Some(entry) = self.visit(&name)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Leaves the current directory.
    fn leave(&mut self) -> Result<(), ScanError> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        let after = fstat(self.dirs.top()).map_err(|source| ScanError::Io {
            operation: "stat",
            path: self.host_path(&self.path),
            source: source.into(),
        })?;
        if let Some(change) = level.stamp.change(&Stamp::of(&after)) {
            // The size of a directory says nothing to anyone.
            let change = match change {
                Change::Size { .. } => Change::Modified,
                other => other,
            };
            return Err(self.changed(&self.path, change));
        }
        if !self.levels.is_empty() {
            self.dirs.pop().map_err(|e| match e {
                PopError::Moved => self.changed(&self.path, Change::Moved),
                PopError::Io(source) => ScanError::Io {
                    operation: "open the parent of",
                    path: self.host_path(&self.path),
                    source,
                },
            })?;
        }
        self.path.truncate(level.parent_length);
        Ok(())
    }

    /// What a name of the current directory amounts to; `None` for what is left out.
    fn visit(&mut self, name: &[u8]) -> Result<Option<Entry>, ScanError> {
        let parent_length = self.path.len();
        let mut bytes = Vec::with_capacity(parent_length + 1 + name.len());
        bytes.extend_from_slice(&self.path);
        if parent_length != 0 {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        let path = TreePath::clean(&bytes).map_err(|source| ScanError::Path {
            path: self.host_path(&bytes),
            source,
        })?;
        let marker = match self.marker(&path)? {
            Marker::Skip => return Ok(None),
            Marker::None => None,
            Marker::Entry(entry) => Some(entry),
        };

        let (handle, stat) = Handle::open(self.dirs.top(), name)
            .map_err(|source| self.error("open", &path, source))?;
        let kind = FileType::from_raw_mode(stat.st_mode as RawMode);
        let is_directory = kind == FileType::Directory;
        let elsewhere = self.options.one_file_system && !FileId::of(&stat).is_on(self.root_device);
        if elsewhere && !is_directory {
            return Ok(None);
        }
        let entry = match marker {
            Some(entry) => entry,
            None => self.entry(path.clone(), name, &handle, &stat, kind)?,
        };
        if is_directory && !elsewhere {
            let fd = handle
                .directory(self.dirs.top(), name)
                .map_err(|source| self.error("open", &path, source))?;
            self.dirs
                .push(fd)
                .map_err(|source| self.error("stat", &path, source))?;
            self.path = bytes;
            self.list(&path, parent_length)?;
        }
        Ok(Some(entry))
    }

    /// What the naming convention of layers makes of a path.
    fn marker(&self, path: &TreePath) -> Result<Marker, ScanError> {
        if self.options.whiteouts == WhiteoutNames::Literal {
            return Ok(Marker::None);
        }
        if self.options.whiteouts == WhiteoutNames::Refused {
            return match path.has_reserved_name() {
                false => Ok(Marker::None),
                true => Err(ScanError::ReservedName {
                    path: self.host_path(path.as_bytes()),
                }),
            };
        }
        let found = Convention::of(path.clone()).map_err(|source| ScanError::Whiteout {
            path: self.host_path(path.as_bytes()),
            source,
        })?;
        let (path, kind) = match found {
            Convention::Ordinary(_) => return Ok(Marker::None),
            Convention::AufsFile(_) | Convention::AufsLeftover => return Ok(Marker::Skip),
            Convention::Whiteout(path) => (path, EntryKind::Whiteout),
            Convention::Opaque(path) => (path, EntryKind::Opaque),
        };
        let metadata = Metadata::default();
        Ok(Marker::Entry(Entry {
            path,
            metadata,
            kind,
        }))
    }

    fn entry(
        &mut self,
        path: TreePath,
        name: &[u8],
        handle: &Handle,
        stat: &Stat,
        kind: FileType,
    ) -> Result<Entry, ScanError> {
        if kind != FileType::Directory
            && let Some(target) = self.links.first_name(stat, &path)
        {
            return Ok(Entry {
                path,
                metadata: Metadata::default(),
                kind: EntryKind::HardLink { target },
            });
        }
        let metadata = self.metadata(&path, handle, stat)?;
        let kind = match kind {
            FileType::RegularFile => self.file(&path, name, handle, stat)?,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink {
                target: handle
                    .link_target(self.dirs.top(), name)
                    .map_err(|source| self.error("read the target of", &path, source))?,
            },
            FileType::CharacterDevice => EntryKind::CharDevice(device(stat)),
            FileType::BlockDevice => EntryKind::BlockDevice(device(stat)),
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => EntryKind::Socket,
            _ => {
                return Err(ScanError::FileType {
                    path: self.host_path(path.as_bytes()),
                    #[allow(clippy::useless_conversion, reason = "16 bits on some systems")]
                    mode: u32::from(stat.st_mode) & 0o170_000,
                });
            }
        };
        let mut entry = Entry {
            path,
            metadata,
            kind,
        };
        self.restore(stat, &mut entry)?;
        Ok(entry)
    }

    fn file(
        &mut self,
        path: &TreePath,
        name: &[u8],
        handle: &Handle,
        stat: &Stat,
    ) -> Result<EntryKind, ScanError> {
        let fd = handle
            .file(self.dirs.top(), name)
            .map_err(|source| self.error("open", path, source))?;
        self.data_of(fd, path, stat)
    }

    /// The entry of an open regular file, whose data comes next.
    fn data_of(
        &mut self,
        fd: OwnedFd,
        path: &TreePath,
        stat: &Stat,
    ) -> Result<EntryKind, ScanError> {
        let size = stat.st_size as u64;
        // Blocks are of 512 bytes, whatever the filesystem's are.
        let sparse = (stat.st_blocks as u64).saturating_mul(512) < size;
        let segments = if sparse {
            segments::segments(fd.as_fd(), size, &self.options.cancel)
                .map_err(|source| self.error("find the holes of", path, source))?
        } else {
            None
        };
        self.file = Some(OpenFile {
            fd,
            path: path.clone(),
            stamp: Stamp::of(stat),
            size,
            segments: segments.clone(),
        });
        Ok(EntryKind::File { size, segments })
    }

    #[allow(
        clippy::unnecessary_cast,
        reason = "the fields' types differ between systems"
    )]
    fn metadata(
        &mut self,
        path: &TreePath,
        handle: &Handle,
        stat: &Stat,
    ) -> Result<Metadata, ScanError> {
        let (xattrs, foreign) = self
            .xattrs
            .read(handle, &self.options.exclude_xattrs)
            .map_err(|failure| {
                let path = self.host_path(path.as_bytes());
                match failure {
                    XattrFailure::List(source) => ScanError::Io {
                        operation: "list the extended attributes of",
                        path,
                        source,
                    },
                    XattrFailure::Get { name, source } => ScanError::Xattr { path, name, source },
                    XattrFailure::Invalid(source) => ScanError::XattrInvalid { path, source },
                }
            })?;
        self.summary.foreign_xattrs += foreign;
        Ok(Metadata {
            mode: (stat.st_mode & 0o7777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Timestamp {
                seconds: stat.st_mtime as i64,
                // Below 10⁹.
                nanoseconds: stat.st_mtime_nsec as u32,
            },
            xattrs,
        })
    }

    fn host_path(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(OsStr::from_bytes(path))
        }
    }

    fn changed(&self, path: &[u8], change: Change) -> ScanError {
        ScanError::Changed {
            path: self.host_path(path),
            change,
        }
    }

    /// The error for a failed call: a scan that was stopped fails for that, a name that is gone has changed, everything else is
    /// the system's.
    fn error(&self, operation: &'static str, path: &TreePath, source: io::Error) -> ScanError {
        if let Err(cancelled) = self.options.cancel.check() {
            return cancelled.into();
        }
        let gone = [Errno::NOENT, Errno::STALE, Errno::LOOP, Errno::NOTDIR];
        match Errno::from_io_error(&source) {
            Some(e) if gone.contains(&e) => self.changed(path.as_bytes(), Change::Replaced),
            _ => ScanError::Io {
                operation,
                path: self.host_path(path.as_bytes()),
                source,
            },
        }
    }
}

/// What a name says by the convention of layers.
enum Marker {
    None,
    Skip,
    Entry(Entry),
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the fields' types differ between systems"
)]
fn device(stat: &Stat) -> Device {
    Device {
        major: major(stat.st_rdev) as u32,
        minor: minor(stat.st_rdev) as u32,
    }
}

/// Takes data nobody wants.
struct Discard;

impl ContentSink for Discard {
    type Error = std::convert::Infallible;

    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}
