//! Extended headers of tars: pax records, global ones, and the long names of GNU tar.

use crate::support::{Header, Tar, fault, only, paths, read};
use lithify_layer::{Error, TarFault};
use lithify_tree::{EntryKind, Timestamp};

/// CVE-2025-62518 "TARmageddon": the PAX size counts, not the header's, whichever is zero.
#[test]
fn a_pax_size_overrides_the_header_size() {
    let inner = Tar::new().file("smuggled", b"").0;
    let tar = Tar::new()
        .pax(&[("size", inner.len().to_string().as_bytes())])
        .raw(Header::new(b'0', b"outer"), &inner);
    let (entry, data) = only(&tar.clone().end());
    assert_eq!((entry.path.as_bytes(), data.0), (&b"outer"[..], inner));

    let tar = Tar::new()
        .pax(&[("size", b"0")])
        .raw(Header::new(b'0', b"outer").size(512), b"")
        .file("next", b"");
    assert_eq!(paths(&tar.end()), ["outer", "next"]);
}

/// GHSA-3pv8-6f4r-ffg2 (tar), GHSA-3cv2-h65g-fgmm: the PAX size is the member's, not that of a GNU header between.
#[test]
fn a_pax_size_is_not_for_a_long_name_between() {
    let long = [b"long/".repeat(30), b"\0".to_vec()].concat();
    let tar = Tar::new()
        .pax(&[("size", b"2048")])
        .member(Header::gnu(b'L', b"././@LongLink"), &long[5..])
        .raw(Header::gnu(b'0', b"file_a"), &[b'x'; 2048])
        .file("file_b", b"")
        .end();
    let found = read(&tar);
    // A long name ending in a slash would be a directory: its data is not a directory's.
    assert!(
        matches!(found, Err(Error::Tar(e)) if matches!(e.fault, TarFault::SizeWithoutData { kind: "directory", size: 2048 }))
    );
    let tar = Tar::new()
        .pax(&[("size", b"2048")])
        .member(Header::gnu(b'L', b"././@LongLink"), b"long/name\0")
        .raw(Header::gnu(b'0', b"file_a"), &[b'x'; 2048])
        .file("file_b", b"")
        .end();
    assert_eq!(paths(&tar), ["long/name", "file_b"]);
    assert_eq!(read(&tar).unwrap()[0].1.len(), 2048);
}

/// With a PAX size libarchive and GNU tar, when it lists, skip data that Go and Python do not.
#[test]
fn pax_sizes_promise_data() {
    for (typeflag, kind) in [
        (b'1', "hard link"),
        (b'2', "symbolic link"),
        (b'3', "character device"),
        (b'4', "block device"),
        (b'5', "directory"),
        (b'6', "named pipe"),
    ] {
        let header = Header::new(typeflag, b"n").link(b"target");
        let expected = TarFault::SizeWithoutData { kind, size: 5 };
        for tar in [
            Tar::new()
                .pax(&[("size", b"5")])
                .raw(header.clone(), b"hello"),
            Tar::new().pax(&[("size", b"5")]).raw(header.size(5), b""),
        ] {
            assert_eq!(fault(&tar.end()), expected);
        }
    }
}

#[test]
fn a_time_may_have_a_fraction_and_a_sign() {
    for (text, seconds, nanoseconds) in [
        ("1.5", 1, 500_000_000),
        ("-1.5", -2, 500_000_000),
        ("-0.000000001", -1, 999_999_999),
        ("1700000000.123456789", 1_700_000_000, 123_456_789),
    ] {
        let (entry, _) = only(
            &Tar::new()
                .pax(&[("mtime", text.as_bytes())])
                .file("a", b"")
                .end(),
        );
        assert_eq!(
            entry.metadata.mtime,
            Timestamp {
                seconds,
                nanoseconds
            },
            "{text}"
        );
    }
    let tar = Tar::new().pax(&[("mtime", b"soon")]).file("a", b"").end();
    assert!(matches!(fault(&tar), TarFault::PaxValue { .. }));
}

#[test]
fn pax_records_override_the_header() {
    let records: &[(&str, &[u8])] = &[
        ("path", b"other/name"),
        ("uid", b"4294967295"),
        ("gid", b"2097152"),
        ("uname", b"x"),
        ("comment", b"y"),
        ("atime", b"junk"),
    ];
    let (entry, _) = only(&Tar::new().pax(records).file("name", b"").end());
    assert_eq!(entry.path.as_bytes(), b"other/name");
    assert_eq!(
        (entry.metadata.uid, entry.metadata.gid),
        (u32::MAX, 2_097_152)
    );
    let (entry, _) = only(
        &Tar::new()
            .pax(&[("linkpath", b"the/target")])
            .raw(Header::new(b'2', b"l").link(b"x"), b"")
            .end(),
    );
    assert_eq!(
        entry.kind,
        EntryKind::Symlink {
            target: b"the/target".to_vec()
        }
    );
    let tar = Tar::new()
        .pax(&[("uid", b"4294967296")])
        .file("name", b"")
        .end();
    assert!(matches!(
        fault(&tar),
        TarFault::NumberRange { field: "uid", .. }
    ));
}

