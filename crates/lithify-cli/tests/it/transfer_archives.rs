//! Images between archives, daemons, layouts and registries, and what other programs say of the archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{layer, lithify, names, stderr};
use lithify_testkit::registry::{Action, At, FakeDaemon, Faulty, Kind, On};
use lithify_testkit::{Blob, Compression, Layout, TarEntry, digest, require, run, temp_dir};
use serde_json::Value;

/// Everything an image can be copied between.
const KINDS: [&str; 5] = [
    "oci",
    "oci-archive",
    "docker-archive",
    "docker-daemon",
    "docker",
];

/// A place of each kind.
struct World {
    dir: tempfile::TempDir,
    daemon: FakeDaemon,
    registry: Faulty,
}

impl World {
    fn new() -> Self {
        Self {
            dir: temp_dir(),
            daemon: FakeDaemon::start(),
            registry: Faulty::start(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A name of that kind.
    fn name(&self, kind: &str, name: &str) -> String {
        let file = self.path(&format!("{name}.{kind}"));
        match kind {
            "docker" => format!("docker://{}/{name}:1", self.registry.address()),
            "docker-daemon" => format!("docker-daemon:{name}:1"),
            "docker-archive" => format!("docker-archive:{}:{name}:1", file.display()),
            _ => format!("{kind}:{}:1", file.display()),
        }
    }

    fn lithify(&self) -> Command {
        let mut command = lithify();
        command.env("DOCKER_HOST", self.daemon.host()).arg("-q");
        command
    }

    fn copy(&self, from: &str, to: &str) -> Output {
        run::output(self.lithify().args(["copy", "--no-fsync", from, to]))
    }

    #[track_caller]
    fn copied(&self, from: &str, to: &str) {
        run::ok(self.lithify().args(["copy", "--no-fsync", from, to]));
    }

    /// What stays the same wherever the image is: config, diff ids, and its tree.
    #[track_caller]
    fn identity(&self, name: &str) -> (String, Vec<String>, Vec<u8>) {
        let json = run::ok(self.lithify().args(["inspect", "--json", name]));
        let said: Value = serde_json::from_slice(&json).unwrap();
        let diff_ids = said["layers"].as_array().unwrap().iter();
        let tree = run::ok(self.lithify().args(["ls", "--json", name]));
        (
            said["config_digest"].as_str().unwrap().to_owned(),
            diff_ids
                .map(|layer| layer["diff_id"].as_str().unwrap().to_owned())
                .collect(),
            tree,
        )
    }

    /// Writes a layout and returns its name.
    fn layout(&self, name: &str, layout: Layout) -> String {
        let path = self.path(name);
        layout.tag("1").write(&path);
        format!("oci:{}:1", path.display())
    }
}

/// Layers of every compression, the lowest twice, with something of each kind of entry.
fn image() -> Layout {
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let lower = layer([
        TarEntry::directory("etc").mode(0o750),
        TarEntry::file("etc/noise", noise).mtime(7, 9),
        TarEntry::symlink("etc/link", "noise"),
    ]);
    let upper = layer([
        TarEntry::file("etc/.wh.link", ""),
        TarEntry::file("new", "1"),
    ]);
    let top = layer([TarEntry::file("top", "2")]);
    Layout::new()
        .gzip_layer(&lower)
        .layer(&upper, Compression::Zstd)
        .layer(&top, Compression::None)
        .gzip_layer(&lower)
        .config("Entrypoint", serde_json::json!(["/new"]))
}

#[test]
fn every_pair_of_places_keeps_the_image() {
    let world = World::new();
    let origin = world.layout("origin", image());
    let expected = world.identity(&origin);
    for from in KINDS {
        let source = world.name(from, "first");
        world.copied(&origin, &source);
        assert_eq!(world.identity(&source), expected, "{from}");
        for to in KINDS {
            let name = format!("{from}-to");
            let target = world.name(to, &name);
            world.copied(&source, &target);
            assert_eq!(world.identity(&target), expected, "{from} to {to}");
        }
    }
    // The name is not needed where there is one image.
    let file = world.path("first.docker-archive");
    let unnamed = format!("docker-archive:{}", file.display());
    assert_eq!(world.identity(&unnamed), expected);
    assert!(!names(world.dir.path()).iter().any(|n| n.ends_with(".tmp")));
}

#[test]
fn the_same_image_is_the_same_bytes() {
    let world = World::new();
    let origin = world.layout("origin", image());
    let registry = world.name("docker", "r");
    world.copied(&origin, &registry);
    for (kind, sources) in [
        ("oci-archive", vec![&origin, &registry]),
        ("docker-archive", vec![&origin, &registry]),
    ] {
        let mut written = Vec::new();
        for source in sources {
            for transfers in ["1", "4"] {
                let target = world.name(kind, "x");
                let copy = ["copy", "--transfers", transfers, source, &target];
                run::ok(world.lithify().args(copy));
                written.push(fs::read(world.path(&format!("x.{kind}"))).unwrap());
            }
        }
        assert!(written.iter().all(|bytes| *bytes == written[0]), "{kind}");
    }
    // What a daemon is sent is the same archive.
    let first = world.name("docker-archive", "y");
    world.copied(&origin, &first);
    world.copied(&origin, &world.name("docker-daemon", "y"));
    let file = fs::read(world.path("y.docker-archive")).unwrap();
    assert!(world.daemon.loaded()[0] == file);
    // From one docker-archive to the next nothing changes.
    let second = format!("docker-archive:{}:y:1", world.path("z").display());
    world.copied(&first, &second);
    assert!(fs::read(world.path("z")).unwrap() == file);
}

#[test]
fn skopeo_and_tar_read_what_is_written() {
    if !require::tool("skopeo") {
        return;
    }
    let world = World::new();
    let origin = world.layout("origin", image());
    let expected = world.identity(&origin);
    let skopeo = |args: &[&str]| {
        let mut command = run::command("skopeo");
        command.arg("--insecure-policy").args(args);
        run::ok(&mut command)
    };
    for kind in ["oci-archive", "docker-archive"] {
        let name = world.name(kind, "x");
        world.copied(&origin, &name);
        let said: Value = serde_json::from_slice(&skopeo(&["inspect", &name])).unwrap();
        assert_eq!(said["Layers"].as_array().unwrap().len(), 4);
        let back = world.name("oci", kind);
        skopeo(&["copy", "-q", &name, &back]);
        // skopeo writes another config for a docker-archive: it keeps its fields, not its bytes.
        let found = world.identity(&back);
        assert_eq!((found.1, found.2), (expected.1.clone(), expected.2.clone()));
        let file = world.path(&format!("x.{kind}"));
        run::ok(run::command("tar").arg("-tf").arg(&file));
    }
    let name = world.name("docker-archive", "x");
    let listed = skopeo(&["list-tags", name.strip_suffix(":x:1").unwrap()]);
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed["Tags"][0], "docker.io/library/x:1");
}

/// Other tools make a name of their own of a tag alone.
#[test]
fn a_whole_name_in_an_archive_is_whole_for_others() {
    let world = World::new();
    let origin = world.layout("origin", image());
    let expected = world.identity(&origin);
    for (name, whole) in [
        ("docker.io/library/app:1", true),
        ("localhost:5000/a/b:v1", true),
        ("1", false),
    ] {
        let file = world.path("x.oci.tar");
        let archive = format!("oci-archive:{}:{name}", file.display());
        world.copied(&origin, &archive);
        let index = run::ok(run::command("tar").arg("-xOf").arg(&file).arg("index.json"));
        let index: Value = serde_json::from_slice(&index).unwrap();
        let annotations = &index["manifests"][0]["annotations"];
        assert_eq!(annotations["org.opencontainers.image.ref.name"], name);
        let theirs = &annotations["io.containerd.image.name"];
        match whole {
            true => assert_eq!(theirs, name),
            false => assert!(theirs.is_null(), "{annotations}"),
        }
        assert_eq!(world.identity(&archive), expected, "{name}");
        if require::tool("skopeo") {
            let mut skopeo = run::command("skopeo");
            let said = run::ok(skopeo.args(["inspect", "--config", "--raw", &archive]));
            let digest = lithify_testkit::digest(&said);
            assert_eq!(digest, expected.0, "{name}");
        }
    }
}

#[test]
fn an_archive_holds_all_platforms_and_a_docker_archive_one() {
    let world = World::new();
    let layers = |arch: &str| {
        let config = serde_json::json!(arch);
        image().image_config("architecture", config)
    };
    let amd = world.layout("amd", layers("amd64"));
    let arm = world.layout("arm", layers("arm64"));
    let all = index_of(&world, &[("amd", "amd64"), ("arm", "arm64")]);
    let archive = world.name("oci-archive", "all");
    run::ok(
        world
            .lithify()
            .args(["copy", "--all-platforms", &all, &archive]),
    );
    for (platform, single) in [("linux/amd64", &amd), ("linux/arm64", &arm)] {
        let said =
            run::ok(
                world
                    .lithify()
                    .args(["inspect", "--json", "--platform", platform, &archive]),
            );
        let said: Value = serde_json::from_slice(&said).unwrap();
        let alone =
            run::ok(
                world
                    .lithify()
                    .args(["inspect", "--json", "--platform", platform, single]),
            );
        let alone: Value = serde_json::from_slice(&alone).unwrap();
        assert_eq!(said["config_digest"], alone["config_digest"]);
    }
    for kind in ["docker-archive", "docker-daemon"] {
        let target = world.name(kind, "one");
        let copy = ["copy", "--all-platforms", &all, &target];
        let refused = run::output(world.lithify().args(copy));
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("--platform"));
        run::ok(
            world
                .lithify()
                .args(["copy", "--platform", "linux/arm64", &all, &target]),
        );
    }
    // A layer in the other form has no place there.
    let target = world.name("docker-archive", "native");
    let push = ["push", "--as", "erofs", &amd, &target];
    let refused = run::output(world.lithify().args(push));
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(!world.path("native.docker-archive").exists());
    let target = world.name("oci-archive", "native");
    let push = ["push", "--as", "erofs", "--platform", "linux/amd64", &amd];
    run::ok(world.lithify().args(push).arg(&target));
    let tree = run::ok(world.lithify().args([
        "ls",
        "--platform",
        "linux(+erofs)/amd64",
        "--json",
        &target,
    ]));
    assert!(!tree.is_empty());
}

/// A layout whose index has an image of each of these layouts.
fn index_of(world: &World, images: &[(&str, &str)]) -> String {
    let blobs = world.path("all/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let mut manifests = Vec::new();
    for (name, arch) in images {
        for file in fs::read_dir(world.path(name).join("blobs/sha256")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), blobs.join(file.file_name())).unwrap();
        }
        let index = fs::read(world.path(name).join("index.json")).unwrap();
        let mut index: Value = serde_json::from_slice(&index).unwrap();
        let mut entry = index["manifests"][0].take();
        entry.as_object_mut().unwrap().remove("annotations");
        entry["platform"] = serde_json::json!({ "os": "linux", "architecture": arch });
        manifests.push(entry);
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let list = |manifests: Vec<Value>| {
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        index.to_string().into_bytes()
    };
    let bytes = list(manifests);
    let found = digest(&bytes);
    fs::write(blobs.join(found.trim_start_matches("sha256:")), &bytes).unwrap();
    let root = serde_json::json!({
        "mediaType": media_type,
        "digest": found,
        "size": bytes.len(),
        "annotations": { "org.opencontainers.image.ref.name": "1" },
    });
    fs::write(world.path("all/index.json"), list(vec![root])).unwrap();
    fs::write(
        world.path("all/oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    format!("oci:{}:1", world.path("all").display())
}

/// Changes a byte in the middle of an image's largest blob.
fn damage(layout: &Path) {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let largest = blobs
        .map(|e| e.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
}

#[test]
fn nothing_is_written_of_a_damaged_image() {
    let world = World::new();
    let good = world.layout("good", image());
    let bad = world.layout("bad", image());
    damage(&world.path("bad"));
    let tar = layer([TarEntry::file("x", "y")]);
    let blob = Blob {
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        bytes: tar,
    };
    let lying = world.layout("lying", Layout::new().blob(blob, &digest(b"another")));
    for kind in ["oci-archive", "docker-archive", "docker-daemon"] {
        let target = world.name(kind, "x");
        let file = world.path(&format!("x.{kind}"));
        let before = names(world.dir.path());
        let mut sources = vec![&bad];
        // Whoever keeps the layer as it is does not look into it.
        if kind != "oci-archive" {
            sources.push(&lying);
        }
        for source in sources {
            let failed = world.copy(source, &target);
            assert_eq!(failed.status.code(), Some(3), "{}", stderr(&failed));
            assert_eq!(names(world.dir.path()), before, "{kind}");
        }
        assert!(world.daemon.loaded().is_empty());
        if kind == "docker-daemon" {
            continue;
        }
        // What was there stays until its successor is complete.
        world.copied(&good, &target);
        let whole = fs::read(&file).unwrap();
        world.copy(&bad, &target);
        assert!(fs::read(&file).unwrap() == whole);
        world.copied(&good, &target);
        assert!(fs::read(&file).unwrap() == whole);
    }
}

#[test]
fn a_registry_that_breaks_off_leaves_no_archive() {
    let world = World::new();
    let origin = world.layout("origin", image());
    let source = world.name("docker", "r");
    world.copied(&origin, &source);
    let before = names(world.dir.path());
    world.registry.rule(
        On::kind(Kind::Blob).method("GET"),
        Action::ResetAt(At::Byte(9)),
    );
    for kind in ["oci-archive", "docker-archive", "docker-daemon"] {
        let target = world.name(kind, "x");
        let mut command = world.lithify();
        command.args(["copy", "--no-fsync", "--retries", "0", &source, &target]);
        let failed = run::output(&mut command);
        assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
        assert_eq!(names(world.dir.path()), before);
    }
    assert!(world.daemon.loaded().is_empty());
    // One that breaks off now and then is asked for the rest.
    world.registry.clear_rules();
    world.registry.rule(
        On::kind(Kind::Blob).method("GET").times(2),
        Action::ResetAt(At::Percent(50)),
    );
    let target = world.name("docker-archive", "x");
    world.copied(&source, &target);
    assert_eq!(world.identity(&target), world.identity(&origin));
}

#[test]
fn places_that_cannot_be() {
    let world = World::new();
    let origin = world.layout("origin", image());
    let hex = "0".repeat(64);
    for target in [
        format!("docker-archive:{}@sha256:{hex}", world.path("a").display()),
        format!("docker-archive:{}:NO", world.path("a").display()),
        format!("oci-archive:{}@sha256:{hex}", world.path("a").display()),
        format!("docker-daemon:sha256:{hex}"),
        format!("docker-daemon:x@sha256:{hex}"),
        format!("docker-archive:{}", world.path("").display()),
        format!("oci-archive:{}", world.path("none/x").display()),
    ] {
        let refused = world.copy(&origin, &target);
        assert!(!refused.status.success(), "{target}");
        assert!(!stderr(&refused).contains("panic"), "{target}");
    }
    assert_eq!(names(world.dir.path()), ["origin"]);
}
