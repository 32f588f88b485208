//! Tables as they become.

use super::format::{self, ENTRIES_MIN, ENTRY_SIZE, Entry, Header, NAME_MAX};
use super::guid::Guid;
use crate::error::DiskError;
use crate::part::Part;
use crate::{Alignment, SECTOR, identity};

/// First sector of the first partition, at 1 MiB as partitioning programs place it. Entries that do not fit before it do
/// not exist.
const FIRST_USABLE: u64 = 2048;

/// First sector of the primary entries, behind MBR and header.
const ENTRIES: u64 = 2;

/// As many entries as fit before [`FIRST_USABLE`].
const ENTRIES_MAX: usize = ((FIRST_USABLE - ENTRIES) * SECTOR) as usize / ENTRY_SIZE as usize;

/// Entries in a sector.
const PER_SECTOR: u32 = SECTOR as u32 / ENTRY_SIZE;

/// Options of [`Disk::partitioned`](crate::Disk::partitioned).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GptOptions {
    /// What starts of partitions, and the disk's size, are multiples of.
    pub alignment: Alignment,
}

impl Default for GptOptions {
    fn default() -> Self {
        Self {
            alignment: Alignment::MEBIBYTE,
        }
    }
}

/// Where everything will be.
#[derive(Debug)]
pub(crate) struct Plan {
    disk: Guid,
    entries: Vec<Entry>,
    /// In the whole disk.
    sectors: u64,
    /// Number of entries in the table, used or not.
    count: u32,
}

impl Plan {
    /// For parts that are whole sectors.
    pub(crate) fn new(parts: &[Part], options: &GptOptions) -> Result<Self, DiskError> {
        if parts.len() > ENTRIES_MAX {
            return Err(DiskError::TooManyPartitions {
                found: parts.len(),
                max: ENTRIES_MAX,
            });
        }
        let count = (parts.len() as u32)
            .max(ENTRIES_MIN)
            .next_multiple_of(PER_SECTOR);
        let mut end = FIRST_USABLE * SECTOR;
        let mut entries = Vec::with_capacity(parts.len());
        for (n, part) in parts.iter().enumerate() {
            let start = options.alignment.round_up(end);
            let start = start.ok_or(DiskError::TooLarge)?;
            end = start.checked_add(part.size).ok_or(DiskError::TooLarge)?;
            let digest = identity::digest("GPT partition", &[n as u64, start], [part]);
            entries.push(Entry {
                kind: Guid::LINUX_DATA,
                id: Guid::custom(&digest),
                first: start / SECTOR,
                last: end / SECTOR - 1,
                attributes: 0,
                name: name(&part.name)?,
            });
        }
        let tail = (1 + u64::from(count / PER_SECTOR)) * SECTOR;
        let size = end
            .checked_add(tail)
            .and_then(|size| options.alignment.round_up(size))
            .filter(|&size| size <= i64::MAX as u64)
            .ok_or(DiskError::TooLarge)?;
        Ok(Self {
            disk: Guid::custom(&identity::digest("GPT disk", &[size], parts)),
            entries,
            sectors: size / SECTOR,
            count,
        })
    }

    /// Size of the disk in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Where a part starts, in bytes.
    pub(crate) fn part_offset(&self, part: usize) -> u64 {
        self.entries[part].first * SECTOR
    }

    /// What is at the disk's start: MBR, header, entries.
    pub(crate) fn head(&self) -> Vec<u8> {
        let entries = self.entries();
        let mut head = format::protective_mbr(self.sectors).to_vec();
        let header = self.header(1, self.sectors - 1, ENTRIES, &entries);
        head.extend_from_slice(&header.to_sector());
        head.extend_from_slice(&entries);
        head
    }

    /// What is at the disk's end: entries, header.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let mut tail = self.entries();
        let start = self.sectors - 1 - tail.len() as u64 / SECTOR;
        let header = self.header(self.sectors - 1, 1, start, &tail);
        tail.extend_from_slice(&header.to_sector());
        tail
    }

    fn entries(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.count * ENTRY_SIZE) as usize];
        for (bytes, entry) in bytes
            .chunks_exact_mut(ENTRY_SIZE as usize)
            .zip(&self.entries)
        {
            entry.write(bytes);
        }
        bytes
    }

    fn header(&self, here: u64, other: u64, start: u64, entries: &[u8]) -> Header {
        Header {
            here,
            other,
            first_usable: FIRST_USABLE,
            last_usable: self.sectors - 2 - entries.len() as u64 / SECTOR,
            disk: self.disk,
            entries: start,
            entry_count: self.count,
            entry_size: ENTRY_SIZE,
            entries_crc: crc32fast::hash(entries),
        }
    }
}

fn name(name: &str) -> Result<[u16; NAME_MAX], DiskError> {
    if name.chars().any(char::is_control) {
        return Err(DiskError::NameCharacter { name: name.into() });
    }
    let mut units = [0; NAME_MAX];
    let mut found = 0;
    for unit in name.encode_utf16() {
        if let Some(place) = units.get_mut(found) {
            *place = unit;
        }
        found += 1;
    }
    if found > NAME_MAX {
        return Err(DiskError::NameTooLong {
            name: name.into(),
            found,
        });
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_utf_16() {
        assert_eq!(name("aä😀").unwrap()[..5], [0x61, 0xe4, 0xd83d, 0xde00, 0]);
        assert!(name(&"😀".repeat(18)).is_ok());
        let long = name(&"x".repeat(37));
        assert!(matches!(
            long,
            Err(DiskError::NameTooLong { found: 37, .. })
        ));
        for bad in ["\0", "a\n"] {
            let error = name(bad).unwrap_err();
            assert!(matches!(error, DiskError::NameCharacter { .. }));
        }
    }

    #[test]
    fn as_many_partitions_as_fit() {
        let parts = |n| {
            vec![
                Part {
                    path: "file".into(),
                    size: 512,
                    name: String::new(),
                    identity: Vec::new(),
                };
                n
            ]
        };
        let options = GptOptions {
            alignment: Alignment::SECTOR,
        };
        let plan = Plan::new(&parts(ENTRIES_MAX), &options).unwrap();
        assert_eq!(plan.head().len() as u64, FIRST_USABLE * SECTOR);
        assert_eq!(plan.part_offset(0), 1 << 20);
        let more = Plan::new(&parts(ENTRIES_MAX + 1), &options).unwrap_err();
        let max = ENTRIES_MAX;
        assert_eq!(max, 8184);
        let found = max + 1;
        assert_eq!(more, DiskError::TooManyPartitions { found, max });
    }
}
