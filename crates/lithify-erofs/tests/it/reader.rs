//! Damaged, hostile and foreign images.
#![cfg(target_os = "linux")]

use crate::common::{Builder, Content, Erofs, metadata, pattern, with_xattrs};
use lithify_erofs::{DataLayout, FileType, Image, ReadError};
use lithify_fstests::Filesystem as _;
use lithify_testkit::{require, run};
use lithify_tree::{ContentSink, EntryKind, LayerEntries, Merge};

/// An image with everything in it.
fn sample() -> (Vec<u8>, crate::common::Expected) {
    let mut b = Builder::new(Vec::new());
    for i in 0..40 {
        b.file(
            format!("dir{}/file{i}", i % 3),
            with_xattrs(&[("user.shared", b"the same everywhere"), ("trusted.n", &[i])]),
            &pattern(i.into(), usize::from(i) * 321),
        );
    }
    b.file(
        "long",
        with_xattrs(&[("user.long", &pattern(1, 9000))]),
        b"x",
    );
    b.sparse(
        "sparse",
        metadata(0o644),
        Content {
            size: 1 << 20,
            parts: vec![(70_000, pattern(1, 3000))],
        },
    );
    b.symlink("short link", b"dir0/file0");
    b.symlink("long link", &pattern(2, 4090));
    (0..300).for_each(|i| {
        b.entry(
            format!("big/{i:0>20}"),
            metadata(0o600),
            EntryKind::Fifo,
            None,
        )
    });
    b.link("second", "dir1/file1");
    let (bytes, _, expected) = b.finish();
    (bytes, expected)
}

/// Reads everything there is, within reason.
fn read_everything(bytes: &[u8]) -> Result<u64, ReadError> {
    let image = Image::open(bytes)?;
    let verification = image.verify()?;
    let mut read = 0;
    let mut buffer = vec![0; 1 << 16];
    let mut layer = LayerEntries::new();
    let mut result = Ok(());
    for entry in image.entries() {
        match entry {
            Err(e) => result = Err(e),
            Ok((entry, inode)) => {
                if inode.file_type() == FileType::File {
                    read += image.read(&inode, 0, &mut buffer)? as u64;
                    read +=
                        image.read(&inode, inode.size().saturating_sub(100), &mut buffer)? as u64;
                }
                layer.push(&entry, None).ok();
            }
        }
    }
    assert!(
        result.is_ok() || !verification.is_sound(),
        "verify found nothing, reading did: {result:?}"
    );
    for path in [
        &b"dir1/file1"[..],
        b"big/00000000000000000123",
        b"long link",
        b"no/such/file",
    ] {
        let _found = image.lookup(path)?;
    }
    result.map(|()| read)
}

#[test]
fn every_flipped_byte_of_the_superblock_is_noticed() {
    let (bytes, _) = sample();
    for at in 1024..4096 {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let error = Image::open(bad).unwrap_err();
        let expected = matches!(
            (at, &error),
            (1024..1028, ReadError::Magic { .. })
                | (
                    1036,
                    ReadError::BlockSize { .. } | ReadError::Truncated { .. }
                )
                | (1060..1064, ReadError::Truncated { .. })
                | (_, ReadError::Checksum { .. })
        );
        // Without its bit the checksum is not looked at, and any bit set is a feature.
        assert!(expected, "{at}: {error}");
    }
}

#[test]
fn flipped_bytes_anywhere_never_panic() {
    let (bytes, _) = sample();
    assert!(read_everything(&bytes).is_ok());
    let image = Image::open(&bytes[..]).unwrap();
    let inodes = image.walk().map(|e| e.unwrap().inode);
    let mut used: Vec<u64> = inodes
        .filter(|i| i.file_type() != FileType::Fifo)
        .map(|i| i.nid() * 32)
        .collect();
    used.sort_unstable();
    used.dedup();
    // All of every inode and what follows it, and samples of everything else.
    let near: Vec<usize> = used
        .iter()
        .flat_map(|&at| at as usize..at as usize + 96)
        .collect();
    for at in near
        .into_iter()
        .chain((1024..bytes.len()).step_by(397))
        .filter(|&at| at < bytes.len())
    {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            Erofs::repair(&mut bad);
            let _outcome = read_everything(&bad);
        }
    }
}

