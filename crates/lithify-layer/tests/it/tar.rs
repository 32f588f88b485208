//! The tar rules, one by one, on tars made byte by byte.

use std::io::Cursor;

use crate::support::{
    BLOCK, Header, Tar, decode, entry_fault, fault, fault_within, only, paths, read,
};
use lithify_layer::{
    BlobError, EntryFault, Error, Expected, LayerReader, Limits, Names, Options, TarFault,
};
use lithify_tar::{Limit, LimitExceeded};
use lithify_tree::{Device, EntryKind, PathError, Timestamp};

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

/// Image builders end tars in all of these ways; only the last is an archive that was cut or glued.
#[test]
fn ends_of_archives() {
    let tar = Tar::new().file("a", b"x");
    assert_eq!(paths(&tar.clone().0), ["a"]);
    assert_eq!(paths(&tar.clone().blocks(&[0; BLOCK]).0), ["a"]);
    assert_eq!(paths(&tar.clone().end()), ["a"]);
    assert_eq!(paths(&[tar.clone().end(), vec![0; 8192]].concat()), ["a"]);
    // What follows one zero block are zeros, however many.
    for zeros in [1, 100, BLOCK - 1] {
        let tar = [tar.clone().0, vec![0; BLOCK + zeros]].concat();
        assert_eq!(paths(&tar), ["a"], "{zeros}");
        let glued = [&tar[..], b"x"].concat();
        assert_eq!(fault(&glued), TarFault::StrayZeroBlock, "{zeros}");
    }
    assert_eq!(paths(&[0; 2 * BLOCK]), [""; 0]);
    assert_eq!(paths(b""), [""; 0]);
    assert_eq!(
        fault(&tar.clone().blocks(&[0; BLOCK]).file("b", b"").end()),
        TarFault::StrayZeroBlock
    );
    assert_eq!(
        fault(&Tar(vec![0; BLOCK]).file("b", b"").end()),
        TarFault::StrayZeroBlock
    );
    assert!(matches!(
        fault(&[tar.0.clone(), vec![0; 100]].concat()),
        TarFault::Truncated {
            what: "a header",
            missing: 412
        }
    ));
}

/// Zeros fill up the records of a tape, as many as a tool likes (GNU tar's `--blocking-factor`). Anything else is nothing to
/// Go and Python, entries to `tar --ignore-zeros`, and a filesystem to whoever mounts it.
#[test]
fn only_zeros_follow_the_end() {
    let first = Tar::new().file("a", b"").end();
    let tar = [first.clone(), vec![0; 100_001]].concat();
    let (entries, summary) = decode(&tar, Expected::nothing(), Limits::default()).unwrap();
    assert_eq!((entries.len(), summary.tar_size), (1, tar.len() as u64));
    assert_eq!(summary.diff_id, crate::support::sha256(&tar));

    let after = |at| TarFault::DataAfterEnd { at };
    let end = first.len() as u64;
    let second = Tar::new().file("hidden", b"").end();
    assert_eq!(fault(&[first.clone(), second].concat()), after(end));
    // As far behind as one likes, across the decoder's chunks, in a part of a block, and in front of nothing.
    for zeros in [1, 511, 512, 9_000, 300_000, 1_000_003] {
        let tar = [&first[..], &vec![0; zeros], b"x"].concat();
        assert_eq!(fault(&tar), after(end + zeros as u64));
    }
    assert_eq!(
        fault(&[&[0; 2 * BLOCK][..], b"no entries at all"].concat()),
        after(2 * BLOCK as u64)
    );
}

/// Filesystems that begin with zeros were tars without entries; one without the name of what it is helps nobody.
#[test]
fn other_formats_are_named() {
    let with = |at: usize, magic: &[u8]| {
        let mut blob = vec![0; 40_960];
        blob[at..at + magic.len()].copy_from_slice(magic);
        blob
    };
    for (blob, format) in [
        (with(1024, b"\xe2\xe1\xf5\xe0"), "an EROFS image"),
        (with(0, b"hsqs"), "a squashfs image"),
        (with(1080, b"\x53\xef"), "an ext2, ext3 or ext4 filesystem"),
        (with(32_769, b"CD001"), "an ISO 9660 image"),
        (with(0, b"070701"), "a cpio archive"),
    ] {
        let compressed = [
            blob.clone(),
            crate::support::gzip(&blob),
            crate::support::zstd(&blob),
        ];
        for blob in compressed {
            let error = decode(&blob, Expected::nothing(), Limits::default()).unwrap_err();
            let Error::Blob(BlobError::Foreign { format: found }) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(found.to_string(), format);
            assert!(error.to_string().contains(format), "{error}");
        }
    }
}

/// A compression inside another one is named as it is alone: it is not damage.
#[test]
fn what_is_compressed_twice_is_named() {
    let tar = Tar::new().file("a", b"x").0;
    let gzip = crate::support::gzip(&tar);
    let zstd = crate::support::zstd(&tar);
    let inner: [(&[u8], &str); 6] = [
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"PK\x03\x04\x14\0", "zip"),
        (b"\x04\x22\x4d\x18\x40", "lz4"),
        (&gzip, "gzip inside"),
        (&zstd, "zstd inside"),
    ];
    for (blob, name) in inner {
        for blob in [crate::support::gzip(blob), crate::support::zstd(blob)] {
            let error = decode(&blob, Expected::nothing(), Limits::default()).unwrap_err();
            assert!(!error.is_verification(), "{error}");
            assert!(
                matches!(&error, Error::Blob(BlobError::UnsupportedCompression { name: n }) if n.starts_with(name)),
                "{name}: {error:?}"
            );
        }
    }
    // A name that begins like one.
    let tar = Tar::new().file("BZh91AY", b"x").0;
    let blob = crate::support::gzip(&tar);
    decode(&blob, Expected::nothing(), Limits::default()).unwrap();
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

