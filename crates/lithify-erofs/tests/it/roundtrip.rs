//! Random images: what goes in comes out, through this crate's reader, `fsck.erofs` and the kernel.
#![cfg(target_os = "linux")]

use crate::common::{Builder, Content, pattern};
use lithify_erofs::DataOptions;
use lithify_tree::{Device, EntryKind, Metadata, Timestamp, Xattrs};
use proptest::prelude::*;

/// What a name becomes.
#[derive(Clone, Debug)]
enum Node {
    File(usize),
    Sparse(u64, Vec<(u64, usize)>),
    Directory,
    Symlink(usize),
    Link(usize),
    Device(u32, u32),
    Fifo,
    Whiteout,
}

fn node() -> impl Strategy<Value = Node> {
    let size = prop_oneof![
        Just(0),
        1..100_usize,
        3900..4200_usize,
        (0..6_usize, 0..64_usize)
            .prop_map(|(blocks, off)| (blocks * 4096 + off).saturating_sub(32)),
        0..200_000_usize,
    ];
    let segments = prop::collection::vec((0..60_000_u64, 0..9000_usize), 0..6);
    prop_oneof![
        6 => size.prop_map(Node::File),
        2 => (0..60_000_u64, segments).prop_map(|(tail, gaps)| Node::Sparse(tail, gaps)),
        2 => Just(Node::Directory),
        2 => prop_oneof![1..200_usize, 3900..4096_usize].prop_map(Node::Symlink),
        2 => (0..64_usize).prop_map(Node::Link),
        1 => (0..4096_u32, 0..1_048_576_u32).prop_map(|(a, b)| Node::Device(a, b)),
        1 => Just(Node::Fifo),
        1 => Just(Node::Whiteout),
    ]
}

fn some_xattrs() -> impl Strategy<Value = Xattrs> {
    let name = prop_oneof![
        Just("user.a".to_owned()),
        Just("security.selinux".to_owned()),
        "(user|trusted|security)\\.[a-z]{1,40}",
    ];
    // Few different values, so that some are shared; some long.
    let value = prop_oneof![
        (0..3_usize).prop_map(|seed| pattern(seed, 30)),
        (0..5000_usize).prop_map(|n| pattern(n, n)),
    ];
    let set = prop::collection::vec((name, value), 1..6).prop_map(|pairs| {
        let mut x = Xattrs::new();
        pairs
            .iter()
            .for_each(|(n, v)| x.set(n.as_bytes(), v).unwrap());
        x
    });
    prop_oneof![3 => Just(Xattrs::new()), 1 => set]
}

fn some_metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![Just(0_u32), 0..70_000_u32, 0..u32::MAX];
    let time = prop_oneof![
        3 => Just((1_600_000_000, 0)),
        1 => (-1_i64 << 33..1 << 33, 0..1_000_000_000_u32),
    ];
    (0..=0o7777_u16, id.clone(), id, time, some_xattrs()).prop_map(
        |(mode, uid, gid, time, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp {
                seconds: time.0,
                nanoseconds: time.1,
            },
            xattrs,
        },
    )
}

/// A path among few, so that layers replace what others made.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]).prop_map(|c| c.as_bytes().to_vec()),
        1 => prop::collection::vec(1..=255_u8, 1..8),
        1 => (1..=255_usize).prop_map(|n| vec![b'n'; n]),
    ]
    // What ends with `~` is never a directory here, see `describe`.
    .prop_filter("no directory's name", |c| {
        !c.contains(&b'/') && c != b"." && c != b".." && !c.ends_with(b"~")
    });
    prop::collection::vec(component, 1..4).prop_map(|c| c.join(&b'/'))
}

type Layer = Vec<(Vec<u8>, Metadata, Node)>;

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    prop::collection::vec(
        prop::collection::vec((path(), some_metadata(), node()), 0..40),
        1..4,
    )
}

/// Builds; `None` when the layers make no sense together, such as a file below a file.
fn describe(b: &mut Builder<Vec<u8>>, layers: &[Layer]) {
    for (number, layer) in layers.iter().enumerate() {
        if number > 0 {
            b.next_layer();
        }
        // A component is a directory everywhere or nowhere: names of files get a suffix.
        let leaf = |path: &[u8]| [path, b"~"].concat();
        let mut files: Vec<Vec<u8>> = Vec::new();
        for (i, (path, metadata, node)) in layer.iter().enumerate() {
            let mut path = path.clone();
            if !matches!(node, Node::Directory) {
                if path
                    .rsplit(|&b| b == b'/')
                    .next()
                    .is_some_and(|c| c.len() == 255)
                {
                    path.pop();
                }
                path = leaf(&path);
            }
            let m = metadata.clone();
            match node {
                Node::File(size) => {
                    b.file(&path, m, &pattern(i + number, *size));
                }
                Node::Sparse(tail, gaps) => {
                    let mut content = Content::default();
                    for &(gap, length) in gaps {
                        content
                            .parts
                            .push((content.size + gap, pattern(length, length)));
                        content.size += gap + length as u64;
                    }
                    content.size += tail;
                    b.sparse(&path, m, content);
                }
                Node::Directory => b.directory(&path, m),
                Node::Symlink(n) => b.entry(
                    &path,
                    m,
                    EntryKind::Symlink {
                        target: pattern(i, *n),
                    },
                    None,
                ),
                Node::Link(n) => {
                    let target = files
                        .get(*n % files.len().max(1))
                        .filter(|target| **target != path);
                    if let Some(target) = target {
                        b.link(&path, target);
                    }
                    continue;
                }
                Node::Device(major, minor) => {
                    let device = Device {
                        major: *major,
                        minor: *minor,
                    };
                    b.entry(&path, m, EntryKind::BlockDevice(device), None);
                }
                Node::Fifo => b.entry(&path, m, EntryKind::Fifo, None),
                Node::Whiteout => {
                    b.entry(&path, m, EntryKind::Whiteout, None);
                    continue;
                }
            }
            if matches!(node, Node::File(_) | Node::Fifo | Node::Device(..))
                && !files.contains(&path)
            {
                files.push(path);
            }
        }
    }
}

fn build(layers: &[Layer], options: DataOptions) -> (Vec<u8>, crate::common::Expected) {
    let mut b = Builder::with(Vec::new(), options);
    describe(&mut b, layers);
    let (bytes, report, expected) = b.finish();
    assert_eq!(bytes.len() as u64, report.size);
    (bytes, expected)
}

fn spilling() -> DataOptions {
    let mut options = DataOptions::default();
    options.tail_memory = 1000;
    options.spill = Some(Box::new(|| Ok(Box::new(Vec::new()))));
    options
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(layers in layers()) {
        let (bytes, expected) = build(&layers, DataOptions::default());
        crate::common::check_with_reader(&bytes, &expected);
        // The same input gives the same bytes, wherever tails were kept.
        prop_assert!(build(&layers, spilling()).0 == bytes);
        for small_file_max in [0, 1024] {
            let mut aligned = DataOptions::default();
            aligned.block_aligned = true;
            aligned.small_file_max = small_file_max;
            let (bytes, expected) = build(&layers, aligned);
            crate::common::check_with_reader(&bytes, &expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_agrees(layers in layers()) {
        let (bytes, expected) = build(&layers, DataOptions::default());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        crate::common::fsck(&path);
        crate::common::mount_and_check(&path, &expected);
    }
}
