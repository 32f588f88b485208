//! Attributes a format cannot hold: an error that says which and what to do, and `--drop-xattrs` for every format, which leaves
//! out those and counts them.

use std::fs;
use std::path::Path;

use crate::common::{fsck, image, layer, lithify, stderr};
use lithify_testkit::{TarEntry, require, run, temp_dir};
use serde_json::Value;

/// An image with an attribute that is held and one that is not.
fn with(dir: &Path, name: &str, value: &[u8]) -> String {
    image(
        dir,
        [layer([
            TarEntry::directory("d"),
            TarEntry::file("d/f", "data")
                .xattr("user.kept", "yes")
                .xattr(name, value),
            TarEntry::file("d/g", "more").xattr(name, value),
        ])],
    )
}

const IMAGES: [&str; 6] = [
    "erofs",
    "ext4",
    "erofs-layers",
    "squashfs",
    "squashfs-layers",
    "containerd-cache",
];

#[test]
fn every_format_drops_what_it_cannot_hold_and_says_so() {
    let tmp = temp_dir();
    let long = vec![b'v'; 65536];
    for (number, (name, value, in_squashfs)) in [
        ("com.apple.provenance", &b"\x01"[..], false),
        ("system.nfs4_acl", b"x", false),
        ("user", b"x", false),
        ("user.long", &long, true),
        ("system.posix_acl_access", b"\x02\0\0\0", false),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = tmp.path().join(number.to_string());
        let source = with(&dir, name, value);
        for format in IMAGES {
            let fits = match format {
                "squashfs" | "squashfs-layers" => in_squashfs,
                // Values have inodes of their own.
                "ext4" => matches!(name, "user.long" | "system.posix_acl_access"),
                _ => name == "system.posix_acl_access",
            };
            let out = dir.join(format);
            let build = |extra: &[&str]| {
                let mut command = lithify();
                command.env("LITHIFY_STORE", dir.join("store"));
                command
                    .args(["build", "--json", &source, "-f", format, "-o"])
                    .arg(&out);
                run::output(command.args(extra))
            };
            if !fits {
                let refused = build(&[]);
                assert_eq!(refused.status.code(), Some(1), "{format} {name}");
                let text = stderr(&refused);
                for part in [name, "d/f", "--drop-xattrs", "-f tar"] {
                    assert!(text.contains(part), "{format} {name}: {text}");
                }
                let left = fs::read_dir(&out).map_or(0, Iterator::count);
                assert_eq!(left, 0, "{format}");
                assert!(!out.is_file(), "{format}");
            }
            let dropped = build(&["--drop-xattrs"]);
            assert!(
                dropped.status.success(),
                "{format} {name}: {}",
                stderr(&dropped)
            );
            let report: Value = serde_json::from_slice(&dropped.stdout).unwrap();
            let artifacts = report["artifacts"].as_array().unwrap();
            let counted: u64 = artifacts
                .iter()
                .filter_map(|a| a["dropped_xattrs"][name].as_u64())
                .sum();
            assert_eq!(
                counted,
                if fits { 0 } else { 2 },
                "{format} {name}: {report}"
            );
            // From the store the same is said.
            let again: Value = serde_json::from_slice(&build(&["--drop-xattrs"]).stdout).unwrap();
            assert_eq!(again["artifacts"], report["artifacts"], "{format} {name}");
            // What is held is kept, and what is made is sound.
            if format == "erofs" {
                fsck(&out);
            }
            if format != "containerd-cache" {
                run::ok(lithify().args(["-q", "verify"]).arg(&out));
            }
            if format == "erofs" && require::root() && require::kernel_erofs() {
                let seen = lithify_testkit::Mount::erofs(&out);
                let mut command = run::command("getfattr");
                command
                    .args(["-d", "-m", "-", "f"])
                    .current_dir(seen.path().join("d"));
                let text = run::text(&mut command);
                assert!(text.contains("user.kept=\"yes\""), "{text}");
                assert!(fits || !text.contains("user.long"), "{text}");
            }
        }
        // As the hint says: a tar holds all, and needs nothing to be dropped.
        for (format, extra) in [
            ("tar", &[][..]),
            ("tar", &["--drop-xattrs"]),
            ("dir", &["--drop-xattrs"]),
        ] {
            let out = dir.join(format!("{format}{}", extra.len()));
            let mut command = lithify();
            command
                .args(["build", "--json", &source, "-f", format, "-o"])
                .arg(&out);
            let report: Value = serde_json::from_slice(&run::ok(command.args(extra))).unwrap();
            assert_eq!(report["artifacts"][0]["dropped_xattrs"], Value::Null);
            if format == "tar" {
                let tar = fs::read(&out).unwrap();
                let key = format!("SCHILY.xattr.{name}=");
                assert!(tar.windows(key.len()).any(|w| w == key.as_bytes()));
            }
        }
    }
}

