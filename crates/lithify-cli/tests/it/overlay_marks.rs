//! Images with what overlayfs gives a meaning in them, as those with container storage inside have: a writable mount shows what
//! a read-only one does, or says what it cannot show; and what an image has is data to `commit`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{build, image, layer, lithify, stderr};
use lithify_testkit::{Allow, Field, Snapshot, TarEntry, require, run, temp_dir};

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        lithify().arg("umount").arg(&self.0).status().ok();
    }
}

/// Mounts; the error's text if that is refused.
fn mount(subject: &str, point: &Path, extra: &[&str]) -> Result<Mounted, String> {
    fs::create_dir_all(point).unwrap();
    let mut command = lithify();
    command.env("LITHIFY_STORE", point.with_extension("store"));
    let output = run::output(
        command
            .args(["-q", "mount", subject])
            .arg(point)
            .args(extra),
    );
    match output.status.success() {
        true => Ok(Mounted(point.to_path_buf())),
        false => Err(stderr(&output)),
    }
}

fn storage(dir: &Path, device: bool) -> String {
    let mut entries = vec![
        TarEntry::directory("./").mode(0o755),
        TarEntry::directory("upper").xattr("trusted.overlay.opaque", "y"),
        TarEntry::file("upper/f", "data").xattr("trusted.overlay.origin", "o"),
        TarEntry::directory("moved").xattr("trusted.overlay.redirect", "/upper"),
        TarEntry::file("meta", "data").xattr("trusted.overlay.metacopy", ""),
        TarEntry::directory("rootless").xattr("user.overlay.opaque", "y"),
        TarEntry::file("rootless/.f", "data").xattr("user.overlay.whiteout", "y"),
    ];
    if device {
        entries.push(TarEntry::char_device("upper/gone", 0, 0));
    }
    image(dir, [layer(entries)])
}

#[test]
fn a_writable_mount_shows_what_a_read_only_one_does() {
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let source = storage(tmp.path(), false);
    let directory = tmp.path().join("layers").display().to_string();
    build(&source, "erofs-layers", Path::new(&directory));
    let flat = tmp.path().join("flat.erofs").display().to_string();
    build(&source, "erofs", Path::new(&flat));
    let expected = {
        let point = tmp.path().join("expected");
        let mounted = mount(&flat, &point, &[]).unwrap();
        Snapshot::of(&mounted.0)
    };
    let links = Allow::nothing().also("an overlay's directories have one link", |d| {
        d.field == Field::Links
    });
    for (number, subject) in [&source, &directory].into_iter().enumerate() {
        let point = tmp.path().join(format!("m{number}"));
        let read_only = mount(subject, &point, &[]).unwrap();
        Snapshot::of(&read_only.0).assert_same(&expected, &links);
        drop(read_only);
        let changes = tmp.path().join(format!("c{number}")).display().to_string();
        let writable = mount(subject, &point, &["--rw", &changes]).unwrap();
        Snapshot::of(&writable.0).assert_same(&expected, &links);
    }
    // A file cannot be changed for the overlay: it is refused, with what is in the way.
    let changes = tmp.path().join("c").display().to_string();
    let error = mount(&flat, &tmp.path().join("m"), &["--rw", &changes])
        .err()
        .unwrap();
    assert!(
        error.contains("`/meta`") && error.contains("trusted.overlay.metacopy"),
        "{error}"
    );
    let squashfs = tmp.path().join("flat.squashfs").display().to_string();
    build(&source, "squashfs", Path::new(&squashfs));
    let error = mount(&squashfs, &tmp.path().join("m"), &["--rw", &changes])
        .err()
        .unwrap();
    assert!(error.contains("trusted.overlay."), "{error}");
}

#[test]
fn a_device_that_means_a_removed_name_is_refused_under_a_writable_mount() {
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let source = storage(tmp.path(), true);
    let flat = tmp.path().join("flat.erofs").display().to_string();
    build(&source, "erofs", Path::new(&flat));
    let changes = tmp.path().join("c").display().to_string();
    for subject in [&source, &flat] {
        let point = tmp.path().join("m");
        let read_only = mount(subject, &point, &[]).unwrap();
        assert!(fs::symlink_metadata(point.join("upper/gone")).is_ok());
        drop(read_only);
        let error = mount(subject, &point, &["--rw", &changes]).err().unwrap();
        assert!(error.contains("read-only"), "{error}");
    }
    let without: Vec<TarEntry> = vec![
        TarEntry::directory("d"),
        TarEntry::char_device("d/gone", 0, 0),
    ];
    let source = image(&tmp.path().join("second"), [layer(without)]);
    let error = mount(&source, &tmp.path().join("m"), &["--rw", &changes])
        .err()
        .unwrap();
    assert!(
        error.contains("`/d/gone` is a character device 0:0"),
        "{error}"
    );
}

