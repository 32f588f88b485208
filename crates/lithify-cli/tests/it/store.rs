//! The store as its commands show it: what is kept, what is found damaged, and stores that cannot be used as one would like.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::common::stores::{
    assert_same_files, assert_undamaged, build_command, counts, files, flip, fsck_store,
    lithify_at, numbered_image,
};
use crate::common::{image, layer, lithify, names, stderr};
use lithify_testkit::registry::Faulty;
use lithify_testkit::{Mount, TarEntry, require, run, temp_dir};
use serde_json::Value;

fn json(store: &Path, args: &[&str]) -> Value {
    let out = run::ok(lithify_at(store).args(args).arg("--json"));
    serde_json::from_slice(&out).unwrap()
}

fn text(store: &Path, args: &[&str]) -> String {
    run::text(lithify_at(store).args(args))
}

#[test]
fn images_are_listed_forgotten_and_collected() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let one = numbered_image(&tmp.path().join("one"), [1, 2]);
    let two = numbered_image(&tmp.path().join("two"), [1, 3]);
    let out = tmp.path().join("out");
    assert_eq!(counts(&store, &one, &out), (3, 0));
    assert_eq!(counts(&store, &two, &out), (2, 1));

    let images = json(&store, &["images"]);
    let images = images.as_array().unwrap();
    assert_eq!(images.len(), 2);
    for image in images {
        assert_eq!(image["platform"], "linux/amd64");
        assert!(image["digest"].as_str().unwrap().starts_with("sha256:"));
        assert_eq!(image["targets"].as_array().unwrap().len(), 1);
    }
    let listed = text(&store, &["images"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    for image in images {
        let name = image["name"].as_str().unwrap();
        assert!(lines.iter().any(|l| l.starts_with(name)), "{listed}");
    }

    let space = json(&store, &["df"]);
    assert_eq!(space["images"], 2);
    assert_eq!(space["referenced"]["artifacts"], 5);
    assert_eq!(space["unreferenced"]["artifacts"], 0);
    assert_eq!(space["formats"]["erofs-layer"]["artifacts"], 3);
    assert!(text(&store, &["df"]).contains("5 artifacts of 2 images"));

    // Nothing goes while it is needed.
    let said = json(&store, &["gc"]);
    assert_eq!(
        (&said["removed"], &said["kept"]),
        (&Value::Array(vec![]), &5.into())
    );
    assert!(text(&store, &["rm", &one]).contains("removed"));
    assert_eq!(json(&store, &["images"]).as_array().unwrap().len(), 1);
    // Nor when one only asks what would.
    let removed = |said: &Value| said["removed"].as_array().unwrap().len();
    let said = json(&store, &["gc", "--dry-run"]);
    assert_eq!((removed(&said), &said["dry_run"]), (2, &true.into()));
    assert!(said["removed_bytes"]["apparent"].as_u64().unwrap() > 0);
    let words = text(&store, &["gc", "--dry-run"]);
    assert!(words.contains("would remove 2 artifacts"), "{words}");
    assert_eq!(json(&store, &["df"])["unreferenced"]["artifacts"], 2);
    // Nor what there is room for.
    assert_eq!(removed(&json(&store, &["gc", "--keep-bytes", "1G"])), 0);
    let words = text(&store, &["gc", "--keep-bytes", "0"]);
    assert!(words.contains("removed 2 artifacts"), "{words}");
    assert_eq!(names(&store.join("artifacts")).len(), 3);
    assert_eq!(names(&store.join("tmp")).len(), 0);

    let output = run::output(lithify_at(&store).args(["rm", &one]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("lithify images"),
        "{}",
        stderr(&output)
    );
    assert_undamaged(&store);
    assert_eq!(counts(&store, &two, &out), (0, 3));
    assert_eq!(counts(&store, &one, &out), (2, 1));
}

/// Some offsets of a file: first, last, and a few between.
fn offsets(path: &Path) -> Vec<u64> {
    let length = fs::metadata(path).unwrap().len();
    let mut all: Vec<u64> = (0..4).map(|n| length * n / 4).chain([length - 1]).collect();
    all.dedup();
    all
}

#[test]
fn fsck_finds_what_was_changed_once() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("image"), [1, 2]);
    let (good, out) = (tmp.path().join("good"), tmp.path().join("out"));
    run::ok(build_command(&store, &source, &good).arg("--no-store"));
    counts(&store, &source, &out);
    let (code, said) = fsck_store(&store);
    assert_eq!(
        (code, &said["clean"], &said["good"]),
        (0, &true.into(), &3.into())
    );

    let all = files(&store);
    let (mut kinds, mut changes) = (std::collections::BTreeSet::new(), 0);
    for (number, file) in all.iter().enumerate() {
        let name = file.strip_prefix(&store).unwrap();
        if name.starts_with("locks") || name.starts_with("quarantine") {
            continue;
        }
        kinds.insert(name.components().next().unwrap().as_os_str().to_owned());
        for (turn, offset) in offsets(file).into_iter().enumerate() {
            flip(file, offset, (number + turn) % 2 == 0);
            // Only asked, it says so and moves nothing.
            let output = run::output(lithify_at(&store).args(["fsck", "--dry-run"]));
            assert_eq!(
                output.status.code(),
                Some(3),
                "{} at {offset}",
                name.display()
            );
            assert!(file.exists());
            let (code, said) = fsck_store(&store);
            assert_eq!(code, 3, "{} at {offset}: {said:#}", name.display());
            let path = said["findings"][0]["path"].as_str().unwrap();
            assert!(name.starts_with(path), "{}: {said:#}", name.display());
            assert_undamaged(&store);
            // What is missing is made again.
            counts(&store, &source, &out);
            assert_same_files(&good, &out);
            assert!(file.exists(), "{}", name.display());
            assert_undamaged(&store);
            changes += 1;
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|k| k.to_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "artifacts",
            "images",
            "index.json",
            "lithify-store.json",
            "oci-layout"
        ]
    );
    assert!(changes > 40, "{changes}");
    assert_undamaged(&store);
    assert!(!names(&store.join("quarantine")).is_empty());
    run::ok(lithify_at(&store).args(["gc", "--quarantine"]));
    assert!(names(&store.join("quarantine")).is_empty());
}

