//! Indexes as they are encoded and read.

use super::*;
use proptest::prelude::*;

#[test]
fn headers_come_back() {
    let header = Header {
        inline_len: 777,
        advise: advise::KNOWN,
        methods: [3, 1],
        cluster_bits: 2,
        whole_fragment: true,
    };
    assert_eq!(Header::decode(&header.encode()), header);
}

#[test]
fn packs_are_aligned() {
    for start in (0..64).step_by(8) {
        for total in 0..100 {
            for packed in [false, true] {
                let packs = Packs::new(start, total, packed);
                let mut end = 0;
                let mut cluster = 0;
                while cluster < total {
                    let at = packs.find(cluster);
                    assert_eq!((at.first, at.offset), (cluster, end));
                    assert_eq!((start + at.offset) % at.len() as u64, 0);
                    for inside in cluster..(cluster + at.capacity as u64).min(total) {
                        assert_eq!(packs.find(inside), at);
                    }
                    end += at.len() as u64;
                    cluster += at.capacity as u64;
                }
                assert_eq!(packs.len(), end);
            }
        }
    }
}

/// Extents as the writer makes them: each but the last reaches the next cluster, plain ones have no cluster of
/// their own behind the head's.
fn extents() -> impl Strategy<Value = (Vec<Extent>, bool)> {
    let one = prop_oneof![
        Just(Extent {
            length: 4096,
            blocks: 0
        }),
        (4096..60_000_u32).prop_map(|length| Extent { length, blocks: 1 }),
        (12_288..300_000_u32, 2..3_u16).prop_map(|(length, blocks)| Extent { length, blocks }),
    ];
    (prop::collection::vec(one, 1..60), any::<bool>()).prop_map(|(mut extents, big)| {
        if !big {
            extents.iter_mut().for_each(|e| e.blocks = e.blocks.min(1));
        }
        (extents, big)
    })
}

proptest! {
    #[test]
    fn compact_indexes_come_back((extents, big) in extents(), start in 0..8_u64, block in 1..1_000_000_u32) {
        let size: u64 = extents.iter().map(|e| u64::from(e.length)).sum();
        let total = size.div_ceil(BLOCK_SIZE as u64);
        let clusters: Vec<_> = Clusters::new(extents.iter().copied(), block, total).collect();
        prop_assert_eq!(clusters.len() as u64, total);
        let packs = Packs::new(start * 8, total, true);
        let mut cluster = 0;
        while cluster < total {
            let at = packs.find(cluster);
            let end = (cluster + at.capacity as u64).min(total);
            let pack = encode_pack(&clusters[cluster as usize..end as usize], &at, big);
            for i in cluster..end {
                let found = decode_pack(&pack[..at.len()], &at, (i - cluster) as usize, 12, big);
                let wanted = match clusters[i as usize] {
                    Lcluster::Tail { back, ahead, blocks } => Lcluster::Tail { blocks: blocks.filter(|_| big), back, ahead },
                    head => head,
                };
                match (found, wanted) {
                    // The distance ahead may lead to the end of the pack only.
                    (Some(Lcluster::Tail { blocks: b, back: k, ahead: a }), Lcluster::Tail { blocks, back, ahead }) => {
                        prop_assert_eq!((b, k), (blocks, back));
                        prop_assert!(a > 0 && a <= ahead);
                    }
                    (found, wanted) => prop_assert_eq!(found, Some(wanted)),
                }
            }
            cluster = end;
        }
    }

    #[test]
    fn any_pack_ends(pack in prop::array::uniform32(any::<u8>()), index in 0..16_usize, big in any::<bool>()) {
        let at = PackAt { offset: 0, capacity: 16, first: 0 };
        let _ = decode_pack(&pack, &at, index, 12, big);
        let at = PackAt { offset: 0, capacity: 2, first: 0 };
        let _ = decode_pack(&pack[..8], &at, index % 2, 14, big);
    }
}
