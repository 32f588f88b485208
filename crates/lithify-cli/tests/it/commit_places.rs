//! Commits to every place images are copied to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::stores::{files, lithify_at};
use crate::common::{layer, stderr};
use lithify_testkit::registry::{Action, Answer, FakeDaemon, Faulty, Kind, On};
use lithify_testkit::{Layout, Tar, TarEntry, digest, gzip, require, run, temp_dir};
use serde_json::{Value, json};

/// A place of each kind, and changes to be committed.
struct World {
    tmp: tempfile::TempDir,
    daemon: FakeDaemon,
    registry: Faulty,
}

/// Layers that gzip makes little of, so that an upload can break off in the middle of one.
fn layers() -> [Vec<u8>; 2] {
    let noise: Vec<u8> = (0..60_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    [
        layer([
            TarEntry::directory("etc"),
            TarEntry::file("etc/motd", "before\n"),
            TarEntry::file("noise", noise),
        ]),
        layer([TarEntry::file("etc/second", "2")]),
    ]
}

fn base() -> Layout {
    let [lower, upper] = layers();
    Layout::new().gzip_layer(&lower).gzip_layer(&upper)
}

impl World {
    fn new() -> Self {
        let world = Self {
            tmp: temp_dir(),
            daemon: FakeDaemon::start(),
            registry: Faulty::start(),
        };
        fs::create_dir_all(world.path("upper/etc")).unwrap();
        fs::write(world.path("upper/etc/motd"), "after\n").unwrap();
        fs::write(world.path("upper/new"), "new").unwrap();
        base().tag("b").write(&world.path("base"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    fn base(&self) -> String {
        format!("oci:{}:b", self.path("base").display())
    }

    fn remote(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address())
    }

    /// A name of each kind.
    fn places(&self) -> [(&'static str, String); 7] {
        let at = |transport: &str, name: &str| {
            format!("{transport}:{}:{name}", self.path(transport).display())
        };
        [
            ("layout", at("oci", "t")),
            ("archive", at("oci-archive", "t")),
            ("docker", at("docker-archive", "app:t")),
            ("daemon", "docker-daemon:app:t".to_owned()),
            ("registry", self.remote("team/app:t")),
            ("store", "store:app:t".to_owned()),
            ("name", "bare/app:t".to_owned()),
        ]
    }

    fn lithify(&self) -> Command {
        let mut command = lithify_at(&self.path("store"));
        command.env("DOCKER_HOST", self.daemon.host());
        command
    }

    fn commit(&self, args: &[&str]) -> Command {
        let mut command = self.lithify();
        command
            .args(["-q", "commit", "--no-fsync", "--json"])
            .args(args);
        command.arg(self.path("upper"));
        command
    }

    #[track_caller]
    fn committed(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&run::ok(&mut self.commit(args))).unwrap()
    }

    #[track_caller]
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = run::output(&mut self.commit(args));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    fn cat(&self, name: &str, path: &str) -> String {
        let mut command = self.lithify();
        run::text(command.args(["-q", "cat", "--pull", "never", name, path]))
    }

    /// The daemon can save what it loaded last.
    fn keep_loaded(&self) {
        let loaded = self.daemon.loaded().pop().unwrap();
        self.daemon.add_image("app:t", loaded);
    }

    fn requests(&self, kind: Kind, method: &str) -> usize {
        let on = On::kind(kind).method(method);
        self.registry.requests_on(&on).len()
    }
}

#[test]
fn every_place_takes_a_commit_and_the_next_one_on_top() {
    let world = World::new();
    let mut digests = Vec::new();
    for (what, name) in world.places() {
        let first = world.committed(&["--base", &world.base(), "-o", &name]);
        assert_eq!(first["layers"], 3, "{what}");
        digests.push(first.clone());
        if what == "daemon" {
            world.keep_loaded();
        }
        let seen = if what == "name" {
            "store:bare/app:t"
        } else {
            &name
        };
        assert_eq!(world.cat(seen, "/etc/motd"), "after\n", "{what}");
        assert_eq!(world.cat(seen, "/etc/second"), "2", "{what}");
        if require::tool("skopeo") && ["layout", "archive", "docker"].contains(&what) {
            let said = run::text(run::command("skopeo").args(["inspect", &name]));
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["Layers"].as_array().unwrap().len(), 3, "{what}");
        }
        // Without a base it is the image that has the name.
        let upper = fs::File::open(world.path("upper")).unwrap();
        let changed = upper.metadata().unwrap().modified().unwrap();
        fs::write(world.path("upper/more"), what).unwrap();
        let second = world.committed(&["-o", &name]);
        assert_eq!(second["layers"], 4, "{what}");
        fs::remove_file(world.path("upper/more")).unwrap();
        upper.set_modified(changed).unwrap();
        if what == "daemon" {
            world.keep_loaded();
        }
        assert_eq!(world.cat(seen, "/more"), what);
        run::ok(world.lithify().args(["-q", "verify", seen]));
    }
    // The same changes are the same image, wherever it goes.
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:#?}");
    run::ok(world.lithify().arg("fsck"));
}

#[test]
fn a_commit_without_a_base_says_so_wherever_there_is_none() {
    let world = World::new();
    for (what, name) in world.places() {
        let said = world.fails(&["-o", &name], 1);
        assert!(said.contains("--base"), "{what}: {said}");
    }
    // A layout that has other images, only.
    let other = format!("oci:{}:other", world.path("base").display());
    let said = world.fails(&["-o", &other], 1);
    assert!(
        said.contains("--base") && said.contains("there is b"),
        "{said}"
    );
    let mut left = crate::common::names(world.tmp.path());
    left.retain(|name| name != "store");
    assert_eq!(left, ["base", "upper"]);
    assert_eq!(run::text(world.lithify().arg("images")), "");
}

/// All files, with what is in them.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    files(dir).into_iter().map(read).collect()
}

#[test]
fn a_commit_that_fails_leaves_what_was_there() {
    let world = World::new();
    for (_, name) in world.places() {
        world.committed(&["--base", &world.base(), "-o", &name]);
    }
    // A layer of another base is not what its digest says; its last one, so that others come first.
    let damaged = world.path("damaged");
    let [lower, _] = layers();
    let top = gzip(&layer([TarEntry::file("top", "t")]));
    Layout::new()
        .gzip_layer(&lower)
        .layer(
            &layer([TarEntry::file("top", "t")]),
            lithify_testkit::Compression::Gzip,
        )
        .tag("d")
        .write(&damaged);
    let path = damaged.join("blobs").join(digest(&top).replace(':', "/"));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = format!("oci:{}:d", damaged.display());
    let archives =
        || ["oci-archive", "docker-archive"].map(|name| fs::read(world.path(name)).unwrap());
    let listed = || {
        let index = fs::read(world.path("oci/index.json")).unwrap();
        let images = run::text(world.lithify().args(["images", "--json"]));
        let tagged = world.registry.manifest("team/app", "t").unwrap();
        (
            index,
            images,
            tagged,
            world.registry.tags("team/app"),
            world.daemon.loaded().len(),
        )
    };
    let before = (archives(), listed());
    let uploaded = world.requests(Kind::Manifest, "PUT");
    for (what, name) in world.places() {
        let said = world.fails(&["--base", &damaged, "-o", &name], 3);
        assert!(said.contains("digest"), "{what}: {said}");
    }
    fs::write(world.path("upper/.wh.trick"), "").unwrap();
    for (what, name) in world.places() {
        for base in [&["--base", &*world.base()][..], &[]] {
            if base.is_empty() && what == "daemon" {
                continue;
            }
            let said = world.fails(&[base, &["-o", &name]].concat(), 1);
            assert!(said.contains(".wh.trick"), "{what}: {said}");
        }
    }
    assert!((archives(), listed()) == before);
    assert_eq!(world.requests(Kind::Manifest, "PUT"), uploaded);
    run::ok(world.lithify().arg("fsck"));
    // Where nothing was, nothing is.
    let there = crate::common::names(world.tmp.path());
    for name in ["oci:N:t", "oci-archive:N", "docker-archive:N:x:1"] {
        let name = name.replace('N', &world.path("fresh").display().to_string());
        world.fails(&["--base", &world.base(), "-o", &name], 1);
    }
    assert_eq!(crate::common::names(world.tmp.path()), there);
}

#[test]
fn layers_a_registry_has_are_not_sent_again() {
    let world = World::new();
    let registry = &world.registry;
    registry.add_layout(&world.path("base"), "team/base", "1");
    let blobs = registry.blobs("team/base");
    let [lower, upper] = layers().map(|tar| digest(&gzip(&tar)));
    assert!(blobs.contains(&lower) && blobs.contains(&upper));
    let layer_reads = || {
        let get = |digest: &str| {
            registry
                .requests_on(&On::kind(Kind::Blob).method("GET").path(digest))
                .len()
        };
        get(&lower) + get(&upper)
    };
    let mounts = || {
        registry
            .requests_on(&On::kind(Kind::Upload).method("POST").path("mount="))
            .len()
    };
    let base = world.remote("team/base:1");
    // To the same repository: the new layer and the config.
    let same = world.committed(&["--base", &base, "-o", &world.remote("team/base:2")]);
    assert_eq!(
        (
            world.requests(Kind::Upload, "POST"),
            mounts(),
            layer_reads()
        ),
        (2, 0, 0)
    );
    // The base by its name.
    registry.clear_requests();
    let own = world.committed(&["-o", &world.remote("team/base:1")]);
    assert_eq!(own, same);
    assert_eq!(
        (world.requests(Kind::Upload, "POST"), layer_reads()),
        (0, 0)
    );
    // To another one: taken over, and the rest sent.
    registry.add_layout(&world.path("base"), "team/base", "1");
    registry.clear_requests();
    let mounted = world.committed(&["--base", &base, "-o", &world.remote("other/app:1")]);
    assert_eq!(mounted, same);
    assert_eq!(layer_reads(), 0);
    for digest in [&lower, &upper] {
        assert!(registry.blob("other/app", digest).is_some());
    }
    // A registry that takes nothing over is sent all of it.
    registry.set_mounts(false);
    registry.clear_requests();
    let sent = world.committed(&["--base", &base, "-o", &world.remote("third/app:1")]);
    assert_eq!(sent, same);
    assert_eq!(layer_reads(), 2);
    assert_eq!(registry.blobs("third/app"), registry.blobs("other/app"));
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn an_upload_that_breaks_is_tried_again() {
    let world = World::new();
    let expected = world.committed(&["--base", &world.base(), "-o", &world.remote("plain:1")]);
    let upload = |method: &str| On::kind(Kind::Upload).method(method);
    let unavailable = || Action::Answer(Answer::status(503));
    for (name, rules, more) in [
        (
            "reset",
            vec![(upload("PUT").times(2), Action::ResetUpload(10_000))],
            &[][..],
        ),
        (
            "busy",
            vec![
                (upload("POST").times(2), unavailable()),
                (upload("PUT").times(1), unavailable()),
            ],
            &[],
        ),
        (
            "pieces",
            vec![(upload("PATCH").nth(3), Action::ResetUpload(1_000))],
            &["--chunk", "50K"],
        ),
        (
            "lost",
            vec![(upload("PUT").times(1), Action::LoseAnswer)],
            &["--transfers", "1"],
        ),
        (
            "manifest",
            vec![(
                On::kind(Kind::Manifest).method("PUT").times(1),
                unavailable(),
            )],
            &[],
        ),
    ] {
        let hits: Vec<_> = rules
            .into_iter()
            .map(|(on, action)| world.registry.rule(on, action))
            .collect();
        let name = format!("{name}:1");
        let args = ["--base", &world.base(), "-o", &world.remote(&name)];
        let made = world.committed(&[&args, more].concat());
        assert_eq!(made, expected, "{name}");
        assert!(hits.iter().all(|hit| hit.count() > 0), "{name}: {hits:?}");
        world.registry.clear_rules();
        assert_eq!(world.cat(&world.remote(&name), "/new"), "new");
    }
    // One that does not pass leaves no tag.
    world
        .registry
        .rule(upload("POST"), Action::Answer(Answer::status(403)));
    world.fails(
        &["--base", &world.base(), "-o", &world.remote("never:1")],
        1,
    );
    assert!(world.registry.tags("never").is_empty());
}

/// Archives of `docker save` name layers by nothing but their diff_ids.
#[test]
fn layers_without_digests_are_verified_on_their_way() {
    let world = World::new();
    let [lower, upper] = layers();
    let archive = |name: &str, members: [&[u8]; 3]| {
        let mut tar = Tar::new();
        let names = ["a/layer.tar", "b/layer.tar", "c/layer.tar"];
        for (name, bytes) in names.into_iter().zip(members) {
            tar.add(TarEntry::file(name, bytes));
        }
        let ids = [&lower, &upper, &lower].map(|tar| digest(tar));
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids } });
        tar.add(TarEntry::file("config.json", config.to_string()));
        let list = json!([{ "Config": "config.json", "RepoTags": ["app:1"], "Layers": names }]);
        tar.add(TarEntry::file("manifest.json", list.to_string()));
        fs::write(world.path(name), tar.finish()).unwrap();
        format!("docker-archive:{}", world.path(name).display())
    };
    let zipped = gzip(&lower);
    let [plain, packed, wrong] = [
        archive("plain", [&lower, &upper, &lower]),
        archive("packed", [&zipped, &upper, &zipped]),
        archive("wrong", [&lower, &lower, &lower]),
    ];
    let platform = ["--platform", "linux/amd64"];
    for (what, base) in [("plain", &plain), ("packed", &packed)] {
        for to in [
            format!("oci:{}:t", world.path(&format!("{what}-new")).display()),
            world.remote(what),
        ] {
            let made = world.committed(&[&platform[..], &["--base", base, "-o", &to]].concat());
            assert_eq!(made["layers"], 4, "{what}");
            let mut inspect = world.lithify();
            inspect.args(["inspect", "--json", &to]).args(platform);
            let said: Value = serde_json::from_slice(&run::ok(&mut inspect)).unwrap();
            let types: Vec<&str> = said["layers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|l| l["media_type"].as_str().unwrap())
                .collect();
            let is_zipped = types.iter().map(|t| t.ends_with("+gzip"));
            let first = what == "packed";
            assert_eq!(
                is_zipped.collect::<Vec<_>>(),
                [first, false, first, true],
                "{types:?}"
            );
            let mut verify = world.lithify();
            run::ok(verify.args(["-q", "verify", &to]).args(platform));
        }
    }
    let new = format!("oci:{}:t", world.path("wrong-new").display());
    let said = world.fails(
        &[&platform[..], &["--base", &wrong, "-o", &new]].concat(),
        3,
    );
    assert!(said.contains("layer 1"), "{said}");
    assert!(!world.path("wrong-new").exists());
}

