//! `--dry-run`: nothing is written anywhere, and what is said is what then happens.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::stores::{files, lithify_at};
use crate::common::{layer, stderr};
use lithify_testkit::registry::{Faulty, Kind, On, Real};
use lithify_testkit::{Layout, TarEntry, require, run, temp_dir};
use serde_json::Value;

/// A directory for one test, with a store that is not there yet.
struct World {
    tmp: tempfile::TempDir,
    registry: Faulty,
}

/// Three layers, the lowest named twice, so four in all.
fn sample() -> Layout {
    let lower = layer([
        TarEntry::directory("etc").mode(0o711),
        TarEntry::file("etc/motd", "hello\n".repeat(500)),
    ]);
    let upper = layer([TarEntry::file("new", "n")]);
    let top = layer([TarEntry::file("top", "t")]);
    Layout::new()
        .gzip_layer(&lower)
        .gzip_layer(&upper)
        .gzip_layer(&top)
        .gzip_layer(&lower)
        .tag("t")
}

impl World {
    fn new() -> Self {
        let world = Self {
            tmp: temp_dir(),
            registry: Faulty::start(),
        };
        sample().write(&world.path("image"));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    fn image(&self) -> String {
        format!("oci:{}:t", self.path("image").display())
    }

    fn remote(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address())
    }

    fn lithify(&self) -> Command {
        lithify_at(&self.path("store"))
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let mut command = self.lithify();
        let said = run::ok(command.arg("-q").args(args).arg("--json"));
        serde_json::from_slice(&said).unwrap()
    }

    /// The plan of a command; nothing changes, here or in the registry, and no layer is asked for.
    #[track_caller]
    fn plan(&self, args: &[&str]) -> Value {
        let before = everything(self.tmp.path());
        self.registry.clear_requests();
        let plan = self.json(&[args, &["--dry-run"]].concat());
        let text = run::text(self.lithify().args(args).arg("--dry-run"));
        self.untouched();
        assert!(everything(self.tmp.path()) == before, "{args:?}");
        // A line for each part, and the sum.
        let parts = plan["parts"].as_array().unwrap();
        assert_eq!(text.lines().count(), parts.len() + 1, "{text}");
        for key in [
            "there",
            "there_bytes",
            "moved",
            "moved_bytes",
            "made",
            "foreign",
        ] {
            assert!(plan[key].is_u64(), "{key}: {plan}");
        }
        for (key, states) in [
            ("there", &["there"][..]),
            ("moved", &["move", "read"]),
            ("made", &["make"]),
        ] {
            let of = parts
                .iter()
                .filter(|p| states.contains(&p["state"].as_str().unwrap()));
            assert_eq!(plan[key], of.count(), "{key}: {plan}");
        }
        plan
    }

    /// Nothing was sent to the registry, and of its blobs configurations alone were asked for.
    #[track_caller]
    fn untouched(&self) {
        for request in self.registry.requests() {
            let is_read = ["GET", "HEAD"].contains(&&*request.method);
            assert!(is_read, "{} {}", request.method, request.path);
            if request.kind == Kind::Blob && request.method == "GET" {
                let (_, digest) = request.path.rsplit_once('/').unwrap();
                let config = files(self.tmp.path()).iter().any(|path| {
                    path.ends_with(&digest["sha256:".len()..])
                        && fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"{"))
                });
                assert!(config, "{}", request.path);
            }
        }
    }
}

/// All files and directories, with what is in them.
fn everything(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for item in fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            match path.is_dir() {
                true => {
                    found.insert(path.clone(), None);
                    open.push(path);
                }
                false => {
                    let bytes = fs::read(&path).unwrap();
                    found.insert(path, Some(bytes));
                }
            }
        }
    }
    found
}

/// How many parts of these kinds are in a state, and their bytes.
fn count(plan: &Value, kinds: &[&str], state: &str) -> (u64, u64) {
    let parts = plan["parts"].as_array().unwrap().iter();
    let parts =
        parts.filter(|p| kinds.contains(&p["kind"].as_str().unwrap()) && p["state"] == state);
    let sizes = parts.map(|p| p["size"].as_u64().unwrap_or(0));
    sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
}

const BLOBS: [&str; 2] = ["layer", "config"];

