//! Images that are not as they should be.

use lithify_disk::qcow2::{
    Backing, ClusterSize, EntryProblem, Format, Header, HeaderError, Image, OpenError, OpenOptions,
    ReadError, WriteOptions, Writer,
};
use lithify_testkit::deflate;

use super::bench::same;
use crate::common::noise;

/// Bytes of the clusters here.
const CLUSTER: usize = 4096;
/// The offset at which the writer puts the only L2 table of a small disk: behind the header and the
/// L1 table.
const L2_TABLE: usize = 2 * CLUSTER;
/// Bits of the offset of a compressed cluster.
const OFFSET_BITS: u32 = 62 - (12 - 8);

const SIZE: u64 = 1 << 20;

fn disk() -> Vec<u8> {
    let mut disk = vec![0; SIZE as usize];
    disk[..CLUSTER * 3].copy_from_slice(&noise(5, CLUSTER * 3));
    disk
}

fn image(backing: Option<&str>) -> Vec<u8> {
    let options = WriteOptions {
        cluster_size: ClusterSize::new(CLUSTER as u64).unwrap(),
        backing: backing.map(|name| Backing {
            name: name.into(),
            format: Format::Raw,
        }),
    };
    let mut writer = Writer::new(Vec::new(), SIZE, &options).unwrap();
    writer.write(&disk()[..CLUSTER * 3], 0).unwrap();
    writer.finish().unwrap()
}

fn open(image: &[u8]) -> Result<Image<&[u8]>, OpenError> {
    Image::open(image, &OpenOptions::default(), |_| Ok(None))
}

fn put(image: &mut [u8], at: usize, value: &[u8]) {
    image[at..at + value.len()].copy_from_slice(value);
}

