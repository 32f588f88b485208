//! `lithify mount` of all that layers become: whatever the kernel puts together, it shows what the flat EROFS image shows.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::common::stores::{counts, files, lithify_at};
use crate::common::{build, image, layer, lithify, names};
use lithify_testkit::{
    Allow, Difference, Field, Mount, Snapshot, TarEntry, require, run, temp_dir,
};
use serde_json::Value;

/// A mount by the command that does not outlive the test.
struct Mounted {
    point: PathBuf,
}

impl Mounted {
    fn new(store: &Path, what: &str, point: &Path, extra: &[&str]) -> Self {
        fs::create_dir_all(point).unwrap();
        let mut command = lithify_at(store);
        command.args(["-q", "mount", what]).arg(point).args(extra);
        run::ok(&mut command);
        Self {
            point: point.to_path_buf(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.point)
    }

    /// As `lithify mounts --json` tells it.
    fn listed(&self) -> Option<Value> {
        let all = run::ok(lithify().args(["mounts", "--json"]));
        let all: Value = serde_json::from_slice(&all).unwrap();
        let all = all.as_array().unwrap();
        let mut own = all
            .iter()
            .filter(|m| m["target"] == *self.point.to_string_lossy());
        let found = own.next().cloned();
        assert!(own.next().is_none(), "{all:?}");
        let human = run::text(lithify().arg("mounts"));
        let start = format!("{}  ", self.point.display());
        let line = human.lines().find(|l| l.starts_with(&start));
        assert_eq!(line.is_some(), found.is_some(), "{human}");
        if let (Some(line), Some(found)) = (line, &found) {
            assert!(line.contains(found["kind"].as_str().unwrap()), "{line}");
        }
        found
    }

    fn umount(self) {
        run::ok(lithify().arg("umount").arg(&self.point));
        assert!(names(&self.point).is_empty());
        assert_eq!(self.listed(), None);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nothing to do unless the test failed.
        run::output(run::command("umount").arg("--lazy").arg(&self.point));
    }
}

/// Nothing below a directory is mounted or behind a loop device.
#[track_caller]
fn assert_nothing_left(directory: &Path) {
    let name = directory.to_string_lossy();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&*name), "{mounts}");
    for device in fs::read_dir("/sys/block").unwrap() {
        let backing = device.unwrap().path().join("loop/backing_file");
        let backing = fs::read_to_string(backing).unwrap_or_default();
        assert!(!backing.contains(&*name), "{backing}");
    }
}

/// What an overlay cannot show: names of a file that an upper layer hid are counted, directories are not.
fn overlay_differences() -> Allow {
    Allow::nothing().also("links an overlay does not count", |d: &Difference| {
        d.field == Field::Links
    })
}

fn squashfs_differences() -> Allow {
    overlay_differences().also("squashfs has whole seconds from 1970 on", |d| {
        d.field == Field::Mtime
    })
}

/// Layers that say nothing about the root but the lowest, take away, replace and reach through links.
fn sample(dir: &Path) -> String {
    image(
        dir,
        [
            layer([
                TarEntry::directory(".")
                    .mode(0o700)
                    .owner(5, 6)
                    .mtime(77, 8),
                TarEntry::directory("etc").mode(0o711),
                TarEntry::file("etc/gone", "x"),
                TarEntry::file("etc/kept", "kept").xattr("user.note", "v"),
                TarEntry::directory("data").mode(0o2755).owner(3, 4),
                TarEntry::file("data/a", b"text ".repeat(10_000)),
                TarEntry::hard_link("data/b", "data/a"),
                TarEntry::directory("full"),
                TarEntry::file("full/one", "1"),
                TarEntry::directory("run"),
                TarEntry::directory("var"),
                TarEntry::symlink("var/run", "/run"),
            ]),
            layer([
                TarEntry::whiteout("etc/gone"),
                TarEntry::file("var/run/app.pid", "7"),
                TarEntry::hard_link("data/c", "data/a"),
                TarEntry::opaque("full"),
                TarEntry::file("full/three", "3"),
            ]),
            layer([
                TarEntry::directory("new"),
                TarEntry::whiteout("new/nothing"),
                TarEntry::fifo("new/pipe"),
                TarEntry::file("new/big", vec![7; 200_000]),
            ]),
        ],
    )
}

fn kernel() -> bool {
    require::root()
        && require::kernel_erofs()
        && require::kernel_filesystem("overlay")
        && require::kernel_filesystem("squashfs")
}

/// What the flat EROFS image shows.
fn expected(source: &str, dir: &Path) -> Snapshot {
    let flat = dir.join("flat.erofs");
    build(source, "erofs", &flat);
    let mount = Mount::erofs(&flat);
    Snapshot::of(mount.path())
}