#[test]
fn a_cut_image_is_noticed() {
    let (bytes, _) = sample();
    for length in [
        0,
        1,
        1023,
        1024,
        1151,
        1152,
        4095,
        4096,
        bytes.len() - 4096,
        bytes.len() - 1,
    ] {
        let error = Image::open(&bytes[..length]).unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::TooShort { .. } | ReadError::Truncated { .. }
            ),
            "{length}: {error}"
        );
    }
    // More than the image is no harm: images stand in front of other things.
    let longer = [bytes.as_slice(), &[7; 10_000]].concat();
    assert!(Image::open(longer).unwrap().verify().unwrap().is_sound());
    assert!(matches!(
        Image::open(vec![0; 9000]).unwrap_err(),
        ReadError::Magic { found: 0, .. }
    ));
}

#[test]
fn unknown_features_are_named() {
    let (mut bytes, _) = sample();
    bytes[1024 + 80] |= 0x80;
    Erofs::repair(&mut bytes);
    assert!(matches!(
        Image::open(&bytes[..]).unwrap_err(),
        ReadError::Features { bits: 0x80 }
    ));
}

/// Offset of an inode in an image.
fn address(bytes: &[u8], path: &[u8]) -> usize {
    Image::open(bytes)
        .unwrap()
        .lookup(path)
        .unwrap()
        .unwrap()
        .nid() as usize
        * 32
}

/// Offset of the entry of a name in a directory that has all its entries behind its inode.
fn entry_offset(bytes: &[u8], directory: &[u8], name: &[u8]) -> usize {
    let start = address(bytes, directory);
    let block = bytes[start..start + 4096]
        .windows(name.len())
        .position(|w| w == name)
        .unwrap()
        + start;
    // Its offset is in an entry between the inode and the names.
    let image = Image::open(bytes).unwrap();
    let inode = image.lookup(directory).unwrap().unwrap();
    let data = image.extent(&inode, 0).unwrap().unwrap().address.unwrap() as usize;
    (data..block)
        .step_by(12)
        .find(|&e| usize::from(u16::from_le_bytes([bytes[e + 8], bytes[e + 9]])) == block - data)
        .unwrap()
}

fn problems(bytes: &[u8]) -> Vec<String> {
    Image::open(bytes)
        .unwrap()
        .verify()
        .unwrap()
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn small() -> Vec<u8> {
    let mut b = Builder::new(Vec::new());
    b.file("a/one", metadata(0o644), b"1");
    b.file("a/two", metadata(0o644), b"2");
    b.directory("b/inner", metadata(0o755));
    b.file("c", metadata(0o644), &pattern(1, 9000));
    b.file("d", metadata(0o644), &pattern(2, 9000));
    b.finish().0
}

#[test]
fn a_directory_that_contains_itself() {
    let mut bytes = small();
    let entry = entry_offset(&bytes, b"b", b"inner");
    let nid = (address(&bytes, b"b") / 32) as u64;
    bytes[entry..entry + 8].copy_from_slice(&nid.to_le_bytes());
    Erofs::repair(&mut bytes);
    let found = problems(&bytes);
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("/b/inner: directory") && p.ends_with("reached a second time")),
        "{found:?}"
    );
    let last = Image::open(&bytes[..]).unwrap().walk().last().unwrap();
    assert!(
        matches!(
            last,
            Err(ReadError::TooManyEntries { .. } | ReadError::PathTooLong { .. })
        ),
        "{last:?}"
    );
}

