//! Headers of archives: the rules of layers, and which ones the index refuses.

use crate::support::archives::{content, fault, index};
use crate::support::*;
use lithify_oci::Limits;
use lithify_oci::archive::{Archive, Error, TarFault};

#[test]
fn refused_headers() {
    let mut bad = header(b'0', "x", "", 0);
    bad[0] = b'y';
    assert!(matches!(index(bad.to_vec()), Err(Error::NotTar)));
    let first = || Tar::new().file("first", b"1");
    assert!(matches!(
        fault(first().raw(&bad).end()),
        TarFault::Checksum { .. }
    ));
    let mut text = header(b'0', "x", "", 0);
    text[124..136].copy_from_slice(b"garbage     ");
    seal(&mut text);
    assert!(matches!(
        fault(first().raw(&text).end()),
        TarFault::Number { field: "size", .. }
    ));
    let mut negative = header(b'0', "x", "", 0);
    negative[124..136].copy_from_slice(&[0xff; 12]);
    seal(&mut negative);
    assert!(matches!(
        fault(first().raw(&negative).end()),
        TarFault::NumberRange { field: "size", .. }
    ));
    let mut huge = header(b'0', "x", "", 0);
    huge[124..136].fill(0);
    huge[124] = 0x80;
    huge[128..136].copy_from_slice(&(i64::MAX as u64).to_be_bytes());
    seal(&mut huge);
    assert!(matches!(
        index(first().raw(&huge).end()),
        Err(Error::Truncated {
            what: "file data",
            ..
        })
    ));

    // A sparse file's header in a POSIX archive, whose map would lie in the prefix, and in a GNU one.
    let mut sparse = header(b'S', "s", "", 0);
    assert!(matches!(
        fault(first().raw(&sparse).end()),
        TarFault::TypeOutsideFormat { typeflag: b'S', .. }
    ));
    sparse[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut sparse);
    assert_eq!(fault(first().raw(&sparse).end()), TarFault::SparsePlacement);
    let sparse = pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")]);
    assert_eq!(
        fault(
            Tar::new()
                .member(b'x', "p", "", &sparse)
                .file("s", b"")
                .end()
        ),
        TarFault::SparsePlacement
    );
    for kind in [b'M', b'D', b'A', b'8', 0xff] {
        assert!(
            matches!(
                fault(first().member(kind, "s", "", b"").end()),
                TarFault::UnsupportedType { typeflag, .. } if typeflag == kind
            ),
            "{kind}"
        );
    }
    // Solaris' name for a PAX header, as in layers.
    let solaris = first()
        .member(b'X', "p", "", &pax(&[("path", "named")]))
        .file("x", b"2");
    assert_eq!(content(&index(solaris.end()).unwrap(), "named"), b"2");
    assert!(matches!(
        fault(first().member(b'X', "p", "", b"").end()),
        TarFault::DanglingExtension { .. }
    ));
    // GNU tar's label of a volume is nothing; with data, it is a member to others.
    let label = first().member(b'V', "label", "", b"").end();
    assert_eq!(index(label).unwrap().len(), 1);
    assert_eq!(
        fault(first().member(b'V', "manifest.json", "", b"[]").end()),
        TarFault::SizeWithoutData {
            kind: "volume label",
            size: 2
        }
    );
    for (kind, name) in [
        (b'1', "hard link"),
        (b'2', "symbolic link"),
        (b'3', "character device"),
        (b'4', "block device"),
        (b'5', "directory"),
        (b'6', "named pipe"),
    ] {
        // By a PAX record; a size in the header alone is that of something else, and no content follows.
        let tar = first()
            .member(b'x', "p", "", &pax(&[("size", "7")]))
            .member(kind, "s", "first", b"content")
            .end();
        assert_eq!(
            fault(tar),
            TarFault::SizeWithoutData {
                kind: name,
                size: 7
            }
        );
        let sized = first().raw(&header(kind, "s", "first", 7));
        assert_eq!(index(sized.file("x", b"y").end()).unwrap().len(), 3);
        let with_content = first().member(kind, "s", "first", b"content").end();
        assert!(matches!(fault(with_content), TarFault::Checksum { .. }));
    }
    for name in ["../x", "a/../../x", ".."] {
        assert!(
            matches!(
                index(first().file(name, b"").end()),
                Err(Error::Name { .. })
            ),
            "{name}"
        );
        assert!(
            matches!(
                index(first().hardlink("h", name).end()),
                Err(Error::Name { .. })
            ),
            "{name}"
        );
    }
    let lone = Tar::new().raw(&[0; 512]).file("hidden", b"").end();
    assert_eq!(fault(lone), TarFault::StrayZeroBlock);
}

