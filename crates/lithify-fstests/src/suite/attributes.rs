//! Owners, modes, times and extended attributes.

use lithify_tree::{Metadata, Timestamp};

use super::names::build;
use crate::{Filesystem, metadata, pattern, with_xattrs};

pub fn modes_owners_and_times<F: Filesystem>() {
    build::<F>(|b| {
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
}

pub fn extended_attributes<F: Filesystem>() {
    let long = pattern(3, 3000);
    let some = pattern(4, 1000);
    build::<F>(|b| {
        b.file(
            "empty",
            with_xattrs(&[("user.empty", b""), ("trusted.t", b"v")]),
            b"x",
        );
        b.file("long", with_xattrs(&[("user.long", &long)]), b"x");
        // The same value under other names and in other sets.
        b.file(
            "same",
            with_xattrs(&[("user.long", &long), ("user.other", &long)]),
            b"x",
        );
        b.directory(
            "d",
            with_xattrs(&[("trusted.some", &some), ("security.s", &some)]),
        );
        b.symlink("l", b"x");
        for i in 0..3000_usize {
            let value = pattern(i, 20);
            let name = format!("user.{}", "n".repeat(1 + i % 250));
            b.file(
                format!("f{i}"),
                with_xattrs(&[(&name, &value), ("user.all", &some)]),
                b"",
            );
        }
        let names: Vec<String> = (0..20).map(|i| format!("user.{i}")).collect();
        let value = pattern(9, 100);
        let many: Vec<(&str, &[u8])> = names
            .iter()
            .map(|n| (n.as_str(), value.as_slice()))
            .collect();
        b.file("many", with_xattrs(&many), b"");
    });
}
