//! What the writer refuses, and what it promises about bytes.
#![cfg(target_os = "linux")]

use std::io;

use crate::common::{Builder, Content, metadata, pattern, with_xattrs};
use lithify_erofs::{DataOptions, Image, ImageOptions, WriteError, Writer};
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Device, Entry, EntryKind, LayerEntries, Merge, Metadata,
    Timestamp, Tree, TreePath,
};

fn tree_of(path: &str, metadata: Metadata, kind: EntryKind, content: Option<ContentId>) -> Tree {
    let mut layer = LayerEntries::new();
    layer
        .push(
            &Entry {
                path: TreePath::clean(path.as_bytes()).unwrap(),
                metadata,
                kind,
            },
            content,
        )
        .unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    merge.finish()
}

fn finish(tree: &Tree) -> Result<Vec<u8>, WriteError> {
    Writer::new(Vec::new(), DataOptions::default())
        .finish_image(tree, &ImageOptions::default())
        .map(|(b, _)| b)
}

#[test]
fn what_erofs_cannot_hold_is_named() {
    let file = || EntryKind::File {
        size: 0,
        segments: None,
    };
    let fails = |path: &str, metadata, kind| {
        finish(&tree_of(path, metadata, kind, None))
            .unwrap_err()
            .to_string()
    };

    let message = fails(
        "a/b",
        with_xattrs(&[("com.apple.quarantine", b"x")]),
        file(),
    );
    assert!(
        message.contains("`/a/b`") && message.contains("`com.apple.quarantine`"),
        "{message}"
    );
    assert!(fails("f", with_xattrs(&[("user.", b"x")]), file()).contains("`user.`"));
    assert!(fails("f", with_xattrs(&[("system.nfs4_acl", b"x")]), file()).contains("nfs4_acl"));
    let message = fails("f", with_xattrs(&[("user.x", &vec![0; 65536])]), file());
    assert!(
        message.contains("65536 bytes, EROFS holds 65535"),
        "{message}"
    );
    let many: Vec<(String, Vec<u8>)> = (0..2000)
        .map(|i| (format!("user.{i:0>200}"), vec![1]))
        .collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_slice()))
        .collect();
    assert!(fails("f", with_xattrs(&many), file()).contains("2000 extended attributes of `/f`"));
    let device = |major, minor| EntryKind::CharDevice(Device { major, minor });
    assert!(fails("d", metadata(0o600), device(4096, 0)).contains("4096:0"));
    assert!(fails("d", metadata(0o600), device(0, 1 << 20)).contains("0:1048576"));
}

#[test]
fn contents_must_match_the_tree() {
    let kind = |size| EntryKind::File {
        size,
        segments: None,
    };
    let unknown = finish(&tree_of("f", metadata(0o644), kind(5), Some(ContentId(0)))).unwrap_err();
    assert!(
        matches!(
            unknown,
            WriteError::UnknownContent {
                content: Some(ContentId(0)),
                ..
            }
        ),
        "{unknown}"
    );
    let none = finish(&tree_of("f", metadata(0o644), kind(5), None)).unwrap_err();
    assert!(
        matches!(none, WriteError::UnknownContent { content: None, .. }),
        "{none}"
    );
    // An empty file needs none.
    finish(&tree_of("f", metadata(0o644), kind(0), None)).unwrap();

    for size in [0, 10, 4000, 4096, 10_000] {
        let mut writer = Writer::new(Vec::new(), DataOptions::default());
        writer.begin(size, None).unwrap();
        writer.write(&pattern(1, size as usize)).unwrap();
        let id = writer.finish().unwrap();
        let tree = tree_of("f", metadata(0o644), kind(size + 1), Some(id));
        let error = writer
            .finish_image(&tree, &ImageOptions::default())
            .unwrap_err();
        assert!(
            matches!(error, WriteError::ContentSize { expected, found, .. } if expected == found + 1),
            "{error}"
        );
    }
}

