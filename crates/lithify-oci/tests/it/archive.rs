//! The archive index: every format, and what its members are.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::support::archives::{content, fault, index};
use crate::support::*;
use lithify_cancel::CancelToken;
use lithify_oci::Limits;
use lithify_oci::archive::{Archive, Error, TarFault};
use lithify_oci::source::PathKind;

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
