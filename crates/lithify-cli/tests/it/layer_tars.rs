//! Tars that leave the house, by `-f tar` and `commit`: every program reads the files and attributes they hold.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::common::{build, image, layer, lithify, lithify_output, stderr};
use lithify_testkit::{TarEntry, require, run, temp_dir};
use serde_json::Value;

/// Makes a file with a hole; `false` where the filesystem has none.
fn sparse_file(path: &Path, size: u64) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let file = fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"end", size - 3).unwrap();
    let blocks = file.metadata().unwrap().blocks();
    require::met(blocks * 512 < size, "a filesystem with holes")
}

/// What an option of `tar -t` prints of a tar.
fn listed(program: &[&str], tar: &Path) -> String {
    run::text(
        run::command(program[0])
            .args(&program[1..])
            .arg("-tf")
            .arg(tar),
    )
}

#[test]
fn a_tar_of_a_sparse_file_is_whole_unless_sparse_is_asked_for() {
    let tmp = temp_dir();
    let source = tmp.path().join("root");
    fs::create_dir(&source).unwrap();
    if !sparse_file(&source.join("disk.img"), 1 << 20) {
        return;
    }
    let source = format!("rootfs:{}", source.display());
    let (dense, sparse) = (tmp.path().join("dense.tar"), tmp.path().join("sparse.tar"));
    build(&source, "tar", &dense);
    let mut command = lithify();
    command.args(["-q", "build", &source, "-f", "tar", "--sparse", "-o"]);
    run::ok(command.arg(&sparse));
    assert!(fs::metadata(&dense).unwrap().len() > 1 << 20);
    assert!(fs::metadata(&sparse).unwrap().len() < 1 << 16);
    for program in [&["busybox", "tar"][..], &["tar"], &["bsdtar"]] {
        if require::tool(program[0]) {
            assert_eq!(listed(program, &dense).lines().last(), Some("disk.img"));
        }
    }
    // Both are the same image.
    let digest = |tar: &Path| {
        let out = tmp.path().join("out.erofs");
        build(&format!("tar:{}", tar.display()), "tar", &out);
        fs::read(&out).unwrap()
    };
    assert!(digest(&dense) == digest(&sparse));
    let output = lithify_output([
        "build",
        &source,
        "-f",
        "erofs",
        "--sparse",
        "-o",
        "/nonexistent/x",
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_committed_layer_has_no_sparse_members() {
    if !require::root() || !require::tool("busybox") {
        return;
    }
    let tmp = temp_dir();
    let base = image(tmp.path(), [layer([TarEntry::directory("d")])]);
    let upper = tmp.path().join("changes");
    fs::create_dir(&upper).unwrap();
    if !sparse_file(&upper.join("disk.img"), 1 << 20) {
        return;
    }
    let layout = tmp.path().join("out");
    let mut command = lithify();
    command.args(["commit", "--json", "--compress", "none", "--base", &base]);
    command.arg(&upper).arg("-o");
    let text = run::text(command.arg(format!("oci:{}:new", layout.display())));
    let report: Value = serde_json::from_str(&text).unwrap();
    let digest = report["layer_digest"].as_str().unwrap();
    let blob = layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
    assert_eq!(listed(&["busybox", "tar"], &blob), "./\ndisk.img\n");
    assert!(fs::metadata(&blob).unwrap().len() > 1 << 20);
}

#[test]
fn holes_that_would_fill_the_disk_are_refused_by_name_and_the_hints_work() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let root = tmp.path().join("root");
    fs::create_dir(&root).unwrap();
    if !sparse_file(&root.join("lastlog"), 1 << 40) {
        return;
    }
    let (source, out) = (
        format!("rootfs:{}", root.display()),
        tmp.path().join("out.tar"),
    );
    let shown = out.to_str().unwrap();
    let output = lithify_output(["build", &source, "-f", "tar", "-o", shown]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for part in ["`/lastlog`", "--sparse", "tar_bytes"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!out.exists());
    run::ok(lithify().args(["-q", "build", &source, "-f", "tar", "--sparse", "-o", shown]));

    let layout = format!("oci:{}:new", tmp.path().join("layout").display());
    let base = image(tmp.path(), [layer([TarEntry::directory("d")])]);
    let commit = |limit: &[&str]| {
        let mut command = lithify();
        command
            .args(["commit", "--base", &base, "-o", &layout])
            .arg(&root);
        run::output(command.args(limit))
    };
    let text = stderr(&commit(&[]));
    assert!(
        text.contains("`/lastlog`") && text.contains("tar_bytes"),
        "{text}"
    );
    assert!(!tmp.path().join("layout").exists());
    fs::File::create(root.join("lastlog"))
        .unwrap()
        .set_len(8192)
        .unwrap();
    let limited = commit(&["--limit", "tar_bytes=4K"]);
    assert_eq!(limited.status.code(), Some(1), "{}", stderr(&limited));
    let raised = commit(&["--limit", "tar_bytes=8K"]);
    assert!(raised.status.success(), "{}", stderr(&raised));
}

/// `user.a=b` became `user.a`, over an attribute of that name.
#[test]
fn attribute_names_with_equals_signs_survive_tar_and_commit() {
    if !require::root() || !require::tool("setfattr") || !require::tool("getfattr") {
        return;
    }
    let tmp = temp_dir();
    let root = tmp.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f"), "x").unwrap();
    for (name, value) in [
        ("user.a", "1"),
        ("user.a=b", "2"),
        ("user.a%3Db", "3"),
        ("user.100%", "4"),
        ("user.two\nlines", "5"),
    ] {
        let mut command = run::command("setfattr");
        command.args(["-n", name, "-v", value]).arg(root.join("f"));
        run::ok(&mut command);
    }
    let dump = |path: &Path| {
        let mut command = run::command("getfattr");
        command.args(["-d", "-m", "^user", "f"]).current_dir(path);
        run::text(&mut command)
    };
    let expected = dump(&root);
    let source = format!("rootfs:{}", root.display());
    let tar = tmp.path().join("out.tar");
    build(&source, "tar", &tar);
    let out = |name: &str| {
        let path = tmp.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let by_tar = out("by-tar");
    let mut command = run::command("tar");
    command
        .args(["--xattrs", "--xattrs-include=*", "-xf"])
        .arg(&tar);
    run::ok(command.arg("-C").arg(&by_tar));
    assert_eq!(dump(&by_tar), expected);
    build(
        &format!("tar:{}", tar.display()),
        "dir",
        &tmp.path().join("by-us"),
    );
    assert_eq!(dump(&tmp.path().join("by-us")), expected);

    let base = image(tmp.path(), [layer([TarEntry::directory("d")])]);
    let committed = format!("oci:{}:new", tmp.path().join("layout").display());
    let mut command = lithify();
    command.args(["-q", "commit", "--base", &base, "-o", &committed]);
    run::ok(command.arg(&root));
    build(&committed, "dir", &tmp.path().join("committed"));
    assert_eq!(dump(&tmp.path().join("committed")), expected);
}
