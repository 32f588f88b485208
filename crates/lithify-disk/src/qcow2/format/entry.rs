//! Entries of L1 and L2 tables.

use super::ClusterSize;
use super::error::EntryProblem;

/// Bytes of an entry of an L1 table, and of an L2 table without subclusters.
pub(in crate::qcow2) const ENTRY_LEN: u64 = 8;
/// Bytes of an entry of an L2 table with subclusters.
pub(in crate::qcow2) const EXTENDED_ENTRY_LEN: u64 = 2 * ENTRY_LEN;
/// Subclusters of a cluster.
pub(in crate::qcow2) const SUBCLUSTERS: u32 = 32;
/// Bytes of the unit in which the length of a compressed cluster is stored.
pub(in crate::qcow2) const COMPRESSED_SECTOR: u64 = 512;
/// End of the host offsets that a table can hold.
pub(in crate::qcow2) const HOST_END: u64 = 1 << 56;

/// The cluster has a reference count of one.
const COPIED: u64 = 1 << 63;
/// The cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros.
const ZERO: u64 = 1;
/// Bits of a host offset.
const OFFSET: u64 = (HOST_END - 1) & !(ClusterSize::MIN.bytes() - 1);
/// Bits that an entry of an L1 table does not have.
const L1_RESERVED: u64 = !(COPIED | OFFSET);
/// Bits that a standard entry of an L2 table does not have.
const L2_RESERVED: u64 = !(COPIED | COMPRESSED | OFFSET | ZERO);

/// The rules of an image that its entries follow.
#[derive(Clone, Copy, Debug)]
pub(in crate::qcow2) struct EntryRules {
    /// The image's cluster size.
    pub(in crate::qcow2) cluster: ClusterSize,
    /// The zero bit has a meaning: version 3, without subclusters.
    pub(in crate::qcow2) has_zero_bit: bool,
    /// The entries have bitmaps of subclusters.
    pub(in crate::qcow2) is_extended: bool,
    /// Data is in a file of its own, where a cluster is at its guest offset.
    pub(in crate::qcow2) has_data_file: bool,
}

/// The place of the bytes of a guest cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::qcow2) enum Cluster {
    /// Nowhere in this image.
    Unallocated,
    /// Nowhere: they are zeros.
    Zero,
    /// At this host offset.
    Standard { host: u64 },
    /// Compressed, in at most `length` bytes from this host offset.
    Compressed { host: u64, length: u64 },
    /// For each subcluster by itself; those with data are at their place in the cluster at this
    /// host offset.
    Subclusters { host: u64, bitmap: Bitmap },
}

/// The state of the subclusters of a cluster: the low half says which have data, the high half
/// which are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::qcow2) struct Bitmap(u64);

/// The place of the bytes of a subcluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::qcow2) enum Subcluster {
    /// Nowhere in this image.
    Unallocated,
    /// Nowhere: they are zeros.
    Zero,
    /// In the cluster.
    Data,
}

impl Bitmap {
    fn data(self) -> u32 {
        self.0 as u32
    }

    fn zeros(self) -> u32 {
        (self.0 >> SUBCLUSTERS) as u32
    }

    /// Returns where a subcluster is, and how many from it on, itself included, are the same way.
    pub(in crate::qcow2) fn run(self, first: u32) -> (Subcluster, u32) {
        let here = self.at(first);
        let others = (first + 1..SUBCLUSTERS).take_while(|&n| self.at(n) == here);
        (here, 1 + others.count() as u32)
    }

    fn at(self, subcluster: u32) -> Subcluster {
        let is_in = |bits: u32| bits >> subcluster & 1 == 1;
        match (is_in(self.data()), is_in(self.zeros())) {
            (true, _) => Subcluster::Data,
            (false, true) => Subcluster::Zero,
            (false, false) => Subcluster::Unallocated,
        }
    }
}

/// Returns where the L2 table of an entry of an L1 table is, if it has one.
pub(in crate::qcow2) fn table_of(
    entry: u64,
    cluster: ClusterSize,
) -> Result<Option<u64>, EntryProblem> {
    no_reserved(entry & L1_RESERVED)?;
    let host = entry & OFFSET;
    aligned(host, cluster)?;
    Ok((host != 0).then_some(host))
}

/// Returns the entry of an L1 or L2 table for what is at `host`, and nowhere else referred to.
pub(in crate::qcow2) fn entry_for(host: u64) -> u64 {
    debug_assert_eq!(host & !OFFSET, 0);
    host | COPIED
}