#[test]
fn calls_must_add_up() {
    let writer = || Writer::new(Vec::new(), DataOptions::default());
    assert!(matches!(
        writer().write(b"x"),
        Err(WriteError::CallOrder { .. })
    ));
    assert!(matches!(
        writer().finish(),
        Err(WriteError::CallOrder { .. })
    ));
    let mut w = writer();
    w.begin(3, None).unwrap();
    assert!(matches!(
        w.begin(3, None),
        Err(WriteError::CallOrder { .. })
    ));
    assert!(matches!(
        w.write(b"four"),
        Err(WriteError::DataLength {
            announced: 3,
            found: 4
        })
    ));
    let mut w = writer();
    w.begin(3, None).unwrap();
    w.write(b"tw").unwrap();
    assert!(matches!(
        w.finish(),
        Err(WriteError::DataLength {
            announced: 3,
            found: 2
        })
    ));
    let mut w = writer();
    w.begin(3, None).unwrap();
    let tree = tree_of("d", metadata(0o755), EntryKind::Directory, None);
    assert!(matches!(
        w.finish_image(&tree, &ImageOptions::default()),
        Err(WriteError::CallOrder { .. })
    ));
    assert!(matches!(
        writer().begin(u64::MAX, None),
        Err(WriteError::FileTooLarge { .. })
    ));
    assert!(matches!(
        writer().begin(1 << 44, None),
        Err(WriteError::TooLarge)
    ));
    let bad = [
        DataSegment {
            offset: 5,
            length: 5,
        },
        DataSegment {
            offset: 9,
            length: 1,
        },
    ];
    assert!(matches!(
        writer().begin(20, Some(&bad)),
        Err(WriteError::Segment { offset: 9, .. })
    ));
}

#[test]
fn volume_names() {
    let tree = tree_of("d", metadata(0o755), EntryKind::Directory, None);
    let mut options = ImageOptions::default();
    let finish =
        |o: &ImageOptions| Writer::new(Vec::new(), DataOptions::default()).finish_image(&tree, o);
    options.volume_name = b"fifteen letters".to_vec();
    let (bytes, _) = finish(&options).unwrap();
    assert_eq!(
        &Image::open(bytes).unwrap().superblock().volume_name,
        b"fifteen letters\0"
    );
    for bad in [&b"sixteen letters!"[..], b"a\0b"] {
        options.volume_name = bad.to_vec();
        assert!(matches!(
            finish(&options),
            Err(WriteError::VolumeName { .. })
        ));
    }
}

#[test]
fn the_build_time_is_the_most_frequent_and_can_be_given() {
    let at = |seconds| Timestamp {
        seconds,
        nanoseconds: 5,
    };
    let tree = || {
        let mut b = Builder::new(Vec::new());
        for (i, seconds) in [7, 3, 3, 7, 9].into_iter().enumerate() {
            b.file(
                format!("{i}"),
                Metadata {
                    mtime: at(seconds),
                    ..metadata(0o644)
                },
                b"",
            );
        }
        b.directory(
            "",
            Metadata {
                mtime: at(1),
                ..metadata(0o755)
            },
        );
        b
    };
    let (_, report, _) = tree().finish();
    assert_eq!(
        (
            report.build_time,
            report.compact_inodes,
            report.extended_inodes
        ),
        (at(3), 2, 4)
    );
    let mut b = tree();
    let mut options = ImageOptions::default();
    options.build_time = Some(at(9));
    let tree = b.tree();
    let (bytes, report) = b.writer.finish_image(&tree, &options).unwrap();
    assert_eq!((report.build_time, report.compact_inodes), (at(9), 1));
    assert_eq!(
        Image::open(bytes)
            .unwrap()
            .lookup(b"1")
            .unwrap()
            .unwrap()
            .mtime(),
        at(3)
    );
}

#[test]
fn the_uuid_follows_content() {
    let uuid = |seed: &[u8], name: &str| {
        let mut b = Builder::new(Vec::new());
        b.file(name, metadata(0o644), b"x");
        let tree = b.tree();
        let mut options = ImageOptions::default();
        options.uuid_seed = seed.to_vec();
        b.writer.finish_image(&tree, &options).unwrap().1.uuid
    };
    let first = uuid(b"sha256:1", "a");
    assert_eq!(first, uuid(b"sha256:1", "a"));
    assert_ne!(first, uuid(b"sha256:2", "a"));
    assert_ne!(first, uuid(b"sha256:1", "b"));
    // Version 8, variant of RFC 9562.
    assert_eq!((first[6] >> 4, first[8] >> 6), (8, 2));
}

/// Two layers: the upper one replaces and removes files of the lower one.
fn two_layers(b: &mut Builder<Vec<u8>>, secret: &[u8]) {
    let repeated = |n: usize| secret.iter().copied().cycle().take(n).collect::<Vec<u8>>();
    for i in 0..200 {
        let data = if i % 3 == 0 {
            repeated(i * 997)
        } else {
            pattern(i, i * 1009)
        };
        b.file(format!("f{i}"), metadata(0o644), &data);
    }
    b.sparse(
        "holes",
        metadata(0o644),
        Content {
            size: 1 << 20,
            parts: vec![(5000, repeated(5000))],
        },
    );
    b.sparse(
        "kept",
        metadata(0o644),
        Content {
            size: 1 << 20,
            parts: vec![(5000, pattern(1, 5000)), (900_000, pattern(2, 70_000))],
        },
    );
    b.next_layer();
    for i in (0..200).step_by(3) {
        if i % 2 == 0 {
            b.entry(
                format!("f{i}"),
                Metadata::default(),
                EntryKind::Whiteout,
                None,
            );
        } else {
            b.file(format!("f{i}"), metadata(0o600), &pattern(i + 1, 3 * i));
        }
    }
    b.entry("holes", Metadata::default(), EntryKind::Whiteout, None);
}

