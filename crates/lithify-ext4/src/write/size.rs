//! The size of the filesystem: as asked for, or the least that does.

use super::layout::{Layout, Totals, inodes_per_block};
use super::options::{DataOptions, ImageOptions, Journal};
use crate::WriteError;
use crate::format::journal::default_blocks;
use crate::geometry::Geometry;

/// The smallest journal, in blocks (`JBD2_MIN_JOURNAL_BLOCKS`), and the largest `mke2fs` makes.
const JOURNAL: std::ops::RangeInclusive<u64> = 1024..=10_240_000;

/// Sizes are multiples of this, where none is asked for.
const STEP: u64 = 1 << 20;

/// The smallest filesystem that has a journal unasked, in blocks.
const JOURNALED_MIN: u64 = 2048;

/// The least blocks behind its copies that a last group is worth having for.
const LAST_GROUP_MIN: u64 = 50;

/// What has to have room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Data blocks of the contents: file data, directories and so on.
    pub(super) data: u64,
    /// Inodes.
    pub(super) inodes: u32,
}

/// Decides the size. `measure` returns the data blocks of the contents in another arrangement: trees of extents may be larger.
pub(super) fn decide(
    geometry: &Geometry,
    needs: Needs,
    data: &DataOptions,
    options: &ImageOptions,
    measure: impl Fn(&Geometry) -> Result<u64, WriteError>,
) -> Result<Layout, WriteError> {
    if let Some(asked) = data.inodes
        && asked < needs.inodes
    {
        return Err(WriteError::TooFewInodes {
            asked,
            needed: needs.inodes,
        });
    }
    let sizing = Sizing {
        geometry,
        needs,
        data,
        options,
    };
    let block_size = u64::from(geometry.block_size);
    let Some(size) = data.size else {
        let free = match options.free {
            Some(bytes) => bytes.div_ceil(block_size),
            None => needs.data / 10,
        };
        let least = match options.journal {
            Journal::Default => JOURNALED_MIN,
            _ => 1,
        };
        let found = sizing.least(least, free, STEP / block_size)?;
        return found.ok_or(WriteError::SizeNeeded {
            most: sizing.most() * block_size,
        });
    };
    let blocks = (size / block_size).min(u32::MAX.into());
    if let Some(layout) = sizing.layout(blocks)?
        && layout.fits(geometry, 0)
    {
        return Ok(layout);
    }
    let needed = match (needed(sizing, &measure), data.inodes) {
        (Err(WriteError::TooLarge { .. }), Some(asked)) => {
            if let Some(most) = sizing.most_inodes(blocks, asked)? {
                return Err(WriteError::InodesAsked {
                    asked,
                    group: u64::from(geometry.blocks_per_group()) * block_size,
                    per_group: sizing.inodes_per_group_max(1) as u32,
                    size,
                    most,
                });
            }
            // It is too small for fewer as well, which comes first.
            let fewest = DataOptions {
                inodes: Some(needs.inodes),
                ..data.clone()
            };
            let data = &fewest;
            self::needed(Sizing { data, ..sizing }, &measure)
        }
        (needed, _) => needed,
    };
    Err(WriteError::TooSmall {
        size,
        needed: needed?,
    })
}

/// Returns the smallest size that would do. With another size other descriptors are reserved, so that it is looked for from
/// below.
fn needed(
    sizing: Sizing<'_>,
    measure: impl Fn(&Geometry) -> Result<u64, WriteError>,
) -> Result<u64, WriteError> {
    let block_size = sizing.block_size();
    let too_large = || WriteError::TooLarge {
        block_size: sizing.geometry.block_size,
    };
    let mut needed = sizing.needs.data.max(super::options::BLOCKS_MIN) * block_size;
    let mut known = (sizing.geometry.descriptor_blocks, sizing.needs.data);
    loop {
        let with_size = DataOptions {
            size: Some(needed),
            ..sizing.data.clone()
        };
        let geometry = with_size.geometry().map_err(|_| too_large())?;
        if known.0 != geometry.descriptor_blocks {
            known = (geometry.descriptor_blocks, measure(&geometry)?);
        }
        let sizing = Sizing {
            geometry: &geometry,
            needs: Needs {
                data: known.1,
                ..sizing.needs
            },
            ..sizing
        };
        let next = match sizing.least(1, 0, 1)? {
            Some(layout) => layout.blocks,
            None if sizing.most() == u64::from(u32::MAX) => return Err(too_large()),
            None => sizing.most() + 1,
        };
        if next * block_size <= needed {
            return Ok(needed);
        }
        needed = next * block_size;
    }
}

/// What sizes depend on.
#[derive(Clone, Copy)]
struct Sizing<'a> {
    geometry: &'a Geometry,
    needs: Needs,
    data: &'a DataOptions,
    options: &'a ImageOptions,
}

