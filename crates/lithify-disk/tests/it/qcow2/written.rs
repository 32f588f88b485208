//! Images of our own: QEMU finds nothing wrong with them, and the same disk in them.

use lithify_disk::qcow2::{
    Backing, ClusterSize, Extent, Format, Image, NameProblem, OpenOptions, WriteError,
    WriteOptions, Writer,
};
use lithify_testkit::{Random, require};

use super::bench::{Bench, same, shown};
use crate::common::noise;

const MIB: u64 = 1 << 20;

fn clusters(bytes: u64) -> WriteOptions {
    WriteOptions {
        cluster_size: ClusterSize::new(bytes).unwrap(),
        backing: None,
    }
}

/// A disk with data here and there, and where it is: offsets and lengths.
fn sparse_disk(random: &mut Random, size: u64) -> (Vec<u8>, Vec<(u64, u64)>) {
    let (mut disk, mut places, mut at) = (vec![0; size as usize], Vec::new(), 0);
    while at < size {
        at += random.below(size / 5);
        let most = random.pick(&[100, 5000, size / 8]);
        let length = (1 + random.below(most)).min(size.saturating_sub(at));
        if length == 0 {
            break;
        }
        let bytes = match random.chance(20) {
            true => vec![0; length as usize],
            false => noise(random.below(1 << 40), length as usize),
        };
        disk[at as usize..][..length as usize].copy_from_slice(&bytes);
        places.push((at, length));
        at += length;
    }
    (disk, places)
}

/// Writes a disk, cut as `random` has it.
fn write(
    disk: &[u8],
    places: &[(u64, u64)],
    options: &WriteOptions,
    random: &mut Random,
) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), disk.len() as u64, options).unwrap();
    for &(start, length) in places {
        let (mut at, end) = (start, start + length);
        while at < end {
            let piece = 1 + random.below(end - at);
            let data = &disk[at as usize..][..piece as usize];
            match data.iter().all(|&byte| byte == 0) {
                true => writer.write_zeros(at, piece).unwrap(),
                false => writer.write(data, at).unwrap(),
            }
            at += piece;
        }
    }
    writer.finish().unwrap()
}

#[test]
fn qemu_finds_the_same_disk_and_nothing_wrong() {
    if !require::tool("qemu-img") {
        return;
    }
    let bench = Bench::new();
    let mut random = Random::new(14);
    for (n, cluster) in [512, 4096, 65_536, 2 << 20, 512, 65_536].iter().enumerate() {
        let size = random.pick(&[512, 3 * MIB + 512, 5 * MIB, 8 * MIB]);
        let (disk, places) = sparse_disk(&mut random, size);
        let image = write(&disk, &places, &clusters(*cluster), &mut random);
        let again = write(&disk, &places, &clusters(*cluster), &mut random);
        assert!(image == again, "however it is cut, it is the same image");
        std::fs::write(bench.path("disk"), &disk).unwrap();
        let name = format!("{n}.qcow2");
        std::fs::write(bench.path(&name), &image).unwrap();
        let said = bench.img(&format!("check -f qcow2 {name}"));
        assert!(said.contains("No errors were found"), "{said}");
        let said = bench.img(&format!("compare -f qcow2 -F raw {name} disk"));
        assert!(said.contains("Images are identical"), "{said}");
        bench.agrees(&name, &OpenOptions::default());
        // What others write into it, they can check.
        bench.img(&format!("resize -q -f qcow2 {name} 20M"));
        bench.io(
            &name,
            &["write -P 5 0 512", "write -P 6 19M 1M", "discard 256k 512k"],
        );
        let said = bench.img(&format!("check -f qcow2 {name}"));
        assert!(said.contains("No errors were found"), "{said}");
    }
}

