//! The tar writer: what it writes, everyone reads.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::support::oracles::{self, members};
use crate::support::{Bytes, read};
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{DataSegment, Device, Entry, EntryKind, Metadata, Timestamp, TreePath, Xattrs};
use proptest::prelude::*;

fn entry(path: &[u8], kind: EntryKind) -> Entry {
    Entry {
        path: TreePath::clean(path).unwrap(),
        metadata: Metadata {
            mode: 0o644,
            ..Metadata::default()
        },
        kind,
    }
}

fn file(path: &[u8], size: u64) -> Entry {
    entry(
        path,
        EntryKind::File {
            size,
            segments: None,
        },
    )
}

/// With maps of sparse files, so that everything reads back as it is.
fn write(entries: &[(Entry, Bytes)]) -> Vec<u8> {
    write_with(Holes::Map, entries)
}

fn write_with(holes: Holes, entries: &[(Entry, Bytes)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new()).holes(holes);
    for (entry, data) in entries {
        writer.append(entry).unwrap();
        for piece in data.chunks(1000) {
            writer.data(piece).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn sparse(path: &[u8], size: u64, segments: &[(u64, u64)]) -> Entry {
    let segments = segments
        .iter()
        .map(|&(offset, length)| DataSegment { offset, length });
    let segments = Some(segments.collect());
    entry(path, EntryKind::File { size, segments })
}

/// One of everything a tar can hold, at the edges of its fields.
fn samples() -> Vec<(Entry, Bytes)> {
    let none = || Bytes(Vec::new());
    let device = Device {
        major: 259,
        minor: 70_000,
    };
    let mut samples = vec![
        (entry(b"/", EntryKind::Directory), none()),
        (entry(b"dir", EntryKind::Directory), none()),
        (file(b"empty", 0), none()),
        (file(b"data", 1000), Bytes(crate::support::noise(1000, 1))),
        (file(b"block", 512), Bytes(crate::support::noise(512, 1))),
        (
            entry(
                b"link",
                EntryKind::HardLink {
                    target: TreePath::clean(b"data").unwrap(),
                },
            ),
            none(),
        ),
        (
            entry(
                b"symlink",
                EntryKind::Symlink {
                    target: b"/../x/".to_vec(),
                },
            ),
            none(),
        ),
        (entry(b"char", EntryKind::CharDevice(device)), none()),
        (
            entry(b"block-device", EntryKind::BlockDevice(device)),
            none(),
        ),
        (entry(b"fifo", EntryKind::Fifo), none()),
        (file(b"caf\xe9", 0), none()),
        (file("\u{fc}ml\u{e4}ut".as_bytes(), 0), none()),
    ];
    for length in [99, 100, 101, 155, 156, 200, 255] {
        let name = |first: &[u8]| [first, &vec![b'n'; length - 1]].concat();
        samples.push((file(&name(b"f"), 0), none()));
        samples.push((entry(&name(b"d")[1..], EntryKind::Directory), none()));
        samples.push((
            entry(&name(b"l"), EntryKind::Symlink { target: name(b"t") }),
            none(),
        ));
        samples.push((
            file(&[&name(b"p"), &b"/caf\xe9/"[..], &name(b"")].concat(), 0),
            none(),
        ));
    }
    for (uid, gid) in [(0o7777777, 0o10000000), (u32::MAX, u32::MAX - 1)] {
        let mut owned = file(format!("owned-{uid}").as_bytes(), 0);
        (owned.metadata.uid, owned.metadata.gid, owned.metadata.mode) = (uid, gid, 0o7777);
        samples.push((owned, none()));
    }
    for (seconds, nanoseconds) in [
        (1, 0),
        (1, 1),
        (1, 500_000_000),
        (-1, 0),
        (-1, 1),
        (-2, 500_000_000),
        (0o77777777777, 0),
        (0o100000000000, 5),
        (-1 << 40, 0),
    ] {
        let mut timed = file(format!("at-{seconds}-{nanoseconds}").as_bytes(), 0);
        timed.metadata.mtime = Timestamp {
            seconds,
            nanoseconds,
        };
        samples.push((timed, none()));
    }
    let mut attributed = file(b"attributed", 3);
    attributed
        .metadata
        .xattrs
        .set(b"user.text", b"value")
        .unwrap();
    attributed.metadata.xattrs.set(b"user.empty", b"").unwrap();
    attributed
        .metadata
        .xattrs
        .set(
            b"security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        )
        .unwrap();
    attributed
        .metadata
        .xattrs
        .set(b"user.lines", b"5 a=b\n\n\xff")
        .unwrap();
    samples.push((attributed, Bytes(b"abc".to_vec())));
    for (name, size, segments) in [
        ("hole", 1 << 20, &[][..]),
        ("sparse", 1 << 20, &[(0, 512), (4096, 5120), (1 << 19, 1)]),
        ("sparse-end", 9000, &[(8192, 808)]),
    ] {
        let data = crate::support::noise(segments.iter().map(|s| s.1 as usize).sum(), 7);
        samples.push((sparse(name.as_bytes(), size, segments), Bytes(data)));
    }
    samples
}

#[test]
fn everything_reads_back() {
    let samples = samples();
    assert_eq!(read(&write(&samples)).unwrap(), samples);
}

#[test]
fn the_same_entries_are_the_same_bytes() {
    let samples = samples();
    let tar = write(&samples);
    assert_eq!(
        crate::support::sha256(&tar),
        crate::support::sha256(&write(&samples))
    );
    // The names of people and the time of day are nowhere.
    for header in tar.chunks(512).filter(|block| &block[257..262] == b"ustar") {
        assert_eq!(header[265..329], [0; 64]);
    }
}

/// Pinned: a change here changes the digest of every layer written.
#[test]
fn simple_entries_have_no_extended_headers() {
    let tar = write(&[
        (entry(b"d", EntryKind::Directory), Bytes(vec![])),
        (file(b"d/f", 5), Bytes(b"hello".to_vec())),
    ]);
    assert_eq!(tar.len(), 5 * 512);
    assert_eq!(
        crate::support::sha256(&tar).to_string(),
        "sha256:1af2b47a63258ad2f220fde556450d113b7a14b85fc86adef3ffffe70b51a7ec"
    );
}

#[test]
fn whiteouts_become_the_files_that_express_them() {
    let markers = [
        (entry(b"d/gone", EntryKind::Whiteout), ".wh.gone"),
        (entry(b"gone", EntryKind::Whiteout), ".wh.gone"),
        (entry(b"d", EntryKind::Opaque), "d/.wh..wh..opq"),
        (entry(b"", EntryKind::Opaque), ".wh..wh..opq"),
    ];
    for (mut marker, name) in markers {
        let tar = write(&[(marker.clone(), Bytes(vec![]))]);
        assert!(
            tar[..100].windows(name.len()).any(|w| w == name.as_bytes()),
            "{name}"
        );
        marker.metadata = Metadata::default();
        assert_eq!(read(&tar).unwrap(), [(marker, Bytes(vec![]))]);
    }
}

#[test]
fn what_no_tar_can_hold_leaves_the_writer_as_it_was() {
    let mut writer = TarWriter::new(Vec::new());
    assert!(matches!(
        writer.append(&entry(b"s", EntryKind::Socket)),
        Err(WriteError::Socket { .. })
    ));
    assert!(matches!(
        writer.append(&file(b".wh.x", 0)),
        Err(WriteError::ReservedName { .. })
    ));
    assert!(matches!(
        writer.append(&file(b".wh..wh.plnk/x", 0)),
        Err(WriteError::ReservedName { .. })
    ));
    let device = Device {
        major: 1 << 21,
        minor: 0,
    };
    assert!(matches!(
        writer.append(&entry(b"c", EntryKind::CharDevice(device))),
        Err(WriteError::Device { .. })
    ));
    for segments in [
        &[(5, 5), (7, 1)][..],
        &[(5, 6)],
        &[(u64::MAX, 5)],
        &[(0, 5), (6, 4)],
    ] {
        for holes in [Holes::Map, Holes::default()] {
            writer = writer.holes(holes);
            // What a map cannot say, zeros can.
            if holes != Holes::Map && segments == [(0, 5), (6, 4)] {
                continue;
            }
            assert!(matches!(
                writer.append(&sparse(b"s", 10, segments)),
                Err(WriteError::Segments { .. })
            ));
        }
    }
    writer.append(&file(b"f", 5)).unwrap();
    assert!(matches!(
        writer.append(&file(b"g", 5)),
        Err(WriteError::MissingData { missing: 5 })
    ));
    assert!(matches!(
        writer.data(b"123456"),
        Err(WriteError::ExtraData { extra: 1 })
    ));
    writer.data(b"123").unwrap();
    assert!(matches!(
        writer.append(&file(b"g", 5)),
        Err(WriteError::MissingData { missing: 2 })
    ));
    writer.data(b"45").unwrap();
    let tar = writer.finish().unwrap();
    assert_eq!(
        read(&tar).unwrap(),
        [(file(b"f", 5), Bytes(b"12345".to_vec()))]
    );
    let mut writer = TarWriter::new(Vec::new());
    writer.append(&file(b"f", 5)).unwrap();
    assert!(matches!(
        writer.finish(),
        Err(WriteError::MissingData { missing: 5 })
    ));
}

/// Only headers: eight gibibytes do not fit into eleven octal digits.
#[test]
fn files_of_eight_gibibytes() {
    for (size, blocks) in [((8u64 << 30) - 1, 1), (8 << 30, 3), (1 << 40, 3)] {
        let mut header = Vec::new();
        let mut writer = TarWriter::new(&mut header);
        writer.append(&file(b"big", size)).unwrap();
        assert_eq!(header.len(), blocks * 512, "{size}");
        let mut layer = lithify_layer::LayerReader::new(
            std::io::Cursor::new(header),
            lithify_layer::Expected::nothing(),
            lithify_layer::Options::default(),
        )
        .unwrap();
        assert_eq!(layer.next_entry().unwrap(), Some(file(b"big", size)));
    }
}

/// A sparse member is `GNUSparseFile.0/NAME` to whoever does not know the format: the `tar` crate, busybox, cpio.
#[test]
fn sparse_files_are_written_whole_unless_a_map_is_asked_for() {
    let samples: Vec<(Entry, Bytes)> = [
        ("hole", 1 << 20, &[][..]),
        ("sparse", 1 << 20, &[(0, 512), (4096, 5120), (1 << 19, 1)]),
        ("odd", 9000, &[(3, 5), (9, 1), (8191, 808)]),
        ("end", 9000, &[(8192, 808)]),
        ("no-hole", 700, &[(0, 300), (300, 400)]),
        ("nothing", 0, &[]),
        ("empty-segment", 600, &[(100, 0), (600, 0)]),
    ]
    .map(|(name, size, segments)| {
        let data = crate::support::noise(segments.iter().map(|s| s.1 as usize).sum(), 7);
        (sparse(name.as_bytes(), size, segments), Bytes(data))
    })
    .into();
    let tar = write_with(Holes::default(), &samples);
    let whole: Vec<(Entry, Bytes)> = samples
        .iter()
        .map(|(sparse, data)| {
            let data = crate::support::expand(sparse, data);
            (file(sparse.path.as_bytes(), data.len() as u64), Bytes(data))
        })
        .collect();
    // Not a byte differs from the tar of files without holes.
    assert!(tar == write(&whole));
    assert_eq!(read(&tar).unwrap(), whole);
    assert_eq!(oracles::tar_crate(&tar), Ok(members(&whole)));
    if let Some(found) = oracles::python(&tar) {
        assert_eq!(found, Some(members(&whole)));
    }
    let listing = ["-t", "-f", "-"];
    let names = "hole\nsparse\nodd\nend\nno-hole\nnothing\nempty-segment\n";
    for (program, arguments) in [
        ("busybox", &[&["tar"][..], &listing].concat()[..]),
        ("tar", &listing[..]),
    ] {
        if let Some((output, errors, success)) = crate::support::run(program, arguments, &tar) {
            let errors = String::from_utf8_lossy(&errors);
            assert!(success, "{program}: {errors}");
            assert_eq!(String::from_utf8_lossy(&output), names, "{program}");
        }
    }
}

/// Written whole, a file of one byte behind a hole of a tebibyte would fill a disk.
#[test]
fn holes_over_the_limit_are_refused_by_name() {
    let writer = TarWriter::new(Vec::new());
    let mut writer = writer.holes(Holes::Zeros { bytes_max: 5000 });
    writer.append(&sparse(b"a", 4001, &[(0, 1)])).unwrap();
    writer.data(b"a").unwrap();
    let error = writer
        .append(&sparse(b"var/log/lastlog", 1 << 40, &[]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/var/log/lastlog` has holes of 1099511627776 bytes, which would be written as zeros, and a tar may have 5000 of \
         those"
    );
    assert!(matches!(
        writer.append(&sparse(b"b", 1001, &[])),
        Err(WriteError::Holes {
            holes: 1001,
            limit: 5000,
            ..
        })
    ));
    // Files without holes are not meant, and what was refused does not count.
    writer.append(&sparse(b"c", 1000, &[])).unwrap();
    writer.append(&sparse(b"d", 9000, &[(0, 9000)])).unwrap();
    writer.data(&[1; 9000]).unwrap();
    assert_eq!(read(&writer.finish().unwrap()).unwrap().len(), 3);
    assert!(matches!(
        TarWriter::new(Vec::new()).append(&sparse(b"x", 1 << 40, &[])),
        Err(WriteError::Holes {
            limit: 0x10_0000_0000,
            ..
        })
    ));
}

/// Attributes set in the kernel, archived by one program and read by the other, in both directions.
#[test]
fn names_of_attributes_survive_gnu_tar_and_bsdtar() {
    use lithify_testkit::require;
    if !["setfattr", "getfattr", "tar", "bsdtar"]
        .iter()
        .all(|t| require::tool(t))
    {
        return;
    }
    let names: [&[u8]; 9] = [
        b"user.a=b",
        b"user.a%b",
        b"user.a%3Db",
        b"user.a%25b",
        b"user.a%3db",
        b"user.p=",
        b"user.=",
        b"user.new\nline",
        b"user.caf\xe9",
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    fs::write(&path, "").unwrap();
    let mut xattrs = Xattrs::new();
    for (number, name) in names.iter().enumerate() {
        let value = format!("{number}=%3D");
        let set = Command::new("setfattr")
            .arg("-n")
            .arg(std::ffi::OsStr::from_bytes(name))
            .args(["-v", &value])
            .arg(&path)
            .status()
            .unwrap();
        if !require::met(set.success(), "a filesystem with user attributes") {
            return;
        }
        xattrs.set(name, value.as_bytes()).unwrap();
    }
    let dump = |path: &std::path::Path| {
        let output = Command::new("getfattr")
            .args(["-d", "-m", "^user", "-e", "hex", "--absolute-names"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout.escape_ascii().to_string().into_bytes())
            .unwrap()
            .split_once("\\n")
            .unwrap()
            .1
            .to_owned()
    };
    let expected = dump(&path);
    let gnu = [
        "--xattrs",
        "--xattrs-include=*",
        "--format=pax",
        "-cf",
        "-",
        "f",
    ];
    for (program, arguments) in [
        ("tar", &gnu[..]),
        ("bsdtar", &["--xattrs", "--format", "pax", "-cf", "-", "f"]),
    ] {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}");
        let found = read(&output.stdout).unwrap();
        assert_eq!(found.len(), 1, "{program}");
        assert_eq!(found[0].0.metadata.xattrs, xattrs, "{program}");
    }
    let mut ours = file(b"f", 0);
    ours.metadata.xattrs = xattrs.clone();
    let tar = write(&[(ours.clone(), Bytes(Vec::new()))]);
    assert_eq!(read(&tar).unwrap()[0].0.metadata.xattrs, xattrs);
    fs::remove_file(&path).unwrap();
    let extract = ["--xattrs", "--xattrs-include=*", "-x", "-C"];
    let arguments = [
        &extract[..],
        &[directory.path().to_str().unwrap(), "-f", "-"],
    ]
    .concat();
    let (_, errors, success) = crate::support::run("tar", &arguments, &tar).unwrap();
    assert!(success, "{}", String::from_utf8_lossy(&errors));
    assert_eq!(dump(&path), expected);
}

#[test]
fn python_reads_it() {
    let samples = samples();
    let Some(found) = oracles::python(&write(&samples)) else {
        return;
    };
    let found = found.expect("Python reads it");
    for (ours, theirs) in members(&samples).iter().zip(&found) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(found.len(), samples.len());
}

#[test]
fn the_tar_crate_reads_it() {
    // It knows no PAX sparse files.
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|(e, _)| {
            !matches!(
                e.kind,
                EntryKind::File {
                    segments: Some(_),
                    ..
                }
            )
        })
        .collect();
    let samples: Vec<_> = samples
        .into_iter()
        .map(|(mut e, data)| {
            e.metadata.xattrs.remove(b"user.lines"); // it ends records at newlines
            (e, data)
        })
        .collect();
    for sample in &samples {
        assert_eq!(
            oracles::tar_crate(&write(std::slice::from_ref(sample))),
            Ok(members(std::slice::from_ref(sample)))
        );
    }
    assert_eq!(oracles::tar_crate(&write(&samples)), Ok(members(&samples)));
}

/// Extracted by GNU tar and bsdtar: everything but what needs root.
#[test]
fn gnu_tar_and_bsdtar_extract_it() {
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|(e, _)| !matches!(e.kind, EntryKind::CharDevice(_) | EntryKind::BlockDevice(_)))
        .map(|(mut e, data)| {
            // Neither is told to restore them, and the filesystem may not hold all of them.
            e.metadata.xattrs = Xattrs::new();
            (e, data)
        })
        .collect();
    let tar = write(&samples);
    for program in ["tar", "bsdtar"] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["-x", "-p", "-f", "-", "--no-same-owner"];
        let child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: needs {program}");
            return;
        };
        child.stdin.take().unwrap().write_all(&tar).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        for (entry, data) in &samples {
            let path = directory
                .path()
                .join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
            let shown = format!("{program}: {} {errors}", entry.path);
            let metadata = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{shown}: {e}"));
            match &entry.kind {
                EntryKind::File { size, .. } => {
                    assert_eq!(metadata.len(), *size, "{shown}");
                    assert!(
                        fs::read(&path).unwrap() == crate::support::expand(entry, data),
                        "{shown}"
                    );
                    // libarchive keeps set-id bits only together with the owner.
                    let bits = if program == "tar" { 0o7777 } else { 0o777 };
                    assert_eq!(
                        metadata.mode() & bits,
                        u32::from(entry.metadata.mode) & bits,
                        "{shown}"
                    );
                    let mtime = entry.metadata.mtime;
                    // Before 1970 libarchive reads fractions the wrong way round; ext4 ends in 1901 and 2446.
                    if mtime.seconds >= 0 && mtime.seconds < 1 << 33
                        || program == "tar" && mtime.seconds > -1 << 31 && mtime.seconds < 0
                    {
                        assert_eq!(
                            (metadata.mtime(), metadata.mtime_nsec()),
                            (mtime.seconds, i64::from(mtime.nanoseconds)),
                            "{shown}"
                        );
                    }
                }
                EntryKind::Directory => assert!(metadata.is_dir(), "{shown}"),
                EntryKind::Symlink { target } => assert_eq!(
                    fs::read_link(&path).unwrap().as_os_str().as_bytes(),
                    target,
                    "{shown}"
                ),
                EntryKind::HardLink { .. } => assert_eq!(metadata.nlink(), 2, "{shown}"),
                _ => {}
            }
        }
    }
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{1,8}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..255),
    ]
}

fn any_path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec(any_name(), 1..12).prop_filter_map("a path", |names| {
        let path = TreePath::clean(&names.join(&b'/')).ok()?;
        let marker = path.as_bytes().windows(4).any(|w| w == b".wh.");
        (!marker && !path.is_root()).then_some(path)
    })
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let time = (
        prop_oneof![
            0..i64::from(u32::MAX),
            any::<i32>().prop_map(i64::from),
            (i64::MIN + 1)..i64::MAX
        ],
        0..1_000_000_000u32,
    );
    let xattrs = prop::collection::vec(
        (
            prop::collection::vec(1..=255u8, 1..40),
            prop::collection::vec(any::<u8>(), 0..300),
        ),
        0..3,
    );
    (0..=0o7777u16, any::<u32>(), any::<u32>(), time, xattrs).prop_filter_map(
        "attributes",
        |(mode, uid, gid, time, list)| {
            let mut xattrs = Xattrs::new();
            for (name, value) in list {
                xattrs.set(&name, &value).ok()?;
            }
            let mtime = Timestamp {
                seconds: time.0,
                nanoseconds: time.1,
            };
            Some(Metadata {
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            })
        },
    )
}

fn any_kind() -> impl Strategy<Value = (EntryKind, Bytes)> {
    let none = |kind| (kind, Bytes(Vec::new()));
    let data = prop::collection::vec(any::<u8>(), 0..3000);
    let target = prop::collection::vec(1..=255u8, 1..300);
    let device = (0..1u32 << 12, 0..1u32 << 20).prop_map(|(major, minor)| Device { major, minor });
    let extents = prop::collection::vec((1..5000u64, 1..7u64), 0..30);
    prop_oneof![
        data.prop_map(|d| (
            EntryKind::File {
                size: d.len() as u64,
                segments: None
            },
            Bytes(d)
        )),
        Just(none(EntryKind::Directory)),
        target.prop_map(move |target| none(EntryKind::Symlink { target })),
        any_path().prop_map(move |target| none(EntryKind::HardLink { target })),
        device
            .clone()
            .prop_map(move |d| none(EntryKind::CharDevice(d))),
        device.prop_map(move |d| none(EntryKind::BlockDevice(d))),
        Just(none(EntryKind::Fifo)),
        (extents, 1..5000u64).prop_map(|(extents, tail)| {
            let mut end = 0;
            let mut segments = Vec::new();
            for (hole, blocks) in extents {
                let length = blocks * 512;
                segments.push(DataSegment {
                    offset: end + hole,
                    length,
                });
                end += hole + length;
            }
            if let Some(last) = segments.last_mut() {
                last.length -= tail % 512;
                end -= tail % 512;
            }
            let data = crate::support::noise(segments.iter().map(|s| s.length as usize).sum(), end);
            (
                EntryKind::File {
                    size: end + tail,
                    segments: Some(segments),
                },
                Bytes(data),
            )
        }),
    ]
}

fn any_entry() -> impl Strategy<Value = (Entry, Bytes)> {
    (any_path(), any_metadata(), any_kind()).prop_map(|(path, metadata, (kind, data))| {
        (
            Entry {
                path,
                metadata,
                kind,
            },
            data,
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The law: reading what was written gives what was written.
    #[test]
    fn reading_undoes_writing(entries in prop::collection::vec(any_entry(), 0..12)) {
        prop_assert_eq!(read(&write(&entries)).unwrap(), entries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn python_agrees_on_anything_written(entries in prop::collection::vec(any_entry(), 100..200)) {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(mut e, data)| {
                e.metadata.mtime.seconds %= 1 << 40; // Python's are floating-point numbers
                // and its keys text, of which GNU tar's `%3D` and `%25` are a part
                let odd = |name: &[u8]| {
                    std::str::from_utf8(name).is_err() || name.contains(&b'%') || name.contains(&b'=')
                };
                if e.metadata.xattrs.iter().any(|(name, _)| odd(name)) {
                    e.metadata.xattrs = Xattrs::new();
                }
                (e, data)
            })
            .collect();
        if let Some(found) = oracles::python(&write(&entries)) {
            prop_assert_eq!(found.expect("Python reads it"), members(&entries));
        }
    }
}
