//! File trees copied as images of one layer: what others unpack is the tree, and the same tree is the same image.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::documents::documents;
use crate::common::stores::lithify_at;
use crate::common::{layer, names, stderr};
use lithify_testkit::registry::{FakeDaemon, Faulty, Kind, On, Real};
use lithify_testkit::{Allow, Field, Snapshot, TarEntry, require, run, temp_dir};
use serde_json::Value;

/// A directory for one test, with a store of its own.
struct World {
    tmp: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { tmp: temp_dir() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    /// A transport, and a path behind it.
    fn name(&self, transport: &str, name: &str) -> String {
        format!("{transport}:{}", self.path(name).display())
    }

    fn lithify(&self) -> Command {
        lithify_at(&self.path("store"))
    }

    /// Copies; gives what `--json` says.
    #[track_caller]
    fn copied(&self, args: &[&str]) -> Value {
        let mut command = self.lithify();
        command.args(["-q", "copy", "--no-fsync", "--json"]);
        serde_json::from_slice(&run::ok(command.args(args))).unwrap()
    }

    /// A copy that has to fail; gives what it says.
    #[track_caller]
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = run::output(self.lithify().args(["-q", "copy", "--no-fsync"]).args(args));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }
}

/// A tree with something of each kind that this user may make.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/file"), "some text\n").unwrap();
    fs::set_permissions(root.join("etc/file"), fs::Permissions::from_mode(0o4710)).unwrap();
    fs::hard_link(root.join("etc/file"), root.join("etc/deep/link")).unwrap();
    fs::hard_link(root.join("etc/file"), root.join("another")).unwrap();
    symlink("../file", root.join("etc/deep/way")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("name with\nlines and \u{e4}"), "x").unwrap();
    let mut sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all(b"begin").unwrap();
    sparse.seek(SeekFrom::Start(3 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    sparse.set_len(4 << 20).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o751)).unwrap();
    run::ok(run::command("mkfifo").arg(root.join("pipe")));
    if require::root() {
        for (name, kind, numbers) in [("null", "c", ["1", "3"]), ("disk", "b", ["300", "70000"])] {
            let mut mknod = run::command("mknod");
            run::ok(mknod.arg(root.join(name)).arg(kind).args(numbers));
        }
        run::ok(
            run::command("chown")
                .arg("12:3000000")
                .arg(root.join("empty")),
        );
        if require::tool("setfattr") {
            for (name, value) in [("user.mine", "yes"), ("security.capability", CAPABILITY)] {
                let mut setfattr = run::command("setfattr");
                setfattr.args(["-n", name, "-v", value]);
                run::ok(setfattr.arg(root.join("empty")));
            }
        }
    }
}

/// `cap_net_raw+ep`, as version 2 of `struct vfs_cap_data` has it.
const CAPABILITY: &str = "0x0100000200200000000000000000000000000000";

/// The bundle umoci makes of an image in a layout.
fn unpacked(world: &World, layout: &str, name: &str) -> PathBuf {
    let bundle = world.path(name);
    let mut umoci = run::command("umoci");
    run::ok(umoci.args(["unpack", "--image", layout]).arg(&bundle));
    bundle.join("rootfs")
}

fn skopeo(args: &[&str]) -> Vec<u8> {
    let mut command = run::command("skopeo");
    run::ok(command.arg("--insecure-policy").args(args))
}

fn tools() -> bool {
    require::root() && require::tool("umoci") && require::tool("skopeo")
}

#[test]
fn what_others_unpack_is_the_tree() {
    if !tools() || !require::tool("docker-registry") {
        return;
    }
    let (world, real) = (World::new(), Real::start());
    let root = world.path("tree");
    tree(&root);
    let expected = Snapshot::of(&root);
    let source = world.name("rootfs", "tree");
    let links = Allow::nothing().also(
        "directories have as many links as their filesystem says",
        |d| d.field == Field::Links,
    );
    let mut digests = Vec::new();
    for (what, destination) in [
        ("oci", format!("{}:t", world.name("oci", "layout"))),
        (
            "archive",
            format!("{}:t", world.name("oci-archive", "archive")),
        ),
        (
            "docker",
            format!("{}:app:t", world.name("docker-archive", "docker")),
        ),
        ("registry", format!("docker://{}/app:t", real.address())),
        ("store", "store:app:t".to_owned()),
    ] {
        let first = world.copied(&[&source, &destination]);
        // Again: the same image, of which nothing is missing.
        let again = world.copied(&[&source, &destination]);
        assert_eq!(first["digest"], again["digest"], "{what}");
        if what != "docker" {
            digests.push(first["digest"].clone());
        }
        if ["oci", "registry", "store"].contains(&what) {
            assert_eq!(again["blobs"]["existed"], 2, "{what}: {again}");
        }
        let layout = match what {
            "oci" => format!("{}:t", world.path("layout").display()),
            "store" => format!("{}:docker.io/library/app:t", world.path("store").display()),
            _ => {
                let theirs = world.path(&format!("by-skopeo-{what}"));
                let to = format!("oci:{}:t", theirs.display());
                skopeo(&["copy", "-q", "--src-tls-verify=false", &destination, &to]);
                to["oci:".len()..].to_owned()
            }
        };
        let found = Snapshot::of(&unpacked(&world, &layout, &format!("bundle-{what}")));
        found.assert_same(&expected, &links);
    }
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
    run::ok(world.lithify().args(["verify", "store:app:t"]));
    run::ok(world.lithify().arg("fsck"));
}

