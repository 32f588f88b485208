//! Images as they become.

mod error; // what can go wrong
mod options; // what an image is to be
mod refcounts; // the counts of clusters

use std::io;

use lithify_storage::Storage;

use super::format::entry::{ENTRY_LEN, ZERO_ENTRY, entry_for};
pub use error::{NameProblem, WriteError};
use options::Shape;
pub use options::{Backing, WriteOptions};
use refcounts::Refcounts;

/// Writes an image of version 3 in one pass over the disk: its extents in order, and whatever is
/// left out is not there.
///
/// Data goes to the storage as it comes; memory is two clusters. Clusters of zeros take no space:
/// over a backing file they are marked as zeros, elsewhere they are left out. The bytes depend on
/// the options and the disk alone, not on how it was cut into extents. The header is written last,
/// so that what was not finished is no image.
///
/// ```
/// use lithify_disk::qcow2::{Image, OpenOptions, WriteOptions, Writer};
///
/// let mut writer = Writer::new(Vec::new(), 1 << 30, &WriteOptions::default())?;
/// writer.write(b"data", 5 << 20)?;
/// let file = writer.finish()?;
/// assert_eq!(file.len(), 6 * 65_536);
///
/// let image = Image::open(file, &OpenOptions::default(), |_| Ok(None))?;
/// let mut back = [0; 4];
/// image.read_at(&mut back, 5 << 20)?;
/// assert_eq!(&back, b"data");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer<S> {
    storage: S,
    shape: Shape,
    /// The next cluster of the file.
    next: u64,
    /// The end of the last extent on the disk.
    at: u64,
    /// The L2 table that is being filled.
    table: Table,
    /// The cluster of the disk that is there in part.
    part: Part,
}

/// An L2 table.
#[derive(Debug)]
struct Table {
    /// The number of its entry in the L1 table.
    number: u64,
    /// Its cluster in the file, once it has an entry.
    cluster: Option<u64>,
    bytes: Vec<u8>,
}

/// A cluster of the disk, filled from its start.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    /// An extent gave some of it.
    is_given: bool,
}

impl<S: Storage> Writer<S> {
    /// Starts an image of a disk of `virtual_size` bytes, a multiple of 512. Whatever `storage`
    /// held is gone.
    ///
    /// # Errors
    /// Sizes and backing files that no image has, and what the storage says.
    pub fn new(
        mut storage: S,
        virtual_size: u64,
        options: &WriteOptions,
    ) -> Result<Self, WriteError> {
        let shape = Shape::new(virtual_size, options)?;
        storage
            .set_size(0)
            .map_err(|source| WriteError::Io { offset: 0, source })?;
        Ok(Self {
            storage,
            next: 1 + shape.l1_clusters(),
            at: 0,
            table: Table {
                number: 0,
                cluster: None,
                bytes: vec![0; shape.cluster.length()],
            },
            part: Part::default(),
            shape,
        })
    }

    /// Writes data at `offset` of the disk, where the last extent ended or behind.
    ///
    /// # Errors
    /// Extents out of order or behind the end of the disk, over a backing file also clusters that
    /// are not written whole, and what the storage says.
    pub fn write(&mut self, mut data: &[u8], offset: u64) -> Result<(), WriteError> {
        self.begin(offset, data.len() as u64)?;
        while !data.is_empty() {
            let size = self.shape.cluster.length();
            let clusters = data.len() / size * size;
            if self.part.bytes.is_empty() && clusters > 0 {
                let (whole, rest) = data.split_at(clusters);
                self.put_clusters(whole)?;
                data = rest;
                continue;
            }
            let (now, rest) = data.split_at(data.len().min(size - self.part.bytes.len()));
            self.part.bytes.extend_from_slice(now);
            self.part.is_given = true;
            self.at += now.len() as u64;
            data = rest;
            self.end_cluster()?;
        }
        Ok(())
    }

