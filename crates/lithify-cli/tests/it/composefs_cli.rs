//! `lithify composefs`: what it prints of images is what the C tools print, and repositories are looked after.
//!
//! Outputs of C `mkcomposefs` and `composefs-info` are those of their commit of 2025-02-11.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::common::composefs::{add_oci, add_tree, damage, repository};
use crate::common::{lithify, lithify_output, names, stderr};
use lithify::composefs::FileAlgorithm;
use lithify::composefs::repository::{OpenOptions, Publication, Repository};
use lithify_testkit::{require, run, temp_dir};
use serde_json::{Value, json};

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

fn composefs(args: &[&str]) -> String {
    run::text(lithify().arg("composefs").args(args))
}

fn json_of(args: &[&str]) -> Value {
    let out = composefs(&[args, &["--json"]].concat());
    serde_json::from_str(&out).unwrap()
}

/// Runs a command that fails; returns its exit code and what it said.
fn fails(args: &[&str]) -> (i32, String) {
    let out = lithify_output([&["composefs"], args].concat());
    (out.status.code().unwrap(), stderr(&out))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

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
fn names_are_listed_given_and_removed_and_what_they_kept_is_collected() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    let place = |name: &str| format!("composefs:{repo}:{name}");
    let opened = repository(&path);
    let manifest = add_oci(
        &opened,
        "docker.io/library/app:1",
        &[("a", &[1; 100]), ("b", &[2; 200])],
    );
    let (id, size) = add_tree(&opened, "trees/base", &[("b", &[2; 200]), ("s", b"short")]);
    drop(opened);
    let listed = json_of(&["ls", repo]);
    assert_eq!(listed[0]["name"], "docker.io/library/app:1");
    assert_eq!(
        (&listed[0]["kind"], &listed[0]["target"]),
        (&json!("oci"), &json!(manifest))
    );
    assert_eq!(listed[0]["layers"], 1);
    let made = listed[0]["images"]["composefs.image.v1"]
        .as_str()
        .unwrap()
        .to_owned();
    let tree = json!({
        "name": "trees/base", "kind": "tree", "target": id.hex(), "images": {}, "layers": null,
        "bytes": size + 200, "problem": null,
    });
    assert_eq!(listed[1], tree);
    let words = composefs(&["ls", repo]);
    assert!(
        words.contains(&format!(
            "docker.io/library/app:1  oci  {manifest}  1 layer  "
        )),
        "{words}"
    );
    assert!(
        words.contains(&format!("trees/base  tree  {}  ", id.hex())),
        "{words}"
    );

    // An image is read by its tag, its digest, its id and a name.
    for (name, id) in [
        (place("docker.io/library/app:1"), &made),
        (format!("composefs:{repo}@{manifest}"), &made),
        (place(&made), &made),
        (place("trees/base"), &id.hex()),
    ] {
        assert_eq!(composefs(&["id", &name]), format!("{id}\n"));
        assert!(
            composefs(&["dump", &name]).contains("\n/b 200 100644 1 0 0 0 0.0 "),
            "{name}"
        );
    }
    assert_eq!(
        composefs(&["ls", "--objects", &place("trees/base")])
            .lines()
            .count(),
        1
    );
    assert_eq!(
        composefs(&["ls", "--missing", repo, &place("trees/base")]),
        ""
    );

    // Further names keep it.
    composefs(&["tag", &place("docker.io/library/app:1"), "stable"]);
    composefs(&["tag", &format!("{repo}:trees/base"), "base"]);
    composefs(&["tag", &format!("{repo}@{manifest}"), "by-digest"]);
    assert_eq!(json_of(&["ls", repo]).as_array().unwrap().len(), 5);
    let said = composefs(&[
        "rm",
        &place("docker.io/library/app:1"),
        &format!("{repo}:trees/base"),
        &place("by-digest"),
    ]);
    assert_eq!(said.lines().count(), 3);
    assert_eq!(json_of(&["gc", repo])["objects"], 0);
    // A name that another image has is given away.
    let opened = repository(&path);
    let (other, _) = add_tree(&opened, "other", &[]);
    drop(opened);
    composefs(&["tag", &place("other"), "base"]);
    assert_eq!(
        composefs(&["id", &place("base")]),
        format!("{other}\n", other = other.hex())
    );
    composefs(&["tag", &place(&id.hex()), "base"]);
    composefs(&["rm", &place("other")]);
    assert_eq!(json_of(&["gc", repo])["objects"], 1);
    composefs(&["rm", &place("base"), &place("stable")]);
    let (code, said) = fails(&["rm", &place("base")]);
    assert_eq!(code, 1);
    assert!(
        said.contains("has no name `base`: `lithify composefs ls` lists its names"),
        "{said}"
    );

    // What only a name kept goes, unless it is asked to be kept.
    let dry = json_of(&["gc", "--dry-run", repo]);
    assert_eq!((&dry["dry_run"], &dry["kept"]), (&json!(true), &json!(0)));
    // Two files, two documents, three streams, two images.
    assert_eq!(dry["objects"], 9);
    assert!(composefs(&["gc", "-n", repo]).starts_with("would remove 9 objects, "));
    let kept = json_of(&["gc", "--keep", &id.hex(), repo]);
    assert_eq!((&kept["kept"], &kept["objects"]), (&json!(2), &json!(7)));
    let (code, said) = fails(&["gc", "--keep", "nothing", repo]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("`nothing` is to be kept but is neither"),
        "{said}"
    );
    // Who has it open keeps all of it.
    let opened = repository(&path);
    let (code, said) = fails(&["gc", repo]);
    assert_eq!(code, 1);
    assert!(said.contains("in use by another process"), "{said}");
    drop(opened);
    assert!(composefs(&["gc", repo]).starts_with("removed 2 objects, "));
    assert_eq!(
        json_of(&["df", repo])["stored"],
        json!({ "objects": 0, "bytes": 0 })
    );
}