/// `commit` refused the attributes its own writable mount had carried up.
#[test]
fn attributes_of_the_image_go_through_a_writable_mount_and_commit() {
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let source = storage(tmp.path(), false);
    let point = tmp.path().join("m");
    let changes = tmp.path().join("c").display().to_string();
    let mounted = mount(&source, &point, &["--rw", &changes]).unwrap();
    // Carried up, each with its attributes.
    for name in ["upper/f", "meta", "rootless/.f"] {
        let mut file = fs::File::options()
            .append(true)
            .open(point.join(name))
            .unwrap();
        std::io::Write::write_all(&mut file, b" and more").unwrap();
    }
    fs::remove_dir_all(point.join("moved")).unwrap();
    fs::create_dir(point.join("moved")).unwrap();
    let expected = Snapshot::of(&point);
    drop(mounted);
    for (number, upper) in [changes.clone(), format!("{changes}/upper")]
        .iter()
        .enumerate()
    {
        let new = format!(
            "oci:{}:x",
            tmp.path().join(format!("new-{number}")).display()
        );
        run::ok(lithify().args(["-q", "commit", "--base", &source, "-o", &new, upper]));
        let flat = tmp.path().join(format!("{number}.erofs"));
        build(&new, "erofs", &flat);
        let seen = lithify_testkit::Mount::erofs(&flat);
        let links = Allow::nothing().also("an overlay's directories have one link", |d| {
            d.field == Field::Links
        });
        Snapshot::of(seen.path()).assert_same(&expected, &links);
    }
    // Of another's upper directory nobody knows whose they are.
    let copy = tmp.path().join("copy");
    run::ok(
        run::command("cp")
            .arg("-a")
            .arg(format!("{changes}/upper"))
            .arg(&copy),
    );
    let new = format!("oci:{}:y", tmp.path().join("other").display());
    let commit = |extra: &[&str]| {
        let mut command = lithify();
        command
            .args(["-q", "commit", "--base", &source, "-o", &new])
            .arg(&copy);
        run::output(command.args(extra))
    };
    let refused = commit(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("userxattr"),
        "{}",
        stderr(&refused)
    );
    let said = commit(&["--userxattr", "false"]);
    assert!(said.status.success(), "{}", stderr(&said));
}

/// The root directory's marks were lost on the way to the directory for changes, without a word.
#[test]
fn marks_of_the_root_directory_go_through_a_writable_mount_and_commit() {
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let layers = [
        layer([
            TarEntry::directory("./")
                .mode(0o711)
                .xattr("trusted.overlay.opaque", "y")
                .xattr("trusted.overlay.origin", "o")
                .xattr("trusted.t", "t"),
            TarEntry::file("below", "x"),
        ]),
        layer([TarEntry::file("above", "x")]),
    ];
    let source = image(tmp.path(), layers);
    let directory = tmp.path().join("layers").display().to_string();
    build(&source, "erofs-layers", Path::new(&directory));
    let flat = tmp.path().join("flat.erofs");
    build(&source, "erofs", &flat);
    let expected = Snapshot::of(lithify_testkit::Mount::erofs(&flat).path());
    let links = Allow::nothing().also("an overlay's directories have one link", |d| {
        d.field == Field::Links
    });
    for (number, subject) in [&source, &directory].into_iter().enumerate() {
        let point = tmp.path().join(format!("m{number}"));
        let changes = tmp.path().join(format!("c{number}")).display().to_string();
        // Again over the same changes, too.
        for _ in 0..2 {
            let writable = mount(subject, &point, &["--rw", &changes]).unwrap();
            Snapshot::of(&writable.0).assert_same(&expected, &links);
        }
        let new = format!(
            "oci:{}:x",
            tmp.path().join(format!("new{number}")).display()
        );
        run::ok(lithify().args(["-q", "commit", "--base", &source, "-o", &new, &changes]));
        let again = tmp.path().join(format!("{number}.erofs"));
        build(&new, "erofs", &again);
        let seen = lithify_testkit::Mount::erofs(&again);
        Snapshot::of(seen.path()).assert_same(&expected, &links);
    }
}
