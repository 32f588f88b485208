//! The header, checked against the file it is in.

use lithify_storage::ReadAt;

use super::ClusterSize;
use super::entry::{ENTRY_LEN, EntryRules};
use super::error::{HeaderError, Structure};
use super::extension::Extensions;
use super::fields::{self, Fields};
use super::kind::Compression;
use crate::SECTOR;

/// Longest name of a backing file, in bytes.
pub(in crate::qcow2) const BACKING_NAME_MAX: u64 = 1023;
/// Most bytes of an L1 table that QEMU reads.
pub(in crate::qcow2) const L1_TABLE_MAX: u64 = 32 << 20;
/// Most bytes of a refcount table that QEMU reads.
pub(in crate::qcow2) const REFCOUNT_TABLE_MAX: u64 = 8 << 20;
/// The largest disk, in bytes.
pub(in crate::qcow2) const SIZE_MAX: u64 = (1 << 63) - SECTOR;
/// Most internal snapshots that QEMU reads.
const SNAPSHOTS_MAX: u64 = 65_536;
/// Bytes that the entry of a snapshot has at least.
const SNAPSHOT_LEN_MIN: u64 = 40;
/// Smallest cluster with subclusters, which have 512 bytes then.
const EXTENDED_CLUSTER_MIN: u64 = 16 << 10;
/// Length of every header is a multiple of this.
const HEADER_ALIGNMENT: u32 = 8;

/// The backing file as the image names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackingName {
    /// The name: a path as seen from the image's directory, or whatever else QEMU opens. Never to
    /// be opened as it stands.
    pub name: Vec<u8>,
    /// The name of its format, if the image has one.
    pub format: Option<Vec<u8>>,
}

/// The data file as the image names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataFileName {
    /// The name, if the image has one. Never to be opened as it stands.
    pub name: Option<Vec<u8>>,
    /// The file is the disk, byte for byte.
    pub is_raw: bool,
}

/// The header of an image, as far as it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The version, 2 or 3.
    pub version: u32,
    /// The size of the disk in bytes, a multiple of 512.
    pub virtual_size: u64,
    /// The size of a cluster.
    pub cluster_size: ClusterSize,
    /// The file that has what this one does not.
    pub backing: Option<BackingName>,
    /// The file that has the data, if it is not in the image.
    pub data_file: Option<DataFileName>,
    /// The compression of compressed clusters.
    pub compression: Compression,
    /// Clusters have subclusters.
    pub has_subclusters: bool,
    /// The width of reference counts in bits.
    pub refcount_bits: u32,
    /// Reference counts may be late.
    pub has_lazy_refcounts: bool,
    /// The image is open somewhere, or was not closed.
    pub is_dirty: bool,
    /// Something in the image was found to be wrong.
    pub is_corrupt: bool,
    /// The number of internal snapshots.
    pub snapshots: u32,
    /// The offset of the L1 table, in bytes.
    pub(in crate::qcow2) l1_offset: u64,
    /// Entries of the L1 table that the disk needs.
    pub(in crate::qcow2) l1_entries: u64,
}

impl Header {
    /// Reads the header of a file, its extensions too. Whatever it refers to lies within the file,
    /// but is not looked at.
    ///
    /// # Errors
    /// A damaged header, or one of an image that cannot be read, and what the storage says.
    pub fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Self, HeaderError> {
        let size = file
            .size()
            .map_err(|source| HeaderError::Io { offset: 0, source })?;
        let read = |bytes: &mut [u8]| {
            file.read_exact_at(bytes, 0)
                .map_err(|source| HeaderError::Io { offset: 0, source })
        };
        let mut start = [0; fields::ALL_LEN];
        let length = size.min(start.len() as u64) as usize;
        read(&mut start[..length])?;
        let fields = Fields::parse(&start);
        let cluster_size = check_start(&fields, size)?;
        // At most 2 MiB.
        let mut cluster = vec![0; size.min(cluster_size.bytes()) as usize];
        read(&mut cluster)?;
        Checked {
            fields,
            cluster_size,
            cluster: &cluster,
            file: size,
        }
        .header()
    }