#[test]
fn an_image_is_mounted_from_the_store() {
    if !kernel() {
        return;
    }
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let expected = expected(&source, tmp.path());
    let (store, point) = (tmp.path().join("store"), tmp.path().join("mnt"));
    let first = Mounted::new(&store, &source, &point, &[]);
    first.snapshot().assert_same(&expected, &Allow::nothing());
    let listed = first.listed().unwrap();
    assert_eq!(listed["kind"], "erofs", "{listed}");
    assert_eq!(listed["writable"], Value::Null);
    // The top layer says nothing of the root directory.
    let root = fs::metadata(&point).unwrap();
    assert_eq!(
        (root.mode() & 0o7777, root.uid(), root.gid(), root.mtime()),
        (0o700, 5, 6, 77)
    );
    let error = fs::write(point.join("new/file"), "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);

    // The second makes nothing.
    let stored = |store: &Path| -> Vec<(PathBuf, u64)> {
        let kept = |f: &PathBuf| !f.ends_with("stamp.json") && !f.starts_with(store.join("images"));
        let all = files(store).into_iter().filter(kept);
        all.map(|f| (f.clone(), fs::metadata(&f).unwrap().ino()))
            .collect()
    };
    let before = stored(&store);
    assert_eq!(names(&store.join("artifacts")).len(), 4);
    let second = Mounted::new(&store, &source, &tmp.path().join("mnt2"), &[]);
    second.snapshot().assert_same(&expected, &Allow::nothing());
    assert_eq!(stored(&store), before);
    // Nor does a build, which the mounts do not disturb, and collecting what they use does not disturb them.
    assert_eq!(counts(&store, &source, &tmp.path().join("out")), (0, 4));
    run::ok(lithify_at(&store).args(["rm", &source]));
    run::ok(lithify_at(&store).arg("gc"));
    second.snapshot().assert_same(&expected, &Allow::nothing());
    first.umount();
    second.umount();

    // Without a store too.
    let flat = Mounted::new(&store, &source, &point, &["--no-store"]);
    flat.snapshot().assert_same(&expected, &Allow::nothing());
    flat.umount();
    assert_nothing_left(tmp.path());
}

#[test]
fn what_was_built_is_mounted() {
    if !kernel() {
        return;
    }
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let expected = expected(&source, tmp.path());
    let store = tmp.path().join("store");
    type Case = (
        &'static str,
        &'static str,
        &'static [&'static str],
        &'static str,
        fn() -> Allow,
    );
    let cases: [Case; 6] = [
        ("layers", "erofs-layers", &[], "erofs", Allow::nothing),
        (
            "verity",
            "erofs-layers",
            &["--verity"],
            "erofs",
            Allow::nothing,
        ),
        (
            "lz4",
            "erofs-layers",
            &["--compress", "lz4"],
            "overlay",
            overlay_differences,
        ),
        (
            "squashfs-layers",
            "squashfs-layers",
            &[],
            "overlay",
            squashfs_differences,
        ),
        (
            "squashfs",
            "squashfs",
            &[],
            "squashfs",
            squashfs_differences,
        ),
        (
            "erofs",
            "erofs",
            &["--compress", "lz4"],
            "erofs",
            Allow::nothing,
        ),
    ];
    for (name, format, extra, kind, allow) in cases {
        let out = tmp.path().join(name);
        let mut command = lithify_at(&store);
        command.args(["-q", "build", &source, "-f", format, "-o"]);
        run::ok(command.arg(&out).args(extra));
        let point = tmp.path().join(format!("mnt-{name}"));
        let mounted = Mounted::new(&store, out.to_str().unwrap(), &point, &[]);
        let found = mounted.snapshot();
        let differences = found.differences(&expected, &allow());
        assert!(differences.is_empty(), "{name}: {differences:?}");
        let root = fs::metadata(&point).unwrap();
        assert_eq!(
            (root.mode() & 0o7777, root.uid(), root.gid()),
            (0o700, 5, 6),
            "{name}"
        );
        assert_eq!(root.mtime(), 77, "{name}");
        let listed = mounted.listed().unwrap();
        assert_eq!(listed["kind"], kind, "{name}: {listed}");
        let listed = listed["source"].as_str().unwrap_or_default();
        assert!(Path::new(listed).starts_with(&out), "{name}: {listed}");
        mounted.umount();
    }
    assert_nothing_left(tmp.path());
}

#[test]
fn changes_outlive_the_mount() {
    if !kernel() {
        return;
    }
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let store = tmp.path().join("store");
    let layers = |format: &str| {
        let out = tmp.path().join(format);
        let mut command = lithify_at(&store);
        command.args(["-q", "build", &source, "-f", format, "-o"]);
        run::ok(command.arg(&out));
        out.to_str().unwrap().to_owned()
    };
    let point = tmp.path().join("mnt");
    let subjects = [
        source.clone(),
        layers("erofs-layers"),
        layers("squashfs-layers"),
    ];
    for (number, subject) in subjects.iter().enumerate() {
        let changes = tmp.path().join(format!("changes-{number}"));
        let rw = ["--rw", changes.to_str().unwrap()];
        let mounted = Mounted::new(&store, subject, &point, &rw);
        let listed = mounted.listed().unwrap();
        assert_eq!(listed["kind"], "overlay", "{listed}");
        assert_eq!(listed["writable"], *changes.to_string_lossy(), "{listed}");
        fs::write(point.join("etc/new"), "x").unwrap();
        fs::write(point.join("data/a"), "changed").unwrap();
        fs::remove_file(point.join("etc/kept")).unwrap();
        fs::remove_dir_all(point.join("new")).unwrap();
        fs::create_dir(point.join("new")).unwrap();
        mounted.umount();
        let mounted = Mounted::new(&store, subject, &point, &rw);
        assert_eq!(names(&point.join("etc")), ["new"], "{subject}");
        assert_eq!(fs::read(point.join("data/a")).unwrap(), b"changed");
        assert!(names(&point.join("new")).is_empty(), "{subject}");
        assert_eq!(names(&point.join("full")), ["three"], "{subject}");
        mounted.umount();
        // What lies below has not changed.
        let mounted = Mounted::new(&store, subject, &point, &[]);
        assert_eq!(names(&point.join("etc")), ["kept"], "{subject}");
        mounted.umount();
    }
    assert_nothing_left(tmp.path());
}

