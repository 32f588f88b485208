//! Several deltas, one after the other, and which ones.

use std::fs;

use lithify_testkit::registry::{Faulty, Kind};
use lithify_testkit::{TarEntry, run};
use serde_json::Value;

use crate::common::deltas::{Images, noise, shared};
use crate::common::{layer, stderr};

/// Versions 1 to 4 of an image whose layers this command compressed: each changes a little of the one before.
fn versions() -> Images {
    let images = Images::new();
    for version in 1..=4_usize {
        let mut tool = noise(10, 80_000);
        let mut data = noise(11, 60_000);
        for changed in 2..=version {
            tool[changed * 1000] ^= 1;
            data.splice(changed * 5000..changed * 5000, *b"more");
        }
        let own = layer([TarEntry::file("tool", tool)]);
        let other = layer([
            TarEntry::file("data", data),
            TarEntry::file("new", noise(20 + version as u64, 3000)),
        ]);
        images.put_plain(&version.to_string(), &[shared(), own, other]);
    }
    images
}

fn create(images: &Images, from: &str, to: &str) -> String {
    let delta = format!(
        "oci-archive:{}",
        images.place.text(&format!("{from}-{to}.delta"))
    );
    let (old, new) = (images.image(from), images.image(to));
    images.ok(&["delta", "create", &old, &new, "-o", &delta]);
    delta
}

#[test]
fn several_deltas_are_applied_at_once() {
    let images = versions();
    let deltas = [("1", "2"), ("2", "3"), ("3", "4")].map(|(a, b)| create(&images, a, b));
    let [a, b, c] = &deltas;
    let (base, out) = (
        images.image("1"),
        format!("oci:{}:4", images.place.text("out")),
    );
    let said = images.json(&[
        "delta", "apply", a, b, c, "--base", &base, "--exact", "-o", &out,
    ]);
    assert_eq!(said["digest"], images.manifest("images", "4"));
    assert_eq!(said["delta"]["after"].as_array().unwrap().len(), 2);
    images.ok(&["verify", &out]);
    // What is in between is nowhere.
    let blobs = crate::common::names(&images.path("out/blobs/sha256"));
    assert_eq!(blobs.len(), 5, "{blobs:?}");
    let file = images.place.text("out.erofs");
    images.ok(&["delta", "apply", a, b, c, "--base", &base, "-o", &file]);
    assert!(fs::read(&file).unwrap() == images.erofs("4"));
    // In another order.
    for deltas in [[a, c, b], [c, b, a], [a, a, b], [b, a, b]] {
        let mut command = images.place.lithify();
        command.args(["-q", "delta", "apply", "--base", &base, "-o", &file]);
        let output = run::output(command.args(deltas));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("in the order they are applied"));
    }
}

#[test]
fn the_cheapest_way_is_found() {
    let images = versions();
    let image = |tag: &str| images.image(tag);
    for (from, to) in [
        ("1", "2"),
        ("2", "3"),
        ("3", "4"),
        ("4", "3"),
        ("2", "1"),
        ("4", "4"),
    ] {
        // Beside the new image, where it is looked for.
        images.ok(&[
            "delta",
            "create",
            &image(from),
            &image(to),
            "-o",
            &image(to),
        ]);
    }
    let plan = |have: &[&str], want: &str, from: &[&str]| -> Value {
        let have: Vec<String> = have.iter().map(|tag| image(tag)).collect();
        let mut args = vec!["delta", "plan"];
        args.extend(have.iter().map(String::as_str));
        let want = image(want);
        args.push(&want);
        for delta in from {
            args.extend(["--from", delta]);
        }
        images.json(&args)
    };
    let ways = |plan: &Value| -> Vec<String> {
        let deltas = plan["deltas"].as_array().unwrap().iter();
        deltas
            .map(|d| d["target"].as_str().unwrap().to_owned())
            .collect()
    };
    let manifests = |tags: &[&str]| -> Vec<String> {
        tags.iter()
            .map(|tag| images.manifest("images", tag))
            .collect()
    };
    assert_eq!(ways(&plan(&["1"], "4", &[])), manifests(&["2", "3", "4"]));
    assert_eq!(ways(&plan(&["1", "3"], "4", &[])), manifests(&["4"]));
    assert_eq!(ways(&plan(&["4"], "3", &[])), manifests(&["3"]));
    // From 4 to 1 it goes over 3 only as far as there are deltas.
    let none = plan(&["4"], "1", &[]);
    assert_eq!(ways(&none), Vec::<String>::new());
    assert!(none["changed_bytes"].as_u64().unwrap() > 100_000);
    let direct = create(&images, "1", "4");
    let with = plan(&["1"], "4", &[&direct]);
    assert_eq!(with["deltas"].as_array().unwrap().len(), 1);
    assert!(with["delta_bytes"].as_u64().unwrap() < with["changed_bytes"].as_u64().unwrap());
    // What is there is had for nothing.
    let there = plan(&["4"], "4", &[]);
    assert_eq!(
        (&there["changed_bytes"], &there["delta_bytes"]),
        (&0.into(), &0.into())
    );
    let text = images.ok(&["delta", "plan", &image("1"), &image("4")]);
    assert!(text.contains("in all, in place of"), "{text}");
}

#[test]
fn a_pull_takes_several_deltas_where_that_is_less() {
    let images = versions();
    let registry = Faulty::start();
    let name = |tag: &str| format!("{}/app:{tag}", registry.address());
    for tag in ["1", "2", "3"] {
        images.ok(&[
            "copy",
            &images.image(tag),
            &format!("docker://{}", name(tag)),
        ]);
    }
    for (from, to) in [("1", "2"), ("2", "3")] {
        let place = format!("docker://{}", name(to));
        images.ok(&[
            "delta",
            "create",
            &images.image(from),
            &images.image(to),
            "-o",
            &place,
        ]);
    }
    images.ok(&["pull", &name("1")]);
    registry.clear_requests();
    let said = images.json(&["pull", &name("3"), "--delta", "require"]);
    assert_eq!(said["digest"], images.manifest("images", "3"));
    assert_eq!(said["delta"]["layers"], 2);
    let number = |key: &str| said["delta"][key].as_u64().unwrap();
    assert!(number("delta_bytes") * 4 < number("layer_bytes"), "{said}");
    let layers = images.json(&["inspect", &images.image("3")]);
    let requests = registry.requests();
    for layer in layers["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        assert!(
            !requests
                .iter()
                .any(|r| r.kind == Kind::Blob && r.path.contains(digest))
        );
    }
    images.ok(&["verify", &format!("store:{}", name("3"))]);
}
