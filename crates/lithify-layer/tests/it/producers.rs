//! Tars that other programs make of a directory, compared with the directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::support::{Bytes, expand, read};
use lithify_tree::{Device, Entry, EntryKind, Timestamp};

/// Makes a directory with everything in it that a tar can hold. Device nodes need root.
const MAKE: &str = r#"
import os, sys
os.chdir(sys.argv[1])
os.umask(0)
def file(name, data=b"", mode=0o644):
    with open(name, "wb") as f:
        f.write(data)
    os.chmod(name, mode)
file("plain", b"content\n")
file("empty")
file("setuid", b"script", 0o6755)
file("big", bytes(range(256)) * 5000)
os.link("plain", "hard")
os.symlink("/target/../kept verbatim/", "symlink")
os.symlink("t" * 150, "long-target")
os.mkdir("dir", 0o1777)
file("dir/inside", b"x")
os.makedirs("d" * 90 + "/" + "e" * 90 + "/" + "f" * 90)
file("d" * 90 + "/" + "e" * 90 + "/" + "f" * 90 + "/" + "g" * 200, b"deep")
file("n" * 100, b"exactly 100")
file("n" * 101, b"101")
file(b"caf\xe9 latin".decode("utf-8", "surrogateescape"), b"bytes")
file("\u00fcml\u00e4ut \u2603", b"utf8")
file("new\nline\ttab \\back", b"odd")
os.mkfifo("fifo", 0o600)
with open("sparse", "wb") as f:
    f.truncate(3 << 20)
    for at in range(10):
        f.seek((at * 300 + 17) << 10)
        f.write(b"data %d" % at * 300)
with open("hole", "wb") as f:
    f.truncate(1 << 20)
if os.geteuid() == 0:
    import stat
    os.mknod("null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod("disk", 0o640 | stat.S_IFBLK, os.makedev(259, 70000))
    os.chown("setuid", 12345, 54321)
    os.chown("big", 3000000, 4000000000)
    os.lchown("symlink", 7, 8)
    os.chmod("setuid", 0o6755)
os.utime("plain", ns=(0, 1700000000123456789))
os.utime("empty", ns=(0, 5_000_000_000))
os.utime("setuid", ns=(0, -1_500_000_000))
os.utime("dir", ns=(0, 1_000_000_001))
os.utime("symlink", ns=(0, 42_000_000_000), follow_symlinks=False)
if len(sys.argv) > 2:
    os.setxattr("plain", "user.text", b"value")
    os.setxattr("plain", "user.empty", b"")
    os.setxattr("plain", "user.binary", b"\0\n=\xff 5 a=b\n")
    os.setxattr("dir", "user.on-dir", b"d")
"#;

struct Source(tempfile::TempDir);

impl Source {
    /// `None`, said aloud, without Python.
    fn new(xattrs: bool) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let arguments: &[&str] = if xattrs {
            &["-c", MAKE, path, "xattrs"]
        } else {
            &["-c", MAKE, path]
        };
        let (_, errors, success) = crate::support::run("python3", arguments, b"")?;
        assert!(success, "{}", String::from_utf8_lossy(&errors));
        Some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What a format cannot hold.
#[derive(Clone, Copy, Default)]
struct Lacks {
    /// Fractions of a second and times before 1970.
    times: bool,
    /// Ids beyond 21 bits.
    ids: bool,
    /// Names and targets of more than 100 bytes, or 255 in two parts.
    long_names: bool,
    /// Holes; files with holes are dense.
    holes: bool,
    /// Devices, pipes.
    special_files: bool,
    /// Minor device numbers beyond 16 bits.
    devices: bool,
}

/// Compares entries with the directory they were made of.
fn compare(maker: &str, entries: &[(Entry, Bytes)], source: &Path, lacks: Lacks) {
    let by_path: BTreeMap<&[u8], &(Entry, Bytes)> =
        entries.iter().map(|e| (e.0.path.as_bytes(), e)).collect();
    let mut seen = 0;
    let mut directories = vec![source.to_owned()];
    while let Some(directory) = directories.pop() {
        for found in fs::read_dir(&directory).unwrap() {
            let path = found.unwrap().path();
            let name = path.strip_prefix(source).unwrap().as_os_str().as_bytes();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                directories.push(path.clone());
            }
            let shown = format!("{maker}: {}", name.escape_ascii());
            let Some((entry, data)) = by_path.get(name) else {
                let special = metadata.file_type().is_fifo()
                    || metadata.file_type().is_char_device()
                    || metadata.file_type().is_block_device();
                let long = name.len() > 97
                    || fs::read_link(&path).is_ok_and(|t| t.as_os_str().len() > 100);
                let left_out = lacks.long_names && long
                    || lacks.special_files && special
                    || lacks.ids && metadata.gid() > 1 << 21
                    || lacks.times && metadata.mtime() < 0;
                assert!(left_out, "{shown} is missing");
                continue;
            };
            seen += 1;
            compare_one(&shown, entry, data, &path, lacks, &by_path);
        }
    }
    let root = usize::from(by_path.contains_key(&b""[..]));
    assert_eq!(
        seen + root,
        entries.len(),
        "{maker} has entries that are not in the directory"
    );
}

fn compare_one(
    shown: &str,
    entry: &Entry,
    data: &Bytes,
    path: &Path,
    lacks: Lacks,
    all: &BTreeMap<&[u8], &(Entry, Bytes)>,
) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let file_type = metadata.file_type();
    let rdev = Device {
        major: (metadata.rdev() >> 8 & 0xfff) as u32,
        minor: (metadata.rdev() & 0xff | metadata.rdev() >> 12 & !0xff) as u32,
    };
    match &entry.kind {
        EntryKind::HardLink { target } => {
            let (first, _) = all[target.as_bytes()];
            assert!(matches!(first.kind, EntryKind::File { .. }), "{shown}");
            assert_eq!(metadata.nlink(), 2, "{shown}");
            return;
        }
        EntryKind::File { size, segments } => {
            assert!(file_type.is_file(), "{shown}");
            assert_eq!(*size, metadata.len(), "{shown}");
            assert!(expand(entry, data) == fs::read(path).unwrap(), "{shown}");
            if path.ends_with("sparse") || path.ends_with("hole") {
                assert_eq!(segments.is_some(), !lacks.holes, "{shown}");
            }
        }
        EntryKind::Directory => assert!(file_type.is_dir(), "{shown}"),
        EntryKind::Symlink { target } => {
            let expected = fs::read_link(path).unwrap();
            let expected = expected.as_os_str().as_bytes();
            // GNU tar cuts it in v7 archives.
            assert!(
                target == expected || lacks.long_names && expected.starts_with(target),
                "{shown}"
            );
        }
        EntryKind::CharDevice(device) => {
            assert!(file_type.is_char_device() && *device == rdev, "{shown}")
        }
        EntryKind::BlockDevice(device) => {
            assert!(
                file_type.is_block_device() && (*device == rdev || lacks.devices),
                "{shown} {device:?} {rdev:?}"
            );
        }
        EntryKind::Fifo => assert!(file_type.is_fifo(), "{shown}"),
        other => panic!("{shown}: {other:?}"),
    }
    if !file_type.is_symlink() {
        assert_eq!(
            u32::from(entry.metadata.mode),
            metadata.mode() & 0o7777,
            "{shown}"
        );
    }
    if !(lacks.ids && metadata.gid() > 1 << 21) {
        assert_eq!(
            (entry.metadata.uid, entry.metadata.gid),
            (metadata.uid(), metadata.gid()),
            "{shown}"
        );
    }
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap();
    let mtime = Timestamp {
        seconds: metadata.mtime(),
        nanoseconds,
    };
    if lacks.times {
        if mtime.seconds >= 0 {
            assert_eq!(
                entry.metadata.mtime,
                Timestamp {
                    nanoseconds: 0,
                    ..mtime
                },
                "{shown}"
            );
        }
    } else if shown.starts_with("bsdtar") && mtime.seconds < 0 {
        // libarchive 3.6 writes -2 s and 500 000 000 ns as -2.5, which is another time (POSIX pax, "mtime").
        assert_eq!(
            entry.metadata.mtime,
            Timestamp {
                seconds: mtime.seconds - 1,
                ..mtime
            },
            "{shown}"
        );
    } else {
        assert_eq!(entry.metadata.mtime, mtime, "{shown}");
    }
}

