//! Changes that are only in the journal, of a filesystem that was not unmounted: blocks of transactions that were committed, the
//! last of each. They are found once, and read where they are in the journal.

use std::collections::{BTreeMap, HashMap};

use super::Image;
use super::blocks::Newer;
use super::inode::Inode;
use super::map::Hint;
use crate::format::journal::parse::{
    FEATURES_KNOWN, JournalSuperblock, Kind, MAGIC, OLD_SUM, Tag, fast_commit_of, kind, old_sum,
};
use crate::format::superblock::COMPAT_JOURNAL;
use crate::{FileType, JournalDamage, ReadAt, ReadError};

/// Most blocks whose changes are remembered: what 4 GiB of log with blocks of 4 KiB can have.
const CHANGES_MAX: usize = 1 << 20;

/// A change of a block.
#[derive(Clone, Copy, Debug)]
struct Change {
    tag: Tag,
    /// The transaction's number.
    sequence: u32,
    /// Where the content is: the block of the journal, and of the image.
    logged: u32,
    block: u64,
}

/// What is wrong with a transaction, unless it was never committed.
type Wrong = Option<JournalDamage>;

/// The blocks of a journal.
struct Log<'a, R> {
    image: &'a Image<R>,
    inode: Inode,
    superblock: JournalSuperblock,
    hint: Option<Hint>,
    buffer: Vec<u8>,
}

impl<R: ReadAt> Image<R> {
    /// Finds the blocks that are newer in the journal.
    pub(super) fn replay(&mut self, length: u64) -> Result<(), ReadError> {
        let changes = self.changes(length)?;
        let newer = changes
            .into_iter()
            .map(|(target, change)| {
                let newer = Newer {
                    block: change.block,
                    is_escaped: change.tag.is_escaped,
                };
                (target, newer)
            })
            .collect();
        self.blocks.replay(newer);
        self.is_replayed = true;
        self.reread_superblock(length)
    }

    fn changes(&self, length: u64) -> Result<BTreeMap<u64, Change>, ReadError> {
        let mut log = self.log()?;
        log.changes(length / self.block_size())
    }

    /// Checks the journal of a filesystem that was unmounted: it is all there, and its log is empty.
    pub(super) fn check_journal(&self) -> Result<(), ReadError> {
        let mut log = self.log()?;
        let mut block = 0;
        while block < log.inode.size() / self.block_size() {
            let run = self.find_block(&log.inode, block, &mut log.hint);
            let run = run.map_err(of_inode)?;
            if run.physical.is_none() {
                let block = u32::try_from(block).unwrap_or(u32::MAX);
                return Err(damaged(JournalDamage::Hole { block }));
            }
            block += run.blocks;
        }
        let (users, start) = (log.superblock.users, log.superblock.start);
        for (is_right, field, expected, found) in [
            (users <= 1, "the number of users", "at most 1", users),
            (
                start == 0,
                "the start of the log",
                "0 in a filesystem that was unmounted",
                start,
            ),
        ] {
            if !is_right {
                let found = found.into();
                return Err(damaged(JournalDamage::Superblock {
                    field,
                    expected,
                    found,
                }));
            }
        }
        Ok(())
    }

    fn log(&self) -> Result<Log<'_, R>, ReadError> {
        let s = &self.superblock;
        if s.journal_inode == 0 || s.compat & COMPAT_JOURNAL == 0 {
            return Err(damaged(match s.journal_device {
                0 => JournalDamage::Missing,
                _ => JournalDamage::External,
            }));
        }
        let inode = self.any_inode(s.journal_inode).map_err(of_inode)?;
        inode.expect(FileType::File).map_err(of_inode)?;
        let mut log = Log {
            image: self,
            inode,
            superblock: JournalSuperblock::parse(&[0; 1024]),
            hint: None,
            buffer: vec![0; s.block_size as usize],
        };
        log.open()?;
        Ok(log)
    }
}

fn damaged(reason: JournalDamage) -> ReadError {
    ReadError::Journal { reason }
}

fn of_inode(error: ReadError) -> ReadError {
    match error {
        e @ ReadError::Io { .. } => e,
        e => damaged(JournalDamage::Inode(Box::new(e))),
    }
}

