//! Checking the superblock and the tables behind the directories, as Linux does when it mounts an image
//! (`squashfs_fill_super` and what it calls) and `unsquashfs` when it opens one.
//!
//! The tables stand one behind the other up to the end of the image: fragments, inode references for network exports,
//! owners, attributes. Each is a run of metadata blocks, then a list of where these begin. Both readers go from the end
//! of the image backwards and refuse a list that does not end where the next table begins.

use super::Image;
use crate::format::superblock::{Superblock, flags};
use crate::format::xattr::{ID_LEN, TABLE_HEADER_LEN};
use crate::format::{FRAGMENT_LEN, METADATA_HEADER_LEN, METADATA_LEN, NO_TABLE, u32_at, u64_at};
use crate::{Compressor, ReadAt, ReadError};

/// What is wrong with the superblock or a table it refers to.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableProblem {
    /// A table that is there and has nothing in it, or none that has to be there.
    #[error("the {table} table has no entries")]
    Empty {
        /// The table.
        table: &'static str,
    },
    /// A list of blocks that does not end where what follows begins.
    #[error(
        "the list of blocks of the {table} table ends at offset {found}, what follows begins at {expected}"
    )]
    End {
        /// The table.
        table: &'static str,
        /// Where the next table begins, or the image ends.
        expected: u64,
        /// Where the list ends.
        found: u64,
    },
    /// A block of a table that is not right before the next one, or before the list.
    #[error(
        "block {index} of the {table} table begins at offset {found}, which is not within a block before {next}"
    )]
    Block {
        /// The table.
        table: &'static str,
        /// The number of the block.
        index: u64,
        /// Where the list says it begins.
        found: u64,
        /// Where what follows begins.
        next: u64,
    },
    /// A block of a table that reaches into what follows it.
    #[error(
        "block {index} of the {table} table ends at offset {end}, what follows begins at {next}"
    )]
    Overlap {
        /// The table.
        table: &'static str,
        /// The number of the block.
        index: u64,
        /// Where it ends.
        end: u64,
        /// Where what follows begins.
        next: u64,
    },
    /// A block of a table with more or fewer entries than there are.
    #[error(
        "block {index} of the {table} table has {found} bytes uncompressed, expected {expected}"
    )]
    Length {
        /// The table.
        table: &'static str,
        /// The number of the block.
        index: u64,
        /// Bytes of the entries.
        expected: u64,
        /// Bytes of the block.
        found: u64,
    },
    /// Two tables in the wrong order.
    #[error(
        "the {table} table begins at offset {found}, behind offset {limit} where what follows it begins"
    )]
    Order {
        /// The table.
        table: &'static str,
        /// Where it begins.
        found: u64,
        /// Where it has to end.
        limit: u64,
    },
    /// More entries than so many inodes can refer to.
    #[error("the {table} table has {found} entries, the inodes of the image can use {limit}")]
    TooMany {
        /// The table.
        table: &'static str,
        /// Its entries.
        found: u64,
        /// The most there can be.
        limit: u64,
    },
    /// A place in an uncompressed block behind the end of one.
    #[error(
        "the root directory is at {found} in its block, which has at most {METADATA_LEN} bytes"
    )]
    Root {
        /// Its offset in the block.
        found: u64,
    },
    /// Headers of another length, says a flag of older versions that `unsquashfs` heeds and Linux does not.
    #[error("a flag of versions before 4.0 says that blocks of metadata have a checksum")]
    Checked,
    /// No options where there have to be some.
    #[error("{compressor} has no options, which Linux cannot do without")]
    NoOptions {
        /// The compressor.
        compressor: Compressor,
    },
}

/// A table to be checked.
struct Table {
    name: &'static str,
    /// Where its list of blocks begins.
    list: u64,
    entries: u64,
    entry_len: usize,
}

impl Table {
    fn bytes(&self) -> u64 {
        self.entries.saturating_mul(self.entry_len as u64)
    }

    fn blocks(&self) -> u64 {
        self.bytes().div_ceil(METADATA_LEN as u64)
    }

    /// Where its list ends.
    fn end(&self) -> u64 {
        self.list.saturating_add(self.blocks().saturating_mul(8))
    }
}

/// What a check comes to: a problem, or that something could not be read.
pub(super) enum Found {
    Problem(TableProblem),
    Unreadable(ReadError),
}

impl From<TableProblem> for Found {
    fn from(problem: TableProblem) -> Self {
        Self::Problem(problem)
    }
}