#[test]
fn no_build_gives_out_what_was_changed() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("image"), [1, 2]);
    let (good, out) = (tmp.path().join("good"), tmp.path().join("out"));
    run::ok(build_command(&store, &source, &good).arg("--no-store"));
    counts(&store, &source, &out);
    for (number, file) in files(&store.join("artifacts")).iter().enumerate() {
        for (turn, offset) in offsets(file).into_iter().enumerate() {
            // Replacing an output changes the number of links; this makes the store look at it.
            assert_undamaged(&store);
            flip(file, offset, (number + turn) % 2 == 0);
            let counts = counts(&store, &source, &out);
            let expected = match file.file_name() == Some(OsStr::new("stamp.json")) {
                // Without a stamp the bytes themselves are read, and are good.
                true => (0, 3),
                false => (1, 2),
            };
            assert_eq!(counts, expected, "{} at {offset}", file.display());
            assert_same_files(&good, &out);
        }
    }
    // Elsewhere in the store: the right output or none.
    for file in files(&store) {
        let name = file.strip_prefix(&store).unwrap();
        if ["artifacts", "locks", "quarantine"]
            .iter()
            .any(|d| name.starts_with(d))
        {
            continue;
        }
        for offset in offsets(&file) {
            fs::remove_dir_all(&out).ok();
            flip(&file, offset, true);
            let output = run::output(&mut build_command(&store, &source, &out));
            match output.status.code() {
                Some(0) => assert_same_files(&good, &out),
                Some(1 | 3) => {
                    assert!(!out.exists(), "{}", name.display());
                    assert!(stderr(&output).contains("fsck"), "{}", stderr(&output));
                }
                _ => panic!("{}: {}", name.display(), stderr(&output)),
            }
            fsck_store(&store);
            counts(&store, &source, &out);
            assert_same_files(&good, &out);
        }
    }
}

#[test]
fn an_output_that_shares_its_bytes_may_be_edited() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("image"), [1, 2]);
    let (good, out) = (tmp.path().join("good"), tmp.path().join("out"));
    run::ok(build_command(&store, &source, &good).arg("--no-store"));
    counts(&store, &source, &out);
    let file = files(&out.join("layers")).remove(0);
    let shared = fs::metadata(&file).unwrap().nlink() > 1;
    if !require::met(
        shared,
        "a temporary directory with hard links and no reflinks",
    ) {
        return;
    }
    for hide in [false, true] {
        flip(&file, 3000, hide);
        let fresh = tmp.path().join(format!("fresh-{hide}"));
        assert_eq!(counts(&store, &source, &fresh), (1, 2));
        assert_same_files(&good, &fresh);
        assert_undamaged(&store);
        flip(&file, 3000, hide);
        // Over the edited one as well.
        assert_eq!(counts(&store, &source, &out), (0, 3));
        assert_same_files(&good, &out);
        // The same found by `fsck`.
        flip(&file, 100, hide);
        assert_eq!(fsck_store(&store).0, 3);
        assert_undamaged(&store);
        assert_eq!(counts(&store, &source, &out), (1, 2));
        assert_undamaged(&store);
        assert_same_files(&good, &out);
    }
}

