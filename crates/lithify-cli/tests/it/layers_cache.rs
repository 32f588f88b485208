//! Caches of layered builds: what is kept in them and used again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::layered::{bottom_of_awkward, layered, with_store};
use crate::common::{image, layer, lithify, stderr};
use lithify_testkit::{TarEntry, run, temp_dir};
use serde_json::Value;

#[test]
fn a_cache_for_containerd() {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [bottom_of_awkward(), layer([TarEntry::file("one", "1")])],
    );
    let out = layered(&source, "containerd-cache", tmp.path(), &["--verity"]);
    let layout: Value =
        serde_json::from_slice(&run::ok(lithify().args(["inspect", &source, "--json"]))).unwrap();
    for layer in layout["layers"].as_array().unwrap() {
        let hex = &layer["diff_id"].as_str().unwrap()["sha256:".len()..];
        let file = out
            .join("sha256")
            .join(&hex[..2])
            .join(format!("{hex}.erofs"));
        assert!(file.is_file(), "{}", file.display());
        let sidecar = file.with_extension("erofs.dmverity");
        let facts: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
        assert!(facts["roothash"].is_string() && facts["hashoffset"].is_u64());
    }
    // The cache of another image joins it.
    let other = image(
        &tmp.path().join("other"),
        [bottom_of_awkward(), layer([TarEntry::file("two", "2")])],
    );
    let mut command = with_store(tmp.path());
    command.args([
        "build",
        &other,
        "-f",
        "containerd-cache",
        "--verity",
        "--json",
        "-o",
    ]);
    let json: Value = serde_json::from_slice(&run::ok(command.arg(&out))).unwrap();
    assert_eq!((&json["built"], &json["reused"]), (&1.into(), &1.into()));
    // What a cache was made of is not collected while its image is known.
    let mut command = with_store(tmp.path());
    let gc: Value = serde_json::from_slice(&run::ok(command.args(["gc", "--json"]))).unwrap();
    assert_eq!(gc["removed"].as_array().unwrap().len(), 0);
    assert_eq!(gc["kept"], 3);
}

/// Which layers a cache has, by the number of each in the image.
pub(crate) fn cached(cache: &Path, source: &str) -> Vec<bool> {
    let layout: Value =
        serde_json::from_slice(&run::ok(lithify().args(["inspect", source, "--json"]))).unwrap();
    let layers = layout["layers"].as_array().unwrap();
    let has = |layer: &Value| {
        let hex = &layer["diff_id"].as_str().unwrap()["sha256:".len()..];
        let file = format!("sha256/{}/{hex}.erofs", &hex[..2]);
        cache.join(file).is_file()
    };
    layers.iter().map(has).collect()
}