/// supermachine kept whatever came before the first error and called it the layer.
#[test]
fn truncated_tars_are_errors_wherever_they_end() {
    let tar = Tar::new()
        .file("a", &[1; 700])
        .pax(&[("mtime", b"1")])
        .file("b", b"y")
        .0;
    let whole: Vec<_> = [0, 1536, 3 * BLOCK + 1024 + 1024].into();
    for length in 0..tar.len() {
        let outcome = read(&tar[..length]);
        if whole.contains(&length) {
            assert!(outcome.is_ok(), "{length}");
        } else {
            assert!(outcome.is_err(), "{length}");
        }
    }
    assert!(matches!(
        fault(&tar[..600]),
        TarFault::Truncated {
            what: "file data",
            missing: 936
        }
    ));
    assert!(matches!(
        fault(&tar[..1300]),
        TarFault::Truncated {
            what: "padding",
            missing: 236
        }
    ));
    assert_eq!(
        fault(&tar[..2560]),
        TarFault::DanglingExtension {
            what: "a PAX header"
        }
    );
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

#[test]
fn limits_name_themselves() {
    let mut limits = Limits::default();
    let over = |limit, max, found| TarFault::Limit(LimitExceeded { limit, max, found });
    limits.entries = 2;
    let tar = Tar::new()
        .file("a", b"")
        .file("b", b"")
        .file("c", b"")
        .end();
    assert_eq!(fault_within(&tar, limits), over(Limit::Entries, 2, 3));
    limits.metadata_bytes = 100;
    let tar = Tar::new()
        .pax(&[("comment", &[b'x'; 50])])
        .member(Header::gnu(b'L', b"x"), &[b'x'; 60])
        .file("a", b"")
        .end();
    let fault = fault_within(&tar, limits);
    assert_eq!(fault, over(Limit::MetadataBytes, 100, 62 + 60));
    assert_eq!(
        fault.to_string(),
        "122 bytes of extended headers are over the limit of 100; raise `metadata_bytes` if the image is trusted"
    );
    let tar = Tar::new().global(&[("comment", &[b'x'; 100])]).end();
    assert_eq!(
        fault_within(&tar, limits),
        over(Limit::MetadataBytes, 100, 113)
    );
    limits.file_bytes = 9;
    assert_eq!(
        fault_within(&Tar::new().file("a", &[0; 10]).end(), limits),
        over(Limit::FileBytes, 9, 10)
    );
}

/// A header may announce anything; memory is taken for what is there.
#[test]
fn announced_sizes_allocate_nothing() {
    let mut limits = Limits::default();
    (limits.metadata_bytes, limits.file_bytes) = (u64::MAX, u64::MAX);
    for header in [
        Header::new(b'x', b"pax"),
        Header::new(b'g', b"pax"),
        Header::gnu(b'L', b"l"),
        Header::new(b'0', b"f"),
        Header::gnu(b'V', b"v"),
    ] {
        let header = header.field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
        let tar = Tar::new().raw(header, &[0; 100]).0;
        assert!(matches!(
            fault_within(&tar, limits),
            TarFault::Truncated { .. }
                | TarFault::NumberRange { .. }
                | TarFault::SizeWithoutData { .. }
        ));
    }
}

/// Unread data is skipped, however much was read before.
#[test]
fn data_may_be_left_unread() {
    let big = crate::support::noise(3 << 20, 1);
    let tar = Tar::new()
        .file("a", &big)
        .file("b", b"bb")
        .file("c", b"")
        .file("d", &big[..513])
        .end();
    let mut layer = lithify_layer::LayerReader::new(
        std::io::Cursor::new(tar),
        Expected::nothing(),
        lithify_layer::Options::default(),
    )
    .unwrap();
    layer.next_entry().unwrap().unwrap();
    let first = layer.next_data().unwrap().unwrap().to_vec();
    assert!(big.starts_with(&first));
    assert_eq!(layer.next_entry().unwrap().unwrap().path.as_bytes(), b"b");
    assert_eq!(layer.next_data().unwrap(), Some(&b"bb"[..]));
    assert_eq!(layer.next_data().unwrap(), None);
    assert_eq!(layer.next_data().unwrap(), None);
    assert_eq!(layer.next_entry().unwrap().unwrap().path.as_bytes(), b"c");
    assert_eq!(layer.next_data().unwrap(), None);
    assert_eq!(layer.finish().unwrap().entries, 4);
}

#[test]
fn a_failed_reader_stays_failed() {
    let mut tar = Tar::new().file("a", b"").file("b", b"").end();
    tar[BLOCK + 5] = 1;
    let mut layer = lithify_layer::LayerReader::new(
        std::io::Cursor::new(tar),
        Expected::nothing(),
        lithify_layer::Options::default(),
    )
    .unwrap();
    layer.next_entry().unwrap().unwrap();
    assert!(matches!(layer.next_entry(), Err(Error::Tar(_))));
    assert!(matches!(layer.next_entry(), Err(Error::Failed)));
    assert!(matches!(layer.next_data(), Err(Error::Failed)));
    assert!(matches!(layer.finish(), Err(Error::Failed)));
}
