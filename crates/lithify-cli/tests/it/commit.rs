//! The way back: a writable mount is changed, committed, and the new image is what the mount showed, for lithify and for
//! umoci and skopeo.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{image, layer, lithify, stderr};
use lithify_testkit::{Allow, Field, Snapshot, TarEntry, require, run, temp_dir};
use serde_json::Value;

fn base(dir: &Path) -> String {
    image(
        dir,
        [
            layer([
                TarEntry::directory(".").mode(0o755).mtime(1_000, 0),
                TarEntry::directory("etc"),
                TarEntry::file("etc/gone", "x"),
                TarEntry::file("etc/changed", "before")
                    .mode(0o640)
                    .owner(3, 4),
                TarEntry::directory("emptied"),
                TarEntry::file("emptied/one", "1"),
                TarEntry::directory("replaced"),
                TarEntry::file("replaced/below", "1"),
            ]),
            layer([
                TarEntry::directory("etc"),
                TarEntry::file("etc/second", "2"),
            ]),
        ],
    )
}

fn with_store(dir: &Path) -> Command {
    let mut command = lithify();
    command.env("LITHIFY_STORE", dir.join("store"));
    command
}

/// A mount that is undone when the test ends.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        lithify().arg("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn an_edited_mount_becomes_an_image() {
    if !require::root()
        || !require::kernel_erofs()
        || !require::tool("umoci")
        || !require::tool("skopeo")
    {
        return;
    }
    let tmp = temp_dir();
    let source = base(&tmp.path().join("base"));
    let (mount, changes) = (tmp.path().join("mnt"), tmp.path().join("changes"));
    fs::create_dir(&mount).unwrap();
    let mut command = with_store(tmp.path());
    command.arg("mount").arg(&source).arg(&mount);
    run::ok(command.arg("--rw").arg(&changes));
    let mounted = Mounted(mount.clone());

    fs::remove_file(mount.join("etc/gone")).unwrap();
    fs::write(mount.join("etc/changed"), "after").unwrap();
    fs::set_permissions(
        mount.join("etc/changed"),
        fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
    fs::remove_dir_all(mount.join("emptied")).unwrap();
    fs::create_dir(mount.join("emptied")).unwrap();
    fs::write(mount.join("emptied/new"), "new").unwrap();
    fs::remove_dir_all(mount.join("replaced")).unwrap();
    symlink("etc", mount.join("replaced")).unwrap();
    fs::create_dir_all(mount.join("srv/deep")).unwrap();
    fs::write(mount.join("srv/deep/data"), vec![7; 300_000]).unwrap();
    fs::hard_link(mount.join("srv/deep/data"), mount.join("srv/link")).unwrap();
    let expected = Snapshot::of(&mount);
    drop(mounted);

    // Into a new layout.
    let new = tmp.path().join("new");
    let tagged = format!("oci:{}:edited", new.display());
    let commit = |extra: &[&str], destination: &str| {
        let mut command = lithify();
        command
            .args(["commit", "--json", "-o", destination])
            .args(extra);
        let json: Value = serde_json::from_slice(&run::ok(command.arg(&changes))).unwrap();
        json
    };
    let first = commit(&["--base", &source], &tagged);
    assert_eq!(first["layers"], 3);
    let skopeo = run::text(run::command("skopeo").args(["inspect", "--raw", &tagged]));
    let manifest: Value = serde_json::from_str(&skopeo).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
    let bundle = tmp.path().join("bundle");
    let mut umoci = run::command("umoci");
    umoci.args(["unpack", "--image", &format!("{}:edited", new.display())]);
    run::ok(umoci.arg(&bundle));
    let links = Allow::nothing().also("an overlay's directories have one link", |d| {
        d.field == Field::Links
    });
    Snapshot::of(&bundle.join("rootfs")).assert_same(&expected, &links);
    // And lithify's own.
    let flat = tmp.path().join("flat.erofs");
    crate::common::build(&tagged, "erofs", &flat);
    let seen = lithify_testkit::Mount::erofs(&flat);
    Snapshot::of(seen.path()).assert_same(&expected, &links);
    drop(seen);

    // The same changes are the same image.
    let again = tmp.path().join("again");
    let second = commit(
        &["--base", &source],
        &format!("oci:{}:edited", again.display()),
    );
    assert_eq!(first, second);

    // On top of the image that has the tag: the layout keeps all else.
    let third = commit(
        &["--created", "2030-01-02T03:04:05Z", "-m", "again"],
        &tagged,
    );
    assert_eq!(third["layers"], 4);
    assert_eq!(third["diff_id"], first["diff_id"]);
    let digest = first["manifest_digest"].as_str().unwrap();
    assert!(
        new.join("blobs/sha256")
            .join(&digest["sha256:".len()..])
            .is_file()
    );
    let inspect = run::text(run::command("skopeo").args(["inspect", &tagged]));
    let inspect: Value = serde_json::from_str(&inspect).unwrap();
    assert_eq!(inspect["Created"], "2030-01-02T03:04:05Z");
    // Another tag beside it.
    commit(
        &["--base", &source, "--compress", "zstd"],
        &format!("oci:{}:other", new.display()),
    );
    let tags = run::text(run::command("umoci").args(["ls", "--layout"]).arg(&new));
    assert_eq!(tags.lines().collect::<Vec<_>>(), ["edited", "other"]);
    run::ok(lithify().args(["verify", &format!("oci:{}:other", new.display())]));
}

#[test]
fn what_cannot_be_committed_is_said() {
    let tmp = temp_dir();
    let source = base(&tmp.path().join("base"));
    let upper = tmp.path().join("upper");
    fs::create_dir(&upper).unwrap();
    let commit = |args: &[&str]| {
        let mut command = lithify();
        command.arg("commit").arg(&upper).args(args);
        let output = run::output(&mut command);
        (output.status.code(), stderr(&output))
    };
    let new = format!("oci:{}:x", tmp.path().join("new").display());
    let (code, message) = commit(&["-o", &new]);
    assert_eq!(code, Some(1));
    assert!(message.contains("--base"), "{message}");
    let (code, message) = commit(&["-o", "rootfs:/x", "--base", &source]);
    assert_eq!(code, Some(2));
    assert!(message.contains("oci:DIR"), "{message}");
    fs::write(upper.join(".wh.trick"), "").unwrap();
    let (code, message) = commit(&["-o", &new, "--base", &source]);
    assert_eq!(code, Some(1));
    assert!(message.contains(".wh.trick"), "{message}");
    assert!(!tmp.path().join("new").exists());
}