/// The rule of archives, too: there a repeated record was refused.
#[test]
fn the_last_of_repeated_keys_counts() {
    let records: &[(&str, &[u8])] = &[
        ("path", b"first"),
        ("size", b"1024"),
        ("path", b"second"),
        ("size", b"2"),
    ];
    let tar = Tar::new()
        .pax(records)
        .file("name", b"12")
        .file("next", b"");
    assert_eq!(paths(&tar.end()), ["second", "next"]);
    let links: &[(&str, &[u8])] = &[("linkpath", b"first"), ("linkpath", b"second")];
    let link = Tar::new().pax(links).raw(Header::new(b'2', b"l"), b"");
    let target = b"second".to_vec();
    assert_eq!(only(&link.end()).0.kind, EntryKind::Symlink { target });
}

/// astral-tokio-tar refused these; POSIX lets an empty value take a record back.
#[test]
fn empty_pax_values_leave_the_header_as_it_is() {
    let records: &[(&str, &[u8])] = &[
        ("path", b""),
        ("linkpath", b""),
        ("size", b""),
        ("uid", b""),
        ("gid", b""),
        ("mtime", b""),
    ];
    let header = Header::new(b'0', b"name")
        .field(108, b"0000007\0")
        .field(136, b"00000000010\0");
    let (entry, data) = only(&Tar::new().pax(records).member(header, b"data").end());
    assert_eq!(
        (
            entry.path.as_bytes(),
            &data[..],
            entry.metadata.uid,
            entry.metadata.mtime.seconds
        ),
        (&b"name"[..], &b"data"[..], 7, 8)
    );
}

#[test]
fn global_records_hold_until_taken_back() {
    let tar = Tar::new()
        .global(&[
            ("mtime", b"5.25"),
            ("uid", b"7"),
            ("comment", b"a git commit"),
        ])
        .file("a", b"")
        .pax(&[("mtime", b"6")])
        .file("b", b"")
        .pax(&[("mtime", b"")])
        .file("c", b"")
        .global(&[("uid", b"")])
        .file("d", b"")
        .end();
    let entries = read(&tar).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|(e, _)| {
            (
                e.metadata.mtime.seconds,
                e.metadata.mtime.nanoseconds,
                e.metadata.uid,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (5, 250_000_000, 7),
            (6, 0, 7),
            (0, 0, 7),
            (5, 250_000_000, 0)
        ]
    );
}

#[test]
fn global_records_that_cannot_be() {
    for (key, value) in [
        ("path", "x"),
        ("linkpath", "x"),
        ("size", "1"),
        ("GNU.sparse.major", "1"),
        ("SCHILY.xattr.user.x", "1"),
    ] {
        let tar = Tar::new()
            .global(&[(key, value.as_bytes())])
            .file("a", b"")
            .end();
        assert!(matches!(fault(&tar), TarFault::GlobalKey { .. }), "{key}");
    }
}