#[test]
fn the_text_names_what_was_left_out() {
    let tmp = temp_dir();
    let source = with(tmp.path(), "com.apple.\u{202e}x", b"1");
    let out = tmp.path().join("x.erofs");
    let mut command = lithify();
    command
        .args(["build", &source, "--drop-xattrs", "-o"])
        .arg(&out);
    let output = run::output(&mut command);
    assert!(output.status.success());
    let text = stderr(&output);
    assert!(
        text.contains("left out: the extended attribute com.apple.\\u{202e}x of 2 files"),
        "{text}"
    );
}

#[test]
fn more_attributes_than_an_inode_holds_lose_the_last() {
    let tmp = temp_dir();
    let mut entry = TarEntry::file("f", "data");
    for number in 0..1000 {
        entry = entry.xattr(format!("user.{number:04}"), [b'v'; 200]);
    }
    let source = image(tmp.path(), [layer([entry])]);
    let out = tmp.path().join("x.erofs");
    let build = |extra: &[&str]| {
        let mut command = lithify();
        command.args(["build", "--json", &source, "-o"]).arg(&out);
        run::output(command.args(extra))
    };
    let refused = build(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("--drop-xattrs"),
        "{}",
        stderr(&refused)
    );
    let dropped = build(&["--drop-xattrs"]);
    assert!(dropped.status.success(), "{}", stderr(&dropped));
    let report: Value = serde_json::from_slice(&dropped.stdout).unwrap();
    let names = report["artifacts"][0]["dropped_xattrs"]
        .as_object()
        .unwrap();
    assert!(
        names.len() <= 65,
        "an image cannot make the report any length"
    );
    let count: u64 = names.values().filter_map(Value::as_u64).sum();
    assert!((1..745).contains(&count), "{count}");
    fsck(&out);
    run::ok(lithify().args(["-q", "verify"]).arg(&out));
}

#[test]
fn mount_and_push_drop_too() {
    let tmp = temp_dir();
    let source = with(tmp.path(), "com.apple.provenance", b"1");
    let store = tmp.path().join("store");
    let command = || {
        let mut command = lithify();
        command.env("LITHIFY_STORE", &store).arg("-q");
        command
    };
    for form in ["erofs", "erofs-image", "squashfs"] {
        let to = format!("oci:{}:x", tmp.path().join(format!("to-{form}")).display());
        let push = |extra: &[&str]| {
            run::output(
                command()
                    .args(["push", &source, &to, "--as", form])
                    .args(extra),
            )
        };
        let refused = push(&[]);
        assert!(
            stderr(&refused).contains("--drop-xattrs"),
            "{form}: {}",
            stderr(&refused)
        );
        let dropped = push(&["--drop-xattrs"]);
        assert!(dropped.status.success(), "{form}: {}", stderr(&dropped));
    }
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let point = tmp.path().join("mnt");
    fs::create_dir(&point).unwrap();
    for no_store in [&[][..], &["--no-store"]] {
        let mount = |extra: &[&str]| {
            let mut command = command();
            run::output(
                command
                    .args(["mount", &source])
                    .arg(&point)
                    .args(no_store)
                    .args(extra),
            )
        };
        let refused = mount(&[]);
        assert!(
            stderr(&refused).contains("--drop-xattrs"),
            "{}",
            stderr(&refused)
        );
        let dropped = mount(&["--drop-xattrs"]);
        assert!(dropped.status.success(), "{}", stderr(&dropped));
        assert_eq!(fs::read(point.join("d/f")).unwrap(), b"data");
        run::ok(lithify().arg("umount").arg(&point));
    }
}