    /// Writes zeros at `offset` of the disk, where the last extent ended or behind. Without a
    /// backing file that is the same as leaving them out.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_zeros(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        self.begin(offset, length)?;
        self.zeros_to(offset + length, true)
    }

    /// Completes the image and returns the storage. Nothing is synchronized.
    ///
    /// # Errors
    /// A file too large for its clusters, over a backing file a last cluster that is not written
    /// whole, and what the storage says.
    pub fn finish(mut self) -> Result<S, WriteError> {
        self.skip_to(self.shape.virtual_size)?;
        self.flush_part()?;
        self.flush_table()?;
        let counts = Refcounts::behind(self.next, &self.shape);
        self.room(counts.end())?;
        self.write_refcounts(&counts)?;
        let bits = self.shape.cluster.bits();
        let size = counts.end() << bits;
        self.storage
            .set_size(size)
            .map_err(|source| WriteError::Io {
                offset: size,
                source,
            })?;
        // As many as the largest refcount table has.
        let header = self
            .shape
            .header(counts.table << bits, counts.table_clusters as u32);
        self.put(&header, 0)?;
        Ok(self.storage)
    }

    /// Checks an extent, and leaves out what is before it.
    fn begin(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        if offset < self.at {
            return Err(WriteError::Order {
                offset,
                expected: self.at,
            });
        }
        let size = self.shape.virtual_size;
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(WriteError::OutOfRange {
                offset,
                length,
                size,
            });
        }
        match length {
            0 => Ok(()),
            _ => self.skip_to(offset),
        }
    }

    /// Leaves out what is before `offset`.
    fn skip_to(&mut self, offset: u64) -> Result<(), WriteError> {
        let cluster = self.shape.cluster;
        // In part of a cluster, what is left out is zeros; but a backing file has something else.
        let end_of_cluster = (self.at + cluster.bytes() - cluster.within(self.at)).min(offset);
        let is_part =
            self.part.is_given || !cluster.is_aligned(offset) && offset < self.shape.virtual_size;
        let missing = match self.part.is_given {
            true => self.at..end_of_cluster,
            false => (offset - cluster.within(offset)).max(self.at)..offset,
        };
        if self.shape.has_backing && is_part && !missing.is_empty() {
            return Err(WriteError::PartOfCluster {
                offset: missing.start,
                end: missing.end,
                cluster: cluster.bytes(),
            });
        }
        self.zeros_to(offset, false)
    }

    /// Goes on to `offset` with zeros, that an extent gave or that are left out.
    fn zeros_to(&mut self, offset: u64, is_given: bool) -> Result<(), WriteError> {
        let size = self.shape.cluster.bytes();
        while self.at < offset {
            if self.part.bytes.is_empty() && offset - self.at >= size {
                let whole = (offset - self.at) / size * size;
                if is_given && self.shape.has_backing {
                    self.mark_zeros(whole)?;
                }
                self.at += whole;
                continue;
            }
            let room = size - self.part.bytes.len() as u64;
            let now = room.min(offset - self.at);
            let length = self.part.bytes.len() + now as usize;
            self.part.bytes.resize(length, 0);
            self.part.is_given |= is_given;
            self.at += now;
            self.end_cluster()?;
        }
        Ok(())
    }

    /// Writes the cluster that is there in part once it is there whole.
    fn end_cluster(&mut self) -> Result<(), WriteError> {
        match self.part.bytes.len() == self.shape.cluster.length() {
            true => self.flush_part(),
            false => Ok(()),
        }
    }

    /// Writes the cluster that is there in part.
    fn flush_part(&mut self) -> Result<(), WriteError> {
        let mut part = std::mem::take(&mut self.part);
        if part.is_given {
            self.at -= part.bytes.len() as u64;
            // Behind the end of the disk, which may be within a cluster.
            part.bytes.resize(self.shape.cluster.length(), 0);
            self.put_clusters(&part.bytes)?;
            self.at = self.at.min(self.shape.virtual_size);
        }
        part.bytes.clear();
        self.part.bytes = part.bytes;
        Ok(())
    }

    /// Writes whole clusters of the disk.
    fn put_clusters(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        let size = self.shape.cluster.length();
        while !data.is_empty() {
            let is_zero = |cluster: &&[u8]| crate::raw::is_zero(cluster);
            let zeros = data.chunks_exact(size).take_while(is_zero).count();
            if zeros > 0 {
                let (now, rest) = data.split_at(zeros * size);
                if self.shape.has_backing {
                    self.mark_zeros(now.len() as u64)?;
                }
                self.at += now.len() as u64;
                data = rest;
                continue;
            }
            let full = data.chunks_exact(size).take_while(|c| !is_zero(c)).count();
            // One write for what goes to one L2 table.
            let index = (self.at >> self.shape.cluster.bits()) % self.table_entries();
            let count = full.min((self.table_entries() - index) as usize);
            self.open_table()?;
            let first = self.take_clusters(count as u64)?;
            let (now, rest) = data.split_at(count * size);
            self.put(now, first << self.shape.cluster.bits())?;
            for cluster in first..first + count as u64 {
                self.set_entry(entry_for(cluster << self.shape.cluster.bits()));
                self.at += size as u64;
            }
            data = rest;
        }
        Ok(())
    }

    /// Marks whole clusters from here on as zeros; the position stays.
    fn mark_zeros(&mut self, length: u64) -> Result<(), WriteError> {
        let start = self.at;
        while self.at < start + length {
            self.open_table()?;
            self.set_entry(ZERO_ENTRY);
            self.at += self.shape.cluster.bytes();
        }
        self.at = start;
        Ok(())
    }

    /// Has the L2 table for the position at hand, with a cluster of its own.
    fn open_table(&mut self) -> Result<(), WriteError> {
        let cluster = self.shape.cluster;
        let number = (self.at >> cluster.bits()) / self.table_entries();
        if self.table.number != number {
            self.flush_table()?;
            self.table.number = number;
        }
        if self.table.cluster.is_none() {
            self.table.cluster = Some(self.take_clusters(1)?);
        }
        Ok(())
    }

    fn set_entry(&mut self, entry: u64) {
        let index = (self.at >> self.shape.cluster.bits()) % self.table_entries();
        let start = (index * ENTRY_LEN) as usize;
        let place = &mut self.table.bytes[start..start + ENTRY_LEN as usize];
        place.copy_from_slice(&entry.to_be_bytes());
    }

    fn table_entries(&self) -> u64 {
        self.shape.cluster.bytes() / ENTRY_LEN
    }

    /// Writes the L2 table, if it has entries, and its entry in the L1 table.
    fn flush_table(&mut self) -> Result<(), WriteError> {
        let Some(cluster) = self.table.cluster.take() else {
            return Ok(());
        };
        let host = cluster << self.shape.cluster.bits();
        let mut bytes = std::mem::take(&mut self.table.bytes);
        self.put(&bytes, host)?;
        bytes.fill(0);
        self.table.bytes = bytes;
        let place = self.shape.cluster.bytes() + self.table.number * ENTRY_LEN;
        self.put(&entry_for(host).to_be_bytes(), place)
    }

    /// Writes the refcount table and its blocks.
    fn write_refcounts(&mut self, counts: &Refcounts) -> Result<(), WriteError> {
        let (bits, size) = (self.shape.cluster.bits(), self.shape.cluster.length());
        let mut cluster = Vec::with_capacity(size);
        for (n, block) in (counts.first_block()..counts.end()).enumerate() {
            // Entries of the table have no flags.
            cluster.extend_from_slice(&(block << bits).to_be_bytes());
            if cluster.len() == size || block + 1 == counts.end() {
                let filled = (n as u64 + 1) * ENTRY_LEN;
                let start = (counts.table << bits) + filled - cluster.len() as u64;
                self.put(&cluster, start)?;
                cluster.clear();
            }
        }
        let one = 1_u16.to_be_bytes();
        let in_block = self.shape.counts_in_block();
        let whole = one.repeat(in_block as usize);
        for (n, block) in (counts.first_block()..counts.end()).enumerate() {
            let rest = counts.end() - n as u64 * in_block;
            let length = rest.min(in_block) as usize * one.len();
            self.put(&whole[..length], block << bits)?;
        }
        Ok(())
    }

    /// Takes so many clusters of the file, one behind the other, and returns the first.
    fn take_clusters(&mut self, count: u64) -> Result<u64, WriteError> {
        let first = self.next;
        self.room(first + count)?;
        self.next += count;
        Ok(first)
    }

    fn room(&self, clusters: u64) -> Result<(), WriteError> {
        let max = self.shape.clusters_max();
        match clusters <= max {
            true => Ok(()),
            false => Err(WriteError::FileTooLarge {
                cluster: self.shape.cluster.bytes(),
                max: max << self.shape.cluster.bits(),
            }),
        }
    }

    fn put(&mut self, data: &[u8], offset: u64) -> Result<(), WriteError> {
        let io = |source: io::Error| WriteError::Io { offset, source };
        self.storage.write_all_at(data, offset).map_err(io)
    }
}
