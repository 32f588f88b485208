//! The file beside a directory, read. It comes from outside: everything in it has a limit, nothing in it names a host path.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use lithify_cancel::{CancelToken, Checked};
use lithify_digest::Digest;
use lithify_tree::{Device, Timestamp, TreePath, Xattrs};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, RawMode, Stat, fstat, openat};
use rustix::io::Errno;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::error::{SidecarError, SidecarFault};
use super::{FORMAT, SIDECAR_SUFFIX, Special, VERSION};

/// Bytes of the whole file: eight million lines of the usual length.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of one line: every attribute Linux lets a file have, twice.
const LINE_MAX: u64 = 64 << 20;

/// What was written about the files of a directory, by path.
#[derive(Debug, Default)]
pub(crate) struct Sidecar {
    /// Whose it is.
    pub(crate) owner: u32,
    lines: Lines,
}

/// The lines, of which several can be of one file.
#[derive(Debug, Default)]
struct Lines {
    /// In the file's order, and whether the scan met the file by any name.
    records: Vec<(Record, bool)>,
    names: HashMap<TreePath, Name>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    record: usize,
    /// Whether the record is in this name's line.
    is_first: bool,
}

/// What one file lacks, and what it was when that was written.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) node: Option<Special>,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: Option<u16>,
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) xattrs: Xattrs,
    pub(crate) is: FileType,
    /// Size and modification time in the directory; directories have none.
    pub(crate) found: Option<(u64, Timestamp)>,
    pub(crate) sha256: Option<Box<Digest>>,
}

impl Sidecar {
    /// The file beside a directory that is open, of at most so many lines; `None` if there is none.
    pub(crate) fn beside(
        directory: &Path,
        stat: &Stat,
        lines_max: u64,
        cancel: &CancelToken,
    ) -> Result<Option<Self>, SidecarError> {
        // The name it was written beside, whatever links and dots the path at hand has.
        let Ok(real) = directory.canonicalize() else {
            return Ok(None);
        };
        if real.file_name().is_none() {
            return Ok(None);
        }
        let mut path = OsString::from(real);
        path.push(SIDECAR_SUFFIX);
        let path = PathBuf::from(path);
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd: OwnedFd = match openat(CWD, &path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(None),
            // A symbolic link; a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(SidecarError::NotFile { path }),
            Err(e) => {
                let source = e.into();
                return Err(SidecarError::Io { path, source });
            }
        };
        let own = match fstat(&fd) {
            Ok(stat) => stat,
            Err(e) => {
                let source = e.into();
                return Err(SidecarError::Io { path, source });
            }
        };
        if FileType::from_raw_mode(own.st_mode as RawMode) != FileType::RegularFile {
            return Err(SidecarError::NotFile { path });
        }
        let trusted = [stat.st_uid, 0, rustix::process::geteuid().as_raw()];
        if !trusted.contains(&own.st_uid) {
            return Err(SidecarError::Owner {
                path,
                owner: own.st_uid,
                expected: stat.st_uid,
            });
        }
        #[allow(clippy::useless_conversion, reason = "16 bits on some systems")]
        let mode = u32::from(own.st_mode) & 0o7777;
        if mode & 0o022 != 0 {
            return Err(SidecarError::Writable { path, mode });
        }
        let reader = BufReader::with_capacity(1 << 16, Checked::new(File::from(fd), cancel));
        Ok(Some(Self {
            owner: own.st_uid,
            lines: read(reader, &path, lines_max)?,
        }))
    }
}

impl Sidecar {
    /// What was written about the file of a name, which has been met now.
    pub(super) fn record(&mut self, path: &TreePath) -> Option<&Record> {
        let name = self.lines.names.get(path)?;
        let (record, met) = self.lines.records.get_mut(name.record)?;
        *met = true;
        Some(record)
    }

    /// How many files were not met by any of their names, and the first names of some.
    pub(crate) fn gone(&self, examples: usize) -> (u64, Vec<TreePath>) {
        let is_gone = |index: usize| self.lines.records.get(index).is_some_and(|(_, met)| !met);
        let count = (0..self.lines.records.len()).filter(|&index| is_gone(index));
        let count = count.count() as u64;
        if count == 0 {
            return (0, Vec::new());
        }
        let mut gone: Vec<(usize, &TreePath)> = self
            .lines
            .names
            .iter()
            .filter(|(_, name)| name.is_first && is_gone(name.record))
            .map(|(path, name)| (name.record, path))
            .collect();
        gone.sort_unstable();
        let examples = gone.into_iter().take(examples);
        (count, examples.map(|(_, path)| path.clone()).collect())
    }
}

