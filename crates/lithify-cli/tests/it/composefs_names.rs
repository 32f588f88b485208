//! Names in composefs repositories, as they are given, taken away and mistaken.

use std::fs;

use crate::common::artifacts::fails as fails_as;
use crate::common::composefs::{add_oci, add_tree, composefs, fails, json_of, repository, text};
use crate::common::{layer, lithify, lithify_output};
use lithify_testkit::{Layout, TarEntry, run, temp_dir};

#[test]
fn a_name_is_of_one_image_whatever_kind_it_has() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    let layout = tmp.path().join("layout");
    let layer = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/f", [7; 100]),
    ]);
    Layout::new().gzip_layer(&layer).tag("app").write(&layout);
    let container = format!("oci:{}:app", text(&layout));
    let tree = tmp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("t"), [8; 100]).unwrap();
    let tree = format!("rootfs:{}", text(&tree));
    let place = format!("composefs:{repo}:app");
    let kinds = || {
        let listed = json_of(&["ls", repo]);
        let listed = listed.as_array().unwrap().iter();
        let named = listed.filter(|name| name["name"] == "app");
        let kinds = named.map(|name| name["kind"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<_>>()
    };
    let id = || composefs(&["id", &place]);
    let build = |source: &str| {
        run::ok(lithify().args(["-q", "build", source, "-f", "composefs", "-o", &place]));
    };
    build(&container);
    let of_container = id();
    for _ in 0..2 {
        build(&tree);
        assert_eq!(kinds(), ["tree"]);
        assert_ne!(id(), of_container);
        // The second time it is there already, and only gets its name.
        build(&container);
        assert_eq!(kinds(), ["oci"]);
        assert_eq!(id(), of_container);
    }
    composefs(&["tag", &place, "container"]);
    build(&tree);
    composefs(&["tag", &place, "tree"]);
    composefs(&["tag", &format!("{repo}:container"), "app"]);
    assert_eq!(kinds(), ["oci"]);
    composefs(&["tag", &format!("{repo}:tree"), "app"]);
    assert_eq!(kinds(), ["tree"]);
    run::ok(lithify().args(["-q", "copy", &container, &place]));
    assert_eq!(kinds(), ["oci"]);
    // A directory of names is none.
    composefs(&["tag", &format!("{repo}:tree"), "dir/app"]);
    composefs(&["tag", &place, "dir"]);
    assert_eq!(
        composefs(&["id", &format!("composefs:{repo}:dir")]),
        of_container
    );
    composefs(&["rm", &format!("{repo}:dir"), &format!("{repo}:dir/app")]);
}

#[test]
fn what_is_a_place_is_no_new_name() {
    let tmp = temp_dir();
    let path = tmp.path().join("srv/images");
    fs::create_dir(tmp.path().join("srv")).unwrap();
    add_oci(&repository(&path), "app", &[("a", &[1; 100])]);
    let absolute = format!("{}:v7", text(&path));
    for (new, rest) in [
        ("srv/images:v7", "v7"),
        ("./srv/../srv/images:a:1", "a:1"),
        ("composefs:srv/images:v7", "v7"),
        ("composefs:other", "other"),
        (&absolute, "v7"),
    ] {
        let mut command = lithify();
        command
            .current_dir(tmp.path())
            .args(["composefs", "tag", "srv/images:app", new]);
        let (code, error) = fails_as(&mut command);
        assert_eq!(code, 2, "{error}");
        assert!(
            error.contains(&format!("give the name alone, `{rest}`")),
            "{error}"
        );
        let output = format!("composefs:srv/images:{new}");
        let mut command = lithify();
        command.current_dir(tmp.path());
        command.args([
            "-q",
            "build",
            "rootfs:srv",
            "-f",
            "composefs",
            "-o",
            &output,
        ]);
        assert_eq!(fails_as(&mut command).0, 2);
        let mut command = lithify();
        command.current_dir(tmp.path());
        command.args(["-q", "copy", "rootfs:srv", &output]);
        assert_eq!(fails_as(&mut command).0, 2);
    }
    let repo = text(&path);
    assert_eq!(json_of(&["ls", repo]).as_array().unwrap().len(), 1);
    for new in ["localhost:5000/app:1", "a:b:c", "../../x", "a b", "-x"] {
        // Names that others gave are read and removed, whatever is in them.
        match new.starts_with(|c: char| c.is_ascii_alphanumeric()) && !new.contains(' ') {
            true => drop(composefs(&["tag", &format!("{repo}:app"), new])),
            false => {
                let (code, error) = fails(&["tag", &format!("{repo}:app"), "--", new]);
                assert_eq!(code, 2, "{error}");
                assert!(error.contains("is no name for an image"), "{error}");
                add_oci(&repository(&path), new, &[("a", &[1; 100])]);
            }
        }
        let place = format!("composefs:{repo}:{new}");
        composefs(&["id", &place]);
        composefs(&["rm", &place]);
    }
}

#[test]
fn names_are_removed_together_or_not_at_all() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    add_oci(&repository(&path), "a", &[("a", &[1; 100])]);
    let (a, missing) = (format!("{repo}:a"), format!("{repo}:nope"));
    for args in [[&a, &missing], [&missing, &a]] {
        let (code, error) = fails(&["rm", args[0], args[1]]);
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("no name `nope`: there is `a`"), "{error}");
        assert_eq!(json_of(&["ls", repo]).as_array().unwrap().len(), 1);
    }
    assert_eq!(composefs(&["rm", &a, &a]).lines().count(), 1);
    let (_, error) = fails(&["rm", &a]);
    assert!(error.contains("nothing in it has a name"), "{error}");
    // Of many names the first are said.
    let opened = repository(&path);
    for number in 10..31 {
        add_oci(&opened, &format!("n{number}"), &[("a", &[1; 100])]);
    }
    for args in [["rm", &missing], ["id", &format!("composefs:{missing}")]] {
        let (code, error) = fails(&args);
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("there is `n10`, `n11`, "), "{error}");
        assert!(
            error.contains("`n19` and 11 more (`lithify composefs ls`"),
            "{error}"
        );
    }
}