/// The malformed headers astral-tokio-tar and tar-rs learned to refuse in 2026.
#[test]
fn extended_headers_that_readers_disagree_on() {
    let gnu =
        |typeflag, name: &[u8]| Tar::new().member(Header::gnu(typeflag, b"././@LongLink"), name);
    // Nothing after them.
    assert_eq!(
        fault(&Tar::new().pax(&[("uid", b"1")]).end()),
        TarFault::DanglingExtension {
            what: "a PAX header"
        }
    );
    assert_eq!(
        fault(&gnu(b'L', b"n\0").end()),
        TarFault::DanglingExtension {
            what: "a GNU long name"
        }
    );
    assert_eq!(
        fault(&gnu(b'K', b"n\0").0),
        TarFault::DanglingExtension {
            what: "a GNU long link target"
        }
    );
    assert_eq!(
        fault(&Tar::new().pax(&[]).global(&[]).file("a", b"").end()),
        TarFault::DanglingExtension {
            what: "a PAX header"
        }
    );
    assert_eq!(
        fault(&gnu(b'L', b"n\0").raw(Header::gnu(b'V', b"v"), b"").end()),
        TarFault::DanglingExtension {
            what: "a GNU long name"
        }
    );
    // Two of a kind.
    assert_eq!(
        fault(&Tar::new().pax(&[]).pax(&[]).file("a", b"").end()),
        TarFault::DuplicateExtension {
            what: "a PAX header"
        }
    );
    assert_eq!(
        fault(
            &gnu(b'L', b"n\0")
                .member(Header::gnu(b'L', b"x"), b"m\0")
                .file("a", b"")
                .end()
        ),
        TarFault::DuplicateExtension {
            what: "a GNU long name"
        }
    );
    // Two kinds that differ, and two that do not.
    let both = |pax: &[u8]| gnu(b'L', b"n\0").pax(&[("path", pax)]).file("a", b"").end();
    assert_eq!(
        fault(&both(b"m")),
        TarFault::ConflictingNames { key: "path" }
    );
    assert_eq!(paths(&both(b"n")), ["n"]);
    let link = Header::gnu(b'2', b"l").link(b"x");
    let tar = gnu(b'K', b"n\0")
        .pax(&[("linkpath", b"m")])
        .raw(link, b"")
        .end();
    assert_eq!(fault(&tar), TarFault::ConflictingNames { key: "linkpath" });
    // A name that goes on after its end.
    assert_eq!(
        fault(&gnu(b'L', b"n\0hidden").file("a", b"").end()),
        TarFault::LongNameNul {
            what: "a GNU long name"
        }
    );
    assert_eq!(paths(&gnu(b'L', b"n\0\0\0").file("a", b"").end()), ["n"]);
    assert_eq!(paths(&gnu(b'L', b"n").file("a", b"").end()), ["n"]);
    assert_eq!(
        fault(&gnu(b'L', b"\0").file("a", b"").end()),
        TarFault::EmptyPath
    );
    // Records that are none.
    let unterminated = Tar::new()
        .member(Header::new(b'x', b"pax"), b"9 path=a ")
        .file("a", b"")
        .end();
    assert!(matches!(
        fault(&unterminated),
        TarFault::PaxRecord { offset: 0, .. }
    ));
    let padded = Tar::new()
        .member(Header::new(b'x', b"pax"), b"9 path=b\n\0\0")
        .file("a", b"")
        .end();
    assert!(matches!(
        fault(&padded),
        TarFault::PaxRecord { offset: 9, .. }
    ));
}

/// Order does not matter between the kinds, and extended headers may follow any member.
#[test]
fn long_names_and_link_targets() {
    let long = "d/".repeat(100) + "name";
    let target = "t/".repeat(200) + "target";
    let tar = Tar::new()
        .file("first", b"data")
        .member(
            Header::gnu(b'K', b"././@LongLink"),
            &[target.as_bytes(), b"\0"].concat(),
        )
        .member(
            Header::gnu(b'L', b"././@LongLink"),
            &[long.as_bytes(), b"\0"].concat(),
        )
        .raw(Header::gnu(b'2', b"cut").link(b"cut"), b"")
        .file("last", b"")
        .end();
    let entries = read(&tar).unwrap();
    assert_eq!(entries[1].0.path.as_bytes(), long.as_bytes());
    assert_eq!(
        entries[1].0.kind,
        EntryKind::Symlink {
            target: target.into_bytes()
        }
    );
    assert_eq!(entries[2].0.path.as_bytes(), b"last");
}

/// microsandbox dropped every attribute, supermachine too; an empty value made tar parsers fail.
#[test]
fn extended_attributes_of_every_type() {
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for header in [
        Header::new(b'0', b"n"),
        Header::new(b'5', b"n"),
        Header::new(b'2', b"n").link(b"x"),
        Header::new(b'3', b"n"),
        Header::new(b'6', b"n"),
    ] {
        let records: &[(&str, &[u8])] = &[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.empty", b""),
            ("LIBARCHIVE.xattr.user.%6ceaf", b"AAEC"),
        ];
        let xattrs = only(&Tar::new().pax(records).raw(header, b"").end())
            .0
            .metadata
            .xattrs;
        assert_eq!(xattrs.len(), 3);
        assert_eq!(xattrs.get(b"security.capability"), Some(&capability[..]));
        assert_eq!(xattrs.get(b"user.empty"), Some(&b""[..]));
        assert_eq!(xattrs.get(b"user.leaf"), Some(&[0, 1, 2][..]));
    }
    // They belong to one entry only.
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.x", b"1")])
        .file("a", b"")
        .file("b", b"")
        .end();
    assert!(read(&tar).unwrap()[1].0.metadata.xattrs.is_empty());
}

#[test]
fn impossible_attributes_are_refused() {
    for (key, value) in [
        ("SCHILY.xattr.", vec![]),
        ("SCHILY.xattr.user.big", vec![0; 65537]),
        ("LIBARCHIVE.xattr.%", vec![]),
        ("LIBARCHIVE.xattr.user.x", b"?".to_vec()),
    ] {
        let tar = Tar::new().pax(&[(key, &value)]).file("a", b"").end();
        assert!(
            matches!(
                fault(&tar),
                TarFault::Xattr(_) | TarFault::XattrEncoding { .. }
            ),
            "{key}"
        );
    }
}
