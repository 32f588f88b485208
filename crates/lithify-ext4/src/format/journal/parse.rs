//! The blocks of a journal that somebody wrote (`include/linux/jbd2.h`). Numbers are big-endian.

use crate::format::{crc32c, get32};

/// The magic number of the journal's own blocks.
pub(crate) const MAGIC: u32 = 0xc03b_3998;

/// Bytes of the header of the journal's own blocks.
const HEADER_LEN: usize = 12;
/// Bytes of its superblock.
const SUPERBLOCK_LEN: usize = 1024;
/// Bytes of the checksum at the end of lists.
const TAIL_LEN: usize = 4;

const BLOCK_DESCRIPTOR: u32 = 1;
const BLOCK_COMMIT: u32 = 2;
const BLOCK_SUPERBLOCK_1: u32 = 3;
const BLOCK_SUPERBLOCK_2: u32 = 4;
const BLOCK_REVOKE: u32 = 5;

/// A feature that a reader need not know: commits have a checksum of the transaction.
const FEATURE_OLD_CHECKSUMS: u32 = 1;

const FEATURE_REVOKE: u32 = 1;
const FEATURE_64BIT: u32 = 2;
const FEATURE_ASYNC_COMMIT: u32 = 4;
const FEATURE_CHECKSUMS_2: u32 = 8;
const FEATURE_CHECKSUMS_3: u32 = 0x10;
const FEATURE_FAST_COMMIT: u32 = 0x20;
/// All features that a reader has to know and this one does.
pub(crate) const FEATURES_KNOWN: u32 = FEATURE_REVOKE
    | FEATURE_64BIT
    | FEATURE_ASYNC_COMMIT
    | FEATURE_CHECKSUMS_2
    | FEATURE_CHECKSUMS_3
    | FEATURE_FAST_COMMIT;

/// Blocks for fast commits where the superblock does not say.
const FAST_COMMIT_BLOCKS: u32 = 256;

const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;

/// The type of a record that begins fast commits.
const FAST_COMMIT_HEAD: u16 = 9;

fn be16(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    get32(bytes, at).swap_bytes()
}

/// The superblock of a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalSuperblock {
    pub(crate) magic: u32,
    pub(crate) kind: u32,
    pub(crate) block_size: u32,
    /// Blocks of the journal.
    pub(crate) blocks: u32,
    /// The first block of its log.
    pub(crate) first: u32,
    /// The number of the first transaction.
    pub(crate) sequence: u32,
    /// Where that begins; 0 for an empty log.
    pub(crate) start: u32,
    pub(crate) incompat: u32,
    compat: u32,
    fast_commit_blocks: u32,
    /// Filesystems that use it.
    pub(crate) users: u32,
    /// The checksum that is stored, and the right one.
    pub(crate) sums: (u32, u32),
    /// The sum all checksums begin with.
    pub(crate) seed: u32,
}

impl JournalSuperblock {
    /// Reads the superblock of a journal from its first block.
    pub(crate) fn parse(block: &[u8]) -> Self {
        let b = &block[..SUPERBLOCK_LEN];
        let kind = be32(b, 4);
        let has_features = kind == BLOCK_SUPERBLOCK_2;
        let sum = crc32c::update(crc32c::update(!0, &b[..252]), &[0; 4]);
        Self {
            magic: be32(b, 0),
            kind,
            block_size: be32(b, 12),
            blocks: be32(b, 16),
            first: be32(b, 20),
            sequence: be32(b, 24),
            start: be32(b, 28),
            incompat: if has_features { be32(b, 40) } else { 0 },
            compat: if has_features { be32(b, 36) } else { 0 },
            fast_commit_blocks: be32(b, 84),
            users: if has_features { be32(b, 64) } else { 0 },
            sums: (be32(b, 252), crc32c::update(sum, &b[256..])),
            seed: crc32c::update(!0, &b[48..64]),
        }
    }

    /// Tells whether it is of a version there is.
    pub(crate) fn is_known(&self) -> bool {
        matches!(self.kind, BLOCK_SUPERBLOCK_1 | BLOCK_SUPERBLOCK_2)
    }

