//! The archive index: every format, and everything that must be refused.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use crate::support::*;
use lithify_cancel::CancelToken;
use lithify_oci::Limits;
use lithify_oci::archive::{Archive, Error, TarFault};
use lithify_oci::source::PathKind;

fn index(bytes: Vec<u8>) -> Result<Archive, Error> {
    Archive::from_bytes(bytes, &Limits::default())
}

/// What the parser refuses, here as in a layer.
fn fault(bytes: Vec<u8>) -> TarFault {
    match index(bytes) {
        Err(Error::Tar(error)) => error.fault,
        other => panic!("{other:?}"),
    }
}

fn content(archive: &Archive, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive
        .open_entry(name)
        .unwrap()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn names_links_and_duplicates() {
    let tar = Tar::new()
        .dir("./")
        .dir("./a/")
        .file("./a/one", b"1")
        .file("/abs", b"abs")
        .symlink("b/link", "../a/one")
        .symlink("b/chain", "link")
        .hardlink("hard", "./a/one")
        .hardlink("b/soft", "b/link")
        .file("a/one", b"later")
        .symlink("loop", "loop")
        .symlink("out", "../../etc/passwd")
        .symlink("dir", "a")
        .member(b'6', "fifo", "", b"")
        .end();
    let archive = index(tar).unwrap();
    assert_eq!(content(&archive, "a/one"), b"later");
    assert_eq!(content(&archive, "abs"), b"abs");
    assert_eq!(content(&archive, "b/chain"), b"later");
    assert_eq!(content(&archive, "hard"), b"1");
    assert_eq!(content(&archive, "b/soft"), b"later");
    assert!(archive.open_entry("nothing").unwrap().is_none());
    assert!(matches!(
        archive.open_entry("loop"),
        Err(Error::LinkLoop { .. })
    ));
    assert!(matches!(
        archive.open_entry("out"),
        Err(Error::LinkEscapes { .. })
    ));
    for name in ["fifo", "a", "dir"] {
        assert!(
            matches!(archive.open_entry(name), Err(Error::NotRegular { .. })),
            "{name}"
        );
    }
    for name in ["/abs", "../abs", "a/../abs", "", "a\0"] {
        assert!(
            matches!(archive.open_entry(name), Err(Error::PathEscapes { .. })),
            "{name}"
        );
    }
    let long = (0..60).fold(Tar::new(), |tar, i| {
        tar.symlink(&format!("{i}"), &format!("{}", i + 1))
    });
    let archive = index(long.file("60", b"x").end()).unwrap();
    assert!(matches!(
        archive.open_entry("0"),
        Err(Error::LinkLoop { .. })
    ));
    assert_eq!(content(&archive, "21"), b"x");
}

#[test]
fn truncated_at_every_byte() {
    let tar = Tar::new()
        .member(b'x', "pax", "", &pax(&[("path", "long/name")]))
        .file("short", &[7; 700])
        .member(b'L', "././@LongLink", "", b"longer\0")
        .file("x", b"y")
        .end();
    assert_eq!(index(tar.clone()).unwrap().len(), 2);
    let last = tar.len() - 512;
    // Behind the first member, which is as long as its data needs: no end mark is needed there, nor behind the second.
    let (first, second) = (512 + 512 + 512 + 1024, last - 512);
    for length in 0..tar.len() {
        let result = index(tar[..length].to_vec());
        match length {
            _ if length == first => assert_eq!(result.unwrap().len(), 1),
            _ if length == second => assert_eq!(result.unwrap().len(), 2),
            // One block of zeroes is enough at the very end.
            _ if length >= last => assert!(result.is_ok(), "{length}"),
            1..512 => assert!(matches!(result, Err(Error::NotTar)), "{length}"),
            // Right behind an extended header, which describes nothing then.
            _ if length == 1024 || length == first + 1024 => assert!(
                matches!(&result, Err(Error::Tar(e)) if matches!(e.fault, TarFault::DanglingExtension { .. })),
                "{length}: {result:?}"
            ),
            _ => assert!(
                matches!(result, Err(Error::Truncated { .. })),
                "{length}: {result:?}"
            ),
        }
    }
}

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

/// One rule for layers and archives, which is that of GNU tar, libarchive, Python and Go: refused in archives only, it was
/// another reading of the same bytes.
#[test]
fn the_last_of_repeated_keys_counts() {
    let dir = tempfile::tempdir().unwrap();
    let tar = |records| {
        Tar::new()
            .member(b'x', "pax", "", &pax(records))
            .file("name", b"12")
            .file("next", b"x")
            .end()
    };
    for (case, (records, name)) in [
        (&[("path", "first"), ("path", "second")][..], "second"),
        (&[("size", "1024"), ("size", "2")], "name"),
        // An empty value takes the record back (POSIX).
        (&[("path", "first"), ("path", "")], "name"),
    ]
    .into_iter()
    .enumerate()
    {
        let archive = index(tar(records)).unwrap();
        assert_eq!(content(&archive, name), b"12", "{records:?}");
        assert_eq!(content(&archive, "next"), b"x", "{records:?}");
        assert_eq!(archive.len(), 2);
        if case < 2 {
            let path = dir.path().join(format!("{case}.tar"));
            fs::write(&path, tar(records)).unwrap();
            let Some(python) = python_listing(&path) else {
                return;
            };
            assert_eq!(archive.files(), python);
        }
    }
    let tar = Tar::new()
        .file("a", b"1")
        .member(
            b'x',
            "pax",
            "",
            &pax(&[("linkpath", "gone"), ("linkpath", "a")]),
        )
        .symlink("l", "")
        .end();
    assert_eq!(content(&index(tar).unwrap(), "l"), b"1");
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn open_bytes(bytes: &[u8], limits: &Limits) -> Result<Archive, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    Archive::open(file.path(), limits)
}

#[test]
fn compressed_archives() {
    let tar = Tar::new().file("a", &[b'a'; 100_000]).file("b", b"b").end();
    let zstd = zstd::encode_all(tar.as_slice(), 3).unwrap();
    let (head, tail) = tar.split_at(70_000);
    let members = [gzip(head), gzip(tail)].concat();
    let frames = [
        zstd::encode_all(head, 1).unwrap(),
        zstd::encode_all(tail, 1).unwrap(),
    ]
    .concat();
    let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd].concat();
    let limits = Limits::default();
    for bytes in [&tar, &gzip(&tar), &zstd, &members, &frames, &skippable] {
        let archive = open_bytes(bytes, &limits).unwrap();
        assert_eq!(content(&archive, "a"), [b'a'; 100_000]);
        assert_eq!(content(&archive, "b"), b"b");
    }
    for bytes in [&gzip(&tar), &zstd] {
        let mut small = limits.clone();
        small.spool_bytes = 50_000;
        assert!(matches!(
            open_bytes(bytes, &small),
            Err(Error::TooLarge { limit: 50_000 })
        ));
        let cut = &bytes[..bytes.len() - 5];
        assert!(matches!(
            open_bytes(cut, &limits),
            Err(Error::Decompress { .. })
        ));
        let mut corrupt = bytes.clone();
        let middle = corrupt.len() / 2;
        corrupt[middle] ^= 0xff;
        assert!(open_bytes(&corrupt, &limits).is_err());
    }
    for (magic, format) in [
        (&b"\xfd7zXZ\0"[..], "xz"),
        (b"BZh9", "bzip2"),
        (b"PK\x03\x04", "zip"),
    ] {
        let error = open_bytes(magic, &limits).unwrap_err();
        assert!(
            matches!(error, Error::Compression { format: found } if found == format),
            "{error:?}"
        );
    }
    assert!(matches!(
        open_bytes(b"", &limits),
        Err(Error::Truncated { .. })
    ));
    assert!(matches!(open_bytes(b"hello", &limits), Err(Error::NotTar)));
    assert!(matches!(
        open_bytes(&gzip(b"hello"), &limits),
        Err(Error::NotTar)
    ));
    // A tar whose first name is a magic number.
    let archive = open_bytes(&Tar::new().file("BZh9", b"x").end(), &limits).unwrap();
    assert_eq!(content(&archive, "BZh9"), b"x");
}

