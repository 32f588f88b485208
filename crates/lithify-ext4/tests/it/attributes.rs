//! Extended attributes as e2fsprogs and the kernel see them: few, many, long, shared.

use std::path::Path;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, WriteError, unsupported_xattrs};
use lithify_testkit::{Mount, require};
use lithify_tree::{EntryKind, Metadata, Xattrs};

use crate::common::{Builder, Image, run};

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

/// An ACL as programs see it: entries of tag, permissions and id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Owner, a named user, the group, a named group, the mask and all others.
fn named() -> Vec<u8> {
    acl(&[
        (1, 6, u32::MAX),
        (2, 7, 1 << 20),
        (4, 4, u32::MAX),
        (8, 5, 3_000_000_000),
        (0x10, 7, u32::MAX),
        (0x20, 4, u32::MAX),
    ])
}

fn set(pairs: &[(&[u8], &[u8])]) -> Xattrs {
    let mut set = Xattrs::new();
    for (name, value) in pairs {
        set.set(name, value).unwrap();
    }
    set
}

fn file() -> EntryKind {
    EntryKind::File {
        size: 0,
        segments: None,
    }
}

fn metadata(xattrs: &Xattrs) -> Metadata {
    Metadata {
        mode: 0o664,
        xattrs: xattrs.clone(),
        ..Metadata::default()
    }
}

fn builder(block_size: BlockSize) -> Builder {
    let mut options = DataOptions::default();
    options.block_size = block_size;
    Builder::new(options)
}

/// Asserts that the kernel sees exactly these attributes.
fn compare(path: &Path, set: &Xattrs) {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut names: Vec<&[u8]> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    let mut expected: Vec<&[u8]> = set.iter().map(|(name, _)| name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected, "{}", path.display());
    let mut found = vec![0; 128 << 10];
    for (name, value) in set.iter() {
        let length = rustix::fs::lgetxattr(path, name, &mut found[..]).unwrap();
        assert!(found[..length] == *value, "{} {name:?}", path.display());
    }
}

