//! What stands where.

use crate::error::DiskError;
use crate::gpt::{self, GptOptions};
use crate::part::Part;
use crate::{Alignment, SECTOR};

/// Linux' and this crate's largest disk, in bytes.
const SIZE_MAX: u64 = i64::MAX as u64;

/// What a stretch of a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A whole part, by its number.
    Part(usize),
    /// Nothing.
    Zeros,
    /// A partition table.
    Bytes(Vec<u8>),
}

/// A stretch of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it starts, in bytes; a multiple of 512.
    pub offset: u64,
    /// Its length in bytes; a multiple of 512, never 0.
    pub length: u64,
    /// What it is.
    pub content: Content,
}

/// Which file stands where on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    parts: Vec<Part>,
    pieces: Vec<Piece>,
    size: u64,
}

impl Disk {
    /// The parts one behind the other, each at a multiple of `alignment`; the disk's size is one too.
    ///
    /// # Errors
    /// No parts, parts that are empty or end within a sector, or more than 2⁶³ − 1 bytes.
    pub fn concatenated(parts: Vec<Part>, alignment: Alignment) -> Result<Self, DiskError> {
        let mut disk = Self::new(parts)?;
        for part in 0..disk.parts.len() {
            disk.pad_to(alignment.round_up(disk.size))?;
            disk.push_part(part)?;
        }
        disk.pad_to(alignment.round_up(disk.size))?;
        Ok(disk)
    }

    /// Each part in a partition of its own, of its size, behind a GUID partition table; a copy of the table is at the
    /// end. The disk's size is a multiple of the alignment.
    ///
    /// # Errors
    /// As [`Disk::concatenated`]; more parts than a table has room for, and names that do not fit in one.
    pub fn partitioned(parts: Vec<Part>, options: &GptOptions) -> Result<Self, DiskError> {
        let mut disk = Self::new(parts)?;
        let plan = gpt::Plan::new(&disk.parts, options)?;
        let (head, tail) = (plan.head(), plan.tail());
        disk.push(head.len() as u64, Content::Bytes(head))?;
        for part in 0..disk.parts.len() {
            disk.pad_to(Some(plan.part_offset(part)))?;
            disk.push_part(part)?;
        }
        disk.pad_to(plan.size().checked_sub(tail.len() as u64))?;
        disk.push(tail.len() as u64, Content::Bytes(tail))?;
        debug_assert_eq!(disk.size, plan.size());
        Ok(disk)
    }

    fn new(parts: Vec<Part>) -> Result<Self, DiskError> {
        if parts.is_empty() {
            return Err(DiskError::NoParts);
        }
        for Part { path, size, .. } in &parts {
            if *size == 0 {
                return Err(DiskError::EmptyPart { path: path.clone() });
            }
            if !size.is_multiple_of(SECTOR) {
                return Err(DiskError::PartSize {
                    path: path.clone(),
                    size: *size,
                });
            }
        }
        Ok(Self {
            parts,
            pieces: Vec::new(),
            size: 0,
        })
    }

    fn push_part(&mut self, part: usize) -> Result<(), DiskError> {
        self.push(self.parts[part].size, Content::Part(part))
    }

    fn pad_to(&mut self, offset: Option<u64>) -> Result<(), DiskError> {
        let length = offset.and_then(|offset| offset.checked_sub(self.size));
        match length.ok_or(DiskError::TooLarge)? {
            0 => Ok(()),
            length => self.push(length, Content::Zeros),
        }
    }

    fn push(&mut self, length: u64, content: Content) -> Result<(), DiskError> {
        let offset = self.size;
        let end = offset.checked_add(length).filter(|&end| end <= SIZE_MAX);
        self.size = end.ok_or(DiskError::TooLarge)?;
        self.pieces.push(Piece {
            offset,
            length,
            content,
        });
        Ok(())
    }

    /// The parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All stretches, in order and without gaps.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where a part starts, in bytes.
    ///
    /// # Panics
    /// When there is no part of that number.
    #[must_use]
    pub fn part_offset(&self, part: usize) -> u64 {
        let piece = self
            .pieces
            .iter()
            .find(|piece| piece.content == Content::Part(part));
        match piece {
            Some(piece) => piece.offset,
            None => panic!("no part {part} on a disk of {}", self.parts.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(size: u64) -> Part {
        Part {
            path: "file".into(),
            size,
            name: "name".into(),
            identity: Vec::new(),
        }
    }

    #[test]
    fn parts_follow_each_other_or_are_aligned() {
        let sizes = [1024, 4 << 20, 512];
        let parts = || sizes.map(part).to_vec();
        let disk = Disk::concatenated(parts(), Alignment::SECTOR).unwrap();
        let offsets = |disk: &Disk| [0, 1, 2].map(|n| disk.part_offset(n));
        assert_eq!(offsets(&disk), [0, 1024, 1024 + (4 << 20)]);
        assert_eq!(disk.size(), sizes.iter().sum::<u64>());
        assert_eq!(disk.pieces().len(), 3);

        let disk = Disk::concatenated(parts(), Alignment::HUGE_PAGE).unwrap();
        assert_eq!(offsets(&disk), [0, 2 << 20, 6 << 20]);
        assert_eq!(disk.size(), 8 << 20);
        let mut end = 0;
        for piece in disk.pieces() {
            assert_eq!(piece.offset, end);
            end += piece.length;
        }
        assert_eq!(end, disk.size());
    }

    #[test]
    fn what_makes_no_disk() {
        let make = |sizes: &[u64]| {
            Disk::concatenated(
                sizes.iter().copied().map(part).collect(),
                Alignment::MEBIBYTE,
            )
            .unwrap_err()
        };
        assert_eq!(make(&[]), DiskError::NoParts);
        assert!(matches!(make(&[512, 0]), DiskError::EmptyPart { .. }));
        let odd = make(&[512, 1000]);
        assert_eq!(
            odd.to_string(),
            "file has 1000 bytes: pad it to a multiple of 512 first"
        );
        let half = 1 << 62;
        assert_eq!(make(&[half, half]), DiskError::TooLarge);
        assert_eq!(make(&[u64::MAX - 511]), DiskError::TooLarge);
        assert_eq!(make(&[u64::MAX - 511; 3]), DiskError::TooLarge);
    }
}
