//! Directories that somebody else filled: what is in them is not followed, not waited for and not deleted.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{image, layer, lithify, stderr};
use lithify_testkit::{Snapshot, TarEntry, require, run, temp_dir};
use serde_json::{Value, json};

fn source(dir: &Path) -> String {
    image(
        dir,
        [
            layer([
                TarEntry::directory(".").mode(0o750),
                TarEntry::file("a", "1"),
                TarEntry::file("b", "2"),
            ]),
            layer([
                TarEntry::directory("etc"),
                TarEntry::file("etc/motd", "hello\n"),
            ]),
        ],
    )
}

/// A command that is killed if it waits for what never comes.
fn bounded(dir: &Path) -> Command {
    let program = lithify();
    let mut command = run::command("timeout");
    command.arg("120").arg(program.get_program());
    command.env("LITHIFY_STORE", dir.join("store"));
    command
}

fn build(dir: &Path, format: &str, out: &Path, extra: &[&str]) -> Output {
    let mut command = bounded(dir);
    command.args(["build", &source_name(dir), "-f", format, "-o"]);
    run::output(command.arg(out).args(extra))
}

fn source_name(dir: &Path) -> String {
    format!("oci:{}", dir.join("image").display())
}

/// Built anew, in a directory of its own.
fn built(format: &str, extra: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let tmp = temp_dir();
    source(tmp.path());
    let out = tmp.path().join("out");
    let output = build(tmp.path(), format, &out, extra);
    assert!(output.status.success(), "{}", stderr(&output));
    (tmp, out)
}

fn refused(output: &Output, code: i32, words: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{words}: {said}");
    assert!(said.contains(words), "{words}: {said}");
}

fn fifo(path: &Path) {
    run::ok(run::command("mkfifo").arg(path));
}

#[test]
fn a_directory_with_an_image_json_is_not_deleted() {
    for format in ["erofs-layers", "squashfs-layers"] {
        let tmp = temp_dir();
        source(tmp.path());
        let out = tmp.path().join("project");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("thesis.txt"), "years of work").unwrap();
        for text in [
            "",
            "{}",
            r#"{"reference":"x","layers":[],"stack":{"overlay":[]}}"#,
        ] {
            fs::write(out.join("image.json"), text).unwrap();
            let before = Snapshot::of(&out);
            let output = build(tmp.path(), format, &out, &[]);
            refused(&output, 1, "is left as it is");
            refused(&output, 1, "`thesis.txt`");
            assert_eq!(Snapshot::of(&out), before, "{text}");
        }
        refused(
            &build(tmp.path(), format, &out, &[]),
            1,
            "does not name `thesis.txt`",
        );
        fs::remove_file(out.join("image.json")).unwrap();
        refused(&build(tmp.path(), format, &out, &[]), 1, "`thesis.txt`");
        assert_eq!(fs::read(out.join("thesis.txt")).unwrap(), b"years of work");
    }
}

#[test]
fn an_output_is_replaced_unless_something_was_added() {
    for (format, extra) in [
        (
            "erofs-layers",
            &["--verity", "--disk", "vmdk,raw,gpt", "--align", "65536"][..],
        ),
        ("erofs-layers", &["--compress", "lz4"]),
        ("squashfs-layers", &["--verity"]),
    ] {
        let (tmp, out) = built(format, extra);
        let first = Snapshot::of(&out);
        // Everything in it is described, with a digest: that is what it is known by.
        let output = run::output(bounded(tmp.path()).arg("verify").arg(&out));
        assert!(output.status.success(), "{}", stderr(&output));
        for more in [extra, &[]] {
            let output = build(tmp.path(), format, &out, more);
            assert!(output.status.success(), "{}", stderr(&output));
        }
        assert_ne!(Snapshot::of(&out), first);
        for added in ["notes", "layers/notes", ".hidden"] {
            fs::write(out.join(added), "mine").unwrap();
            let output = build(tmp.path(), format, &out, extra);
            refused(&output, 1, &format!("does not name `{added}`"));
            assert_eq!(fs::read(out.join(added)).unwrap(), b"mine");
            fs::remove_file(out.join(added)).unwrap();
        }
        let names = fs::read_dir(tmp.path()).unwrap();
        let hidden = |name: &fs::DirEntry| name.file_name().as_encoded_bytes().starts_with(b".");
        assert_eq!(names.map(Result::unwrap).filter(hidden).count(), 0);
    }
}