/// What no Linux could hold is refused while a layer is read, for every format.
#[test]
fn what_linux_cannot_hold_can_be_left_out_too() {
    let tmp = temp_dir();
    let source = with(tmp.path(), "user.huge", &vec![b'v'; 65537]);
    for format in IMAGES.into_iter().chain(["tar", "dir"]) {
        let out = tmp.path().join(format);
        let build = |extra: &[&str]| {
            let mut command = lithify();
            command.env("LITHIFY_STORE", tmp.path().join("store"));
            command
                .args(["build", "--json", &source, "-f", format, "-o"])
                .arg(&out);
            run::output(command.args(extra))
        };
        let refused = build(&[]);
        assert_eq!(refused.status.code(), Some(1), "{format}");
        let text = stderr(&refused);
        for part in ["user.huge", "d/f", "--drop-xattrs"] {
            assert_eq!(text.matches(part).count(), 1, "{format}: {text}");
        }
        let dropped = build(&["--drop-xattrs"]);
        assert!(dropped.status.success(), "{format}: {}", stderr(&dropped));
        let report: Value = serde_json::from_slice(&dropped.stdout).unwrap();
        assert_eq!(
            report["artifacts"][0]["dropped_xattrs"]["user.huge"], 2,
            "{format}: {report}"
        );
    }
}

/// What makes no filesystem needs no attributes; what Linux cannot hold is told.
#[test]
fn looking_at_an_image_needs_no_attributes() {
    let tmp = temp_dir();
    let long_value = vec![b'v'; 65537];
    let long_name = format!("user.{}", "n".repeat(251));
    for (number, (name, value)) in [("user.long", &*long_value), (&long_name, b"x")]
        .into_iter()
        .enumerate()
    {
        let source = with(&tmp.path().join(number.to_string()), name, value);
        let shown = &name[..name.len().min(255)];
        let said = |args: &[&str]| {
            let output = run::output(lithify().args(args));
            assert_eq!(
                output.status.code(),
                Some(0),
                "{args:?}: {}",
                stderr(&output)
            );
            (
                String::from_utf8(output.stdout.clone()).unwrap(),
                stderr(&output),
            )
        };
        let (listed, note) = said(&["ls", "-R", &source]);
        assert_eq!(listed, "/d\n/d/f\n/d/g\n");
        assert!(note.contains(&format!("{shown} of 2 files")), "{note}");
        assert_eq!(said(&["-q", "ls", "-R", &source]).1, "");
        let (listed, _) = said(&["ls", "--json", &source, "/d/f"]);
        assert!(listed.contains("user.kept"), "{listed}");
        assert_eq!(said(&["cat", &source, "/d/f"]).0, "data");
        let (verified, _) = said(&["verify", &source]);
        assert!(
            verified.contains(&format!("{shown} of 2 files")),
            "{verified}"
        );
        let report: Value = serde_json::from_str(&said(&["verify", "--json", &source]).0).unwrap();
        assert_eq!(report["unusable_xattrs"][shown], 2);
        let mut build = lithify();
        build.args(["build", &source, "-f", "dir", "-o"]);
        let refused = run::output(build.arg(tmp.path().join("dir")));
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    }
}