#[test]
fn names_that_lie() {
    let check = |change: &dyn Fn(&mut [u8]), expected: &str| {
        let mut bytes = small();
        change(&mut bytes);
        Erofs::repair(&mut bytes);
        let found = problems(&bytes);
        assert!(
            found.iter().any(|p| p.contains(expected)),
            "{expected}: {found:?}"
        );
    };
    let rename = |from: &'static [u8], to: &'static [u8]| {
        move |bytes: &mut [u8]| {
            let start = address(bytes, b"a");
            let at = bytes[start..]
                .windows(from.len())
                .position(|w| w == from)
                .unwrap()
                + start;
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    };
    check(&rename(b"one", b"two"), "/a/two: stands behind `two`");
    check(&rename(b"one", b"o/e"), "has a slash or NUL");
    check(&rename(b"one", b"o\0e"), "has a slash or NUL");
    check(&rename(b"two", b"abc"), "/a/abc: stands behind `one`");
    check(&rename(b"two", b"\0bc"), "the name of entry 3 is at");
    check(
        &|b| {
            let e = entry_offset(b, b"a", b"one");
            b[e + 10] = 2
        },
        "calls it a directory, its inode a regular file",
    );
    check(
        &|b| {
            let e = entry_offset(b, b"a", b"one");
            b[e + 10] = 9
        },
        "has file type 9",
    );
    check(
        &|b| {
            let e = entry_offset(b, b"a", b"one");
            b[e + 9] = 9
        },
        "the name of entry",
    );
    check(
        &|b| {
            let e = entry_offset(b, b"a", b"one");
            b[e + 5] = 9
        },
        "outside the image",
    );
    check(
        &|b| {
            let e = entry_offset(b, b"a", b"one");
            b.copy_within(e + 12..e + 20, e)
        },
        "says it has 1 names, found 2",
    );
    check(
        &|b| {
            let e = entry_offset(b, b"a", b"one") - 12;
            let n = address(b, b"c") as u64 / 32;
            b[e..e + 8].copy_from_slice(&n.to_le_bytes())
        },
        "`..` points to inode",
    );
}

#[test]
fn inodes_that_lie() {
    let check = |path: &[u8], field: usize, value: &[u8], expected: &str| {
        let mut bytes = small();
        let at = address(&bytes, path) + field;
        bytes[at..at + value.len()].copy_from_slice(value);
        Erofs::repair(&mut bytes);
        let found = problems(&bytes);
        assert!(
            found.iter().any(|p| p.contains(expected)),
            "{expected}: {found:?}"
        );
    };
    check(b"c", 6, &[5, 0], "says it has 5 names, found 1");
    check(b"b", 44, &[9, 0], "says it has 9 names, found 3");
    check(b"c", 4, &[0, 0], "which is no file type");
    check(b"c", 0, &[0x10, 0], "has format 0x0010");
    check(b"c", 0, &[0x0a, 0], "has format 0x000a");
    check(b"c", 8, &[0, 0, 0, 0x7f], "outside the image");
    check(b"c", 16, &[0, 0, 0, 0x7f], "outside the image");
    check(b"c", 16, &[0, 0, 0, 0], "overlap");
    check(b"c", 2, &[0xff, 0xff], "outside the image");
    check(b"c", 2, &[1, 0], "extended attributes of inode");
    // A tail that is in the next block.
    check(b"c", 8, &[0xff, 0x2f, 0, 0], "crosses a block boundary");
    // Two files with the same data are no problem, a directory and a file are.
    check(b"a", 0, &[8, 0], "cannot be stored as Chunked");
    let mut bytes = small();
    let (c, d) = (address(&bytes, b"c"), address(&bytes, b"d"));
    bytes.copy_within(c + 16..c + 20, d + 16);
    Erofs::repair(&mut bytes);
    let verification = Image::open(&bytes[..]).unwrap().verify().unwrap();
    assert!(
        verification.is_sound() && verification.own.shared_data_bytes == 8192,
        "{verification:?}"
    );
}

#[test]
fn an_image_becomes_a_layer_again() {
    let (bytes, expected) = sample();
    let image = Image::open(bytes).unwrap();
    let mut b = Builder::new(Vec::new());
    let mut layer = LayerEntries::new();
    for entry in image.entries() {
        let (entry, inode) = entry.unwrap();
        let mut content = None;
        if let EntryKind::File { size, segments } = &entry.kind {
            b.writer.begin(*size, segments.as_deref()).unwrap();
            let whole = [lithify_tree::DataSegment {
                offset: 0,
                length: *size,
            }];
            for s in segments.as_deref().unwrap_or(&whole) {
                let mut data = vec![0; s.length as usize];
                image.read(&inode, s.offset, &mut data).unwrap();
                b.writer.write(&data).unwrap();
            }
            content = Some(b.writer.finish().unwrap());
        }
        layer.push(&entry, content).unwrap();
    }
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    let tree = merge.finish();
    assert_eq!(tree.len(), expected.tree.len());
    let (again, _) = b
        .writer
        .finish_image(&tree, &lithify_erofs::ImageOptions::default())
        .unwrap();
    let again = Image::open(again).unwrap();
    assert!(again.verify().unwrap().is_sound());
    let metadata =
        |image: &Image<Vec<u8>>| -> Vec<_> { image.entries().map(|e| e.unwrap().0).collect() };
    assert_eq!(metadata(&image), metadata(&again));
}

#[test]
fn reads_what_mkfs_erofs_writes() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("sub/deep")).unwrap();
    for size in [0, 1, 100, 4095, 4096, 4097, 70_000] {
        std::fs::write(source.join(format!("sub/f{size}")), pattern(size, size)).unwrap();
    }
    (0..500).for_each(|i| std::fs::write(source.join(format!("sub/deep/{i:0>30}")), b"x").unwrap());
    std::os::unix::fs::symlink("sub/f1", source.join("link")).unwrap();
    std::fs::hard_link(source.join("sub/f100"), source.join("again")).unwrap();
    let zeros = std::fs::File::create(source.join("sparse")).unwrap();
    zeros.set_len(1 << 20).unwrap();
    for (options, layout) in [
        (&[][..], DataLayout::Inline),
        (&["-Enoinline_data"], DataLayout::Plain),
        (&["-Eforce-inode-extended"], DataLayout::Inline),
        (&["--chunksize=4096"], DataLayout::Chunked),
        (
            &["--chunksize=65536", "-Eforce-chunk-indexes"],
            DataLayout::Chunked,
        ),
        (&["-zlz4hc"], DataLayout::CompressedCompact),
        (
            &["-zlz4hc", "-Elegacy-compress"],
            DataLayout::CompressedFull,
        ),
    ] {
        let path = directory.path().join("image");
        run::ok(
            run::command("mkfs.erofs")
                .args(options)
                .args([&path, &source]),
        );
        let image = Image::open(std::fs::File::open(&path).unwrap()).unwrap();
        let verification = image.verify().unwrap();
        let shown: Vec<_> = verification
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, [""; 0], "{options:?}");
        assert_eq!(verification.names, 500 + 7 + 5, "{options:?}");
        let large = image.lookup(b"sub/f70000").unwrap().unwrap();
        assert_eq!(large.layout(), layout, "{options:?}");
        let compressed = options.contains(&"-zlz4hc");
        assert_eq!(verification.own.compressed_files > 0, compressed);
        if compressed {
            assert!(matches!(
                image.extent(&large, 0),
                Err(ReadError::NoExtent { .. })
            ));
        }
        for size in [0, 1, 100, 4095, 4096, 4097, 70_000] {
            let inode = image
                .lookup(format!("sub/f{size}").as_bytes())
                .unwrap()
                .unwrap();
            assert!(
                image.read_to_vec(&inode, 1 << 20).unwrap() == pattern(size, size),
                "{size} {options:?}"
            );
        }
        let sparse = image.lookup(b"sparse").unwrap().unwrap();
        assert_eq!(
            image.read_to_vec(&sparse, 1 << 20).unwrap(),
            vec![0; 1 << 20]
        );
        let link = image.lookup(b"link").unwrap().unwrap();
        assert_eq!(image.read_link(&link).unwrap(), b"sub/f1");
        let (one, two) = (
            image.lookup(b"again").unwrap().unwrap(),
            image.lookup(b"sub/f100").unwrap().unwrap(),
        );
        assert_eq!((one.nid(), one.nlink()), (two.nid(), 2));
    }
}

#[test]
fn data_on_a_device_of_mkfs_is_read_if_the_device_is_given() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), pattern(1, 10_000)).unwrap();
    let (path, blob) = (
        directory.path().join("image"),
        directory.path().join("blob"),
    );
    let mut device = std::ffi::OsString::from("--blobdev=");
    device.push(&blob);
    run::ok(
        run::command("mkfs.erofs")
            .arg("--chunksize=4096")
            .arg(device)
            .args([&path, &source]),
    );
    let image = Image::open(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(image.superblock().extra_devices, 1);
    let file = image.lookup(b"file").unwrap().unwrap();
    assert_eq!(file.size(), 10_000);
    let error = image.read_to_vec(&file, 1 << 20).unwrap_err();
    assert!(
        matches!(error, ReadError::ExtraDevice { device: 1, .. }),
        "{error}"
    );
    assert!(image.verify().unwrap().is_sound());

    let open = |path: &std::path::Path| std::fs::File::open(path).unwrap();
    let image = Image::open_with_devices(open(&path), vec![open(&blob)]).unwrap();
    assert!(image.verify().unwrap().is_sound());
    let data = image.read_to_vec(&file, 1 << 20).unwrap();
    assert!(data == pattern(1, 10_000));
}