#[test]
fn bytes_are_counted_for_each_image_and_what_they_share() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    let opened = repository(&path);
    let (a, b, c, d) = (
        &[1; 1000][..],
        &[2; 2000][..],
        &[3; 4000][..],
        &[4; 8000][..],
    );
    // `b` is in both trees, `c` twice in one, and `short` in the images.
    let (_, first) = add_tree(&opened, "one", &[("a", a), ("b", b), ("short", b"12345")]);
    let (second_id, second) = add_tree(&opened, "two", &[("b", b), ("c", c), ("c2", c)]);
    // The same image has two names.
    let mut publication = Publication::new();
    publication.image_reference("three", &second_id).unwrap();
    opened.publish(&publication).unwrap();
    // Nothing needs this one.
    opened.store_object(d).unwrap();
    drop(opened);
    let count = |objects: u64, bytes: u64| json!({ "objects": objects, "bytes": bytes });
    let files = |files: u64, bytes: u64| json!({ "files": files, "bytes": bytes });
    let usage = json_of(&["df", repo]);
    let image = |name: &str| {
        let all = usage["images"].as_array().unwrap();
        let has = |image: &&Value| image["names"].as_array().unwrap().contains(&json!(name));
        all.iter().find(has).unwrap().clone()
    };
    let one = image("one");
    assert_eq!(one["logical"], files(3, 3005));
    assert_eq!(one["needed"], count(3, 3000 + first));
    assert_eq!(one["metadata"], count(1, first));
    assert_eq!(one["only"], count(2, 1000 + first));
    assert_eq!(one["shared"], count(1, 2000));
    let two = image("two");
    assert_eq!(two["names"], json!(["three", "two"]));
    assert_eq!(two["logical"], files(3, 10_000));
    assert_eq!(two["needed"], count(3, 6000 + second));
    assert_eq!(two["only"], count(2, 4000 + second));
    assert_eq!(two["shared"], count(1, 2000));
    assert_eq!(two["missing"], 0);
    assert_eq!(usage["logical"], files(6, 13_005));
    assert_eq!(usage["stored"], count(6, 15_000 + first + second));
    assert_eq!(usage["needed"], count(5, 7000 + first + second));
    assert_eq!(usage["shared"], count(1, 2000));
    assert_eq!(usage["streams"], count(0, 0));
    assert_eq!(usage["erofs_images"], count(2, first + second));
    assert_eq!(usage["unneeded"], count(1, 8000));
    let words = composefs(&["df", repo]);
    assert!(
        words.contains("not needed       8.00 kB  1 object\n"),
        "{words}"
    );
    assert!(
        words.contains("logical          13.0 kB  6 files\n"),
        "{words}"
    );

    // What collecting frees is what it said, and what only an image has is freed with its name.
    let freed = json_of(&["gc", repo]);
    assert_eq!(
        (&freed["objects"], &freed["bytes"]),
        (&json!(1), &json!(8000))
    );
    composefs(&["rm", &format!("{repo}:one")]);
    let freed = json_of(&["gc", repo]);
    assert_eq!(
        (&freed["objects"], &freed["bytes"]),
        (&json!(2), &json!(1000 + first))
    );
    assert_eq!(json_of(&["df", repo])["images"][0]["shared"], count(0, 0));

    // An image of the OCI has streams and documents too.
    let opened = repository(&path);
    add_oci(&opened, "app:1", &[("b", b), ("e", &[5; 500])]);
    drop(opened);
    let usage = json_of(&["df", repo]);
    let app = &usage["images"][0];
    assert_eq!(
        (&app["names"], &app["kind"]),
        (&json!(["app:1"]), &json!("oci"))
    );
    assert_eq!(app["logical"], files(2, 2500));
    assert_eq!(app["shared"], count(1, 2000));
    // Streams of the layer, the configuration and the manifest, and an image.
    assert_eq!(
        (&app["metadata"]["objects"], &usage["streams"]["objects"]),
        (&json!(4), &json!(3))
    );
    // And two files and two documents.
    assert_eq!(app["needed"]["objects"], 8);
}

