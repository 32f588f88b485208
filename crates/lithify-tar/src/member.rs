//! What a header and everything before it say about one member.

use lithify_tree::{DataSegment, Device, Timestamp, Xattrs};

use crate::detail::Detail;
use crate::error::{SparseFault, TarFault};
use crate::header::{self, Format, Header, Numbers};
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::pax::{Records, Value};
use crate::typeflag::MemberKind;
use crate::xattr;

/// Sparse records on something that has no data.
pub(crate) const NOT_REGULAR: SparseFault = SparseFault::Incomplete {
    missing: "a regular file",
};

/// A member's header with everything that extended headers said about it.
///
/// Names are as written: they may be absolute, lead upwards, or hold NULs.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Member {
    /// Position of its own header block, in bytes.
    pub offset: u64,
    /// The name as written, never empty.
    pub path: Vec<u8>,
    /// The target of a link as written, neither empty nor with a NUL; empty for all else.
    pub link_target: Vec<u8>,
    /// The kind.
    pub kind: MemberKind,
    /// Permission bits only.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// The time of the last change.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Names of attributes that were left out ([`Limits::drop_xattrs`]).
    pub(crate) dropped: Vec<Vec<u8>>,
    /// The number of a device.
    pub device: Device,
    /// Apparent size in bytes.
    pub size: u64,
    /// Parts of a sparse file that are in the archive; `None` for a file without holes.
    pub segments: Option<Vec<DataSegment>>,
}

/// Global records in force.
#[derive(Debug, Default)]
pub(crate) struct Globals {
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Timestamp>,
}

impl Globals {
    pub(crate) fn set(&mut self, records: &Records) {
        set(&mut self.uid, &records.uid);
        set(&mut self.gid, &records.gid);
        set(&mut self.mtime, &records.mtime);
    }
}

fn set<T: Copy>(global: &mut Option<T>, record: &Value<T>) {
    match record {
        Value::Set(value) => *global = Some(*value),
        Value::Deleted => *global = None,
        Value::Absent => {}
    }
}

/// Everything that says something about one member.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) header: &'a Header<'a>,
    pub(crate) records: &'a Records,
    /// What the records' ranges are of.
    pub(crate) pax: &'a [u8],
    pub(crate) long_name: Option<&'a [u8]>,
    pub(crate) long_link: Option<&'a [u8]>,
    pub(crate) globals: &'a Globals,
    pub(crate) limits: &'a Limits,
    pub(crate) detail: Detail,
    /// Whether it is a sparse file, of any form.
    pub(crate) sparse: bool,
}

impl Member {
    /// Reads the path, which errors about all else will name.
    pub(crate) fn read_path(&mut self, from: &Sources<'_>) -> Result<(), TarFault> {
        self.path.clear();
        let recorded = from
            .records
            .path
            .as_set()
            .map(|range| &from.pax[range.clone()]);
        let sparse = from
            .records
            .sparse
            .name
            .as_ref()
            .map(|range| &from.pax[range.clone()]);
        match sparse.or(recorded).or(from.long_name) {
            Some(name) => self.path.extend_from_slice(name),
            None => {
                let prefix = from.header.prefix();
                self.path.extend_from_slice(prefix);
                if !prefix.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(from.header.name());
            }
        }
        check_same("path", recorded, from.long_name)?;
        if self.path.is_empty() {
            return Err(TarFault::EmptyPath);
        }
        check_length(&self.path, from.limits)
    }

    /// Reads everything else but the apparent size and the segments. Gives the size of its data in the archive.
    pub(crate) fn read(&mut self, from: &Sources<'_>, kind: MemberKind) -> Result<u64, TarFault> {
        let numbers = from.header.numbers()?;
        if from.detail == Detail::Everything {
            self.read_metadata(from, &numbers)?;
            (self.xattrs, self.dropped) =
                xattr::collect(from.pax, &from.records.xattrs, from.limits)?;
        }
        self.device = Device::default();
        self.link_target.clear();
        self.segments = None;
        let announced = kind;
        self.kind = self.resolve_kind(from, kind)?;
        let in_header = numbers.size()?;
        let size = from.records.size.as_set().copied().unwrap_or(in_header);
        if i64::try_from(size).is_err() {
            return Err(out_of_range("size", size));
        }
        if self.kind == MemberKind::File {
            return Ok(size);
        }
        if from.sparse {
            return Err(NOT_REGULAR.into());
        }
        // A size in the header alone is the size of what a link leads to, or of a directory on the disk it came from: no
        // data follows (see `TarFault::SizeWithoutData`). Data that follows after all is no header, which is an error.
        let recorded = from.records.size.as_set().copied();
        let promised = match announced {
            // To some readers a file.
            MemberKind::File => recorded.into_iter().chain([in_header]).find(|&s| s != 0),
            _ => recorded.filter(|&s| s != 0),
        };
        if let Some(size) = promised {
            return Err(TarFault::SizeWithoutData {
                kind: self.kind.name(),
                size,
            });
        }
        match self.kind {
            MemberKind::Symlink | MemberKind::HardLink => self.read_link_target(from)?,
            MemberKind::CharDevice | MemberKind::BlockDevice => {
                self.device = Device {
                    major: within_32_bits("devmajor", numbers.device_major)?,
                    minor: within_32_bits("devminor", numbers.device_minor)?,
                };
            }
            _ => {}
        }
        Ok(0)
    }

