//! Names and paths: a path is never taken for a name, and any bytes can be given.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::Output;

use crate::common::{build, image, layer, lithify, paths, stderr};
use lithify_testkit::{Layout, TarEntry, require, run, temp_dir};
use serde_json::Value;

fn motd() -> Vec<u8> {
    layer([
        TarEntry::directory("etc"),
        TarEntry::file("etc/motd", "hello\n"),
    ])
}

/// Runs `lithify` in a directory, with a store that is empty.
fn at(dir: &Path, args: &[&str]) -> Output {
    let mut command = lithify();
    command.current_dir(dir).args(args);
    command.env("LITHIFY_STORE", dir.join("a-store"));
    // Whoever asks a registry is found out.
    command.env("https_proxy", "http://127.0.0.1:1");
    run::output(&mut command)
}

/// A directory with one of each kind of thing.
fn place() -> tempfile::TempDir {
    let tmp = temp_dir();
    let layout = Layout::new().gzip_layer(&motd());
    layout.write(&tmp.path().join("image"));
    std::fs::write(tmp.path().join("oci.tar"), layout.oci_archive()).unwrap();
    std::fs::write(tmp.path().join("saved.tar"), layout.docker_archive("app:1")).unwrap();
    std::fs::write(tmp.path().join("root.tar"), motd()).unwrap();
    std::fs::write(tmp.path().join("alpine"), motd()).unwrap();
    std::fs::create_dir_all(tmp.path().join("root/etc")).unwrap();
    std::fs::write(tmp.path().join("notes"), "no image\n").unwrap();
    let source = format!("oci:{}:latest", tmp.path().join("image").display());
    std::fs::create_dir(tmp.path().join("srv")).unwrap();
    let repository = format!("{}:app", tmp.path().join("srv/images").display());
    run::ok(lithify().args(["-q", "build", &source, "-f", "composefs", "-o", &repository]));
    // One in which nothing was stored yet.
    run::ok(
        lithify()
            .args(["-q", "composefs", "init"])
            .arg(tmp.path().join("empty")),
    );
    build(&source, "erofs", &tmp.path().join("flat.erofs"));
    build(&source, "squashfs", &tmp.path().join("flat.sqfs"));
    build(&source, "erofs-layers", &tmp.path().join("layers"));
    tmp
}

/// What is written where an image is meant, and the words that help.
const PATHS: [(&str, &str); 17] = [
    ("image", "write oci:image"),
    ("image:latest", "write oci:image:latest"),
    ("./image", "write oci:./image"),
    ("srv/images", "write composefs:srv/images"),
    ("srv/images:app", "write composefs:srv/images:app"),
    ("empty:app", "write composefs:empty:app"),
    ("oci.tar", "write oci-archive:oci.tar"),
    ("saved.tar", "write docker-archive:saved.tar"),
    ("root.tar", "write tar:root.tar"),
    ("alpine", "write tar:alpine"),
    ("root", "write rootfs:root"),
    ("missing.erofs", "nothing is there"),
    ("./missing.erofs", "nothing is there"),
    ("missing.tar", "nothing is there"),
    ("../missing", "nothing is there"),
    ("/missing", "nothing is there"),
    ("~/missing", "nothing is there"),
];

#[test]
fn a_path_where_a_name_stands_is_told_by_every_command() {
    let tmp = place();
    let changes = tmp.path().join("root").display().to_string();
    for (path, words) in PATHS {
        for args in [
            &["build", path, "-o", "out"][..],
            &["inspect", path],
            &["ls", path],
            &["cat", path, "/etc/motd"],
            &["verify", path],
            &["mount", path, "root"],
            &["copy", path, "oci:copied"],
            &["push", path, "oci:copied"],
            &["push", "--as", "erofs", path, "oci:copied"],
            &["pull", path],
            &["tag", path, "new"],
            &["tag", "old", path],
            &["commit", &changes, "--base", path, "-o", "oci:copied"],
        ] {
            let output = at(tmp.path(), args);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains(words), "{args:?}: {said}");
            assert!(said.contains("is a path"), "{args:?}: {said}");
        }
        let output = at(
            tmp.path(),
            &["commit", &changes, "--base", "oci:image", "-o", path],
        );
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "commit -o {path}: {said}");
        let proposed = said.contains("is a path")
            && (said.contains("as a destination write oci")
                || said.contains("as a destination write composefs:"));
        assert!(proposed, "{path}: {said}");
        let output = at(tmp.path(), &["rm", path]);
        // There is no store: what is a path is told where there is one.
        assert_ne!(output.status.code(), Some(0), "rm {path}");
    }
    assert!(!tmp.path().join("copied").exists() && !tmp.path().join("out").exists());
    assert!(!tmp.path().join("a-store").exists());
}