/// What readers of tar have disagreed about: CVE-2025-62518, GHSA-3pv8-6f4r-ffg2 and the like.
#[test]
fn refused_extensions() {
    let x = |records: &[(&str, &str)]| Tar::new().member(b'x', "pax", "", &pax(records));
    let refused = |tar: Tar| fault(tar.file("x", b"").end());
    let twice = |tar| matches!(refused(tar), TarFault::DuplicateExtension { .. });
    let differ = |tar: Tar| match fault(tar.symlink("x", "to").end()) {
        TarFault::ConflictingNames { key } => key,
        other => panic!("{other:?}"),
    };
    let global = |tar| matches!(refused(tar), TarFault::GlobalKey { .. });
    assert!(twice(x(&[("path", "a")]).member(
        b'x',
        "pax",
        "",
        &pax(&[("path", "b")])
    )));
    assert!(twice(
        Tar::new()
            .member(b'L', "l", "", b"a\0")
            .member(b'L', "l", "", b"b\0"),
    ));
    assert_eq!(
        differ(x(&[("path", "a")]).member(b'L', "l", "", b"b\0")),
        "path"
    );
    assert_eq!(
        differ(x(&[("linkpath", "a")]).member(b'K', "l", "", b"b\0")),
        "linkpath"
    );
    for key in ["path", "linkpath", "GNU.sparse.name", "SCHILY.xattr.user.a"] {
        assert!(
            global(Tar::new().member(b'g', "g", "", &pax(&[(key, "a")]))),
            "{key}"
        );
    }
    assert!(global(Tar::new().member(
        b'g',
        "g",
        "",
        &pax(&[("size", "0")])
    )));
    for (tar, what) in [
        (x(&[("path", "a")]), "a PAX header"),
        (
            Tar::new().member(b'K', "l", "", b"a\0"),
            "a GNU long link target",
        ),
    ] {
        assert_eq!(fault(tar.end()), TarFault::DanglingExtension { what });
    }
    for records in [&b"9 path=x"[..], b"path=x\n", b"99 path=x\n"] {
        assert!(matches!(
            refused(Tar::new().member(b'x', "p", "", records)),
            TarFault::PaxRecord { .. }
        ));
    }
    assert!(matches!(
        refused(Tar::new().member(b'L', "l", "", b"a\0b")),
        TarFault::LongNameNul { .. }
    ));
    let nul = x(&[("path", "a\0b")]).file("x", b"").end();
    assert!(matches!(index(nul), Err(Error::Name { .. })));
    let big = Tar::new().raw(&header(b'x', "p", "", 2 << 20)).end();
    assert!(matches!(
        index(big),
        Err(Error::ExtensionTooLarge {
            offset: 0,
            found: 2_097_152,
            limit: 1_048_576
        })
    ));
}

/// Magic, star's prefix and numbers are read as in layers.
#[test]
fn headers_are_those_of_layers() {
    let with = |change: &dyn Fn(&mut [u8; 512])| {
        let mut block = header(b'0', "n", "", 0);
        change(&mut block);
        seal(&mut block);
        Tar::new().file("first", b"1").raw(&block).end()
    };
    let named = |tar: Vec<u8>, name: &str| {
        let files = index(tar).unwrap().files();
        assert!(files.iter().any(|file| file.0 == name.as_bytes()), "{name}");
    };
    named(with(&|b| b[345..348].copy_from_slice(b"dir")), "dir/n");
    // GNU and v7 have no prefix.
    let gnu = |b: &mut [u8; 512]| {
        b[257..265].copy_from_slice(b"ustar  \0");
        b[345..348].copy_from_slice(b"dir");
    };
    named(with(&gnu), "n");
    let v7 = |b: &mut [u8; 512]| {
        b[257..265].fill(0);
        b[345..348].copy_from_slice(b"dir");
    };
    named(with(&v7), "n");
    let star = |b: &mut [u8; 512]| {
        b[345..476].fill(b'p');
        b[508..].copy_from_slice(b"tar\0");
    };
    assert_eq!(fault(with(&star)), TarFault::StarPrefix);
    let unknown = |b: &mut [u8; 512]| b[257..265].copy_from_slice(b"ustar 00");
    let magic = *b"ustar 00";
    assert_eq!(fault(with(&unknown)), TarFault::Magic { magic });
    let garbage = |b: &mut [u8; 512]| b[136..148].copy_from_slice(b"yesterday   ");
    assert!(matches!(
        fault(with(&garbage)),
        TarFault::Number { field: "mtime", .. }
    ));
    let slash = |b: &mut [u8; 512]| b[1] = b'/';
    assert_eq!(fault(with(&slash)), TarFault::TrailingSlash);
}

/// The PAX size is the size, for the member and not for an extension between the two.
#[test]
fn pax_sizes() {
    let inner = Tar::new().file("smuggled", b"evil").end();
    let size = inner.len().to_string();
    let mut tar = Tar::new().member(b'x', "p", "", &pax(&[("size", &size)]));
    tar = tar
        .raw(&header(b'0', "outer", "", 0))
        .raw(&inner)
        .file("after", b"");
    let archive = index(tar.end()).unwrap();
    assert_eq!(content(&archive, "outer"), inner);
    assert!(archive.open_entry("smuggled").unwrap().is_none());
    assert_eq!(archive.len(), 2);

    let tar = Tar::new()
        .member(b'x', "p", "", &pax(&[("size", "2048")]))
        .member(b'L', "././@LongLink", "", b"long name\0")
        .raw(&header(b'0', "short", "", 0))
        .raw(&[b'c'; 2048])
        .end();
    let archive = index(tar).unwrap();
    assert_eq!(content(&archive, "long name"), [b'c'; 2048]);
}

#[test]
fn entry_limit() {
    let tar = (0..20)
        .fold(Tar::new(), |tar, i| tar.file(&format!("{i}"), b""))
        .end();
    let mut limits = Limits::default();
    limits.archive_entries = 20;
    assert!(Archive::from_bytes(tar.clone(), &limits).is_ok());
    limits.archive_entries = 19;
    assert!(matches!(
        Archive::from_bytes(tar.clone(), &limits),
        Err(Error::TooManyEntries { limit: 19 })
    ));
    limits = Limits::default();
    limits.archive_names = 29;
    assert!(matches!(
        Archive::from_bytes(tar, &limits),
        Err(Error::TooManyNames { limit: 29 })
    ));
    let long = |n: usize| {
        let name = "n".repeat(n);
        Tar::new()
            .member(b'x', "p", "", &pax(&[("path", &name)]))
            .file("x", b"")
            .end()
    };
    assert!(index(long(4096)).is_ok());
    assert!(matches!(
        index(long(4097)),
        Err(Error::NameTooLong { found: 4097, .. })
    ));
}