    /// Returns the rules that the entries of its tables follow.
    pub(in crate::qcow2) fn rules(&self) -> EntryRules {
        EntryRules {
            cluster: self.cluster_size,
            has_zero_bit: self.version >= 3 && !self.has_subclusters,
            is_extended: self.has_subclusters,
            has_data_file: self.data_file.is_some(),
        }
    }
}

/// Checks what has to be known before anything else is looked at.
fn check_start(fields: &Fields, size: u64) -> Result<ClusterSize, HeaderError> {
    let short = |expected: usize| HeaderError::Short {
        found: size,
        expected: expected as u64,
    };
    if size < 8 {
        return Err(short(fields::VERSION_2_LEN));
    }
    if fields.magic != fields::MAGIC {
        return Err(HeaderError::Magic {
            found: fields.magic,
        });
    }
    let expected = match fields.version {
        2 => fields::VERSION_2_LEN,
        3 => fields::VERSION_3_LEN,
        found => return Err(HeaderError::Version { found }),
    };
    if size < expected as u64 {
        return Err(short(expected));
    }
    let cluster = ClusterSize::from_bits(fields.cluster_bits);
    let cluster = cluster.ok_or(HeaderError::ClusterBits {
        found: fields.cluster_bits,
    })?;
    let length = fields.header_length;
    if (length as usize) < expected
        || u64::from(length) > cluster.bytes()
        || !length.is_multiple_of(HEADER_ALIGNMENT)
    {
        return Err(HeaderError::HeaderLength {
            found: length,
            max: cluster.bytes(),
        });
    }
    match u64::from(length) <= size {
        true => Ok(cluster),
        false => Err(short(length as usize)),
    }
}

/// A header whose start is good.
struct Checked<'a> {
    fields: Fields,
    cluster_size: ClusterSize,
    /// The first cluster, as far as the file has it.
    cluster: &'a [u8],
    /// The file's size in bytes.
    file: u64,
}