#[test]
fn artifacts_are_taken_by_what_looks_at_things() {
    let tmp = place();
    for artifact in ["flat.erofs", "flat.sqfs", "layers", "layers/disk.vmdk"] {
        for args in [
            &["inspect", artifact][..],
            &["ls", artifact],
            &["cat", artifact, "/etc/motd"],
            &["verify", artifact],
        ] {
            let output = at(tmp.path(), args);
            assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        }
        for args in [
            &["build", artifact, "-o", "out"][..],
            &["copy", artifact, "oci:copied"],
        ] {
            let output = at(tmp.path(), args);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains("others want an image"), "{args:?}: {said}");
        }
    }
    for verb in ["ls", "inspect", "verify"] {
        let output = at(tmp.path(), &[verb, "notes"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("`notes` is no artifact"));
    }
    // Damage is told with the file's name, and still is damage.
    let path = tmp.path().join("flat.erofs");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1024..1028].fill(7);
    std::fs::write(&path, bytes).unwrap();
    for verb in ["ls", "verify"] {
        let output = at(tmp.path(), &[verb, "flat.erofs"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains("`flat.erofs`"));
    }
}

/// `rootfs:` and `tar:` are places to read from.
#[test]
fn a_path_as_a_destination_is_told_what_can_be_written() {
    let tmp = place();
    for (path, words) in [
        ("image", "write oci:image"),
        ("root", "write oci:root"),
        ("srv/images:new", "write composefs:srv/images:new"),
        ("layers", "write oci:layers"),
        ("../missing", "write oci:../missing"),
        (
            "root.tar",
            "write oci-archive:root.tar or docker-archive:root.tar",
        ),
        (
            "./notes",
            "write oci-archive:./notes or docker-archive:./notes",
        ),
        (
            "missing.tar",
            "write oci-archive:missing.tar or docker-archive:missing.tar",
        ),
    ] {
        for verb in [&["copy"][..], &["push"], &["push", "--as", "erofs"]] {
            let args = [verb, &["oci:image", path]].concat();
            let said = stderr(&at(tmp.path(), &args));
            assert!(said.contains(words), "{args:?}: {said}");
            assert!(
                said.contains("is a path") && !said.contains("rootfs:") && !said.contains(" tar:"),
                "{args:?}: {said}"
            );
        }
    }
}

