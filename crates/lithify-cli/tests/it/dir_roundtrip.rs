//! An image written to a directory without root is the same image when it is read back: the file beside the directory says
//! what the directory could not hold.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{build, image, layer, lithify, stderr};
use lithify_testkit::{TarEntry, require, run, temp_dir};
use serde_json::Value;

fn everything(dir: &Path) -> String {
    image(
        dir,
        [layer([
            TarEntry::directory(".").mode(0o311).owner(0, 0),
            TarEntry::directory("etc").owner(0, 3),
            TarEntry::file("etc/shadow", "secret")
                .mode(0o640)
                .owner(0, 42),
            TarEntry::file("etc/gshadow", "secret").mode(0).owner(0, 42),
            TarEntry::directory("bin").owner(5, 6),
            TarEntry::file("bin/su", "setuid").mode(0o4755),
            TarEntry::file("bin/sudo", "setuid").mode(0o4111),
            TarEntry::file("bin/ping", "capable").mode(0o755).xattr(
                "security.capability",
                b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
            TarEntry::char_device("null", 1, 3).mode(0o666),
            TarEntry::fifo("pipe").mode(0o600).owner(7, 8),
            TarEntry::symlink("link", "bin/su").owner(9, 9),
            TarEntry::hard_link("bin/su2", "bin/su"),
            TarEntry::directory("locked").mode(0),
            // Of who writes it, who may not read it.
            TarEntry::directory("own").mode(0o300).owner(65534, 65534),
            TarEntry::file("own/none", "x").mode(0).owner(65534, 65534),
            TarEntry::file("own/empty", "")
                .mode(0o200)
                .owner(65534, 65534),
        ])],
    )
}

/// `lithify` as nobody, whose copy of the program is in `dir`.
fn as_nobody(dir: &Path) -> Command {
    let mut command = run::command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(dir.join("lithify"));
    command
        .env("LITHIFY_STORE", dir.join("store"))
        .current_dir("/");
    command
}

/// A directory nobody owns, with a program in it that nobody can run.
fn place_for_nobody() -> Option<tempfile::TempDir> {
    if !require::root() || !require::tool("setpriv") {
        return None;
    }
    let tmp = temp_dir();
    let mut install = run::command("install");
    install.args(["-m", "0755", env!("CARGO_BIN_EXE_lithify")]);
    run::ok(install.arg(tmp.path().join("lithify")));
    std::os::unix::fs::chown(tmp.path(), Some(65534), Some(65534)).unwrap();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(tmp)
}

fn readable_by_all(path: &Path) {
    run::ok(run::command("chmod").args(["-R", "a+rX"]).arg(path));
}

#[test]
fn an_image_through_a_directory_without_root_is_the_same_image() {
    let Some(tmp) = place_for_nobody() else {
        return;
    };
    let source = everything(tmp.path());
    readable_by_all(&tmp.path().join("image"));
    let (direct, out) = (tmp.path().join("direct.erofs"), tmp.path().join("out"));
    // A directory is one layer with what the image says of nothing else, so both go by a tar.
    let tar = |source: &str, name: &str| -> Vec<u8> {
        let path = tmp.path().join(name);
        build(source, "tar", &path);
        fs::read(path).unwrap()
    };
    let built = run::output(
        as_nobody(tmp.path())
            .args(["-q", "build", &source, "-f", "dir", "-o"])
            .arg(&out),
    );
    assert!(built.status.success(), "{}", stderr(&built));
    let rootfs = format!("rootfs:{}", out.display());
    let back = tmp.path().join("back.tar");
    let built = run::output(
        as_nobody(tmp.path())
            .args(["build", "--json", &rootfs, "-f", "tar", "-o"])
            .arg(&back),
    );
    assert!(built.status.success(), "{}", stderr(&built));
    let report: Value = serde_json::from_slice(&built.stdout).unwrap();
    let recorded = &report["layers"][0]["recorded"];
    assert_eq!(
        (&recorded["changed"], &recorded["gone"]),
        (&Value::from(0), &Value::from(0))
    );
    assert!(tar(&source, "direct.tar") == fs::read(&back).unwrap());
    // And as EROFS, of the one tar and the other.
    build(&format!("tar:{}", back.display()), "erofs", &direct);
    let by_image = tmp.path().join("image.erofs");
    build(
        &format!("tar:{}", tmp.path().join("direct.tar").display()),
        "erofs",
        &by_image,
    );
    assert!(fs::read(&direct).unwrap() == fs::read(&by_image).unwrap());
}

#[test]
fn a_replaced_program_is_not_set_user_id() {
    let Some(tmp) = place_for_nobody() else {
        return;
    };
    let source = everything(tmp.path());
    readable_by_all(&tmp.path().join("image"));
    let out = tmp.path().join("out");
    let nobody = |arguments: &[&str]| -> Output {
        let output = run::output(as_nobody(tmp.path()).args(arguments));
        assert!(output.status.success(), "{}", stderr(&output));
        output
    };
    let shown = out.to_str().unwrap();
    nobody(&["-q", "build", &source, "-f", "dir", "-o", shown]);
    let ping = out.join("bin/ping");
    let mtime = fs::metadata(&ping).unwrap().modified().unwrap();
    fs::write(&ping, "CAPABLE").unwrap();
    fs::File::options()
        .write(true)
        .open(&ping)
        .unwrap()
        .set_modified(mtime)
        .unwrap();

    let (rootfs, tar) = (format!("rootfs:{shown}"), tmp.path().join("back.tar"));
    let output = nobody(&["build", &rootfs, "-f", "tar", "-o", tar.to_str().unwrap()]);
    let text = stderr(&output);
    assert!(
        text.contains("warn") && text.contains("/bin/ping"),
        "{text}"
    );
    let listing = run::text(
        lithify()
            .args(["-q", "ls", "-alR"])
            .arg(format!("tar:{}", tar.display())),
    );
    let line = |name: &str| {
        listing
            .lines()
            .find(|l| l.ends_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("bin/ping").contains("65534"), "{listing}");
    assert!(line("bin/su").starts_with("-rwsr-xr-x"), "{listing}");

    // `commit` takes such a directory as the changes, with what it lacks.
    let base = image(
        &tmp.path().join("base"),
        [layer([TarEntry::directory("d")])],
    );
    readable_by_all(&tmp.path().join("base"));
    let layout = format!("oci:{}:new", tmp.path().join("layout").display());
    nobody(&[
        "-q",
        "commit",
        "--userxattr",
        "true",
        "--base",
        &base,
        "-o",
        &layout,
        shown,
    ]);
    let listing = run::text(lithify().args(["-q", "ls", "-alR", &layout]));
    let su = listing.lines().find(|l| l.ends_with("bin/su")).unwrap();
    assert!(su.starts_with("-rwsr-xr-x"), "{listing}");
}

/// What is lost with a name is said, whatever the verb.
#[test]
fn what_a_renamed_directory_loses_is_said() {
    let Some(tmp) = place_for_nobody() else {
        return;
    };
    let source = everything(tmp.path());
    readable_by_all(&tmp.path().join("image"));
    let out = tmp.path().join("out");
    let nobody = |arguments: &[&str]| -> Output {
        let output = run::output(as_nobody(tmp.path()).args(arguments));
        assert!(output.status.success(), "{}", stderr(&output));
        output
    };
    let shown = out.to_str().unwrap();
    nobody(&["-q", "build", &source, "-f", "dir", "-o", shown]);
    // A hard-linked program is whole by the name that stays.
    fs::remove_file(out.join("bin/su")).unwrap();
    let rootfs = format!("rootfs:{shown}");
    let listed = nobody(&["ls", "-alR", &rootfs]);
    assert!(!stderr(&listed).contains("warn"), "{}", stderr(&listed));
    let text = String::from_utf8(listed.stdout).unwrap();
    let line = text.lines().find(|l| l.ends_with("bin/su2")).unwrap();
    assert!(line.starts_with("-rwsr-xr-x"), "{text}");

    fs::rename(out.join("etc"), out.join("etc2")).unwrap();
    let tar = tmp.path().join("back.tar");
    let layout = format!("oci:{}:new", tmp.path().join("layout").display());
    let base = image(
        &tmp.path().join("base"),
        [layer([TarEntry::directory("d")])],
    );
    readable_by_all(&tmp.path().join("base"));
    for arguments in [
        vec!["build", &rootfs, "-f", "tar", "-o", tar.to_str().unwrap()],
        vec!["ls", &rootfs],
        vec![
            "commit",
            "--userxattr",
            "true",
            "--base",
            &base,
            "-o",
            &layout,
            shown,
        ],
    ] {
        let text = stderr(&nobody(&arguments));
        assert!(
            text.contains("warn") && text.contains("3 files: /etc/gshadow, /etc/shadow, /etc"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn a_sidecar_that_cannot_be_read_is_an_error_with_what_to_do() {
    let tmp = temp_dir();
    let root = tmp.path().join("root");
    fs::create_dir(&root).unwrap();
    let sidecar = tmp.path().join("root.lithify-metadata.jsonl");
    fs::write(
        &sidecar,
        "{\"format\":\"lithify-metadata\",\"version\":1}\n",
    )
    .unwrap();
    let source = format!("rootfs:{}", root.display());
    let mut command = lithify();
    command
        .args(["build", &source, "-o"])
        .arg(tmp.path().join("x.erofs"));
    let output = run::output(&mut command);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for part in [
        "root.lithify-metadata.jsonl`",
        "line 1",
        "version 2",
        "remove",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // As the hint says.
    fs::remove_file(&sidecar).unwrap();
    let output = run::output(&mut command);
    assert!(output.status.success(), "{}", stderr(&output));
}
