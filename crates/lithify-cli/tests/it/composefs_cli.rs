//! `lithify composefs`: what it prints of images is what the C tools print, and repositories are looked after.
//!
//! Outputs of C `mkcomposefs` and `composefs-info` are those of their commit of 2025-02-11.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::common::composefs::{add_tree, composefs, fails, json_of, repository, text};
use crate::common::{lithify, lithify_output, names, stderr};
use lithify::composefs::FileAlgorithm;
use lithify::composefs::repository::{OpenOptions, Repository};
use lithify_testkit::{require, run, temp_dir};
use serde_json::json;

/// A tree with a whiteout, a second name, content in the image, a device, files under other names and of none.
const DUMP: &str = r"/ 4096 40755 4 0 0 0 1700000000.5 - - - user.a=b security.selinux=x\x00
/d 4096 40700 2 5 6 0 1700000001.0 - - - trusted.overlay.opaque=y
/d/chr 0 20644 1 0 0 1281 0.0 - - -
/d/wh 0 20644 1 0 0 0 0.0 - - -
/h 100 100644 2 0 0 0 0.0 ab/cdef0000000000000000000000000000000000000000000000000000000000 - abcdef0000000000000000000000000000000000000000000000000000000000
/h2 100 @100644 2 0 0 0 0.0 /h - -
/inl 3 100644 1 0 0 0 0.0 - hi\n -
/s\x20p 3 120777 1 0 0 0 0.0 d/x - -
/sp 0 140777 1 0 0 0 0.0 - - -
/zz 100 100644 1 0 0 0 -5.25 zz/other - -
/zzz 100 100644 1 0 0 0 0.0 - - -
";

/// Its image's digest as `mkcomposefs --min-version=1` prints it, and without options.
const ID: &str = "e667b8d0d8af494f19004480494119f337633a312c9dabb3b3b182e33683a522";
/// The same of version 0, as with `--min-version=0`.
const ID_0: &str = "4bafdbcd005217fe5c8448fb9e37050e3e9d020bc0bf6b42d8fad016c0cba153";

/// As `composefs-info dump` writes it.
const DUMPED: &str = r"/ 4096 40755 3 0 0 0 1700000000.5 - - - user.a=b security.selinux=x\x00
/d 56 40700 2 5 6 0 1700000001.0 - - - trusted.overlay.opaque=x user.overlay.opaque=x
/d/chr 0 20644 1 0 0 1281 0.0 - - -
/d/wh 0 20644 1 0 0 0 0.0 - - -
/h 100 100644 2 0 0 0 0.0 ab/cdef0000000000000000000000000000000000000000000000000000000000 - abcdef0000000000000000000000000000000000000000000000000000000000
/h2 100 @100644 2 0 0 0 0.0 /h - abcdef0000000000000000000000000000000000000000000000000000000000
/inl 3 100644 1 0 0 0 0.0 - hi\n -
/s\x20p 3 120777 1 0 0 0 0.0 d/x - -
/sp 0 140777 1 0 0 0 0.0 - - -
/zz 100 100644 1 0 0 0 -5.25 zz/other - -
/zzz 100 100644 1 0 0 0 0.0 - - -
";

/// As `composefs-info ls` writes it.
const LISTED: &str = "\
/d/\t
/d/chr
/d/wh
/h\t@ ab/cdef0000000000000000000000000000000000000000000000000000000000
/h2
/inl
/s p\t-> d/x
/sp
/zz\t@ zz/other
/zzz
";

/// As `composefs-info objects` writes it.
const OBJECTS: &str = "\
ab/cdef0000000000000000000000000000000000000000000000000000000000
zz/other
";