#[test]
fn foreign_files_are_set_aside() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("image"), [1]);
    let out = tmp.path().join("out");
    counts(&store, &source, &out);
    let entry = fs::read_dir(store.join("artifacts"))
        .unwrap()
        .next()
        .unwrap();
    let entry = entry.unwrap().file_name().into_string().unwrap();
    for place in [
        "stranger".to_owned(),
        "artifacts/stranger".to_owned(),
        format!("artifacts/{}", "0".repeat(64)),
        format!("artifacts/{entry}/stranger"),
        "images/stranger.json".to_owned(),
    ] {
        let path = store.join(&place);
        fs::write(&path, "who am I?").unwrap();
        let (code, said) = fsck_store(&store);
        assert_eq!(code, 3, "{place}: {said:#}");
        assert!(!path.exists(), "{place}");
        assert_eq!(fsck_store(&store).0, 0, "{place}");
        counts(&store, &source, &out);
    }
}

#[test]
fn the_store_is_where_one_says() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let source = numbered_image(&at("image"), [1]);
    let command = |output: &str| {
        let mut command = lithify();
        for name in ["LITHIFY_STORE", "XDG_DATA_HOME", "HOME"] {
            command.env_remove(name);
        }
        command.args(["-q", "build", &source, "-f", "erofs-layers", "-o"]);
        command.arg(at(output));
        command
    };
    let is_store = |name: &str| at(name).join("lithify-store.json").is_file();
    run::ok(command("a").env("LITHIFY_STORE", at("by-env")));
    assert!(is_store("by-env"));
    let mut both = command("b");
    both.env("LITHIFY_STORE", at("not-this")).arg("--store");
    run::ok(both.arg(at("by-option")));
    assert!(is_store("by-option") && !at("not-this").exists());
    for name in ["home", "data"] {
        fs::create_dir(at(name)).unwrap();
    }
    run::ok(command("c").env("HOME", at("home")));
    assert!(is_store("home/.local/share/lithify"));
    run::ok(
        command("d")
            .env("HOME", at("not-this"))
            .env("XDG_DATA_HOME", at("data")),
    );
    assert!(is_store("data/lithify") && !at("not-this").exists());
    // The commands that look after it take the same.
    let list = lithify()
        .args(["images", "--json", "--store"])
        .arg(at("by-option"))
        .output();
    assert!(list.unwrap().status.success());
    let missing = run::output(lithify().args(["images", "--store"]).arg(at("not-this")));
    assert!(missing.status.success() && missing.stdout.is_empty());
    assert!(stderr(&missing).contains("not-this") && !at("not-this").exists());
    // Other people's directories are not taken over.
    let taken = run::output(command("e").arg("--store").arg(at("image")));
    assert_eq!(taken.status.code(), Some(1), "{}", stderr(&taken));
    assert!(stderr(&taken).contains("not a store") && !at("e").exists());

    // None is needed.
    let before = names(tmp.path());
    run::ok(&mut command("no-home"));
    let mut none = command("none");
    none.env("HOME", at("home2"))
        .env("LITHIFY_STORE", at("store2"));
    run::ok(none.arg("--no-store"));
    let mut expected = [before, vec!["no-home".into(), "none".into()]].concat();
    expected.sort();
    assert_eq!(names(tmp.path()), expected);
    for other in ["b", "c", "d", "no-home", "none"] {
        assert_same_files(&at("a"), &at(other));
    }
}

/// A directory of another as a read-only mount.
fn read_only(directory: &Path) -> Mount {
    let options = ["--bind", "-o", "ro"].map(OsStr::new);
    Mount::with(options.into_iter().chain([directory.as_os_str()])).unwrap()
}

