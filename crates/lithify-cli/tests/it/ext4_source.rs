//! `ext4:FILE` and `commit DISK.ext4`: disks that a kernel wrote to, as images again.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{build, image, layer, lithify, lithify_output, names, stderr};
use lithify_testkit::{
    Allow, Difference, Field, Mount, Snapshot, TarEntry, require, run, temp_dir,
};

fn judges() -> bool {
    require::root() && require::kernel_filesystem("ext4") && require::tool("setfattr")
}

/// An image of two layers in a layout of that directory.
fn base(dir: &Path) -> String {
    let base = layer([
        TarEntry::directory("d"),
        TarEntry::file("d/changed", "before"),
        TarEntry::file("d/touched", "the same").mtime(5, 0),
        TarEntry::file("d/kept", "k".repeat(10_000)).mtime(1, 2),
        TarEntry::file("d/removed", "x"),
        TarEntry::directory("tree"),
        TarEntry::file("tree/a", "a"),
        TarEntry::file("tree/b", "b"),
        TarEntry::file("one", "linked"),
        TarEntry::hard_link("two", "one"),
        TarEntry::symlink("link", "d/kept"),
        TarEntry::file("one of many", "x"),
        TarEntry::file("becomes a directory", "x"),
        TarEntry::directory("becomes a file"),
        TarEntry::file("becomes a file/x", "x"),
    ]);
    let upper = layer([TarEntry::file("upper", "u").xattr("user.note", "n")]);
    image(dir, [base, upper])
}

fn changes(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::write(at("d/changed"), "after!").expect("room");
    run::ok(
        run::command("touch")
            .args(["-d", "@77.5"])
            .arg(at("d/touched")),
    );
    fs::remove_file(at("d/removed")).expect("it is there");
    fs::remove_dir_all(at("tree")).expect("it is there");
    fs::hard_link(at("one"), at("three")).expect("a link");
    fs::remove_file(at("link")).expect("it is there");
    symlink("elsewhere", at("link")).expect("a link");
    fs::remove_file(at("becomes a directory")).expect("it is there");
    fs::create_dir(at("becomes a directory")).expect("room");
    fs::write(at("becomes a directory/x"), "x").expect("room");
    fs::remove_dir_all(at("becomes a file")).expect("it is there");
    fs::write(at("becomes a file"), "x").expect("room");
    fs::create_dir_all(at("new/deep")).expect("room");
    fs::set_permissions(at("new"), fs::Permissions::from_mode(0o2750)).expect("it is there");
    let sparse = fs::File::create(at("new/sparse")).expect("room");
    sparse.set_len(5 << 20).expect("room");
    let mut set = run::command("setfattr");
    run::ok(
        set.args(["-n", "user.big", "-v", &"v".repeat(3000)])
            .arg(at("upper")),
    );
    run::ok(
        run::command("mknod")
            .arg(at("new/null"))
            .args(["c", "1", "3"]),
    );
    // Of sockets and their other names nothing is left but a whiteout.
    fs::remove_file(at("one of many")).expect("it is there");
    drop(std::os::unix::net::UnixListener::bind(at("one of many")).expect("room"));
    fs::hard_link(at("one of many"), at("new/socket")).expect("a link");
    for n in 0..500 {
        fs::write(at("new/deep").join(format!("{n:03}")), n.to_string()).expect("room");
    }
}

fn mounted(disk: &Path, change: impl FnOnce(&Path)) {
    let mount = Mount::with([OsStr::new("-o"), OsStr::new("loop,rw"), disk.as_os_str()]);
    change(mount.expect("a mount").path());
}

/// What only a mounted disk has.
fn without_lost_and_found() -> Allow {
    Allow::nothing().also("the filesystem's own", |d: &Difference| {
        d.path == b"lost+found"
    })
}

/// A disk of an image, with changes the kernel made.
fn changed_disk(dir: &Path) -> (String, PathBuf) {
    let source = base(dir);
    let disk = dir.join("disk.ext4");
    let mut command = lithify();
    command.args(["-q", "build", &source, "--size", "64M", "-o"]);
    run::ok(command.arg(&disk));
    mounted(&disk, changes);
    (source, disk)
}

