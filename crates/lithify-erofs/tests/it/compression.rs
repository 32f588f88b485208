//! Compressed files: read back by this crate, checked and extracted by `fsck.erofs`, mounted and compared in full.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Read as _;

use crate::common::{Builder, Built, Content, build_unchecked, metadata, pattern};
use lithify_erofs::{
    Compression, CompressionMethod, DataLayout, DataOptions, Image, ReadAt, ReadError, WriteError,
    Writer,
};
use lithify_testkit::{Mount, require, run};
use lithify_tree::ContentSink as _;
use proptest::prelude::*;

const LZ4: CompressionMethod = CompressionMethod::Lz4;
const ZSTD: CompressionMethod = CompressionMethod::Zstd { level: 3 };

fn options(method: CompressionMethod, cluster_size: u32, threads: usize) -> DataOptions {
    let mut compression = Compression::new(method);
    compression.cluster_size = cluster_size;
    compression.threads = threads.try_into().unwrap();
    let mut options = DataOptions::default();
    options.compression = Some(compression);
    options
}

/// Words in a random order: what compresses well, but not too well.
fn text(seed: u32, length: usize) -> Vec<u8> {
    let words = [
        "layer",
        "of",
        "sediment ",
        "rock\n",
        "and",
        "0x1f",
        "the",
        " ",
        "image",
        "{}",
        "tree;",
    ];
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut out = Vec::with_capacity(length + 10);
    while out.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(words[(state >> 24) as usize % words.len()].as_bytes());
        if state >> 28 == 3 {
            out.extend_from_slice(state.to_string().as_bytes());
        }
    }
    out.truncate(length);
    out
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Every kind of file there is.
fn everything(b: &mut Builder<File>) {
    for (i, size) in [
        1,
        4000,
        4063,
        4064,
        4095,
        4096,
        4097,
        5000,
        8191,
        8192,
        8193,
        12_000,
        65_535,
        65_536,
        65_537,
        131_072,
        200_000,
        1 << 20,
        (1 << 20) + 1,
        (2 << 20) - 1,
        2 << 20,
        (2 << 20) + 1,
        (2 << 20) + 5000,
        7_000_001,
    ]
    .into_iter()
    .enumerate()
    {
        b.file(
            format!("text/{size}"),
            metadata(0o644),
            &text(i as u32, size),
        );
        b.file(
            format!("noise/{size}"),
            metadata(0o644),
            &noise(i as u64, size),
        );
        b.file(
            format!("pattern/{size}"),
            metadata(0o644),
            &pattern(i, size),
        );
        b.file(format!("zeros/{size}"), metadata(0o644), &vec![0; size]);
        let mut mixed = Vec::new();
        while mixed.len() < size {
            let n = 1 + mixed.len() * 7 % 30_000;
            mixed.extend(text(n as u32, n));
            mixed.extend(noise(n as u64, n / 2));
        }
        mixed.truncate(size);
        b.file(format!("mixed/{size}"), metadata(0o600), &mixed);
    }
    let mut at_the_end = noise(1, 3 << 20);
    at_the_end.extend(text(1, 100_000));
    b.file("noise then text", metadata(0o644), &at_the_end);
    let mut at_the_start = text(1, 3 << 20);
    at_the_start.extend(noise(1, 100_000));
    b.file("text then noise", metadata(0o644), &at_the_start);
    b.link("again", "text/200000");
    // Small ones, some with so many attributes that nothing else has room behind the inode.
    for i in 0..300 {
        b.file(
            format!("small/{i}"),
            metadata(0o644),
            &text(i, 100 + i as usize * 60),
        );
        if i % 10 == 0 {
            let values: Vec<(String, Vec<u8>)> = (0..60_usize)
                .map(|k| (format!("user.a{k:02}"), vec![k as u8 ^ i as u8; 5 + k / 20]))
                .collect();
            let pairs: Vec<(&str, &[u8])> = values
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_slice()))
                .collect();
            b.file(
                format!("attributes/{i}"),
                crate::common::with_xattrs(&pairs),
                &text(i, 1000 + i as usize * 40),
            );
        }
    }
    b.file(
        "owner",
        lithify_tree::Metadata {
            uid: 1 << 20,
            ..crate::common::with_xattrs(&[("user.a", b"1234567"), ("user.bc", &[7; 90])])
        },
        &text(9, 100_000),
    );
    b.sparse(
        "dense",
        metadata(0o644),
        Content {
            size: 1 << 20,
            parts: vec![(5000, text(3, 400_000)), (900_000, text(4, 1000))],
        },
    );
    b.sparse(
        "thin",
        metadata(0o644),
        Content {
            size: 6 << 30,
            parts: vec![
                (4 << 30, text(3, 400_000)),
                ((6 << 30) - 3, b"end".to_vec()),
            ],
        },
    );
    b.file("after thin", metadata(0o644), &text(5, 100_000));
    b.symlink("link", b"text");
    // Dead data, in the middle and at the end.
    b.file("text/8193", metadata(0o644), &text(77, 300_000));
    b.next_layer();
    b.file("noise/7000001", metadata(0o644), &text(78, 300_000));
    b.file("mixed/200000", metadata(0o644), b"short");
}

