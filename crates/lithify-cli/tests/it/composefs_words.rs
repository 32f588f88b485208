//! The words of commands on composefs repositories: what is waited for, left, replaced, and printed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lithify_testkit::{Compression, Layout, TarEntry, run, temp_dir};
use rustix::fs::{FlockOperation, flock};

use crate::common::artifacts::fails;
use crate::common::composefs::{add_oci, composefs, json_of, repository, text};
use crate::common::{layer, lithify, lithify_output, stderr};

/// An image of containers with one file that is an object.
fn layout(dir: &Path) -> String {
    let layer = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/f", vec![7; 70_000]),
    ]);
    Layout::new().gzip_layer(&layer).tag("app").write(dir);
    format!("oci:{}:app", dir.display())
}

#[test]
fn who_waits_for_a_repository_is_told_for_what_once() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    add_oci(&repository(&path), "app", &[("a", &[1; 100])]);
    for (lock, args, words) in [
        (
            FlockOperation::LockExclusive,
            &["ls", repo][..],
            "waiting for another process",
        ),
        (
            FlockOperation::LockShared,
            &["gc", "--wait", repo],
            "waiting for others",
        ),
    ] {
        let directory = fs::File::open(&path).unwrap();
        flock(&directory, lock).unwrap();
        let mut command = lithify();
        command
            .arg("composefs")
            .args(args)
            .stderr(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (sender, said) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reader = thread::spawn(move || lines.for_each(|line| sender.send(line).unwrap()));
        // Whoever says nothing waits for ever.
        let line = said.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert!(line.contains(words) && line.contains(repo), "{line}");
        drop(directory);
        assert!(child.wait().unwrap().success());
        reader.join().unwrap();
        assert_eq!(said.iter().count(), 0);
    }
    // Whoever does not wait is told how to.
    let opened = repository(&path);
    let (code, error) = fails(lithify().args(["composefs", "gc", repo]));
    assert_eq!(code, 1);
    assert!(error.contains("`--wait`"), "{error}");
    let dry = json_of(&["gc", "-n", repo]);
    assert_eq!(dry["in_use"], true);
    assert!(composefs(&["gc", "-n", repo]).contains("the repository is in use"));
    drop(opened);
    assert_eq!(json_of(&["gc", "-n", repo])["in_use"], false);
    assert!(!composefs(&["gc", "-n", repo]).contains("in use"));
}

#[test]
fn what_a_failed_import_leaves_is_said_with_what_removes_it() {
    let tmp = temp_dir();
    let tar = layer([TarEntry::file("f", vec![7; 3_000_000])]);
    let layout = tmp.path().join("layout");
    Layout::new()
        .layer(&tar, Compression::None)
        .tag("app")
        .write(&layout);
    let source = format!("oci:{}:app", layout.display());
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut blobs = blobs.map(|blob| blob.unwrap().path());
    let blob = blobs.find(|blob| blob.metadata().unwrap().len() > 3_000_000);
    // The end of the layer, behind its file.
    let blob = blob.unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    for verb in [&["build", "-f", "composefs", "-o"][..], &["copy"]] {
        let path = tmp.path().join(verb[0]);
        let to = format!("composefs:{}:app", path.display());
        let args = match verb[0] {
            "copy" => vec!["copy", &source, &to],
            _ => [verb, &[&to, &source]].concat(),
        };
        let (code, error) = fails(lithify().args(&args));
        assert_eq!(code, 3, "{error}");
        let advice = format!("`lithify composefs gc {}` removes it", path.display());
        assert!(
            error.contains("(1 object, 3000000 bytes)") && error.contains(&advice),
            "{error}"
        );
        assert_eq!(json_of(&["gc", text(&path)])["objects"], 1);
        let (_, error) = fails(lithify().arg("-q").args(&args));
        assert!(!error.contains("composefs gc"), "{error}");
    }
}