#[test]
fn damage_is_found_taken_away_and_said_to_whom_it_belongs() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    let files: [(&str, &[u8]); 2] = [("a", &[1; 1000]), ("b", &[2; 2000])];
    let opened = repository(&path);
    add_oci(&opened, "app:1", &files);
    add_tree(&opened, "tree", &files[..1]);
    drop(opened);
    let good = json_of(&["fsck", repo]);
    assert_eq!(
        (&good["clean"], &good["findings"]),
        (&json!(true), &json!([]))
    );
    // Two files, two documents, three streams, two images.
    assert_eq!(
        (
            &good["objects"],
            &good["streams"],
            &good["images"],
            &good["references"]
        ),
        (&json!(9), &json!(3), &json!(2), &json!(2))
    );
    assert!(composefs(&["fsck", "--contents", "-j", "1", repo]).starts_with("9 objects read, "));

    let objects = composefs(&["ls", "--objects", &format!("composefs:{repo}:tree")]);
    let object = objects.trim_end().replace('/', "");
    damage(&path, &object);
    // Which is not looked at here.
    composefs(&["fsck", "--metadata-only", repo]);
    let (code, said) = fails(&["fsck", repo]);
    assert_eq!(code, 3);
    assert!(said.contains("1 thing is not as it should be"), "{said}");
    assert!(said.contains("import once more: app:1, tree"), "{said}");
    let out = lithify_output(["composefs", "fsck", "--json", repo]);
    assert_eq!(out.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(report["clean"], false);
    assert_eq!(finding["object"], json!(object));
    assert_eq!(
        (&finding["at"], &finding["repaired"]),
        (
            &json!(format!("objects/{}", objects.trim_end())),
            &json!(false)
        )
    );
    assert!(
        finding["needed_by"]
            .as_array()
            .unwrap()
            .contains(&json!("images/refs/tree")),
        "{finding}"
    );
    assert!(
        finding["fault"]
            .as_str()
            .unwrap()
            .starts_with("its digest is sha256:"),
        "{finding}"
    );

    // Taken away, and then missing until it is imported.
    let (code, said) = fails(&["fsck", "--repair", repo]);
    assert_eq!(code, 3);
    assert!(
        said.contains("1 damaged thing was taken away; import once more: app:1, tree"),
        "{said}"
    );
    assert!(!path.join("objects").join(objects.trim_end()).exists());
    let opened = repository(&path);
    add_oci(&opened, "app:1", &files);
    add_tree(&opened, "tree", &files[..1]);
    drop(opened);
    assert_eq!(json_of(&["fsck", repo])["clean"], true);

    // A name that leads to nothing is listed and found, and goes with the next collection.
    let tag = path.join("images/refs/lost");
    std::os::unix::fs::symlink(format!("../{}", "ab".repeat(32)), &tag).unwrap();
    let lost = json_of(&["ls", repo]);
    let lost = lost
        .as_array()
        .unwrap()
        .iter()
        .find(|name| name["name"] == "lost")
        .unwrap()
        .clone();
    let problem = lost["problem"].as_str().unwrap();
    assert!(
        problem.contains("`lost` leads to `images/abab"),
        "{problem}"
    );
    let usage = json_of(&["df", repo]);
    let all = usage["images"].as_array().unwrap();
    let lost = all
        .iter()
        .find(|image| image["names"] == json!(["lost"]))
        .unwrap();
    assert_eq!(
        (&lost["missing"], &lost["needed"]["objects"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        json_of(&["gc", repo])["references"],
        json!(["images/refs/lost"])
    );

    // An image in place of another one is not read.
    let id = composefs(&["id", &format!("composefs:{repo}:tree")]);
    damage(&path, id.trim_end());
    for verb in ["id", "dump", "ls"] {
        let (code, said) = fails(&[verb, &format!("composefs:{repo}:tree")]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("is damaged (its digest is sha256:"), "{said}");
    }
    // What it needs is not known: nothing is collected, and names are listed all the same.
    let (code, said) = fails(&["gc", repo]);
    assert_eq!(code, 3, "{said}");
    let out = lithify_output(["composefs", "ls", repo]);
    assert!(out.status.success());
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 2);
    assert!(
        stderr(&out).contains("tree: composefs repository"),
        "{}",
        stderr(&out)
    );
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

#[test]
fn repositories_of_cfsctl_are_looked_after_and_it_finds_nothing_wrong() {
    let Some(cfsctl) = require::cfsctl() else {
        return;
    };
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    composefs(&["init", "--verity", "off", repo]);
    let cfsctl = |args: &[&str]| {
        let mut command = std::process::Command::new(&cfsctl);
        run::text(command.args(["--repo", repo]).args(args))
    };
    let mut ids = Vec::new();
    for (name, files) in [("one", ["a", "b"]), ("two", ["b", "c"])] {
        let tree = tmp.path().join(name);
        fs::create_dir_all(tree.join("usr")).unwrap();
        for file in files {
            fs::write(tree.join("usr").join(file), file.repeat(1000)).unwrap();
        }
        let said = cfsctl(&["create-image", text(&tree), name]);
        ids.push(said.trim().strip_prefix("sha256:").unwrap().to_owned());
    }
    let listed = json_of(&["ls", repo]);
    for (number, (name, id)) in ["one", "two"].into_iter().zip(&ids).enumerate() {
        assert_eq!(
            (&listed[number]["name"], &listed[number]["target"]),
            (&json!(name), &json!(id))
        );
        let place = format!("composefs:{repo}:{name}");
        assert_eq!(composefs(&["id", &place]), format!("{id}\n"));
        let dump = tmp.path().join("dump");
        fs::write(&dump, composefs(&["dump", &place])).unwrap();
        assert_eq!(
            composefs(&["id", "--from-dump", text(&dump)]),
            format!("{id}\n")
        );
        let objects = composefs(&["ls", "--objects", &place]);
        let theirs = cfsctl(&["image-objects", name]);
        let mut theirs: Vec<&str> = theirs
            .lines()
            .map(|l| l.trim_start_matches("sha256:"))
            .collect();
        theirs.sort_unstable();
        assert_eq!(objects.replace('/', "").lines().collect::<Vec<_>>(), theirs);
    }
    assert_eq!(json_of(&["fsck", repo])["clean"], true);
    let usage = json_of(&["df", repo]);
    assert_eq!(usage["shared"], json!({ "objects": 1, "bytes": 1000 }));
    assert_eq!(usage["logical"], json!({ "files": 4, "bytes": 4000 }));
    composefs(&["rm", &format!("{repo}:one")]);
    assert_eq!(json_of(&["gc", repo])["objects"], 2);
    assert!(cfsctl(&["fsck"]).contains("status: ok"));
    assert!(cfsctl(&["gc", "--dry-run"]).contains("Objects: 0 removed"));
    composefs(&["tag", &format!("{repo}:two"), "three"]);
    assert!(cfsctl(&["images"]).contains("three"));
}