/// Reference counts in several clusters of a table, L2 tables in many entries of L1 tables of many
/// clusters.
#[test]
fn tables_of_many_clusters() {
    if !require::tool("qemu-img") {
        return;
    }
    let bench = Bench::new();
    let disk = noise(3, 18 << 20);
    let mut writer = Writer::new(Vec::new(), 128 << 30, &clusters(512)).unwrap();
    writer.write(&disk, 100 << 30).unwrap();
    let image = writer.finish().unwrap();
    // What is not there costs its entry in the L1 table.
    assert!((image.len() as u64) < (18 + 32 + 1) * MIB);
    std::fs::write(bench.path("a"), &image).unwrap();
    let said = bench.img("check -f qcow2 a");
    assert!(said.contains("No errors were found"), "{said}");
    let image = Image::open(image, &OpenOptions::default(), |_| Ok(None)).unwrap();
    let extents: Vec<Extent> = image.extents().map(Result::unwrap).collect();
    assert_eq!(shown(&extents), "hole:104857600 data0:18432 hole:29341696");
    let mut back = vec![0; disk.len()];
    image.read_at(&mut back, 100 << 30).unwrap();
    assert!(back == disk);
    let error = Writer::new(Vec::new(), (128 << 30) + 512, &clusters(512)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a disk of 137438953984 bytes: with clusters of 512 bytes it has at most 137438953472, use larger ones"
    );
}

/// 2 EiB, all that 32 MiB of L1 table can name.
#[test]
fn the_largest_disks() {
    if !require::tool("qemu-img") {
        return;
    }
    let bench = Bench::new();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(bench.path("a"))
        .unwrap();
    let mut writer = Writer::new(file, 1 << 61, &clusters(2 << 20)).unwrap();
    writer.write(b"first", 0).unwrap();
    writer.write(b"last", (1 << 61) - 4).unwrap();
    drop(writer.finish().unwrap());
    let said = bench.img("check -f qcow2 a");
    assert!(said.contains("No errors were found"), "{said}");
    let image = bench.open("a", &OpenOptions::default()).unwrap();
    let mut last = [0; 4];
    image.read_at(&mut last, (1 << 61) - 4).unwrap();
    assert_eq!(&last, b"last");
    assert_eq!(image.extents().count(), 3);
}

#[test]
fn images_over_a_backing_file() {
    if !require::tool("qemu-img") {
        return;
    }
    let bench = Bench::new();
    bench.raw("base", 2 * MIB, &[(0, 2 << 20)]);
    bench.img("create -q -f qcow2 -b base -F raw mid 3M");
    for (n, (name, format, size)) in [
        ("base", Format::Raw, 2 * MIB),
        ("mid", Format::Qcow2, 3 * MIB),
        ("./base", Format::Raw, 4 * MIB + 512),
    ]
    .into_iter()
    .enumerate()
    {
        let options = WriteOptions {
            cluster_size: ClusterSize::DEFAULT,
            backing: Some(Backing {
                name: name.into(),
                format,
            }),
        };
        let mut writer = Writer::new(Vec::new(), size, &options).unwrap();
        writer.write_zeros(65_536, 131_072).unwrap();
        // A cluster of two extents; one of zeros that are data.
        writer.write(&noise(1, 65_000), 5 * 65_536).unwrap();
        writer.write_zeros(5 * 65_536 + 65_000, 536).unwrap();
        writer.write(&[0; 65_536], 9 * 65_536).unwrap();
        let rest = size % 65_536;
        if rest > 0 {
            writer.write(&noise(2, rest as usize), size - rest).unwrap();
        }
        let own = format!("{n}.qcow2");
        std::fs::write(bench.path(&own), writer.finish().unwrap()).unwrap();
        let said = bench.img(&format!("check -f qcow2 {own}"));
        assert!(said.contains("No errors were found"), "{said}");
        let info = bench.img(&format!("info {own}"));
        assert!(
            info.contains(&format!("backing file format: {format}")),
            "{info}"
        );
        let extents = bench.agrees(&own, &OpenOptions::default());
        let expected = "data1:64 zero0:128 data1:128 data0:64 data1:192 zero0:64 data1";
        assert!(
            shown(&extents)
                .replace("data2", "data1")
                .starts_with(expected),
            "{}",
            shown(&extents)
        );
    }
}