#[test]
fn a_copy_does_what_its_plan_says() {
    let world = World::new();
    let image = world.image();
    world
        .registry
        .add_layout(&world.path("image"), "origin", "t");
    for (what, source) in [
        ("layout", image.clone()),
        ("registry", world.remote("origin:t")),
    ] {
        let at = |transport: &str| {
            format!(
                "{transport}:{}:a:t",
                world.path(&format!("{what}-{transport}")).display()
            )
        };
        for (to, keeps) in [
            (at("oci"), true),
            (at("oci-archive"), false),
            (at("docker-archive"), false),
            (format!("store:{what}:t"), true),
            (world.remote(&format!("{what}:t")), true),
        ] {
            let plan = world.plan(&["copy", &source, &to]);
            let done = world.json(&["copy", "--no-fsync", &source, &to]);
            for key in ["source", "destination", "digest"] {
                assert_eq!(plan[key], done[key], "{to}");
            }
            // What the store or a registry had of it from earlier copies is there for the plan too.
            let counts = &done["blobs"];
            let moved = count(&plan, &BLOBS, "move");
            let copied = (
                counts["copied"].as_u64().unwrap(),
                counts["copied_bytes"].as_u64().unwrap(),
            );
            let mounted = counts["mounted"].as_u64().unwrap();
            assert_eq!(moved.0, copied.0 + mounted, "{plan} {done}");
            if mounted == 0 {
                assert_eq!(moved.1, copied.1, "{plan} {done}");
            }
            assert_eq!(
                count(&plan, &BLOBS, "there").0,
                counts["existed"].as_u64().unwrap()
            );
            assert_eq!(plan["parts"].as_array().unwrap().len(), 5);
            let again = world.plan(&["copy", &source, &to]);
            match keeps {
                true => assert_eq!(
                    (&again["there"], &again["moved"]),
                    (&5.into(), &0.into()),
                    "{to}"
                ),
                // A file is written anew.
                false => assert_eq!(again, plan),
            }
        }
    }
}