#[test]
fn a_bare_name_is_no_destination() {
    let tmp = place();
    for verb in [&["copy"][..], &["push"], &["push", "--as", "erofs"]] {
        let args = [verb, &["oci:image", "app:1"]].concat();
        let output = at(tmp.path(), &args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(
            said.contains("store:app:1") && said.contains("docker://app:1"),
            "{args:?}: {said}"
        );
    }
    let run = |args: &[&str]| {
        let output = at(tmp.path(), args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["copy", "oci:image", "store:app:1"]);
    assert!(run(&["images"]).contains("docker.io/library/app:1"));
    // By either name; what only the store may be asked for is not looked for elsewhere.
    assert_eq!(run(&["cat", "store:app:1", "/etc/motd"]), "hello\n");
    assert_eq!(run(&["cat", "app:1", "/etc/motd"]), "hello\n");
    run(&["tag", "store:app:1", "store:other.tar:2"]);
    let output = at(tmp.path(), &["cat", "store:app:2", "/etc/motd"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is not in the store"),
        "{}",
        stderr(&output)
    );
    // What `images` shows `rm` takes, and a path is told there too.
    let output = at(tmp.path(), &["rm", "image"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("write oci:image"));
    run(&["rm", "docker.io/library/other.tar:2"]);
    run(&["rm", "store:app:1"]);
    assert_eq!(run(&["images", "--json"]).trim(), "[]");
}

/// Names no one should give and any tar may have.
fn odd_names() -> [&'static [u8]; 9] {
    [
        b"latin\xe9",
        b"\xff\xfe",
        b"back\\slash",
        b"systemd-dev\\x2ddisk.slice",
        b"new\nline",
        "caf\u{e9} \u{202e}txt".as_bytes(),
        "c1\u{9b}".as_bytes(),
        b"-dash",
        b"a\\\\b",
    ]
}

#[test]
fn what_ls_prints_names_the_same_file() {
    let tmp = temp_dir();
    let entries = odd_names().map(|name| TarEntry::file(name, [name, b" is here"].concat()));
    let source = image(tmp.path(), [layer(entries)]);
    let artifact = tmp.path().join("x.erofs");
    build(&source, "erofs", &artifact);
    for subject in [&source, artifact.to_str().unwrap()] {
        let printed = paths(subject);
        assert_eq!(printed.len(), odd_names().len());
        let mut found = Vec::new();
        for path in &printed {
            assert!(path.chars().all(|c| !c.is_control()), "{path:?}");
            let data = run::ok(lithify().args(["-q", "cat", subject, path]));
            let name = data.strip_suffix(b" is here").unwrap().to_vec();
            let listed = run::text(lithify().args(["-q", "ls", subject, path]));
            assert_eq!(listed.trim_end(), path);
            // The bytes as they are name it too.
            let raw = OsString::from_vec([b"/", &name[..]].concat());
            let again = run::ok(lithify().args(["-q", "cat", subject]).arg(raw));
            assert_eq!(again, data, "{path}");
            found.push(name);
        }
        found.sort();
        let mut names = odd_names().map(<[u8]>::to_vec);
        names.sort();
        assert_eq!(found, names);
        // JSON has the name itself, and of what is no text the bytes beside a spelling `cat` takes.
        for line in run::text(lithify().args(["-q", "ls", "--json", subject])).lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let path = entry["path"].as_str().unwrap();
            if path == "/" {
                continue;
            }
            let name = match entry["path_bytes"].as_str() {
                None => path.as_bytes().to_vec(),
                Some(hex) => (0..hex.len() / 2)
                    .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
                    .collect(),
            };
            assert!(names.iter().any(|n| *n == name[1..]), "{line}");
            let data = run::ok(lithify().args(["-q", "cat", subject, path]));
            assert_eq!(data, [&name[1..], b" is here"].concat(), "{line}");
        }
    }
}

#[test]
fn host_paths_may_be_any_bytes() {
    let tmp = temp_dir();
    let odd = tmp.path().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&odd).unwrap();
    image(&odd, [motd()]);
    std::fs::create_dir_all(odd.join("root/etc")).unwrap();
    std::fs::write(odd.join("root/etc/motd"), "hello\n").unwrap();
    std::fs::write(odd.join("root.tar"), motd()).unwrap();
    let named = |transport: &str, path: &str| {
        let mut name = OsString::from(transport);
        name.push(odd.join(path));
        name
    };
    let erofs = odd.join("x.erofs");
    let store = tmp.path().join("store");
    let ok = |args: &[&OsStr]| {
        let mut command = lithify();
        command.env("LITHIFY_STORE", &store).arg("-q").args(args);
        run::ok(&mut command)
    };
    let arg = OsStr::new;
    ok(&[
        arg("build"),
        &named("oci:", "image:latest"),
        arg("-o"),
        erofs.as_os_str(),
    ]);
    let layers = odd.join("layers");
    ok(&[
        arg("build"),
        &named("oci:", "image:latest"),
        arg("-f"),
        arg("erofs-layers"),
        arg("-o"),
        layers.as_os_str(),
    ]);
    ok(&[
        arg("copy"),
        &named("oci:", "image"),
        &named("oci-archive:", "a.tar:v1"),
    ]);
    for name in [
        named("oci:", "image:latest"),
        named("oci-archive:", "a.tar:v1"),
        named("rootfs:", "root"),
        named("tar:", "root.tar"),
        named("", "x.erofs"),
        named("", "layers"),
        named("", "layers/disk.vmdk"),
    ] {
        let data = ok(&[arg("cat"), &name, arg("/etc/motd")]);
        assert_eq!(data, b"hello\n", "{name:?}");
        ok(&[arg("ls"), &name]);
        ok(&[arg("verify"), &name]);
        ok(&[arg("inspect"), &name]);
    }
    // The store tells what was built of it, in a spelling of its own, and forgets it by the name it was given.
    let listed = String::from_utf8(ok(&[arg("images")])).unwrap();
    assert!(listed.contains(r"caf\xe9/image:latest"), "{listed}");
    let shown = listed.split("  ").next().unwrap();
    ok(&[arg("rm"), arg(shown)]);
    ok(&[
        arg("build"),
        &named("oci:", "image:latest"),
        arg("-f"),
        arg("erofs-layers"),
        arg("-o"),
        layers.as_os_str(),
    ]);
    ok(&[arg("rm"), &named("oci:", "image:latest")]);
    assert_eq!(ok(&[arg("images"), arg("--json")]), b"[]\n");
    // A path that is no image is told whatever its bytes are.
    let output = run::output(
        lithify()
            .arg("build")
            .arg(odd.join("root"))
            .args(["-o", "x"]),
    );
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("rootfs:"), "{}", stderr(&output));
}

/// Two paths were one in JSON, with a mark where their bytes were.
#[test]
fn paths_that_are_no_text_are_exact_in_json() {
    let tmp = temp_dir();
    let at = |name: &[u8]| tmp.path().join(OsStr::from_bytes(name));
    let hex = |path: &Path| -> String {
        let bytes = path.as_os_str().as_bytes();
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    };
    let store = at(b"store\xff");
    let source = image(&tmp.path().join("image"), [motd()]);
    let run_json = |args: &[&str], code: i32| -> Value {
        let mut command = lithify();
        command.env("LITHIFY_STORE", &store).args(args);
        let output = run::output(&mut command);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let layers = at(b"layers\xff");
    let mut command = lithify();
    command.env("LITHIFY_STORE", &store);
    command.args(["build", &source, "-f", "erofs-layers", "-o"]);
    run::ok(command.arg(&layers));
    let said = run_json(&["df", "--json"], 0);
    assert_eq!(said["store"], spelled(&store));
    assert_eq!(said["store_bytes"], hex(&store));

    // Of these two only one is text.
    std::fs::write(store.join(OsStr::from_bytes(b"a\xff\\\x1b")), "x").unwrap();
    std::fs::write(store.join(r"a\xff"), "x").unwrap();
    let said = run_json(&["fsck", "--json", "--dry-run"], 3);
    let found = said["findings"].as_array().unwrap();
    let mut found: Vec<_> = found
        .iter()
        .map(|f| (&f["path"], &f["path_bytes"]))
        .collect();
    found.sort_by_key(|(path, _)| path.as_str());
    assert_eq!(
        found,
        [
            (&Value::from(r"a\xff"), &Value::Null),
            (&Value::from(r"a\xff\\\x1b"), &Value::from("61ff5c1b"))
        ]
    );
    let mut command = lithify();
    command.env("LITHIFY_STORE", &store);
    let output = run::output(command.args(["fsck", "--dry-run"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r"a\xff\\\x1b: "), "{text}");

    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let point = at(b"point\xfe");
    std::fs::create_dir(&point).unwrap();
    run::ok(
        lithify()
            .arg("mount")
            .arg(layers.join("disk.vmdk"))
            .arg(&point),
    );
    let said = run_json(&["mounts", "--json"], 0);
    let text = run::text(lithify().arg("mounts"));
    run::ok(lithify().arg("umount").arg(&point));
    let own = |m: &&Value| m["target_bytes"] == hex(&point);
    let found = said.as_array().unwrap().iter().find(own).unwrap();
    assert_eq!(found["target"], spelled(&point));
    assert!(
        text.contains(&format!("{}  erofs", spelled(&point))),
        "{text}"
    );
}

/// A path whose only bytes that need a spelling are not UTF-8.
fn spelled(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// What is there and cannot be read was "nothing is there", with a hint to look for an image of that name.
#[test]
fn what_cannot_be_read_is_not_called_missing() {
    let tmp = temp_dir();
    // Root may read everything; nobody can follow this.
    std::os::unix::fs::symlink("loop.erofs", tmp.path().join("loop.erofs")).unwrap();
    for path in ["loop.erofs", "./loop.erofs"] {
        for (args, code) in [
            (&["ls", path][..], 1),
            (&["cat", path, "/a"], 1),
            (&["verify", path], 1),
            (&["inspect", path], 1),
            (&["build", path, "-o", "out.erofs"], 2),
            (&["copy", path, "oci:new"], 2),
        ] {
            let output = at(tmp.path(), args);
            let said = stderr(&output);
            assert!(said.contains(path), "{args:?}: {said}");
            assert!(!said.contains("nothing is there"), "{args:?}: {said}");
            assert!(!said.contains("docker://"), "{args:?}: {said}");
            assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        }
    }
}

/// What lies where nobody may look was asked for on Docker Hub.
#[test]
fn what_may_not_be_looked_at_is_no_name() {
    if !require::root() || !require::tool("setpriv") {
        return;
    }
    let tmp = temp_dir();
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    chmod(tmp.path(), 0o755);
    let closed = tmp.path().join("closed");
    fs::create_dir_all(closed.join("image")).unwrap();
    chmod(&closed, 0o700);
    let mut install = run::command("install");
    install.args(["-m", "0755", env!("CARGO_BIN_EXE_lithify")]);
    run::ok(install.arg(tmp.path().join("lithify")));
    for name in [
        "closed:1",
        "closed/image",
        "closed/image:1",
        "closed/nothing",
    ] {
        let mut command = run::command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.args(["./lithify", "ls", "--retries", "0", name]);
        command.env("https_proxy", "http://127.0.0.1:1");
        let output = run::output(command.current_dir(tmp.path()));
        let said = stderr(&output);
        assert!(said.contains("is a path"), "{name}: {said}");
        assert!(
            said.contains("cannot be read (permission denied)"),
            "{name}: {said}"
        );
    }
}
