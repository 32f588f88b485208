//! Names to an archive.

use std::io::{self, Write};

use lithify_tree::{DataSegment, HoleFiller, Inode, InodeKind, Timestamp, TreePath, Xattrs};

use crate::error::WriteError;
use crate::header::{HEADER_LEN, Header};

/// The largest file that an archive holds, in bytes.
pub const FILE_SIZE_MAX: u64 = u32::MAX as u64;

/// The longest name that an archive holds, in bytes: with the zero behind it as long as the longest path of Linux. The kernel
/// skips longer ones.
pub const NAME_LEN_MAX: usize = 4095;

/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The name of the root directory.
const ROOT: &[u8] = b".";

/// Archives are filled up to a multiple of so many bytes, as GNU cpio does.
const BLOCK: u64 = 512;

/// Headers with their names, and data, begin at multiples of so many bytes.
const ALIGNMENT: u64 = 4;

/// Bytes of holes that are written as zeros unless something else is said.
const ZEROS_MAX: u64 = 64 << 30;

/// One of the names of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The name. The root directory's is empty here.
    pub path: &'a TreePath,
    /// The number of the inode: the same for its names, and for those of no other inode; not 0.
    pub number: u32,
    /// Whether it is the last name of the inode. A file's data comes with that one.
    pub is_last: bool,
}

/// What was found out while an archive was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Inodes whose time of modification is before 1970 or after 2106, and became the nearest there is.
    pub clamped_times: u64,
}

/// Returns the names of the attributes that an archive cannot hold: all.
#[must_use]
pub fn unsupported_xattrs(xattrs: &Xattrs) -> Vec<&[u8]> {
    xattrs.iter().map(|(name, _)| name).collect()
}

/// Writes an archive.
///
/// Each name is appended, directories before what is in them; behind the last name of a file comes its data: exactly the bytes
/// announced, in pieces of any length. Of a sparse file these are the bytes of its segments; its holes are written as zeros.
#[derive(Debug)]
pub struct CpioWriter<W: Write> {
    output: W,
    /// Bytes written.
    at: u64,
    /// Bytes of data still to come.
    left: u64,
    /// Where these belong, in a file with holes.
    filler: Option<HoleFiller>,
    zeros: u64,
    zeros_max: u64,
    report: Report,
}

impl<W: Write> CpioWriter<W> {
    /// Starts an archive.
    pub fn new(output: W) -> Self {
        Self {
            output,
            at: 0,
            left: 0,
            filler: None,
            zeros: 0,
            zeros_max: ZEROS_MAX,
            report: Report::default(),
        }
    }

    /// Limits the bytes of zeros that are written for holes. Default: 64 GiB.
    #[must_use]
    pub fn zeros_max(mut self, bytes: u64) -> Self {
        self.zeros_max = bytes;
        self
    }