#[test]
fn wrong_kinds_of_file() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Archive::open(dir.path(), &Limits::default()),
        Err(Error::IsDirectory)
    ));
    assert!(matches!(
        Archive::open(&dir.path().join("x"), &Limits::default()),
        Err(Error::Io { .. })
    ));
}

/// `docker save … | gzip` into a pipe that a program reads by name.
#[test]
#[cfg(unix)]
fn pipes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let tar = Tar::new().file("a", &[b'a'; 300_000]).end();
    for bytes in [tar.clone(), gzip(&tar)] {
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, &bytes).unwrap());
            let archive = Archive::open(&path, &Limits::default()).unwrap();
            assert_eq!(content(&archive, "a").len(), 300_000);
        });
    }
}

/// Names, offsets and sizes as Python's `tarfile` sees them.
fn python_listing(path: &Path) -> Option<Vec<(Vec<u8>, u64, u64)>> {
    let script = "
import sys, tarfile
for m in tarfile.open(sys.argv[1], errors='surrogateescape'):
    if m.isreg():
        name = m.name.encode('utf-8', 'surrogateescape').hex()
        print(name, m.offset_data, m.size)
";
    let output = tool("python3", &["-c", script, path.to_str().unwrap()])?;
    let mut listing: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let [name, offset, size] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let name = (0..name.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&name[i..i + 2], 16).unwrap());
            (
                name.collect(),
                offset.parse().unwrap(),
                size.parse().unwrap(),
            )
        })
        .collect();
    listing.sort();
    Some(listing)
}