#[test]
fn a_read_only_store_gives_what_it_has() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let one = numbered_image(&tmp.path().join("one"), [1, 2]);
    let two = numbered_image(&tmp.path().join("two"), [1, 3]);
    let out = tmp.path().join("out");
    counts(&store, &one, &out);
    let good = tmp.path().join("good");
    run::ok(build_command(&store, &two, &good).arg("--no-store"));
    let before = files(&store);
    let mount = read_only(&store);
    let again = tmp.path().join("again");
    assert_eq!(counts(mount.path(), &one, &again), (0, 3));
    assert_same_files(&out, &again);
    let other = tmp.path().join("other");
    assert_eq!(counts(mount.path(), &two, &other), (2, 1));
    assert_same_files(&good, &other);
    assert_eq!(files(&store), before);
    assert_eq!(
        names(tmp.path()),
        ["again", "good", "one", "other", "out", "store", "two"]
    );
    assert_undamaged(mount.path());
    text(mount.path(), &["images"]);
    text(mount.path(), &["df"]);
    for args in [&["gc"][..], &["rm", &one]] {
        let output = run::output(lithify_at(mount.path()).args(args));
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains("read"), "{}", stderr(&output));
    }
    // Damage in it is seen, and made good beside the output.
    let file = files(&store.join("artifacts"))
        .into_iter()
        .find(|f| f.ends_with("image"));
    flip(&file.unwrap(), 2000, true);
    fs::remove_dir_all(&again).unwrap();
    assert_eq!(counts(mount.path(), &one, &again), (1, 2));
    run::ok(build_command(&store, &one, &out).arg("--no-store"));
    assert_same_files(&out, &again);
    assert_eq!(fsck_store(mount.path()).0, 3);

    // A default store that cannot be made is none.
    fs::create_dir(tmp.path().join("home")).unwrap();
    let home = read_only(&tmp.path().join("home"));
    let fourth = tmp.path().join("fourth");
    let mut command = build_command(&store, &two, &fourth);
    command
        .env_remove("LITHIFY_STORE")
        .env_remove("XDG_DATA_HOME");
    run::ok(command.env("HOME", home.path()));
    assert_same_files(&good, &fourth);
    // What service accounts have for a home.
    let fifth = tmp.path().join("fifth");
    let mut command = build_command(&store, &two, &fifth);
    command
        .env_remove("LITHIFY_STORE")
        .env_remove("XDG_DATA_HOME");
    run::ok(command.env("HOME", "/dev/null"));
    assert_same_files(&good, &fifth);
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("image"), [1]);
    let out = tmp.path().join("out");
    counts(&store, &source, &out);
    fs::remove_dir_all(&out).unwrap();
    let record = tmp.path().join("record");
    fs::write(&record, r#"{"version":99}"#).unwrap();
    let sum = run::text(run::command("sha256sum").arg(&record));
    let sum = sum.split_whitespace().next().unwrap();
    let line = format!("{{\"record\":{{\"version\":99}},\"sha256\":\"{sum}\"}}\n");
    let version = store.join("lithify-store.json");
    fs::remove_file(&version).unwrap();
    fs::write(&version, line).unwrap();
    let before = files(&store);
    let mut build = build_command(&store, &source, &out);
    let mut commands = vec![run::output(&mut build)];
    for verb in ["images", "gc", "fsck", "df"] {
        commands.push(run::output(lithify_at(&store).arg(verb)));
    }
    for output in commands {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("99"), "{}", stderr(&output));
    }
    assert!(!out.exists());
    assert_eq!(files(&store), before);
}

#[test]
fn a_full_disk_is_said_and_leaves_a_good_store() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let options = ["-t", "tmpfs", "-o", "size=2m", "none"].map(OsStr::new);
    let disk = Mount::with(options).unwrap();
    let store = disk.path().join("store");
    let small = numbered_image(&tmp.path().join("small"), [1]);
    let large = image(
        &tmp.path().join("large"),
        [
            crate::common::stores::numbered(1),
            layer([TarEntry::file("large", vec![1; 6 << 20])]),
            crate::common::stores::numbered(2),
        ],
    );
    let out = tmp.path().join("out");
    assert_eq!(counts(&store, &small, &tmp.path().join("first")), (2, 0));
    for _ in 0..2 {
        let output = run::output(&mut build_command(&store, &large, &out));
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output).to_lowercase();
        assert!(said.contains("no space left"), "{said}");
        assert_eq!(names(tmp.path()), ["first", "large", "small"]);
        let (code, said) = fsck_store(&store);
        assert_eq!((code, &said["clean"]), (0, &true.into()), "{said:#}");
        assert_eq!(names(&store.join("tmp")).len(), 0);
    }
    // What fits still does.
    assert_eq!(counts(&store, &small, &out), (0, 2));
    run::ok(build_command(&store, &large, &tmp.path().join("other")).arg("--no-store"));
    // The same with the output on the full disk.
    let there = disk.path().join("out");
    let elsewhere = tmp.path().join("elsewhere");
    let output = run::output(&mut build_command(&elsewhere, &large, &there));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(names(disk.path()), ["store"]);
    assert_undamaged(&elsewhere);
}

