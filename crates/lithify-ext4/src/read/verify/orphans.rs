//! Inodes in use that no name leads to: the filesystem's own, orphans, and those that are lost.

use super::{ProblemKind, Verifier};
use crate::format::inode::Stored;
use crate::format::superblock::parse::{COMPAT_ORPHAN_FILE, RO_ORPHANS};
use crate::format::{crc32c, get32};
use crate::read::compare;
use crate::read::data::Position;
use crate::{Damage, FileType, ReadAt, ReadError};

/// Most blocks of a list of orphans (`EXT4_MAX_ORPHAN_FILE_BLOCKS`).
const ORPHAN_BLOCKS_MAX: u64 = 512;
/// The magic number of those blocks.
const ORPHAN_MAGIC: u32 = 0x0b10_ca04;

impl<R: ReadAt> Verifier<'_, R> {
    /// Reads the lists of orphans.
    pub(super) fn find_orphans(&mut self) -> Result<(), ReadError> {
        let s = &self.image.superblock;
        let mut next = s.last_orphan;
        // Each inode is in the list once.
        while next != 0 && self.orphans.insert(next) {
            let stored = self.image.stored_inode(next);
            let Some((_, stored)) = self.tried(stored)? else {
                break;
            };
            next = stored.dtime;
        }
        if s.compat & COMPAT_ORPHAN_FILE != 0 && s.orphan_file != 0 {
            let read = self.orphan_file();
            self.tried(read)?;
        }
        self.report.own.orphans = self.orphans.len() as u64;
        Ok(())
    }

    fn orphan_file(&mut self) -> Result<(), ReadError> {
        let image = self.image;
        let s = &image.superblock;
        let file = image.any_inode(s.orphan_file)?;
        file.expect(FileType::File)?;
        let block_size = image.block_size();
        let limit = ORPHAN_BLOCKS_MAX * block_size;
        let size = file.size();
        if size > limit {
            return Err(file.damaged(Damage::Size { size, limit }));
        }
        let mut bytes = vec![0; block_size as usize];
        let (list, tail) = (bytes.len() - 8, bytes.len() - 4);
        let mut position = Position::default();
        for logical in 0..size / block_size {
            image.fill(&file, logical * block_size, &mut bytes, &mut position)?;
            let run = image.find_block(&file, logical, &mut None)?;
            let damaged = |reason| ReadError::Block {
                what: "the list of orphans",
                number: file.number(),
                block: run.physical.unwrap_or(0),
                reason,
            };
            let magic = get32(&bytes, list);
            if magic != ORPHAN_MAGIC {
                return Err(damaged(Damage::Field {
                    field: "the magic number",
                    expected: "0x0b10ca04",
                    found: magic.into(),
                }));
            }
            if s.has_checksums() {
                let number = run.physical.unwrap_or(0).to_le_bytes();
                let sum = crc32c::update(crc32c::update(file.seed, &number), &bytes[..list]);
                compare((get32(&bytes, tail), sum)).map_err(damaged)?;
            }
            let numbers = bytes[..list].chunks_exact(4).map(|word| get32(word, 0));
            let numbers = numbers.filter(|&number| number != 0);
            if s.has_read_only_compat(RO_ORPHANS) {
                self.orphans.extend(numbers);
            } else if let Some(number) = numbers.into_iter().next() {
                // Linux does not look at the list then.
                return Err(damaged(Damage::Field {
                    field: "an orphan",
                    expected: "none, as the superblock says",
                    found: number.into(),
                }));
            }
        }
        Ok(())
    }

    pub(super) fn is_orphan_file(&self, number: u32) -> bool {
        let s = &self.image.superblock;
        s.compat & COMPAT_ORPHAN_FILE != 0 && number == s.orphan_file
    }

    /// Tells whether an inode is behind what its group says was ever used.
    pub(super) fn is_never_used(&mut self, number: u32) -> Result<bool, ReadError> {
        let per_group = self.image.superblock.inodes_per_group;
        let index = number - 1;
        let used = self.used_of_table(index / per_group)?;
        Ok(index % per_group >= used)
    }

    /// Looks for inodes in use that have not been reached.
    pub(super) fn remaining_inodes(&mut self) -> Result<(), ReadError> {
        let s = &self.image.superblock;
        let (groups, per_group, first_inode) = (s.groups(), s.inodes_per_group, s.first_inode);
        for group in 0..groups {
            for index in 0..self.used_of_table(group)? {
                let number = group * per_group + index + 1;
                let is_reserved = number < first_inode;
                if is_reserved {
                    self.in_use.insert(u64::from(number) - 1);
                }
                if self.reached.contains(u64::from(number) - 1) {
                    continue;
                }
                if is_reserved {
                    let checked = self.reserved_inode(number);
                    self.tried(checked)?;
                    continue;
                }
                let read = self.image.stored_inode(number);
                let Some((bytes, stored)) = self.tried(read)? else {
                    // The table is not where it should be.
                    break;
                };
                let is_orphan = self.orphans.contains(&number);
                if stored.links == 0 && !is_orphan {
                    self.deleted(number, &stored);
                    continue;
                }
                let inode = self.image.check_inode(number, bytes.get(), stored);
                self.in_use.insert(u64::from(number) - 1);
                let Some(inode) = self.tried(inode)? else {
                    continue;
                };
                if !is_orphan && !self.is_own(number) {
                    let kind = ProblemKind::Unreachable { number };
                    self.problem(kind);
                }
                self.inode(&inode, false)?;
            }
        }
        Ok(())
    }

    /// Checks an inode without names: what was in use once has been deleted since.
    fn deleted(&mut self, number: u32, stored: &Stored) {
        self.orphans_link(number, stored);
        if stored.dtime == 0 && stored.mode != 0 {
            self.time_of_deletion(number, stored.dtime);
        }
    }

    /// Checks that the time of deletion of an inode that is none of the orphans is no link of their list.
    pub(super) fn orphans_link(&mut self, number: u32, stored: &Stored) {
        let s = &self.image.superblock;
        // Small numbers are inodes, unless times are as small.
        let has_times = s.times.iter().all(|&time| time == 0 || time >= s.inodes);
        if has_times && (1..s.inodes).contains(&stored.dtime) {
            self.time_of_deletion(number, stored.dtime);
        }
    }

    fn time_of_deletion(&mut self, number: u32, found: u32) {
        let reason = Damage::Field {
            field: "the time of deletion",
            expected: "a time, as it has no names",
            found: found.into(),
        };
        self.damaged(ReadError::Inode { number, reason });
    }
}
