//! Any tree, written to a directory and read back, is the same tree.

use std::collections::HashMap;
use std::path::Path;

use crate::common::*;
use lithify_hostfs::{DirTarget, MaterialiseOptions, ScanOptions, Scanner};
use lithify_tree::{
    ContentId, ContentSink, DataSegment, Device, Entry, EntryKind, LayerEntries, Merge, Metadata,
    Tree, TreePath, Xattrs,
};
use proptest::prelude::*;

/// Keeps file contents in memory, holes as zeros.
#[derive(Default)]
struct Memory {
    contents: HashMap<ContentId, Vec<u8>>,
    current: Vec<u8>,
    segments: Vec<DataSegment>,
    filled: u64,
}

impl ContentSink for Memory {
    type Error = std::convert::Infallible;

    fn begin(&mut self, size: u64, segments: Option<&[DataSegment]>) -> Result<(), Self::Error> {
        self.current = vec![0; size as usize];
        let (offset, length) = (0, size);
        self.segments = segments.map_or(vec![DataSegment { offset, length }], <[_]>::to_vec);
        self.filled = 0;
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        for &byte in data {
            let mut skip = self.filled;
            let segment = self.segments.iter().find(|s| {
                let inside = skip < s.length;
                if !inside {
                    skip -= s.length;
                }
                inside
            });
            self.current[(segment.unwrap().offset + skip) as usize] = byte;
            self.filled += 1;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        let id = ContentId(self.contents.len() as u32);
        self.contents.insert(id, std::mem::take(&mut self.current));
        Ok(id)
    }
}

fn read_back(dir: &Path) -> (Tree, HashMap<ContentId, Vec<u8>>) {
    let mut scanner = Scanner::open(dir, ScanOptions::default()).unwrap();
    let mut memory = Memory::default();
    let mut layer = LayerEntries::new();
    while let Some(entry) = scanner.next_entry().unwrap() {
        let content = matches!(entry.kind, EntryKind::File { .. })
            .then(|| scanner.copy_into(&mut memory).unwrap());
        layer.push(&entry, content).unwrap();
    }
    scanner.finish().unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    (merge.finish(), memory.contents)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-d]".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..12),
        1 => proptest::collection::vec(b'n'..b'p', 255),
    ]
    .prop_filter("a name Linux and layers can have", |n| {
        !n.contains(&b'/') && !n.contains(&0) && n != b"." && n != b".." && !n.starts_with(b".wh.")
    })
}

fn some_path() -> impl Strategy<Value = TreePath> {
    proptest::collection::vec(name(), 1..5).prop_map(|c| TreePath::clean(&c.join(&b'/')).unwrap())
}

/// Names and values.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = || proptest::collection::vec(any::<u8>(), 0..60);
    let one = prop_oneof![
        ("user\\.[a-z]{1,8}", value()),
        ("trusted\\.[a-z]{1,8}", value()),
        Just("security.capability").prop_map(|n| {
            let v2 = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            (n.to_owned(), v2.to_vec())
        }),
    ];
    proptest::collection::vec(one.prop_map(|(n, v)| (n.into_bytes(), v)), 0..3)
}

fn metadata() -> impl Strategy<Value = (Metadata, Attributes)> {
    let id = || prop_oneof![Just(0), 0..70000u32, Just(u32::MAX - 1)];
    let seconds = prop_oneof![Just(0), Just(-1), -2_000_000_000..10_000_000_000i64];
    (
        0..=0o7777u16,
        id(),
        id(),
        seconds,
        0..1_000_000_000u32,
        attributes(),
    )
        .prop_map(|(mode, uid, gid, s, ns, attributes)| {
            let m = Metadata {
                mode,
                uid,
                gid,
                mtime: time(s, ns),
                xattrs: Xattrs::new(),
            };
            (m, attributes)
        })
}

fn kind() -> impl Strategy<Value = (EntryKind, Vec<u8>)> {
    let device =
        || (0..4096u32, 0..1_048_576u32).prop_map(|(major, minor)| Device { major, minor });
    let plain = |kind| (kind, Vec::new());
    prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 0..20_000).prop_map(|data| {
            (EntryKind::File { size: data.len() as u64, segments: None }, data)
        }),
        1 => (0..5u64, 1..9000u64, 0..9000u64).prop_map(|(page, length, tail)| {
            let segment = DataSegment { offset: page * 4096, length };
            let size = segment.offset + length + tail;
            let mut data = vec![0; size as usize];
            data[segment.offset as usize..][..length as usize].fill(7);
            (EntryKind::File { size, segments: Some(vec![segment]) }, data)
        }),
        5 => Just(EntryKind::Directory).prop_map(plain),
        2 => proptest::collection::vec(1u8..=255, 1..60)
            .prop_map(move |target| plain(EntryKind::Symlink { target })),
        2 => some_path().prop_map(move |target| plain(EntryKind::HardLink { target })),
        1 => device().prop_map(move |d| plain(EntryKind::CharDevice(d))),
        1 => device().prop_map(move |d| plain(EntryKind::BlockDevice(d))),
        1 => Just(EntryKind::Fifo).prop_map(plain),
        1 => Just(EntryKind::Socket).prop_map(plain),
    ]
}

fn an_item() -> impl Strategy<Value = Item> {
    (some_path(), metadata(), kind()).prop_map(
        |(path, (mut metadata, attributes), (kind, data))| {
            for (name, value) in attributes {
                // What Linux allows on what.
                let allowed = match kind {
                    EntryKind::File { .. } => true,
                    EntryKind::Directory => name != b"security.capability",
                    _ => name.starts_with(b"trusted."),
                };
                if allowed {
                    metadata.xattrs.set(&name, &value).unwrap();
                }
            }
            (
                Entry {
                    path,
                    metadata,
                    kind,
                },
                data,
            )
        },
    )
}

/// The entries that can follow one another in a layer.
fn fitting(items: Vec<Item>) -> Vec<Item> {
    let mut kept: Vec<Item> = Vec::new();
    for item in items {
        kept.push(item);
        let mut layer = LayerEntries::new();
        for (entry, _) in &kept {
            layer.push(entry, None).unwrap();
        }
        if Merge::new().apply(layer).is_err() {
            kept.pop();
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn tree_to_directory_to_tree(items in proptest::collection::vec(an_item(), 0..25), root in metadata()) {
        if skip_unless(is_root(), "root") {
            return Ok(());
        }
        let mut items = fitting(items);
        let (root, _) = root;
        let kind = EntryKind::Directory;
        items.push((Entry { path: TreePath::root(), metadata: root, kind }, Vec::new()));
        for work in filesystems() {
            let out = work.path().join("out");
            let target = DirTarget::create(&out, MaterialiseOptions::default()).unwrap();
            let (tree, contents) = build(&target, &items);
            let report = target.finish(&tree).unwrap();
            prop_assert!(report.not_set.is_empty(), "{report:?}");
            prop_assert_eq!(report.sidecar, None);
            let expected = describe(&tree, &contents);
            let (again, found) = read_back(&out);
            prop_assert_eq!(&describe(&again, &found), &expected);
            prop_assert_eq!(&manifest(&out), &expected);
            prop_assert_eq!(names(work.path()), ["out"]);
        }
    }
}