impl Sizing<'_> {
    fn block_size(&self) -> u64 {
        self.geometry.block_size.into()
    }

    /// Returns the most blocks the descriptors there are room for lead to.
    fn most(&self) -> u64 {
        let geometry = self.geometry;
        let groups =
            u64::from(geometry.descriptor_blocks) * u64::from(geometry.descriptors_per_block());
        let blocks = groups * u64::from(geometry.blocks_per_group());
        (u64::from(geometry.first_block()) + blocks).min(u32::MAX.into())
    }

    /// Returns the smallest layout of at least `from` blocks with so many free ones, of a multiple of `step`; `None` where
    /// there is none the descriptors lead to.
    fn least(&self, from: u64, free: u64, step: u64) -> Result<Option<Layout>, WriteError> {
        let most = self.most();
        // As many groups as the inodes take.
        let inodes = self.data.inodes.unwrap_or(self.needs.inodes);
        let last = inodes.div_ceil(8 * self.geometry.block_size) - 1;
        let from = from
            .max(self.geometry.group_start(last))
            .max(super::options::BLOCKS_MIN);
        let mut blocks = from.next_multiple_of(step);
        while blocks <= most {
            if let Some(layout) = self.layout(blocks)?
                && layout.fits(self.geometry, free)
            {
                return Ok(Some(layout));
            }
            // What is needed never gets less with the size, so that none before has room.
            let needed = self.needed_at_least(blocks)? + free;
            let missing = needed.saturating_sub(self.geometry.data_before(blocks));
            blocks += missing.next_multiple_of(step).max(step);
        }
        Ok(None)
    }

    /// Returns data blocks without which nothing of that size has room: tables are rounded up.
    fn needed_at_least(&self, blocks: u64) -> Result<u64, WriteError> {
        // The last group may be cut off.
        let groups = self.geometry.groups(blocks).saturating_sub(1);
        let inodes = self
            .inodes(blocks)
            .min(groups.max(1) * self.inodes_per_group_max(groups + 1));
        let tables = inodes / u64::from(inodes_per_block(self.geometry));
        Ok(self.needs.data + tables + 2 * groups + u64::from(self.journal(blocks)?))
    }

    /// Returns the most inodes, fewer than `over`, that can be asked for with so many blocks; `None` where none can.
    fn most_inodes(&self, blocks: u64, mut over: u32) -> Result<Option<u32>, WriteError> {
        let fits = |asked: u32| -> Result<bool, WriteError> {
            let data = &DataOptions {
                inodes: Some(asked),
                ..self.data.clone()
            };
            let layout = Sizing { data, ..*self }.layout(blocks)?;
            Ok(layout.is_some_and(|layout| layout.fits(self.geometry, 0)))
        };
        let mut most = self.needs.inodes;
        if !fits(most)? {
            return Ok(None);
        }
        while over - most > 1 {
            let between = most + (over - most) / 2;
            match fits(between)? {
                true => most = between,
                false => over = between,
            }
        }
        Ok(Some(most))
    }

    /// Returns the number of inodes a filesystem of so many blocks should have.
    fn inodes(&self, blocks: u64) -> u64 {
        let needed = u64::from(self.needs.inodes);
        match self.data.inodes {
            Some(asked) => asked.into(),
            None => {
                (blocks * self.block_size() / self.data.bytes_per_inode).max(needed + needed / 10)
            }
        }
    }

    /// Returns the layout of a filesystem of so many blocks, less a last group too small to be one; `None` where there are not
    /// enough groups for the inodes. It may reach past the filesystem's end.
    fn layout(&self, blocks: u64) -> Result<Option<Layout>, WriteError> {
        let geometry = self.geometry;
        let journal_blocks = self.journal(blocks)?;
        let Some((blocks, groups)) = cut(geometry, blocks) else {
            return Ok(None);
        };
        let Some(inodes_per_group) = self.inodes_per_group(blocks, groups) else {
            return Ok(None);
        };
        Ok(Some(Layout::place(
            geometry,
            self.needs.data,
            Totals {
                blocks,
                groups,
                inodes_per_group,
                journal_blocks,
            },
        )))
    }

    /// Returns the least steps in which inodes of a group are counted: whole blocks of the table, and whole bytes of the bitmap.
    fn inodes_step(&self) -> u64 {
        inodes_per_block(self.geometry).max(8).into()
    }

    /// Returns the most inodes a group can have: a bit each in a block, and numbers of 32 bits.
    fn inodes_per_group_max(&self, groups: u64) -> u64 {
        let by_number = u64::from(u32::MAX) / groups.max(1);
        let most = by_number.min(u64::from(8 * self.geometry.block_size));
        most - most % self.inodes_step()
    }

    fn inodes_per_group(&self, blocks: u64, groups: u32) -> Option<u32> {
        let groups = u64::from(groups);
        let most = self.inodes_per_group_max(groups);
        let wanted = self.inodes(blocks).div_ceil(groups);
        let wanted = wanted.next_multiple_of(self.inodes_step());
        let found = match self.data.inodes {
            // There can be less than one for so many bytes.
            None => wanted.min(most),
            Some(_) => wanted,
        };
        // That is at most 8 bits for each byte of a block.
        (found <= most && found * groups >= u64::from(self.needs.inodes)).then_some(found as u32)
    }

    fn journal(&self, blocks: u64) -> Result<u32, WriteError> {
        match self.options.journal {
            Journal::None => Ok(0),
            Journal::Default => Ok(default_blocks(blocks)),
            Journal::Bytes(bytes) => {
                let found = bytes / self.block_size();
                match JOURNAL.contains(&found) {
                    true => Ok(found as u32),
                    false => Err(WriteError::Journal {
                        found: bytes,
                        least: JOURNAL.start() * self.block_size(),
                        most: JOURNAL.end() * self.block_size(),
                    }),
                }
            }
        }
    }
}

/// Cuts off a last group that has no room behind its copies. Returns the blocks and the groups.
fn cut(geometry: &Geometry, blocks: u64) -> Option<(u64, u32)> {
    let groups = u32::try_from(geometry.groups(blocks)).ok()?;
    let last = groups.checked_sub(1)?;
    let start = geometry.group_start(last);
    if blocks - start >= u64::from(geometry.copies(last)) + LAST_GROUP_MIN {
        Some((blocks, groups))
    } else {
        (last > 0).then_some((start, last))
    }
}
