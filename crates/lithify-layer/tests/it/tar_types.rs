//! Kinds of entries of a tar: which there are, which of them may carry data, and whose headers they may stand in.

use crate::support::{Header, Tar, decode, entry_fault, fault, only, paths, read};
use lithify_layer::{EntryFault, Expected, Limits, TarFault};
use lithify_tar::{Limit, LimitExceeded};
use lithify_tree::{Device, EntryKind, PathError};

fn kind_of(header: Header) -> EntryKind {
    only(&Tar::new().raw(header, b"").end()).0.kind
}

#[test]
fn every_type_an_image_has() {
    let device = Device {
        major: 8,
        minor: 17,
    };
    let dev = |typeflag| {
        Header::new(typeflag, b"n")
            .field(329, b"0000010\0")
            .field(337, b"0000021\0")
    };
    assert_eq!(
        kind_of(Header::new(b'0', b"n")),
        EntryKind::File {
            size: 0,
            segments: None
        }
    );
    assert_eq!(
        kind_of(Header::new(0, b"n")),
        EntryKind::File {
            size: 0,
            segments: None
        }
    );
    assert_eq!(
        kind_of(Header::new(b'7', b"n")),
        EntryKind::File {
            size: 0,
            segments: None
        }
    );
    assert_eq!(kind_of(Header::new(b'5', b"n")), EntryKind::Directory);
    assert_eq!(kind_of(Header::new(b'5', b"n/")), EntryKind::Directory);
    assert_eq!(
        kind_of(Header::new(b'2', b"n").link(b"/../t")),
        EntryKind::Symlink {
            target: b"/../t".to_vec()
        }
    );
    assert!(
        matches!(kind_of(Header::new(b'1', b"n").link(b"./t/")), EntryKind::HardLink { target } if target.as_bytes() == b"t")
    );
    assert_eq!(kind_of(dev(b'3')), EntryKind::CharDevice(device));
    assert_eq!(kind_of(dev(b'4')), EntryKind::BlockDevice(device));
    assert_eq!(kind_of(Header::new(b'6', b"n")), EntryKind::Fifo);
}

/// The size field of what has no data is that of a link's target or of the directory on its disk. Go, Python and, when
/// it extracts, GNU tar read the next header right behind; libarchive not at a hard link behind PAX records.
#[test]
fn sizes_of_what_has_no_data_mean_nothing() {
    for typeflag in *b"123456" {
        let header = || Header::new(typeflag, b"n").link(b"target");
        for records in [&[][..], &[("size", &b"0"[..])], &[("mtime", b"1.5")]] {
            let tar = Tar::new().file("target", b"x");
            let tar = if records.is_empty() {
                tar
            } else {
                tar.pax(records)
            };
            let tar = tar.raw(header().size(5), b"").file("z", b"zz").end();
            assert_eq!(paths(&tar), ["target", "n", "z"]);
        }
        // Data that does follow is no header.
        assert!(matches!(
            fault(&Tar::new().member(header(), b"hello").end()),
            TarFault::Checksum { .. }
        ));
    }
}

#[test]
fn old_directories_are_files_with_a_slash() {
    let directory = |header| assert_eq!(kind_of(header), EntryKind::Directory);
    directory(Header::v7(0, b"d/"));
    directory(Header::v7(b'0', b"d/"));
    directory(Header::gnu(b'0', b"d/"));
    directory(Header::new(0, b"d/"));
    for header in [
        Header::new(b'0', b"d/"),
        Header::new(b'7', b"d/"),
        Header::gnu(b'7', b"d/"),
    ] {
        assert_eq!(
            fault(&Tar::new().raw(header, b"").end()),
            TarFault::TrailingSlash
        );
    }
    let with_data = Tar::new().member(Header::v7(0, b"d/"), b"data").end();
    assert_eq!(
        fault(&with_data),
        TarFault::SizeWithoutData {
            kind: "directory",
            size: 4
        }
    );
}

#[test]
fn types_no_layer_has_are_refused_by_name() {
    for (typeflag, meaning) in [
        (b'M', "multi-volume"),
        (b'D', "incremental"),
        (b'N', "old GNU"),
        (b'A', "Solaris"),
        (b'Q', "vendor"),
        (b'8', "reserved"),
        (0xff, "reserved"),
    ] {
        match fault(&Tar::new().raw(Header::gnu(typeflag, b"n"), b"").end()) {
            TarFault::UnsupportedType { meaning: found, .. } => {
                assert!(found.contains(meaning), "{found}")
            }
            other => panic!("{other:?}"),
        }
    }
    let tar = Tar::new()
        .pax(&[("GNU.volume.filename", b"x")])
        .file("x", b"")
        .end();
    assert!(matches!(fault(&tar), TarFault::UnsupportedType { .. }));
}