#[test]
fn more_layers_than_a_list_of_options_holds() {
    if !kernel() {
        return;
    }
    let tmp = temp_dir();
    let layers = (0..130).map(|n| {
        let mut entries = vec![
            TarEntry::directory("d").mode(0o755),
            TarEntry::file(format!("d/{n}"), format!("file {n}")),
            TarEntry::file("last", n.to_string()),
        ];
        if n > 2 {
            entries.push(TarEntry::whiteout(format!("d/{}", n - 2)));
        }
        layer(entries)
    });
    let source = image(tmp.path(), layers);
    let expected = expected(&source, tmp.path());
    let (store, point) = (tmp.path().join("store"), tmp.path().join("mnt"));
    let mounted = Mounted::new(&store, &source, &point, &[]);
    mounted.snapshot().assert_same(&expected, &Allow::nothing());
    mounted.umount();
    for (name, format, extra, allow) in [
        (
            "plain",
            "erofs-layers",
            &[][..],
            Allow::nothing as fn() -> Allow,
        ),
        (
            "lz4",
            "erofs-layers",
            &["--compress", "lz4"],
            overlay_differences,
        ),
        ("squashfs", "squashfs-layers", &[], squashfs_differences),
    ] {
        let out = tmp.path().join(name);
        let mut command = lithify_at(&store);
        command.args(["-q", "build", &source, "-f", format, "--no-fsync", "-o"]);
        run::ok(command.arg(&out).args(extra));
        let mounted = Mounted::new(&store, out.to_str().unwrap(), &point, &[]);
        mounted.snapshot().assert_same(&expected, &allow());
        mounted.umount();
    }
    assert_nothing_left(tmp.path());
}

/// Linux cannot make the root of a `chroot` private that is a directory like any other, and overlays are put together in
/// private.
#[test]
fn overlays_are_mounted_in_a_chroot() {
    if !(require::root() && require::kernel_erofs() && require::tool("unshare")) {
        return;
    }
    let tmp = temp_dir();
    let root = tmp.path().join("root");
    let place = root.join("place");
    fs::create_dir_all(place.join("mnt")).unwrap();
    let source = image(
        tmp.path(),
        [
            layer([
                TarEntry::file("below", "below\n"),
                TarEntry::file("f", "old\n"),
            ]),
            layer([TarEntry::file("f", "new\n")]),
        ],
    );
    for format in ["squashfs-layers", "erofs-layers"] {
        let mut command = lithify_at(&tmp.path().join("store"));
        command.args(["-q", "build", &source, "--compress", "zstd", "-f", format]);
        run::ok(command.arg("-o").arg(place.join(format)));
    }
    let program = PathBuf::from(lithify().get_program());
    // In a mount namespace of its own, so that nothing is left.
    let script = r#"
        set -e
        for name in bin lib lib64 usr dev; do
            if [ -L "/$name" ]; then
                cp -P "/$name" "$1/"
            elif [ -e "/$name" ]; then
                mkdir "$1/$name"
                mount --rbind "/$name" "$1/$name"
            fi
        done
        mkdir "$1/proc" "$1/program" "$1/tmp"
        mount -t proc proc "$1/proc"
        mount --bind "$2" "$1/program"
        in_root() { chroot "$1" /bin/sh -ec "$2"; }
        in_root "$1" '! mountpoint -q /
            for format in squashfs-layers erofs-layers; do
                /program/lithify -q mount /place/$format /place/mnt
                cat /place/mnt/below /place/mnt/f
                /program/lithify -q umount /place/mnt
                /program/lithify -q mount --rw /place/changes-$format /place/$format /place/mnt
                echo more >>/place/mnt/f
                cat /place/mnt/f
                /program/lithify -q umount /place/mnt
            done'
    "#;
    let mut command = run::command("unshare");
    // As `unshare` would make it: where this runs may be a chroot too.
    command.args([
        "--mount",
        "--propagation",
        "unchanged",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    command.arg(&root).arg(program.parent().unwrap());
    let seen = run::text(&mut command);
    assert_eq!(seen, "below\nnew\nnew\nmore\n".repeat(2));
    assert_nothing_left(tmp.path());
}
