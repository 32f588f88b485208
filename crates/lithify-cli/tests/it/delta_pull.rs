//! Images of registries that are brought by way of deltas.

use std::fs;

use lithify_testkit::registry::{Faulty, Kind};
use lithify_testkit::run;
use serde_json::Value;

use crate::common::deltas::Images;
use crate::common::stderr;

/// A registry with both images and the delta, and the old image in the store.
struct Fleet {
    images: Images,
    registry: Faulty,
}

impl Fleet {
    fn new(images: Images) -> Self {
        let fleet = Self {
            images,
            registry: Faulty::start(),
        };
        for tag in ["1", "2"] {
            let image = fleet.images.image(tag);
            fleet
                .images
                .ok(&["copy", &image, &format!("docker://{}", fleet.name(tag))]);
        }
        fleet
    }

    fn with_delta(self) -> Self {
        let [old, new] = ["1", "2"].map(|tag| self.images.image(tag));
        let place = format!("docker://{}", self.name("2"));
        self.images
            .ok(&["delta", "create", &old, &new, "-o", &place]);
        self.images.ok(&["pull", &self.name("1")]);
        self.registry.clear_requests();
        self
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.registry.address())
    }

    /// The digests of blobs that were asked for.
    fn asked(&self) -> Vec<String> {
        let requests = self.registry.requests();
        let blobs = requests
            .iter()
            .filter(|r| r.kind == Kind::Blob && r.method == "GET");
        let mut asked: Vec<String> = blobs
            .map(|r| r.path.rsplit('/').next().unwrap().to_owned())
            .collect();
        asked.sort();
        asked.dedup();
        asked
    }

    /// The digests of the new image's layers.
    fn layers(&self) -> Vec<String> {
        let described = self.images.json(&["inspect", &self.images.image("2")]);
        let layers = described["layers"].as_array().unwrap().iter();
        layers
            .map(|l| l["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    fn pull(&self, more: &[&str]) -> Value {
        let name = self.name("2");
        self.images.json(&[&["pull", &name], more].concat())
    }

    #[track_caller]
    fn fails(&self, args: &[&str], code: i32, word: &str) {
        let output = run::output(self.images.place.lithify().arg("-q").args(args));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_pull_makes_layers_of_a_delta() {
    let fleet = Fleet::new(Images::new()).with_delta();
    let said = fleet.pull(&["--delta", "auto"]);
    assert_eq!(said["digest"], fleet.images.manifest("images", "2"));
    let layers = fleet.layers();
    assert_eq!(said["delta"]["layers"], 1);
    let (delta, whole) = (&said["delta"]["delta_bytes"], &said["delta"]["layer_bytes"]);
    assert!(
        delta.as_u64().unwrap() * 4 < whole.as_u64().unwrap(),
        "{said}"
    );
    let asked = fleet.asked();
    // The second layer is made, the third has nothing to be made of.
    assert!(
        !asked.contains(&layers[1]) && asked.contains(&layers[2]),
        "{asked:?}"
    );
    let name = format!("store:{}", fleet.name("2"));
    fleet.images.ok(&["verify", &name]);
    fleet.images.ok(&["fsck"]);
    // It is there now, and nothing is looked for.
    fleet.registry.clear_requests();
    let again = fleet.pull(&["--delta", "require"]);
    assert_eq!(again.get("delta"), None);
    assert_eq!(fleet.asked(), Vec::<String>::new());
}

#[test]
fn without_being_asked_for_deltas_are_not_used() {
    let fleet = Fleet::new(Images::new()).with_delta();
    let said = fleet.pull(&[]);
    assert_eq!(said.get("delta"), None);
    assert!(fleet.asked().contains(&fleet.layers()[1]));
    let requests = fleet.registry.requests();
    assert!(requests.iter().all(|r| !r.path.contains("referrers")));
}

#[test]
fn what_is_wrong_with_a_delta_is_no_reason_to_fail() {
    let images = Images::new();
    let fleet = Fleet::new(images).with_delta();
    // The base is damaged: what is made of it is something else.
    let base = fleet.images.manifest("images", "1");
    let store = fleet.images.path("store");
    let read = |digest: &str| -> Value {
        let path = crate::common::deltas::blob(&store, digest);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let layer = read(&base)["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = crate::common::deltas::blob(&store, &layer);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fleet.fails(&["pull", &fleet.name("2"), "--delta", "require"], 3, &layer);
    let said = fleet.pull(&["--delta", "auto"]);
    assert_eq!(said["digest"], fleet.images.manifest("images", "2"));
    assert!(fleet.asked().contains(&fleet.layers()[1]));
    fleet
        .images
        .ok(&["verify", &format!("store:{}", fleet.name("2"))]);
}

#[test]
fn a_delta_that_saves_nothing_is_not_used() {
    // Layers that another program compressed do not come out byte for byte.
    let fleet = Fleet::new(Images::foreign()).with_delta();
    let name = fleet.name("2");
    fleet.fails(&["pull", &name, "--delta", "require"], 1, "no delta");
    assert_eq!(fleet.pull(&["--delta", "auto"]).get("delta"), None);
    // None at all, and none whose old image is here.
    let fleet = Fleet::new(Images::new());
    let name = fleet.name("2");
    fleet.fails(&["pull", &name, "--delta", "require"], 1, "no delta");
    assert_eq!(fleet.pull(&["--delta", "auto"]).get("delta"), None);
    let fleet = Fleet::new(Images::new()).with_delta();
    let name = fleet.name("1");
    fleet.images.ok(&["rm", &name]);
    fleet.fails(
        &["pull", &fleet.name("2"), "--delta", "require"],
        1,
        "no delta",
    );
    fleet.fails(&["pull", &name, "--delta", "sometimes"], 2, "require");
}

#[test]
fn a_delta_may_come_from_elsewhere() {
    let fleet = Fleet::new(Images::new());
    fleet.images.ok(&["pull", &fleet.name("1")]);
    let delta = fleet.images.delta(&[]);
    let said = fleet.pull(&["--delta-from", &delta]);
    assert_eq!(said["delta"]["layers"], 1);
    assert_eq!(said["digest"], fleet.images.manifest("images", "2"));
    // One of another image.
    let [old, new] = ["1", "2"].map(|tag| fleet.images.image(tag));
    let other = format!("oci:{}:other", fleet.images.place.text("other"));
    fleet
        .images
        .ok(&["delta", "create", &new, &old, "-o", &other]);
    fleet.images.ok(&["rm", &fleet.name("2")]);
    fleet.images.ok(&["gc"]);
    let name = fleet.name("2");
    fleet.fails(
        &["pull", &name, "--delta-from", &other],
        1,
        "makes the image",
    );
}

#[test]
fn a_build_reads_a_delta_in_place_of_layers() {
    for images in [Images::new(), Images::foreign()] {
        let fleet = Fleet::new(images).with_delta();
        let layers = fleet.layers();
        let expected = fleet.images.erofs("2");
        let out = fleet.images.place.text("out.erofs");
        // Straight from the wire; nothing needs to come out byte for byte.
        let name = format!("docker://{}", fleet.name("2"));
        fleet
            .images
            .ok(&["build", &name, "--delta", "require", "-o", &out]);
        assert!(fs::read(&out).unwrap() == expected);
        assert!(!fleet.asked().contains(&layers[1]));
        // By the store.
        fleet.registry.clear_requests();
        fleet
            .images
            .ok(&["build", &fleet.name("2"), "--delta", "auto", "-o", &out]);
        assert!(fs::read(&out).unwrap() == expected);
    }
    let images = Images::new();
    let out = images.place.text("out.erofs");
    let image = images.image("2");
    let mut command = images.place.lithify();
    command.args(["-q", "build", &image, "--delta", "require", "-o", &out]);
    let output = run::output(&mut command);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    images.ok(&["build", &image, "--delta", "auto", "-o", &out]);
}
