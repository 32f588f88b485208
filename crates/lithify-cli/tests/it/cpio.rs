//! `-f cpio`: archives that GNU cpio and libarchive unpack to what `-f dir` makes of the same image. What the kernel makes of
//! them is in `boot.rs`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use lithify_testkit::{Allow, Field, Kind, Snapshot, TarEntry, require, run, temp_dir};
use proptest::prelude::*;
use serde_json::Value;

use crate::common::{build, image, layer, lithify, lithify_output, names, stderr};

/// Unpacks an archive into a new directory `name`.
fn unpacked(dir: &Path, archive: &Path, name: &str, by: &str) -> Snapshot {
    let into = dir.join(name);
    fs::create_dir(&into).unwrap();
    let archive = archive.to_str().unwrap();
    let mut command = match by {
        "cpio" => {
            let mut command = run::command("cpio");
            command.args(["-idmu", "--quiet"]);
            command.stdin(File::open(archive).unwrap());
            command
        }
        _ => {
            let mut command = run::command("bsdtar");
            command.args(["-xpf", archive, "--numeric-owner"]);
            command
        }
    };
    run::ok(command.current_dir(&into));
    Snapshot::of(&into)
}

const PROGRAMS: [&str; 2] = ["cpio", "bsdtar"];

fn programs() -> bool {
    require::root() && PROGRAMS.into_iter().all(require::tool)
}

/// Differences that are the programs' own.
fn allowed(by: &str, expected: &Snapshot) -> Allow {
    let untimed: BTreeSet<Vec<u8>> = expected
        .nodes
        .iter()
        .filter(|(_, node)| matches!(node.kind, Kind::Directory | Kind::Symlink { .. }))
        .map(|(path, _)| path.clone())
        .collect();
    let links = untimed.clone();
    match by {
        // 2.13
        "cpio" => Allow::nothing()
            .also(
                "GNU cpio sets no times of directories and links",
                move |d| d.field == Field::Mtime && untimed.contains(&d.path),
            )
            .also("GNU cpio makes a symbolic link for each name", move |d| {
                matches!(d.field, Field::SameAs | Field::Links) && links.contains(&d.path)
            })
            .also("GNU cpio leaves the root directory as it is", |d| {
                d.path.is_empty()
            }),
        // 3.6.2
        _ => Allow::nothing()
            .also("libarchive makes no sockets", |d| d.path == b"socket")
            .also(
                "libarchive leaves the time of the directory it is in",
                |d| d.path.is_empty() && d.field == Field::Mtime,
            ),
    }
}

fn is_as_directory(dir: &Path, source: &str) {
    build(source, "dir", &dir.join("expected"));
    let expected = Snapshot::of(&dir.join("expected"));
    let archive = dir.join("x.cpio");
    build(source, "cpio", &archive);
    assert_eq!(fs::metadata(&archive).unwrap().len() % 512, 0);
    for by in PROGRAMS {
        expected.assert_same(&unpacked(dir, &archive, by, by), &allowed(by, &expected));
    }
}