#[test]
fn v7_headers_have_v7_types_only() {
    for typeflag in [b'3', b'4', b'6', b'7', b'L', b'K', b'x', b'g', b'S'] {
        let tar = Tar::new().raw(Header::v7(typeflag, b"n"), b"").end();
        assert_eq!(
            fault(&tar),
            TarFault::TypeOutsideFormat {
                typeflag,
                format: "v7"
            }
        );
    }
    let tar = Tar::new().raw(Header::new(b'S', b"n"), b"").end();
    assert_eq!(
        fault(&tar),
        TarFault::TypeOutsideFormat {
            typeflag: b'S',
            format: "POSIX"
        }
    );
}

#[test]
fn volume_labels_are_skipped() {
    let tar = Tar::new()
        .raw(Header::gnu(b'V', b"label"), b"")
        .file("a", b"");
    assert_eq!(paths(&tar.clone().end()), ["a"]);
    let (_, summary) = decode(&tar.end(), Expected::nothing(), Limits::default()).unwrap();
    assert_eq!(summary.entries, 2);
    // A file with these bytes, to Go's readers.
    let tar = Tar::new()
        .member(Header::gnu(b'V', b"bin/sh"), b"data")
        .end();
    let kind = "volume label";
    assert_eq!(fault(&tar), TarFault::SizeWithoutData { kind, size: 4 });
    let tar = Tar::new()
        .global(&[("GNU.volume.label", b"x")])
        .file("a", b"")
        .end();
    assert_eq!(paths(&tar), ["a"]);
}

/// The names of the image-spec, wherever they stand and whatever type they have (AUFS made hard links of them).
#[test]
fn whiteouts_and_opaque_markers() {
    let tar = Tar::new()
        .file("d/.wh.gone", b"")
        .raw(Header::new(b'1', b".wh.linked").link(b".wh..wh.aufs"), b"")
        .file("d/.wh..wh..opq", b"ignored")
        .file(".wh..wh..opq", b"")
        .raw(Header::new(b'5', b".wh..wh.plnk/"), b"")
        .file(".wh..wh.plnk/123.456", b"x")
        .file(".wh..wh.aufs", b"")
        .file("kept", b"")
        .end();
    let found: Vec<_> = read(&tar)
        .unwrap()
        .into_iter()
        .map(|(e, _)| (e.path.to_string(), e.kind))
        .collect();
    let expected = [
        ("/d/gone", EntryKind::Whiteout),
        ("/linked", EntryKind::Whiteout),
        ("/d", EntryKind::Opaque),
        ("/", EntryKind::Opaque),
        // Where hard links lead to; it gets no name.
        (
            "/.wh..wh.plnk/123.456",
            EntryKind::File {
                size: 1,
                segments: None,
            },
        ),
        (
            "/kept",
            EntryKind::File {
                size: 0,
                segments: None,
            },
        ),
    ];
    assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)));
    let (_, summary) = decode(&tar, Expected::nothing(), Limits::default()).unwrap();
    assert_eq!(summary.entries, 8);
}

/// `.wh...` made supermachine remove its own cache directory.
#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.."] {
        assert!(
            matches!(
                entry_fault(&Tar::new().file(name, b"").end()),
                EntryFault::Whiteout(_)
            ),
            "{name}"
        );
    }
}

#[test]
fn links_have_targets() {
    for typeflag in [b'1', b'2'] {
        assert_eq!(
            fault(&Tar::new().raw(Header::new(typeflag, b"l"), b"").end()),
            TarFault::EmptyLinkTarget
        );
    }
    let tar = Tar::new()
        .raw(Header::new(b'1', b"l").link(b"../up"), b"")
        .end();
    assert!(matches!(
        entry_fault(&tar),
        EntryFault::HardLinkTarget(PathError::ParentComponent { .. })
    ));
    let tar = Tar::new()
        .pax(&[("linkpath", b"a\0b")])
        .raw(Header::new(b'2', b"l"), b"")
        .end();
    assert_eq!(
        fault(&tar),
        TarFault::LinkTargetNul {
            target: b"a\0b".to_vec()
        }
    );
    let long = vec![b'x'; 4097];
    let tar = Tar::new()
        .pax(&[("linkpath", &long)])
        .raw(Header::new(b'2', b"l"), b"")
        .end();
    assert!(matches!(
        fault(&tar),
        TarFault::Limit(LimitExceeded {
            limit: Limit::PathBytes,
            ..
        })
    ));
}
