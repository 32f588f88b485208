//! What e2fsprogs and the kernel make of images.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, WriteError};
use lithify_testkit::{Mount, require};
use lithify_tree::{Device, EntryKind, Metadata, Timestamp, TreePath, Xattrs};

use crate::common::{Builder, run};

/// A file capability, version 2: `cap_net_raw`, effective.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn sizes() -> [BlockSize; 3] {
    [BlockSize::Small, BlockSize::Medium, BlockSize::Large]
}

fn options(block_size: BlockSize) -> DataOptions {
    let mut options = DataOptions::default();
    options.block_size = block_size;
    options
}

#[test]
fn every_kind_of_file() {
    for block_size in sizes() {
        let mut b = Builder::new(options(block_size));
        b.file("etc/motd", b"hello\n");
        b.file("empty", b"");
        b.file("large", &vec![7; 5 << 20]);
        b.sparse(
            "sparse",
            1 << 30,
            &[0, 5000, 1 << 20, (1 << 30) - 10],
            b"0123456789",
        );
        let spread: Vec<u64> = (0..2000).map(|n| n * 100_000).collect();
        b.sparse("spread", 1 << 28, &spread, &[1; 100]);
        b.entry(
            "etc/short",
            0o777,
            EntryKind::Symlink {
                target: b"motd".to_vec(),
            },
            None,
        );
        b.entry(
            "etc/long",
            0o777,
            EntryKind::Symlink {
                target: vec![b'x'; 900],
            },
            None,
        );
        for (name, device) in [("null", (1, 3)), ("large", (300, 70000))] {
            let device = Device {
                major: device.0,
                minor: device.1,
            };
            b.entry(
                format!("dev/{name}"),
                0o666,
                EntryKind::CharDevice(device),
                None,
            );
            b.entry(
                format!("dev/b{name}"),
                0o660,
                EntryKind::BlockDevice(device),
                None,
            );
        }
        b.entry("fifo", 0o600, EntryKind::Fifo, None);
        b.entry("socket", 0o600, EntryKind::Socket, None);
        for n in 0..3000 {
            b.entry(
                format!("many/name-{n:05}"),
                0o644,
                EntryKind::File {
                    size: 0,
                    segments: None,
                },
                None,
            );
        }
        let mut few = Xattrs::new();
        few.set(b"user.a", b"1").unwrap();
        let mut more = Xattrs::new();
        more.set(b"user.large", &[9; 300]).unwrap();
        more.set(b"security.capability", &CAPABILITY).unwrap();
        more.set(b"trusted.x", b"").unwrap();
        let kind = EntryKind::File {
            size: 0,
            segments: None,
        };
        for (set, name) in [(few, "few"), (more, "more")] {
            for n in 0..5 {
                let metadata = Metadata {
                    mode: 0o600,
                    uid: 1 << 20,
                    gid: u32::MAX - 1,
                    xattrs: set.clone(),
                    ..Metadata::default()
                };
                b.with(format!("x/{name}{n}"), metadata, kind.clone(), None);
            }
        }
        let image = b.finish(&ImageOptions::default());
        image.fsck();
        assert_eq!(image.report.indexed_directories, 1);
        if require::kernel_filesystem("ext4") {
            let mount = Mount::image("ext4", &image.path);
            compare(mount.path(), &spread);
        }
    }
}