#[test]
fn an_archive_is_unpacked_to_what_the_image_is() {
    if !programs() {
        return;
    }
    let tmp = temp_dir();
    let time = |entry: TarEntry, n: i64| entry.mtime(1_500_000_000 + n, 0);
    let base = layer([
        time(TarEntry::directory("."), 0).mode(0o1755).owner(1, 2),
        time(TarEntry::directory("bin"), 1).mode(0o2751),
        time(TarEntry::file("bin/su", "setuid"), 2).mode(0o4755),
        time(TarEntry::file("bin/empty", ""), 3).mode(0),
        time(TarEntry::file("large", vec![7; 300_001]), 4).owner(4_294_967_294, 4_294_967_294),
        time(TarEntry::directory("dev"), 5),
        time(TarEntry::char_device("dev/null", 1, 3), 6).mode(0o666),
        time(TarEntry::block_device("dev/sda", 4095, 1_048_575), 7).mode(0o660),
        time(TarEntry::fifo("dev/pipe"), 8).mode(0o622).owner(3, 4),
        time(TarEntry::symlink("link", "/bin/su"), 9).owner(5, 6),
        time(TarEntry::symlink("to-nothing", "x".repeat(4095)), 10),
        time(TarEntry::directory("links"), 11),
        time(TarEntry::file("links/a", "several names"), 12),
        time(TarEntry::hard_link("links/b", "links/a"), 12),
        time(TarEntry::hard_link("z", "links/a"), 12),
        time(TarEntry::file("links/none", ""), 13),
        time(TarEntry::hard_link("links/none2", "links/none"), 13),
        time(TarEntry::symlink("links/symbolic", "a"), 14),
        time(TarEntry::hard_link("links/symbolic2", "links/symbolic"), 14),
        time(TarEntry::hard_link("links/null", "dev/null"), 6),
        time(TarEntry::hard_link("links/pipe", "dev/pipe"), 8),
        // The name that ends an archive.
        time(TarEntry::file("TRAILER!!!", "no end"), 15),
        time(TarEntry::directory("a"), 16),
        time(TarEntry::file("a/TRAILER!!!", "nor this"), 17),
        time(TarEntry::file("name with \n and \u{fc}", "x"), 18),
        time(TarEntry::file(b"\xff\xfe", "no text"), 19),
        time(TarEntry::file("old", "x"), 20).mtime(0, 0),
        time(TarEntry::file("late", "x"), 20).mtime(0xffff_ffff, 0),
        time(TarEntry::file("gone", "x"), 20),
    ]);
    let upper = layer([
        TarEntry::whiteout("gone"),
        time(TarEntry::file("bin/su", "another"), 21).mode(0o755),
    ]);
    is_as_directory(tmp.path(), &image(tmp.path(), [base, upper]));
}

