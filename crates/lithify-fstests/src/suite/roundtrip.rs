//! Random images: what goes in comes out, through the format's own reader, the programs that referee and the kernel.

use std::fmt::Debug;

use lithify_tree::{Device, EntryKind, Metadata, Timestamp, Xattrs};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::{
    Builder, Content, Expected, Filesystem, check_extracted, check_with_reader, mount_and_check,
    pattern,
};

/// What a name becomes.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(usize, usize),
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
    // Some equal, most not.
    let seed = prop_oneof![0..4_usize, 4..10_000_usize];
    let segments = prop::collection::vec((0..60_000_u64, 0..9000_usize), 0..6);
    prop_oneof![
        6 => (size, seed).prop_map(|(size, seed)| Node::File(size, seed)),
        2 => (0..60_000_u64, segments).prop_map(|(tail, gaps)| Node::Sparse(tail, gaps)),
        2 => Just(Node::Directory),
        2 => prop_oneof![1..200_usize, 3900..4096_usize].prop_map(Node::Symlink),
        2 => (0..64_usize).prop_map(Node::Link),
        1 => (0..4096_u32, 0..1_048_576_u32).prop_map(|(a, b)| Node::Device(a, b)),
        1 => Just(Node::Fifo),
        2 => Just(Node::Whiteout),
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

pub(super) type Layer = Vec<(Vec<u8>, Metadata, Node)>;

pub(super) fn layers() -> impl Strategy<Value = Vec<Layer>> {
    prop::collection::vec(
        prop::collection::vec((path(), some_metadata(), node()), 0..40),
        1..4,
    )
}

/// Describes the layers.
pub(super) fn describe<F: Filesystem>(
    b: &mut Builder<F, Vec<u8>>,
    layers: &[Layer],
    choice: &F::Choice,
) {
    let target_max = F::target_max(choice);
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
                Node::File(size, seed) => {
                    b.file(&path, m, &pattern(*seed, *size));
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
                        target: pattern(i, (*n).min(target_max)),
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
            if matches!(node, Node::File(..) | Node::Fifo | Node::Device(..))
                && !files.contains(&path)
            {
                files.push(path);
            }
        }
    }
}

/// Runs a test with random input; a failure names the smallest input that fails.
pub(super) fn run<S: Strategy<Value: Debug>>(cases: u32, input: &S, test: impl Fn(S::Value)) {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let result = TestRunner::new(config).run(input, |value| {
        test(value);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

fn build<F: Filesystem>(layers: &[Layer], choice: &F::Choice) -> (Vec<u8>, Expected) {
    let mut b = Builder::<F, _>::with(Vec::new(), F::options(choice));
    describe(&mut b, layers, choice);
    let (bytes, report, expected) = b.finish();
    assert_eq!(bytes.len() as u64, F::size(&report));
    F::check_report(&report);
    (bytes, expected)
}

pub fn what_goes_in_comes_out<F: Filesystem>() {
    run(F::CASES, &(layers(), any::<Index>()), |(layers, pick)| {
        for choice in F::choices(pick) {
            let (bytes, expected) = build::<F>(&layers, &choice);
            check_with_reader::<F, _>(bytes.as_slice(), &expected);
            let again = build::<F>(&layers, &F::same_bytes(&choice)).0;
            assert!(again == bytes, "{choice:?} gives other bytes another time");
        }
    });
}

pub fn the_kernel_agrees<F: Filesystem>() {
    let input = (layers(), any::<Index>());
    run(F::MOUNTED_CASES, &input, |(layers, pick)| {
        // The first is what is used most.
        let choices = F::choices(pick);
        let Some(choice) = choices.first() else {
            return;
        };
        let (bytes, expected) = build::<F>(&layers, choice);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        F::fsck(&path);
        mount_and_check::<F>(&path, &expected);
        let out = directory.path().join("out");
        std::fs::create_dir(&out).unwrap();
        if F::extract(&path, &out) {
            check_extracted(&out, &expected);
        }
    });
}
