//! Entries to a tar: the same entries always become the same bytes.
//!
//! Headers are POSIX `ustar`; a PAX header goes before one only for what `ustar` cannot hold: long names, large
//! numbers, fractions of a second, times before 1970, extended attributes and, where they are wanted, sparse files. No clock,
//! user name, group name or process number gets in.

mod holes; // ways to write sparse files

use std::io::{self, Write};

use lithify_tree::{
    Convention, DataSegment, Device, Entry, EntryKind, HoleFiller, OPAQUE_MARKER, Timestamp,
    TreePath, WHITEOUT_PREFIX,
};

use crate::header::{
    BLOCK, Block, END_MARK, Fields, LINK_NAME_LEN, NAME_LEN, OCTAL_8_MAX, OCTAL_12_MAX, PREFIX_LEN,
};
use crate::{pax, xattr};

pub use holes::Holes;

/// Name of the block before a PAX header's records. It means nothing to anyone, so it is always the same.
const PAX_NAME: &[u8] = b"PaxHeader";

/// Why an entry cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output failed.
    #[error("cannot write the tar")]
    Write(#[source] io::Error),
    /// A socket: no tar has them. The writer is as before; leaving the socket out is what every tar does.
    #[error("`{path}` is a socket, which a tar cannot hold")]
    Socket {
        /// The entry's path.
        path: TreePath,
    },
    /// A name that would be a whiteout to whoever reads it. The writer is as before.
    #[error("`{path}` has a name that layers reserve for whiteouts")]
    ReservedName {
        /// The entry's path.
        path: TreePath,
    },
    /// A device number over 21 bits, which is more than Linux has. The writer is as before.
    #[error("`{path}` is device {}:{}, a tar holds up to {OCTAL_8_MAX}", .device.major, .device.minor)]
    Device {
        /// The entry's path.
        path: TreePath,
        /// The device number.
        device: Device,
    },
    /// A kind of entry this writer does not know.
    #[error("`{path}` is of a kind that a tar cannot hold")]
    Kind {
        /// The entry's path.
        path: TreePath,
    },
    /// Segments out of order, overlapping, beyond the file's end, or, in a map ([`Holes::Map`]), behind one whose length is no
    /// multiple of 512, where tar readers look for data in different places ([`crate::SparseFault::Unaligned`]). The
    /// writer is as before.
    #[error(
        "`{path}` has a data segment at {offset} that a sparse map cannot hold after the one before it"
    )]
    Segments {
        /// The entry's path.
        path: TreePath,
        /// Where the segment starts.
        offset: u64,
    },
    /// More zeros for holes than allowed. The writer is as before.
    #[error(
        "`{path}` has holes of {holes} bytes, which would be written as zeros, and a tar may have {limit} of those"
    )]
    Holes {
        /// The entry's path.
        path: TreePath,
        /// Bytes of its holes.
        holes: u64,
        /// Bytes for holes in the whole tar ([`Holes::Zeros`]).
        limit: u64,
    },
    /// Fewer data bytes than the entry announced.
    #[error("{missing} more data bytes were announced for the last entry")]
    MissingData {
        /// How many are missing.
        missing: u64,
    },
    /// More data bytes than the entry announced.
    #[error("{extra} more data bytes than announced for the last entry")]
    ExtraData {
        /// How many too many.
        extra: u64,
    },
}

/// Writes a tar.
///
/// Each entry is appended, then its data if it is a file: exactly the bytes announced, in pieces of any length; of a
/// sparse file, the bytes of its segments. Whiteouts become the empty files that image layers express them with.
///
/// The holes of sparse files are written as zeros unless [`holes`](Self::holes) says otherwise.
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    output: W,
    holes: Holes,
    /// Bytes that were written for holes.
    zeros: u64,
    /// Data bytes still to come, and what fills up their last block.
    left: u64,
    padding: usize,
    /// Where that data belongs, in a file whose holes are written.
    filler: Option<HoleFiller>,
}

const ZEROS: [u8; END_MARK] = [0; END_MARK];

impl<W: Write> TarWriter<W> {
    /// Starts a tar.
    pub fn new(output: W) -> Self {
        Self {
            output,
            holes: Holes::default(),
            zeros: 0,
            left: 0,
            padding: 0,
            filler: None,
        }
    }

    /// Chooses how the holes of sparse files are written from here on.
    #[must_use]
    pub fn holes(mut self, holes: Holes) -> Self {
        self.holes = holes;
        self
    }