impl<R: ReadAt> Log<'_, R> {
    /// Finds a block of the journal.
    fn locate(&mut self, block: u32) -> Result<u64, ReadError> {
        let found = self
            .image
            .find_block(&self.inode, block.into(), &mut self.hint)
            .map_err(of_inode)?;
        found
            .physical
            .ok_or_else(|| damaged(JournalDamage::Hole { block }))
    }

    /// Reads a block of the journal. Returns where it is.
    fn read(&mut self, block: u32) -> Result<u64, ReadError> {
        let at = self.locate(block)?;
        let offset = at * self.image.block_size();
        self.image.blocks.read(offset, &mut self.buffer)?;
        Ok(at)
    }

    fn open(&mut self) -> Result<(), ReadError> {
        self.read(0)?;
        let s = JournalSuperblock::parse(&self.buffer);
        let must = |is_right: bool, field, expected, found: u32| match is_right {
            true => Ok(()),
            false => Err(damaged(JournalDamage::Superblock {
                field,
                expected,
                found: found.into(),
            })),
        };
        must(s.magic == MAGIC, "the magic number", "0xc03b3998", s.magic)?;
        must(s.is_known(), "the type", "3 or 4", s.kind)?;
        let unknown = s.incompat & !FEATURES_KNOWN;
        if unknown != 0 {
            return Err(damaged(JournalDamage::Features { unknown }));
        }
        if s.has_checksums() {
            sums("the superblock", 0, s.sums).map_or(Ok(()), |e| Err(damaged(e)))?;
        }
        let block_size = self.image.superblock.block_size;
        must(
            s.block_size == block_size,
            "the block size",
            "that of the filesystem",
            s.block_size,
        )?;
        let room = self.inode.size() / u64::from(block_size);
        must(
            u64::from(s.blocks) <= room,
            "the number of blocks",
            "at most those of its inode",
            s.blocks,
        )?;
        let end = s.end();
        must(
            s.first >= 1 && s.first < end,
            "the first block of the log",
            "one of its blocks, not the first",
            s.first,
        )?;
        must(
            s.start == 0 || (s.first..end).contains(&s.start),
            "the start of the log",
            "a block of the log, or 0",
            s.start,
        )?;
        self.superblock = s;
        Ok(())
    }

    /// Goes through all transactions. Blocks the filesystem does not have room for, of `count`, are refused.
    fn changes(&mut self, count: u64) -> Result<BTreeMap<u64, Change>, ReadError> {
        let s = self.superblock;
        let mut changes: BTreeMap<u64, Change> = BTreeMap::new();
        if s.start == 0 {
            return Ok(changes);
        }
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        // The transaction being read.
        let mut sequence = s.sequence;
        let mut tags: Vec<(Tag, u32)> = Vec::new();
        let mut revokes: Vec<u64> = Vec::new();
        let mut wrong: Wrong = None;
        let mut sum = OLD_SUM;
        let (mut at, mut left) = (s.start, s.end() - s.first);
        let mut advance = |at: &mut u32| {
            left = left.checked_sub(1)?;
            *at = if *at + 1 == s.end() { s.first } else { *at + 1 };
            Some(())
        };
        let endless = || damaged(JournalDamage::Endless);
        let too_large = || damaged(JournalDamage::TooLarge { limit: CHANGES_MAX });
        loop {
            self.read(at)?;
            let Some(kind) = kind(&self.buffer, sequence) else {
                break;
            };
            let block = at;
            advance(&mut at).ok_or_else(endless)?;
            let list = || damaged(JournalDamage::List { block });
            if kind != Kind::Commit && s.has_checksums() {
                let found = sums("a list", block, s.list_sums(&self.buffer));
                wrong = wrong.take().or(found);
            }
            match kind {
                Kind::Descriptor => {
                    let found = s.tags(&self.buffer).ok_or_else(list)?;
                    if s.has_old_checksums() {
                        sum = old_sum(sum, &self.buffer);
                    }
                    for tag in found {
                        if s.has_old_checksums() {
                            self.read(at)?;
                            sum = old_sum(sum, &self.buffer);
                        }
                        tags.push((tag, at));
                        if changes.len() + tags.len() > CHANGES_MAX {
                            return Err(too_large());
                        }
                        advance(&mut at).ok_or_else(endless)?;
                    }
                }
                Kind::Revoke => {
                    revokes.extend(s.revoked(&self.buffer).ok_or_else(list)?);
                    if revoked.len() + revokes.len() > CHANGES_MAX {
                        return Err(too_large());
                    }
                }
                Kind::Commit => {
                    let found = match s.has_checksums() {
                        true => Some(s.commit_sums(&self.buffer)),
                        false if s.has_old_checksums() => s.old_commit_sums(&self.buffer, sum),
                        false => None,
                    };
                    sum = OLD_SUM;
                    let found = found.and_then(|found| sums("a commit", block, found));
                    if found.is_some() && s.may_commit_early() {
                        break;
                    }
                    if let Some(wrong) = wrong.take().or(found) {
                        return Err(damaged(wrong));
                    }
                    for (tag, logged) in tags.drain(..) {
                        let change = Change {
                            tag,
                            sequence,
                            logged,
                            block: self.locate(logged)?,
                        };
                        if tag.block >= count {
                            return Err(damaged(JournalDamage::Target {
                                block,
                                target: tag.block,
                                blocks: count,
                            }));
                        }
                        changes.insert(tag.block, change);
                    }
                    revoked.extend(revokes.drain(..).map(|target| (target, sequence)));
                    sequence = sequence.wrapping_add(1);
                }
            }
        }
        changes.retain(|target, change| {
            let is_revoked = |last: &u32| last.wrapping_sub(change.sequence) as i32 >= 0;
            !revoked.get(target).is_some_and(is_revoked)
        });
        self.check_contents(&changes)?;
        self.check_fast_commits(sequence)?;
        Ok(changes)
    }

    /// Reads all that is replayed, if it has checksums.
    fn check_contents(&mut self, changes: &BTreeMap<u64, Change>) -> Result<(), ReadError> {
        let s = self.superblock;
        if !s.has_checksums() {
            return Ok(());
        }
        for change in changes.values() {
            let offset = change.block * self.image.block_size();
            self.image.blocks.read(offset, &mut self.buffer)?;
            let found = s.data_sums(&change.tag, change.sequence, &self.buffer);
            if let Some(wrong) = sums("a logged block", change.logged, found) {
                return Err(damaged(wrong));
            }
        }
        Ok(())
    }

    /// Refuses changes of the short form, which go on from transaction `sequence`.
    fn check_fast_commits(&mut self, sequence: u32) -> Result<(), ReadError> {
        let s = self.superblock;
        if let Some(first) = s.first_fast_commit() {
            self.read(first)?;
            if fast_commit_of(&self.buffer) == Some(sequence) {
                return Err(damaged(JournalDamage::FastCommits));
            }
        }
        Ok(())
    }
}

/// Says what is wrong with a checksum, if it is.
fn sums(what: &'static str, block: u32, (stored, computed): (u32, u32)) -> Wrong {
    (stored != computed).then_some(JournalDamage::Checksum {
        what,
        block,
        stored,
        computed,
    })
}