#[test]
fn nothing_remains_of_removed_files() {
    let secret = b"-----BEGIN PRIVATE KEY-----";
    let mut b = Builder::new(Vec::new());
    two_layers(&mut b, secret);
    let (bytes, report, expected) = b.finish();
    crate::common::check_with_reader(&bytes, &expected);
    assert!(
        !bytes.windows(12).any(|w| w == b"PRIVATE KEY-"),
        "dead data in the image"
    );
    assert!(report.moved_bytes > 0);

    // As small as if they had never been there.
    let mut live = Builder::new(Vec::new());
    for i in 0..200 {
        match (i % 3, i % 2) {
            (0, 0) => {}
            (0, _) => {
                live.file(format!("f{i}"), metadata(0o600), &pattern(i + 1, 3 * i));
            }
            _ => {
                live.file(format!("f{i}"), metadata(0o644), &pattern(i, i * 1009));
            }
        }
    }
    live.sparse(
        "kept",
        metadata(0o644),
        Content {
            size: 1 << 20,
            parts: vec![(5000, pattern(1, 5000)), (900_000, pattern(2, 70_000))],
        },
    );
    assert_eq!(live.finish().1.size, report.size);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let bytes = |pieces: usize| {
        let mut b = Builder::new(Vec::new());
        two_layers(&mut b, b"x");
        // A large file in pieces of any length.
        let data = pattern(5, 3_000_000);
        b.writer.begin(3_000_000, None).unwrap();
        data.chunks(pieces).for_each(|p| b.writer.write(p).unwrap());
        let id = b.writer.finish().unwrap();
        b.entry(
            "large",
            metadata(0o644),
            EntryKind::File {
                size: 3_000_000,
                segments: None,
            },
            Some(id),
        );
        b.contents.insert(id, Content::plain(&data));
        let (bytes, _, expected) = b.finish();
        crate::common::check_with_reader(&bytes, &expected);
        bytes
    };
    let first = bytes(3_000_000);
    for pieces in [1000, 4096, 65_536, 131_072, 200_001, 1 << 20] {
        assert!(bytes(pieces) == first, "pieces of {pieces}");
    }
}

#[test]
fn a_missing_temporary_file_is_an_error() {
    let mut options = DataOptions::default();
    options.tail_memory = 100;
    options.spill = Some(Box::new(|| Err(io::ErrorKind::PermissionDenied.into())));
    let mut writer = Writer::new(Vec::new(), options);
    writer.begin(200, None).unwrap();
    writer.write(&[1; 200]).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create the temporary file for file tails"
    );
}

#[test]
fn contents_may_be_shared_by_inodes() {
    let mut b = Builder::new(Vec::new());
    let data = pattern(1, 10_000);
    let id = b.file("a", metadata(0o644), &data);
    let kind = EntryKind::File {
        size: 10_000,
        segments: None,
    };
    b.entry("b", metadata(0o600), kind, Some(id));
    let (bytes, _, _) = b.finish();
    let image = Image::open(bytes).unwrap();
    let verification = image.verify().unwrap();
    assert!(verification.is_sound());
    assert_eq!(verification.own.shared_data_bytes, 8192);
    for name in [b"a", b"b"] {
        let inode = image.lookup(name).unwrap().unwrap();
        assert_eq!(image.read_to_vec(&inode, 10_000).unwrap(), data);
    }
}

#[test]
fn the_order_of_contents_decides_placement_only() {
    let image = |reversed: bool| {
        let mut b = Builder::new(Vec::new());
        let mut order: Vec<usize> = (0..100).collect();
        if reversed {
            order.reverse();
        }
        let mut ids = vec![ContentId(0); 100];
        for i in order {
            let data = pattern(i, i * 337);
            b.writer.begin(data.len() as u64, None).unwrap();
            b.writer.write(&data).unwrap();
            ids[i] = b.writer.finish().unwrap();
            b.contents.insert(ids[i], Content::plain(&data));
        }
        for (i, id) in ids.into_iter().enumerate() {
            let kind = EntryKind::File {
                size: i as u64 * 337,
                segments: None,
            };
            b.entry(format!("d{}/f{i}", i % 3), metadata(0o644), kind, Some(id));
        }
        let (bytes, report, expected) = b.finish();
        crate::common::check_with_reader(&bytes, &expected);
        (bytes, report.size)
    };
    let (forward, backward) = (image(false), image(true));
    assert_eq!(forward.1, backward.1);
    assert!(forward.0 != backward.0);
}