    /// Writes an entry's headers. Its data, if it has any, comes next.
    ///
    /// # Errors
    /// [`WriteError`]; what it says of the entry itself leaves the tar as it was.
    pub fn append(&mut self, entry: &Entry) -> Result<(), WriteError> {
        if self.left > 0 {
            return Err(WriteError::MissingData { missing: self.left });
        }
        let mut member = Member::of(entry)?;
        let mut filler = None;
        let data = match (&entry.kind, self.holes) {
            (
                EntryKind::File {
                    size,
                    segments: Some(segments),
                },
                holes,
            ) => {
                let data = check_segments(entry, *size, segments, holes)?;
                match holes {
                    Holes::Map => member.sparse(*size, segments, data),
                    Holes::Zeros { bytes_max } => {
                        let holes = size - data;
                        self.zeros = match self.zeros.checked_add(holes) {
                            Some(zeros) if zeros <= bytes_max || holes == 0 => zeros,
                            _ => {
                                return Err(WriteError::Holes {
                                    path: entry.path.clone(),
                                    holes,
                                    limit: bytes_max,
                                });
                            }
                        };
                        filler = HoleFiller::new(*size, segments);
                    }
                }
                data
            }
            _ => member.archived,
        };
        self.output
            .write_all(&member.encode())
            .map_err(WriteError::Write)?;
        self.left = data;
        self.padding = member.padding();
        self.filler = filler;
        self.end_of_data()
    }

    /// Writes data of the last entry.
    ///
    /// # Errors
    /// [`WriteError::ExtraData`] for more than was announced, or a failing output.
    pub fn data(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let count = data.len() as u64;
        self.left = match self.left.checked_sub(count) {
            Some(left) => left,
            None => {
                return Err(WriteError::ExtraData {
                    extra: count - self.left,
                });
            }
        };
        match &mut self.filler {
            Some(filler) => filler.data(data, &mut self.output).map(|_| ()),
            None => self.output.write_all(data),
        }
        .map_err(WriteError::Write)?;
        self.end_of_data()
    }

    /// Ends the tar with its two zero blocks and gives the output back, flushed.
    ///
    /// # Errors
    /// [`WriteError::MissingData`], or a failing output.
    pub fn finish(mut self) -> Result<W, WriteError> {
        if self.left > 0 {
            return Err(WriteError::MissingData { missing: self.left });
        }
        self.output.write_all(&ZEROS).map_err(WriteError::Write)?;
        self.output.flush().map_err(WriteError::Write)?;
        Ok(self.output)
    }

    fn end_of_data(&mut self) -> Result<(), WriteError> {
        if self.left > 0 {
            return Ok(());
        }
        if let Some(filler) = self.filler.take() {
            filler.finish(&mut self.output).map_err(WriteError::Write)?;
        }
        if self.padding == 0 {
            return Ok(());
        }
        let padding = std::mem::take(&mut self.padding);
        self.output
            .write_all(&ZEROS[..padding])
            .map_err(WriteError::Write)
    }
}

/// An entry as it goes into a tar.
struct Member {
    path: Vec<u8>,
    link_name: Vec<u8>,
    typeflag: u8,
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    device: Device,
    /// Data bytes in the tar, the sparse map left out.
    archived: u64,
    /// Records for xattrs.
    xattrs: Vec<u8>,
    sparse: Option<Sparse>,
}

struct Sparse {
    size: u64,
    /// Padded to a block.
    map: Vec<u8>,
}

impl Member {
    fn of(entry: &Entry) -> Result<Self, WriteError> {
        let path = || entry.path.clone();
        let mut member = Self {
            path: entry.path.as_bytes().to_vec(),
            link_name: Vec::new(),
            typeflag: b'0',
            mode: entry.metadata.mode & 0o7777,
            uid: entry.metadata.uid,
            gid: entry.metadata.gid,
            mtime: entry.metadata.mtime,
            device: Device::default(),
            archived: 0,
            xattrs: Vec::new(),
            sparse: None,
        };
        match &entry.kind {
            EntryKind::Whiteout | EntryKind::Opaque => return Ok(member.into_marker(entry)),
            _ if !matches!(Convention::of(path()), Ok(Convention::Ordinary(_))) => {
                return Err(WriteError::ReservedName { path: path() });
            }
            EntryKind::File { size, .. } => member.archived = *size,
            EntryKind::Directory => {
                member.typeflag = b'5';
                if member.path.is_empty() {
                    member.path.push(b'.');
                }
                member.path.push(b'/');
            }
            EntryKind::Symlink { target } => {
                member.typeflag = b'2';
                member.link_name.clone_from(target);
            }
            EntryKind::HardLink { target } => {
                member.typeflag = b'1';
                member.link_name = target.as_bytes().to_vec();
            }
            EntryKind::CharDevice(device) | EntryKind::BlockDevice(device) => {
                if device.major > OCTAL_8_MAX || device.minor > OCTAL_8_MAX {
                    return Err(WriteError::Device {
                        path: path(),
                        device: *device,
                    });
                }
                member.typeflag = if matches!(entry.kind, EntryKind::CharDevice(_)) {
                    b'3'
                } else {
                    b'4'
                };
                member.device = *device;
            }
            EntryKind::Fifo => member.typeflag = b'6',
            EntryKind::Socket => return Err(WriteError::Socket { path: path() }),
            _ => return Err(WriteError::Kind { path: path() }),
        }
        for (name, value) in entry.metadata.xattrs.iter() {
            pax::push(&mut member.xattrs, &xattr::key(name), value);
        }
        Ok(member)
    }

