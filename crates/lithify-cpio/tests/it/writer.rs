//! Archives, byte by byte.

use lithify_cpio::{CpioWriter, FILE_SIZE_MAX, Name, Report, WriteError};
use lithify_testkit::{require, run};
use lithify_tree::{
    DataSegment, Device, Inode, InodeKind, Timestamp, TreePath, XattrSetId, Xattrs,
};

fn inode(kind: InodeKind<'_>) -> Inode<'_> {
    Inode {
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        nlink: 1,
        xattrs: XattrSetId::EMPTY,
        kind,
    }
}

fn file(size: u64) -> Inode<'static> {
    let content = None;
    inode(InodeKind::File { size, content })
}

fn path(name: &[u8]) -> TreePath {
    TreePath::clean(name).unwrap()
}

fn append(
    archive: &mut CpioWriter<Vec<u8>>,
    name: &[u8],
    inode: &Inode<'_>,
    segments: Option<&[DataSegment]>,
) -> Result<(), WriteError> {
    let path = &path(name);
    let name = Name {
        path,
        number: 7,
        is_last: true,
    };
    archive.append(&name, inode, &Xattrs::default(), segments)
}

#[test]
fn an_archive_is_these_bytes() {
    let mut archive = CpioWriter::new(Vec::new());
    let root = Inode {
        mode: 0o1755,
        nlink: 5,
        ..inode(InodeKind::Directory)
    };
    append(&mut archive, b".", &root, None).unwrap();
    let null = Inode {
        uid: 1,
        gid: u32::MAX,
        mtime: Timestamp {
            seconds: 0x1234_5678,
            nanoseconds: 999_999_999,
        },
        ..inode(InodeKind::CharDevice(Device {
            major: 4095,
            minor: 0xf_ffff,
        }))
    };
    append(&mut archive, b"null", &null, None).unwrap();
    let target = b"null";
    append(
        &mut archive,
        b"ln",
        &inode(InodeKind::Symlink { target }),
        None,
    )
    .unwrap();
    let (first, last) = (path(b"a"), path(b"b"));
    let twice = Inode {
        nlink: 2,
        ..file(5)
    };
    for (path, is_last) in [(&first, false), (&last, true)] {
        let name = Name {
            path,
            number: 9,
            is_last,
        };
        archive
            .append(&name, &twice, &Xattrs::default(), None)
            .unwrap();
    }
    archive.data(b"he").unwrap();
    archive.data(b"llo").unwrap();
    let (bytes, report) = archive.finish().unwrap();
    assert_eq!(report, Report::default());
    // Inode, mode, owner, group, links, time, size, device, its minor, rdev, its minor, length of the name, checksum.
    let expected = [
        "070701 00000007 000043ED 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000000 .~",
        "070701 00000007 000021A4 00000001 FFFFFFFF 00000001 12345678 00000000 00000000 00000000 00000FFF 000FFFFF 00000005 00000000 null~~",
        "070701 00000007 0000A1A4 00000000 00000000 00000001 00000000 00000004 00000000 00000000 00000000 00000000 00000003 00000000 ln~~~~null",
        "070701 00000009 000081A4 00000000 00000000 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000000 a~",
        "070701 00000009 000081A4 00000000 00000000 00000002 00000000 00000005 00000000 00000000 00000000 00000000 00000002 00000000 b~hello~~~",
        "070701 00000000 00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 0000000B 00000000 TRAILER!!!~~~~",
    ];
    let mut expected = expected.concat().replace(' ', "").replace('~', "\0");
    while expected.len() % 512 > 0 {
        expected.push('\0');
    }
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("0707", "\n0707");
    assert_eq!(shown(&bytes), shown(expected.as_bytes()));
}

/// To whoever reads it, an archive ends with that name, wherever it comes from.
#[test]
fn a_file_called_as_the_end_ends_nothing() {
    if !require::tool("cpio") || !require::tool("bsdtar") {
        return;
    }
    let mut archive = CpioWriter::new(Vec::new());
    for name in [
        &b"TRAILER!!!"[..],
        b"a/TRAILER!!!",
        b"TRAILER!!!!",
        b"behind",
    ] {
        append(&mut archive, name, &file(1), None).unwrap();
        archive.data(b"x").unwrap();
    }
    let (bytes, _) = archive.finish().unwrap();
    let tmp = lithify_testkit::temp_dir();
    let at = tmp.path().join("x.cpio");
    std::fs::write(&at, bytes).unwrap();
    let mut cpio = run::command("cpio");
    cpio.args(["-it", "--quiet"]);
    let listed = run::text(cpio.stdin(std::fs::File::open(&at).unwrap()));
    let bsdtar = run::text(run::command("bsdtar").arg("-tf").arg(&at));
    for listed in [listed, bsdtar] {
        let names: Vec<&str> = listed.lines().map(|l| l.trim_start_matches("./")).collect();
        assert_eq!(
            names,
            ["TRAILER!!!", "a/TRAILER!!!", "TRAILER!!!!", "behind"]
        );
    }
}