impl Checked<'_> {
    fn header(&self) -> Result<Header, HeaderError> {
        let fields = &self.fields;
        let name = self.backing_name()?;
        let start = fields.header_length as usize;
        let end = match name {
            Some(_) => fields.backing_file_offset as usize,
            None => self.cluster.len(),
        };
        let extensions = Extensions::parse(&self.cluster[start..end], start as u64)?;
        let incompatible = fields.incompatible_features;
        let unknown = incompatible & !fields::INCOMPATIBLE_KNOWN;
        if unknown != 0 {
            let bit = unknown.trailing_zeros();
            let name = extensions.feature_name(bit).unwrap_or(b"unknown").to_vec();
            return Err(HeaderError::Feature { bit, name });
        }
        if fields.crypt_method != 0 || extensions.encryption.is_some() {
            return Err(HeaderError::Encrypted {
                method: fields.crypt_method,
            });
        }
        if fields.size > SIZE_MAX || !fields.size.is_multiple_of(SECTOR) {
            return Err(HeaderError::Size { found: fields.size });
        }
        let has = |bit: u64| incompatible & bit != 0;
        let compression = match (fields.compression_type, has(fields::COMPRESSION_TYPE)) {
            (0, false) => Compression::Deflate,
            (1, true) => Compression::Zstd,
            (found, _) => return Err(HeaderError::CompressionType { found }),
        };
        if has(fields::EXTENDED_L2) && self.cluster_size.bytes() < EXTENDED_CLUSTER_MIN {
            return Err(HeaderError::ExtendedL2 {
                found: self.cluster_size.bytes(),
            });
        }
        if fields.refcount_order > 6 {
            return Err(HeaderError::RefcountOrder {
                found: fields.refcount_order,
            });
        }
        let backing = name.map(|name| BackingName {
            name: name.to_vec(),
            format: extensions.backing_format.map(<[u8]>::to_vec),
        });
        let is_raw = fields.autoclear_features & fields::RAW_DATA_FILE != 0;
        if is_raw && !has(fields::DATA_FILE) {
            let problem = "has none";
            return Err(HeaderError::RawDataFile { problem });
        }
        if is_raw && backing.is_some() {
            let problem = "there is a backing file";
            return Err(HeaderError::RawDataFile { problem });
        }
        let data_file = has(fields::DATA_FILE).then(|| DataFileName {
            name: extensions.data_file.map(<[u8]>::to_vec),
            is_raw,
        });
        let mut header = Header {
            version: fields.version,
            virtual_size: fields.size,
            cluster_size: self.cluster_size,
            backing,
            data_file,
            compression,
            has_subclusters: has(fields::EXTENDED_L2),
            refcount_bits: 1 << fields.refcount_order,
            has_lazy_refcounts: fields.compatible_features & fields::LAZY_REFCOUNTS != 0,
            is_dirty: has(fields::DIRTY),
            is_corrupt: has(fields::CORRUPT),
            snapshots: fields.nb_snapshots,
            l1_offset: fields.l1_table_offset,
            l1_entries: 0,
        };
        header.l1_entries = fields.size.div_ceil(header.rules().table_span());
        self.check_structures(header.l1_entries)?;
        Ok(header)
    }

    fn backing_name(&self) -> Result<Option<&[u8]>, HeaderError> {
        let (offset, length) = (
            self.fields.backing_file_offset,
            self.fields.backing_file_size,
        );
        if offset == 0 {
            return Ok(None);
        }
        let is_behind = offset >= u64::from(self.fields.header_length);
        let is_possible = (1..=BACKING_NAME_MAX).contains(&u64::from(length));
        let name = usize::try_from(offset).ok().and_then(|start| {
            let rest = self.cluster.get(start..)?;
            rest.get(..length as usize)
        });
        match name.filter(|_| is_behind && is_possible) {
            Some(name) => Ok(Some(name)),
            None => Err(HeaderError::BackingName {
                offset,
                length,
                cluster: self.cluster_size.bytes(),
            }),
        }
    }

    fn check_structures(&self, l1_needed: u64) -> Result<(), HeaderError> {
        let fields = &self.fields;
        self.check_structure(
            Structure::L1Table,
            fields.l1_table_offset,
            u64::from(fields.l1_size),
            ENTRY_LEN,
            (l1_needed, L1_TABLE_MAX / ENTRY_LEN),
        )?;
        let entries = self.cluster_size.bytes() / ENTRY_LEN;
        self.check_structure(
            Structure::RefcountTable,
            fields.refcount_table_offset,
            u64::from(fields.refcount_table_clusters) * entries,
            ENTRY_LEN,
            (entries, REFCOUNT_TABLE_MAX / ENTRY_LEN),
        )?;
        self.check_structure(
            Structure::SnapshotTable,
            fields.snapshots_offset,
            u64::from(fields.nb_snapshots),
            SNAPSHOT_LEN_MIN,
            (0, SNAPSHOTS_MAX),
        )
    }

    fn check_structure(
        &self,
        structure: Structure,
        offset: u64,
        entries: u64,
        entry_len: u64,
        (min, max): (u64, u64),
    ) -> Result<(), HeaderError> {
        if !(min..=max).contains(&entries) {
            return Err(HeaderError::Entries {
                structure,
                found: entries,
                min,
                max,
            });
        }
        // A structure without entries may be said to be anywhere.
        let length = entries * entry_len;
        let is_inside = offset >= self.cluster_size.bytes()
            && self.cluster_size.is_aligned(offset)
            && offset
                .checked_add(length)
                .is_some_and(|end| end <= self.file);
        match length == 0 || is_inside {
            true => Ok(()),
            false => Err(HeaderError::Place {
                structure,
                offset,
                length,
                file: self.file,
            }),
        }
    }
}