/// The keys of an object, sorted.
fn keys(object: &Value) -> Vec<&str> {
    let keys = object.as_object().unwrap().keys();
    let mut keys: Vec<_> = keys.map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_fields_of_a_plan() {
    let world = World::new();
    let plan = world.plan(&["copy", &world.image(), "store:app:t"]);
    assert_eq!(
        keys(&plan),
        [
            "destination",
            "digest",
            "foreign",
            "made",
            "moved",
            "moved_bytes",
            "parts",
            "source",
            "there",
            "there_bytes"
        ]
    );
    let parts = plan["parts"].as_array().unwrap();
    let kinds: Vec<_> = parts.iter().map(|p| p["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["config", "layer", "layer", "layer", "manifest"]);
    for part in parts {
        assert_eq!(
            keys(part),
            ["digest", "kind", "media_type", "size", "state"]
        );
        let path = part["digest"].as_str().unwrap().replace(':', "/");
        let blob = fs::metadata(world.path("image/blobs").join(path)).unwrap();
        assert_eq!(part["size"], blob.len());
    }
    assert_eq!(parts[4]["digest"], plan["digest"]);
}

#[test]
fn a_part_that_is_there_is_not_planned() {
    let world = World::new();
    let all = world.plan(&["push", &world.image(), &world.remote("app:t")]);
    let layer = &all["parts"][1];
    let digest = layer["digest"].as_str().unwrap();
    let blob = fs::read(world.path("image/blobs").join(digest.replace(':', "/"))).unwrap();
    world.registry.add_blob("app", blob);
    let rest = world.plan(&["push", &world.image(), &world.remote("app:t")]);
    assert_eq!(rest["parts"][1]["state"], "there");
    assert_eq!(rest["there_bytes"], layer["size"]);
    let done = world.json(&["push", &world.image(), &world.remote("app:t")]);
    assert_eq!(
        (&done["blobs"]["copied"], &done["blobs"]["existed"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn a_pull_does_what_its_plan_says() {
    let world = World::new();
    world.registry.add_layout(&world.path("image"), "app", "t");
    let name = format!("{}/app:t", world.registry.address());
    for more in [&[][..], &["--all-platforms"]] {
        let args = [&["pull", &*name], more].concat();
        let plan = world.plan(&args);
        assert_eq!(plan["destination"], format!("store:{name}"));
        let done = world.json(&[&args[..], &["--no-fsync"]].concat());
        assert_eq!(plan["digest"], done["digest"]);
        assert_eq!(count(&plan, &BLOBS, "move").0, 4);
        // The configuration came with the choice of the platform.
        let kinds = if more.is_empty() {
            &["layer"][..]
        } else {
            &BLOBS
        };
        let copied = (
            done["blobs"]["copied"].as_u64().unwrap(),
            done["blobs"]["copied_bytes"].as_u64().unwrap(),
        );
        assert_eq!(count(&plan, kinds, "move"), copied, "{plan} {done}");
        for policy in ["always", "missing", "never"] {
            let again = world.plan(&[&args[..], &["--policy", policy]].concat());
            assert_eq!(
                (&again["there"], &again["moved"]),
                (&5.into(), &0.into()),
                "{policy}"
            );
            assert_eq!(world.registry.requests().is_empty(), policy != "always");
        }
        run::ok(world.lithify().args(["-q", "rm", &name]));
        run::ok(world.lithify().args(["-q", "gc"]));
    }
    let output =
        run::output(
            world
                .lithify()
                .args(["pull", "--dry-run", "--policy", "never", &name]),
        );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn publishing_does_what_its_plan_says() {
    let world = World::new();
    let image = world.image();
    for (form, parts) in [
        ("erofs", (3, 2)),
        ("squashfs", (1, 1)),
        ("erofs-image", (1, 1)),
    ] {
        let name = world.remote(&format!("{form}:t"));
        let args = ["push", "--as", form, &image, &name];
        let plan = world.plan(&args);
        assert_eq!(count(&plan, &["filesystem"], "make").0, parts.0, "{plan}");
        assert_eq!(
            count(&plan, &["manifest", "index"], "make").0,
            parts.1,
            "{plan}"
        );
        assert_eq!(count(&plan, &BLOBS, "move").0, 4, "{plan}");
        world.json(&args);
        // The image is there, and so are the layers that were made for it.
        let again = world.plan(&args);
        assert_eq!(again["moved"], 0, "{again}");
        let kept = if form == "erofs" { 3 } else { 0 };
        assert_eq!(count(&again, &["filesystem"], "there").0, kept, "{again}");
        assert_eq!(again["there"], 5 + kept, "{again}");
    }
    // Elsewhere the layers would be sent, and nothing made of them.
    let other = world.plan(&["push", "--as", "erofs", &image, &world.remote("other:t")]);
    assert_eq!(count(&other, &["filesystem"], "move").0, 3, "{other}");
    let only = world.plan(&[
        "push",
        "--as",
        "erofs",
        "--only",
        "--verity",
        &image,
        &world.remote("only:t"),
    ]);
    assert_eq!(
        (
            count(&only, &BLOBS, "move").0,
            count(&only, &["index"], "make").0
        ),
        (0, 0),
        "{only}"
    );
    assert_eq!(count(&only, &["manifest"], "make").0, 2, "{only}");
    // What publishing refuses has no plan.
    let tree = format!("rootfs:{}", world.path("image").display());
    for (source, to) in [
        (&tree, world.remote("x:t")),
        (
            &image,
            format!("docker-archive:{}", world.path("x").display()),
        ),
    ] {
        let real = run::output(
            world
                .lithify()
                .args(["-q", "push", "--as", "erofs", source, &to]),
        );
        let planned = run::output(world.lithify().args([
            "-q",
            "push",
            "--dry-run",
            "--as",
            "erofs",
            source,
            &to,
        ]));
        assert!(!planned.status.success());
        assert_eq!(
            (planned.status.code(), stderr(&planned)),
            (real.status.code(), stderr(&real))
        );
    }
}

const FORMATS: [&str; 8] = [
    "erofs",
    "squashfs",
    "dir",
    "tar",
    "cpio",
    "erofs-layers",
    "squashfs-layers",
    "containerd-cache",
];

#[test]
fn a_build_does_what_its_plan_says() {
    let world = World::new();
    world.registry.add_layout(&world.path("image"), "app", "t");
    for (source, state) in [(world.remote("app:t"), "move"), (world.image(), "read")] {
        for format in FORMATS {
            let out = world.path("out");
            let args = ["build", &source, "-f", format, "-o", out.to_str().unwrap()];
            let plan = world.plan(&args);
            assert_eq!(count(&plan, &["layer"], state).0, 3, "{format}: {plan}");
            assert!(plan["made"].as_u64().unwrap() >= 1, "{format}: {plan}");
            let done = world.json(&[&args[..], &["--no-fsync"]].concat());
            if let Some(built) = done["built"].as_u64() {
                // A layer that is named again may be made again for what lies below it.
                let planned = plan["made"].as_u64().unwrap();
                assert!(
                    planned == built || planned + 1 == built,
                    "{format}: {plan} {built}"
                );
                let again =
                    world.plan(&[&args[..5], &[world.path("other").to_str().unwrap()]].concat());
                assert_eq!(
                    (&again["made"], &again["moved"]),
                    (&0.into(), &0.into()),
                    "{format}: {again}"
                );
            } else {
                assert_eq!(plan["made"], 1, "{format}");
            }
            for path in [
                out.clone(),
                world.path("out.lithify-metadata.jsonl"),
                world.path("store"),
            ] {
                match path.is_dir() {
                    true => fs::remove_dir_all(path).unwrap(),
                    false => drop(fs::remove_file(path)),
                }
            }
        }
    }
}

#[test]
fn a_plan_needs_no_store() {
    let world = World::new();
    world.registry.add_layout(&world.path("image"), "app", "t");
    let before = everything(world.tmp.path());
    let name = format!("{}/app:t", world.registry.address());
    let out = world.path("out");
    let out = out.to_str().unwrap();
    for format in FORMATS {
        // None at all, none anywhere it could be, none that is wanted.
        for (home, more) in [
            (None, &[][..]),
            (Some("/dev/null"), &[]),
            (Some("/dev/null"), &["--no-store"]),
        ] {
            for source in [&world.image(), &name] {
                let mut command = world.lithify();
                for variable in ["LITHIFY_STORE", "XDG_DATA_HOME", "HOME"] {
                    command.env_remove(variable);
                }
                command.envs(home.map(|home| ("HOME", home)));
                command.args(["-q", "build", "--dry-run", source, "-f", format, "-o", out]);
                run::ok(command.args(more));
            }
        }
    }
    world.untouched();
    assert!(everything(world.tmp.path()) == before);
}

#[test]
fn a_bare_name_is_looked_up_and_not_pulled() {
    let world = World::new();
    world.registry.add_layout(&world.path("image"), "app", "t");
    let name = format!("{}/app:t", world.registry.address());
    let out = world.path("x.erofs");
    let out = out.to_str().unwrap();
    let remote = world.plan(&["build", &name, "-o", out]);
    assert_eq!(count(&remote, &["layer"], "move").0, 3);
    let copied = world.plan(&[
        "copy",
        &name,
        &format!("oci:{}", world.path("new").display()),
    ]);
    assert_eq!(copied["moved"], 5);
    assert!(!world.path("store").exists());
    // From the store it is read.
    world.json(&["pull", &name]);
    let local = world.plan(&["build", &name, "-o", out]);
    assert_eq!(count(&local, &["layer"], "read").0, 3);
    assert!(world.registry.requests().is_empty());
}

#[test]
fn an_artifact_that_would_be_used_is_planned() {
    if !require::tool("docker-registry") {
        return;
    }
    let world = World::new();
    let real = Real::start();
    let name = format!("docker://{}/app:t", real.address());
    let out = world.path("x.squashfs");
    let args = [
        "build",
        &name,
        "-f",
        "squashfs",
        "--artifacts",
        "use",
        "-o",
        out.to_str().unwrap(),
    ];
    world.json(&["push", &world.image(), &name]);
    let none = world.plan(&args);
    assert_eq!(count(&none, &["filesystem"], "make").0, 1);
    let pushed = world.json(&["push", "--as", "squashfs", &world.image(), &name]);
    let plan = world.plan(&args);
    let published = &pushed["manifests"][1]["layers"][0];
    assert_eq!(plan["parts"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&plan["parts"][0]["digest"], &plan["parts"][0]["size"]),
        (&published["digest"], &published["size"])
    );
    assert_eq!(plan["moved_bytes"], published["size"]);
    let done = world.json(&args);
    assert_eq!(done["artifacts"][0]["size"], plan["moved_bytes"]);
}

#[test]
fn images_without_a_manifest_are_planned_as_far_as_they_are_known() {
    let world = World::new();
    fs::write(world.path("saved"), sample().docker_archive("a:t")).unwrap();
    fs::create_dir(world.path("tree")).unwrap();
    let new = format!("oci:{}:t", world.path("new").display());
    let saved = format!("docker-archive:{}", world.path("saved").display());
    let plan = world.plan(&["copy", &saved, &new]);
    assert_eq!(
        (&plan["moved"], &plan["made"]),
        (&3.into(), &2.into()),
        "{plan}"
    );
    assert!(plan.get("digest").is_none());
    let done = world.json(&["copy", &saved, &new]);
    assert_eq!(done["blobs"]["copied"], 4);
    for source in ["rootfs:tree", "tar:-"] {
        let mut command = world.lithify();
        command.current_dir(world.tmp.path());
        command.args(["-q", "copy", "--dry-run", "--json", source, "oci:fresh"]);
        let plan: Value = serde_json::from_slice(&run::ok(&mut command)).unwrap();
        assert_eq!(
            (&plan["moved"], &plan["made"]),
            (&1.into(), &2.into()),
            "{plan}"
        );
        assert!(!world.path("fresh").exists());
    }
}

/// A plan that is wanted of what cannot be is the error the command gives.
#[test]
fn what_is_refused_has_no_plan() {
    let world = World::new();
    let image = world.image();
    let archive = format!("docker-archive:{}", world.path("x").display());
    fs::write(world.path("file"), "x").unwrap();
    fs::create_dir(world.path("full")).unwrap();
    fs::write(world.path("full/x"), "x").unwrap();
    let full = format!("oci:{}:t", world.path("full").display());
    let deep = |transport: &str| format!("{transport}:{}:a:t", world.path("no/x").display());
    let over = format!("oci-archive:{}", world.path("full").display());
    let file = format!("oci:{}:t", world.path("file").display());
    for args in [
        &["copy", "--all-platforms", &image, &archive][..],
        &["copy", &image, "bare"],
        &["copy", "oci:nothing", &archive],
        &["copy", &image, &file],
        &["copy", &image, &full],
        &["copy", &image, &over],
        &["copy", &image, &deep("oci")],
        &["copy", &image, &deep("oci-archive")],
        &["copy", &image, &deep("docker-archive")],
        &["push", &image, "rootfs:x"],
        &["pull", "oci:x"],
        &[
            "build",
            &image,
            "-f",
            "tar",
            "--compress",
            "zstd",
            "-o",
            "x",
        ],
        &["build", &image, "-o", "x.ext4", "--size", "0"],
        &["build", &image, "-o", "x.ext4", "--journal", "1M"],
        &[
            "build",
            &image,
            "-o",
            "x.ext4",
            "--label",
            "seventeen letters",
        ],
        &["build", &image, "-o", "x.ext4", "--block-size", "8K"],
        &["build", &image, "-o", "x.ext4", "--compress", "zstd"],
        &["build", &image, "-o", "x.erofs", "--compress", "xz"],
        &["build", &image, "-o", "x.erofs", "--compress", "zstd:99"],
        &["build", &image, "-o", "x.erofs", "--block-size", "1"],
        &["build", &image, "-o", "x.sqfs", "--block-size", "1"],
        &[
            "build",
            &image,
            "-f",
            "erofs-layers",
            "-o",
            "x",
            "--compress",
            "xz",
        ],
        &[
            "build",
            &image,
            "-f",
            "squashfs-layers",
            "-o",
            "x",
            "--block-size",
            "1",
        ],
        &[
            "build",
            &image,
            "-f",
            "containerd-cache",
            "-o",
            "x",
            "--compress",
            "xz",
        ],
        &["build", &image, "-o", "x.cpio", "--compress", "xz"],
        &["build", &image, "-f", "erofs", "-o", "-"],
        &["build", &image, "-f", "dir", "-o", "-"],
    ] {
        let real = run::output(world.lithify().arg("-q").args(args));
        let planned = run::output(world.lithify().arg("-q").args(args).arg("--dry-run"));
        assert!(!planned.status.success(), "{args:?}");
        assert_eq!(
            (planned.status.code(), stderr(&planned)),
            (real.status.code(), stderr(&real))
        );
    }
    assert!(!world.path("x").exists() && !world.path("store").exists());
    let heads = world.registry.requests_on(&On::any());
    assert!(heads.is_empty());
}