/// containerd asks for a layer by its diff_id, whatever image it is part of: built for one image, such a layer gave
/// another one the first one's files and took away a directory's permissions.
#[test]
fn a_cache_has_no_layer_that_depends_on_lower_ones() {
    let tmp = temp_dir();
    let dependent = layer([TarEntry::file("d/x", "x")]);
    let top = layer([TarEntry::directory("e"), TarEntry::file("e/y", "y")]);
    let of = |name: &str, mode: u32| {
        let base = layer([
            TarEntry::directory("d").mode(mode),
            TarEntry::file("d/own", name.as_bytes()),
        ]);
        image(
            &tmp.path().join(name),
            [base, dependent.clone(), top.clone()],
        )
    };
    let (one, two) = (of("one", 0o700), of("two", 0o755));
    let build = |source: &str, cache: &str, extra: &[&str]| {
        let mut command = with_store(tmp.path());
        command.args(["-q", "build", source, "-f", "containerd-cache", "-o"]);
        run::output(command.arg(tmp.path().join(cache)).args(extra))
    };
    let json = |source: &str, cache: &str, extra: &[&str]| -> Value {
        let output = build(source, cache, &[&["--json"], extra].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for source in [&one, &two] {
        // The quiet are told too.
        let output = build(source, "shared", &[]);
        assert_eq!(output.status.code(), Some(0));
        let said = stderr(&output);
        assert!(said.contains("layer 1 (sha256:"), "{said}");
        assert!(
            said.contains("left out") && said.contains("--one-image"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        let described = json(source, "shared", &[]);
        let left_out = described["left_out"].as_array().unwrap();
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out[0]["layer"], 1);
        assert_eq!(left_out[0]["diff_id"], described["layers"][1]["diff_id"]);
        assert_eq!(left_out[0]["reason"], "depends-on-lower-layers");
        assert!(left_out[0].get("found").is_none());
        assert_eq!(described["artifacts"].as_array().unwrap().len(), 2);
        assert_eq!(
            cached(&tmp.path().join("shared"), source),
            [true, false, true]
        );
        // It is not made again for that.
        assert_eq!(
            (&described["built"], &described["reused"]),
            (&0.into(), &3.into())
        );
    }
    // What it was made of is kept as long as the images are.
    let gc: Value =
        serde_json::from_slice(&run::ok(with_store(tmp.path()).args(["gc", "--json"]))).unwrap();
    assert_eq!(
        (&gc["removed"], &gc["kept"]),
        (&serde_json::json!([]), &5.into())
    );

    // Where nothing is left, the list of what was made is empty, not missing.
    let nothing = image(&tmp.path().join("nothing"), [dependent.clone()]);
    let described = json(&nothing, "none", &[]);
    assert_eq!(described["artifacts"], serde_json::json!([]));
    assert_eq!(described["left_out"].as_array().unwrap().len(), 1);

    // For a node that runs no other image.
    let described = json(&one, "own", &["--one-image"]);
    assert!(described.get("left_out").is_none());
    assert!(described["artifacts"][1]["chain_id"].is_string());
    assert_eq!(cached(&tmp.path().join("own"), &one), [true; 3]);
    let output = build(&one, "own", &["--one-image"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("no other image"),
        "{}",
        stderr(&output)
    );
    // Another image's version does not take its place, and nothing else of that image comes.
    let before = tree(&tmp.path().join("own"));
    let output = build(&two, "own", &["--one-image"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("another image of it"),
        "{}",
        stderr(&output)
    );
    assert!(tree(&tmp.path().join("own")) == before);
    // What is there for others is named.
    let described = json(&two, "own", &[]);
    let found = described["left_out"][0]["found"].as_str().unwrap();
    assert!(Path::new(found).is_file());

    let mut command = with_store(tmp.path());
    command.args(["build", &one, "-f", "erofs-layers", "--one-image", "-o"]);
    let output = run::output(command.arg(tmp.path().join("usage")));
    assert_eq!(output.status.code(), Some(2));
}

/// All files with their bytes.
fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = crate::common::stores::files(directory).into_iter();
    files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn an_image_that_repeats_a_layer_can_be_cached() {
    let tmp = temp_dir();
    let twice = layer([TarEntry::file("d/x", "x")]);
    let base = layer([TarEntry::directory("d").mode(0o700)]);
    let between = layer([TarEntry::directory("d").mode(0o711)]);
    let source = image(
        &tmp.path().join("image"),
        [base, twice.clone(), between, twice],
    );
    for (number, (extra, reason)) in [
        (&[][..], "depends-on-lower-layers"),
        (&["--one-image"], "differs-in-this-image"),
    ]
    .into_iter()
    .enumerate()
    {
        let cache = tmp.path().join(number.to_string());
        let mut command = with_store(tmp.path());
        command.args(["build", &source, "-f", "containerd-cache", "--json", "-o"]);
        let described: Value =
            serde_json::from_slice(&run::ok(command.arg(&cache).args(extra))).unwrap();
        let left_out: Vec<_> = described["left_out"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| (l["layer"].as_u64().unwrap(), l["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(left_out, [(1, reason), (3, reason)]);
        assert_eq!(cached(&cache, &source), [true, false, true, false]);
    }
    // One that means the same each time is one file.
    let twice = layer([TarEntry::directory("d"), TarEntry::file("d/x", "x")]);
    let source = image(
        &tmp.path().join("other"),
        [twice.clone(), layer([TarEntry::whiteout("d")]), twice],
    );
    let cache = tmp.path().join("same");
    let mut command = with_store(tmp.path());
    command.args(["build", &source, "-f", "containerd-cache", "--json", "-o"]);
    let described: Value = serde_json::from_slice(&run::ok(command.arg(&cache))).unwrap();
    assert!(described.get("left_out").is_none());
    assert_eq!(described["artifacts"].as_array().unwrap().len(), 2);
    assert_eq!(cached(&cache, &source), [true; 3]);
}

#[test]
fn a_cache_without_trees_keeps_no_root_hash_of_an_earlier_one() {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [layer([TarEntry::directory("d")])],
    );
    let sidecars = |extra: &[&str]| {
        let out = layered(&source, "containerd-cache", tmp.path(), extra);
        let files = crate::common::stores::files(&out);
        let is_sidecar = |f: &&PathBuf| f.extension().is_some_and(|e| e == "dmverity");
        (files.iter().filter(is_sidecar).count(), files.len())
    };
    assert_eq!(sidecars(&["--verity"]), (1, 2));
    assert_eq!(sidecars(&[]), (0, 1));
    assert_eq!(sidecars(&["--verity"]), (1, 2));
    // A file that only has the name is somebody's.
    let cache = tmp.path().join("containerd-cache");
    let files = crate::common::stores::files(&cache);
    let is_sidecar = |f: &&PathBuf| f.extension().is_some_and(|e| e == "dmverity");
    let sidecar = files.iter().find(is_sidecar).unwrap();
    fs::write(sidecar, "notes").unwrap();
    for extra in [&[][..], &["--verity"]] {
        let mut command = with_store(tmp.path());
        command.args(["-q", "build", &source, "-f", "containerd-cache"]);
        let output = run::output(command.args(extra).arg("-o").arg(&cache));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is left as it is"), "{said}");
        assert_eq!(fs::read(sidecar).unwrap(), b"notes");
    }
}
