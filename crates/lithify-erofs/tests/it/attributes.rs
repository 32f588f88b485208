//! Metadata of files: one image per case that other writers got wrong or could, read back by this crate, checked by
//! `fsck.erofs`, mounted and compared in full.
#![cfg(target_os = "linux")]

use crate::common::{Builder, acl, build, metadata, pattern, with_xattrs};
use lithify_testkit::{Mount, require, run};
use lithify_tree::{EntryKind, Metadata, Timestamp};

#[test]
fn attributes_of_every_prefix_and_length() {
    let long = pattern(1, 65535);
    build(|b| {
        b.file("empty value", with_xattrs(&[("user.empty", b"")]), b"data");
        b.file("longest", with_xattrs(&[("user.long", &long)]), b"data");
        b.file(
            "longest too",
            with_xattrs(&[("user.long", &long), ("trusted.x", b"y")]),
            b"data",
        );
        let name = format!("user.{}", "n".repeat(250));
        b.file("longest name", with_xattrs(&[(&name, b"v")]), b"data");
        b.file(
            "two blocks",
            with_xattrs(&[("user.a", &long[..4000]), ("user.b", &long[..4100])]),
            b"data",
        );
        b.file(
            "capability",
            with_xattrs(&[("security.capability", &CAP_NET_RAW)]),
            b"data",
        );
        b.file(
            "all",
            with_xattrs(&[
                ("user.u", b"1"),
                ("trusted.t", b"2"),
                ("security.s", b"3"),
                ("lustre.l", b"4"),
            ]),
            b"",
        );
        for kind in [
            EntryKind::Fifo,
            EntryKind::Socket,
            EntryKind::Directory,
            EntryKind::Symlink {
                target: b"x".to_vec(),
            },
        ] {
            let path = format!("{kind:?}").split(' ').next().unwrap().to_owned();
            b.entry(
                path,
                with_xattrs(&[("security.selinux", b"label"), ("trusted.x", b"t")]),
                kind,
                None,
            );
        }
        b.directory(
            "",
            with_xattrs(&[("trusted.root", b"the root has some too")]),
        );
    });
}

#[test]
fn many_attributes() {
    for count in [16, 17, 254, 255, 256, 300, 600] {
        let built = build(|b| {
            let values: Vec<(String, Vec<u8>)> = (0..count)
                .map(|i| {
                    (
                        format!("user.{i}"),
                        format!("{i:>width$}", width = i % 90).into_bytes(),
                    )
                })
                .collect();
            let pairs: Vec<(&str, &[u8])> = values
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_slice()))
                .collect();
            b.file("a", with_xattrs(&pairs), &pattern(1, 5000));
            b.file("b", with_xattrs(&pairs), &pattern(2, 500));
            b.file("c", with_xattrs(&pairs[1..]), b"");
            b.entry(
                "l",
                with_xattrs(&[("trusted.a", &[7; 300]), ("trusted.b", &[8; 300])]),
                EntryKind::Symlink {
                    target: vec![b't'; 3900],
                },
                None,
            );
            // The root has no room for that behind the superblock.
            b.directory("", with_xattrs(&pairs));
        });
        assert_eq!(built.report.root_nid == 36, count <= 300, "{count}");
    }
}

#[test]
fn equal_attributes_are_stored_once() {
    let built = build(|b| {
        for i in 0..1000 {
            b.file(
                format!("f{i}"),
                with_xattrs(&[("security.selinux", b"system_u:object_r:usr_t:s0")]),
                b"",
            );
        }
    });
    assert_eq!(built.report.shared_xattrs, 1);
    assert!(built.report.size < 1000 * (32 + 12 + 4 + 50));
}

/// `cap_net_raw+ep`, version 2.
const CAP_NET_RAW: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn acls_and_capabilities_as_their_tools_see_them() {
    let access = acl(&[
        (1, 6, u32::MAX),
        (2, 4, 1234),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ]);
    let default = acl(&[
        (1, 7, u32::MAX),
        (4, 5, u32::MAX),
        (8, 7, 4321),
        (16, 7, u32::MAX),
        (32, 5, u32::MAX),
    ]);
    let built = build(|b| {
        b.file(
            "file",
            with_xattrs(&[("system.posix_acl_access", &access)]),
            b"x",
        );
        b.file(
            "ping",
            with_xattrs(&[("security.capability", &CAP_NET_RAW)]),
            b"x",
        );
        b.directory(
            "dir",
            Metadata {
                mode: 0o775,
                ..with_xattrs(&[("system.posix_acl_default", &default)])
            },
        );
    });
    if !require::kernel_erofs() || !require::tool("getfacl") || !require::tool("getcap") {
        return;
    }
    let mount = Mount::erofs(&built.path);
    let tool = |program: &str, args: &[&str], path: &str| {
        run::text(
            run::command(program)
                .args(args)
                .arg(mount.path().join(path)),
        )
    };
    let text = tool("getfacl", &["-n", "-p"], "file");
    assert!(text.contains("user:1234:r--"), "{text}");
    let text = tool("getfacl", &["-n", "-p"], "dir");
    assert!(text.contains("default:group:4321:rwx"), "{text}");
    let text = tool("getcap", &[], "ping");
    assert!(text.contains("cap_net_raw"), "{text}");
}

#[test]
fn modes_owners_and_times() {
    let built = build(|b| {
        for mode in [0, 0o7777, 0o4755, 0o2755, 0o1777, 0o644] {
            b.file(format!("m{mode:o}"), metadata(mode), b"x");
            b.directory(format!("d{mode:o}"), metadata(mode));
        }
        for id in [0, 1, 65534, 65535, 65536, u32::MAX - 1] {
            b.file(
                format!("o{id}"),
                Metadata {
                    uid: id,
                    gid: u32::MAX - 1 - id,
                    ..metadata(0o644)
                },
                b"x",
            );
        }
        for (seconds, nanoseconds) in [
            (0, 0),
            (0, 1),
            (-1, 999_999_999),
            (-1_000_000_000, 5),
            (1 << 31, 0),
            (1 << 33, 123_456_789),
            (1_700_000_000, 1),
        ] {
            let mtime = Timestamp {
                seconds,
                nanoseconds,
            };
            b.file(
                format!("t{seconds}.{nanoseconds}"),
                Metadata {
                    mtime,
                    ..metadata(0o644)
                },
                b"x",
            );
        }
        b.directory(
            "",
            Metadata {
                uid: 12,
                gid: 34,
                ..metadata(0o1700)
            },
        );
    });
    assert_eq!(built.report.build_time.seconds, 1_700_000_000);
    assert_eq!(
        (built.report.compact_inodes, built.report.extended_inodes),
        (13, 13)
    );
}

#[test]
fn highest_owner_numbers() {
    // The kernel maps (uid_t) -1 to "invalid" and shows the overflow owner, so only the reader is asked.
    let mut b = Builder::new(Vec::new());
    b.file(
        "f",
        Metadata {
            uid: u32::MAX,
            gid: u32::MAX,
            ..metadata(0o644)
        },
        b"x",
    );
    let (bytes, _, expected) = b.finish();
    crate::common::check_with_reader(bytes, &expected);
}

#[test]
fn negative_build_time() {
    build(|b| {
        let m = Metadata {
            mtime: Timestamp {
                seconds: -86_400,
                nanoseconds: 7,
            },
            ..metadata(0o644)
        };
        b.directory("", m.clone());
        for i in 0..10 {
            b.file(format!("f{i}"), m.clone(), b"x");
        }
    });
}