/// A path of 4095 bytes is the longest the kernel takes; a longer one would be left out without a word.
#[test]
fn a_name_the_kernel_skips_is_refused() {
    let tmp = temp_dir();
    let parts = vec!["d".repeat(255); 15].join("/");
    let longest = format!("{parts}/{}", "f".repeat(255));
    assert_eq!(longest.len(), 4095);
    let out = tmp.path().join("x.cpio");
    build(
        &image(tmp.path(), [layer([TarEntry::file(&longest, "x")])]),
        "cpio",
        &out,
    );
    let found = fs::read(&out).unwrap();
    assert!(found.windows(4095).any(|w| w == longest.as_bytes()));
    let other = temp_dir();
    let long = format!(
        "{}/{}",
        vec!["d".repeat(254); 15].join("/"),
        "f".repeat(255)
    );
    let long = format!("{}/{}", &long[..3840], "f".repeat(255));
    assert_eq!(long.len(), 4096);
    let source = image(other.path(), [layer([TarEntry::file(&long, "x")])]);
    let refused = lithify_output(
        ["-q", "build", &source, "-f", "cpio", "-o"]
            .iter()
            .map(|s| s.to_string())
            .chain([other.path().join("x").display().to_string()]),
    );
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("4096 bytes"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn sockets_are_in_an_archive() {
    if !programs() {
        return;
    }
    let tmp = temp_dir();
    let root = tmp.path().join("root");
    fs::create_dir(&root).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    for name in ["socket", "file", "."] {
        let mut touch = run::command("touch");
        run::ok(touch.args(["-d", "@1500000000"]).arg(root.join(name)));
    }
    is_as_directory(tmp.path(), &format!("rootfs:{}", root.display()));
}

/// An archive has 32 bits for the size of a file: a longer one would end in the middle for whoever reads it.
#[test]
fn a_file_of_4_gib_is_refused_by_name() {
    let tmp = temp_dir();
    let sparse = |size: u64| {
        layer([TarEntry::file("disk.img", "x")
            .record("GNU.sparse.size", size.to_string())
            .record("GNU.sparse.numblocks", "1")
            .record("GNU.sparse.map", "0,1")])
    };
    let source = image(tmp.path(), [sparse(1 << 32)]);
    let before = names(tmp.path());
    let out = tmp.path().join("x.cpio");
    let refused = lithify_output(["build", "-q", &source, "-o", out.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    for part in ["`/disk.img`", "4294967296", "at most 4294967295", "erofs"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(names(tmp.path()), before);
    // Holes are zeros, as many as the limit allows.
    let other = temp_dir();
    let source = image(other.path(), [sparse((1 << 20) + 2)]);
    let build = |limit: &str| {
        let limit = format!("tar_bytes={limit}");
        lithify_output([
            "build",
            "-q",
            &source,
            "--limit",
            &limit,
            "-o",
            out.to_str().unwrap(),
        ])
    };
    let refused = build("1M");
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("`/disk.img`"), "{said}");
    assert!(build("3M").status.success());
    let archive = fs::read(&out).unwrap();
    assert!(archive.len() > 1 << 20);
}

#[test]
fn times_that_do_not_fit_are_counted() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer([
            TarEntry::file("before", "x").mtime(-1, 0),
            TarEntry::file("after", "x").mtime(1 << 32, 0),
            TarEntry::hard_link("after2", "after"),
            TarEntry::file("fraction", "x").mtime(0xffff_ffff, 999_999_999),
        ])],
    );
    let out = tmp.path().join("x.cpio");
    let mut command = lithify();
    command.args(["build", "--json", &source, "-o"]).arg(&out);
    let report: Value = serde_json::from_slice(&run::ok(&mut command)).unwrap();
    let artifact = &report["artifacts"][0];
    assert_eq!(artifact["format"], "cpio");
    assert_eq!(artifact["statistics"]["clamped_times"], 2);
    assert_eq!(artifact["size"], fs::metadata(&out).unwrap().len());
}

/// An attribute that is lost may be a program that no longer works, or one that does more than it may.
#[test]
fn attributes_are_left_out_only_on_request() {
    let tmp = temp_dir();
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let source = image(
        tmp.path(),
        [layer([
            TarEntry::file("ping", "x").xattr("security.capability", capability),
            TarEntry::hard_link("ping6", "ping"),
        ])],
    );
    let out = tmp.path().join("x.cpio");
    let build = |extra: &[&str]| {
        let mut command = lithify();
        command.args(["build", "--json", &source, "-o"]).arg(&out);
        run::output(command.args(extra))
    };
    let refused = build(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    for part in ["`/ping`", "security.capability", "--drop-xattrs", "-f tar"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!out.exists());
    let report: Value = serde_json::from_slice(&run::ok(
        lithify()
            .args(["build", "--json", "--drop-xattrs", &source, "-o"])
            .arg(&out),
    ))
    .unwrap();
    let dropped = &report["artifacts"][0]["dropped_xattrs"];
    assert_eq!(*dropped, serde_json::json!({ "security.capability": 1 }));
    assert_eq!(
        report["artifacts"][0]["options"]["unsupported_xattrs"],
        "drop"
    );
}

/// The name of the output says how it is compressed, and other programs find the archive in it.
#[test]
fn archives_are_compressed_whole() {
    if !["gzip", "zstd"].into_iter().all(require::tool) {
        return;
    }
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer([TarEntry::file("f", "text ".repeat(99_999))])],
    );
    let plain = tmp.path().join("x.cpio");
    build(&source, "cpio", &plain);
    let plain = fs::read(plain).unwrap();
    for (name, compress, program) in [
        ("x.cpio.gz", None, "gzip"),
        ("x.cpio.zst", None, "zstd"),
        ("initrd", Some("gzip:9"), "gzip"),
        ("initrd.zst", Some("zstd:19"), "zstd"),
    ] {
        let out = tmp.path().join(name);
        let mut command = lithify();
        command.args(["build", "--json", "--no-fsync", &source, "-o"]);
        command.arg(&out);
        if let Some(compress) = compress {
            command.args(["-f", "cpio", "--compress", compress]);
        }
        let output = run::output(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!stderr(&output).contains("is the name of"), "{name}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let artifact = &report["artifacts"][0];
        assert_eq!(
            artifact["options"]["compression"],
            compress.unwrap_or(program)
        );
        assert_eq!(artifact["size"], fs::metadata(&out).unwrap().len());
        let sum = run::text(run::command("sha256sum").arg(&out));
        assert!(sum.starts_with(artifact["sha256"].as_str().unwrap()));
        let mut command = run::command(program);
        let unpacked = run::ok(command.arg("-dc").stdin(File::open(&out).unwrap()));
        assert!(unpacked == plain, "{name}");
    }
    let mut command = lithify();
    command.args(["-q", "build", "-f", "cpio", "--compress", "zstd", "-o", "-"]);
    let mut zstd = run::command("zstd");
    let packed = tmp.path().join("packed");
    fs::write(&packed, run::ok(command.arg(&source))).unwrap();
    assert!(run::ok(zstd.arg("-dcf").stdin(File::open(&packed).unwrap())) == plain);
}

/// Whoever unpacks a file goes by its name.
#[test]
fn a_name_that_says_another_compression_is_a_usage_error() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [layer([TarEntry::file("f", "x")])]);
    for (name, args, says) in [
        (
            "x.cpio.gz",
            &["--compress", "zstd"][..],
            &["gzip", "zstd"][..],
        ),
        ("x.cpio.zst", &["--compress", "gzip:9"], &["zstd", "gzip:9"]),
        ("x.cpio.gz", &["--compress", "none"], &["gzip", "none"]),
        (
            "initrd.gz",
            &["-f", "cpio", "--compress", "zstd"],
            &["gzip", "zstd"],
        ),
        ("x.cpio.xz", &[], &["x.cpio.gz and x.cpio.zst"]),
    ] {
        for more in [&[][..], &["-q"], &["--dry-run"]] {
            let mut command = lithify();
            command
                .args(["build", &source, "-o"])
                .arg(tmp.path().join(name));
            let output = run::output(command.args(args).args(more));
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{name} {args:?}: {said}");
            for part in [&[name][..], says].concat() {
                assert!(said.contains(part), "{name}: {said}");
            }
            assert!(!said.contains("tar"), "{said}");
        }
    }
    assert_eq!(names(tmp.path()), ["image"]);
}