/// Reads all lines.
fn read(reader: impl BufRead, path: &Path, lines_max: u64) -> Result<Lines, SidecarError> {
    let too_large = |what, limit| SidecarError::TooLarge {
        path: path.to_path_buf(),
        what,
        limit,
    };
    let mut reader = reader.take(BYTES_MAX + 1);
    let mut lines = Lines::default();
    let mut text = Vec::new();
    let mut number = 0;
    loop {
        text.clear();
        let count = reader
            .by_ref()
            .take(LINE_MAX + 1)
            .read_until(b'\n', &mut text)
            .map_err(|source| SidecarError::Io {
                path: path.to_path_buf(),
                source,
            })?;
        if count == 0 && number > 0 {
            return Ok(lines);
        }
        number += 1;
        if reader.limit() == 0 {
            return Err(too_large("bytes", BYTES_MAX));
        }
        if count as u64 > LINE_MAX {
            return Err(too_large("bytes in a line", LINE_MAX));
        }
        if number > lines_max.saturating_add(1) {
            return Err(too_large("lines", lines_max));
        }
        let taken = match text.strip_suffix(b"\n") {
            None => Err(SidecarFault::Cut),
            Some(text) if number == 1 => header(text),
            Some(text) => line(text, &mut lines),
        };
        taken.map_err(|fault| SidecarError::Line {
            path: path.to_path_buf(),
            line: number,
            fault,
        })?;
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u32,
}

fn header(text: &[u8]) -> Result<(), SidecarFault> {
    match serde_json::from_slice::<Header<'_>>(text) {
        Ok(header) if header.format == FORMAT && header.version == VERSION => Ok(()),
        _ => Err(SidecarFault::Header),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    link: Option<Cow<'a, str>>,
    #[serde(rename = "type")]
    node: Option<NodeType>,
    major: Option<u32>,
    minor: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    #[serde(borrow)]
    mode: Option<Cow<'a, str>>,
    mtime: Option<(i64, u32)>,
    #[serde(borrow, default)]
    xattrs: Pairs<'a>,
    is: Option<FoundType>,
    size: Option<u64>,
    at: Option<(i64, u32)>,
    #[serde(borrow)]
    sha256: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NodeType {
    Char,
    Block,
    Fifo,
    Socket,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FoundType {
    File,
    Dir,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

/// The members of an object, each as it stands.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

impl RawLine<'_> {
    /// Whether all there is besides the path is what it is another name of.
    fn is_name_only(&self) -> bool {
        let Self {
            path: _,
            link: _,
            node: None,
            major: None,
            minor: None,
            uid: None,
            gid: None,
            mode: None,
            mtime: None,
            xattrs: Pairs(xattrs),
            is: None,
            size: None,
            at: None,
            sha256: None,
        } = self
        else {
            return false;
        };
        xattrs.is_empty()
    }
}

/// A path as it is spelled in the file.
fn path(member: &'static str, text: &str) -> Result<TreePath, SidecarFault> {
    let wrong = |expected| SidecarFault::Member { member, expected };
    let bytes = percent(text).ok_or(wrong("text with bytes as %XX"))?;
    let path = TreePath::clean(&bytes)?;
    // Another spelling of a path would get around the check for second lines.
    match path.as_bytes() == bytes {
        true => Ok(path),
        false => Err(wrong(
            "a path without leading slash, `.` and empty components",
        )),
    }
}

fn line(text: &[u8], lines: &mut Lines) -> Result<(), SidecarFault> {
    let raw: RawLine<'_> = serde_json::from_slice(text)?;
    let wrong = |member, expected| SidecarFault::Member { member, expected };
    let path_of_line = path("path", &raw.path)?;
    if let Some(link) = &raw.link {
        if !raw.is_name_only() {
            return Err(wrong("link", "the only member besides `path`"));
        }
        let first = lines.names.get(&path("link", link)?).copied();
        let name = first.filter(|name| {
            name.is_first
                && lines
                    .records
                    .get(name.record)
                    .is_some_and(|(record, _)| record.is != FileType::Directory)
        });
        let name = name.ok_or(wrong("link", "the `path` of a file's line before"))?;
        return lines.name(
            path_of_line,
            Name {
                is_first: false,
                ..name
            },
        );
    }
    let device = match (raw.major, raw.minor) {
        (Some(major), Some(minor)) => Some(Device { major, minor }),
        (None, None) => None,
        _ => return Err(wrong("major", "together with `minor`")),
    };
    let node = match (raw.node, device) {
        (Some(NodeType::Char), Some(device)) => Some(Special::CharDevice(device)),
        (Some(NodeType::Block), Some(device)) => Some(Special::BlockDevice(device)),
        (Some(NodeType::Fifo), None) => Some(Special::Fifo),
        (Some(NodeType::Socket), None) => Some(Special::Socket),
        (None, None) => None,
        _ => return Err(wrong("major", "with a device, and only there")),
    };
    let owner = match (raw.uid, raw.gid) {
        (Some(uid), Some(gid)) => Some((uid, gid)),
        (None, None) => None,
        _ => return Err(wrong("uid", "together with `gid`")),
    };
    let mode = raw.mode.map(|text| {
        let digits = text.len() == 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        digits
            .then(|| u16::from_str_radix(&text, 8).ok())
            .flatten()
            .ok_or(wrong("mode", "four octal digits"))
    });
    let mut xattrs = Xattrs::new();
    for (name, value) in &raw.xattrs.0 {
        let name = percent(name).ok_or(wrong("xattrs", "names with bytes as %XX"))?;
        let value = hex(value).ok_or(wrong("xattrs", "values in hexadecimal digits"))?;
        if xattrs.get(&name).is_some() {
            return Err(wrong("xattrs", "each name once"));
        }
        xattrs.set(&name, &value)?;
    }
    let is = match raw.is.ok_or(wrong("is", "there"))? {
        FoundType::File => FileType::RegularFile,
        FoundType::Dir => FileType::Directory,
        FoundType::Symlink => FileType::Symlink,
        FoundType::Char => FileType::CharacterDevice,
        FoundType::Block => FileType::BlockDevice,
        FoundType::Fifo => FileType::Fifo,
        FoundType::Socket => FileType::Socket,
    };
    let found = match (raw.size, raw.at) {
        (Some(size), Some(at)) => Some((size, time("at", at)?)),
        (None, None) => None,
        _ => return Err(wrong("size", "together with `at`")),
    };
    if found.is_none() != (is == FileType::Directory) {
        return Err(wrong("size", "of everything but directories"));
    }
    let is_empty_file = is == FileType::RegularFile && matches!(found, Some((0, _)));
    if node.is_some() && !is_empty_file {
        return Err(wrong("type", "of an empty regular file"));
    }
    let sha256 = raw.sha256.map(|text| {
        let digest = format!("sha256:{text}").parse::<Digest>();
        digest
            .map(Box::new)
            .map_err(|_| wrong("sha256", "64 lower-case hexadecimal digits"))
    });
    let record = Record {
        node,
        owner,
        mode: mode.transpose()?,
        mtime: raw.mtime.map(|t| time("mtime", t)).transpose()?,
        xattrs,
        is,
        found,
        sha256: sha256.transpose()?,
    };
    let name = Name {
        record: lines.records.len(),
        is_first: true,
    };
    lines.records.push((record, false));
    lines.name(path_of_line, name)
}

impl Lines {
    fn name(&mut self, path: TreePath, name: Name) -> Result<(), SidecarFault> {
        match self.names.insert(path.clone(), name) {
            None => Ok(()),
            Some(_) => Err(SidecarFault::Twice(path)),
        }
    }
}

fn time(
    member: &'static str,
    (seconds, nanoseconds): (i64, u32),
) -> Result<Timestamp, SidecarFault> {
    if nanoseconds >= 1_000_000_000 {
        let expected = "seconds and less than 1000000000 nanoseconds";
        return Err(SidecarFault::Member { member, expected });
    }
    Ok(Timestamp {
        seconds,
        nanoseconds,
    })
}

/// Bytes of text in which `%XX` is a byte.
fn percent(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => out.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?),
            b'!'..=b'~' => out.push(byte),
            _ => return None,
        }
    }
    Some(out)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Reads a file of this format from anywhere, as a check that it can be.
///
/// # Errors
/// [`SidecarError`], as for the file beside a directory.
pub fn check_sidecar(text: &[u8]) -> Result<u64, SidecarError> {
    let lines = read(io::Cursor::new(text), Path::new("input"), 1 << 20)?;
    Ok(lines.names.len() as u64)
}