/// Archives of GNU tar in all its formats, and of Python, are indexed as Python reads them.
#[test]
fn agrees_with_gnu_tar_and_python() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let deep = tree.join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(tree.join("empty"), b"").unwrap();
    fs::write(tree.join("odd"), vec![b'o'; 513]).unwrap();
    fs::write(tree.join("even"), vec![b'e'; 1024]).unwrap();
    fs::write(tree.join("ümläut"), b"u").unwrap();
    fs::write(deep.join("f".repeat(60)), b"deep").unwrap();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        // v7 has no room for these names.
        if format != "v7" {
            fs::write(tree.join("n".repeat(99)), b"99").unwrap();
        }
        let path = dir.path().join(format!("{format}.tar"));
        let (path_str, tree_str) = (path.to_str().unwrap(), tree.to_str().unwrap());
        let exclude = match format {
            "v7" => "--exclude=d*",
            "ustar" => "--exclude=f*",
            _ => "--exclude=nothing",
        };
        let args = [
            "--format", format, exclude, "-cf", path_str, "-C", tree_str, ".",
        ];
        let Some(_) = tool("tar", &args) else { return };
        let Some(mut expected) = python_listing(&path) else {
            return;
        };
        for (name, ..) in &mut expected {
            *name = name.strip_prefix(b"./").unwrap_or(name).to_vec();
        }
        expected.sort();
        let archive = Archive::open(&path, &Limits::default()).unwrap();
        assert_eq!(archive.files(), expected, "{format}");
        assert!(!expected.is_empty());
    }
    let script = "
import sys, tarfile, io
fmt = getattr(tarfile, sys.argv[2] + '_FORMAT')
with tarfile.open(sys.argv[1], 'w', format=fmt, pax_headers={'comment': 'global'} if fmt == tarfile.PAX_FORMAT else None) as t:
    def add(name, data, **kw):
        i = tarfile.TarInfo(name); i.size = len(data)
        for k, v in kw.items(): setattr(i, k, v)
        t.addfile(i, io.BytesIO(data))
    add('plain', b'p' * 600)
    add('x' * 90 + '/' + 'y' * 90, b'long', mtime=1.5 if fmt == tarfile.PAX_FORMAT else 1)
    if fmt != tarfile.USTAR_FORMAT:
        add('z/' * 200 + 'end', b'longer', uid=1 << 40)
";
    for format in ["USTAR", "GNU", "PAX"] {
        let path = dir.path().join(format!("{format}.tar"));
        let Some(_) = tool("python3", &["-c", script, path.to_str().unwrap(), format]) else {
            return;
        };
        let archive = Archive::open(&path, &Limits::default()).unwrap();
        assert_eq!(archive.files(), python_listing(&path).unwrap(), "{format}");
    }
}

/// Nothing to some readers, further files to others: which image it is would depend on who reads it.
#[test]
fn only_zeros_follow_the_end() {
    let tar = Tar::new().file("a", b"1").end();
    let length = tar.len() as u64;
    for zeros in [0, 1, 512, 70_000] {
        let padded = [&tar[..], &vec![0; zeros]].concat();
        assert_eq!(index(padded.clone()).unwrap().len(), 1);
        let more = [padded, Tar::new().file("b", b"2").end()].concat();
        let at = length + zeros as u64;
        assert_eq!(fault(more), TarFault::DataAfterEnd { at });
    }
}

/// A look at what a file is does not depend on how long it is, and a hole is known to be zeros.
#[cfg(target_os = "linux")]
#[test]
fn a_sparse_file_is_looked_at_and_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.img");
    // More than can be read while anybody waits.
    let length = 1 << 40;
    let file = fs::File::create(&path).unwrap();
    file.set_len(length).unwrap();
    assert_eq!(PathKind::of(&path), PathKind::Other);
    let tar = Tar::new().file("manifest.json", b"1").end();
    fs::write(&path, tar).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length)
        .unwrap();
    assert_eq!(PathKind::of(&path), PathKind::DockerArchive);
    let archive = Archive::open(&path, &Limits::default()).unwrap();
    assert_eq!(content(&archive, "manifest.json"), b"1");
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", length - 1).unwrap();
    let opened = Archive::open(&path, &Limits::default());
    let at = length - 1;
    assert!(
        matches!(&opened, Err(Error::Tar(e)) if e.fault == TarFault::DataAfterEnd { at }),
        "{opened:?}"
    );
}

#[test]
fn an_archive_is_not_walked_once_the_work_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let tar = Tar::new().file("a", b"1").end();
    fs::write(&path, &tar).unwrap();
    let token = CancelToken::new();
    token.cancel();
    let limits = Limits::default();
    let opened = Archive::open_until(&path, &limits, &token);
    assert!(matches!(opened, Err(Error::Io { .. })), "{opened:?}");
    let received = Archive::from_reader_until(std::io::Cursor::new(tar), &limits, &token);
    assert!(matches!(received, Err(Error::Read { .. })), "{received:?}");
}