/// Has everyone check an image; `fsck.erofs` knows LZ4 only.
fn check(built: &Built, fsck: bool) {
    if fsck && require::tool("fsck.erofs") {
        let target = built.directory.path().join("extracted");
        let mut extract = std::ffi::OsString::from("--extract=");
        extract.push(&target);
        run::ok(run::command("fsck.erofs").arg(extract).arg(&built.path));
        for size in [
            "text/200000",
            "mixed/7000001",
            "noise/1048577",
            "small/50",
            "attributes/100",
        ] {
            if let Ok(extracted) = std::fs::read(target.join(size)) {
                assert!(extracted == read(&built.image(), size), "{size}");
            }
        }
    }
    built.check_without_fsck();
    let verification = built.image().verify_data().unwrap();
    assert!(verification.is_sound(), "{:?}", verification.problems);
    assert_eq!(
        verification.own.compressed_files,
        u64::from(built.report.compressed_files)
    );
}

fn read<R: ReadAt>(image: &Image<R>, path: &str) -> Vec<u8> {
    let inode = image.lookup(path.as_bytes()).unwrap().expect(path);
    image.read_to_vec(&inode, 1 << 30).unwrap()
}

#[test]
fn lz4_of_every_cluster_size() {
    for cluster_size in [4096, 8192, 65536, 1 << 20] {
        let built = build_unchecked(options(LZ4, cluster_size, 2), everything);
        assert!(built.report.compressed_files > 50, "{:?}", built.report);
        let features = built.image().superblock().incompatible_features;
        // Compressed tails, and settings for clusters of several blocks.
        assert_eq!(
            features & 0x13,
            if cluster_size == 4096 { 0x11 } else { 0x13 }
        );
        check(&built, true);
    }
}

#[test]
fn zstd_of_every_cluster_size() {
    for cluster_size in [8192, 65536, 131_072, 1 << 20] {
        let built = build_unchecked(options(ZSTD, cluster_size, 2), everything);
        assert!(built.report.compressed_files > 50, "{:?}", built.report);
        check(&built, false);
    }
}

#[test]
fn data_in_blocks_of_its_own() {
    for method in [LZ4, ZSTD] {
        let mut options = options(method, 65536, 1);
        options.block_aligned = true;
        let built = build_unchecked(options, everything);
        assert_eq!(built.report.inline_tails, 0);
        check(&built, method == LZ4);
    }
}

