//! `lithify mount` and `umount`: the kernel's view of artifacts and images.

use crate::common::{build, erofs, image, layer, lithify, lithify_output, stderr};
use lithify_testkit::{TarEntry, require, run, temp_dir};

fn sample() -> Vec<u8> {
    layer([
        TarEntry::directory("d"),
        TarEntry::file("d/f", "data\n"),
        TarEntry::symlink("l", "d/f"),
    ])
}

#[test]
fn artifacts_and_images_are_mounted_read_only_and_unmounted() {
    if !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), [sample()]);
    let artifact = erofs(&source, tmp.path()).display().to_string();
    let point = tmp.path().join("mnt");
    std::fs::create_dir(&point).expect("a directory");
    for subject in [&artifact, &source] {
        run::ok(lithify().args(["-q", "mount", subject]).arg(&point));
        assert_eq!(
            std::fs::read(point.join("l")).expect("the file"),
            b"data\n",
            "{subject}"
        );
        let error = std::fs::write(point.join("new"), "x").expect_err("read-only");
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        run::ok(lithify().arg("umount").arg(&point));
        assert!(!point.join("l").exists());
    }
    let output = run::output(lithify().arg("umount").arg(&point));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn changes_of_a_writable_mount_are_kept_in_its_directory() {
    if !require::kernel_erofs() || !require::kernel_filesystem("overlay") {
        return;
    }
    let tmp = temp_dir();
    let artifact = erofs(&image(tmp.path(), [sample()]), tmp.path());
    let (point, changes) = (tmp.path().join("mnt"), tmp.path().join("changes"));
    std::fs::create_dir(&point).expect("a directory");
    let mount = || {
        run::ok(
            lithify()
                .args(["-q", "mount", "--rw"])
                .arg(&changes)
                .arg(&artifact)
                .arg(&point),
        )
    };
    mount();
    std::fs::write(point.join("d/new"), "x").expect("writable");
    std::fs::remove_file(point.join("d/f")).expect("writable");
    run::ok(lithify().arg("umount").arg(&point));
    mount();
    assert!(point.join("d/new").exists() && !point.join("d/f").exists());
    run::ok(lithify().arg("umount").arg(&point));
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(&*tmp.path().to_string_lossy()), "{mounts}");
}

#[test]
fn a_disk_is_mounted_read_only_or_below_a_directory_of_changes() {
    if !require::root() || !require::kernel_filesystem("ext4") || !require::tool("debugfs") {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), [sample()]);
    let point = tmp.path().join("mnt");
    let changes = tmp.path().join("changes");
    std::fs::create_dir(&point).expect("a directory");
    let disk = tmp.path().join("disk");
    for args in [&[][..], &["--disk", "gpt"]] {
        let mut command = lithify();
        command.args(["-q", "build", &source, "-f", "ext4", "-o"]);
        run::ok(command.arg(&disk).args(args));
        let before = std::fs::read(&disk).expect("a disk");
        run::ok(lithify().args(["-q", "mount"]).arg(&disk).arg(&point));
        assert_eq!(std::fs::read(point.join("l")).expect("the file"), b"data\n");
        let error = std::fs::write(point.join("new"), "x").expect_err("read-only");
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let listed = run::text(lithify().args(["mounts", "--json"]));
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        let all = listed.as_array().expect("a list");
        let at = |m: &&serde_json::Value| m["target"] == *point.to_string_lossy();
        let ours = all.iter().find(at).expect("the mount");
        assert_eq!(ours["kind"], "ext4");
        run::ok(lithify().arg("umount").arg(&point));
        let mut command = lithify();
        command.args(["-q", "mount", "--rw"]).arg(&changes);
        run::ok(command.arg(&disk).arg(&point));
        std::fs::write(point.join("d/new"), "x").expect("writable");
        run::ok(lithify().arg("umount").arg(&point));
        assert!(std::fs::read(&disk).expect("a disk") == before);
    }
    // What a fallen machine left: the kernel would have to write to the disk.
    build(&source, "ext4", &disk);
    let mut command = run::command("debugfs");
    command.args(["-w", "-R", "feature needs_recovery"]);
    run::ok(command.arg(&disk));
    let output = lithify_output(["mount", &disk.to_string_lossy(), &point.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("e2fsck"), "{}", stderr(&output));
}