#[test]
fn places_that_are_no_repositories_say_what_to_do() {
    let tmp = temp_dir();
    let missing = tmp.path().join("missing");
    for args in [
        &["ls", &format!("composefs:{}", text(&missing))][..],
        &["ls", text(&missing)],
        &["gc", text(&missing)],
        &["rm", &format!("{}:a", text(&missing))],
    ] {
        let (code, error) = fails(args);
        assert_eq!(code, 1, "{error}");
        assert!(
            error.contains("no composefs repository is there: "),
            "{error}"
        );
        assert!(
            error.contains("`lithify composefs init` creates one"),
            "{error}"
        );
    }
    let below = missing.join("below");
    for args in [
        &["composefs", "init", text(&below)][..],
        &[
            "build",
            "rootfs:/etc/skel",
            "-f",
            "composefs",
            "-o",
            &format!("{}:a", text(&below)),
        ],
    ] {
        let (code, error) = fails_as(lithify().args(args));
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("no directory to create it in"), "{error}");
    }
}

#[test]
fn names_of_others_cannot_drive_a_terminal() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let opened = repository(&path);
    add_tree(&opened, "a\u{1b}[2Jb\nc", &[("x\u{1b}", &[1; 100])]);
    drop(opened);
    let repo = text(&path);
    assert_eq!(json_of(&["ls", repo])[0]["name"], "a\u{1b}[2Jb\nc");
    for verb in ["ls", "df"] {
        let words = composefs(&[verb, repo]);
        assert!(words.contains(r"a\x1b[2Jb\nc"), "{words}");
    }
    let dump = composefs(&["dump", &format!("composefs:{repo}")]);
    assert!(dump.contains("\n/x\\x1b 100 "), "{dump}");
    // A file with such a name among the objects.
    let odd = path.join("objects/ab");
    fs::create_dir_all(&odd).unwrap();
    fs::write(odd.join("\u{1b}]0;x"), "").unwrap();
    let out = lithify_output(["composefs", "fsck", repo]);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stdout).contains(r"objects/ab/\x1b]0;x: it is among"));
    let words = composefs(&["gc", repo]);
    assert!(
        words.contains(r"objects/ab/\x1b]0;x: not an object"),
        "{words}"
    );
}
