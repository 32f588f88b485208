//! `lithify composefs` of repositories: names, collection, checks, bytes.

use std::fs;

use crate::common::artifacts::fails as fails_as;
use crate::common::composefs::{
    add_oci, add_tree, composefs, damage, fails, json_of, repository, text,
};
use crate::common::{layer, lithify, lithify_output, stderr};
use lithify::composefs::repository::Publication;
use lithify_testkit::{Layout, TarEntry, require, run, temp_dir};
use serde_json::{Value, json};

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
        "bytes": size + 200, "damaged": false, "problem": null,
    });
    assert_eq!(listed[1], tree);
    let words = composefs(&["ls", repo]);
    assert!(
        words.contains(&format!(
            "docker.io/library/app:1  oci   {manifest}  1 layer  "
        )),
        "{words}"
    );
    assert!(
        words.contains(&format!("trees/base               tree  {}  ", id.hex())),
        "{words}"
    );
    // In columns.
    let ends = |unit: &str| {
        let lines = words.lines();
        let ends = lines.map(|line| line.find(unit).unwrap());
        ends.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ends(" kB").len(), 1, "{words}");

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
        said.contains("has no name `base`: nothing in it has a name"),
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

#[test]
fn an_image_that_lost_a_part_is_listed_as_damaged() {
    let tmp = temp_dir();
    let path = tmp.path().join("repo");
    let repo = text(&path);
    let layout = tmp.path().join("layout");
    let layer = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/f", [7; 9000]),
    ]);
    Layout::new().gzip_layer(&layer).tag("app").write(&layout);
    let source = format!("oci:{}:app", text(&layout));
    let place = format!("composefs:{repo}:app");
    let build =
        || run::ok(lithify().args(["-q", "build", &source, "-f", "composefs", "-o", &place]));
    let listed = || {
        let all = json_of(&["ls", repo]);
        (all[0]["damaged"] == true, all[0]["problem"].clone())
    };
    build();
    assert_eq!(listed(), (false, Value::Null));
    let objects = composefs(&["ls", "--objects", &place]);
    let object = objects.trim_end().replace('/', "");
    damage(&path, &object);
    assert_eq!(fails(&["fsck", "--repair", repo]).0, 3);
    let (is_damaged, problem) = listed();
    assert!(
        is_damaged && problem.as_str().unwrap().contains("import it once more"),
        "{problem}"
    );
    let out = lithify_output(["composefs", "ls", repo]);
    assert!(String::from_utf8_lossy(&out.stdout).ends_with("  damaged\n"));
    assert!(stderr(&out).contains("import it once more"));
    let target = tmp.path().join("target");
    fs::create_dir(&target).unwrap();
    for args in [
        &["mount", &place, text(&target)][..],
        &["verify", &place],
        &["cat", &place, "/usr/f"],
        &["composefs", "id", &place],
    ] {
        let (code, error) = fails_as(lithify().arg("-q").args(args));
        assert_eq!(code, 3, "{args:?}: {error}");
        assert!(
            error.contains("import the image that it is part of once more"),
            "{error}"
        );
    }
    build();
    assert_eq!(listed(), (false, Value::Null));
    // The stream of the manifest.
    let stream = fs::read_dir(path.join("streams"))
        .unwrap()
        .find_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("oci-manifest-").then(|| entry.path())
        });
    let stream = fs::canonicalize(stream.unwrap()).unwrap();
    let bytes = fs::read(&stream).unwrap();
    fs::write(&stream, vec![0; bytes.len()]).unwrap();
    let (is_damaged, problem) = listed();
    assert!(is_damaged && problem.is_string());
    let out = lithify_output(["composefs", "ls", repo]);
    let line = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        line.starts_with("app  oci  sha256:") && line.ends_with("  damaged\n"),
        "{line}"
    );
}
