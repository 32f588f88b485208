//! The options of an image that is written, and the numbers that follow from them.

use crate::SECTOR;
use crate::qcow2::format::entry::{ENTRY_LEN, HOST_END};
use crate::qcow2::format::fields::{self, Fields, VERSION_3_LEN};
use crate::qcow2::format::{
    BACKING_FORMAT, BACKING_NAME_MAX, ClusterSize, END, Format, L1_TABLE_MAX, REFCOUNT_TABLE_MAX,
    SIZE_MAX, write_extension,
};

use super::error::{NameProblem, WriteError};

/// The backing file of an image that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    /// Its name as seen from the image's directory. Not a host path where the image is to travel.
    pub name: Vec<u8>,
    /// Its format, which nobody has to guess then.
    pub format: Format,
}

/// The options of an image that is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The size of a cluster. Default 64 KiB.
    pub cluster_size: ClusterSize,
    /// The file that has what is not written. Default: none, and what is not written is zeros.
    pub backing: Option<Backing>,
}

/// The numbers that follow from the options.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) cluster: ClusterSize,
    pub(super) virtual_size: u64,
    pub(super) l1_entries: u64,
    pub(super) has_backing: bool,
    /// Behind the header: extensions and the name of the backing file.
    tail: Vec<u8>,
    /// The offset of that name, and its length, in bytes.
    name: (u64, u32),
}

impl Shape {
    pub(super) fn new(virtual_size: u64, options: &WriteOptions) -> Result<Self, WriteError> {
        if virtual_size > SIZE_MAX || !virtual_size.is_multiple_of(SECTOR) {
            return Err(WriteError::Size {
                found: virtual_size,
            });
        }
        let cluster = options.cluster_size;
        let table_span = cluster.bytes() / ENTRY_LEN * cluster.bytes();
        let l1_entries = virtual_size.div_ceil(table_span);
        let l1_max = L1_TABLE_MAX / ENTRY_LEN;
        if l1_entries > l1_max {
            return Err(WriteError::TooLarge {
                found: virtual_size,
                cluster: cluster.bytes(),
                max: l1_max * table_span,
            });
        }
        let mut shape = Self {
            cluster,
            virtual_size,
            l1_entries,
            has_backing: options.backing.is_some(),
            tail: Vec::new(),
            name: (0, 0),
        };
        match &options.backing {
            Some(backing) => shape.set_backing(backing)?,
            None => write_extension(&mut shape.tail, END, b""),
        }
        Ok(shape)
    }

    fn set_backing(&mut self, backing: &Backing) -> Result<(), WriteError> {
        write_extension(
            &mut self.tail,
            BACKING_FORMAT,
            backing.format.name().as_bytes(),
        );
        write_extension(&mut self.tail, END, b"");
        let offset = VERSION_3_LEN + self.tail.len();
        let max = (BACKING_NAME_MAX as usize).min(self.cluster.length() - offset);
        check_name(&backing.name, max).map_err(|problem| WriteError::BackingName {
            name: backing.name.clone(),
            problem,
        })?;
        self.name = (offset as u64, backing.name.len() as u32);
        self.tail.extend_from_slice(&backing.name);
        Ok(())
    }

    /// Returns the clusters of the L1 table, which is behind the header.
    pub(super) fn l1_clusters(&self) -> u64 {
        (self.l1_entries * ENTRY_LEN).div_ceil(self.cluster.bytes())
    }

    /// Returns most clusters of a file: as many as QEMU's largest refcount table counts, below the
    /// end of host offsets.
    pub(super) fn clusters_max(&self) -> u64 {
        let counted = REFCOUNT_TABLE_MAX / ENTRY_LEN * self.counts_in_block();
        counted.min(HOST_END >> self.cluster.bits())
    }

    /// Returns the reference counts in a cluster.
    pub(super) fn counts_in_block(&self) -> u64 {
        (self.cluster.bytes() * 8) >> fields::REFCOUNT_ORDER
    }

    /// Returns the header and what is behind it.
    pub(super) fn header(&self, refcount_table: u64, refcount_table_clusters: u32) -> Vec<u8> {
        let fields = Fields {
            magic: fields::MAGIC,
            version: 3,
            backing_file_offset: self.name.0,
            backing_file_size: self.name.1,
            cluster_bits: self.cluster.bits(),
            size: self.virtual_size,
            crypt_method: 0,
            // At most a 32nd of 2³².
            l1_size: self.l1_entries as u32,
            l1_table_offset: self.cluster.bytes(),
            refcount_table_offset: refcount_table,
            refcount_table_clusters,
            nb_snapshots: 0,
            snapshots_offset: 0,
            incompatible_features: 0,
            compatible_features: 0,
            autoclear_features: 0,
            refcount_order: fields::REFCOUNT_ORDER,
            header_length: VERSION_3_LEN as u32,
            compression_type: 0,
        };
        [&fields.to_bytes()[..], &self.tail].concat()
    }
}

fn check_name(name: &[u8], max: usize) -> Result<(), NameProblem> {
    if name.is_empty() {
        return Err(NameProblem::Empty);
    }
    if name.contains(&0) {
        return Err(NameProblem::Zero);
    }
    let mut components = name.split(|&byte| byte == b'/');
    if components.next().is_some_and(|first| first.contains(&b':')) {
        return Err(NameProblem::Protocol);
    }
    match name.len() <= max {
        true => Ok(()),
        false => Err(NameProblem::TooLong {
            found: name.len(),
            max,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in `docs/formats/qcow2.md`.
    #[test]
    fn largest_disks_and_files() {
        for (cluster, disk, file) in [(9, 37, 37), (12, 43, 43), (16, 51, 51), (21, 61, 56)] {
            let options = WriteOptions {
                cluster_size: ClusterSize::new(1 << cluster).unwrap(),
                backing: None,
            };
            let shape = Shape::new(1 << disk, &options).unwrap();
            assert_eq!(shape.clusters_max() << cluster, 1 << file);
            assert!(Shape::new((1 << disk) + SECTOR, &options).is_err());
        }
    }
}