#[test]
fn parts_of_clusters_are_the_callers_to_fill() {
    let options = WriteOptions {
        cluster_size: ClusterSize::MIN,
        backing: Some(Backing {
            name: b"base".to_vec(),
            format: Format::Raw,
        }),
    };
    let writer = || Writer::new(Vec::new(), 4096 + 1024, &options).unwrap();
    let said = |error: WriteError| error.to_string();
    let error = writer().write(&[1; 512], 100).unwrap_err();
    assert_eq!(
        said(error),
        "bytes 0 to 100 of the disk are missing: over a backing file, clusters of 512 bytes are written whole"
    );
    let mut one = writer();
    one.write(&[1; 600], 512).unwrap();
    assert!(said(one.write(&[1; 512], 2048).unwrap_err()).starts_with("bytes 1112 to 1536 "));
    let mut one = writer();
    one.write(&[1; 600], 512).unwrap();
    assert!(said(one.write(&[1; 512], 1113).unwrap_err()).starts_with("bytes 1112 to 1113 "));
    let mut one = writer();
    one.write_zeros(512, 100).unwrap();
    assert!(said(one.finish().unwrap_err()).starts_with("bytes 612 to 1024 "));
    // Without one, it is zeros.
    let mut one = Writer::new(Vec::new(), 4096, &clusters(512)).unwrap();
    one.write(&[1; 100], 700).unwrap();
    let mut expected = [0; 4096];
    expected[700..800].fill(1);
    let image = Image::open(one.finish().unwrap(), &OpenOptions::default(), |_| Ok(None)).unwrap();
    same(&image, &expected);
}

#[test]
fn what_makes_no_image() {
    let new = |size, options: &WriteOptions| Writer::new(Vec::new(), size, options).unwrap_err();
    for size in [1, 513, 1 << 63, u64::MAX, u64::MAX - 511] {
        let error = new(size, &clusters(512));
        assert!(matches!(error, WriteError::Size { found } if found == size));
    }
    for (size, cluster) in [
        ((1 << 63) - 512, 2 << 20),
        ((1 << 61) + 512, 2 << 20),
        (1 << 40, 512),
    ] {
        let error = new(size, &clusters(cluster));
        assert!(matches!(error, WriteError::TooLarge { .. }), "{error}");
    }
    let long = vec![b'x'; 1024];
    for (name, cluster, problem) in [
        (&b""[..], 512, NameProblem::Empty),
        (b"a\0b", 512, NameProblem::Zero),
        (b"nbd://host/disk", 65_536, NameProblem::Protocol),
        (b"json:{}", 65_536, NameProblem::Protocol),
        (
            &long,
            65_536,
            NameProblem::TooLong {
                found: 1024,
                max: 1023,
            },
        ),
        (
            &long[..385],
            512,
            NameProblem::TooLong {
                found: 385,
                max: 384,
            },
        ),
    ] {
        let mut options = clusters(cluster);
        options.backing = Some(Backing {
            name: name.to_vec(),
            format: Format::Raw,
        });
        let WriteError::BackingName { problem: found, .. } = new(1024, &options) else {
            panic!("{name:?}");
        };
        assert_eq!(found, problem);
    }
    let mut writer = Writer::new(Vec::new(), 4096, &clusters(512)).unwrap();
    writer.write(b"one", 100).unwrap();
    let error = writer.write(b"two", 102).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an extent at byte 102: expected one from 103 on"
    );
    for (offset, length) in [(4095, 2), (5000, 1), (4096, u64::MAX)] {
        let error = writer.write_zeros(offset, length).unwrap_err();
        assert!(matches!(error, WriteError::OutOfRange { .. }));
    }
}

/// The bytes of an image are a promise.
#[test]
fn the_same_bytes_for_ever() {
    let mut options = clusters(4096);
    options.backing = Some(Backing {
        name: b"base.raw".to_vec(),
        format: Format::Raw,
    });
    let mut writer = Writer::new(vec![0xff; 100_000], 10 * MIB, &options).unwrap();
    writer.write(&noise(7, 10_000 / 4096 * 4096), 8192).unwrap();
    writer.write_zeros(5 * MIB, 4096).unwrap();
    let image = writer.finish().unwrap();
    assert_eq!(image.len(), 4096 * 8);
    assert_eq!(crc32fast::hash(&image), 810_431_067);
}
