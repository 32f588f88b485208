//! Members: the files of a chain, each by itself.

use std::io;

use lithify_storage::ReadAt;

use super::error::{OpenError, ReadError};
use super::pages::{Pages, TableFile};
use crate::qcow2::format::entry::{
    Cluster, ENTRY_LEN, EntryRules, SUBCLUSTERS, Subcluster, table_of,
};
use crate::qcow2::format::fields::u64_at;
use crate::qcow2::format::{EntryProblem, Header};

/// Bytes of an L1 table read in one go when an image is opened.
const L1_CHUNK: usize = 64 << 10;

/// The place of a stretch of a disk in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not in this file.
    Unallocated,
    /// Nowhere: it is zeros.
    Zero,
    /// In the data from this host offset on.
    Data { host: u64 },
    /// In a compressed cluster of at most `length` bytes at this host offset, `within` bytes behind
    /// the cluster's start.
    Compressed { host: u64, length: u64, within: u64 },
}

impl Place {
    /// Tells whether `next` goes on where this one ends after `length` bytes.
    fn goes_on(self, length: u64, next: Self) -> bool {
        match (self, next) {
            (Self::Data { host }, Self::Data { host: next }) => host + length == next,
            (Self::Compressed { .. }, _) => false,
            (this, next) => this == next,
        }
    }
}

/// A stretch of a disk that is in one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) place: Place,
    /// Its length in bytes, never 0.
    pub(super) length: u64,
}

/// A file of a chain.
#[derive(Debug)]
pub(super) enum Member<R> {
    /// The bytes of a disk.
    Raw { storage: R, size: u64 },
    /// A qcow2 image.
    Qcow2(Box<Qcow2Member<R>>),
}

/// A qcow2 image by itself.
#[derive(Debug)]
pub(super) struct Qcow2Member<R> {
    /// The number of files above it in the chain.
    depth: usize,
    pub(super) header: Header,
    rules: EntryRules,
    storage: R,
    /// The size of the image file in bytes.
    size: u64,
    /// The data file, and its size in bytes.
    data: Option<(R, u64)>,
}

impl<R: ReadAt> Member<R> {
    /// Returns the size of the disk in bytes.
    pub(super) fn virtual_size(&self) -> u64 {
        match self {
            Self::Raw { size, .. } => *size,
            Self::Qcow2(image) => image.header.virtual_size,
        }
    }

    /// Returns the storage that has the data, and its size in bytes.
    pub(super) fn data(&self) -> (&R, u64) {
        match self {
            Self::Raw { storage, size } => (storage, *size),
            Self::Qcow2(image) => match &image.data {
                Some((storage, size)) => (storage, *size),
                None => (&image.storage, image.size),
            },
        }
    }

    /// Finds where a stretch of at most `limit` bytes from `at` on is, which has to be on the disk.
    pub(super) fn map(&self, pages: &Pages, at: u64, limit: u64) -> Result<Span, ReadError> {
        match self {
            Self::Raw { .. } => Ok(Span {
                place: Place::Data { host: at },
                length: limit,
            }),
            Self::Qcow2(image) => image.map(pages, at, limit),
        }
    }
}

impl<R: ReadAt> Qcow2Member<R> {
    /// Opens an image whose header was read, looking through its L1 table.
    pub(super) fn open(
        depth: usize,
        header: Header,
        storage: R,
        data: Option<R>,
    ) -> Result<Self, OpenError> {
        let size_of = |storage: &R| {
            let size = storage.size();
            size.map_err(|source| OpenError::Io {
                depth,
                offset: 0,
                source,
            })
        };
        let data = match data {
            Some(data) => {
                let size = size_of(&data)?;
                Some((data, size))
            }
            None => None,
        };
        let member = Self {
            depth,
            rules: header.rules(),
            header,
            size: size_of(&storage)?,
            storage,
            data,
        };
        member.check_l1()?;
        Ok(member)
    }

    /// Checks that all L2 tables are in the file, and that there are no more than it has room for:
    /// so whoever walks over the tables is done after reading less than the file.
    fn check_l1(&self) -> Result<(), OpenError> {
        let (mut tables, mut entry) = (0, 0);
        let end = self.header.l1_entries;
        let mut chunk = vec![0; L1_CHUNK.min((end * ENTRY_LEN) as usize)];
        while entry < end {
            let offset = self.header.l1_offset + entry * ENTRY_LEN;
            let length = (end - entry).min(chunk.len() as u64 / ENTRY_LEN) * ENTRY_LEN;
            let chunk = &mut chunk[..length as usize];
            self.storage
                .read_exact_at(chunk, offset)
                .map_err(|source| OpenError::Io {
                    depth: self.depth,
                    offset,
                    source,
                })?;
            for bytes in chunk.chunks_exact(ENTRY_LEN as usize) {
                let table = self.table(u64_at(bytes, 0));
                let table = table.map_err(|problem| OpenError::L1Entry {
                    depth: self.depth,
                    entry,
                    problem,
                })?;
                tables += u64::from(table.is_some());
                entry += 1;
            }
        }
        // The header takes a cluster too.
        match tables < self.size.div_ceil(self.rules.cluster.bytes()) || tables == 0 {
            true => Ok(()),
            false => Err(OpenError::TablesAgain {
                depth: self.depth,
                file: self.size,
            }),
        }
    }

    /// Returns where the L2 table of an entry of the L1 table is, which is in the file.
    fn table(&self, entry: u64) -> Result<Option<u64>, EntryProblem> {
        let cluster = self.rules.cluster;
        let Some(table) = table_of(entry, cluster)? else {
            return Ok(None);
        };
        within(table, cluster.bytes(), self.size)?;
        Ok(Some(table))
    }