/// The entry of an L2 table for a cluster of zeros that takes no space.
pub(in crate::qcow2) const ZERO_ENTRY: u64 = ZERO;

impl EntryRules {
    /// Returns the bytes of an entry of an L2 table.
    pub(in crate::qcow2) fn entry_len(self) -> u64 {
        match self.is_extended {
            true => EXTENDED_ENTRY_LEN,
            false => ENTRY_LEN,
        }
    }

    /// Returns the number of entries of an L2 table.
    pub(in crate::qcow2) fn table_entries(self) -> u64 {
        self.cluster.bytes() / self.entry_len()
    }

    /// Returns the guest bytes that an entry of an L1 table is for.
    pub(in crate::qcow2) fn table_span(self) -> u64 {
        self.table_entries() * self.cluster.bytes()
    }

    /// Reads an entry of an L2 table, for the cluster at `guest`; `bitmap` is 0 where entries have
    /// none.
    pub(in crate::qcow2) fn cluster_of(
        self,
        entry: u64,
        bitmap: u64,
        guest: u64,
    ) -> Result<Cluster, EntryProblem> {
        if entry & COMPRESSED != 0 {
            return self.compressed_of(entry, bitmap);
        }
        no_reserved(entry & L2_RESERVED)?;
        let host = entry & OFFSET;
        aligned(host, self.cluster)?;
        // Offset 0 is no place for data, but for the first cluster of a data file.
        let is_allocated = host != 0 || (self.has_data_file && entry & COPIED != 0);
        if host == 0 && entry & COPIED != 0 && !self.has_data_file {
            return Err(EntryProblem::CopiedNowhere);
        }
        if is_allocated && self.has_data_file && host != guest {
            return Err(EntryProblem::NotInPlace {
                found: host,
                expected: guest,
            });
        }
        if entry & ZERO != 0 {
            return match self.has_zero_bit {
                true => Ok(Cluster::Zero),
                false => Err(EntryProblem::ZeroBit),
            };
        }
        if self.is_extended {
            return subclusters_of(host, Bitmap(bitmap), is_allocated);
        }
        Ok(match is_allocated {
            true => Cluster::Standard { host },
            false => Cluster::Unallocated,
        })
    }

    fn compressed_of(self, entry: u64, bitmap: u64) -> Result<Cluster, EntryProblem> {
        if self.has_data_file {
            return Err(EntryProblem::CompressedInDataFile);
        }
        no_reserved(bitmap)?;
        no_reserved(entry & COPIED)?;
        // The sectors have as many bits as it takes to count those of a cluster, and one more.
        let sector_bits = self.cluster.bits() - (COMPRESSED_SECTOR.trailing_zeros() - 1);
        let offset_bits = COMPRESSED.trailing_zeros() - sector_bits;
        let host = entry & ((1 << offset_bits) - 1);
        if host >= HOST_END {
            return Err(EntryProblem::Reserved { found: host });
        }
        let sectors = ((entry & (COMPRESSED - 1)) >> offset_bits) + 1;
        let length = sectors * COMPRESSED_SECTOR - host % COMPRESSED_SECTOR;
        Ok(Cluster::Compressed { host, length })
    }
}

fn subclusters_of(host: u64, bitmap: Bitmap, is_allocated: bool) -> Result<Cluster, EntryProblem> {
    if bitmap.data() & bitmap.zeros() != 0 {
        return Err(EntryProblem::Subclusters {
            both: bitmap.data() & bitmap.zeros(),
        });
    }
    if !is_allocated && bitmap.data() != 0 {
        return Err(EntryProblem::SubclustersNowhere {
            found: bitmap.data(),
        });
    }
    Ok(Cluster::Subclusters { host, bitmap })
}

fn no_reserved(found: u64) -> Result<(), EntryProblem> {
    match found {
        0 => Ok(()),
        found => Err(EntryProblem::Reserved { found }),
    }
}