#[test]
fn nothing_behind_inodes() {
    for cluster_size in [4096, 65536] {
        let mut options = options(LZ4, cluster_size, 2);
        if let Some(compression) = &mut options.compression {
            compression.inline = false;
        }
        let built = build_unchecked(options, everything);
        check(&built, true);
        // With one block per cluster nothing but padding in front, which Linux 5.4 knows, and files with holes.
        let features = built.image().superblock().incompatible_features;
        assert_eq!(features, if cluster_size == 4096 { 5 } else { 7 });
    }
}

#[test]
fn threads_change_nothing() {
    for method in [LZ4, ZSTD] {
        let images = [1, 2, 4, 7].map(|threads| {
            let built = build_unchecked(options(method, 65536, threads), everything);
            built.bytes()
        });
        assert!(images.windows(2).all(|w| w[0] == w[1]));
    }
}

#[test]
fn what_does_not_shrink_stays_as_it_is() {
    let built = build_unchecked(options(LZ4, 65536, 2), |b| {
        for size in [100, 4096, 5000, 100_000, 3 << 20, (5 << 20) + 100] {
            b.file(
                format!("{size}"),
                metadata(0o644),
                &noise(size as u64, size),
            );
        }
    });
    check(&built, true);
    let report = built.report;
    assert_eq!((report.compressed_files, report.inline_tails), (0, 4));
    // Not even the features are asked for.
    assert_eq!(built.image().superblock().incompatible_features, 0);
}

#[test]
fn compressed_data_is_as_small_as_it_should_be() {
    let data = text(1, 10 << 20);
    let size = |options| {
        let built = build_unchecked(options, |b| {
            b.file("f", metadata(0o644), &data);
        });
        built.report.size
    };
    let plain = size(DataOptions::default());
    let lz4 = size(options(LZ4, 65536, 2));
    let zstd = size(options(ZSTD, 131_072, 2));
    assert!(
        lz4 * 2 < plain && zstd * 10 < lz4 * 9,
        "{plain} {lz4} {zstd}"
    );
}

#[test]
fn any_part_of_a_file_can_be_read() {
    let data = [text(1, 3_000_000), noise(2, 100_000), text(3, 2_000_000)].concat();
    for (method, cluster_size) in [(LZ4, 4096), (LZ4, 65536), (ZSTD, 131_072)] {
        let built = build_unchecked(options(method, cluster_size, 2), |b| {
            b.file("f", metadata(0o644), &data);
        });
        let image = built.image();
        let inode = image.lookup(b"f").unwrap().unwrap();
        assert_eq!(inode.layout(), DataLayout::CompressedCompact);
        let mounted = require::kernel_erofs().then(|| Mount::erofs(&built.path));
        let file = mounted
            .as_ref()
            .map(|m| File::open(m.path().join("f")).unwrap());
        let mut state = 1_u64;
        for i in 0..200 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let offset = (state >> 33) as usize % data.len();
            let length = (1 << (i % 18)) + (state >> 20) as usize % 1000;
            let expected = &data[offset..(offset + length).min(data.len())];
            let mut buffer = vec![0; length];
            let n = image.read(&inode, offset as u64, &mut buffer).unwrap();
            assert!(buffer[..n] == *expected, "{offset} {length}");
            if let Some(file) = &file {
                let mut buffer = vec![0; expected.len()];
                ReadAt::read_exact_at(file, &mut buffer, offset as u64).unwrap();
                assert!(buffer == expected, "mounted: {offset} {length}");
            }
        }
        let mut streamed = Vec::new();
        let mut reader = image.reader(&inode);
        let mut buffer = [0; 777];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                n => streamed.extend_from_slice(&buffer[..n]),
            }
        }
        assert!(streamed == data);
        assert_eq!(
            image.read(&inode, data.len() as u64, &mut buffer).unwrap(),
            0
        );
        assert_eq!(image.read(&inode, u64::MAX, &mut buffer).unwrap(), 0);
    }
}