#[test]
fn a_directory_named_by_a_link_is_not_replaced() {
    let (tmp, out) = built("erofs-layers", &[]);
    let link = tmp.path().join("link");
    symlink("out", &link).unwrap();
    for format in ["erofs-layers", "dir"] {
        let output = build(tmp.path(), format, &link, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(link.is_symlink() && out.join("image.json").exists());
    }
}

#[test]
fn a_file_beside_a_directory_is_no_metadata_of_it() {
    let tmp = temp_dir();
    source(tmp.path());
    let taken = tmp.path().join("root.lithify-metadata.jsonl");
    fs::write(&taken, "mine").unwrap();
    let out = tmp.path().join("root");
    refused(&build(tmp.path(), "dir", &out, &[]), 1, "is in the way");
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    assert!(!out.exists());
}

#[test]
fn what_is_in_an_artifact_is_not_followed_and_not_waited_for() {
    let commands: [&[&str]; 3] = [&["ls"], &["verify"], &["cat"]];
    let run_all = |tmp: &Path, out: &Path, words: &str| {
        for command in commands {
            let mut run = bounded(tmp);
            run.args(command).arg(out);
            if command == ["cat"] {
                run.arg("/etc/motd");
            }
            let output = run::output(&mut run);
            let said = stderr(&output);
            let failed = matches!(output.status.code(), Some(1 | 3));
            assert!(
                failed && said.contains(words),
                "{command:?} {words}: {said}"
            );
            assert!(output.stdout.is_empty(), "{command:?} {words}");
        }
    };
    let (tmp, out) = built("squashfs-layers", &[]);
    let layers = out.join("layers");
    // Every layer's file, the directory they are in, the description.
    let image_file = fs::read_dir(&layers).unwrap().next().unwrap().unwrap();
    let image_name = format!("layers/{}", image_file.file_name().to_str().unwrap());
    for (name, words) in [
        (image_name.as_str(), "is a symbolic link"),
        ("layers", "is a symbolic link"),
        ("image.json", "is a symbolic link"),
    ] {
        let (path, moved) = (out.join(name), tmp.path().join("moved"));
        fs::rename(&path, &moved).unwrap();
        // Even to what was there, and to what never ends.
        for target in [moved.as_path(), Path::new("/dev/zero"), Path::new("/etc")] {
            symlink(target, &path).unwrap();
            run_all(tmp.path(), &out, words);
            fs::remove_file(&path).unwrap();
        }
        fifo(&path);
        run_all(
            tmp.path(),
            &out,
            if name == "layers" {
                "not a directory"
            } else {
                "not a regular file"
            },
        );
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    // What is too long for what it is.
    let json = out.join("image.json");
    let right = fs::read(&json).unwrap();
    fs::File::options()
        .write(true)
        .open(&json)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    run_all(tmp.path(), &out, "bytes");
    // What it does not say is named.
    for field in ["stack", "layers", "reference"] {
        let mut less: Value = serde_json::from_slice(&right).unwrap();
        less.as_object_mut().unwrap().remove(field).unwrap();
        fs::write(&json, less.to_string()).unwrap();
        for verb in ["ls", "verify", "inspect"] {
            let output = run::output(bounded(tmp.path()).arg(verb).arg(&out));
            refused(&output, 3, &format!("missing field `{field}`"));
        }
    }
    fs::write(&json, right).unwrap();
    run::ok(bounded(tmp.path()).arg("verify").arg(&out));
}

/// A disk is opened by itself too, and what its text names came with it.
#[test]
fn what_a_disk_names_is_not_followed_and_not_waited_for() {
    let (tmp, out) = built("erofs-layers", &["--disk", "vmdk"]);
    let disk = out.join("disk.vmdk");
    let right = fs::read_to_string(&disk).unwrap();
    let point = tmp.path().join("point");
    fs::create_dir(&point).unwrap();
    let run_all = |code: i32, name: &str, words: &str| {
        for verb in ["ls", "cat", "verify", "inspect", "mount"] {
            let mut run = bounded(tmp.path());
            run.arg(verb).arg(&disk);
            match verb {
                "cat" => run.arg("/etc/motd"),
                "mount" => run.arg(&point),
                _ => &mut run,
            };
            let output = run::output(&mut run);
            refused(&output, code, words);
            refused(&output, code, &format!("`{name}`"));
            assert!(output.stdout.is_empty(), "{verb} {words}");
        }
    };
    let moved = tmp.path().join("moved");
    for (name, part) in [
        ("fsmeta.erofs", "fsmeta.erofs"),
        ("layers", &right[right.find("layers/").unwrap()..]),
    ] {
        let extent = part.split('"').next().unwrap();
        let path = out.join(name);
        fs::rename(&path, &moved).unwrap();
        for target in [moved.as_path(), Path::new("/dev/zero")] {
            symlink(target, &path).unwrap();
            run_all(3, extent, "is a symbolic link");
            fs::remove_file(&path).unwrap();
        }
        fifo(&path);
        let words = match name {
            "layers" => "is not a directory",
            _ => "is not a regular file",
        };
        run_all(3, extent, words);
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    fs::copy(out.join("fsmeta.erofs"), &moved).unwrap();
    let absolute = moved.to_str().unwrap();
    for (name, words) in [
        ("../moved", "cannot be used"),
        ("layers/../../moved", "cannot be used"),
        (absolute, "cannot be used"),
    ] {
        let text = right.replace("\"fsmeta.erofs\"", &format!("\"{name}\""));
        assert_ne!(text, right);
        fs::write(&disk, text).unwrap();
        run_all(3, name, words);
    }
    fs::write(&disk, &right).unwrap();
    run::ok(bounded(tmp.path()).arg("verify").arg(&disk));
    // By a path that is the user's, links are followed, and a bare name is in the working directory.
    symlink(&out, tmp.path().join("link")).unwrap();
    run::ok(
        bounded(tmp.path())
            .arg("ls")
            .arg(tmp.path().join("link/disk.vmdk")),
    );
    run::ok(
        bounded(tmp.path())
            .args(["ls", "disk.vmdk"])
            .current_dir(&out),
    );
}

/// Which of many files is damaged was not said.
#[test]
fn damage_in_an_artifact_names_the_file() {
    for (format, parts) in [
        ("erofs-layers", &["fsmeta.erofs", "layers"][..]),
        ("squashfs-layers", &["layers"]),
    ] {
        let (tmp, out) = built(format, &[]);
        let first = fs::read_dir(out.join("layers")).unwrap().next().unwrap();
        let first = format!("layers/{}", first.unwrap().file_name().to_str().unwrap());
        for part in parts {
            let name = if *part == "layers" { &first } else { *part };
            let path = out.join(name);
            let right = fs::read(&path).unwrap();
            let start = if format == "erofs-layers" { 1024 } else { 0 };
            let mut wrong = right.clone();
            wrong[start] ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, wrong).unwrap();
            for verb in ["ls", "cat", "verify"] {
                // A merged image is not needed for the data of one file, nor a layer for the names in a merged one.
                let by_layer = format == "squashfs-layers" || verb == "cat";
                if verb != "verify" && by_layer != (*part == "layers") {
                    continue;
                }
                let mut run = bounded(tmp.path());
                run.arg(verb).arg(&out);
                if verb == "cat" {
                    run.arg("/etc/motd");
                }
                refused(&run::output(&mut run), 3, path.to_str().unwrap());
            }
            fs::remove_file(&path).unwrap();
            fs::write(&path, right).unwrap();
        }
    }
}

#[test]
fn the_root_hash_beside_an_image_is_not_waited_for() {
    let tmp = temp_dir();
    source(tmp.path());
    let out = tmp.path().join("x.erofs");
    let output = build(tmp.path(), "erofs", &out, &["--verity"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let sidecar = tmp.path().join("x.erofs.dmverity");
    fs::remove_file(&sidecar).unwrap();
    fifo(&sidecar);
    let verify = || run::output(bounded(tmp.path()).arg("verify").arg(&out));
    refused(&verify(), 1, "not a regular file");
    fs::remove_file(&sidecar).unwrap();
    symlink("/dev/zero", &sidecar).unwrap();
    refused(&verify(), 1, "not a regular file");
}

#[test]
fn an_image_does_not_keep_the_root_hash_of_the_one_it_replaces() {
    let tmp = temp_dir();
    source(tmp.path());
    let names = || {
        let mut names = crate::common::names(tmp.path());
        names.retain(|name| name.starts_with('x') || name.starts_with(".lithify"));
        names
    };
    for format in ["erofs", "squashfs", "tar", "cpio"] {
        let out = tmp.path().join("x");
        let sidecar = tmp.path().join("x.dmverity");
        let first = build(tmp.path(), "erofs", &out, &["--verity"]);
        assert!(first.status.success(), "{}", stderr(&first));
        assert_eq!(names(), ["x", "x.dmverity"]);
        let second = build(tmp.path(), format, &out, &[]);
        assert!(second.status.success(), "{}", stderr(&second));
        assert_eq!(names(), ["x"], "{format}");
        if !["tar", "cpio"].contains(&format) {
            run::ok(bounded(tmp.path()).arg("verify").arg(&out));
        }
        // A file that only has the name is somebody's.
        let before = fs::read(&out).unwrap();
        fs::write(&sidecar, "notes").unwrap();
        let extra: &[&[&str]] = match format {
            "tar" | "cpio" => &[&[]],
            _ => &[&[], &["--verity"]],
        };
        for extra in extra {
            refused(
                &build(tmp.path(), format, &out, extra),
                1,
                "x.dmverity` is left as it is",
            );
            assert_eq!(fs::read(&sidecar).unwrap(), b"notes");
            assert!(fs::read(&out).unwrap() == before, "{format}");
            assert_eq!(names(), ["x", "x.dmverity"]);
        }
        fs::remove_file(&sidecar).unwrap();
    }
}

#[test]
fn a_link_in_place_of_an_upper_directory_is_not_committed() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let base = source(tmp.path());
    let (changes, secret) = (tmp.path().join("changes"), tmp.path().join("secret"));
    fs::create_dir_all(changes.join("work")).unwrap();
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("shadow"), "root:").unwrap();
    let new = tmp.path().join("new");
    let commit = |upper: &Path| {
        let mut command = bounded(tmp.path());
        command
            .arg("commit")
            .arg(upper)
            .args(["--base", &base, "-o"]);
        run::output(command.arg(format!("oci:{}:x", new.display())))
    };
    symlink(&secret, changes.join("upper")).unwrap();
    refused(&commit(&changes), 1, "`upper` is a symbolic link");
    fs::remove_file(changes.join("upper")).unwrap();
    fs::remove_dir(changes.join("work")).unwrap();
    fs::create_dir(changes.join("upper")).unwrap();
    symlink(&secret, changes.join("work")).unwrap();
    refused(&commit(&changes), 1, "`work` is a symbolic link");
    assert!(!new.exists());
    // What the user names is what the user means.
    fs::remove_file(changes.join("work")).unwrap();
    let named = tmp.path().join("named");
    symlink(&changes, &named).unwrap();
    let output = commit(&named);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_store_whose_directories_lead_elsewhere_is_refused() {
    for name in ["artifacts", "blobs", "tmp"] {
        let (tmp, _) = built("erofs-layers", &[]);
        let (inside, moved) = (
            tmp.path().join("store").join(name),
            tmp.path().join("moved"),
        );
        fs::rename(&inside, &moved).unwrap();
        symlink(&moved, &inside).unwrap();
        let before = Snapshot::of(&moved);
        let again = tmp.path().join("again");
        refused(
            &build(tmp.path(), "erofs-layers", &again, &[]),
            1,
            "is a symbolic link",
        );
        refused(
            &run::output(bounded(tmp.path()).arg("gc")),
            1,
            "is a symbolic link",
        );
        assert_eq!(Snapshot::of(&moved), before);
        // The store itself may be named by one.
        fs::remove_file(&inside).unwrap();
        fs::rename(&moved, &inside).unwrap();
        let real = tmp.path().join("real");
        fs::rename(tmp.path().join("store"), &real).unwrap();
        symlink(&real, tmp.path().join("store")).unwrap();
        let output = build(tmp.path(), "erofs-layers", &again, &[]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

/// A layered build whose description was changed, files and digests untouched.
fn described_wrongly(change: impl Fn(&mut Value)) -> Output {
    let extra = ["--verity", "--disk", "vmdk", "--align", "65536"];
    let (tmp, out) = built("erofs-layers", &extra);
    let path = out.join("image.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let before = json.clone();
    change(&mut json);
    assert_ne!(json, before);
    fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
    run::output(bounded(tmp.path()).arg("verify").arg(&out))
}

#[test]
fn a_description_that_does_not_describe_is_not_ok() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 10] = [
        // Nothing is covered by a digest then.
        ("not among its artifacts", |j| j["artifacts"] = json!([])),
        ("not among its artifacts", |j| {
            j.as_object_mut().unwrap().remove("artifacts");
        }),
        ("no SHA-256", |j| {
            j["artifacts"][0].as_object_mut().unwrap().remove("sha256");
        }),
        ("describes `", |j| {
            let first = j["artifacts"][0].clone();
            j["artifacts"].as_array_mut().unwrap().push(first);
        }),
        // The same files in another order are another filesystem.
        ("expected the one of", |j| {
            let overlay = j["stack"]["overlay"].as_array_mut().unwrap();
            let last = overlay.len() - 1;
            overlay.swap(last - 1, last);
        }),
        ("the image has 2", |j| {
            j["stack"]["overlay"].as_array_mut().unwrap().pop();
        }),
        ("are not the layers", |j| {
            j["stack"]["devices"].as_array_mut().unwrap().reverse()
        }),
        ("are not the layers", |j| {
            j["stack"].as_object_mut().unwrap().remove("fsmeta");
        }),
        ("other disk offsets", |j| {
            j["stack"]["disk_offsets"][1] = json!(4096)
        }),
        ("is for `-fsmeta`", |j| {
            j["stack"]["fsmeta"] = j["stack"]["devices"][0].clone()
        }),
    ];
    for (words, change) in changes {
        refused(&described_wrongly(change), 3, words);
    }
    // A file a disk needs is no less part of it than the text that names it.
    let output = described_wrongly(|j| {
        let artifacts = j["artifacts"].as_array_mut().unwrap();
        artifacts.retain(|a| a["path"] != "disk.zero.img");
    });
    refused(&output, 3, "`disk.zero.img` is used");
}

#[test]
fn a_file_nothing_describes_is_not_ok() {
    let (tmp, out) = built("erofs-layers", &[]);
    let verify = || run::output(bounded(tmp.path()).arg("verify").arg(&out));
    assert!(verify().status.success());
    for name in ["other", "layers/zz.erofs", "more/file"] {
        let path = out.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        let shown = name.split("/file").next().unwrap();
        refused(&verify(), 3, &format!("does not name `{shown}`"));
        fs::remove_file(path).unwrap();
        fs::remove_dir(out.join("more")).ok();
    }
    assert!(verify().status.success());
    // A disk is used by nothing in the description but its own entry.
    let output = described_wrongly(|j| {
        let artifacts = j["artifacts"].as_array_mut().unwrap();
        artifacts.retain(|a| a["path"] != "disk.vmdk");
    });
    refused(&output, 3, "`disk.vmdk`");
}

#[test]
fn root_hashes_beside_images_of_layers_are_checked() {
    for format in ["erofs-layers", "squashfs-layers"] {
        let (tmp, out) = built(format, &["--verity"]);
        let verify = || run::output(bounded(tmp.path()).arg("verify").arg(&out));
        let mut sidecars: Vec<PathBuf> = [out.clone(), out.join("layers")]
            .iter()
            .flat_map(|dir| fs::read_dir(dir).unwrap())
            .map(|item| item.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "dmverity"))
            .collect();
        sidecars.sort();
        assert!(sidecars.len() > 2, "{sidecars:?}");
        let others: Vec<Vec<u8>> = sidecars.iter().map(|p| fs::read(p).unwrap()).collect();
        for (number, path) in sidecars.iter().enumerate() {
            let right = &others[number];
            let other = &others[(number + 1) % others.len()];
            for (bytes, code, words) in [
                (other.clone(), 3, "does not say what is described"),
                (b"{}".to_vec(), 3, "cannot read the root hash"),
                (vec![b' '; 1 << 20], 3, "does not say what is described"),
            ] {
                fs::write(path, bytes).unwrap();
                refused(&verify(), code, words);
            }
            fs::remove_file(path).unwrap();
            assert_ne!(verify().status.code(), Some(0));
            fs::write(path, right).unwrap();
        }
        assert!(verify().status.success());
    }
    // Nor may there be one that nothing says anything about.
    let (tmp, out) = built("erofs-layers", &[]);
    fs::write(out.join("fsmeta.erofs.dmverity"), "{}").unwrap();
    let output = run::output(bounded(tmp.path()).arg("verify").arg(&out));
    refused(&output, 3, "stands beside an image without a hash tree");
}

/// Files of an output and of the store may be one file: where data cannot be cloned, they are links of it.
#[test]
fn files_shared_with_the_store_are_read_only_and_a_change_of_one_is_noticed() {
    use std::os::unix::fs::MetadataExt as _;
    let (tmp, out) = built("erofs-layers", &[]);
    let layer = fs::read_dir(out.join("layers")).unwrap().next().unwrap();
    let path = layer.unwrap().path();
    let metadata = fs::metadata(&path).unwrap();
    if metadata.nlink() == 1 {
        // A clone, which is nobody else's.
        return;
    }
    assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
    let right = fs::read(&path).unwrap();
    // What modes do not keep root from.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut wrong = right.clone();
    let at = wrong.len() / 2;
    wrong[at] ^= 1;
    fs::write(&path, wrong).unwrap();
    // The next build does not hand it on.
    let again = tmp.path().join("again");
    let output = build(tmp.path(), "erofs-layers", &again, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let name = path.file_name().unwrap();
    assert!(fs::read(again.join("layers").join(name)).unwrap() == right);
    run::ok(bounded(tmp.path()).arg("verify").arg(&again));
}

/// The directory a layered build makes is renamed: by `.` it cannot be. What stood in the way was its own temporary one, or a
/// mount there is not.
#[test]
fn a_directory_is_named_as_its_parent_knows_it() {
    let tmp = temp_dir();
    let source = source(tmp.path());
    let out = tmp.path().join("out");
    fs::create_dir(&out).unwrap();
    let build = |path: &str| {
        let mut command = bounded(tmp.path());
        command.current_dir(&out);
        run::output(command.args(["build", &source, "-f", "squashfs-layers", "-o", path]))
    };
    for path in [".", "./", ".."] {
        refused(&build(path), 1, "name it as its parent directory knows it");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
    let output = build("../out/.");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(out.join("image.json").exists());
}

#[test]
fn a_disk_that_cannot_be_made_is_not_left_out_in_silence() {
    let tmp = temp_dir();
    let source = source(tmp.path());
    let build = |extra: &[&str]| {
        let mut command = bounded(tmp.path());
        command.args(["build", &source, "-f", "erofs-layers", "-o"]);
        run::output(command.arg(tmp.path().join("out")).args(extra))
    };
    refused(
        &build(&["--compress", "zstd", "--disk", "raw"]),
        2,
        "--disk",
    );
    assert!(!tmp.path().join("out").exists());
    for extra in [
        &["--compress", "none", "--disk", "raw"][..],
        &["--compress", "zstd"],
    ] {
        let output = build(extra);
        assert!(output.status.success(), "{extra:?}: {}", stderr(&output));
    }
}