    /// Tells whether all its blocks have checksums.
    pub(crate) fn has_checksums(&self) -> bool {
        self.incompat & (FEATURE_CHECKSUMS_2 | FEATURE_CHECKSUMS_3) != 0
    }

    /// Tells whether commits have a checksum of all that is in their transactions.
    pub(crate) fn has_old_checksums(&self) -> bool {
        self.compat & FEATURE_OLD_CHECKSUMS != 0
    }

    /// Tells whether a commit may be written before what is in its transaction: a checksum that is wrong is the end then.
    pub(crate) fn may_commit_early(&self) -> bool {
        self.incompat & FEATURE_ASYNC_COMMIT != 0
    }

    fn has_long_checksums(&self) -> bool {
        self.incompat & FEATURE_CHECKSUMS_3 != 0
    }

    fn has_wide_numbers(&self) -> bool {
        self.incompat & FEATURE_64BIT != 0
    }

    fn has_fast_commits(&self) -> bool {
        self.incompat & FEATURE_FAST_COMMIT != 0
    }

    /// Returns the first block of fast commits, if there is room for any.
    pub(crate) fn first_fast_commit(&self) -> Option<u32> {
        // The block between is used for nothing.
        let first = self.end().checked_add(1)?;
        (self.has_fast_commits() && first < self.blocks).then_some(first)
    }

    /// Returns the block behind the last of its log.
    pub(crate) fn end(&self) -> u32 {
        match (self.has_fast_commits(), self.fast_commit_blocks) {
            (false, _) => self.blocks,
            (true, 0) => self.blocks.saturating_sub(FAST_COMMIT_BLOCKS),
            (true, count) => self.blocks.saturating_sub(count),
        }
    }

    /// Returns the bytes of a tag without a UUID behind it (`journal_tag_bytes`).
    fn tag_len(&self) -> usize {
        match (self.has_long_checksums(), self.has_wide_numbers()) {
            (true, _) => 16,
            (false, is_wide) => {
                let longer = self.incompat & FEATURE_CHECKSUMS_2 != 0;
                let wide = if is_wide { 4 } else { 0 };
                8 + wide + if longer { 2 } else { 0 }
            }
        }
    }

    /// Returns the checksum of a list, the one that is stored and the right one.
    pub(crate) fn list_sums(&self, block: &[u8]) -> (u32, u32) {
        let at = block.len() - TAIL_LEN;
        let sum = crc32c::update(self.seed, &block[..at]);
        (be32(block, at), crc32c::update(sum, &[0; TAIL_LEN]))
    }

    /// Returns the checksum of a commit, the one that is stored and the right one.
    pub(crate) fn commit_sums(&self, block: &[u8]) -> (u32, u32) {
        let sum = crc32c::update(self.seed, &block[..16]);
        let sum = crc32c::update(crc32c::update(sum, &[0; 4]), &block[20..]);
        (be32(block, 16), sum)
    }

    /// Returns the checksum of a commit of a transaction with `sum`, the one that is stored and the right one; `None` if it has
    /// none.
    pub(crate) fn old_commit_sums(&self, block: &[u8], sum: u32) -> Option<(u32, u32)> {
        let stored = be32(block, 16);
        match (block[12], block[13], stored) {
            (0, 0, 0) => None,
            // CRC-32, of four bytes.
            (1, 4, _) => Some((stored, sum)),
            _ => Some((stored, !stored)),
        }
    }

    /// Returns the checksum of a logged block, the one of its tag and the right one, of which short tags have the lower half.
    pub(crate) fn data_sums(&self, tag: &Tag, sequence: u32, data: &[u8]) -> (u32, u32) {
        let sum = crc32c::update(self.seed, &sequence.to_be_bytes());
        let sum = crc32c::update(sum, data);
        match self.has_long_checksums() {
            true => (tag.sum, sum),
            false => (tag.sum, sum & 0xffff),
        }
    }