    /// Makes it a sparse member.
    fn sparse(&mut self, size: u64, segments: &[DataSegment], data: u64) {
        self.archived = data;
        self.sparse = Some(Sparse {
            size,
            map: sparse_map(size, segments),
        });
    }

    /// An empty file whose name says it all (image-spec, `layer.md`, "Whiteouts"); nothing else of it counts.
    fn into_marker(mut self, entry: &Entry) -> Self {
        let (parent, name) = match (&entry.kind, entry.path.split_last()) {
            (EntryKind::Whiteout, Some((parent, name))) => {
                (parent, [WHITEOUT_PREFIX, name].concat())
            }
            _ => (entry.path.as_bytes(), OPAQUE_MARKER.to_vec()),
        };
        self.path = parent.to_vec();
        if !parent.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name);
        Self {
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            ..self
        }
    }

    /// Bytes of the entry in the tar, its headers left out.
    fn body(&self) -> u64 {
        self.archived
            + self
                .sparse
                .as_ref()
                .map_or(0, |sparse| sparse.map.len() as u64)
    }

    fn padding(&self) -> usize {
        let over = (self.archived % BLOCK as u64) as usize;
        (BLOCK - over) % BLOCK
    }

    /// Everything that goes before the data.
    fn encode(&self) -> Vec<u8> {
        let mut records = Vec::new();
        // GNU tar calls the `ustar` name of a sparse file so too: readers that do not know the format show it.
        let shown = match &self.sparse {
            Some(_) => [b"GNUSparseFile.0/", file_name(&self.path)].concat(),
            None => self.path.clone(),
        };
        let (prefix, name) = match split_name(&shown) {
            Some(split) => split,
            None => {
                if self.sparse.is_none() {
                    push_text(&mut records, b"path", &self.path);
                }
                (&[][..], &shown[..NAME_LEN])
            }
        };
        let link_name = if self.link_name.len() <= LINK_NAME_LEN {
            &self.link_name[..]
        } else {
            push_text(&mut records, b"linkpath", &self.link_name);
            &self.link_name[..LINK_NAME_LEN]
        };
        let size = octal_or_record(&mut records, b"size", self.body(), OCTAL_12_MAX);
        let uid = octal_or_record(
            &mut records,
            b"uid",
            u64::from(self.uid),
            u64::from(OCTAL_8_MAX),
        ) as u32;
        let gid = octal_or_record(
            &mut records,
            b"gid",
            u64::from(self.gid),
            u64::from(OCTAL_8_MAX),
        ) as u32;
        let mtime = match u64::try_from(self.mtime.seconds) {
            Ok(seconds) if seconds <= OCTAL_12_MAX => {
                if self.mtime.nanoseconds > 0 {
                    pax::push(&mut records, b"mtime", &decimal_time(self.mtime));
                }
                seconds
            }
            _ => {
                pax::push(&mut records, b"mtime", &decimal_time(self.mtime));
                0
            }
        };
        records.extend_from_slice(&self.xattrs);
        if let Some(sparse) = &self.sparse {
            pax::push(&mut records, b"GNU.sparse.major", b"1");
            pax::push(&mut records, b"GNU.sparse.minor", b"0");
            push_text(&mut records, b"GNU.sparse.name", &self.path);
            pax::push(
                &mut records,
                b"GNU.sparse.realsize",
                sparse.size.to_string().as_bytes(),
            );
        }
        let mut out = Vec::new();
        if !records.is_empty() {
            push_records(&mut out, &records);
        }
        let device = (self.device.major, self.device.minor);
        let (mode, typeflag) = (self.mode, self.typeflag);
        out.extend_from_slice(
            &Fields {
                prefix,
                name,
                link_name,
                mode,
                uid,
                gid,
                device,
                size,
                mtime,
                typeflag,
            }
            .encode(),
        );
        if let Some(sparse) = &self.sparse {
            out.extend_from_slice(&sparse.map);
        }
        out
    }
}

