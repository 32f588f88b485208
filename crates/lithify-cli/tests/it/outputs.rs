//! An output exists complete or not at all.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{image, layer, lithify, names, stderr};
use lithify_testkit::{Mount, TarEntry, require, run, temp_dir};

fn megabytes(count: usize) -> Vec<u8> {
    layer((0..count).map(|n| {
        let mut data = vec![0; 1 << 20];
        for (at, byte) in data.iter_mut().enumerate() {
            *byte = (at.wrapping_mul(2_654_435_761).wrapping_add(n) >> 13) as u8;
        }
        TarEntry::file(format!("file{n}"), data)
    }))
}

#[test]
fn a_killed_build_leaves_no_file() {
    let tmp = temp_dir();
    let out = tmp.path().join("out");
    std::fs::create_dir(&out).expect("out");
    for format in ["erofs", "tar", "cpio"] {
        for wait in [5, 20, 60] {
            // Standard input that never ends: the build is certainly in the middle when it is killed.
            let mut child = lithify()
                .args(["-q", "build", "tar:-", "-f", format, "-o"])
                .arg(out.join("x"))
                .stdin(Stdio::piped())
                .spawn()
                .expect("lithify starts");
            let mut stdin = child.stdin.take().expect("a pipe");
            let tar = megabytes(4);
            stdin.write_all(&tar[..3 << 20]).expect("lithify reads");
            std::thread::sleep(Duration::from_millis(wait));
            child.kill().expect("kill");
            child.wait().expect("wait");
            assert_eq!(names(&out), [""; 0], "{format} after {wait} ms");
        }
    }
}

#[test]
fn a_source_that_vanishes_is_an_error_and_leaves_no_file() {
    let tmp = temp_dir();
    let out = tmp.path().join("x.erofs");
    let mut child = lithify()
        .args(["-q", "build", "tar:-", "-o"])
        .arg(&out)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lithify starts");
    let tar = megabytes(2);
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(&tar[..tar.len() / 2])
        .expect("lithify reads");
    let output = child.wait_with_output().expect("wait");
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("standard input"),
        "{}",
        stderr(&output)
    );
    assert!(!out.exists());
}

#[test]
fn an_existing_file_is_replaced_at_once_and_kept_on_failure() {
    let tmp = temp_dir();
    let out = tmp.path().join("x.erofs");
    std::fs::write(&out, "old").expect("old");
    let source = image(tmp.path(), [megabytes(1)]);
    let bad = lithify_output_status(&[
        "-q",
        "build",
        "oci:/nonexistent",
        "-o",
        out.to_str().expect("UTF-8"),
    ]);
    assert_eq!(bad, Some(1));
    assert_eq!(std::fs::read(&out).expect("old"), b"old");
    crate::common::build(&source, "erofs", &out);
    assert!(std::fs::metadata(&out).expect("new").len() > 1 << 20);
    assert_eq!(names(tmp.path()), ["image", "x.erofs"]);
}

fn lithify_output_status(args: &[&str]) -> Option<i32> {
    run::output(lithify().args(args)).status.code()
}

#[test]
fn outputs_that_are_no_regular_file_are_refused() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [megabytes(1)]);
    let directory = tmp.path().join("directory");
    std::fs::create_dir(&directory).expect("directory");
    let link = tmp.path().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("link");
    for path in [&directory, &link] {
        let output = run::output(lithify().args(["-q", "build", &source, "-o"]).arg(path));
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("not a regular file"),
            "{}",
            stderr(&output)
        );
    }
    std::fs::write(directory.join("precious"), "data").expect("precious");
    let output = run::output(
        lithify()
            .args(["-q", "build", &source, "-f", "dir", "-o"])
            .arg(&directory),
    );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(
        std::fs::read(directory.join("precious")).expect("precious"),
        b"data"
    );
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), [megabytes(16)]);
    let args = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"].map(std::ffi::OsStr::new);
    let small = Mount::with(args).expect("a tmpfs");
    for format in ["erofs", "dir", "tar", "cpio"] {
        let out = small.path().join("x");
        let output = run::output(
            lithify()
                .args(["-q", "build", &source, "-f", format, "-o"])
                .arg(&out),
        );
        assert_eq!(
            output.status.code(),
            Some(1),
            "{format}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("No space left"),
            "{format}: {}",
            stderr(&output)
        );
        assert_eq!(names(small.path()), [""; 0], "{format}");
    }
}

#[test]
fn a_directory_one_may_not_write_to_is_said() {
    if !require::root() || !require::tool("setpriv") {
        return;
    }
    let tmp = temp_dir();
    std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let source = image(tmp.path(), [megabytes(1)]);
    let mut command = run::command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(lithify().get_program());
    command
        .args(["-q", "build", &source, "-o"])
        .arg(tmp.path().join("x.erofs"));
    let output = run::output(&mut command);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("Permission denied") && stderr(&output).contains("x.erofs"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_directory_one_may_only_write_to_takes_a_file() {
    if !require::root() || !require::tool("setpriv") {
        return;
    }
    let tmp = temp_dir();
    std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let source = image(tmp.path(), [megabytes(1)]);
    let closed = tmp.path().join("closed");
    std::fs::create_dir(&closed).expect("a directory");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o300)).expect("mode");
    std::os::unix::fs::chown(&closed, Some(65534), Some(65534)).expect("an owner");
    let mut command = run::command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(lithify().get_program())
        .args(["-q", "build", &source, "--no-store", "--no-fsync", "-o"]);
    run::ok(command.arg(closed.join("x.erofs")));
}
