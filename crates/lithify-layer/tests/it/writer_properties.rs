//! Random entries through the tar writer: they are read back as they were.

use crate::support::oracles::{self, members};
use crate::support::written::write;
use crate::support::{Bytes, read};
use lithify_tree::{DataSegment, Device, Entry, EntryKind, Metadata, Timestamp, TreePath, Xattrs};
use proptest::prelude::*;

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