#[test]
fn another_profile_than_before_is_said() {
    let tmp = temp_dir();
    let source = layout(&tmp.path().join("layout"));
    let repo = tmp.path().join("repo");
    let place = format!("composefs:{}:app", repo.display());
    let build = |options: &[&str]| {
        let args = ["build", &source, "-f", "composefs", "-o", &place];
        let output = lithify_output([&args, options].concat());
        assert!(output.status.success());
        stderr(&output)
    };
    let note = "was made by the profile cfsctl, and is replaced by one by the profile faithful";
    let first = build(&["--profile", "cfsctl"]);
    assert!(!first.contains("profile"), "{first}");
    // What it is called is said too.
    assert!(first.contains("\n  name app\n"), "{first}");
    assert!(!build(&["--profile", "cfsctl"]).contains("profile"));
    let said = build(&[]);
    assert!(
        said.contains(note) && said.contains("--profile cfsctl"),
        "{said}"
    );
    assert!(!build(&[]).contains("profile"));
    build(&["--profile", "cfsctl"]);
    assert!(!build(&["-q"]).contains("profile"));
    // Another image under the same name.
    build(&["--profile", "cfsctl"]);
    let other = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/o", vec![8; 100]),
    ]);
    let path = tmp.path().join("other");
    Layout::new().gzip_layer(&other).tag("app").write(&path);
    let other = format!("oci:{}:app", path.display());
    for args in [
        &["copy", &other, &place][..],
        &["build", &other, "-f", "composefs", "-o", &place],
    ] {
        build(&["--profile", "cfsctl"]);
        let output = lithify_output(args.iter().copied());
        assert!(
            stderr(&output).contains(note),
            "{args:?}: {}",
            stderr(&output)
        );
        composefs(&["rm", &place]);
        composefs(&["gc", text(&repo)]);
    }
}

#[test]
fn all_images_are_looked_at_before_anything_is_printed() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    add_oci(&repository(&path), "app", &[("a", &[1; 100])]);
    let place = format!("composefs:{}:app", text(&path));
    let bare = format!("{}:app", text(&path));
    for verb in ["ls", "dump", "id"] {
        for (wrong, words) in [
            ("/nothing/there.cfs", "/nothing/there.cfs"),
            (&*bare, &*format!("write `{place}`")),
        ] {
            let output = lithify_output(["composefs", verb, &place, wrong]);
            assert!(!output.status.success());
            assert!(output.stdout.is_empty(), "{verb} {wrong}");
            assert!(
                stderr(&output).contains(words),
                "{verb}: {}",
                stderr(&output)
            );
        }
    }
    for verb in ["ls", "dump"] {
        let output = lithify_output(["composefs", verb, &place, "/"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert!(
            stderr(&output).contains("`/` is a directory"),
            "{}",
            stderr(&output)
        );
    }
    let id = composefs(&["id", &place]);
    let ids = json_of(&["id", &place, &place]);
    assert_eq!(ids[1]["id"], id.trim_end());
    assert_eq!(
        (&ids[0]["image"], &ids[0]["algorithm"]),
        (&place.clone().into(), &"sha256".into())
    );
}

#[test]
fn what_is_quiet_still_says_the_digest() {
    let tmp = temp_dir();
    let source = layout(&tmp.path().join("layout"));
    let to = format!("oci:{}:app", tmp.path().join("out").display());
    let copied = run::text(lithify().args(["-q", "copy", &source, &to]));
    let pushed = run::text(lithify().args(["-q", "push", "--as", "composefs", &source, &to]));
    assert_eq!(pushed, copied);
    let said = run::text(lithify().args(["push", "--as", "composefs", &source, &to]));
    assert!(
        said.contains(", 1 layer, ") && said.ends_with(&copied),
        "{said}"
    );
}

#[test]
fn a_damaged_file_is_said_once() {
    let tmp = temp_dir();
    let source = layout(&tmp.path().join("layout"));
    let repo = tmp.path().join("repo");
    let place = format!("composefs:{}:app", repo.display());
    run::ok(lithify().args(["-q", "build", &source, "-f", "composefs", "-o", &place]));
    let said = run::text(lithify().args(["verify", &place]));
    assert!(said.contains(", 1 object\n"), "{said}");
    let objects = composefs(&["ls", "--objects", &place]);
    fs::remove_file(repo.join("objects").join(objects.trim_end())).unwrap();
    let output = lithify_output(["verify", &place]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout)
            .matches("/usr/f")
            .count(),
        1
    );
    let error = stderr(&output);
    assert!(!error.contains("/usr/f"), "{error}");
    assert!(
        error.contains("1 file of the composefs image") && error.contains("once more"),
        "{error}"
    );
}