#[test]
fn holes_are_zeros_up_to_a_limit() {
    let segment = |offset, length| DataSegment { offset, length };
    let segments = [segment(2, 1), segment(6, 2)];
    let mut archive = CpioWriter::new(Vec::new()).zeros_max(7);
    append(&mut archive, b"f", &file(9), Some(&segments)).unwrap();
    archive.data(b"a").unwrap();
    archive.data(b"bc").unwrap();
    let refused = append(&mut archive, b"g", &file(9), Some(&segments)).unwrap_err();
    let expected = (6, 7);
    assert!(
        matches!(&refused, WriteError::Holes { holes, limit, .. } if (*holes, *limit) == expected),
        "{refused}"
    );
    let refused = append(&mut archive, b"g", &file(7), Some(&segments)).unwrap_err();
    assert!(matches!(refused, WriteError::Segments { .. }), "{refused}");
    // A hole from end to end has no data to come.
    append(&mut archive, b"h", &file(1), Some(&[])).unwrap();
    let (bytes, _) = archive.finish().unwrap();
    let data = &bytes[112..124];
    assert_eq!(data, b"\0\0a\0\0\0bc\0\0\0\0");
    assert_eq!(&bytes[124..130], b"070701");
    assert_eq!(&bytes[124 + 112..124 + 116], [0; 4]);
    assert_eq!(&bytes[124 + 116..124 + 122], b"070701");
}

#[test]
fn what_an_archive_cannot_hold_is_refused_and_leaves_it_as_it_was() {
    let mut archive = CpioWriter::new(Vec::new());
    let refused = append(&mut archive, b"big", &file(FILE_SIZE_MAX + 1), None).unwrap_err();
    assert!(
        refused.to_string().contains("`/big` has 4294967296 bytes"),
        "{refused}"
    );
    let parts = vec!["d".repeat(255); 15].join("/");
    let long = format!("{parts}/{}", "f".repeat(255));
    append(&mut archive, long.as_bytes(), &file(0), None).unwrap();
    let long = format!("a/{}", &long[1..]);
    let refused = append(&mut archive, long.as_bytes(), &file(0), None).unwrap_err();
    assert!(
        matches!(refused, WriteError::NameLength { .. }),
        "{refused}"
    );
    let mut xattrs = Xattrs::new();
    xattrs.set(b"user.a", b"").unwrap();
    let name = Name {
        path: &path(b"f"),
        number: 1,
        is_last: true,
    };
    let refused = archive.append(&name, &file(0), &xattrs, None).unwrap_err();
    assert!(matches!(refused, WriteError::Xattr { .. }), "{refused}");
    assert_eq!(lithify_cpio::unsupported_xattrs(&xattrs), [b"user.a"]);
    append(&mut archive, b"f", &file(2), None).unwrap();
    assert!(matches!(
        archive.data(b"abc"),
        Err(WriteError::ExtraData { extra: 1 })
    ));
    archive.data(b"a").unwrap();
    let refused = append(&mut archive, b"g", &file(0), None);
    assert!(matches!(
        refused,
        Err(WriteError::MissingData { missing: 1 })
    ));
    archive.data(b"b").unwrap();
    let (bytes, _) = archive.finish().unwrap();
    assert_eq!(bytes.windows(6).filter(|w| w == b"070701").count(), 3);
}

#[test]
fn times_are_the_nearest_there_is() {
    let mut archive = CpioWriter::new(Vec::new());
    for (seconds, nanoseconds) in [(-1, 999_999_999), (0, 0), (0xffff_ffff, 5), (1 << 32, 0)] {
        let mtime = Timestamp {
            seconds,
            nanoseconds,
        };
        append(&mut archive, b"f", &Inode { mtime, ..file(0) }, None).unwrap();
    }
    let (bytes, report) = archive.finish().unwrap();
    let times: Vec<&[u8]> = (0..4).map(|n| &bytes[n * 112 + 46..][..8]).collect();
    assert_eq!(times, [b"00000000", b"00000000", b"FFFFFFFF", b"FFFFFFFF"]);
    assert_eq!(report.clamped_times, 2);
}