#[test]
fn images_of_dumpfiles_are_those_of_mkcomposefs_and_are_read_as_composefs_info_reads_them() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let (dump, image) = (at("tree.dump"), at("tree.cfs"));
    fs::write(&dump, DUMP).unwrap();
    let (dump, image) = (text(&dump), text(&image));
    let lines = |ids: &[&str]| ids.iter().map(|id| format!("{id}\n")).collect::<String>();
    for (options, id) in [
        (&[][..], ID),
        (&["--format-version", "1"], ID),
        (&["--min-version=1", "--from-file"], ID),
        // As mkcomposefs without options.
        (&["--max-version", "1"], ID),
        (&["--format-version", "0", "--max-version=1"], ID),
        (&["--format-version", "0"], ID_0),
        (&["--max-version", "0"], ID_0),
    ] {
        let create = [&["create", "--print-digest", dump, image], options].concat();
        assert_eq!(composefs(&create), lines(&[id]), "{options:?}");
        assert_eq!(composefs(&["id", image]), lines(&[id]));
        let only = [&["create", "--print-digest-only", dump], options].concat();
        assert_eq!(composefs(&only), lines(&[id]));
        let options: Vec<&str> = options
            .iter()
            .copied()
            .filter(|o| *o != "--from-file")
            .collect();
        let of_dump = [&["id", "--from-dump", dump, dump][..], &options].concat();
        assert_eq!(composefs(&of_dump), lines(&[id, id]));
    }
    composefs(&["create", dump, image]);
    assert_eq!(composefs(&["dump", image]), DUMPED);
    assert_eq!(composefs(&["dump", image, image]), DUMPED.repeat(2));
    assert_eq!(composefs(&["ls", image]), LISTED);
    assert_eq!(composefs(&["ls", "--objects", image, image]), OBJECTS);
    let store = at("store");
    fs::create_dir_all(store.join("zz")).unwrap();
    let missing = |directory: &Path| composefs(&["ls", "--missing", text(directory), image]);
    assert_eq!(missing(&store), OBJECTS);
    fs::write(store.join("zz/other"), "").unwrap();
    assert_eq!(
        missing(&store),
        OBJECTS.lines().next().unwrap().to_owned() + "\n"
    );
    // Of a repository the objects are meant.
    let repo = at("repo");
    repository(&repo);
    assert_eq!(missing(&repo), OBJECTS);
    fs::create_dir_all(repo.join("objects")).unwrap();
    fs::rename(store.join("zz"), repo.join("objects/zz")).unwrap();
    assert_eq!(missing(&repo).lines().count(), 1);
    // What is dumped makes the same image.
    fs::write(at("again.dump"), DUMPED).unwrap();
    assert_eq!(
        composefs(&["id", "--from-dump", text(&at("again.dump"))]),
        lines(&[ID])
    );
    // From standard input to standard output, as from file to file.
    let mut command = lithify();
    command.args(["composefs", "create", "--print-digest", "-", "-"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(DUMP.as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.stdout, fs::read(image).unwrap());
    assert_eq!(stderr(&out), lines(&[ID]));
    if require::tool("fsverity") {
        for algorithm in ["sha256", "sha512"] {
            let hash = format!("--hash-alg={algorithm}");
            let mut fsverity = run::command("fsverity");
            let expected = run::text(fsverity.args(["digest", "--compact", &hash, image]));
            assert_eq!(
                composefs(&["id", "--algorithm", algorithm, image]),
                expected
            );
            let mut fsverity = run::command("fsverity");
            let expected = run::text(fsverity.args(["digest", "--compact", &hash, dump]));
            assert_eq!(
                composefs(&["id", "--file", "--algorithm", algorithm, dump]),
                expected
            );
        }
    }
}

#[test]
fn what_is_no_dumpfile_or_image_is_an_error_and_leaves_what_was_there() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let (dump, image) = (at("tree.dump"), at("tree.cfs"));
    fs::write(&dump, DUMP.replace("/zzz 100", "/zzz nothing")).unwrap();
    fs::write(&image, "before").unwrap();
    let (code, said) = fails(&["create", text(&dump), text(&image)]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("tree.dump` cannot be read as a composefs dumpfile: line 11"),
        "{said}"
    );
    assert_eq!(fs::read(&image).unwrap(), b"before");
    assert_eq!(names(tmp.path()), ["tree.cfs", "tree.dump"]);
    // More than images hold.
    let value = "x".repeat(60_000);
    let attributes: Vec<String> = (0..5).map(|n| format!("user.{n}={value}")).collect();
    let line = format!("/f 0 100644 1 0 0 0 0.0 - - - {}", attributes.join(" "));
    fs::write(&dump, format!("/ 0 40755 2 0 0 0 0.0 - - -\n{line}\n")).unwrap();
    let (code, said) = fails(&["create", text(&dump), text(&image)]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the attributes of `/f` take"), "{said}");
    assert_eq!(fs::read(&image).unwrap(), b"before");
    let (code, said) = fails(&["create", text(tmp.path()), text(&image)]);
    assert_eq!(code, 2);
    assert!(
        said.contains("is a directory, expected a dumpfile: `lithify build rootfs:"),
        "{said}"
    );
    for verb in ["id", "dump", "ls"] {
        let (code, said) = fails(&[verb, text(&image)]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("tree.cfs` cannot be read as a composefs image"),
            "{said}"
        );
    }
    assert_eq!(fails(&["id", text(&at("nothing"))]).0, 1);
    assert_eq!(fails(&["create", text(&dump)]).0, 2);
    assert_eq!(fails(&["id", "--file", "--from-dump", text(&dump)]).0, 2);
    assert_eq!(fails(&["ls", "--json", text(&image)]).0, 2);
}

#[test]
fn repositories_are_created_with_their_properties() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    let (code, said) = fails(&["ls", text(tmp.path())]);
    assert_eq!(code, 1);
    assert!(
        said.contains("create one with `lithify composefs init`"),
        "{said}"
    );
    let said = composefs(&[
        "init",
        "--algorithm",
        "sha512",
        "--format-version",
        "0",
        "--verity",
        "off",
        repo,
    ]);
    assert!(
        said.contains("sha512, images of format 0, objects not under fs-verity"),
        "{said}"
    );
    let opened = Repository::open(&path, &OpenOptions::new()).unwrap();
    assert_eq!(opened.algorithm(), FileAlgorithm::Sha512);
    drop(opened);
    // Once more is the same; with other properties it is not.
    composefs(&[
        "init",
        "--algorithm",
        "sha512",
        "--format-version",
        "0",
        repo,
    ]);
    let (code, said) = fails(&["init", repo]);
    assert_eq!(code, 2);
    assert!(
        said.contains("is a composefs repository with sha512, not with sha256"),
        "{said}"
    );
    assert_eq!(composefs(&["ls", repo]), "");
    assert_eq!(json_of(&["ls", repo]), json!([]));
    fs::write(tmp.path().join("file"), "").unwrap();
    let (code, said) = fails(&["init", text(tmp.path())]);
    assert_eq!(code, 1);
    assert!(said.contains("has files in it"), "{said}");
    // Where fs-verity is required and cannot be, there is nothing.
    let other = tmp.path().join("other");
    let out = lithify_output(["composefs", "init", "--verity", "require", text(&other)]);
    assert_eq!(other.exists(), out.status.success(), "{}", stderr(&out));
    if !out.status.success() {
        assert!(
            stderr(&out).contains("cannot hold a repository under fs-verity"),
            "{}",
            stderr(&out)
        );
    }
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    add_tree(&repository(&path), "tree", &[]);
    let repo = text(&path);
    for args in [
        &["rm", repo][..],
        &["tag", repo, "x"],
        &["gc", &format!("composefs:{repo}:tree")],
        &["ls", "--objects", repo],
        &["fsck", "--wait", repo],
        &["fsck", "--metadata-only", "--contents", repo],
        &["init", "--verity", "perhaps", repo],
        &["create", "--format-version", "2", "a", "b"],
        &["tag", &format!("{repo}:tree"), "../../../../x"],
    ] {
        let (code, said) = fails(args);
        assert_eq!(code, 2, "{args:?}: {said}");
    }
    // Verbs of other tools are told, also where a verb of lithify has the name.
    for (verb, hint) in [
        ("untag", "`lithify composefs rm REPO:NAME`"),
        ("measure-file", "`lithify composefs id --file FILE`"),
        ("images", "`lithify composefs ls REPO`"),
    ] {
        let (code, said) = fails(&[verb, repo]);
        assert_eq!(code, 2);
        assert!(said.contains(hint), "{said}");
    }
}