    /// Returns the tags of a list of logged blocks; `None` for lists that reach past their end.
    pub(crate) fn tags(&self, block: &[u8]) -> Option<Vec<Tag>> {
        let length = self.tag_len();
        let tail = if self.has_checksums() { TAIL_LEN } else { 0 };
        let mut rest = &block[HEADER_LEN..block.len() - tail];
        let mut tags = Vec::new();
        // A list that is full need not end with its last tag.
        while rest.len() >= length {
            let (tag, behind) = rest.split_at(length);
            rest = behind;
            let flags = match self.has_long_checksums() {
                true => be32(tag, 4),
                false => be16(tag, 6),
            };
            let high = match self.has_wide_numbers() {
                true => be32(tag, 8),
                false => 0,
            };
            tags.push(Tag {
                block: u64::from(be32(tag, 0)) | u64::from(high) << 32,
                is_escaped: flags & TAG_ESCAPED != 0,
                sum: match self.has_long_checksums() {
                    true => be32(tag, 12),
                    false => be16(tag, 4),
                },
            });
            if flags & TAG_SAME_UUID == 0 {
                rest = rest.get(16..)?;
            }
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        Some(tags)
    }

    /// Returns the blocks a list revokes; `None` for one that reaches past its end.
    pub(crate) fn revoked<'a>(&self, block: &'a [u8]) -> Option<impl Iterator<Item = u64> + 'a> {
        let tail = if self.has_checksums() { TAIL_LEN } else { 0 };
        let end = be32(block, HEADER_LEN) as usize;
        let list = (end <= block.len() - tail)
            .then(|| block.get(HEADER_LEN + 4..end))
            .flatten()?;
        let length = if self.has_wide_numbers() { 8 } else { 4 };
        Some(list.chunks_exact(length).map(move |number| {
            let first = u64::from(be32(number, 0));
            match number.len() {
                8 => first << 32 | u64::from(be32(number, 4)),
                _ => first,
            }
        }))
    }
}

/// The sum an old checksum of a transaction begins with.
pub(crate) const OLD_SUM: u32 = !0;

/// Continues an old checksum of a transaction: CRC-32 with the highest bit first, not inverted at the end.
pub(crate) fn old_sum(sum: u32, block: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut remainder = (byte as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                let is_over = remainder >> 31 == 1;
                remainder = remainder << 1 ^ if is_over { 0x04c1_1db7 } else { 0 };
                bit += 1;
            }
            table[byte] = remainder;
            byte += 1;
        }
        table
    };
    block.iter().fold(sum, |sum, &byte| {
        sum << 8 ^ TABLE[usize::from((sum >> 24) as u8 ^ byte)]
    })
}

/// A logged block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    /// The block of the filesystem it is for.
    pub(crate) block: u64,
    /// Its first four bytes are the magic number, and stand in the journal as zeros.
    pub(crate) is_escaped: bool,
    sum: u32,
}

/// The kind of one of the journal's own blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A list of the blocks behind it.
    Descriptor,
    /// A list of blocks whose earlier versions are not to be replayed.
    Revoke,
    /// The end of a transaction.
    Commit,
}

/// Returns the kind of a block of a transaction; `None` for one that is of no transaction, or of another.
pub(crate) fn kind(block: &[u8], sequence: u32) -> Option<Kind> {
    if be32(block, 0) != MAGIC || be32(block, 8) != sequence {
        return None;
    }
    match be32(block, 4) {
        BLOCK_DESCRIPTOR => Some(Kind::Descriptor),
        BLOCK_COMMIT => Some(Kind::Commit),
        BLOCK_REVOKE => Some(Kind::Revoke),
        _ => None,
    }
}

/// Returns the number of the transaction that a block of fast commits goes on from; `None` for a block that begins none.
/// Numbers there are little-endian.
pub(crate) fn fast_commit_of(block: &[u8]) -> Option<u32> {
    let head = u16::from_le_bytes([block[0], block[1]]) == FAST_COMMIT_HEAD;
    head.then(|| get32(block, 8))
}
