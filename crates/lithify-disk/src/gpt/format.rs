//! The structures on disk. All numbers are little-endian.

use super::error::HeaderProblem;
use super::guid::Guid;
use crate::SECTOR;

pub(super) const SIGNATURE: [u8; 8] = *b"EFI PART";
pub(super) const REVISION: u32 = 0x0001_0000;
pub(super) const HEADER_SIZE: u32 = 92;
pub(super) const ENTRY_SIZE: u32 = 128;
/// Entries a table has at least.
pub(super) const ENTRIES_MIN: u32 = 128;
/// UTF-16 units in a name.
pub(super) const NAME_MAX: usize = 36;

/// A header, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its own sector.
    pub(super) here: u64,
    /// The other copy's sector.
    pub(super) other: u64,
    pub(super) first_usable: u64,
    pub(super) last_usable: u64,
    pub(super) disk: Guid,
    /// First sector of the entries.
    pub(super) entries: u64,
    pub(super) entry_count: u32,
    pub(super) entry_size: u32,
    pub(super) entries_crc: u32,
}

impl Header {
    pub(super) fn to_sector(self) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        let mut put = |offset: usize, value: &[u8]| {
            sector[offset..offset + value.len()].copy_from_slice(value);
        };
        put(0, &SIGNATURE);
        put(8, &REVISION.to_le_bytes());
        put(12, &HEADER_SIZE.to_le_bytes());
        put(24, &self.here.to_le_bytes());
        put(32, &self.other.to_le_bytes());
        put(40, &self.first_usable.to_le_bytes());
        put(48, &self.last_usable.to_le_bytes());
        put(56, self.disk.as_bytes());
        put(72, &self.entries.to_le_bytes());
        put(80, &self.entry_count.to_le_bytes());
        put(84, &self.entry_size.to_le_bytes());
        put(88, &self.entries_crc.to_le_bytes());
        // Over the header with this field zero.
        let crc = crc32fast::hash(&sector[..HEADER_SIZE as usize]);
        sector[16..20].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    pub(super) fn parse(sector: &[u8; SECTOR as usize]) -> Result<Self, HeaderProblem> {
        if sector[..8] != SIGNATURE {
            return Err(HeaderProblem::Signature);
        }
        let revision = u32_at(sector, 8);
        if revision != REVISION {
            return Err(HeaderProblem::Revision { found: revision });
        }
        let size = u32_at(sector, 12);
        if !(HEADER_SIZE..=SECTOR as u32).contains(&size) {
            return Err(HeaderProblem::Size { found: size });
        }
        let found = u32_at(sector, 16);
        let mut zeroed = *sector;
        zeroed[16..20].fill(0);
        let expected = crc32fast::hash(&zeroed[..size as usize]);
        if found != expected {
            return Err(HeaderProblem::Checksum { expected, found });
        }
        Ok(Self {
            here: u64_at(sector, 24),
            other: u64_at(sector, 32),
            first_usable: u64_at(sector, 40),
            last_usable: u64_at(sector, 48),
            disk: guid_at(sector, 56),
            entries: u64_at(sector, 72),
            entry_count: u32_at(sector, 80),
            entry_size: u32_at(sector, 84),
            entries_crc: u32_at(sector, 88),
        })
    }
}

/// An entry, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Guid,
    pub(super) id: Guid,
    pub(super) first: u64,
    /// The last sector that belongs to it.
    pub(super) last: u64,
    pub(super) attributes: u64,
    pub(super) name: [u16; NAME_MAX],
}

impl Entry {
    pub(super) fn write(&self, entry: &mut [u8]) {
        entry[..16].copy_from_slice(self.kind.as_bytes());
        entry[16..32].copy_from_slice(self.id.as_bytes());
        entry[32..40].copy_from_slice(&self.first.to_le_bytes());
        entry[40..48].copy_from_slice(&self.last.to_le_bytes());
        entry[48..56].copy_from_slice(&self.attributes.to_le_bytes());
        for (bytes, unit) in entry[56..128].chunks_exact_mut(2).zip(self.name) {
            bytes.copy_from_slice(&unit.to_le_bytes());
        }
    }

    /// The entry in at least [`ENTRY_SIZE`] bytes.
    pub(super) fn parse(entry: &[u8]) -> Self {
        let mut name = [0; NAME_MAX];
        for (unit, bytes) in name.iter_mut().zip(entry[56..128].chunks_exact(2)) {
            *unit = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        Self {
            kind: guid_at(entry, 0),
            id: guid_at(entry, 16),
            first: u64_at(entry, 32),
            last: u64_at(entry, 40),
            attributes: u64_at(entry, 48),
            name,
        }
    }
}

/// The MBR that tells programs which know no GPT that the disk is in use: one partition of type EE over all of it
/// (UEFI, 5.2.3).
pub(super) fn protective_mbr(disk_sectors: u64) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    let entry = &mut sector[446..462];
    // Sector 1 as cylinder 0, head 0, sector 2; an end beyond what cylinders can say.
    entry[1..4].copy_from_slice(&[0, 2, 0]);
    entry[4] = 0xee;
    entry[5..8].copy_from_slice(&[0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1_u32.to_le_bytes());
    entry[12..16].copy_from_slice(&protected(disk_sectors).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Whether a sector is such an MBR. Some programs write ffffffff as the length whatever the size, which Linux accepts.
pub(super) fn is_protective_mbr(sector: &[u8; SECTOR as usize], disk_sectors: u64) -> bool {
    let length = u32_at(sector, 458);
    sector[510..] == [0x55, 0xaa]
        && sector[450] == 0xee
        && u32_at(sector, 454) == 1
        && (length == protected(disk_sectors) || length == u32::MAX)
        && sector[462..510].iter().all(|&b| b == 0)
}

fn protected(disk_sectors: u64) -> u32 {
    u32::try_from(disk_sectors.saturating_sub(1)).unwrap_or(u32::MAX)
}

fn take<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[offset..offset + N]);
    taken
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(take(bytes, offset))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(take(bytes, offset))
}

fn guid_at(bytes: &[u8], offset: usize) -> Guid {
    Guid::from_bytes(take(bytes, offset))
}
