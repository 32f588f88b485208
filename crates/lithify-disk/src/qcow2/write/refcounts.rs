//! Reference counts: all clusters of a file that is written here have a count of one.

use super::options::Shape;

/// The place of the reference counts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refcounts {
    /// The cluster of the table, behind everything else; its blocks follow it.
    pub(super) table: u64,
    /// Clusters of the table.
    pub(super) table_clusters: u64,
    /// Clusters of the blocks, one each.
    pub(super) blocks: u64,
}

impl Refcounts {
    /// Returns where the counts are of a file with so many other clusters.
    ///
    /// The table and the blocks are counted too, so there are more until there are enough.
    pub(super) fn behind(clusters: u64, shape: &Shape) -> Self {
        let mut found = Self {
            table: clusters,
            table_clusters: 0,
            blocks: 0,
        };
        loop {
            let blocks = found.end().div_ceil(shape.counts_in_block());
            let entries_in_cluster = shape.cluster.bytes() / 8;
            let table_clusters = blocks.div_ceil(entries_in_cluster);
            if (blocks, table_clusters) == (found.blocks, found.table_clusters) {
                return found;
            }
            found.blocks = blocks;
            found.table_clusters = table_clusters;
        }
    }

    /// Returns the first block's cluster.
    pub(super) fn first_block(&self) -> u64 {
        self.table + self.table_clusters
    }

    /// Returns the clusters of the whole file.
    pub(super) fn end(&self) -> u64 {
        self.first_block() + self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qcow2::{ClusterSize, WriteOptions};

    #[test]
    fn counts_are_enough_and_not_too_many() {
        let options = WriteOptions {
            cluster_size: ClusterSize::MIN,
            ..WriteOptions::default()
        };
        let shape = Shape::new(1 << 20, &options).unwrap();
        let in_block = shape.counts_in_block();
        assert_eq!(in_block, 256);
        for clusters in (2..70_000).chain([1 << 20, 1 << 27]) {
            let found = Refcounts::behind(clusters, &shape);
            assert!(found.blocks * in_block >= found.end());
            assert!((found.blocks - 1) * in_block < found.end());
            assert_eq!(found.table_clusters, found.blocks.div_ceil(64));
        }
    }
}
