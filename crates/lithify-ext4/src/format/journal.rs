//! The journal: its first block (`journal_superblock_t`), big endian.

pub(crate) mod parse; // the journal as it is found

/// Returns the superblock of an empty journal of so many blocks.
pub(crate) fn superblock(block_size: usize, blocks: u32, uuid: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0, parse::MAGIC);
    // A superblock, version 2.
    put(4, 4);
    put(12, block_size as u32);
    put(16, blocks);
    // Its log begins at block 1 with commit 1; nothing is in it.
    put(20, 1);
    put(24, 1);
    // Of one user.
    put(64, 1);
    bytes[48..64].copy_from_slice(&uuid);
    bytes
}

/// Returns the blocks of the journal `mke2fs` makes for a filesystem of so many (`ext2fs_default_journal_size`); 0 for one too
/// small to have any.
pub(crate) const fn default_blocks(blocks: u64) -> u32 {
    match blocks {
        0..2048 => 0,
        2048..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        8_388_608..16_777_216 => 65_536,
        16_777_216..33_554_432 => 131_072,
        _ => 262_144,
    }
}