fn ext4(disk: &Path) -> String {
    format!("ext4:{}", disk.display())
}

#[test]
fn a_disk_is_what_the_kernel_shows_of_it() {
    if !judges() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let (_, disk) = changed_disk(tmp.path());
    let expected = Snapshot::of(Mount::image("ext4", &disk).path());
    let out = tmp.path().join("x.erofs");
    build(&ext4(&disk), "erofs", &out);
    expected.assert_same(
        &Snapshot::of(Mount::erofs(&out).path()),
        &without_lost_and_found(),
    );
    let directory = tmp.path().join("dir");
    build(&ext4(&disk), "dir", &directory);
    expected.assert_same(&Snapshot::of(&directory), &without_lost_and_found());
    run::ok(lithify().arg("verify").arg(&disk));
}

#[test]
fn an_image_comes_back_from_its_disk() {
    let tmp = temp_dir();
    let source = base(tmp.path());
    let tar = |source: &str| {
        let out = tmp.path().join("x.tar");
        build(source, "tar", &out);
        fs::read(out).expect("a tar")
    };
    let expected = tar(&source);
    for args in [&[][..], &["--disk", "gpt"], &["--block-size", "1K"]] {
        let disk = tmp.path().join("disk");
        let mut command = lithify();
        command.args(["-q", "build", &source, "-f", "ext4", "-o"]);
        run::ok(command.arg(&disk).args(args));
        assert!(tar(&ext4(&disk)) == expected, "{args:?}");
        let listed = run::text(lithify().args(["ls", "-aR"]).arg(&disk));
        assert!(
            listed.contains("/d/kept\n") && listed.contains("/lost+found\n"),
            "{listed}"
        );
        let shown = run::text(lithify().arg("cat").arg(&disk).arg("/upper"));
        assert_eq!(shown, "u");
    }
}

#[test]
fn a_filesystem_of_mke2fs_is_a_source() {
    if !require::tool("mke2fs") || !require::root() {
        return;
    }
    let tmp = temp_dir();
    let source = base(tmp.path());
    let directory = tmp.path().join("dir");
    build(&source, "dir", &directory);
    for args in [
        &["-t", "ext4"][..],
        &["-t", "ext3"],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext4", "-O", "inline_data,^metadata_csum"],
    ] {
        let disk = tmp.path().join("mke2fs");
        let mut command = run::command("mke2fs");
        command
            .args(["-q", "-F"])
            .args(args)
            .arg("-d")
            .arg(&directory);
        run::ok(command.arg(&disk).arg("16M"));
        run::ok(lithify().arg("verify").arg(&disk));
        let out = tmp.path().join("out");
        build(&ext4(&disk), "dir", &out);
        let root = Allow::nothing().also(
            "mke2fs 1.47 leaves the root and times as they are made",
            |d: &Difference| d.path.is_empty() || d.field == Field::Mtime,
        );
        Snapshot::of(&out).assert_same(&Snapshot::of(&directory), &root);
        fs::remove_dir_all(out).expect("it is there");
    }
}

