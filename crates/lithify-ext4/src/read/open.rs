//! Opening an image: its superblock, checked.

use super::blocks::{Blocks, read};
use super::{Image, compare};
use crate::format::superblock::parse::{
    INCOMPAT_KNOWN, INCOMPAT_RECOVER, JOURNAL_DEVICE, Superblock, checksum, magic,
};
use crate::format::{DESCRIPTOR_LEN, SUPERBLOCK_LEN, SUPERBLOCK_OFFSET};
use crate::{Damage, ReadAt, ReadError};

impl<R: ReadAt> Image<R> {
    /// Opens an image.
    ///
    /// # Errors
    /// [`ReadError`] when the source fails, is no image of ext2, ext3 or ext4, is cut short, or has features or a superblock that
    /// make no sense; [`ReadError::Journal`] when it was not unmounted and its journal cannot be replayed.
    pub fn open(source: R) -> Result<Self, ReadError> {
        let length = source
            .size()
            .map_err(|source| ReadError::Length { source })?;
        let expected = SUPERBLOCK_OFFSET + SUPERBLOCK_LEN as u64;
        if length < expected {
            return Err(ReadError::TooShort {
                expected,
                found: length,
            });
        }
        let mut bytes = [0; SUPERBLOCK_LEN];
        read(&source, SUPERBLOCK_OFFSET, &mut bytes)?;
        let superblock = parse(&bytes)?;
        check_length(&superblock, length)?;
        let blocks = Blocks::new(source, superblock.block_size, superblock.blocks);
        let mut image = Self {
            superblock,
            blocks,
            is_replayed: false,
        };
        if image.superblock.has_incompat(INCOMPAT_RECOVER) {
            image.replay(length)?;
        }
        Ok(image)
    }

    /// Reads the superblock again, as the journal has it: the filesystem may have grown.
    pub(super) fn reread_superblock(&mut self, length: u64) -> Result<(), ReadError> {
        let mut bytes = [0; SUPERBLOCK_LEN];
        self.blocks.read(SUPERBLOCK_OFFSET, &mut bytes)?;
        let superblock = parse(&bytes)?;
        if superblock.block_size != self.superblock.block_size {
            return Err(ReadError::Superblock {
                reason: Damage::Field {
                    field: "the block size in the journal",
                    expected: "the one in front of the journal",
                    found: superblock.block_size.into(),
                },
            });
        }
        check_length(&superblock, length)?;
        self.blocks.count = superblock.blocks;
        self.superblock = superblock;
        Ok(())
    }
}

fn check_length(superblock: &Superblock, length: u64) -> Result<(), ReadError> {
    let expected = u128::from(superblock.blocks) * u128::from(superblock.block_size);
    match expected > u128::from(length) {
        true => Err(ReadError::Truncated {
            expected: u64::try_from(expected).unwrap_or(u64::MAX),
            found: length,
        }),
        false => Ok(()),
    }
}

/// Reads a superblock and checks all that reading anything depends on.
fn parse(bytes: &[u8; SUPERBLOCK_LEN]) -> Result<Superblock, ReadError> {
    let (found, expected) = magic(bytes);
    if found != expected {
        return Err(ReadError::Magic { expected, found });
    }
    let s = Superblock::decode(bytes);
    if s.has_incompat(JOURNAL_DEVICE) {
        return Err(ReadError::JournalDevice);
    }
    let unknown = s.incompat & !INCOMPAT_KNOWN;
    if unknown != 0 {
        let known = INCOMPAT_KNOWN;
        return Err(ReadError::Features { unknown, known });
    }
    if s.has_checksums() {
        compare(checksum(bytes)).map_err(|reason| ReadError::Superblock { reason })?;
    }
    check(&s).map_err(|(field, expected, found)| ReadError::Superblock {
        reason: Damage::Field {
            field,
            expected,
            found,
        },
    })?;
    Ok(s)
}

type Wrong = (&'static str, &'static str, u64);

fn check(s: &Superblock) -> Result<(), Wrong> {
    let must = |is_right: bool, field, expected, found: u64| match is_right {
        true => Ok(()),
        false => Err((field, expected, found)),
    };
    must(s.revision <= 1, "the revision", "0 or 1", s.revision.into())?;
    must(
        s.block_bits <= 6,
        "the binary logarithm of the block size",
        "at most 6 over 1024 bytes",
        s.block_bits.into(),
    )?;
    let bits = s.cluster_bits;
    must(
        s.cluster_blocks != 0 && bits <= 20 && (s.cluster_blocks == 1 || bits >= s.block_bits),
        "the binary logarithm of the cluster size",
        "that of the block size to 20",
        bits.into(),
    )?;
    let inode_size = s.inode_size;
    must(
        inode_size.is_power_of_two() && (128..=s.block_size).contains(&inode_size),
        "the size of inodes",
        "a power of 2 from 128 to the block size",
        s.inode_len.into(),
    )?;
    let length = s.descriptor_len;
    let is_wide = s.has_incompat(crate::format::superblock::INCOMPAT_64BIT);
    let least = if is_wide { DESCRIPTOR_LEN as u32 } else { 32 };
    must(
        length.is_power_of_two() && (least..=1024).contains(&length),
        "the size of group descriptors",
        "a power of 2 from 64 to 1024",
        length.into(),
    )?;
    must(
        !s.has_checksums() || s.checksum_type == 1,
        "the type of checksums",
        "1",
        s.checksum_type.into(),
    )?;
    let first = u32::from(s.block_size == 1024 && s.cluster_blocks == 1);
    must(
        s.first_block == first,
        "the first block",
        "1 with blocks of 1024 bytes, else 0",
        s.first_block.into(),
    )?;
    must(
        s.blocks > u64::from(s.first_block) + 1 && s.blocks <= 1 << 48,
        "the number of blocks",
        "at least 2 and at most 2⁴⁸",
        s.blocks,
    )?;
    let most = u64::from(s.block_size) * 8;
    must(
        s.blocks_per_group != 0
            && s.blocks_per_group.is_multiple_of(s.cluster_blocks)
            && (s.blocks_per_group / s.cluster_blocks).is_multiple_of(8)
            && u64::from(s.blocks_per_group / s.cluster_blocks) <= most,
        "the number of blocks of a group",
        "a multiple of 8, at most as many as a block has bits",
        s.blocks_per_group.into(),
    )?;
    must(
        u64::from(s.inodes_per_group) <= most
            && s.inodes_per_group.is_multiple_of(8)
            && s.inodes_per_group >= s.block_size / inode_size,
        "the number of inodes of a group",
        "those of a block or more, a multiple of 8, at most as many as a block has bits",
        s.inodes_per_group.into(),
    )?;
    let groups = (s.blocks - u64::from(s.first_block)).div_ceil(s.blocks_per_group.into());
    let inodes = u128::from(groups) * u128::from(s.inodes_per_group);
    must(
        inodes == u128::from(s.inodes)
            && inodes * u128::from(inode_size) <= u128::from(s.blocks) * u128::from(s.block_size),
        "the number of inodes",
        "that of a group for each group, and room for them",
        s.inodes.into(),
    )?;
    must(
        s.first_inode >= crate::format::FIRST_INODE && s.first_inode <= s.inodes,
        "the first inode that is not reserved",
        "11 or one behind it",
        s.first_inode.into(),
    )
}
