//! Any disk, any bytes.

use std::io;

use lithify_disk::ReadAt;
use lithify_disk::qcow2::{
    Backing, ClusterSize, ExtentKind, Format, Header, Image, OpenOptions, WriteOptions, Writer,
};
use proptest::prelude::*;

use super::bench::same;
use crate::common::noise;

/// A change of a stretch of a disk, in units of some length.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stretch {
    Data,
    ZeroData,
    Zeros,
    Nothing,
}

fn stretches() -> impl Strategy<Value = Vec<(Stretch, u64)>> {
    let kind = prop_oneof![
        Just(Stretch::Data),
        Just(Stretch::ZeroData),
        Just(Stretch::Zeros),
        Just(Stretch::Nothing)
    ];
    proptest::collection::vec((kind, 1..40_u64), 1..20)
}

/// The disk, and what an image with the stretches in units of `unit` bytes is; `below` is what it
/// is on.
fn make(
    stretches: &[(Stretch, u64)],
    unit: u64,
    options: &WriteOptions,
    below: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let size = stretches
        .iter()
        .map(|(_, n)| n * unit)
        .sum::<u64>()
        .next_multiple_of(512);
    let mut disk = below.to_vec();
    disk.resize(size as usize, 0);
    let mut writer = Writer::new(Vec::new(), size, options).unwrap();
    let mut at = 0;
    for (n, &(kind, units)) in stretches.iter().enumerate() {
        let length = units * unit;
        let place = &mut disk[at as usize..(at + length) as usize];
        match kind {
            Stretch::Data => place.copy_from_slice(&noise(n as u64, length as usize)),
            Stretch::ZeroData | Stretch::Zeros => place.fill(0),
            Stretch::Nothing => {}
        }
        match kind {
            Stretch::Data | Stretch::ZeroData => writer.write(place, at).unwrap(),
            Stretch::Zeros => writer.write_zeros(at, length).unwrap(),
            Stretch::Nothing => {}
        }
        at += length;
    }
    (disk, writer.finish().unwrap())
}

/// Bytes that nobody reads behind the end of.
struct Fenced(Vec<u8>);