/// Images of the reference tool, in all the ways it compresses.
#[test]
fn images_of_others() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let mut files = Vec::new();
    for (i, size) in [4096, 4097, 5000, 9000, 65_536, 200_000, 3_000_001]
        .into_iter()
        .enumerate()
    {
        files.push((format!("text{size}"), text(i as u32, size)));
        files.push((format!("noise{size}"), noise(i as u64, size)));
        files.push((format!("zeros{size}"), vec![0; size]));
        files.push((
            format!("mixed{size}"),
            [text(1, size), noise(2, size / 2), text(3, size)].concat(),
        ));
    }
    for (name, data) in &files {
        std::fs::write(source.join(name), data).unwrap();
    }
    for algorithm in ["-zlz4", "-zlz4hc,3"] {
        for options in [
            &[][..],
            &["-C65536"],
            &["-Elegacy-compress"],
            &["-Elegacy-compress", "-C65536"],
            &["-Eztailpacking"],
            &["-Eztailpacking,legacy-compress", "-C16384"],
            &["--max-extent-bytes=65536"],
            &["-x-1", "-Eforce-inode-extended"],
        ] {
            let path = directory.path().join("image");
            run::ok(
                run::command("mkfs.erofs")
                    .arg(algorithm)
                    .args(options)
                    .args([&path, &source]),
            );
            let image = Image::open(File::open(&path).unwrap()).unwrap();
            let verification = image.verify_data().unwrap();
            assert!(
                verification.is_sound(),
                "{options:?} {:?}",
                verification.problems
            );
            assert!(verification.own.compressed_files > 10);
            for (name, data) in &files {
                assert!(read(&image, name) == *data, "{name} {options:?}");
            }
        }
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for (method, cluster_size) in [
        (LZ4, 0),
        (LZ4, 2048),
        (LZ4, 5000),
        (LZ4, 2 << 20),
        (ZSTD, 4096),
    ] {
        let error = begin(options(method, cluster_size, 1));
        assert!(matches!(error, WriteError::ClusterSize { .. }), "{error}");
    }
    for level in [0, 23, -5] {
        let error = begin(options(CompressionMethod::Zstd { level }, 65536, 1));
        assert!(
            matches!(error, WriteError::CompressionLevel { .. }),
            "{error}"
        );
    }
}

fn begin(options: DataOptions) -> WriteError {
    Writer::new(Vec::new(), options)
        .begin(10_000, None)
        .unwrap_err()
}

#[test]
fn files_given_up_leave_nothing() {
    let mut writer = Writer::new(Vec::new(), options(LZ4, 65536, 2));
    writer.begin(5 << 20, None).unwrap();
    writer.write(&text(1, 4 << 20)).unwrap();
    assert!(matches!(
        writer.finish(),
        Err(WriteError::DataLength { .. })
    ));
    let mut b = Builder::new(Vec::new());
    b.writer = writer;
    b.file("f", metadata(0o644), &text(2, 100_000));
    let (image, report, expected) = b.finish();
    crate::common::check_with_reader(image, &expected);
    assert_eq!(report.compressed_files, 1);
    assert!(report.size < 100_000);
}