fn said(error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// Returns the error of an image with these bytes at a place.
fn said_of(backing: Option<&str>, at: usize, value: &[u8]) -> String {
    let mut image = image(backing);
    put(&mut image, at, value);
    match Image::open(&image[..], &OpenOptions::default(), |_| Ok(Some(&[][..]))) {
        Ok(_) => "nothing".into(),
        Err(error) => said(error),
    }
}

#[test]
fn every_field_of_the_header_is_checked() {
    let word = |value: u32| value.to_be_bytes();
    let long = |value: u64| value.to_be_bytes();
    let of = |at, value: &[u8]| said_of(None, at, value);
    assert_eq!(
        of(0, b"KDMV"),
        "no qcow2 image: it starts with 0x4b444d56, expected 0x514649fb (`QFI` and fb)"
    );
    assert_eq!(of(4, &word(1)), "qcow2 version 1: expected 2 or 3");
    assert_eq!(of(4, &word(4)), "qcow2 version 4: expected 2 or 3");
    assert_eq!(
        of(20, &word(8)),
        "`cluster_bits` is 8: expected 9 (512 bytes) to 21 (2 MiB)"
    );
    assert_eq!(
        of(20, &word(u32::MAX)),
        "`cluster_bits` is 4294967295: expected 9 (512 bytes) to 21 (2 MiB)"
    );
    assert_eq!(
        of(24, &long(SIZE + 1)),
        "a disk of 1048577 bytes: expected a multiple of 512 below 2⁶³"
    );
    assert_eq!(
        of(24, &long(1 << 63)),
        "a disk of 9223372036854775808 bytes: expected a multiple of 512 below 2⁶³"
    );
    assert_eq!(
        of(24, &long(SIZE * 3)),
        "the L1 table has 1 entries: expected 2 to 4194304"
    );
    assert_eq!(
        of(32, &word(1)),
        "the image is encrypted (`crypt_method` 1): decrypt it with qemu-img convert"
    );
    assert_eq!(
        of(36, &word(0)),
        "the L1 table has 0 entries: expected 1 to 4194304"
    );
    assert_eq!(
        of(36, &word(5000)),
        "the L1 table is at byte 4096 with 40000 bytes: expected it cluster by cluster in the 32768 bytes of the file"
    );
    for offset in [0, 8, 4100, 1 << 40, u64::MAX, u64::MAX - 4095] {
        assert!(of(40, &long(offset)).starts_with("the L1 table is at byte "));
        assert!(of(48, &long(offset)).starts_with("the refcount table is at byte "));
    }
    assert_eq!(
        of(56, &word(0)),
        "the refcount table has 0 entries: expected 512 to 1048576"
    );
    assert_eq!(
        of(56, &word(4000)),
        "the refcount table has 2048000 entries: expected 512 to 1048576"
    );
    assert_eq!(
        of(60, &word(70_000)),
        "the snapshot table has 70000 entries: expected 0 to 65536"
    );
    assert!(of(60, &word(1)).starts_with("the snapshot table is at byte 0 with 40 bytes"));
    assert_eq!(
        of(72, &long(1)),
        "the image at depth 0 was not closed: stop what uses it, run `qemu-img check -r all`, or allow dirty images"
    );
    assert_eq!(
        of(72, &long(2)),
        "the image at depth 0 is marked as corrupt: run `qemu-img check`, or allow corrupt images"
    );
    assert_eq!(
        of(72, &long(8)),
        "`compression_type` is 0: expected 0 (zlib) without feature bit 3, or 1 (zstd) with it"
    );
    assert_eq!(
        of(72, &long(16)),
        "clusters of 4096 bytes have subclusters: expected at least 16384"
    );
    assert_eq!(
        of(72, &long(1 << 40)),
        "the image needs the feature `unknown` (bit 40), which is unknown: convert it with qemu-img"
    );
    assert_eq!(of(80, &long(u64::MAX)), "nothing");
    assert_eq!(of(88, &long(u64::MAX - 2)), "nothing");
    assert_eq!(
        of(88, &long(2)),
        "the image says its data file is raw, but has none"
    );
    assert_eq!(
        of(96, &word(7)),
        "`refcount_order` is 7: expected 0 (1 bit) to 6 (64 bits)"
    );
    for length in [0, 96, 108, 4104, u32::MAX] {
        assert!(of(100, &word(length)).starts_with(&format!("a header of {length} bytes")));
    }
    assert!(
        of(104, &[0, 0, 0, 9, 0xff, 0, 0, 0])
            .starts_with("a header extension of 4278190080 bytes at byte 104")
    );

    let of = |at, value: &[u8]| said_of(Some("base"), at, value);
    assert_eq!(of(8, &long(0)), "nothing");
    let name = "the name of the backing file is at byte 128 with ";
    for length in [0, 1024, u32::MAX] {
        assert!(of(16, &word(length)).starts_with(name));
    }
    for offset in [8, 4093, u64::MAX] {
        assert!(of(8, &long(offset)).starts_with(&format!(
            "the name of the backing file is at byte {offset} "
        )));
    }
    assert_eq!(
        of(112, b"rot"),
        "the backing file `base` of the image at depth 0 has the format `rot`: expected raw or qcow2"
    );
}

#[test]
fn unknown_features_are_called_by_name() {
    let mut image = image(None);
    put(&mut image, 72, &(1_u64 << 63).to_be_bytes());
    let mut names = [0; 2 * 48];
    put(&mut names, 0, b"\x00\x05wrong bit");
    put(&mut names, 48, b"\x00\x3fshiny\x1b[31m");
    put(&mut image, 104, &0x6803_f857_u32.to_be_bytes());
    put(&mut image, 108, &96_u32.to_be_bytes());
    put(&mut image, 112, &names);
    let error = Header::read(&image).unwrap_err();
    assert!(matches!(error, HeaderError::Feature { bit: 63, .. }));
    assert_eq!(
        error.to_string(),
        r"the image needs the feature `shiny\x1b[31m` (bit 63), which is unknown: convert it with qemu-img"
    );
}

/// Returns the problem of an image with this entry for its second cluster.
fn problem_of(entry: u64) -> EntryProblem {
    let mut image = image(None);
    put(&mut image, L2_TABLE + 8, &entry.to_be_bytes());
    let image = open(&image).unwrap();
    let mut bytes = [0; CLUSTER];
    image.read_at(&mut bytes, 0).unwrap();
    let error = image.read_at(&mut bytes, CLUSTER as u64).unwrap_err();
    // What is good is given before.
    let extents: Vec<_> = image.extents().collect();
    assert_eq!(extents.len(), 1);
    assert!(extents[0].is_err());
    match error {
        ReadError::Entry {
            depth: 0,
            guest: 4096,
            problem,
        } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_of_tables_are_checked() {
    let beyond = problem_of(1 << 40 | 1 << 63);
    assert!(
        matches!(beyond, EntryProblem::Beyond { offset, file: 32_768, .. } if offset == 1 << 40)
    );
    assert_eq!(
        problem_of(0x3200),
        EntryProblem::Unaligned {
            offset: 0x3200,
            cluster: 4096
        }
    );
    assert_eq!(problem_of(0x3000 | 4), EntryProblem::Reserved { found: 4 });
    assert_eq!(problem_of(1 << 63), EntryProblem::CopiedNowhere);
    let compressed = problem_of(1 << 62 | 1 << 40);
    assert!(matches!(compressed, EntryProblem::Beyond { .. }));

    let mut damaged = image(None);
    for (entry, problem) in [
        (0x4000 | 2, "the reserved bits 0x2 are set"),
        (
            0x4200,
            "it points to byte 16896: expected a multiple of 4096",
        ),
        (
            0x8000,
            "it points to 4096 bytes at byte 32768, but the file has 32768: it is cut short or damaged",
        ),
    ] {
        put(&mut damaged, CLUSTER, &u64::to_be_bytes(entry));
        let error = open(&damaged).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("entry 0 of the L1 table of the image at depth 0 is damaged: {problem}")
        );
    }
    let mut old = image(None);
    put(&mut old, 4, &2_u32.to_be_bytes());
    put(&mut old, L2_TABLE, &1_u64.to_be_bytes());
    let old = open(&old).unwrap();
    let error = old.read_at(&mut [0], 0).unwrap_err();
    assert!(matches!(
        error,
        ReadError::Entry {
            problem: EntryProblem::ZeroBit,
            ..
        }
    ));
}

#[test]
fn reads_end_with_the_disk() {
    let image = image(None);
    let image = open(&image).unwrap();
    for (offset, length) in [(SIZE, 1), (SIZE - 1, 2), (u64::MAX, 1), (u64::MAX, 0)] {
        let error = image.read_at(&mut vec![0; length], offset).unwrap_err();
        assert!(matches!(error, ReadError::OutOfRange { size: SIZE, .. }));
    }
    image.read_at(&mut [], SIZE).unwrap();
    assert_eq!(lithify_disk::ReadAt::size(&image).unwrap(), SIZE);
}

/// Tables that name one cluster again and again make no large disk of a small file.
#[test]
fn clusters_named_twice_are_noticed() {
    let mut data = image(None);
    for entry in 3..200 {
        put(
            &mut data,
            L2_TABLE + 8 * entry,
            &(0x3000_u64 | 1 << 63).to_be_bytes(),
        );
    }
    let opened = open(&data).unwrap();
    let last = opened.extents().last().unwrap();
    assert!(matches!(last, Err(ReadError::DataAgain { depth: 0 })));

    // 600 L2 tables on a disk of 1.2 GiB, in a file of 8 clusters.
    let mut tables = image(None);
    put(&mut tables, 24, &(600_u64 << 21).to_be_bytes());
    put(&mut tables, 36, &600_u32.to_be_bytes());
    for entry in 0..600 {
        put(
            &mut tables,
            CLUSTER + 8 * entry,
            &(0x5000_u64).to_be_bytes(),
        );
    }
    let error = open(&tables).unwrap_err();
    assert!(matches!(
        error,
        OpenError::TablesAgain {
            depth: 0,
            file: 32_768
        }
    ));
}

/// An image whose second cluster is compressed: this stream, at byte 5 of a sector, in so many
/// sectors.
fn compressed(stream: &[u8], sectors: u64, is_zstd: bool) -> Vec<u8> {
    let mut image = image(None);
    let place = image.len() as u64 + 5;
    image.extend_from_slice(&[0xff; 5]);
    image.extend_from_slice(stream);
    let entry = 1 << 62 | (sectors - 1) << OFFSET_BITS | place;
    put(&mut image, L2_TABLE + 8, &entry.to_be_bytes());
    if is_zstd {
        put(&mut image, 72, &8_u64.to_be_bytes());
        put(&mut image, 100, &112_u32.to_be_bytes());
        put(&mut image, 104, &[1, 0, 0, 0, 0, 0, 0, 0]);
    }
    image
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

#[test]
fn compressed_clusters_have_to_be_clusters() {
    let mut expected = disk();
    let cluster: Vec<u8> = (0..CLUSTER).map(|n| (n / 3) as u8).collect();
    expected[CLUSTER..2 * CLUSTER].copy_from_slice(&cluster);
    let sectors = |stream: &[u8]| (stream.len() as u64 + 5).div_ceil(512);
    for is_zstd in [false, true] {
        let pack = |bytes: &[u8]| match is_zstd {
            true => zstd(bytes),
            false => deflate(bytes, 6),
        };
        let stream = pack(&cluster);
        let mut image = compressed(&stream, sectors(&stream), is_zstd);
        // The file may end within the last sector; or something else follows.
        same(&open(&image).unwrap(), &expected);
        image.extend_from_slice(&[0xff; 2000]);
        same(&open(&image).unwrap(), &expected);

        let read = |image: &[u8]| {
            let image = open(image).unwrap();
            let error = image.read_at(&mut [0; 10], CLUSTER as u64 + 7).unwrap_err();
            let ReadError::Compressed {
                depth: 0,
                host: 32_773,
                source,
            } = error
            else {
                panic!("{error:?}");
            };
            source.to_string()
        };
        let short = pack(&cluster[1..]);
        let said = read(&compressed(&short, sectors(&short), is_zstd));
        assert_eq!(
            said,
            "it decompresses to 4095 bytes, expected a cluster of 4096"
        );
        // Cut by its length, and by the end of the file.
        let noisy = pack(&noise(9, CLUSTER));
        let said = read(&compressed(&noisy, 2, is_zstd));
        assert!(said.ends_with("expected a cluster of 4096"), "{said}");
        let said = read(&compressed(&noisy[..2000], 8, is_zstd));
        assert!(said.ends_with("expected a cluster of 4096"), "{said}");
        let said = read(&compressed(&[0xff; 600], 2, is_zstd));
        assert!(said.starts_with("it is no "), "{said}");
    }
    // Deflate may go on, as QEMU has it; a frame of zstd may not.
    let long = [&cluster[..], b"more"].concat();
    let stream = deflate(&long, 6);
    same(
        &open(&compressed(&stream, sectors(&stream), false)).unwrap(),
        &expected,
    );
    let stream = zstd(&long);
    let image = compressed(&stream, sectors(&stream), true);
    let error = open(&image).unwrap().read_at(&mut [0], CLUSTER as u64);
    assert!(
        matches!(error, Err(ReadError::Compressed { .. })),
        "{error:?}"
    );
    // Two frames.
    let stream = [zstd(&cluster[..1000]), zstd(&cluster[1000..])].concat();
    same(
        &open(&compressed(&stream, sectors(&stream), true)).unwrap(),
        &expected,
    );
    // A frame that wants 128 MiB of memory.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &cluster).unwrap();
    let stream = encoder.finish().unwrap();
    let image = compressed(&stream, sectors(&stream), true);
    let error = open(&image).unwrap().read_at(&mut [0], CLUSTER as u64);
    let Err(ReadError::Compressed { source, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        source.to_string(),
        "it is no zstd stream with a window of at most 8 MiB"
    );
}

/// However short an image is cut, what is read is right.
#[test]
fn cut_images_give_errors_or_what_is_right() {
    let expected = disk();
    let cluster: Vec<u8> = (0..CLUSTER).map(|n| (n / 3) as u8).collect();
    let mut with_compressed = expected.clone();
    with_compressed[CLUSTER..2 * CLUSTER].copy_from_slice(&cluster);
    let packed = compressed(&deflate(&cluster, 6), 8, false);
    for (whole, expected) in [(image(None), expected), (packed, with_compressed)] {
        let mut opened = 0;
        for length in (0..=whole.len()).step_by(512) {
            let Ok(image) = open(&whole[..length]) else {
                continue;
            };
            opened += 1;
            for at in (0..expected.len()).step_by(1500) {
                let mut piece = vec![0; 1500.min(expected.len() - at)];
                if image.read_at(&mut piece, at as u64).is_ok() {
                    assert!(piece == expected[at..at + piece.len()], "{length}: {at}");
                }
            }
            for extent in image.extents().map_while(Result::ok) {
                let range = extent.offset as usize..(extent.offset + extent.length) as usize;
                let is_hole = extent.kind == lithify_disk::qcow2::ExtentKind::Hole;
                assert!(!is_hole || expected[range].iter().all(|&byte| byte == 0));
            }
        }
        assert!(opened > 0);
    }
}