/// What a program writes to its standard output. Some warn and fail about what a format cannot hold, so success is not asked for.
fn archive(program: &str, arguments: &[&str], source: &Path) -> Option<Vec<u8>> {
    match Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(source)
        .output()
    {
        Ok(output) => Some(output.stdout),
        Err(_) => {
            eprintln!("skipped: needs {program}");
            None
        }
    }
}

#[test]
fn gnu_tar() {
    let Some(source) = Source::new(false) else {
        return;
    };
    let dense = Lacks {
        holes: true,
        ..Lacks::default()
    };
    let whole_seconds = Lacks {
        times: true,
        ..Lacks::default()
    };
    let ustar = Lacks {
        times: true,
        ids: true,
        long_names: true,
        holes: true,
        ..Lacks::default()
    };
    let v7 = Lacks {
        special_files: true,
        ..ustar
    };
    let cases: [(&[&str], Lacks); 9] = [
        (&["--format=v7"], v7),
        (&["--format=ustar"], ustar),
        (&["--format=oldgnu", "--sparse"], whole_seconds),
        (&["--format=gnu", "--sparse"], whole_seconds),
        (
            &["--format=gnu"],
            Lacks {
                times: true,
                ..dense
            },
        ),
        (&["--format=posix"], dense),
        (
            &["--format=posix", "--sparse", "--sparse-version=0.0"],
            Lacks::default(),
        ),
        (
            &["--format=posix", "--sparse", "--sparse-version=0.1"],
            Lacks::default(),
        ),
        (
            &["--format=posix", "--sparse", "--sparse-version=1.0"],
            Lacks::default(),
        ),
    ];
    for (options, lacks) in cases {
        let arguments = [
            &["--create", "--file=-", "--numeric-owner"],
            options,
            &["."],
        ]
        .concat();
        let Some(tar) = archive("tar", &arguments, source.path()) else {
            return;
        };
        let maker = options.join(" ");
        let entries = read(&tar).unwrap_or_else(|e| panic!("{maker}: {e}"));
        compare(&maker, &entries, source.path(), lacks);
    }
}