#[test]
fn a_layer_of_the_differences_makes_the_disk_again() {
    if !judges() {
        return;
    }
    let tmp = temp_dir();
    let (source, disk) = changed_disk(tmp.path());
    let out = format!("oci:{}", tmp.path().join("new:1").display());
    let mut command = lithify();
    command
        .arg("commit")
        .arg(&disk)
        .args(["--base", &source, "-o", &out, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&run::text(&mut command)).expect("JSON");
    // d/removed, tree and the name of a socket; what became something else is in its own place.
    assert_eq!(report["whiteouts"], 3, "{report}");
    assert_eq!(report["sockets"], 2, "{report}");
    let tar = |source: &str| {
        let out = tmp.path().join("x.tar");
        build(source, "tar", &out);
        fs::read(out).expect("a tar")
    };
    assert!(tar(&out) == tar(&ext4(&disk)));
    // What did not change is not in the layer.
    let size = report["layer_size"].as_u64().expect("a number");
    assert!(size < 20_000, "{report}");
    // The same once more, byte for byte.
    let again = format!("oci:{}", tmp.path().join("new:2").display());
    let mut command = lithify();
    command
        .arg("commit")
        .arg(&disk)
        .args(["--base", &source, "-o", &again, "--json"]);
    let second: serde_json::Value = serde_json::from_str(&run::text(&mut command)).expect("JSON");
    assert_eq!(report["layer_digest"], second["layer_digest"]);
}

#[test]
fn a_disk_nobody_wrote_to_has_no_differences() {
    let tmp = temp_dir();
    let source = base(tmp.path());
    let disk = tmp.path().join("disk.ext4");
    build(&source, "ext4", &disk);
    let out = format!("oci:{}", tmp.path().join("new:1").display());
    let mut command = lithify();
    command
        .arg("commit")
        .arg(&disk)
        .args(["--base", &source, "-o", &out, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&run::text(&mut command)).expect("JSON");
    assert_eq!(report["entries"], 0, "{report}");
}

#[test]
fn the_filesystem_s_own_directory_is_left_out_unless_something_is_in_it() {
    if !judges() {
        return;
    }
    let tmp = temp_dir();
    let (source, disk) = changed_disk(tmp.path());
    let has =
        |source: &str| run::text(lithify().args(["ls", "-aR", source])).contains("/lost+found");
    assert!(!has(&ext4(&disk)));
    let out = format!("oci:{}", tmp.path().join("new:1").display());
    let commit = || {
        let mut command = lithify();
        command.arg("commit").arg(&disk);
        run::ok(command.args(["-q", "--base", &source, "-o", &out]));
    };
    commit();
    assert!(!has(&out));
    mounted(&disk, |root| {
        fs::write(root.join("lost+found/#12"), "x").expect("room");
    });
    assert!(has(&ext4(&disk)));
    commit();
    assert!(has(&out));
}

fn refused(args: &[&str], code: i32, expected: &str) {
    let output: Output = lithify_output(args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains(expected),
        "{args:?}: {}",
        stderr(&output)
    );
}

#[test]
fn what_is_no_such_disk_is_told() {
    let tmp = temp_dir();
    let source = base(tmp.path());
    let at = |name: &str| tmp.path().join(name).display().to_string();
    let erofs = tmp.path().join("x.erofs");
    build(&source, "erofs", &erofs);
    fs::write(tmp.path().join("short"), "x").expect("room");
    let out = at("out.tar");
    refused(
        &["-q", "build", &ext4(&erofs), "-o", &out],
        3,
        "not an ext4 image",
    );
    refused(
        &["-q", "build", &format!("ext4:{}", at("short")), "-o", &out],
        3,
        "at least",
    );
    refused(
        &[
            "-q",
            "build",
            &format!("ext4:{}", at("nothing")),
            "-o",
            &out,
        ],
        1,
        "nothing",
    );
    refused(
        &["-q", "build", &format!("ext4:{}", at("")), "-o", &out],
        1,
        "",
    );
    refused(&["-q", "copy", &source, &format!("ext4:{out}")], 2, "");
    let disk = at("disk.ext4");
    build(&source, "ext4", Path::new(&disk));
    // A path is no name; what to write is said.
    refused(&["-q", "build", &disk, "-o", &out], 2, "ext4:");
    let layout = format!("oci:{}", at("new:1"));
    refused(
        &[
            "commit",
            &disk,
            "--base",
            &source,
            "-o",
            &layout,
            "--userxattr",
            "true",
        ],
        2,
        "overlay",
    );
    refused(
        &[
            "-q",
            "build",
            &ext4(Path::new(&disk)),
            "-o",
            &out,
            "--limit",
            "file_bytes=100",
        ],
        1,
        "file_bytes",
    );
    refused(
        &[
            "-q",
            "build",
            &ext4(Path::new(&disk)),
            "-o",
            &out,
            "--limit",
            "entries=3",
        ],
        1,
        "entries",
    );
    assert!(!names(tmp.path()).contains(&"out.tar".to_owned()));
}

fn commit_report(disk: &Path, base: &str, out: &str) -> serde_json::Value {
    let mut command = lithify();
    command.arg("commit").arg(disk);
    command.args(["--base", base, "-o", out, "--json"]);
    serde_json::from_str(&run::text(&mut command)).expect("JSON")
}

/// What an image has and ext4 does not hold as it is, and what only a filesystem has, is no difference.
#[test]
fn what_ext4_does_not_hold_is_no_difference() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer([
            TarEntry::directory("lost+found").mode(0o700),
            TarEntry::file("early", "x").mtime(-9_999_999_999, 0),
            TarEntry::file("late", "x").mtime(99_999_999_999, 5),
            TarEntry::file("other", "x").xattr("com.apple.provenance", "p"),
        ])],
    );
    let disk = tmp.path().join("disk.ext4");
    let mut command = lithify();
    command.args(["-q", "build", &source, "--drop-xattrs", "-o"]);
    run::ok(command.arg(&disk));
    let out = format!("oci:{}", tmp.path().join("new:1").display());
    let report = commit_report(&disk, &source, &out);
    assert_eq!(
        (&report["entries"], &report["whiteouts"]),
        (&0.into(), &0.into()),
        "{report}"
    );
}

