//! Entries for the tar writer, and the tars it makes of them.

use crate::support::Bytes;
use lithify_tar::{Holes, TarWriter};
use lithify_tree::{DataSegment, Device, Entry, EntryKind, Metadata, Timestamp, TreePath};

pub(crate) fn entry(path: &[u8], kind: EntryKind) -> Entry {
    Entry {
        path: TreePath::clean(path).unwrap(),
        metadata: Metadata {
            mode: 0o644,
            ..Metadata::default()
        },
        kind,
    }
}

pub(crate) fn file(path: &[u8], size: u64) -> Entry {
    entry(
        path,
        EntryKind::File {
            size,
            segments: None,
        },
    )
}

/// With maps of sparse files, so that everything reads back as it is.
pub(crate) fn write(entries: &[(Entry, Bytes)]) -> Vec<u8> {
    write_with(Holes::Map, entries)
}

pub(crate) fn write_with(holes: Holes, entries: &[(Entry, Bytes)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new()).holes(holes);
    for (entry, data) in entries {
        writer.append(entry).unwrap();
        for piece in data.chunks(1000) {
            writer.data(piece).unwrap();
        }
    }
    writer.finish().unwrap()
}

pub(crate) fn sparse(path: &[u8], size: u64, segments: &[(u64, u64)]) -> Entry {
    let segments = segments
        .iter()
        .map(|&(offset, length)| DataSegment { offset, length });
    let segments = Some(segments.collect());
    entry(path, EntryKind::File { size, segments })
}

/// One of everything a tar can hold, at the edges of its fields.
pub(crate) fn samples() -> Vec<(Entry, Bytes)> {
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
