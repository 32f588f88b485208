//! The fields of the header, as they stand at the start of the file.

/// `QFI` and fb, the first word.
pub(in crate::qcow2) const MAGIC: u32 = 0x5146_49fb;
/// Bytes of a header of version 2.
pub(in crate::qcow2) const VERSION_2_LEN: usize = 72;
/// Bytes of a header of version 3 without additional fields.
pub(in crate::qcow2) const VERSION_3_LEN: usize = 104;
/// Bytes of a header with all fields that are known.
pub(in crate::qcow2) const ALL_LEN: usize = VERSION_3_LEN + 8;

/// The image was not closed: its reference counts may be wrong.
pub(in crate::qcow2) const DIRTY: u64 = 1 << 0;
/// Something in the image was found to be wrong.
pub(in crate::qcow2) const CORRUPT: u64 = 1 << 1;
/// Data is in a file of its own.
pub(in crate::qcow2) const DATA_FILE: u64 = 1 << 2;
/// `compression_type` is not 0.
pub(in crate::qcow2) const COMPRESSION_TYPE: u64 = 1 << 3;
/// Entries of L2 tables have bitmaps of subclusters.
pub(in crate::qcow2) const EXTENDED_L2: u64 = 1 << 4;
/// All features that a reader has to know and this one does.
pub(in crate::qcow2) const INCOMPATIBLE_KNOWN: u64 =
    DIRTY | CORRUPT | DATA_FILE | COMPRESSION_TYPE | EXTENDED_L2;

/// Reference counts may be late, which the dirty bit then says.
pub(in crate::qcow2) const LAZY_REFCOUNTS: u64 = 1 << 0;

/// The data file is the disk, byte for byte.
pub(in crate::qcow2) const RAW_DATA_FILE: u64 = 1 << 1;

/// `refcount_order` of version 2, and of what is written here: 16 bits.
pub(in crate::qcow2) const REFCOUNT_ORDER: u32 = 4;

/// The header's fields by their names in the format; those that version 2 lacks are what it
/// implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::qcow2) struct Fields {
    pub(in crate::qcow2) magic: u32,
    pub(in crate::qcow2) version: u32,
    pub(in crate::qcow2) backing_file_offset: u64,
    pub(in crate::qcow2) backing_file_size: u32,
    pub(in crate::qcow2) cluster_bits: u32,
    pub(in crate::qcow2) size: u64,
    pub(in crate::qcow2) crypt_method: u32,
    pub(in crate::qcow2) l1_size: u32,
    pub(in crate::qcow2) l1_table_offset: u64,
    pub(in crate::qcow2) refcount_table_offset: u64,
    pub(in crate::qcow2) refcount_table_clusters: u32,
    pub(in crate::qcow2) nb_snapshots: u32,
    pub(in crate::qcow2) snapshots_offset: u64,
    pub(in crate::qcow2) incompatible_features: u64,
    pub(in crate::qcow2) compatible_features: u64,
    pub(in crate::qcow2) autoclear_features: u64,
    pub(in crate::qcow2) refcount_order: u32,
    pub(in crate::qcow2) header_length: u32,
    pub(in crate::qcow2) compression_type: u8,
}

impl Fields {
    /// Reads the fields; bytes that the file does not have are zeros. Nothing is checked.
    pub(in crate::qcow2) fn parse(bytes: &[u8; ALL_LEN]) -> Self {
        let mut fields = Self {
            magic: u32_at(bytes, 0),
            version: u32_at(bytes, 4),
            backing_file_offset: u64_at(bytes, 8),
            backing_file_size: u32_at(bytes, 16),
            cluster_bits: u32_at(bytes, 20),
            size: u64_at(bytes, 24),
            crypt_method: u32_at(bytes, 32),
            l1_size: u32_at(bytes, 36),
            l1_table_offset: u64_at(bytes, 40),
            refcount_table_offset: u64_at(bytes, 48),
            refcount_table_clusters: u32_at(bytes, 56),
            nb_snapshots: u32_at(bytes, 60),
            snapshots_offset: u64_at(bytes, 64),
            incompatible_features: u64_at(bytes, 72),
            compatible_features: u64_at(bytes, 80),
            autoclear_features: u64_at(bytes, 88),
            refcount_order: u32_at(bytes, 96),
            header_length: u32_at(bytes, 100),
            compression_type: bytes[VERSION_3_LEN],
        };
        if fields.version == 2 {
            fields.incompatible_features = 0;
            fields.compatible_features = 0;
            fields.autoclear_features = 0;
            fields.refcount_order = REFCOUNT_ORDER;
            fields.header_length = VERSION_2_LEN as u32;
        }
        if fields.header_length as usize <= VERSION_3_LEN {
            fields.compression_type = 0;
        }
        fields
    }

    /// Returns the header of version 3, without additional fields.
    pub(in crate::qcow2) fn to_bytes(self) -> [u8; VERSION_3_LEN] {
        let mut bytes = [0; VERSION_3_LEN];
        let mut put = |offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value);
        };
        put(0, &self.magic.to_be_bytes());
        put(4, &self.version.to_be_bytes());
        put(8, &self.backing_file_offset.to_be_bytes());
        put(16, &self.backing_file_size.to_be_bytes());
        put(20, &self.cluster_bits.to_be_bytes());
        put(24, &self.size.to_be_bytes());
        put(32, &self.crypt_method.to_be_bytes());
        put(36, &self.l1_size.to_be_bytes());
        put(40, &self.l1_table_offset.to_be_bytes());
        put(48, &self.refcount_table_offset.to_be_bytes());
        put(56, &self.refcount_table_clusters.to_be_bytes());
        put(60, &self.nb_snapshots.to_be_bytes());
        put(64, &self.snapshots_offset.to_be_bytes());
        put(72, &self.incompatible_features.to_be_bytes());
        put(80, &self.compatible_features.to_be_bytes());
        put(88, &self.autoclear_features.to_be_bytes());
        put(96, &self.refcount_order.to_be_bytes());
        put(100, &self.header_length.to_be_bytes());
        bytes
    }
}

/// Returns the number at `at` of bytes that are long enough.
pub(in crate::qcow2) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Returns the number at `at` of bytes that are long enough.
pub(in crate::qcow2) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_where_it_is_written() {
        let bytes: [u8; ALL_LEN] = std::array::from_fn(|n| n as u8 + 1);
        let fields = Fields::parse(&bytes);
        assert_eq!(fields.to_bytes(), bytes[..VERSION_3_LEN]);
        assert_eq!(fields.compression_type, 105);
    }

    #[test]
    fn version_2_has_fields_that_are_implied() {
        let mut bytes = [0xff; ALL_LEN];
        bytes[4..8].copy_from_slice(&2_u32.to_be_bytes());
        let fields = Fields::parse(&bytes);
        assert_eq!(fields.incompatible_features, 0);
        assert_eq!((fields.refcount_order, fields.header_length), (4, 72));
        assert_eq!(fields.compression_type, 0);
    }
}