#[test]
fn filesystems_are_found_in_vmdks_and_partitions() {
    if !require::tool("sgdisk") {
        return;
    }
    let tmp = temp_dir();
    let source = base(tmp.path());
    let at = |name: &str| tmp.path().join(name);
    let build_disk = |name: &str, args: &[&str]| {
        let mut command = lithify();
        command.args(["-q", "build", &source, "-f", "ext4", "-o"]);
        run::ok(command.arg(at(name)).args(args));
    };
    let reads = |disk: &Path| {
        run::ok(lithify().args(["-q", "verify"]).arg(disk));
        run::ok(lithify().args(["-q", "inspect"]).arg(disk));
        let shown = run::text(lithify().arg("cat").arg(disk).arg("/upper"));
        assert_eq!(shown, "u");
        build(&ext4(disk), "tar", &at("out.tar"));
        let out = format!("oci:{}", at("new:1").display());
        assert_eq!(commit_report(disk, &source, &out)["entries"], 0);
    };
    build_disk("v.vmdk", &["--disk", "vmdk"]);
    reads(&at("v.vmdk"));
    // Behind a partition with nothing in it, as behind one for the firmware.
    build_disk("alone", &["--size", "20M"]);
    let whole = at("whole");
    let filesystem = fs::read(at("alone")).expect("a filesystem");
    let partitioned = |filesystems: &[u64]| {
        let disk = fs::File::create(&whole).expect("room");
        disk.set_len(80 << 20).expect("room");
        let mut sgdisk = run::command("sgdisk");
        sgdisk.args([
            "-n",
            "1:2048:+20M",
            "-n",
            "2:43008:+20M",
            "-n",
            "3:83968:+20M",
        ]);
        run::ok(sgdisk.arg(&whole));
        for sector in filesystems {
            disk.write_all_at(&filesystem, sector * 512).expect("room");
        }
    };
    partitioned(&[43008]);
    reads(&whole);
    partitioned(&[2048, 83968]);
    let path = whole.display().to_string();
    let out = at("out2.tar").display().to_string();
    for args in [
        &["-q", "build", &ext4(&whole), "-o", &out][..],
        &["-q", "verify", &path],
    ] {
        let output = lithify_output(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(
            said.contains("2 partitions") && said.contains("expected one"),
            "{said}"
        );
    }
    partitioned(&[]);
    refused(
        &["-q", "build", &ext4(&whole), "-o", &out],
        1,
        "0 partitions",
    );
}

/// Files are not looked for by their paths one after the other: at this depth that would take minutes of processor time.
#[test]
fn deep_files_are_not_looked_for() {
    if !require::tool("prlimit") {
        return;
    }
    let tmp = temp_dir();
    let deep = "d/".repeat(1000);
    let files = (0..1000).map(|n| TarEntry::file(format!("{deep}{n:05}"), "x"));
    let source = image(tmp.path(), [layer(files)]);
    let disk = tmp.path().join("disk.ext4");
    build(&source, "ext4", &disk);
    let mut limited = run::command("prlimit");
    limited.args([
        "--cpu=20",
        env!("CARGO_BIN_EXE_lithify"),
        "-q",
        "build",
        "--no-store",
    ]);
    run::ok(
        limited
            .arg(ext4(&disk))
            .arg("-o")
            .arg(tmp.path().join("out.tar")),
    );
}