impl From<ReadError> for Found {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

impl<R: ReadAt> Image<R> {
    /// Checks where the tables are, and that each has as many entries as the superblock says. Stops at the first
    /// problem: where one table ends depends on the next.
    pub(super) fn check_tables(&self) -> Result<(), Found> {
        let superblock = &self.superblock;
        if superblock.root & 0xffff > METADATA_LEN as u64 {
            return Err(TableProblem::Root {
                found: superblock.root & 0xffff,
            }
            .into());
        }
        if superblock.flags & flags::CHECKED != 0 {
            return Err(TableProblem::Checked.into());
        }
        let has_options = superblock.flags & flags::COMPRESSOR_OPTIONS != 0;
        if superblock.compressor == Compressor::Lz4 && !has_options {
            return Err(TableProblem::NoOptions {
                compressor: superblock.compressor,
            }
            .into());
        }
        let mut next = self.check_xattr_table(superblock)?;
        let owners = Table {
            name: "owner",
            list: superblock.id_table,
            entries: u64::from(superblock.ids),
            entry_len: 4,
        };
        let inodes = u64::from(superblock.inodes);
        at_most(&owners, inodes.saturating_mul(2))?;
        next = self.check_table(&owners, owners.list, next)?;
        if superblock.export_table != NO_TABLE {
            let export = Table {
                name: "export",
                list: superblock.export_table,
                entries: inodes,
                entry_len: 8,
            };
            next = self.check_table(&export, export.list, next)?;
        }
        if superblock.fragments > 0 {
            let fragments = Table {
                name: "fragment",
                list: superblock.fragment_table,
                entries: u64::from(superblock.fragments),
                entry_len: FRAGMENT_LEN,
            };
            at_most(&fragments, inodes)?;
            next = self.check_table(&fragments, fragments.list, next)?;
        }
        let in_order = [
            ("directory", superblock.directory_table, next),
            (
                "inode",
                // Not even empty.
                superblock.inode_table.saturating_add(1),
                superblock.directory_table,
            ),
        ];
        for (table, found, limit) in in_order {
            if found > limit {
                return Err(TableProblem::Order {
                    table,
                    found,
                    limit,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Gives where the attributes begin, or the image ends.
    fn check_xattr_table(&self, superblock: &Superblock) -> Result<u64, Found> {
        let header_at = superblock.xattr_table;
        if header_at == NO_TABLE {
            return Ok(superblock.size);
        }
        let mut header = [0; TABLE_HEADER_LEN];
        self.read_part("attribute", header_at, &mut header)?;
        let pairs = u64_at(&header, 0);
        let table = Table {
            name: "attribute",
            list: header_at.saturating_add(TABLE_HEADER_LEN as u64),
            entries: u64::from(u32_at(&header, 8)),
            entry_len: ID_LEN,
        };
        let first = self.check_table(&table, header_at, superblock.size)?;
        match pairs < first {
            true => Ok(pairs),
            false => Err(TableProblem::Order {
                table: "attribute value",
                found: pairs,
                limit: first,
            }
            .into()),
        }
    }

    /// Checks one table whose blocks end at `blocks_end` and whose list ends at `next`. Gives where its blocks begin.
    fn check_table(&self, table: &Table, blocks_end: u64, next: u64) -> Result<u64, Found> {
        let name = table.name;
        if table.entries == 0 {
            return Err(TableProblem::Empty { table: name }.into());
        }
        if table.end() != next {
            return Err(TableProblem::End {
                table: name,
                expected: next,
                found: table.end(),
            }
            .into());
        }
        // From the last block back, each before the next.
        let mut following = blocks_end;
        let mut place = [0; 8];
        for index in (0..table.blocks()).rev() {
            self.read_part(name, table.list + index * 8, &mut place)?;
            let found = u64::from_le_bytes(place);
            let longest = (METADATA_HEADER_LEN + METADATA_LEN) as u64;
            if found >= following || following - found > longest {
                return Err(TableProblem::Block {
                    table: name,
                    index,
                    found,
                    next: following,
                }
                .into());
            }
            let block = self.metadata_block(name, found)?;
            if block.next > following {
                return Err(TableProblem::Overlap {
                    table: name,
                    index,
                    end: block.next,
                    next: following,
                }
                .into());
            }
            let expected = (table.bytes() - index * METADATA_LEN as u64).min(METADATA_LEN as u64);
            if block.bytes.len() as u64 != expected {
                return Err(TableProblem::Length {
                    table: name,
                    index,
                    expected,
                    found: block.bytes.len() as u64,
                }
                .into());
            }
            following = found;
        }
        Ok(following)
    }
}

fn at_most(table: &Table, limit: u64) -> Result<(), TableProblem> {
    match table.entries <= limit {
        true => Ok(()),
        false => Err(TableProblem::TooMany {
            table: table.name,
            found: table.entries,
            limit,
        }),
    }
}