    /// Writes the header of a name. The data of a file comes next, if the name is its last one. With `segments` only those
    /// stretches are data.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn append(
        &mut self,
        name: &Name<'_>,
        inode: &Inode<'_>,
        xattrs: &Xattrs,
        segments: Option<&[DataSegment]>,
    ) -> Result<(), WriteError> {
        if self.left > 0 {
            return Err(WriteError::MissingData { missing: self.left });
        }
        let path = || name.path.clone();
        let shown = shown(name.path);
        if shown.len() > NAME_LEN_MAX {
            return Err(WriteError::NameLength { path: path() });
        }
        if let Some((name, _)) = xattrs.iter().next() {
            return Err(WriteError::Xattr {
                path: path(),
                name: name.to_vec(),
            });
        }
        let (mut body, mut device, mut size) = (&[][..], (0, 0), 0);
        match inode.kind {
            InodeKind::File { size: found, .. } => {
                if found > FILE_SIZE_MAX {
                    return Err(WriteError::FileSize {
                        path: path(),
                        size: found,
                    });
                }
                size = if name.is_last { found } else { 0 };
            }
            InodeKind::Symlink { target } => body = target,
            InodeKind::CharDevice(found) | InodeKind::BlockDevice(found) => {
                device = (found.major, found.minor);
            }
            InodeKind::Directory | InodeKind::Fifo | InodeKind::Socket => {}
            _ => return Err(WriteError::Kind { path: path() }),
        }
        let filler = match segments.filter(|_| size > 0) {
            Some(segments) => Some(self.filler(name.path, size, segments)?),
            None => None,
        };
        let (mtime, clamped) = time(inode.mtime);
        self.report.clamped_times += u64::from(clamped && name.is_last);
        let header = Header {
            inode: name.number,
            mode: u32::from(inode.kind.type_bits() | inode.mode & 0o7777),
            uid: inode.uid,
            gid: inode.gid,
            links: match inode.kind {
                // libarchive remembers whatever has more than one, and looks through all that for each name.
                InodeKind::Directory => 1,
                _ => inode.nlink,
            },
            mtime,
            // Both are no longer than a header can say.
            size: size as u32 + body.len() as u32,
            device,
            name_len: shown.len() as u32 + 1,
        };
        self.header(&header, &shown).map_err(WriteError::Write)?;
        self.put(body).map_err(WriteError::Write)?;
        self.left = match &filler {
            Some(filler) => size - filler.holes(),
            None => size,
        };
        self.filler = filler;
        self.end_of_data()
    }

    /// Writes data of the last file.
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
        let written = match &mut self.filler {
            Some(filler) => filler.data(data, &mut self.output),
            None => self.output.write_all(data).map(|()| count),
        };
        self.at += written.map_err(WriteError::Write)?;
        self.end_of_data()
    }

    /// Ends the archive and gives the output back, which is not flushed.
    ///
    /// # Errors
    /// [`WriteError::MissingData`], or a failing output.
    pub fn finish(mut self) -> Result<(W, Report), WriteError> {
        if self.left > 0 {
            return Err(WriteError::MissingData { missing: self.left });
        }
        let header = Header {
            links: 1,
            name_len: TRAILER.len() as u32 + 1,
            ..Header::default()
        };
        self.header(&header, TRAILER)
            .and_then(|()| self.pad(BLOCK))
            .map_err(WriteError::Write)?;
        Ok((self.output, self.report))
    }

    /// Prepares the holes of a file, if the archive may still have them.
    fn filler(
        &mut self,
        path: &TreePath,
        size: u64,
        segments: &[DataSegment],
    ) -> Result<HoleFiller, WriteError> {
        let Some(filler) = HoleFiller::new(size, segments) else {
            return Err(WriteError::Segments { path: path.clone() });
        };
        let holes = filler.holes();
        match self.zeros.checked_add(holes) {
            Some(zeros) if zeros <= self.zeros_max || holes == 0 => self.zeros = zeros,
            _ => {
                return Err(WriteError::Holes {
                    path: path.clone(),
                    holes,
                    limit: self.zeros_max,
                });
            }
        }
        Ok(filler)
    }

    /// Writes a header and its name.
    fn header(&mut self, header: &Header, name: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + name.len() + 4);
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(name);
        bytes.push(0);
        self.put(&bytes)?;
        self.pad(ALIGNMENT)
    }

    fn end_of_data(&mut self) -> Result<(), WriteError> {
        if self.left > 0 {
            return Ok(());
        }
        if let Some(filler) = self.filler.take() {
            self.at += filler.finish(&mut self.output).map_err(WriteError::Write)?;
        }
        self.pad(ALIGNMENT).map_err(WriteError::Write)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    fn pad(&mut self, alignment: u64) -> io::Result<()> {
        let count = self.at.next_multiple_of(alignment) - self.at;
        self.put(&[0; BLOCK as usize][..count as usize])
    }
}

/// Returns the name as the archive has it. A file in the root directory that is called as the end of archives is called
/// otherwise: readers compare names before they take dots away.
fn shown(path: &TreePath) -> std::borrow::Cow<'_, [u8]> {
    match path.as_bytes() {
        b"" => ROOT.into(),
        TRAILER => [b"./", TRAILER].concat().into(),
        name => name.into(),
    }
}

/// Returns the second that the header says, and whether it is another one.
fn time(time: Timestamp) -> (u32, bool) {
    match u32::try_from(time.seconds) {
        Ok(seconds) => (seconds, false),
        Err(_) if time.seconds < 0 => (0, true),
        Err(_) => (u32::MAX, true),
    }
}