/// An image whose manifest is damaged was said not to be in the store.
#[test]
fn a_damaged_manifest_is_not_told_as_an_absent_image() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("one"), [1, 2]);
    let name = "example.org/app:v1";
    let stored = format!("store:{name}");
    let digest = json(&store, &["copy", &source, &stored])["digest"].clone();
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let path = store.join("blobs/sha256").join(hex);
    let whole = fs::read(&path).unwrap();
    let mut rotten = whole.clone();
    rotten[1] ^= 1;
    for bytes in [&rotten[..], &whole[..whole.len() - 1]] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        for arguments in [
            &["inspect", &stored][..],
            &["inspect", "--pull", "never", name],
            &["pull", "--policy", "never", name],
            &["tag", name, "example.org/other:v1"],
        ] {
            let output = run::output(lithify_at(&store).args(arguments));
            let error = stderr(&output);
            assert_eq!(output.status.code(), Some(3), "{arguments:?}: {error}");
            assert!(error.contains(hex) && error.contains("damaged"), "{error}");
            assert!(error.contains("lithify fsck"), "{error}");
        }
        // Brought again, it is mended.
        json(&store, &["copy", &source, &stored]);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    text(&store, &["tag", name, "example.org/other:v1"]);
    // What is not there is as it was.
    fs::remove_file(&path).unwrap();
    let output = run::output(lithify_at(&store).args(["inspect", &stored]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

/// Platforms that were pulled one after the other were said not to be in the store, where all were asked for.
#[test]
fn platforms_pulled_one_by_one_are_an_image_for_all_of_them() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = crate::common::native::two_platforms(tmp.path());
    let registry = Faulty::start();
    let name = format!("{}/team/app:v1", registry.address());
    let ok = |arguments: &[&str]| run::ok(lithify_at(&store).arg("-q").args(arguments));
    let fails = |arguments: &[&str]| {
        let output = run::output(lithify_at(&store).arg("-q").args(arguments));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        stderr(&output)
    };
    let copied = |arguments: &[&str]| -> Value {
        let all = [&["copy", "--json", "--all-platforms"], arguments].concat();
        serde_json::from_slice(&ok(&all)).unwrap()
    };
    let layout =
        |number: usize| format!("oci:{}:v1", tmp.path().join(number.to_string()).display());
    let is_there = |place: &str| {
        for arch in ["amd64", "s390x"] {
            let platform = format!("linux/{arch}");
            let text = ok(&["cat", "--platform", &platform, place, "/arch"]);
            assert_eq!(String::from_utf8(text).unwrap(), arch);
        }
    };
    let pushed = copied(&[&source, &format!("docker://{name}")]);
    ok(&["pull", "--platform", "linux/amd64", &name]);
    // A bare name for all platforms is not the one that happens to be here.
    assert_eq!(copied(&[&name, &layout(20)])["digest"], pushed["digest"]);
    is_there(&layout(20));
    for arguments in [
        &["pull", "--policy", "never", "--all-platforms", &name][..],
        &[
            "cat",
            "--pull",
            "never",
            "--platform",
            "linux/s390x",
            &name,
            "/arch",
        ],
        &[
            "cat",
            "--platform",
            "linux/s390x",
            &format!("store:{name}"),
            "/arch",
        ],
    ] {
        let error = fails(arguments);
        assert!(
            error.contains("is in the store for linux/amd64, not for"),
            "{error}"
        );
        assert!(error.contains("--platform"), "{error}");
    }
    ok(&["pull", "--platform", "linux/s390x", &name]);
    registry.disconnect();
    let before = registry.requests().len();
    // All that the registry's index lists is there: it is the same image.
    let stored = format!("store:{name}");
    for (number, arguments) in [&[&*stored][..], &["--pull", "never", &name]]
        .into_iter()
        .enumerate()
    {
        let to = layout(number);
        let report = copied(&[arguments, &[&*to]].concat());
        assert_eq!(report["digest"], pushed["digest"]);
        is_there(&to);
    }
    assert_eq!(registry.requests().len(), before);
    // What was never one image has an index of its own, always the same.
    let joined = "store:example.org/joined:v1";
    for platform in ["linux/s390x", "linux/amd64"] {
        ok(&["copy", "--platform", platform, &source, joined]);
    }
    let reports = [10, 11].map(|number| {
        let to = layout(number);
        let report = copied(&[joined, &to]);
        is_there(&to);
        report["digest"].clone()
    });
    assert_eq!(reports[0], reports[1]);
    assert_ne!(reports[0], pushed["digest"]);
    assert_undamaged(&store);
    let never = fails(&[
        "copy",
        "--all-platforms",
        "store:example.org/none:v1",
        &layout(12),
    ]);
    assert!(never.contains("is not in the store"), "{never}");
}
