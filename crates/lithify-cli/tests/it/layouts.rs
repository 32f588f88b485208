//! Layouts that several commands write into at once, that others left in disorder, or whose blobs are not what they should be.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::common::{image, layer, lithify, names, paths, stderr};
use lithify_testkit::{Mount, TarEntry, require, run, temp_dir};
use serde_json::{Value, json};

fn two_layers(dir: &Path) -> String {
    image(
        dir,
        [
            layer([TarEntry::file("below", "x".repeat(100_000))]),
            layer([TarEntry::file("above", "y".repeat(100_000))]),
        ],
    )
}

/// The source name of a tag in a layout.
fn at(layout: &Path, tag: &str) -> String {
    format!("oci:{}:{tag}", layout.display())
}

fn copy(from: &str, to: &str) -> Command {
    let mut command = lithify();
    command.args(["copy", "--quiet", from, to]);
    command
}

/// An overlay's upper directory with one file.
fn changes(dir: &Path) -> PathBuf {
    let upper = dir.join("changes");
    fs::create_dir_all(&upper).unwrap();
    fs::write(upper.join("added"), "new").unwrap();
    upper
}

fn commit(changes: &Path, base: &str, to: &str) -> Command {
    let mut command = lithify();
    command.args(["commit", "--quiet", "--base", base, "-o", to]);
    command.arg(changes);
    command
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn succeed(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

fn index(layout: &Path) -> Value {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

fn tags(layout: &Path) -> Vec<String> {
    let index = index(layout);
    let entries = index["manifests"].as_array().unwrap().iter();
    let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    let mut tags: Vec<String> = entries
        .map(|entry| name(entry).as_str().unwrap().to_owned())
        .collect();
    tags.sort();
    tags
}

/// The blobs of a layout, and which files they are.
fn blobs(layout: &Path) -> BTreeMap<String, u64> {
    let directory = layout.join("blobs/sha256");
    names(&directory)
        .into_iter()
        .map(|name| {
            let inode = fs::metadata(directory.join(&name)).unwrap().ino();
            (name, inode)
        })
        .collect()
}

/// The file of a layer's blob.
fn layer_blob(layout: &Path, number: usize) -> PathBuf {
    let read = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let manifest = fs::read(read(&index(layout)["manifests"][0])).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    read(&manifest["layers"][number])
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn copies_and_commits_at_once_are_all_there_in_the_end() {
    let tmp = temp_dir();
    let source = two_layers(tmp.path());
    let changes = changes(tmp.path());
    let layout = tmp.path().join("layout");
    let mut expected = Vec::new();
    // Into a new layout, then into what that made.
    for round in 0..2 {
        let name = |kind: &str, n: usize| format!("{kind}{round}{n}");
        let copied: Vec<String> = (0..8).map(|n| name("t", n)).collect();
        let start_copy = |tag: &String| start(copy(&source, &at(&layout, tag)));
        succeed(copied.iter().map(start_copy).collect());
        let committed: Vec<String> = (0..4).map(|n| name("c", n)).collect();
        let start_commit = |tag: &String| start(commit(&changes, &source, &at(&layout, tag)));
        succeed(committed.iter().map(start_commit).collect());
        expected.extend(copied.into_iter().chain(committed));
        expected.sort();
        assert_eq!(tags(&layout), expected);
    }
    assert_eq!(names(&layout), ["blobs", "index.json", "oci-layout"]);
    // Both layers, the new one, and a config and a manifest of each image.
    assert_eq!(blobs(&layout).len(), 7);
    assert_eq!(paths(&at(&layout, "t17")), ["/above", "/below"]);
    assert_eq!(paths(&at(&layout, "c03")), ["/above", "/added", "/below"]);
    if require::tool("umoci") && require::tool("skopeo") {
        let mut umoci = run::command("umoci");
        let listed = run::text(umoci.args(["list", "--layout"]).arg(&layout));
        let mut listed: Vec<&str> = listed.lines().collect();
        listed.sort_unstable();
        assert_eq!(listed, expected);
        for tag in ["t00", "c13"] {
            let to = format!("dir:{}", tmp.path().join(tag).display());
            run::ok(run::command("skopeo").args(["copy", "--quiet", &at(&layout, tag), &to]));
        }
    }
}

#[test]
fn what_a_killed_copy_left_is_removed_by_the_next() {
    let tmp = temp_dir();
    let source = two_layers(tmp.path());
    let layout = tmp.path().join("layout");
    run::ok(&mut copy(&source, &at(&layout, "a")));
    let left = [
        "blobs/.new-17-3",
        "blobs/.lithify-00c0ffee00c0ffee.tmp",
        "blobs/sha256/.lithify-00c0ffee00c0ffee.tmp",
    ];
    let held = "blobs/sha256/.lithify-0000000000000001.tmp";
    for name in left.iter().chain([&held]) {
        let file = File::create(layout.join(name)).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(120);
        file.set_modified(long_ago).unwrap();
    }
    let alive = File::open(layout.join(held)).unwrap();
    alive.lock_shared().unwrap();
    run::ok(&mut copy(&source, &at(&layout, "b")));
    for name in left {
        assert!(!layout.join(name).exists(), "{name}");
    }
    assert!(layout.join(held).exists());
}

#[test]
fn a_first_copy_that_fails_leaves_a_valid_layout_to_go_on_with() {
    let tmp = temp_dir();
    let source = two_layers(tmp.path());
    let damaged = layer_blob(&tmp.path().join("image"), 1);
    let good = fs::read(&damaged).unwrap();
    flip(&damaged);
    let layout = tmp.path().join("layout");
    let failing = || {
        // One at a time, and so in order.
        let output = run::output(copy(&source, &at(&layout, "a")).args(["--transfers", "1"]));
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    };
    failing();
    assert_eq!(index(&layout)["manifests"], json!([]));
    let whole = blobs(&layout);
    assert!(!whole.is_empty());
    if require::tool("umoci") {
        let mut umoci = run::command("umoci");
        let listed = run::text(umoci.args(["list", "--layout"]).arg(&layout));
        assert_eq!(listed, "");
    }
    failing();
    assert_eq!(blobs(&layout), whole);
    fs::write(&damaged, good).unwrap();
    run::ok(&mut copy(&source, &at(&layout, "a")));
    let now = blobs(&layout);
    for (name, inode) in whole {
        assert_eq!(now.get(&name), Some(&inode), "{name} is not written again");
    }
    assert_eq!(paths(&at(&layout, "a")), ["/above", "/below"]);
}

#[test]
fn a_layout_that_cannot_be_read_is_not_added_to() {
    let tmp = temp_dir();
    let source = two_layers(tmp.path());
    let changes = changes(tmp.path());
    let cases = [
        ("index.json", r#"{"schemaVersion":2,"manifests":[null]}"#),
        ("index.json", r#"{"schemaVersion":2,"manifests":[{}]}"#),
        ("index.json", r#"{"schemaVersion":1,"manifests":[]}"#),
        ("oci-layout", ""),
        ("oci-layout", r#"{"imageLayoutVersion":"9.0.0"}"#),
    ];
    for (n, (file, content)) in cases.into_iter().enumerate() {
        let layout = tmp.path().join(format!("layout{n}"));
        run::ok(&mut copy(&source, &at(&layout, "a")));
        fs::remove_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(layout.join(file), content).unwrap();
        let to = at(&layout, "b");
        for mut command in [copy(&source, &to), commit(&changes, &source, &to)] {
            let output = run::output(&mut command);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{content}: {said}");
            assert!(said.contains(layout.to_str().unwrap()), "{content}: {said}");
            assert!(said.contains("nothing is added"), "{content}: {said}");
            assert_eq!(fs::read_to_string(layout.join(file)).unwrap(), content);
            assert!(!layout.join("blobs/sha256").exists(), "{content}");
        }
    }
}

#[test]
fn an_image_is_not_listed_over_damaged_blobs() {
    let tmp = temp_dir();
    let source = two_layers(tmp.path());
    let changes = changes(tmp.path());
    let layout = tmp.path().join("layout");
    run::ok(&mut copy(&source, &at(&layout, "a")));
    let blob = layer_blob(&layout, 0);
    let good = fs::read(&blob).unwrap();
    let truncate = |path: &Path| fs::write(path, &good[..good.len() - 1]).unwrap();
    let damages: [&dyn Fn(&Path); 2] = [&flip, &truncate];
    for (n, damage) in damages.into_iter().enumerate() {
        // Copied from where it is right, it is right again.
        damage(&blob);
        run::ok(&mut copy(&source, &at(&layout, &format!("b{n}"))));
        assert!(fs::read(&blob).unwrap() == good);
        damage(&blob);
        let to = at(&layout, &format!("c{n}"));
        run::ok(&mut commit(&changes, &source, &to));
        assert!(fs::read(&blob).unwrap() == good);

        // From itself, it cannot be.
        damage(&blob);
        let before = tags(&layout);
        let (from, to) = (at(&layout, "a"), at(&layout, "no"));
        for mut command in [copy(&from, &to), commit(&changes, &from, &to)] {
            let output = run::output(&mut command);
            assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
            assert_eq!(tags(&layout), before);
        }
        fs::write(&blob, &good).unwrap();
    }
}

/// Wherever the beginning of a layout fails, nothing stays of it, and its own lock is not waited for.
#[test]
fn a_layout_there_is_no_space_for_leaves_nothing() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let source = two_layers(tmp.path());
    // The top, the layout, `oci-layout`, `blobs`, `blobs/sha256`, `index.json`.
    for files in 1..=6 {
        let inodes = format!("nr_inodes={files}");
        let options = ["-t", "tmpfs", "-o", &inodes, "none"].map(OsStr::new);
        let small = Mount::with(options).unwrap();
        let layout = small.path().join("layout");
        let output = run::output(&mut copy(&source, &at(&layout, "a")));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{files}: {said}");
        assert!(said.contains("No space left"), "{files}: {said}");
        assert!(names(small.path()).is_empty(), "{files}");
    }
}