/// A name with a digest is for one image; the new one is another.
#[test]
fn a_name_with_a_digest_takes_no_other_image() {
    let world = World::new();
    let other = format!("sha256:{}", "0".repeat(64));
    let index = fs::read(world.path("base/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let own = index["manifests"][0]["digest"].as_str().unwrap();
    for place in ["store:app", &world.remote("app")] {
        let name = |digest: &str| format!("{place}@{digest}");
        let said = world.fails(&["--base", &world.base(), "-o", &name(&other)], 1);
        assert!(said.contains("digest"), "{said}");
        let copy = |to: &str| {
            let mut command = world.lithify();
            run::output(command.args(["-q", "copy", &world.base(), to]))
        };
        let refused = copy(&name(&other));
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        assert_eq!(world.requests(Kind::Upload, "POST"), 0);
        assert_eq!(run::text(world.lithify().arg("images")), "");
        let copied = copy(&name(own));
        assert!(copied.status.success(), "{}", stderr(&copied));
        assert_eq!(world.cat(&name(own), "/etc/motd"), "before\n");
        if place.starts_with("store") {
            run::ok(world.lithify().args(["-q", "rm", &format!("app@{own}")]));
        }
    }
}

#[test]
fn blobs_are_read_from_nothing_but_their_base() {
    let world = World::new();
    let before = content(&world.path("base"));
    for (_, name) in world.places() {
        world.committed(&["--base", &world.base(), "-o", &name]);
    }
    assert!(content(&world.path("base")) == before);
}
