//! Tables as they are.

use lithify_storage::ReadAt;

use super::error::{Copy, GptError, HeaderProblem};
use super::format::{self, ENTRY_SIZE, Entry, Header};
use super::guid::Guid;
use crate::SECTOR;

/// Bytes of entries read. Tables of this crate have at most 1 MiB.
const ENTRIES_BYTES_MAX: u64 = 4 << 20;

/// Sectors of the smallest disk looked at: two headers, two sets of entries, an MBR and a sector.
const SECTORS_MIN: u64 = 1 + 2 * 33 + 1;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its number, from 1, as in `/dev/vda1`.
    pub number: usize,
    /// What it is for.
    pub kind: Guid,
    /// Its own identifier.
    pub id: Guid,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Attribute bits (UEFI, table 5-7).
    pub attributes: u64,
    /// Its name, up to the first zero unit; what is no UTF-16 is replaced.
    pub name: String,
}

/// What a disk's partition table says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// The disk's identifier.
    pub disk: Guid,
    /// The partitions, in the order of their numbers.
    pub partitions: Vec<Partition>,
}

impl Table {
    /// Reads the table of a disk. Both copies have to be good, and the same.
    ///
    /// # Errors
    /// What is wrong with it, and what the storage says.
    pub fn read<R: ReadAt + ?Sized>(disk: &R) -> Result<Self, GptError> {
        let size = disk
            .size()
            .map_err(|source| GptError::Io { offset: 0, source })?;
        let sectors = size / SECTOR;
        if !size.is_multiple_of(SECTOR) || sectors < SECTORS_MIN {
            return Err(GptError::DiskSize { found: size });
        }
        if !format::is_protective_mbr(&read_sector(disk, 0)?, sectors) {
            return Err(GptError::ProtectiveMbr);
        }
        let (primary, entries) = read_copy(disk, sectors, Copy::Primary)?;
        let (backup, backup_entries) = read_copy(disk, sectors, Copy::Backup)?;
        let same = Header {
            here: primary.here,
            other: primary.other,
            entries: primary.entries,
            ..backup
        };
        if same != primary || entries != backup_entries {
            return Err(GptError::CopiesDiffer);
        }
        let partitions = partitions(&primary, &entries)?;
        Ok(Self {
            disk: primary.disk,
            partitions,
        })
    }
}

fn read_copy<R: ReadAt + ?Sized>(
    disk: &R,
    sectors: u64,
    copy: Copy,
) -> Result<(Header, Vec<u8>), GptError> {
    let problem = |problem| GptError::Header { copy, problem };
    let (here, other) = match copy {
        Copy::Primary => (1, sectors - 1),
        Copy::Backup => (sectors - 1, 1),
    };
    let header = Header::parse(&read_sector(disk, here)?).map_err(problem)?;
    if (header.here, header.other) != (here, other) {
        return Err(problem(HeaderProblem::Place {
            here: header.here,
            other: header.other,
        }));
    }
    let length = entries_length(&header, sectors, copy).map_err(problem)?;
    let mut entries = vec![0; length];
    read(disk, &mut entries, header.entries * SECTOR)?;
    let expected = crc32fast::hash(&entries);
    if expected != header.entries_crc {
        return Err(problem(HeaderProblem::EntriesChecksum {
            expected,
            found: header.entries_crc,
        }));
    }
    Ok((header, entries))
}

/// Bytes of entries, once they and the usable sectors are found to be where they can be.
fn entries_length(header: &Header, sectors: u64, copy: Copy) -> Result<usize, HeaderProblem> {
    let (first, last) = (header.first_usable, header.last_usable);
    if first < 2 || last >= sectors - 1 || first > last {
        return Err(HeaderProblem::Usable { first, last });
    }
    let (start, count, size) = (header.entries, header.entry_count, header.entry_size);
    let bad = HeaderProblem::Entries { start, count, size };
    let length = u64::from(count) * u64::from(size);
    if size < ENTRY_SIZE || !size.is_power_of_two() || length > ENTRIES_BYTES_MAX {
        return Err(bad);
    }
    let end = start.checked_add(length.div_ceil(SECTOR)).ok_or(bad)?;
    let (low, high) = match copy {
        Copy::Primary => (2, first),
        Copy::Backup => (last + 1, sectors - 1),
    };
    if start < low || end > high {
        return Err(bad);
    }
    Ok(length as usize)
}

fn partitions(header: &Header, entries: &[u8]) -> Result<Vec<Partition>, GptError> {
    let mut partitions = Vec::new();
    let mut spans = Vec::new();
    for (n, entry) in entries.chunks_exact(header.entry_size as usize).enumerate() {
        let entry = Entry::parse(entry);
        if entry.kind == Guid::UNUSED {
            continue;
        }
        let (number, first, last) = (n + 1, entry.first, entry.last);
        if first < header.first_usable || last > header.last_usable || first > last {
            return Err(GptError::Partition {
                number,
                first,
                last,
            });
        }
        spans.push((first, last, number));
        let units = entry.name.split(|&unit| unit == 0).next();
        partitions.push(Partition {
            number,
            kind: entry.kind,
            id: entry.id,
            offset: first * SECTOR,
            length: (last - first + 1) * SECTOR,
            attributes: entry.attributes,
            name: String::from_utf16_lossy(units.unwrap_or_default()),
        });
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[1].0 <= pair[0].1 {
            return Err(GptError::Overlap {
                first: pair[0].2,
                second: pair[1].2,
            });
        }
    }
    Ok(partitions)
}

fn read_sector<R: ReadAt + ?Sized>(
    disk: &R,
    sector: u64,
) -> Result<[u8; SECTOR as usize], GptError> {
    let mut bytes = [0; SECTOR as usize];
    read(disk, &mut bytes, sector * SECTOR)?;
    Ok(bytes)
}

fn read<R: ReadAt + ?Sized>(disk: &R, bytes: &mut [u8], offset: u64) -> Result<(), GptError> {
    disk.read_exact_at(bytes, offset)
        .map_err(|source| GptError::Io { offset, source })
}
