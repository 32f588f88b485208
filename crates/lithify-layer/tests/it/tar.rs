//! Headers of tars, rule by rule, on tars made byte by byte: numbers, names and who wrote them.

use std::io::Cursor;

use crate::support::{BLOCK, Header, Tar, entry_fault, fault, only, paths, read};
use lithify_layer::{EntryFault, Error, Expected, LayerReader, Names, Options, TarFault};
use lithify_tar::{Limit, LimitExceeded};
use lithify_tree::{PathError, Timestamp};

#[test]
fn metadata_of_a_header() {
    let header = Header::new(b'0', b"n")
        .field(100, b"0104755\0")
        .field(108, b"0001750\0")
        .field(116, b"7777777\0");
    let metadata = only(
        &Tar::new()
            .raw(header.field(136, b"14321076543\0"), b"")
            .end(),
    )
    .0
    .metadata;
    assert_eq!(
        (metadata.mode, metadata.uid, metadata.gid),
        (0o4755, 1000, 0o7777777)
    );
    assert_eq!(
        metadata.mtime,
        Timestamp {
            seconds: 0o14321076543,
            nanoseconds: 0
        }
    );
}

#[test]
fn ids_to_32_bits_and_times_before_1970_in_base_256() {
    let header = Header::gnu(b'0', b"n")
        .field(108, b"\x80\0\0\0\xff\xff\xff\xff")
        .field(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe");
    let metadata = only(&Tar::new().raw(header, b"").end()).0.metadata;
    assert_eq!((metadata.uid, metadata.mtime.seconds), (u32::MAX, -2));
    let header = Header::gnu(b'0', b"n").field(116, b"\x80\0\0\x01\0\0\0\0");
    assert_eq!(
        fault(&Tar::new().raw(header, b"").end()),
        TarFault::NumberRange {
            field: "gid",
            found: 1 << 32,
            max: u64::from(u32::MAX)
        }
    );
    let header = Header::gnu(b'0', b"n").field(108, b"\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(
        fault(&Tar::new().raw(header, b"").end()),
        TarFault::NumberRange {
            field: "uid",
            found: -1,
            max: u64::from(u32::MAX)
        }
    );
}

/// tar-core's list: lead bytes other than 0x80 and 0xff are read differently by every tar.
#[test]
fn reserved_base_256_lead_bytes_are_refused() {
    for lead in [0x81, 0x8e, 0xbf, 0xc0, 0xfe] {
        let header = Header::gnu(b'0', b"n").field(124, &[lead, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(matches!(
            fault(&Tar::new().raw(header, b"x").end()),
            TarFault::Number { field: "size", .. }
        ));
    }
}

#[test]
fn negative_and_huge_sizes_are_refused() {
    let negative = Header::gnu(b'0', b"n").field(124, &[0xff; 12]);
    assert_eq!(
        fault(&Tar::new().raw(negative, b"").end()),
        TarFault::NumberRange {
            field: "size",
            found: -1,
            max: i64::MAX as u64
        }
    );
    let huge = Header::gnu(b'0', b"n").field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    let limit = LimitExceeded {
        limit: Limit::FileBytes,
        max: 1 << 40,
        found: i64::MAX as u64,
    };
    assert_eq!(
        fault(&Tar::new().raw(huge, b"").end()),
        TarFault::Limit(limit)
    );
    let tar = Tar::new()
        .pax(&[("size", b"18446744073709551615")])
        .file("n", b"")
        .end();
    assert!(matches!(
        fault(&tar),
        TarFault::NumberRange { field: "size", .. }
    ));
}

#[test]
fn names_are_cleaned_or_refused() {
    for (name, path) in [
        ("/etc//motd", "etc/motd"),
        ("./a/./b", "a/b"),
        ("././c", "c"),
        ("a", "a"),
    ] {
        assert_eq!(paths(&Tar::new().file(name, b"").end()), [path]);
    }
    assert!(matches!(
        entry_fault(&Tar::new().file("a/../../b", b"").end()),
        EntryFault::Path(PathError::ParentComponent { .. })
    ));
    let long = "n".repeat(256);
    let tar = Tar::new()
        .pax(&[("path", long.as_bytes())])
        .file("n", b"")
        .end();
    assert!(matches!(
        entry_fault(&tar),
        EntryFault::Path(PathError::ComponentTooLong { length: 256, .. })
    ));
    let tar = Tar::new().pax(&[("path", b"a\0b")]).file("n", b"").end();
    assert!(matches!(
        entry_fault(&tar),
        EntryFault::Path(PathError::Nul { .. })
    ));
    let tar = Tar::new()
        .pax(&[("path", "p/".repeat(2049).as_bytes())])
        .file("n", b"")
        .end();
    assert_eq!(
        fault(&tar),
        TarFault::Limit(LimitExceeded {
            limit: Limit::PathBytes,
            max: 4096,
            found: 4098
        })
    );
    assert_eq!(fault(&Tar::new().file("", b"").end()), TarFault::EmptyPath);
}

#[test]
fn names_are_bytes() {
    let name = b"caf\xe9\n\x1b[31m";
    let (entry, _) = only(&Tar::new().raw(Header::new(b'0', name), b"").end());
    assert_eq!(entry.path.as_bytes(), name);
    let tar = Tar::new()
        .raw(Header::new(b'9', name), b"")
        .raw(Header::new(b'2', name), b"")
        .end();
    let message = read(&tar).unwrap_err().to_string();
    assert!(
        message.starts_with("tar entry 0 (byte 0): type `9` (reserved) is not supported"),
        "{message}"
    );
    let message = read(
        &Tar::new()
            .file("a", b"12")
            .raw(Header::new(b'2', name), b"")
            .end(),
    )
    .unwrap_err()
    .to_string();
    assert_eq!(
        message,
        r"tar entry 1 `caf\xe9\n\x1b[31m` (byte 1024): the link target is empty"
    );
}

/// Errors name where they are, also after extended headers, whose own place is not it.
#[test]
fn errors_count_entries_and_bytes() {
    let tar = Tar::new()
        .file("a", b"")
        .pax(&[("mtime", b"1")])
        .file("b", b"")
        .pax(&[("uid", b"x")])
        .file("c", b"")
        .end();
    let Err(Error::Tar(error)) = read(&tar) else {
        panic!()
    };
    assert_eq!(
        (error.entry, error.offset, error.path),
        (2, 4 * BLOCK as u64, None)
    );
}

/// microsandbox lost the root directory's metadata by skipping `./`.
#[test]
fn the_root_directory_has_an_entry() {
    for name in [&b"./"[..], b".", b"/", b"/."] {
        let (entry, _) = only(
            &Tar::new()
                .raw(Header::new(b'5', name).field(100, b"0000555\0"), b"")
                .end(),
        );
        assert!(entry.path.is_root());
        assert_eq!(entry.metadata.mode, 0o555);
    }
}

/// CVE-2021-29136 (umoci): the root as a symbolic link.
#[test]
fn the_root_can_only_be_a_directory() {
    for (typeflag, kind) in [
        (b'0', "file"),
        (b'1', "hard link"),
        (b'2', "symbolic link"),
        (b'3', "character device"),
        (b'6', "named pipe"),
    ] {
        for name in [&b"."[..], b"/."] {
            let tar = Tar::new()
                .raw(Header::new(typeflag, name).link(b"x"), b"")
                .end();
            assert_eq!(entry_fault(&tar), EntryFault::RootNotDirectory { kind });
        }
    }
}

#[test]
fn the_prefix_belongs_to_posix_headers_only() {
    let with_prefix = |header: Header| {
        only(&Tar::new().raw(header.field(345, b"some/where"), b"").end())
            .0
            .path
    };
    assert_eq!(
        with_prefix(Header::new(b'0', b"n")).as_bytes(),
        b"some/where/n"
    );
    assert_eq!(
        with_prefix(Header::new(b'0', b"n").magic(b"ustar\0\0\0")).as_bytes(),
        b"some/where/n"
    );
    assert_eq!(with_prefix(Header::gnu(b'0', b"n")).as_bytes(), b"n");
    assert_eq!(with_prefix(Header::v7(b'0', b"n")).as_bytes(), b"n");
}

/// star keeps access and change times in the last bytes of the prefix, where not every reader knows them.
#[test]
fn star_prefixes_end_before_the_times() {
    let star = |prefix: &[u8]| {
        let times = b"11111111111 22222222222 ";
        Header::new(b'0', b"n")
            .field(345, prefix)
            .field(476, times)
            .field(508, b"tar\0")
    };
    let (entry, _) = only(&Tar::new().raw(star(&[b'p'; 130]), b"").end());
    assert_eq!(
        entry.path.as_bytes(),
        ["p".repeat(130), "/n".into()].concat().as_bytes()
    );
    let tar = Tar::new().raw(star(&[b'p'; 131]), b"").end();
    assert_eq!(fault(&tar), TarFault::StarPrefix);
}

/// microsandbox refused these; Go and GNU tar read them.
#[test]
fn nul_version_ustar_headers_are_read() {
    let (entry, data) = only(
        &Tar::new()
            .member(Header::new(b'0', b"n").magic(b"ustar\0\0\0"), b"data")
            .end(),
    );
    assert_eq!(
        (entry.path.as_bytes(), &data[..]),
        (&b"n"[..], &b"data"[..])
    );
}

#[test]
fn headers_that_are_none() {
    let mut tar = Tar::new().file("a", b"data").file("b", b"").end();
    tar[2 * BLOCK] ^= 1;
    assert!(matches!(fault(&tar), TarFault::Checksum { .. }));
    let tar = Tar::new()
        .file("a", b"")
        .raw(Header::new(b'0', b"b").magic(b"ustar 00"), b"")
        .end();
    assert_eq!(
        fault(&tar),
        TarFault::Magic {
            magic: *b"ustar 00"
        }
    );
    for (offset, field) in [
        (100, "mode"),
        (108, "uid"),
        (116, "gid"),
        (124, "size"),
        (136, "mtime"),
    ] {
        let tar = Tar::new()
            .raw(Header::new(b'0', b"a").field(offset, b"00 00x"), b"")
            .end();
        assert!(
            matches!(fault(&tar), TarFault::Number { field: f, .. } if f == field),
            "{field}"
        );
    }
}

/// In the tar of a root filesystem nothing lies below that could be removed: left out, a file was lost without a word.
#[test]
fn reserved_names_are_errors_where_they_mean_nothing() {
    for name in [
        "d/.wh.x",
        ".wh..wh..opq",
        ".wh..wh.aufs",
        ".wh..wh.plnk/1.2",
        ".wh.d/x",
    ] {
        let tar = Tar::new().file("a", b"").file(name, b"real").end();
        let plain = Options {
            names: Names::Plain,
            ..Options::default()
        };
        let mut layer = LayerReader::new(Cursor::new(tar), Expected::nothing(), plain).unwrap();
        layer.next_entry().unwrap().unwrap();
        let Error::Entry(error) = layer.next_entry().unwrap_err() else {
            panic!("{name}");
        };
        assert_eq!(error.fault, EntryFault::ReservedName);
        assert_eq!(error.path.as_deref(), Some(name.as_bytes()));
    }
}