/// Makes an image in which so many files have each of the sets, and has all referees look at it.
fn check(block_size: BlockSize, sets: &[(usize, Xattrs)]) -> Image {
    let mut b = builder(block_size);
    for (number, (count, set)) in sets.iter().enumerate() {
        for n in 0..*count {
            b.with(format!("{number}-{n}"), metadata(set), file(), None);
        }
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    if require::kernel_filesystem("ext4") {
        let mount = Mount::image("ext4", &image.path);
        for (number, (count, set)) in sets.iter().enumerate() {
            for n in 0..*count {
                compare(&mount.path().join(format!("{number}-{n}")), set);
            }
        }
    }
    image
}

fn has_values(image: &Image) -> bool {
    let superblock = image.superblock();
    let features = superblock.get("Filesystem features").unwrap();
    features.split(' ').any(|feature| feature == "ea_inode")
}

#[test]
fn acls_and_every_prefix() {
    let label = b"system_u:object_r:bin_t:s0\0";
    for block_size in [BlockSize::Small, BlockSize::Large] {
        let sets = [
            (2, set(&[(ACCESS, &named())])),
            // In a block, sorted.
            (
                3,
                set(&[
                    (ACCESS, &named()),
                    (b"security.selinux", label),
                    (b"trusted.overlay.origin", b""),
                    (b"user.a", &[1; 200]),
                    (b"user.bb", b"1"),
                    (b"user.\xff\xfe", b"not text"),
                ]),
            ),
            (1, set(&[(b"user.x", b"")])),
            // As long as names can be.
            (1, set(&[(&[b"user.", &[b'n'; 250][..]].concat(), b"v")])),
        ];
        let image = check(block_size, &sets);
        assert!(!has_values(&image));
        let said = run("debugfs", &["-R", "ea_list /0-0"], &image.path);
        assert!(
            said.contains("system.posix_acl_access (36) = 01 00 00 00 01 00 06 00"),
            "{said}"
        );
    }
    let mut b = builder(BlockSize::Large);
    let xattrs = set(&[(ACCESS, &named()), (DEFAULT, &named())]);
    b.with("d", metadata(&xattrs), EntryKind::Directory, None);
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    if require::kernel_filesystem("ext4") {
        let mount = Mount::image("ext4", &image.path);
        compare(&mount.path().join("d"), &xattrs);
    }
}

/// What the programs say that people ask.
#[test]
fn programs_see_acls_and_capabilities() {
    if !require::kernel_filesystem("ext4") || !require::tool("getfacl") || !require::tool("getcap")
    {
        return;
    }
    let raw = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    // Version 3 says whose root it is.
    let of_user = [&[1, 0, 0, 3][..], &raw[4..], &1000_u32.to_le_bytes()].concat();
    let mut b = builder(BlockSize::Large);
    for (name, xattrs) in [
        ("named", set(&[(ACCESS, &named())])),
        ("raw", set(&[(b"security.capability", &raw)])),
        // In a block.
        (
            "both",
            set(&[
                (ACCESS, &named()),
                (b"security.capability", &of_user),
                (b"user.a", &[1; 200]),
            ]),
        ),
    ] {
        b.with(name, metadata(&xattrs), file(), None);
    }
    let xattrs = set(&[(DEFAULT, &named())]);
    b.with("d", metadata(&xattrs), EntryKind::Directory, None);
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    let mount = Mount::writable("ext4", &image.path);
    let said =
        |program: &str, args: &[&str], name: &str| run(program, args, &mount.path().join(name));
    let list = "user::rw-,user:1048576:rwx,group::r--,group:3000000000:r-x,mask::rwx,other::r--";
    let default = list.replace(',', "\ndefault:");
    let of = |name: &str| said("getfacl", &["-ncp"], name);
    for name in ["named", "both"] {
        assert_eq!(of(name).trim().replace('\n', ","), list);
    }
    let found = of("d");
    assert!(
        found.ends_with(&format!("default:{default}\n\n")),
        "{found}"
    );
    assert!(said("getcap", &[], "raw").ends_with("cap_net_raw=ep\n"));
    let found = said("getcap", &["-n"], "both");
    assert!(
        found.contains("cap_net_raw=ep") && found.contains("[rootid=1000]"),
        "{found}"
    );
    // What is made in the directory has its ACL from there.
    std::fs::write(mount.path().join("d/new"), "x").unwrap();
    let found = of("d/new");
    assert!(found.contains("user:1048576:rwx"), "{found}");
    drop(mount);
    image.fsck();
}

#[test]
fn blocks_are_shared_by_up_to_1024_inodes() {
    let set = set(&[(b"user.a", &[7; 300])]);
    let image = check(BlockSize::Large, &[(2500, set)]);
    let block = |name: &str| {
        let said = run("debugfs", &["-R", &format!("stat /{name}")], &image.path);
        let at = said.find("File ACL: ").unwrap();
        said[at + 10..].lines().next().unwrap().to_owned()
    };
    // In the order of names.
    let mut names: Vec<String> = (0..2500).map(|n| format!("0-{n}")).collect();
    names.sort_unstable();
    assert_eq!(block(&names[0]), block(&names[1023]));
    assert_ne!(block(&names[1023]), block(&names[1024]));
    assert_eq!(block(&names[1024]), block(&names[2047]));
    assert_ne!(block(&names[2047]), block(&names[2048]));
}

#[test]
fn long_values_have_inodes_of_their_own() {
    let long: Vec<u8> = (0..65_536_u32).map(|n| (n * 7 / 3) as u8).collect();
    for block_size in [BlockSize::Small, BlockSize::Medium, BlockSize::Large] {
        let sets = [
            (3, set(&[(b"user.long", &long)])),
            // The same value under another name, beside short ones.
            (
                2,
                set(&[
                    (b"trusted.other", &long),
                    (b"user.short", b"s"),
                    (b"security.x", &[5; 70]),
                ]),
            ),
            // Values that together are too long: the longest goes.
            (
                1,
                set(&[
                    (b"user.a", &[1; 900]),
                    (b"user.b", &long[..3500]),
                    (b"user.c", &[3; 300]),
                ]),
            ),
            // More inodes than a block has.
            (1100, set(&[(b"user.many", &long[1..9000])])),
            (1, set(&[(b"user.none", b"")])),
            // An ACL in an inode of its own.
            (1, set(&[(ACCESS, &large_acl()), (b"user.d", &[4; 400])])),
        ];
        let image = check(block_size, &sets);
        assert!(has_values(&image));
        let said = run("debugfs", &["-R", "ea_get /0-0 user.long"], &image.path);
        assert!(said.contains("user.long (65536)"), "{said:.200}");
        // Eleven, the files, and each value once.
        let values = if block_size == BlockSize::Small { 5 } else { 4 };
        assert_eq!(image.report.inodes, 11 + 3 + 2 + 1 + 1100 + 1 + 1 + values);
    }
}

/// An ACL of so many users that it has 4004 bytes in ext4's form.
fn large_acl() -> Vec<u8> {
    let mut entries = vec![(1, 6, u32::MAX)];
    entries.extend((0..498).map(|n| (2, 7, 1000 + n)));
    entries.extend([(4, 4, u32::MAX), (0x10, 7, u32::MAX), (0x20, 4, u32::MAX)]);
    acl(&entries)
}

/// What the kernel does with shared values when files go and change keeps their counts right.
#[test]
fn the_kernel_counts_references_on() {
    let long = vec![9; 40_000];
    let mut b = builder(BlockSize::Large);
    for n in 0..5 {
        let name: &[u8] = if n < 3 { b"user.a" } else { b"user.b" };
        b.with(
            format!("{n}"),
            metadata(&set(&[(name, &long)])),
            file(),
            None,
        );
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    if require::kernel_filesystem("ext4") {
        let mount = Mount::writable("ext4", &image.path);
        let at = |n: u32| mount.path().join(format!("{n}"));
        std::fs::remove_file(at(0)).unwrap();
        rustix::fs::setxattr(at(1), "user.c", b"more", rustix::fs::XattrFlags::empty()).unwrap();
        rustix::fs::setxattr(at(4), "user.d", &long, rustix::fs::XattrFlags::empty()).unwrap();
        rustix::fs::removexattr(at(3), "user.b").unwrap();
        compare(&at(1), &set(&[(b"user.a", &long), (b"user.c", b"more")]));
        compare(&at(2), &set(&[(b"user.a", &long)]));
        drop(mount);
        image.fsck();
    }
}

#[test]
fn what_ext4_has_no_place_for_is_said() {
    let other = set(&[
        (b"com.example", b"1"),
        (b"system.data", b"4"),
        (b"system.nfs4_acl", b"5"),
        (b"system.richacl", b"6"),
        (b"user.", b"2"),
        (b"user.a", b"3"),
    ]);
    let mut names = unsupported_xattrs(&other);
    names.sort_unstable();
    assert_eq!(
        names,
        [
            &b"com.example"[..],
            b"system.data",
            b"system.nfs4_acl",
            b"system.richacl",
            b"user.",
        ]
    );
    assert_eq!(unsupported_xattrs(&set(&[(ACCESS, b"no acl")])), [ACCESS]);
    assert!(unsupported_xattrs(&set(&[(ACCESS, &named()), (DEFAULT, &named())])).is_empty());

    let refused = |set: &Xattrs| {
        let mut b = builder(BlockSize::Small);
        b.with("etc/file", metadata(set), file(), None);
        b.try_finish(&ImageOptions::default()).unwrap_err()
    };
    let said = refused(&set(&[(b"com.example", b"1")])).to_string();
    assert!(
        said.contains("`/etc/file`") && said.contains("`com.example`"),
        "{said}"
    );
    for name in [&b"system.data"[..], b"system.other"] {
        let error = refused(&set(&[(name, b"1")]));
        assert!(matches!(error, WriteError::XattrName { .. }), "{error}");
    }
    // Of no length or version an ACL has, and with a tag Linux reads no ACL with.
    for value in [
        &b"garbage"[..],
        b"",
        &named()[..9],
        b"\x01\0\0\0",
        &acl(&[(0x102, 7, 0)]),
        &acl(&[(0, 7, 0)]),
    ] {
        let error = refused(&set(&[(DEFAULT, value)]));
        assert!(matches!(error, WriteError::Acl { .. }), "{error}");
        let said = error.to_string();
        for part in [
            "`/etc/file`",
            "`system.posix_acl_default`",
            "no valid POSIX ACL",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
    // Names alone are more than a block.
    let mut many = Xattrs::new();
    for n in 0..50 {
        many.set(format!("user.{n}-{}", "x".repeat(60)).as_bytes(), b"v")
            .unwrap();
    }
    let refused = refused(&many);
    assert!(matches!(refused, WriteError::Xattrs { .. }), "{refused}");
}