#[test]
fn gnu_tar_with_labels_and_global_headers() {
    let Some(source) = Source::new(false) else {
        return;
    };
    for options in [
        &["--format=gnu", "--label=A LABEL"][..],
        &["--format=posix", "--label=A LABEL"],
        &[
            "--format=posix",
            "--pax-option=globexthdr.name=g,comment=hello",
        ],
        &[
            "--format=posix",
            "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
        ],
    ] {
        let arguments = [
            &["--create", "--file=-", "--numeric-owner"],
            options,
            &["."],
        ]
        .concat();
        let Some(tar) = archive("tar", &arguments, source.path()) else {
            return;
        };
        let maker = options.join(" ");
        let times = options[0] == "--format=gnu";
        let entries = read(&tar).unwrap_or_else(|e| panic!("{maker}: {e}"));
        compare(
            &maker,
            &entries,
            source.path(),
            Lacks {
                times,
                holes: true,
                ..Lacks::default()
            },
        );
    }
}

#[test]
fn bsdtar() {
    let Some(source) = Source::new(false) else {
        return;
    };
    let ustar = Lacks {
        times: true,
        ids: true,
        long_names: true,
        holes: true,
        ..Lacks::default()
    };
    for (format, lacks) in [
        ("ustar", ustar),
        (
            "gnutar",
            Lacks {
                times: true,
                holes: true,
                ..Lacks::default()
            },
        ),
        ("pax", Lacks::default()),
        (
            "v7",
            Lacks {
                special_files: true,
                ..ustar
            },
        ),
    ] {
        let format_option = format!("--format={format}");
        let Some(tar) = archive(
            "bsdtar",
            &["-c", "-f", "-", "--numeric-owner", &format_option, "."],
            source.path(),
        ) else {
            return;
        };
        let entries = read(&tar).unwrap_or_else(|e| panic!("bsdtar {format}: {e}"));
        compare(&format!("bsdtar {format}"), &entries, source.path(), lacks);
    }
}

#[test]
fn python() {
    const SCRIPT: &str = "
import sys, tarfile
tar = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1]))
tar.add('.')
tar.close()";
    let Some(source) = Source::new(false) else {
        return;
    };
    let names = ["sparse", "hole"];
    for (format, lacks) in [
        (
            "GNU_FORMAT",
            Lacks {
                times: true,
                holes: true,
                ..Lacks::default()
            },
        ),
        (
            "PAX_FORMAT",
            Lacks {
                holes: true,
                times: true,
                ..Lacks::default()
            },
        ),
    ] {
        let Some(tar) = archive("python3", &["-c", SCRIPT, format], source.path()) else {
            return;
        };
        let mut entries = read(&tar).unwrap_or_else(|e| panic!("python {format}: {e}"));
        // It keeps times as floating-point numbers.
        for (entry, _) in &mut entries {
            entry.metadata.mtime.nanoseconds = 0;
        }
        assert!(names.iter().all(|name| {
            entries
                .iter()
                .any(|(e, _)| e.path.as_bytes() == name.as_bytes())
        }));
        compare(&format!("python {format}"), &entries, source.path(), lacks);
    }
}

#[test]
fn extended_attributes() {
    let Some(source) = Source::new(true) else {
        return;
    };
    let expected: [(&str, &[u8], &[u8]); 4] = [
        ("plain", b"user.text", b"value"),
        ("plain", b"user.empty", b""),
        ("plain", b"user.binary", b"\0\n=\xff 5 a=b\n"),
        ("dir", b"user.on-dir", b"d"),
    ];
    for (program, arguments) in [
        (
            "tar",
            &[
                "--create",
                "--file=-",
                "--format=posix",
                "--xattrs",
                "--xattrs-include=*",
                ".",
            ][..],
        ),
        (
            "bsdtar",
            &["-c", "-f", "-", "--format=pax", "--xattrs", "."],
        ),
    ] {
        let Some(tar) = archive(program, arguments, source.path()) else {
            return;
        };
        let entries = read(&tar).unwrap_or_else(|e| panic!("{program}: {e}"));
        for (path, name, value) in expected {
            let find = |path: &[u8]| {
                &entries
                    .iter()
                    .find(|(e, _)| e.path.as_bytes() == path)
                    .unwrap()
                    .0
            };
            let mut entry = find(path.as_bytes());
            if let EntryKind::HardLink { target } = &entry.kind {
                entry = find(target.as_bytes());
            }
            // libarchive leaves attributes out that have no bytes.
            if program == "bsdtar" && value.is_empty() && entry.metadata.xattrs.get(name).is_none()
            {
                continue;
            }
            assert_eq!(
                entry.metadata.xattrs.get(name),
                Some(value),
                "{program} {path} {}",
                name.escape_ascii()
            );
        }
    }
}