#[test]
fn a_tar_of_a_tree_is_the_same_image() {
    if !tools() {
        return;
    }
    let world = World::new();
    let root = world.path("tree");
    tree(&root);
    let tar = world.path("tree.tar");
    let mut gnu = run::command("tar");
    gnu.args([
        "--format=posix",
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
    ]);
    run::ok(gnu.arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."));
    let digest = |source: &str, name: &str| {
        let said = world.copied(&[source, &format!("{}:t", world.name("oci", name))]);
        said["digest"].as_str().unwrap().to_owned()
    };
    let expected = digest(&world.name("rootfs", "tree"), "a");
    assert_eq!(digest(&world.name("tar", "tree.tar"), "b"), expected);
    // Compressed, from a pipe.
    let gzip = run::ok(run::command("gzip").arg("-nc").arg(&tar));
    let mut command = world.lithify();
    command.args([
        "-q",
        "copy",
        "tar:-",
        &format!("{}:t", world.name("oci", "c")),
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&gzip).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), expected);
}

#[test]
fn a_tree_goes_where_images_go() {
    let world = World::new();
    let (registry, daemon) = (Faulty::start(), FakeDaemon::start());
    let tar = layer([
        TarEntry::directory("etc").mode(0o711),
        TarEntry::file("etc/motd", "hello\n").owner(1, 2),
    ]);
    fs::write(world.path("t.tar"), tar).unwrap();
    let source = world.name("tar", "t.tar");
    let remote = format!("docker://{}/app:t", registry.address());
    let pushed = {
        let mut command = world.lithify();
        command.args(["-q", "push", &source, &remote]);
        run::text(&mut command)
    };
    let stored = world.copied(&[&source, "store:app:t"]);
    assert_eq!(pushed.trim(), stored["digest"]);
    assert_eq!(registry.tags("app"), ["t"]);
    let mut command = world.lithify();
    command.env("DOCKER_HOST", daemon.host());
    run::ok(command.args(["-q", "copy", &source, "docker-daemon:app:t"]));
    let loaded = world.path("loaded");
    fs::write(&loaded, &daemon.loaded()[0]).unwrap();
    for name in [
        &remote,
        "store:app:t",
        &world.name("docker-archive", "loaded"),
    ] {
        let motd = run::ok(world.lithify().args(["cat", name, "/etc/motd"]));
        assert_eq!(motd, b"hello\n", "{name}");
    }
}

#[test]
fn a_tree_is_for_the_platform_that_is_named() {
    let world = World::new();
    fs::create_dir(world.path("tree")).unwrap();
    fs::write(world.path("tree/x"), "x").unwrap();
    let source = world.name("rootfs", "tree");
    let to = |name: &str| format!("{}:t", world.name("oci", name));
    let mut digests = Vec::new();
    for (platform, architecture, variant) in [
        ("linux/arm64", "arm64", "v8".into()),
        ("linux/arm/v7", "arm", "v7".into()),
        ("linux/amd64", "amd64", Value::Null),
    ] {
        let name = to(architecture);
        digests.push(world.copied(&["--platform", platform, &source, &name])["digest"].clone());
        let (_, raw) = documents(&world.path(architecture));
        let found = (&raw["architecture"], &raw["os"]);
        assert_eq!(found, (&architecture.into(), &"linux".into()));
        assert_eq!(raw["variant"], variant);
        // Nothing of when and where it was made.
        assert!(raw.get("created").is_none(), "{raw}");
        if require::tool("skopeo") {
            let theirs = skopeo(&["inspect", "--config", "--raw", &name]);
            assert_eq!(serde_json::from_slice::<Value>(&theirs).unwrap(), raw);
        }
    }
    digests.dedup();
    assert_eq!(digests.len(), 3);
    // There is one tree, whatever it is for.
    let one = world.copied(&[&source, &to("one")]);
    let all = world.copied(&["--all-platforms", &source, &to("all")]);
    assert_eq!(one["digest"], all["digest"]);
    let archive = world.name("docker-archive", "x");
    let said = world.fails(&["--all-platforms", &source, &archive], 2);
    assert!(said.contains("--platform"), "{said}");
}