/// Looks at what `every_kind_of_file` wrote, as the kernel shows it.
fn compare(root: &Path, spread: &[u64]) {
    let read = |name: &str| fs::read(root.join(name)).unwrap();
    assert_eq!(read("etc/motd"), b"hello\n");
    assert_eq!(read("empty"), b"");
    assert!(read("large") == vec![7; 5 << 20]);
    let sparse = File::open(root.join("sparse")).unwrap();
    assert_eq!(sparse.metadata().unwrap().len(), 1 << 30);
    assert!(sparse.metadata().unwrap().blocks() <= 32);
    for at in [0, 5000, 1 << 20, (1 << 30) - 10] {
        let mut found = [0; 10];
        sparse.read_exact_at(&mut found, at).unwrap();
        assert_eq!(&found, b"0123456789");
    }
    let file = read("spread");
    assert_eq!(file.len(), 1 << 28);
    assert_eq!(file.iter().filter(|b| **b == 1).count(), 100 * spread.len());
    assert!(
        spread
            .iter()
            .all(|at| file[*at as usize..][..100] == [1; 100])
    );
    let target = |name: &str| fs::read_link(root.join(name)).unwrap().into_os_string();
    assert_eq!(target("etc/short"), "motd");
    assert_eq!(target("etc/long").len(), 900);
    for (name, (major, minor)) in [("null", (1, 3)), ("large", (300, 70000))] {
        for prefix in ["", "b"] {
            let device = fs::symlink_metadata(root.join(format!("dev/{prefix}{name}"))).unwrap();
            assert_eq!(device.rdev(), rustix::fs::makedev(major, minor));
            assert_eq!(device.file_type().is_block_device(), prefix == "b");
        }
    }
    assert!(
        fs::symlink_metadata(root.join("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(
        fs::symlink_metadata(root.join("socket"))
            .unwrap()
            .file_type()
            .is_socket()
    );
    assert_eq!(fs::read_dir(root.join("many")).unwrap().count(), 3000);
    for n in 0..3000 {
        assert!(root.join(format!("many/name-{n:05}")).exists());
    }
    for (name, attribute, value) in [
        ("few", "user.a", &b"1"[..]),
        ("more", "user.large", &[9; 300]),
        ("more", "security.capability", &CAPABILITY),
        ("more", "trusted.x", b""),
    ] {
        for n in 0..5 {
            let path = root.join(format!("x/{name}{n}"));
            let owner = fs::symlink_metadata(&path).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (1 << 20, u32::MAX - 1));
            let mut found = [0; 400];
            let length = rustix::fs::lgetxattr(&path, attribute, &mut found).unwrap();
            assert_eq!(&found[..length], value, "{name} {attribute}");
        }
    }
}

#[test]
fn dead_data_goes() {
    let mut b = Builder::new(DataOptions::default());
    for n in 0..10 {
        // What nothing in the tree refers to.
        b.data(&vec![n; 3 << 20]);
        b.file(&format!("live-{n}"), &vec![n + 1; 1 << 20]);
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    assert_eq!(image.report.data_bytes, 10 << 20);
    assert!(image.report.size < 24 << 20, "{:?}", image.report);
    for n in 0..10 {
        let said = run("debugfs", &["-R", &format!("cat /live-{n}")], &image.path);
        assert!(said.bytes().filter(|b| *b == n + 1).count() >= 1 << 20);
    }
}

/// Data that goes may come to lie behind the end, over groups that there are not.
#[test]
fn dead_data_may_be_more_than_the_size() {
    let mut options = DataOptions::default();
    options.size = Some(30 << 20);
    let mut b = Builder::new(options);
    for n in 0..20_u8 {
        b.data(&vec![n; 15 << 20]);
        b.file(&format!("{n}"), &vec![n + 1; 1 << 20]);
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    assert_eq!(fs::metadata(&image.path).unwrap().len(), 30 << 20);
    for n in [0, 7, 19] {
        let said = run("debugfs", &["-R", &format!("cat /{n}")], &image.path);
        assert!(said.bytes().filter(|b| *b == n + 1).count() >= 1 << 20);
    }
}

#[test]
fn the_same_tree_is_the_same_bytes() {
    let make = |label: &[u8]| {
        let mut b = Builder::new(DataOptions::default());
        b.file("etc/motd", b"hello\n");
        let mut options = ImageOptions::default();
        options.label = label.to_vec();
        let image = b.finish(&options);
        image.fsck();
        fs::read(&image.path).unwrap()
    };
    assert!(make(b"root") == make(b"root"));
    assert!(make(b"root") != make(b"other"));
}

#[test]
fn a_lost_and_found_of_its_own() {
    let mut b = Builder::new(DataOptions::default());
    b.file("a", b"before it in the tree");
    b.entry("lost+found", 0o755, EntryKind::Directory, None);
    b.file("lost+found/#12", b"found");
    b.entry("zzz", 0o755, EntryKind::Directory, None);
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    let said = run("debugfs", &["-R", "stat /lost+found"], &image.path);
    assert!(said.contains("Inode: 11 ") && said.contains("Mode:  0755"));
    let said = run("debugfs", &["-R", "cat /lost+found/#12"], &image.path);
    assert!(said.contains("found"), "{said}");

    let mut b = Builder::new(DataOptions::default());
    b.file("lost+found", b"no directory");
    match b.try_finish(&ImageOptions::default()) {
        Err(WriteError::LostAndFound) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_ext4_cannot_hold_is_said() {
    let mut data = DataOptions::default();
    data.block_size = BlockSize::Small;
    let refused = |make: &dyn Fn(&mut Builder), options: &ImageOptions| {
        let mut b = Builder::new(data.clone());
        make(&mut b);
        b.try_finish(options).unwrap_err().to_string()
    };
    let options = ImageOptions::default();
    let names = |count: u32| {
        move |b: &mut Builder| {
            b.empty("first");
            for n in 1..count {
                let target = TreePath::clean(b"first").unwrap();
                b.entry(format!("{n}"), 0o644, EntryKind::HardLink { target }, None);
            }
        }
    };
    let mut most = Builder::new(DataOptions::default());
    names(65_000)(&mut most);
    most.finish(&options).fsck();
    let said = refused(&names(65_001), &options);
    assert!(said.contains("has 65001 names, ext4 takes 65000"), "{said}");

    let device = |major, minor| {
        move |b: &mut Builder| {
            let device = Device { major, minor };
            b.entry("dev", 0o600, EntryKind::CharDevice(device), None);
        }
    };
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        let said = refused(&device(major, minor), &options);
        let expected = format!("`/dev` is device {major}:{minor}");
        assert!(said.contains(&expected), "{said}");
    }
    let target = |length: usize| {
        move |b: &mut Builder| {
            let target = vec![b't'; length];
            b.entry("link", 0o777, EntryKind::Symlink { target }, None);
        }
    };
    let mut longest = Builder::new(data.clone());
    target(1023)(&mut longest);
    longest.finish(&options).fsck();
    let said = refused(&target(1024), &options);
    assert!(said.contains("`/link` has 1024 bytes"), "{said}");
    for label in [&b"seventeen letters"[..], b"with\0zero"] {
        let mut options = ImageOptions::default();
        options.label = label.to_vec();
        let said = refused(&|_| {}, &options);
        assert!(said.contains("the label"), "{said}");
    }
}

/// Blocks that two files have would be found by `e2fsck`, and lost by one of them.
#[test]
fn two_files_of_one_content_are_refused() {
    let mut b = Builder::new(DataOptions::default());
    let content = b.data(b"data");
    for name in ["a", "b"] {
        let kind = EntryKind::File {
            size: 4,
            segments: None,
        };
        b.entry(name, 0o644, kind, Some(content));
    }
    match b.try_finish(&ImageOptions::default()) {
        Err(WriteError::SharedContent { path }) => assert_eq!(path, b"b"),
        other => panic!("{other:?}"),
    }
}

/// Owners have 32 bits, and all of them are stored.
#[test]
fn owners_of_every_number() {
    let mut b = Builder::new(DataOptions::default());
    let ids = [0, 1, 65_535, 65_536, 1 << 31, u32::MAX - 1, u32::MAX];
    for id in ids {
        let metadata = Metadata {
            uid: id,
            gid: u32::MAX - id,
            ..Metadata::default()
        };
        b.with(format!("{id}"), metadata, EntryKind::Fifo, None);
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    for id in ids {
        let said = run("debugfs", &["-R", &format!("stat /{id}")], &image.path);
        let mut words = said.split_whitespace();
        let mut after = |name: &str| words.by_ref().skip_while(|word| *word != name).nth(1);
        // `debugfs` takes them as signed.
        let shown = |id: u32| (id as i32).to_string();
        assert_eq!(after("User:"), Some(shown(id).as_str()));
        assert_eq!(after("Group:"), Some(shown(u32::MAX - id).as_str()));
    }
}

/// Times from 1901 to 2446, with nanoseconds.
#[test]
fn times_of_every_age() {
    let times = [
        (-(1_i64 << 31), 1),
        (-1, 999_999_999),
        (0, 0),
        ((1 << 31) - 1, 7),
        (1 << 31, 123_456_789),
        ((1 << 32) + 5, 5),
        ((1 << 34) - (1 << 31) - 1, 0),
    ];
    let mut b = Builder::new(DataOptions::default());
    let add = |b: &mut Builder, name: String, seconds: i64, nanoseconds: u32| {
        let metadata = Metadata {
            mtime: Timestamp {
                seconds,
                nanoseconds,
            },
            ..Metadata::default()
        };
        b.with(name, metadata, EntryKind::Fifo, None);
    };
    for (n, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        add(&mut b, format!("{n}"), seconds, nanoseconds);
    }
    add(&mut b, "early".into(), -(1 << 40), 5);
    add(&mut b, "late".into(), 1 << 40, 5);
    // The filesystem says that it was made at the median, else `e2fsck` would find it made in the future.
    (0..4).for_each(|n| b.empty(format!("now-{n}")));
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    assert_eq!(image.report.clamped_times, 2);
    if require::kernel_filesystem("ext4") {
        let mount = Mount::image("ext4", &image.path);
        let found = |name: &str| {
            let found = fs::symlink_metadata(mount.path().join(name)).unwrap();
            (found.mtime(), found.mtime_nsec() as u32)
        };
        for (n, time) in times.into_iter().enumerate() {
            assert_eq!(found(&format!("{n}")), time);
        }
        // The other three are the same: the layers say one time.
        let other = fs::symlink_metadata(mount.path().join("5")).unwrap();
        let made = other.created().unwrap();
        assert_eq!(made, other.modified().unwrap());
        assert_eq!((other.ctime(), other.ctime_nsec()), ((1 << 32) + 5, 5));
        assert_eq!((other.atime(), other.atime_nsec()), ((1 << 32) + 5, 5));
        assert_eq!(found("early"), (times[0].0, 0));
        assert_eq!(found("late"), times[6]);
    }
}