    fn file(&self) -> TableFile<'_, R> {
        TableFile {
            depth: self.depth,
            storage: &self.storage,
            size: self.size,
        }
    }

    fn map(&self, pages: &Pages, at: u64, limit: u64) -> Result<Span, ReadError> {
        let table_span = self.rules.table_span();
        let l1_index = at / table_span;
        let l1_entry = self.header.l1_offset + l1_index * ENTRY_LEN;
        let l1 = pages
            .from(&self.file(), l1_entry)
            .map_err(|source| self.io(l1_entry, source))?;
        let entries = l1.bytes().chunks_exact(ENTRY_LEN as usize);
        let mut entries = entries.map(|bytes| u64_at(bytes, 0));
        let table = self
            .table(entries.next().unwrap_or_default())
            .map_err(|problem| ReadError::Entry {
                depth: self.depth,
                guest: l1_index * table_span,
                problem,
            })?;
        if let Some(table) = table {
            let end = (l1_index + 1).saturating_mul(table_span);
            return self.map_in(pages, table, at, limit.min(end - at));
        }
        // As far as nothing is allocated; entries behind those that are needed may have others.
        let empty = 1 + entries.take_while(|&entry| entry == 0).count() as u64;
        let end = (l1_index + empty).saturating_mul(table_span);
        Ok(Span {
            place: Place::Unallocated,
            length: limit.min(end - at),
        })
    }

    /// As [`map`](Self::map), in an L2 table.
    fn map_in(&self, pages: &Pages, table: u64, at: u64, limit: u64) -> Result<Span, ReadError> {
        let cluster = self.rules.cluster;
        let entry_len = self.rules.entry_len();
        let index = (at >> cluster.bits()) % self.rules.table_entries();
        let offset = table + index * entry_len;
        let l2 = pages
            .from(&self.file(), offset)
            .map_err(|source| self.io(offset, source))?;
        let mut span: Option<Span> = None;
        let mut guest = at - cluster.within(at);
        for bytes in l2.bytes().chunks_exact(entry_len as usize) {
            let bitmap = match self.rules.is_extended {
                true => u64_at(bytes, ENTRY_LEN as usize),
                false => 0,
            };
            let found = self.rules.cluster_of(u64_at(bytes, 0), bitmap, guest);
            let more = found.and_then(|found| self.extend(&mut span, found, guest, (at, limit)));
            match (more, &span) {
                (Ok(true), _) => {}
                // What is wrong behind the span is said to whoever asks for what is there.
                (Ok(false), _) | (Err(_), Some(_)) => break,
                (Err(problem), None) => {
                    return Err(ReadError::Entry {
                        depth: self.depth,
                        guest,
                        problem,
                    });
                }
            }
            guest += cluster.bytes();
        }
        // Tables are in the file, so there is an entry.
        span.ok_or_else(|| self.io(offset, io::ErrorKind::UnexpectedEof.into()))
    }

    /// Makes a span of a stretch longer by what of a cluster continues it; tells whether more may.
    fn extend(
        &self,
        span: &mut Option<Span>,
        found: Cluster,
        guest: u64,
        (at, limit): (u64, u64),
    ) -> Result<bool, EntryProblem> {
        let size = self.rules.cluster.bytes();
        let (cluster_end, end) = (guest.saturating_add(size), at + limit);
        loop {
            let done = span.map_or(0, |span| span.length);
            let here = at + done;
            if here >= end {
                return Ok(false);
            }
            if here >= cluster_end {
                return Ok(true);
            }
            let within_cluster = here - guest;
            let (place, part_end) = match found {
                Cluster::Unallocated => (Place::Unallocated, size),
                Cluster::Zero => (Place::Zero, size),
                Cluster::Standard { host } => (
                    Place::Data {
                        host: host + within_cluster,
                    },
                    size,
                ),
                Cluster::Compressed { host, length } => (
                    Place::Compressed {
                        host,
                        length,
                        within: within_cluster,
                    },
                    size,
                ),
                Cluster::Subclusters { host, bitmap } => {
                    let part = size / u64::from(SUBCLUSTERS);
                    let first = (within_cluster / part) as u32;
                    let (what, count) = bitmap.run(first);
                    let place = match what {
                        Subcluster::Unallocated => Place::Unallocated,
                        Subcluster::Zero => Place::Zero,
                        Subcluster::Data => Place::Data {
                            host: host + within_cluster,
                        },
                    };
                    (place, u64::from(first + count) * part)
                }
            };
            let length = (part_end - within_cluster).min(end - here);
            match span {
                Some(span) if !span.place.goes_on(span.length, place) => return Ok(false),
                _ => self.check_place(place, length)?,
            }
            let place = span.map_or(place, |span| span.place);
            let length = done + length;
            *span = Some(Span { place, length });
        }
    }

    /// Checks that what is needed of a stretch is in its file.
    fn check_place(&self, place: Place, needed: u64) -> Result<(), EntryProblem> {
        match place {
            Place::Unallocated | Place::Zero => Ok(()),
            Place::Data { host } => {
                let size = self.data.as_ref().map_or(self.size, |(_, size)| *size);
                within(host, needed, size)
            }
            // The last sector need not be there whole.
            Place::Compressed { host, .. } => within(host, 1, self.size),
        }
    }

    fn io(&self, offset: u64, source: io::Error) -> ReadError {
        ReadError::Io {
            depth: self.depth,
            offset,
            source,
        }
    }
}

fn within(offset: u64, length: u64, file: u64) -> Result<(), EntryProblem> {
    match offset.checked_add(length).is_some_and(|end| end <= file) {
        true => Ok(()),
        false => Err(EntryProblem::Beyond {
            offset,
            length,
            file,
        }),
    }
}
