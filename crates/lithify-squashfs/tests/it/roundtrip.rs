//! Random images: what goes in comes out, through this crate's reader and the kernel; and whatever becomes of their
//! bytes, reading ends with data or an error.
#![cfg(target_os = "linux")]

use crate::common::{Builder, Content, check_with_reader, mount_and_check, pattern};
use lithify_squashfs::{DataOptions, FileType, Image};
use lithify_tree::{Device, EntryKind, Metadata, Timestamp, Xattrs};
use proptest::prelude::*;

/// What a name becomes.
#[derive(Clone, Debug)]
enum Node {
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
        (0..6_usize, 0..3_usize).prop_map(|(blocks, off)| (blocks * 4096 + off).saturating_sub(1)),
        0..60_000_usize,
    ];
    let segments = prop::collection::vec((0..60_000_u64, 0..9000_usize), 0..6);
    prop_oneof![
        6 => (size, 0..4_usize).prop_map(|(size, seed)| Node::File(size, seed)),
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
        "(user|trusted|security)\\.[a-z]{1,40}",
    ];
    let value = prop_oneof![
        (0..3_usize).prop_map(|seed| pattern(seed, 30)),
        (0..5000_usize).prop_map(|n| pattern(n, n)),
    ];
    let set = prop::collection::vec((name, value), 1..6).prop_map(|pairs| {
        let mut x = Xattrs::new();
        for (name, value) in &pairs {
            x.set(name.as_bytes(), value).unwrap();
        }
        x
    });
    prop_oneof![3 => Just(Xattrs::new()), 1 => set]
}

fn some_metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![Just(0_u32), 0..70_000_u32, 0..u32::MAX];
    let seconds = prop_oneof![3 => Just(1_600_000_000), 1 => -1_i64 << 33..1 << 33];
    (0..=0o7777_u16, id.clone(), id, seconds, some_xattrs()).prop_map(
        |(mode, uid, gid, seconds, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp {
                seconds,
                nanoseconds: 5,
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
        !c.contains(&b'/') && c != b"." && c != b".." && c.len() < 255 && !c.ends_with(b"~")
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

fn options() -> impl Strategy<Value = DataOptions> {
    let compression = prop::sample::select(vec!["zstd", "zstd:6", "gzip", "lz4", "xz:1", "none"]);
    (compression, 1..4_usize).prop_map(|(compression, threads)| {
        let mut options = DataOptions::default();
        options.compression = compression.parse().unwrap();
        options.threads = threads.try_into().unwrap();
        // Small blocks, so that files have several.
        options.block_size = 4096;
        options
    })
}

fn describe(b: &mut Builder<Vec<u8>>, layers: &[Layer]) {
    for (number, layer) in layers.iter().enumerate() {
        if number > 0 {
            b.next_layer();
        }
        // A component is a directory everywhere or nowhere: names of anything else get a suffix.
        let mut files: Vec<Vec<u8>> = Vec::new();
        for (path, metadata, node) in layer {
            if let Node::Directory = node {
                b.directory(path, metadata.clone());
                continue;
            }
            let path = [path.as_slice(), b"~"].concat();
            let metadata = metadata.clone();
            match node {
                Node::File(size, seed) => {
                    b.file(&path, metadata, &pattern(*seed, *size));
                    files.push(path);
                }
                Node::Sparse(tail, gaps) => {
                    let mut parts = Vec::new();
                    let mut at = 0;
                    for (gap, length) in gaps {
                        at += gap;
                        parts.push((at, pattern(*length, *length)));
                        at += *length as u64;
                    }
                    let size = at + tail;
                    b.sparse(&path, metadata, Content { size, parts });
                    files.push(path);
                }
                Node::Symlink(length) => {
                    let target = vec![b't'; *length];
                    b.entry(&path, metadata, EntryKind::Symlink { target }, None);
                }
                Node::Link(which) => {
                    if let Some(target) = files.get(which % files.len().max(1)).cloned()
                        && target != path
                    {
                        b.link(&path, &target);
                        // What is linked to must not be replaced behind it.
                        files.clear();
                    }
                }
                Node::Device(major, minor) => {
                    let device = Device {
                        major: *major,
                        minor: *minor,
                    };
                    b.entry(&path, metadata, EntryKind::BlockDevice(device), None);
                }
                Node::Fifo => b.entry(&path, metadata, EntryKind::Fifo, None),
                Node::Whiteout => b.entry(&path, metadata, EntryKind::Whiteout, None),
                Node::Directory => {}
            }
        }
    }
}

/// Reads everything there is to read, whatever comes of it.
fn read_everything(bytes: &[u8]) {
    let Ok(image) = Image::open(bytes) else {
        return;
    };
    let sound = image.verify().expect("memory can be read").is_sound();
    let mut buffer = vec![0; 10_000];
    for entry in image.entries() {
        let Ok((entry, inode)) = entry else {
            assert!(
                !sound,
                "verify found nothing, reading did: {:?}",
                entry.err()
            );
            break;
        };
        if sound {
            let found = image.lookup(entry.path.as_bytes()).unwrap();
            assert_eq!(found.map(|i| i.reference()), Some(inode.reference()));
        }
        if inode.file_type() == FileType::File {
            for offset in [0, inode.size() / 2, inode.size().saturating_sub(5)] {
                let read = image.read(&inode, offset, &mut buffer);
                assert!(!sound || read.is_ok(), "{read:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(layers in layers(), options in options()) {
        let mut b = Builder::with(Vec::new(), options);
        describe(&mut b, &layers);
        let (bytes, report, expected) = b.finish();
        prop_assert_eq!(bytes.len() as u64, report.size);
        prop_assert_eq!(report.size % 4096, 0);
        check_with_reader(bytes.as_slice(), &expected);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.squashfs");
        std::fs::write(&path, &bytes).unwrap();
        // POSIX leaves these to the kernel: it reads no capabilities but its own.
        mount_and_check(&path, &expected);
    }

    #[test]
    fn damaged_images_give_errors(
        layers in layers(),
        options in options(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        in_metadata in any::<bool>(),
    ) {
        let mut b = Builder::with(Vec::new(), options);
        describe(&mut b, &layers);
        let (mut bytes, report, _) = b.finish();
        let metadata = report.metadata_bytes as usize;
        let from = if in_metadata { bytes.len().saturating_sub(metadata + metadata.min(4096)) } else { 0 };
        for (place, value) in damage {
            let at = from + place.index(bytes.len() - from);
            bytes[at] = value;
            read_everything(&bytes);
        }
        let cut = bytes.len() / 2;
        read_everything(&bytes[..cut]);
    }

    /// The superblock's fields one by one.
    #[test]
    fn damaged_superblocks_give_errors(at in 0..96_usize, value in any::<u64>()) {
        let mut b = Builder::new(Vec::new());
        b.file("a/b", crate::common::metadata(0o644), b"data");
        b.file("a/c", crate::common::with_xattrs(&[("user.a", b"b")]), &pattern(1, 300_000));
        let (mut bytes, _, _) = b.finish();
        let end = (at + 8).min(96);
        bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        read_everything(&bytes);
    }
}
