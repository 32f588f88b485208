//! The manifest against GNU find, sha256sum and getfattr.

use std::path::Path;
use std::process::Command;

use crate::common::*;
use lithify_hostfs::{Line, LineKind, snapshot};
use lithify_tree::{Device, EntryKind};

/// Standard output of a program run in a directory.
fn output(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A line in the words of the format given to find below.
fn as_find_has_it(line: &Line) -> String {
    let m = &line.metadata;
    let kind = match &line.kind {
        LineKind::File { .. } => 'f',
        LineKind::Directory => 'd',
        LineKind::Symlink { .. } => 'l',
        LineKind::CharDevice(_) => 'c',
        LineKind::BlockDevice(_) => 'b',
        LineKind::Fifo => 'p',
        LineKind::Socket => 's',
        other => panic!("{other:?}"),
    };
    let target = match &line.kind {
        LineKind::Symlink { target } => String::from_utf8(target.clone()).unwrap(),
        _ => String::new(),
    };
    format!(
        "{}|{kind}|{:o}|{}|{}|{}.{:09}0|{target}",
        String::from_utf8(line.path.clone()).unwrap(),
        m.mode,
        m.uid,
        m.gid,
        m.mtime.seconds,
        m.mtime.nanoseconds,
    )
}

#[test]
fn says_what_find_says() {
    let has = |tool| Command::new(tool).arg("--version").output().is_ok();
    if skip_unless(
        is_root() && has("find") && has("sha256sum"),
        "root, GNU find and sha256sum",
    ) {
        return;
    }
    for work in filesystems() {
        let out = work.path().join("out");
        let mut items = vec![
            dir("d", 0o2750),
            file("d/program", meta(0o4755), b"data"),
            file("d/empty", meta(0), b""),
            sparse("d/sparse", 1 << 20, &[(65536, 4096)]),
            hard_link("same", "d/program"),
            symlink("link", "d/../d"),
            item("fifo", meta(0o620), EntryKind::Fifo),
            item("socket", meta(0o600), EntryKind::Socket),
            item(
                "zero",
                meta(0o666),
                EntryKind::CharDevice(Device { major: 1, minor: 5 }),
            ),
            item(
                "disk",
                meta(0o660),
                EntryKind::BlockDevice(Device {
                    major: 259,
                    minor: 1000,
                }),
            ),
        ];
        for (index, (entry, _)) in items.iter_mut().enumerate() {
            entry.metadata.uid = 100_000 + index as u32;
            entry.metadata.gid = 7;
            entry.metadata.mtime = time(1_700_000_000 + index as i64, 1 + index as u32);
        }
        items[1].0.metadata.xattrs = xattrs(&[("user.a", b"\x00\xff"), ("user.empty", b"")]);
        materialise(&out, &items);
        let lines = snapshot(&out).unwrap();

        let format = "%P|%y|%m|%U|%G|%T@|%l\\n";
        let mut theirs: Vec<String> = output(&out, "find", &[".", "-printf", format])
            .lines()
            .map(str::to_owned)
            .collect();
        let mut ours: Vec<String> = lines.iter().map(as_find_has_it).collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);

        let sums: Vec<String> = lines
            .iter()
            .filter_map(|line| match &line.kind {
                LineKind::File { digest, .. } => {
                    let path = String::from_utf8(line.path.clone()).unwrap();
                    Some(format!("{}  {path}\n", digest.hex()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(sums.len(), 4);
        std::fs::write(work.path().join("sums"), sums.concat()).unwrap();
        output(
            &out,
            "sha256sum",
            &["--check", "--strict", "--quiet", "../sums"],
        );

        let devices = output(&out, "stat", &["-c", "%t:%T", "zero", "disk"]);
        assert_eq!(devices, "1:5\n103:3e8\n");
        let inodes = output(&out, "stat", &["-c", "%i %h", "d/program", "same"]);
        let (first, second) = inodes.trim_end().split_once('\n').unwrap();
        assert!(first == second && first.ends_with(" 2"), "{inodes}");
        let blocks = output(&out, "find", &["d/sparse", "-printf", "%b"]);
        assert!(
            blocks.parse::<u64>().unwrap() <= 32,
            "{blocks} blocks of 512 bytes"
        );
        if !skip_unless(has("getfattr"), "getfattr") {
            let dump = output(&out, "getfattr", &["-d", "-e", "hex", "d/program"]);
            assert!(dump.contains("user.a=0x00ff\n"), "{dump}");
            assert!(
                dump.lines()
                    .any(|l| matches!(l, "user.empty" | "user.empty=0x")),
                "{dump}"
            );
        }
    }
}