fn aligned(offset: u64, cluster: ClusterSize) -> Result<(), EntryProblem> {
    match cluster.is_aligned(offset) {
        true => Ok(()),
        false => Err(EntryProblem::Unaligned {
            offset,
            cluster: cluster.bytes(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(bits: u32) -> EntryRules {
        EntryRules {
            cluster: ClusterSize::from_bits(bits).unwrap(),
            has_zero_bit: true,
            is_extended: false,
            has_data_file: false,
        }
    }

    #[test]
    fn standard_entries() {
        let rules = rules(16);
        let of = |entry| rules.cluster_of(entry, 0, 0x10_0000);
        assert_eq!(of(0), Ok(Cluster::Unallocated));
        assert_eq!(of(1), Ok(Cluster::Zero));
        assert_eq!(of(entry_for(0x50000) | 1), Ok(Cluster::Zero));
        let standard = Cluster::Standard { host: 0x50000 };
        assert_eq!(of(0x50000), Ok(standard));
        assert_eq!(of(entry_for(0x50000)), Ok(standard));
        assert_eq!(of(COPIED), Err(EntryProblem::CopiedNowhere));
        for reserved in [2, 1 << 8, 1 << 56, 1 << 61] {
            let problem = EntryProblem::Reserved { found: reserved };
            assert_eq!(of(0x50000 | reserved), Err(problem));
            let l1 = table_of(0x50000 | reserved, rules.cluster);
            assert_eq!(l1, Err(problem));
        }
        assert!(matches!(of(0x50200), Err(EntryProblem::Unaligned { .. })));
        let old = EntryRules {
            has_zero_bit: false,
            ..rules
        };
        assert_eq!(old.cluster_of(1, 0, 0), Err(EntryProblem::ZeroBit));
    }

    #[test]
    fn entries_of_a_data_file_are_in_place() {
        let rules = EntryRules {
            has_data_file: true,
            ..rules(16)
        };
        let standard = |host| Ok(Cluster::Standard { host });
        assert_eq!(rules.cluster_of(COPIED, 0, 0), standard(0));
        assert_eq!(
            rules.cluster_of(entry_for(0x20000), 0, 0x20000),
            standard(0x20000)
        );
        assert_eq!(rules.cluster_of(0, 0, 0x20000), Ok(Cluster::Unallocated));
        let moved = rules.cluster_of(entry_for(0x20000), 0, 0x30000);
        assert!(matches!(moved, Err(EntryProblem::NotInPlace { .. })));
        let compressed = rules.cluster_of(COMPRESSED | 0x20000, 0, 0x20000);
        assert_eq!(compressed, Err(EntryProblem::CompressedInDataFile));
    }

    /// The bits that the length has, by the format's `62 - (cluster_bits - 8)`.
    #[test]
    fn compressed_entries() {
        for bits in 9..=21 {
            let rules = rules(bits);
            let offset_bits = 62 - (bits - 8);
            let entry = |sectors: u64, host: u64| COMPRESSED | (sectors - 1) << offset_bits | host;
            let most = 1 << (bits - 8);
            for (sectors, host) in [(1, 1025), (most, 512), (1, (1 << offset_bits.min(56)) - 1)] {
                let length = sectors * 512 - host % 512;
                let found = rules.cluster_of(entry(sectors, host), 0, 0);
                assert_eq!(found, Ok(Cluster::Compressed { host, length }), "{bits}");
            }
            let far = rules.cluster_of(entry(1, 1 << 56), 0, 0);
            assert_eq!(far.is_err(), bits < 14, "{bits}: {far:?}");
        }
    }

    #[test]
    fn subclusters() {
        let rules = EntryRules {
            has_zero_bit: false,
            is_extended: true,
            ..rules(16)
        };
        let found = rules
            .cluster_of(entry_for(0x50000), 0xf0_0000_000f, 0)
            .unwrap();
        let Cluster::Subclusters { host, bitmap } = found else {
            panic!("{found:?}");
        };
        assert_eq!(host, 0x50000);
        assert_eq!(bitmap.run(0), (Subcluster::Data, 4));
        assert_eq!(bitmap.run(3), (Subcluster::Data, 1));
        assert_eq!(bitmap.run(4), (Subcluster::Zero, 4));
        assert_eq!(bitmap.run(8), (Subcluster::Unallocated, 24));
        let both = rules.cluster_of(entry_for(0x50000), 0x1_0000_0001, 0);
        assert_eq!(both, Err(EntryProblem::Subclusters { both: 1 }));
        let nowhere = rules.cluster_of(0, 1, 0);
        assert_eq!(nowhere, Err(EntryProblem::SubclustersNowhere { found: 1 }));
        assert!(rules.cluster_of(0, 1 << 40, 0).is_ok());
    }
}
