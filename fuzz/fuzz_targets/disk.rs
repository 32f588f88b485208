//! Any bytes as a VMDK descriptor, and as the start of a disk with a partition table (the disk's size is what the primary
//! header says, the backup is made from it, checksums are made right): no panic, and everything accepted lies where it
//! may.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use lithify_disk::ReadAt;
use lithify_disk::gpt::Table;
use lithify_disk::vmdk::{Descriptor, PathRule};

fuzz_target!(|data: &[u8]| {
    for rule in [PathRule::Below, PathRule::Any] {
        let Ok(found) = Descriptor::parse(data, rule) else {
            continue;
        };
        assert!(found.size() <= i64::MAX as u64);
        assert_eq!(
            found.runs().iter().map(|run| run.length).sum::<u64>(),
            found.size()
        );
        for extent in &found.extents {
            assert!(!extent.path.contains(['"', '\n', '\r', '\0']));
            let outside = extent.path.starts_with('/') || extent.path.split('/').any(|c| c == "..");
            assert!(rule == PathRule::Any || !outside);
        }
    }
    let Some(disk) = Disk::of(data) else {
        return;
    };
    if let Ok(table) = Table::read(&disk) {
        for partition in &table.partitions {
            assert!(partition.length > 0);
            assert!(partition.offset + partition.length <= disk.size);
        }
    }
});

/// A disk whose middle is zeros.
struct Disk {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
}

impl Disk {
    fn of(data: &[u8]) -> Option<Self> {
        let mut head = data.to_vec();
        if head.len() < 1024 {
            return None;
        }
        let header = &mut head[512..1024];
        let u32_at = |bytes: &[u8], at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |bytes: &[u8], at: usize| {
            u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
        };
        let last = u64_at(header, 32).min(1 << 50);
        let start = usize::try_from(u64_at(header, 72)).ok()?.checked_mul(512)?;
        let length = u64::from(u32_at(header, 80)) * u64::from(u32_at(header, 84));
        let length = usize::try_from(length).ok()?;
        let entries = data.get(start..start.checked_add(length)?)?;
        header[88..92].copy_from_slice(&crc32fast::hash(entries).to_le_bytes());
        let mut backup = header.to_vec();
        fix_checksum(header);

        let mut tail = entries.to_vec();
        tail.resize(length.next_multiple_of(512), 0);
        let entries_start = last.saturating_sub(tail.len() as u64 / 512);
        backup[24..32].copy_from_slice(&last.to_le_bytes());
        backup[32..40].copy_from_slice(&1_u64.to_le_bytes());
        backup[72..80].copy_from_slice(&entries_start.to_le_bytes());
        fix_checksum(&mut backup);
        tail.extend_from_slice(&backup);
        let size = (last + 1) * 512;
        (size >= (head.len() + tail.len()) as u64).then_some(Self { head, tail, size })
    }
}

fn fix_checksum(header: &mut [u8]) {
    let size = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
    header[16..20].fill(0);
    if let Some(covered) = header.get(..size) {
        let sum = crc32fast::hash(covered).to_le_bytes();
        header[16..20].copy_from_slice(&sum);
    }
}

impl ReadAt for Disk {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buffer.len() as u64)
            .is_none_or(|end| end > self.size)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let tail = self.size - self.tail.len() as u64;
        for (n, byte) in buffer.iter_mut().enumerate() {
            let at = offset + n as u64;
            *byte = match (self.head.get(at as usize), at.checked_sub(tail)) {
                (Some(byte), _) => *byte,
                (None, Some(at)) => self.tail[at as usize],
                (None, None) => 0,
            };
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