fn push_records(out: &mut Vec<u8>, records: &[u8]) {
    let fields = Fields {
        prefix: b"",
        name: PAX_NAME,
        link_name: b"",
        mode: 0o644,
        uid: 0,
        gid: 0,
        device: (0, 0),
        size: records.len() as u64,
        mtime: 0,
        typeflag: b'x',
    };
    out.extend_from_slice(&fields.encode());
    out.extend_from_slice(records);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// A record of a name: with a note before it if it is not UTF-8, which PAX values are unless told otherwise.
fn push_text(records: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    const BINARY: &[u8] = b"21 hdrcharset=BINARY\n";
    if std::str::from_utf8(text).is_err() && !records.starts_with(BINARY) {
        records.splice(0..0, BINARY.iter().copied());
    }
    pax::push(records, key, text);
}

/// The number for a header field: itself, or zero and a record.
fn octal_or_record(records: &mut Vec<u8>, key: &[u8], value: u64, max: u64) -> u64 {
    if value <= max {
        return value;
    }
    pax::push(records, key, value.to_string().as_bytes());
    0
}

/// The header of a file of root, of no time, as one block whatever its size: so that it can be written before the size is
/// known, and once more when it is. `None` for a path that does not fit into a header.
///
/// Sizes of 8 GiB and more are in base 256, under GNU's magic.
#[must_use]
pub fn file_header(path: &TreePath, mode: u16, size: u64) -> Option<Block> {
    let (prefix, name) = split_name(path.as_bytes())?;
    let fields = Fields {
        prefix,
        name,
        link_name: b"",
        mode: mode & 0o7777,
        uid: 0,
        gid: 0,
        device: (0, 0),
        size: size.min(OCTAL_12_MAX),
        mtime: 0,
        typeflag: b'0',
    };
    match size {
        0..=OCTAL_12_MAX => Some(fields.encode()),
        // GNU has no prefix.
        _ => prefix.is_empty().then(|| fields.encode_base_256(size)),
    }
}

/// Prefix and name of a `ustar` header, if the path can be split so.
fn split_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME_LEN {
        return Some((b"", path));
    }
    // The slash between the two is in neither; a directory's last slash belongs to its name.
    let first = path.len().checked_sub(NAME_LEN + 1)?;
    let last = PREFIX_LEN.min(path.len().checked_sub(2)?);
    let slash = path.get(first..=last)?.iter().position(|&b| b == b'/')? + first;
    Some((&path[..slash], &path[slash + 1..]))
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// Seconds with as many digits of the fraction as there are.
fn decimal_time(time: Timestamp) -> Vec<u8> {
    // `seconds` is rounded towards the past: -2 s and 500 000 000 ns are -1.5.
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let (whole, fraction) = (
        nanoseconds.unsigned_abs() / 1_000_000_000,
        nanoseconds.unsigned_abs() % 1_000_000_000,
    );
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let mut text = format!("{sign}{whole}");
    if fraction > 0 {
        text.push('.');
        text.push_str(format!("{fraction:09}").trim_end_matches('0'));
    }
    text.into_bytes()
}

/// The sum of the segments.
fn check_segments(
    entry: &Entry,
    size: u64,
    segments: &[DataSegment],
    holes: Holes,
) -> Result<u64, WriteError> {
    let mut end = 0;
    let mut sum = 0u64;
    for segment in segments {
        let fault = || WriteError::Segments {
            path: entry.path.clone(),
            offset: segment.offset,
        };
        let segment_end = segment
            .offset
            .checked_add(segment.length)
            .ok_or_else(fault)?;
        let splits_a_block = holes == Holes::Map && !sum.is_multiple_of(BLOCK as u64);
        if segment.offset < end || segment_end > size || splits_a_block {
            return Err(fault());
        }
        end = segment_end;
        sum += segment.length;
    }
    Ok(sum)
}

/// The map of PAX sparse format 1.0. An entry without bytes marks where a trailing hole ends: GNU tar needs it.
fn sparse_map(size: u64, segments: &[DataSegment]) -> Vec<u8> {
    let end = segments.last().map_or(0, |last| last.offset + last.length);
    let hole = (end < size).then_some(DataSegment {
        offset: size,
        length: 0,
    });
    let count = segments.len() + usize::from(hole.is_some());
    let mut map = format!("{count}\n").into_bytes();
    for segment in segments.iter().chain(&hole) {
        map.extend_from_slice(format!("{}\n{}\n", segment.offset, segment.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}