    fn read_metadata(&mut self, from: &Sources<'_>, numbers: &Numbers) -> Result<(), TarFault> {
        let (records, globals) = (from.records, from.globals);
        // Some tars put the whole of `st_mode` here; the file's type is elsewhere.
        self.mode = (header::unsigned("mode", numbers.mode)? & 0o7777) as u16;
        self.uid = match recorded(&records.uid, globals.uid) {
            Some(uid) => uid,
            None => within_32_bits("uid", numbers.uid)?,
        };
        self.gid = match recorded(&records.gid, globals.gid) {
            Some(gid) => gid,
            None => within_32_bits("gid", numbers.gid)?,
        };
        self.mtime = match recorded(&records.mtime, globals.mtime) {
            Some(mtime) => mtime,
            None => Timestamp {
                seconds: numbers.mtime,
                nanoseconds: 0,
            },
        };
        Ok(())
    }

    /// A directory is sometimes a file whose name ends in a slash: in v7 tars, which knew no directories, and to GNU
    /// tar in its own format. In POSIX headers only the type flag NUL still means it; otherwise readers differ.
    fn resolve_kind(&self, from: &Sources<'_>, kind: MemberKind) -> Result<MemberKind, TarFault> {
        if kind != MemberKind::File || self.path.last() != Some(&b'/') {
            return Ok(kind);
        }
        let old = match from.header.typeflag() {
            0 => true,
            b'0' => from.header.format != Format::Posix,
            _ => false,
        };
        if old && !from.sparse {
            Ok(MemberKind::Directory)
        } else {
            Err(TarFault::TrailingSlash)
        }
    }

    fn read_link_target(&mut self, from: &Sources<'_>) -> Result<(), TarFault> {
        let recorded = from
            .records
            .linkpath
            .as_set()
            .map(|range| &from.pax[range.clone()]);
        check_same("linkpath", recorded, from.long_link)?;
        let target = recorded
            .or(from.long_link)
            .unwrap_or(from.header.link_name());
        if target.is_empty() {
            return Err(TarFault::EmptyLinkTarget);
        }
        check_length(target, from.limits)?;
        if target.contains(&0) {
            return Err(TarFault::LinkTargetNul {
                target: target.to_vec(),
            });
        }
        self.link_target.extend_from_slice(target);
        Ok(())
    }
}

/// To Go the GNU name wins, to others the PAX record: only where both are the same is it clear.
fn check_same(
    key: &'static str,
    recorded: Option<&[u8]>,
    long: Option<&[u8]>,
) -> Result<(), TarFault> {
    match (recorded, long) {
        (Some(recorded), Some(long)) if recorded != long => Err(TarFault::ConflictingNames { key }),
        _ => Ok(()),
    }
}

fn check_length(path: &[u8], limits: &Limits) -> Result<(), TarFault> {
    Ok(LimitExceeded::check(
        Limit::PathBytes,
        limits.path_bytes,
        path.len() as u64,
    )?)
}

fn within_32_bits(field: &'static str, found: i64) -> Result<u32, TarFault> {
    u32::try_from(found).map_err(|_| TarFault::NumberRange {
        field,
        found,
        max: u64::from(u32::MAX),
    })
}

/// An error about a number that is larger than any offset in a file.
pub(crate) fn out_of_range(field: &'static str, found: u64) -> TarFault {
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    TarFault::NumberRange {
        field,
        found,
        max: i64::MAX as u64,
    }
}

/// What extended headers say: a local record, else the global one; a local empty one undoes the global one and
/// leaves the header's field, as Go has it.
fn recorded<T: Copy>(local: &Value<T>, global: Option<T>) -> Option<T> {
    match local {
        Value::Set(value) => Some(*value),
        Value::Deleted => None,
        Value::Absent => global,
    }
}
