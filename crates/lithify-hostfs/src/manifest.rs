//! A directory as a manifest: one line per name, everything about it, comparable.

use std::fmt;
use std::path::Path;

use lithify_digest::{Algorithm, Digest, Hasher};
use lithify_tree::{ContentId, ContentSink, DataSegment, Device, EntryKind, Metadata};

use crate::scan::{CopyError, ScanError, ScanOptions, Scanner, WhiteoutNames};
use crate::text::{Hex, Percent};

/// One name of a directory tree.
///
/// Shown as one line of words, the path first, in the manner of `mtree(5)`. Bytes other than printable ASCII appear as
/// `%XX`, so lines can be sorted, split and compared as text:
///
/// ```text
/// usr/bin/ping type=file mode=0755 uid=0 gid=0 time=1700000000.000000000 xattr.security.capability=0100… size=5 sha256=2cf2…
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// Path from the top of the tree; empty for the top itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: LineKind,
    /// Mode, owner, time, attributes. Every name of a hard-linked file has those of the file.
    pub metadata: Metadata,
    /// The first name of the same file, if the tree has several; the first has its own.
    pub link_group: Option<Vec<u8>>,
}

/// What a [`Line`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineKind {
    /// A regular file.
    File {
        /// Apparent size in bytes.
        size: u64,
        /// SHA-256 of the content, holes as zeros.
        digest: Digest,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Its target's bytes.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            LineKind::File { .. } => "file",
            LineKind::Directory => "dir",
            LineKind::Symlink { .. } => "link",
            LineKind::CharDevice(_) => "char",
            LineKind::BlockDevice(_) => "block",
            LineKind::Fifo => "fifo",
            LineKind::Socket => "socket",
        };
        let m = &self.metadata;
        let path: &[u8] = if self.path.is_empty() {
            b"."
        } else {
            &self.path
        };
        write!(
            f,
            "{} type={kind} mode={:04o} uid={} gid={} time={}.{:09}",
            Percent(path),
            m.mode,
            m.uid,
            m.gid,
            m.mtime.seconds,
            m.mtime.nanoseconds
        )?;
        for (name, value) in m.xattrs.iter() {
            write!(f, " xattr.{}={}", Percent(name), Hex(value))?;
        }
        match &self.kind {
            LineKind::File { size, digest } => write!(f, " size={size} sha256={}", digest.hex())?,
            LineKind::Symlink { target } => write!(f, " target={}", Percent(target))?,
            LineKind::CharDevice(d) | LineKind::BlockDevice(d) => {
                write!(f, " device={}:{}", d.major, d.minor)?;
            }
            LineKind::Directory | LineKind::Fifo | LineKind::Socket => {}
        }
        if let Some(first) = &self.link_group {
            write!(f, " hardlink={}", Percent(first))?;
        }
        Ok(())
    }
}

/// The manifest of a directory: every name below it, `.wh.` names too, in the order of [`Scanner`]. What a file beside it says
/// is no part of it.
///
/// Two directories with equal manifests cannot be told apart by reading them, except by change and access times,
/// inode numbers and where sparse files have their holes.
///
/// # Errors
/// [`ScanError`] when anything cannot be read.
pub fn snapshot(directory: impl AsRef<Path>) -> Result<Vec<Line>, ScanError> {
    let options = ScanOptions {
        whiteouts: WhiteoutNames::Literal,
        sidecar: false,
        ..ScanOptions::default()
    };
    snapshot_with(directory, options)
}

/// Like [`snapshot`], of what the options leave. Whiteouts and opaque markers have no line.
///
/// # Errors
/// [`ScanError`] when anything cannot be read.
pub fn snapshot_with(
    directory: impl AsRef<Path>,
    options: ScanOptions,
) -> Result<Vec<Line>, ScanError> {
    let mut scanner = Scanner::open(directory, options)?;
    let mut lines: Vec<Line> = Vec::new();
    while let Some(entry) = scanner.next_entry()? {
        let path = entry.path.as_bytes().to_vec();
        let kind = match entry.kind {
            EntryKind::File { size, .. } => LineKind::File {
                size,
                digest: digest(&mut scanner)?,
            },
            EntryKind::Directory => LineKind::Directory,
            EntryKind::Symlink { target } => LineKind::Symlink { target },
            EntryKind::CharDevice(d) => LineKind::CharDevice(d),
            EntryKind::BlockDevice(d) => LineKind::BlockDevice(d),
            EntryKind::Fifo => LineKind::Fifo,
            EntryKind::Socket => LineKind::Socket,
            EntryKind::HardLink { target } => {
                let group = target.as_bytes().to_vec();
                let Some(first) = find(&lines, &group) else {
                    unreachable!("a hard link comes after the first name of its file");
                };
                lines[first].link_group = Some(group.clone());
                let line = Line {
                    path,
                    ..lines[first].clone()
                };
                lines.push(line);
                continue;
            }
            _ => continue,
        };
        lines.push(Line {
            path,
            kind,
            metadata: entry.metadata,
            link_group: None,
        });
    }
    Ok(lines)
}

/// The line of a path, among lines in the order of a walk: component by component, the top first.
fn find(lines: &[Line], path: &[u8]) -> Option<usize> {
    let components = |p| <[u8]>::split(p, |&b| b == b'/');
    lines
        .binary_search_by(|line| match line.path.is_empty() {
            true => std::cmp::Ordering::Less,
            false => components(&line.path).cmp(components(path)),
        })
        .ok()
}

fn digest(scanner: &mut Scanner) -> Result<Digest, ScanError> {
    let mut sink = HashSink::default();
    match scanner.copy_into(&mut sink) {
        Ok(_) => {}
        Err(CopyError::Scan(e)) => return Err(e),
        Err(CopyError::Sink(never)) => match never {},
        Err(CopyError::NoFile) => unreachable!("called right after a regular file's entry"),
    }
    Ok(sink.hasher.finish())
}

/// Digest of a file's content with its holes as zeros.
struct HashSink {
    hasher: Hasher,
    /// Data segments to come, last first, with what is left of the current one on top.
    segments: Vec<DataSegment>,
    at: u64,
    size: u64,
}

impl Default for HashSink {
    fn default() -> Self {
        Self {
            hasher: Hasher::new(Algorithm::Sha256),
            segments: Vec::new(),
            at: 0,
            size: 0,
        }
    }
}

impl HashSink {
    fn zeros_to(&mut self, end: u64) {
        static ZEROS: [u8; 65536] = [0; 65536];
        while self.at < end {
            let piece = (end - self.at).min(ZEROS.len() as u64);
            self.hasher.update(&ZEROS[..piece as usize]);
            self.at += piece;
        }
    }
}

impl ContentSink for HashSink {
    type Error = std::convert::Infallible;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        self.size = size;
        self.segments = match segments {
            Some(segments) => segments.iter().rev().copied().collect(),
            None => vec![DataSegment {
                offset: 0,
                length: size,
            }],
        };
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), Self::Error> {
        while let Some(segment) = self.segments.pop() {
            self.zeros_to(segment.offset);
            let piece = segment.length.min(data.len() as u64);
            let (now, later) = data.split_at(piece as usize);
            self.hasher.update(now);
            self.at += piece;
            data = later;
            if piece < segment.length {
                self.segments.push(DataSegment {
                    offset: self.at,
                    length: segment.length - piece,
                });
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        self.zeros_to(self.size);
        Ok(ContentId(0))
    }
}