#[test]
fn other_algorithms_are_refused_by_name() {
    let built = build_unchecked(options(LZ4, 65536, 1), |b| {
        b.file("f", metadata(0o644), &text(1, 100_000));
    });
    let mut bytes = built.bytes();
    // No checksum; settings for all four algorithms.
    bytes[1024 + 8] &= !1;
    bytes[1024 + 84] = 15;
    let inode = built.image().lookup(b"f").unwrap().unwrap();
    let algorithm = inode.nid() as usize * 32 + if inode.is_compact() { 32 } else { 64 } + 6;
    for (code, name) in [(1, "MicroLZMA"), (2, "DEFLATE"), (9, "unknown")] {
        bytes[algorithm] = code;
        let image = Image::open(bytes.as_slice()).unwrap();
        let error = image.read_to_vec(&inode, 1 << 20).unwrap_err();
        assert!(matches!(error, ReadError::Compressed { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        // That is no damage.
        assert!(image.verify_data().unwrap().is_sound());
    }
    bytes[algorithm] = 3;
    let image = Image::open(bytes.as_slice()).unwrap();
    let error = image.read_to_vec(&inode, 1 << 20).unwrap_err();
    assert!(matches!(error, ReadError::Decompress { .. }), "{error}");
    assert!(image.verify().unwrap().is_sound());
    assert!(!image.verify_data().unwrap().is_sound());
    // An algorithm the superblock does not speak of.
    bytes[algorithm] = 0;
    bytes[1024 + 84] = 8;
    let image = Image::open(bytes.as_slice()).unwrap();
    assert!(!image.verify().unwrap().is_sound());
}

/// A byte changed anywhere never makes anything but errors or other data.
#[test]
fn damage_is_survived() {
    let built = build_unchecked(options(LZ4, 8192, 1), |b| {
        b.file(
            "a",
            metadata(0o644),
            &[text(1, 90_000), noise(1, 9000)].concat(),
        );
        b.file("b", metadata(0o644), &text(2, 70_000));
    });
    let bytes = built.bytes();
    let meta = bytes.len() - 4096;
    let places = (1024..1300).chain((meta..bytes.len()).filter(|&at| bytes[at] != 0));
    let mut found = 0;
    for at in places.chain((4096..meta).step_by(997)) {
        for change in [1, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            // Without a checksum.
            bytes[1024 + 8] &= !1;
            let Ok(image) = Image::open(bytes) else {
                found += 1;
                continue;
            };
            let verification = image.verify_data().unwrap();
            found += usize::from(!verification.is_sound());
            for name in ["a", "b"] {
                if let Ok(Some(inode)) = image.lookup(name.as_bytes()) {
                    drop(image.read_to_vec(&inode, 1 << 20));
                }
            }
        }
    }
    assert!(found > 100, "{found}");
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (any::<u32>(), 0..60_000_usize).prop_map(|(seed, n)| text(seed, n)),
        (any::<u64>(), 0..30_000_usize).prop_map(|(seed, n)| noise(seed, n)),
        (any::<u8>(), 0..200_000_usize).prop_map(|(b, n)| vec![b; n]),
        (0..600_usize).prop_map(|n| pattern(n, n)),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_files(files in prop::collection::vec(contents(), 1..6), bits in 12..18_u32, lz4 in any::<bool>(), threads in 1..4_usize) {
        let (method, bits) = if lz4 { (LZ4, bits) } else { (ZSTD, bits.max(13)) };
        let mut b = Builder::with(Vec::new(), options(method, 1 << bits, threads));
        for (i, data) in files.iter().enumerate() {
            b.file(format!("{i}"), metadata(0o644), data);
        }
        let (image, _, expected) = b.finish();
        crate::common::check_with_reader(image, &expected);
    }
}

/// The kernel and many files cut in unusual ways.
#[test]
fn kernel_reads_many_mixtures() {
    for (method, cluster_size) in [(LZ4, 4096), (LZ4, 16384), (ZSTD, 16384)] {
        let built = build_unchecked(options(method, cluster_size, 2), |b| {
            for i in 0..400_usize {
                let mut data = Vec::new();
                for k in 0..i % 7 + 1 {
                    let n = (i * 7919 + k * 104_729) % 23_000;
                    match (i + k) % 3 {
                        0 => data.extend(text((i * k) as u32, n)),
                        1 => data.extend(noise((i + k) as u64, n / 3)),
                        _ => data.extend(vec![i as u8; n * 2]),
                    }
                }
                b.file(format!("d{}/{i}", i % 5), metadata(0o644), &data);
            }
        });
        built.check_without_fsck();
        if method == LZ4 {
            crate::common::fsck(&built.path);
        }
    }
}