#[test]
fn what_an_archive_has_no_use_for_is_a_usage_error() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [layer([TarEntry::file("f", "x")])]);
    let out = tmp.path().join("x.cpio");
    for extra in [
        &["--verity"][..],
        &["--sparse"],
        &["--block-size", "64K"],
        &["--compress", "xz"],
        &["--compress", "lz4"],
        &["--compress", "gzip:10"],
        &["--artifacts", "use"],
    ] {
        for dry in [false, true] {
            let mut command = lithify();
            command.args(["-q", "build", &source, "-o"]).arg(&out);
            command.args(extra).args(dry.then_some("--dry-run"));
            let output = run::output(&mut command);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{extra:?} {}",
                stderr(&output)
            );
        }
    }
    assert!(!out.exists());
}

/// Components of the name, kind, mode, owner, time, data.
type Random = (Vec<String>, u8, u16, u32, u32, Vec<u8>);

fn entries() -> impl Strategy<Value = Vec<Random>> {
    let name = prop::collection::vec("[a-d]{1,2}|TRAILER!!!|\u{e4}", 1..4);
    let entry = (
        name,
        0_u8..8,
        0_u16..0o10000,
        0_u32..=u32::MAX - 1,
        0_u32..=u32::MAX,
        prop::collection::vec(any::<u8>(), 0..40),
    );
    prop::collection::vec(entry, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn random_trees_are_unpacked_to_what_they_are(entries in entries()) {
        if !programs() {
            return Ok(());
        }
        let tmp = temp_dir();
        let mut files: Vec<String> = Vec::new();
        let (mut taken, mut directories) = (BTreeSet::new(), BTreeSet::new());
        let mut tar = vec![TarEntry::directory(".").mtime(1, 0)];
        for (parts, kind, mode, owner, time, data) in entries {
            let path = parts.join("/");
            // No entry in the way of another.
            let above: Vec<String> = (1..parts.len()).map(|n| parts[..n].join("/")).collect();
            if above.iter().any(|path| taken.contains(path))
                || directories.contains(&path)
                || !taken.insert(path.clone())
            {
                continue;
            }
            directories.extend(above);
            let entry = match kind {
                0 => TarEntry::symlink(&path, data.iter().map(|b| b | 1).collect::<Vec<u8>>().escape_ascii().to_string() + "x"),
                1 => TarEntry::char_device(&path, owner % 4096, owner >> 12),
                2 => TarEntry::fifo(&path),
                3 | 4 if !files.is_empty() => {
                    let target = files[owner as usize % files.len()].clone();
                    tar.push(TarEntry::hard_link(&path, &target));
                    continue;
                }
                _ => {
                    files.push(path.clone());
                    TarEntry::file(&path, &data)
                }
            };
            let (uid, gid) = (u64::from(owner), u64::from(owner / 2));
            tar.push(entry.mode(u32::from(mode)).owner(uid, gid).mtime(i64::from(time), 0));
        }
        // Directories that nothing describes have the mode and time they always have.
        is_as_directory(tmp.path(), &image(tmp.path(), [layer(tar)]));
    }
}