impl ReadAt for Fenced {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        assert!(end.is_some_and(|end| end <= self.0.len() as u64));
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// Reads all there is, which has an end.
fn read_all(bytes: Vec<u8>) {
    if let Ok(header) = Header::read(&Fenced(bytes.clone())) {
        assert!(header.virtual_size < 1 << 63);
    }
    let base = vec![1; 100_000];
    let options = OpenOptions {
        allow_dirty: true,
        allow_corrupt: true,
        allow_data_file: true,
        ..OpenOptions::default()
    };
    let image = Image::open(Fenced(bytes), &options, |_| Ok(Some(Fenced(base.clone()))));
    let Ok(image) = image else {
        return;
    };
    let mut end = 0;
    let mut piece = vec![0; 70_000];
    for extent in image.extents() {
        let Ok(extent) = extent else { break };
        assert!(extent.length > 0 && extent.offset == end);
        end += extent.length;
        let length = extent.length.min(piece.len() as u64) as usize;
        if image.read_at(&mut piece[..length], extent.offset).is_ok()
            && !matches!(extent.kind, ExtentKind::Data { .. })
        {
            assert!(piece[..length].iter().all(|&byte| byte == 0));
        }
    }
    assert!(end <= image.virtual_size());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(stretches in stretches(), unit in 1..3000_u64, bits in 9..=21_u32) {
        let options = WriteOptions {
            cluster_size: ClusterSize::new(1 << bits).unwrap(),
            backing: None,
        };
        let (disk, bytes) = make(&stretches, unit, &options, &[]);
        let image = Image::open(Fenced(bytes), &options_of(), |_| Ok(None)).unwrap();
        prop_assert_eq!(image.virtual_size(), disk.len() as u64);
        same(&image, &disk);
        for extent in image.extents() {
            let extent = extent.unwrap();
            let place = &disk[extent.offset as usize..][..extent.length as usize];
            // A cluster of zeros takes no space, one with something else is there.
            for cluster in place.chunks(1 << bits) {
                let is_zero = cluster.iter().all(|&byte| byte == 0);
                prop_assert_eq!(is_zero, extent.kind == ExtentKind::Hole);
            }
        }
    }

    #[test]
    fn what_is_written_over_another_is_read(
        below in stretches(),
        above in stretches(),
        bits in 9..=13_u32,
        unit in 1..3000_u64,
    ) {
        let cluster_size = ClusterSize::new(1 << bits).unwrap();
        let options = WriteOptions { cluster_size: ClusterSize::MIN, backing: None };
        let (below, base) = make(&below, unit, &options, &[]);
        let mut options = options;
        options.cluster_size = cluster_size;
        options.backing = Some(Backing { name: b"base".to_vec(), format: Format::Qcow2 });
        let (disk, bytes) = make(&above, 1 << bits, &options, &below);
        let image = Image::open(&bytes, &options_of(), |_| Ok(Some(&base))).unwrap();
        same(&image, &disk);
        // The image alone says what was done to it.
        let kinds: Vec<_> = image.extents_above(1).map(|extent| extent.unwrap()).collect();
        for (extent, kind) in at_each(&above, 1 << bits, &kinds) {
            let expected = match kind {
                Stretch::Data => ExtentKind::Data { depth: 0 },
                Stretch::ZeroData | Stretch::Zeros => ExtentKind::Zero { depth: 0 },
                Stretch::Nothing => ExtentKind::Hole,
            };
            prop_assert_eq!(extent, expected);
        }
    }

    #[test]
    fn changed_images_are_read_or_refused(
        stretches in stretches(),
        has_backing in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let options = WriteOptions {
            cluster_size: ClusterSize::MIN,
            backing: has_backing.then(|| Backing { name: b"base".to_vec(), format: Format::Raw }),
        };
        let (_, mut bytes) = make(&stretches, 512, &options, &[]);
        for (place, value, is_metadata) in changes {
            // The header, the L1 table and the first L2 table, or anything.
            let end = if is_metadata { 2048 } else { bytes.len() };
            let place = place.index(end.min(bytes.len()));
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(bytes);
    }

    #[test]
    fn any_tables_are_read_or_refused(
        seed in any::<u32>(),
        bits in 9..=16_u32,
        is_extended in any::<bool>(),
        version in 2..=3_u32,
    ) {
        read_all(scrambled(seed, bits, is_extended, version));
    }
}

fn options_of() -> OpenOptions {
    OpenOptions {
        // Of no use to tables that have more.
        table_memory: 0,
        ..OpenOptions::default()
    }
}

/// The kind of the extent at each unit, and what was done there.
fn at_each(
    stretches: &[(Stretch, u64)],
    unit: u64,
    extents: &[lithify_disk::qcow2::Extent],
) -> Vec<(ExtentKind, Stretch)> {
    let units = stretches
        .iter()
        .flat_map(|&(kind, units)| (0..units).map(move |_| kind));
    units
        .enumerate()
        .map(|(n, kind)| {
            let at = n as u64 * unit;
            let extent = extents
                .iter()
                .find(|e| e.offset <= at && at < e.offset + e.length);
            (extent.unwrap().kind, kind)
        })
        .collect()
}

/// A good header with tables of noise that is nearly good.
fn scrambled(seed: u32, bits: u32, is_extended: bool, version: u32) -> Vec<u8> {
    let cluster = 1_usize << bits;
    let mut bytes = vec![0; 8 * cluster];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let place = |n: usize| ((n * cluster) as u64).to_be_bytes();
    put(0, b"QFI\xfb");
    put(4, &version.to_be_bytes());
    put(20, &bits.to_be_bytes());
    put(24, &(cluster as u64 * 40).to_be_bytes());
    put(36, &4_u32.to_be_bytes());
    put(40, &place(1));
    put(48, &place(2));
    put(56, &1_u32.to_be_bytes());
    if version == 3 {
        put(72, &(u64::from(is_extended) << 4).to_be_bytes());
        put(96, &4_u32.to_be_bytes());
        put(100, &104_u32.to_be_bytes());
    }
    put(cluster, &place(3));
    put(cluster + 8, &place(4));
    let mut random = lithify_testkit::Random::new(u64::from(seed));
    for entry in 0..40 {
        let host = random.below(9) << bits;
        let value = match random.below(6) {
            0 => 0,
            1 => 1,
            2 => host | 1 << 63,
            3 => host | u64::from(bits >= 14) << 63,
            4 => 1 << 62 | random.below(8 << bits),
            _ => random.next(),
        };
        put(3 * cluster + 8 * entry, &value.to_be_bytes());
    }
    bytes
}