#[test]
fn names_layers_reserve_are_refused_and_leave_nothing() {
    let world = World::new();
    let registry = Faulty::start();
    fs::create_dir_all(world.path("tree/etc/.wh.x")).unwrap();
    fs::create_dir(world.path("opaque")).unwrap();
    fs::write(world.path("opaque/.wh..wh..opq"), "").unwrap();
    fs::create_dir(world.path("link")).unwrap();
    symlink("x", world.path("link/.wh.")).unwrap();
    let tar = layer([TarEntry::file("etc/.wh.y", "")]);
    fs::write(world.path("t.tar"), tar).unwrap();
    fs::write(world.path("old"), "old").unwrap();
    let before = names(world.tmp.path());
    for (source, found) in [
        ("rootfs:tree", "etc/.wh.x"),
        ("rootfs:opaque", ".wh..wh..opq"),
        ("rootfs:link", ".wh."),
        ("tar:t.tar", "etc/.wh.y"),
    ] {
        let (transport, name) = source.split_once(':').unwrap();
        let source = world.name(transport, name);
        for destination in [
            world.name("oci", "new"),
            world.name("oci-archive", "old"),
            world.name("docker-archive", "old"),
            "store:app:t".to_owned(),
            format!("docker://{}/app:t", registry.address()),
        ] {
            let said = world.fails(&[&source, &destination], 1);
            assert!(said.contains(found) && said.contains("whiteout"), "{said}");
        }
        assert_eq!(fs::read(world.path("old")).unwrap(), b"old");
    }
    let images = run::text(world.lithify().arg("images"));
    assert_eq!(images, "");
    let mut after = names(world.tmp.path());
    after.retain(|name| name != "store");
    assert_eq!(after, before);
    let writes = |method: &str| registry.requests_on(&On::any().method(method)).len();
    assert_eq!((writes("POST"), writes("PUT")), (0, 0));
}

#[test]
fn sockets_are_left_out_and_said() {
    let world = World::new();
    fs::create_dir(world.path("tree")).unwrap();
    fs::write(world.path("tree/file"), "x").unwrap();
    let without = world.copied(&[&world.name("rootfs", "tree"), &world.name("oci", "a")]);
    let times = fs::metadata(world.path("tree"))
        .unwrap()
        .modified()
        .unwrap();
    let listener = UnixListener::bind(world.path("tree/socket")).unwrap();
    File::open(world.path("tree"))
        .unwrap()
        .set_modified(times)
        .unwrap();
    let mut command = world.lithify();
    command.args([
        "copy",
        &world.name("rootfs", "tree"),
        &world.name("oci", "b"),
    ]);
    let output = run::output(&mut command);
    drop(listener);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 socket is left out"), "{said}");
    let digest = String::from_utf8(output.stdout).unwrap();
    assert!(
        digest.contains(without["digest"].as_str().unwrap()),
        "{digest}"
    );
}

#[test]
fn a_destination_that_is_refused_or_fails_leaves_no_directory() {
    let world = World::new();
    let registry = Faulty::start();
    let new = world.name("oci", "new");
    let remote = format!("docker://{}/none:1", registry.address());
    for source in [
        world.name("rootfs", "nothing"),
        world.name("tar", "nothing"),
        world.name("oci", "nothing"),
        world.name("docker-archive", "nothing"),
        "store:nothing".to_owned(),
        remote.clone(),
    ] {
        for more in [&[][..], &["--all-platforms"][..]] {
            world.fails(&[&[&*source, &new], more].concat(), 1);
            assert!(!world.path("new").exists(), "{source}");
        }
    }
    for destination in [
        "new",
        "bare/name",
        &world.name("rootfs", "new"),
        &world.name("tar", "new"),
    ] {
        world.fails(&[&remote, destination], 2);
    }
    // A registry that breaks off with the first blob.
    let dir = world.path("image");
    lithify_testkit::Layout::new()
        .gzip_layer(&layer([TarEntry::file("x", "x")]))
        .write(&dir);
    registry.add_layout(&dir, "none", "1");
    registry.rule(
        On::kind(Kind::Blob),
        lithify_testkit::registry::Action::Answer(lithify_testkit::registry::Answer::status(403)),
    );
    world.fails(&[&remote, &new], 1);
    assert_eq!(names(world.tmp.path()), ["image"]);
}
