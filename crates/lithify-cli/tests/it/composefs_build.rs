//! `build -f composefs` and copies to and from `composefs:`: what is in a repository is the image, whatever it came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use lithify::composefs::oci;
use lithify::composefs::repository::{Category, ErofsFormat, Publication, Repository};
use lithify_testkit::{
    Allow, Compression, Layout, Mount, Snapshot, TarEntry, digest, require, run, temp_dir,
};
use lithify_verity::file::{FileAlgorithm, FileDigest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::repositories;
use crate::common::{erofs, image, layer, lithify, lithify_output, stderr};

/// A directory with a repository in it.
struct Place {
    tmp: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { tmp: temp_dir() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    fn output(&self, name: &str) -> String {
        format!("{}:{name}", self.at("repository").display())
    }

    fn source(&self, name: &str) -> String {
        format!("composefs:{}", self.output(name))
    }

    /// Builds into the repository; returns the description of what was made.
    #[track_caller]
    fn build(&self, image: &str, name: &str, options: &[&str]) -> Value {
        let output = self.try_build(image, name, options);
        assert!(output.status.success(), "{}", stderr(&output));
        let description: Value = serde_json::from_slice(&output.stdout).unwrap();
        description["artifacts"][0].clone()
    }

    fn try_build(&self, image: &str, name: &str, options: &[&str]) -> Output {
        let to = self.output(name);
        let always = [
            "-q",
            "build",
            "--no-fsync",
            image,
            "-f",
            "composefs",
            "-o",
            &to,
            "--json",
        ];
        lithify_output(always.iter().chain(options))
    }

    #[track_caller]
    fn refused(&self, image: &str, options: &[&str], status: i32, words: &str) {
        let output = self.try_build(image, "refused", options);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert!(message.contains(words), "{message}");
        // Whatever is there by then, nothing has a name.
        for directory in ["streams", "images"] {
            let named = self.at("repository").join(directory);
            let count = fs::read_dir(&named).map_or(0, Iterator::count);
            assert_eq!(count, 0, "{}", named.display());
        }
    }

    /// The filesystem as a tar: equal for equal filesystems.
    fn tar(&self, source: &str) -> Vec<u8> {
        let mut command = lithify();
        command.args(["-q", "build", source, "-o", "-"]);
        let output = run::output(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut objects = Vec::new();
        for directory in fs::read_dir(self.at("repository/objects")).unwrap() {
            let directory = directory.unwrap().path();
            objects.extend(fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()));
        }
        objects.sort();
        objects
    }
}

/// One of everything that a layer can have.
fn layers() -> [Vec<u8>; 2] {
    let sparse = TarEntry::file("usr/sparse", vec![b'x'; 513])
        .record("GNU.sparse.major", "0")
        .record("GNU.sparse.minor", "1")
        .record("GNU.sparse.size", "1000000")
        .record("GNU.sparse.numblocks", "2")
        .record("GNU.sparse.map", "5000,512,999999,1");
    let short_sparse = TarEntry::file("usr/short", "z")
        .record("GNU.sparse.major", "0")
        .record("GNU.sparse.minor", "1")
        .record("GNU.sparse.size", "40")
        .record("GNU.sparse.numblocks", "1")
        .record("GNU.sparse.map", "30,1");
    let lower = layer([
        TarEntry::directory("usr")
            .mode(0o751)
            .owner(7, 8)
            .mtime(1_000_000, 5),
        TarEntry::directory("usr/lib"),
        TarEntry::symlink("lib", "usr/lib"),
        // A directory nobody described, and a name through a link.
        TarEntry::file("opt/a/b", [b'o'; 100]),
        TarEntry::file("lib/through", [b't'; 65]),
        TarEntry::file("usr/empty", ""),
        TarEntry::file("usr/inline", [b'i'; 64]),
        TarEntry::file("usr/object", [b'j'; 65]),
        TarEntry::file("usr/large", vec![b'l'; 3_000_000]),
        sparse,
        short_sparse,
        TarEntry::hard_link("usr/second", "usr/object"),
        TarEntry::fifo("usr/fifo"),
        TarEntry::char_device("usr/null", 1, 3),
        TarEntry::block_device("usr/disk", 8, 300),
        TarEntry::file("usr/old", "before 1970").mtime(-5, 500_000_000),
        TarEntry::file("usr/owned", "big ids").owner(3_000_000_000, 70_000),
        TarEntry::file("usr/marked", [b'm'; 70])
            .mode(0o4755)
            .xattr("user.note", "a note")
            .xattr(
                "security.capability",
                b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
        TarEntry::directory("run").mtime(3, 0),
        TarEntry::file("run/kept", "kept"),
        TarEntry::file("gone", "gone"),
        TarEntry::directory("d"),
        TarEntry::file("d/lower", "lower"),
    ]);
    let upper = layer([
        TarEntry::whiteout("gone"),
        // What a layer removes is below it, wherever the mark stands.
        TarEntry::file("d/new", [b'n'; 80]),
        TarEntry::opaque("d"),
        TarEntry::file("usr/object", [b'k'; 90]),
    ]);
    [lower, upper]
}

#[test]
fn an_image_is_the_same_from_wherever_it_comes() {
    let place = Place::new();
    let layout = layers()
        .iter()
        .zip([Compression::Gzip, Compression::Zstd])
        .fold(Layout::new().tag("app"), |layout, (tar, how)| {
            layout.layer(tar, how)
        });
    layout.write(&place.at("layout"));
    fs::write(place.at("oci.tar"), layout.oci_archive()).unwrap();
    let gzip = layers()
        .iter()
        .fold(Layout::new(), |layout, tar| layout.gzip_layer(tar));
    fs::write(
        place.at("docker.tar"),
        gzip.docker_archive("example.org/app:1"),
    )
    .unwrap();
    let oci = format!("oci:{}:app", place.at("layout").display());
    let archive = format!("oci-archive:{}", place.at("oci.tar").display());
    let docker = format!("docker-archive:{}", place.at("docker.tar").display());
    let expected = place.tar(&oci);
    fs::write(place.at("tree.tar"), &expected).unwrap();

    let made = place.build(&oci, "oci", &[]);
    let id = made["image_id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(made["name"], "oci");
    assert_eq!(made["options"]["profile"], "faithful");
    let sources = [
        (archive, "archive"),
        (docker, "docker"),
        (format!("tar:{}", place.at("tree.tar").display()), "tree"),
        (place.source("oci"), "again"),
    ];
    for (source, name) in &sources {
        let made = place.build(source, name, &[]);
        assert_eq!(made["image_id"], id.as_str(), "{name}");
    }
    for name in ["oci", "archive", "docker", "tree", "again"] {
        assert!(place.tar(&place.source(name)) == expected, "{name}");
        run::ok(lithify().args(["-q", "verify", &place.source(name)]));
    }
    let paths = crate::common::paths(&place.source("oci"));
    let has = |path: &str| paths.iter().any(|p| p == path);
    assert!(
        has("/d/new") && has("/run/kept") && has("/usr/lib/through"),
        "{paths:?}"
    );
    assert!(!has("/d/lower") && !has("/gone"), "{paths:?}");
    // A copy keeps the manifest and is made an image of as well.
    let copied = place.source("example.org/app:1");
    run::ok(lithify().args(["-q", "copy", &oci, &copied]));
    let digest = |name: &str| {
        let text = run::text(lithify().args(["-q", "inspect", "--json", name]));
        serde_json::from_str::<Value>(&text).unwrap()["manifest_digest"].clone()
    };
    assert_eq!(digest(&copied), digest(&oci));
    let streams: Vec<_> = fs::read_dir(place.at("repository/images"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(streams.len(), 2, "one image and `refs`: {streams:?}");
    let back = format!("oci:{}:back", place.at("back").display());
    run::ok(lithify().args(["-q", "copy", &copied, &back]));
    assert!(place.tar(&back) == expected);
    // A layout whose layers are not compressed comes back with its manifest.
    let plain = layers()
        .iter()
        .fold(Layout::new().tag("plain"), |layout, tar| {
            layout.layer(tar, Compression::None)
        });
    plain.write(&place.at("plain"));
    let plain = format!("oci:{}:plain", place.at("plain").display());
    place.build(&plain, "plain", &[]);
    let back = format!("oci:{}:plain", place.at("back").display());
    run::ok(lithify().args(["-q", "copy", &place.source("plain"), &back]));
    assert_eq!(digest(&back), digest(&plain));
}

#[test]
fn the_mounted_image_is_the_flat_one() {
    if !(require::root() && require::kernel_erofs() && require::kernel_filesystem("overlay")) {
        return;
    }
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    place.build(&source, "app", &[]);
    let flat = erofs(&source, place.tmp.path());
    let point = place.at("mnt");
    fs::create_dir(&point).unwrap();
    let flat = Mount::erofs(&flat);
    run::ok(
        lithify()
            .args(["-q", "mount", &place.source("app")])
            .arg(&point),
    );
    let seen = std::panic::catch_unwind(|| Snapshot::of(&point));
    run::ok(lithify().arg("umount").arg(&point));
    let expected = Snapshot::of(flat.path());
    expected.assert_same(&seen.unwrap(), &Allow::nothing());
}

#[test]
fn an_unchanged_image_is_not_read_again() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    let first = place.build(&source, "a", &[]);
    assert!(first["statistics"]["objects_new"].as_u64().unwrap() > 5);
    let blobs = place.at("image/blobs/sha256");
    // Of layers nothing is left but their length.
    for blob in fs::read_dir(blobs).unwrap().map(|e| e.unwrap().path()) {
        let bytes = fs::read(&blob).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            fs::write(&blob, vec![0; bytes.len()]).unwrap();
        }
    }
    let again = place.build(&source, "b", &[]);
    assert_eq!(again["image_id"], first["image_id"]);
    assert_eq!(again["statistics"]["objects_new"], 0);
    assert!(place.tar(&place.source("a")) == place.tar(&place.source("b")));
    // By other rules an image is made of the streams that are there.
    let other = place.build(&source, "c", &["--profile", "cfsctl"]);
    assert_ne!(other["image_id"], first["image_id"]);
}

#[test]
fn what_was_damaged_is_whole_after_another_import() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    place.build(&source, "a", &[]);
    let expected = place.tar(&source);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    for object in place.objects() {
        let good = fs::read(&object).unwrap();
        let mut bad = good.clone();
        bad[0] ^= 0x40;
        fs::write(&object, &bad).unwrap();
        let file = fs::File::options().write(true).open(&object).unwrap();
        // As a clock says it that is finer than a tick.
        file.set_modified(later).unwrap();
        drop(file);
        place.build(&source, "a", &[]);
        assert!(fs::read(&object).unwrap() == good, "{}", object.display());
        fs::remove_file(&object).unwrap();
        place.build(&source, "a", &[]);
        assert!(fs::read(&object).unwrap() == good, "{}", object.display());
    }
    assert!(place.tar(&place.source("a")) == expected);
}

/// Publishes the stream of a layer under the diff_id of another one, as part of the whole image that has that one or by itself.
fn poison(place: &Place, evil: &[u8], honest: &[u8], is_whole: bool) {
    let path = place.at("repository");
    let made = place.build(
        &image(&place.at("evil"), [evil.to_vec()]),
        "evil",
        &["--profile", "cfsctl"],
    );
    let repository = repositories::repository(&path, FileAlgorithm::Sha256);
    let stream = oci::layer_stream(&digest(evil).parse().unwrap());
    let stream = repository.entry(Category::Streams, &stream).unwrap();
    let stream = stream.unwrap();
    let mut publication = Publication::new();
    if is_whole {
        let id = made["image_id"].as_str().unwrap();
        let images = [(oci::image_name(ErofsFormat::V1).to_owned(), hex(id))];
        store(
            place,
            &repository,
            (honest, stream),
            images.into(),
            &mut publication,
        );
    }
    publication
        .stream(oci::layer_stream(&digest(honest).parse().unwrap()), stream)
        .unwrap();
    repository.publish(&publication).unwrap();
}

fn hex(id: &str) -> FileDigest {
    FileDigest::from_hex(FileAlgorithm::Sha256, id).unwrap()
}

/// Stores the image in the layout with these composefs images, its only layer being that stream.
fn store(
    place: &Place,
    repository: &Repository,
    (layer, stream): (&[u8], FileDigest),
    images: BTreeMap<String, FileDigest>,
    publication: &mut Publication,
) {
    let index = fs::read(place.at("image/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let blob = |name: &Value| {
        let name = &name.as_str().unwrap()[7..];
        fs::read(place.at("image/blobs/sha256").join(name)).unwrap()
    };
    let manifest = blob(&index["manifests"][0]["digest"]);
    let parsed: Value = serde_json::from_slice(&manifest).unwrap();
    let new = oci::NewImage {
        digest: digest(&manifest).parse().unwrap(),
        manifest: &manifest,
        config: &blob(&parsed["config"]["digest"]),
        layers: &BTreeMap::from([(digest(layer).parse().unwrap(), stream)]),
        images: &images,
        kept: &[],
    };
    let stored = oci::store_image(repository, &new).unwrap();
    stored.publish(publication).unwrap();
    stored.tag(publication, "a").unwrap();
}

/// Whoever filled a repository may say anything of the image that is mounted: nothing but the layers tells.
#[test]
fn an_image_that_its_layers_do_not_make_is_damage() {
    let place = Place::new();
    let honest = layer([
        TarEntry::directory("usr").owner(1, 2),
        TarEntry::file("usr/bin/tool", [b'h'; 200]).xattr("user.note", "a note"),
    ]);
    let evil = layer([TarEntry::file("usr/bin/tool", [b'e'; 200])]);
    let source = image(place.tmp.path(), [honest.clone()]);
    let evil = image(&place.at("evil"), [evil]);
    let evil = place.build(&evil, "evil", &["--profile", "cfsctl"])["image_id"].clone();
    let by_cfsctl = place.build(&source, "a", &["--profile", "cfsctl"])["image_id"].clone();
    run::ok(lithify().args(["-q", "verify", &place.source("a")]));
    let faithful = place.build(&source, "a", &[])["image_id"].clone();
    run::ok(lithify().args(["-q", "verify", &place.source("a")]));
    let repository = repositories::repository(&place.at("repository"), FileAlgorithm::Sha256);
    let stream = oci::layer_stream(&digest(&honest).parse().unwrap());
    let stream = repository.entry(Category::Streams, &stream).unwrap();
    let plain = oci::image_name(ErofsFormat::V1).to_owned();
    let by = |profile| oci::profile_name(ErofsFormat::V1, profile);
    for (id, names, is_right) in [
        (&evil, vec![plain.clone()], false),
        (&evil, vec![plain.clone(), by("faithful")], false),
        (&evil, vec![plain.clone(), by("cfsctl")], false),
        (&faithful, vec![plain.clone(), by("cfsctl")], false),
        (&by_cfsctl, vec![plain.clone(), by("faithful")], false),
        // Who does not say by which rules may have followed any.
        (&faithful, vec![plain.clone()], true),
        (&by_cfsctl, vec![plain.clone()], true),
    ] {
        let images = names
            .iter()
            .map(|name| (name.clone(), hex(id.as_str().unwrap())));
        let mut publication = Publication::new();
        let layer = (&honest[..], stream.unwrap());
        store(
            &place,
            &repository,
            layer,
            images.collect(),
            &mut publication,
        );
        repository.publish(&publication).unwrap();
        let output = lithify_output(["-q", "verify", &place.source("a")]);
        let message = stderr(&output);
        match is_right {
            true => assert!(output.status.success(), "{names:?}: {message}"),
            false => {
                assert_eq!(output.status.code(), Some(3), "{names:?}: {message}");
                assert!(message.contains(id.as_str().unwrap()), "{message}");
            }
        }
    }
}

/// The tampered blob of a layer whose length and name stay.
fn tamper(layout: &Path) {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let largest = blobs
        .map(|e| e.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(largest, bytes).unwrap();
}

#[test]
fn a_layer_that_is_not_what_its_name_says_gets_no_name() {
    // Bytes of the blob.
    let place = Place::new();
    let plain = layers().iter().fold(Layout::new(), |layout, tar| {
        layout.layer(tar, Compression::None)
    });
    plain.write(&place.at("flipped"));
    tamper(&place.at("flipped"));
    let flipped = format!("oci:{}", place.at("flipped").display());
    place.refused(&flipped, &[], 3, "not what");
    let copied = lithify_output(["-q", "copy", &flipped, &place.source("x")]);
    assert_eq!(copied.status.code(), Some(3), "{}", stderr(&copied));

    // A configuration that says another layer's diff_id.
    let place = Place::new();
    let honest = layer([TarEntry::file("usr/bin/tool", [b'h'; 200])]);
    let evil = layer([TarEntry::file("usr/bin/tool", [b'e'; 200])]);
    let blob = lithify_testkit::Blob {
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        bytes: evil,
    };
    let lie = Layout::new().blob(blob, &lithify_testkit::digest(&honest));
    lie.write(&place.at("lie"));
    let lie = format!("oci:{}", place.at("lie").display());
    place.refused(&lie, &[], 3, "diff_id");
    let copied = lithify_output(["-q", "copy", &lie, &place.source("x")]);
    assert_eq!(copied.status.code(), Some(3), "{}", stderr(&copied));
    // Nor does it get into the honest image.
    let source = image(place.tmp.path(), [honest]);
    place.build(&source, "honest", &[]);
    let tool = run::text(lithify().args(["-q", "cat", &place.source("honest"), "/usr/bin/tool"]));
    assert_eq!(tool, "h".repeat(200));

    // Nor by way of others, who compare nothing: `cfsctl` 0.9.4 publishes such a layer under the diff_id that is said.
    for (name, is_copied, is_whole) in [
        ("build", false, false),
        ("copy", true, false),
        // All of an image is there, by their account.
        ("again", true, true),
    ] {
        let place = Place::new();
        let evil = layer([TarEntry::file("usr/bin/tool", [b'e'; 200])]);
        let honest = layer([TarEntry::file("usr/bin/tool", [b'h'; 200])]);
        let source = image(place.tmp.path(), [honest.clone()]);
        poison(&place, &evil, &honest, is_whole);
        match is_copied {
            true => {
                run::ok(lithify().args(["-q", "copy", &source, &place.source("honest")]));
            }
            false => drop(place.build(&source, "honest", &[])),
        }
        let honest = place.source("honest");
        let tool = run::text(lithify().args(["-q", "cat", &honest, "/usr/bin/tool"]));
        assert_eq!(tool, "h".repeat(200), "{name}");
        run::ok(lithify().args(["-q", "verify", &honest]));
        let repository = place.at("repository");
        let check = ["composefs", "fsck", "--contents"];
        run::ok(lithify().args(check).arg(&repository));
        // The image is the same as where nobody lied.
        let clean = Place::new();
        let made = clean.build(&source, "honest", &[]);
        let again = place.build(&source, "honest", &[]);
        assert_eq!(made["image_id"], again["image_id"], "{name}");
    }

    // A tar that is cut between two members, under its right digests.
    let place = Place::new();
    let tar = layer([
        TarEntry::file("a", [b'a'; 512]),
        TarEntry::file("b", [b'b'; 512]),
    ]);
    let cut = tar[..1024 + 512].to_vec();
    let source = image(place.tmp.path(), [cut]);
    place.refused(&source, &[], 3, "ends");
}

#[test]
fn what_no_image_can_hold_is_refused_by_name() {
    for (entry, words) in [
        (TarEntry::file("x".repeat(300), "long"), "255"),
        (TarEntry::file("x".repeat(5000), "long"), "path_bytes"),
        (TarEntry::symlink("link", "t".repeat(4097)), "4096"),
        (
            TarEntry::file("file", "x").xattr("user.large", vec![b'v'; 70_000]),
            "user.large",
        ),
        (
            TarEntry::file("file", "x").owner(5_000_000_000, 0),
            "5000000000",
        ),
        (
            TarEntry::file("file", "x").record("mtime", "5.12345678\u{e9}"),
            "mtime",
        ),
    ] {
        let place = Place::new();
        let source = image(place.tmp.path(), [layer([entry])]);
        let output = place.try_build(&source, "x", &[]);
        let message = stderr(&output);
        assert!(!output.status.success(), "{words}");
        assert!(message.contains(words), "{words}: {message}");
        assert!(!place.at("repository/images").exists(), "{words}");
        assert!(!place.at("repository/streams").exists(), "{words}");
    }
}

#[test]
fn the_profile_of_cfsctl_is_what_cfsctl_makes() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    let made = place.build(&source, "app", &["--profile", "cfsctl"]);
    assert_eq!(made["options"]["profile"], "cfsctl");
    let tree = |name: &str, path: &str| {
        let mut command = lithify();
        let mount = format!("composefs:{}:{name}", place.at("repository").display());
        command.args(["-q", "composefs", "dump", &mount]);
        let text = run::text(&mut command);
        let lines = text
            .lines()
            .filter(|line| line.split(' ').next() == Some(path));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let root = tree("app", "/");
    // `/usr` is of 7:8, mode 751, at 1000000.000000005.
    assert!(root[0].starts_with("/ "), "{root:?}");
    assert!(
        root[0].contains(" 40751 ") && root[0].contains(" 7 8 ") && root[0].contains(" 1000000.5 "),
        "{root:?}"
    );
    assert!(tree("app", "/run/kept").is_empty());
    assert!(
        tree("app", "/run")[0].contains(" 1000000.5 "),
        "{:?}",
        tree("app", "/run")
    );
    let marked = &tree("app", "/usr/marked")[0];
    assert!(
        marked.contains("security.capability=") && !marked.contains("user.note"),
        "{marked}"
    );
    // An image without `/usr` has nothing that cfsctl could take.
    let bare = layer([TarEntry::file("hello", [b'x'; 100])]);
    let source = image(&place.at("bare"), [bare]);
    let output = place.try_build(&source, "bare", &["--profile", "cfsctl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("`/usr`"), "{}", stderr(&output));
    place.build(&source, "bare", &[]);
}

#[test]
fn repositories_of_other_kinds_get_images_of_theirs() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    let repository = |name: &str, options: &[&str]| {
        let path = place.at(name);
        run::ok(
            lithify()
                .args(["-q", "composefs", "init"])
                .arg(&path)
                .args(options),
        );
        let to = format!("{}:app", path.display());
        let mut command = lithify();
        command.args([
            "-q",
            "build",
            "--no-fsync",
            &source,
            "-f",
            "composefs",
            "-o",
            &to,
            "--json",
        ]);
        let made: Value = serde_json::from_str(&run::text(&mut command)).unwrap();
        run::ok(lithify().args(["-q", "verify", &format!("composefs:{to}")]));
        made["artifacts"][0]["image_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let v1 = repository("v1", &[]);
    let v0 = repository("v0", &["--format-version", "0"]);
    let sha512 = repository("sha512", &["--algorithm", "sha512"]);
    assert_eq!((v1.len(), v0.len(), sha512.len()), (64, 64, 128));
    assert_ne!(v1, v0);
}

#[test]
fn names_stay_in_the_repository() {
    let place = Place::new();
    let source = image(
        place.tmp.path(),
        [layer([TarEntry::file("a", [b'a'; 100])])],
    );
    for name in ["../../../zz", "a b", "@sha256:00"] {
        let output = place.try_build(&source, name, &[]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
    }
    // A name without a repository before it.
    for to in [":a", "composefs::a"] {
        let output = lithify_output(["-q", "build", &source, "-f", "composefs", "-o", to]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(!Path::new(to).exists());
    }
    let index = place.try_build(&source, "@0", &[]);
    assert_eq!(index.status.code(), Some(2), "{}", stderr(&index));
    place.build(&source, "example.org/a/b:1", &[]);
    let names: Vec<_> = fs::read_dir(place.at("repository/streams/refs/oci"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["example.org%2Fa%2Fb:1"]);
    // The transport may be said.
    let source = image(place.tmp.path(), layers());
    let to = format!("composefs:{}", place.output("said"));
    run::ok(lithify().args(["-q", "build", "--no-fsync", &source, "-o", &to]));
    assert_eq!(place.tar(&place.source("said")), place.tar(&source));
    // Which of several is meant has to be said, what is not there is told.
    let several = lithify_output([
        "-q",
        "ls",
        &format!("composefs:{}", place.at("repository").display()),
    ]);
    assert_eq!(several.status.code(), Some(2));
    assert!(
        stderr(&several).contains("example.org/a/b:1, said"),
        "{}",
        stderr(&several)
    );
    let missing = lithify_output(["-q", "ls", &place.source("missing")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).contains("no image `missing`"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn docker_s_own_media_types_are_kept() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    let dir = place.at("image");
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let path = dir.join("blobs/sha256").join(&digest[7..]);
    let manifest = String::from_utf8(fs::read(path).unwrap()).unwrap();
    let docker = manifest
        .replace(
            "application/vnd.oci.image.manifest.v1+json",
            DOCKER_MANIFEST,
        )
        .replace(
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        )
        .replace(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        );
    let digest = lithify_testkit::digest(docker.as_bytes());
    fs::write(dir.join("blobs/sha256").join(&digest[7..]), &docker).unwrap();
    let entry = json!({ "mediaType": DOCKER_MANIFEST, "digest": digest, "size": docker.len() });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    let source = source.rsplit_once(':').unwrap().0;
    place.build(source, "docker", &[]);
    assert!(place.tar(&place.source("docker")) == place.tar(source));
}

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn what_a_repository_has_no_room_for_is_refused() {
    let place = Place::new();
    let source = image(place.tmp.path(), layers());
    let all = lithify_output(["-q", "copy", "--all-platforms", &source, &place.source("x")]);
    assert_eq!(all.status.code(), Some(2), "{}", stderr(&all));
    for options in [&["--verity"][..], &["--compress", "zstd"], &["--sparse"]] {
        let output = place.try_build(&source, "x", options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
    let profile = lithify_output([
        "-q",
        "build",
        &source,
        "-o",
        "x.erofs",
        "--profile",
        "cfsctl",
    ]);
    assert_eq!(profile.status.code(), Some(2), "{}", stderr(&profile));
    fs::create_dir(place.at("full")).unwrap();
    fs::write(place.at("full/file"), "x").unwrap();
    let to = format!("{}:x", place.at("full").display());
    let full = lithify_output(["-q", "build", &source, "-f", "composefs", "-o", &to]);
    assert_eq!(full.status.code(), Some(1), "{}", stderr(&full));
    assert_eq!(fs::read_dir(place.at("full")).unwrap().count(), 1);
}

/// Images that `cfsctl` 0.9.4 takes, which wants a directory for each name and no sparse files.
fn images_for_cfsctl() -> [Vec<Vec<u8>>; 3] {
    let base = layer([
        TarEntry::directory("usr")
            .mode(0o751)
            .owner(7, 8)
            .mtime(1_000_000, 5),
        TarEntry::directory("usr/bin").mtime(1_000_001, 0),
        TarEntry::file("usr/bin/tool", [b't'; 5000]).mode(0o4755),
        TarEntry::hard_link("usr/bin/again", "usr/bin/tool"),
        TarEntry::file("usr/bin/short", "short"),
        TarEntry::file("usr/bin/able", [b'c'; 70])
            .xattr("user.note", "a note")
            .xattr(
                "security.capability",
                b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ),
        TarEntry::symlink("usr/bin/link", "tool"),
        TarEntry::directory("run").mtime(3, 0),
        TarEntry::file("run/kept", "kept"),
        TarEntry::char_device("usr/null", 1, 3),
        TarEntry::fifo("usr/fifo"),
    ]);
    let names = (0..300).map(|n| {
        let name = format!("usr/{}{n:03}", "n".repeat(252));
        TarEntry::file(name, format!("{n} ").repeat(n)).mtime(1_000_000, n as u32)
    });
    let many = layer([TarEntry::directory("usr")].into_iter().chain(names));
    let upper = layer([
        TarEntry::whiteout("usr/bin/short"),
        TarEntry::directory("usr").mode(0o700).mtime(2_000_000, 0),
        TarEntry::file("usr/bin", "a file where a directory was"),
    ]);
    [vec![base.clone()], vec![many], vec![base, upper]]
}

#[test]
fn ids_are_those_of_cfsctl() {
    let Some(cfsctl) = require::cfsctl() else {
        return;
    };
    for (number, layers) in images_for_cfsctl().into_iter().enumerate() {
        for algorithm in ["sha256", "sha512"] {
            let place = Place::new();
            let source = image(place.tmp.path(), layers.clone());
            run::ok(
                lithify()
                    .args(["-q", "composefs", "init", "--algorithm", algorithm])
                    .arg(place.at("repository")),
            );
            let made = place.build(&source, "app", &["--profile", "cfsctl"]);
            let theirs = place.at("theirs");
            let cfsctl = |repository: &Path, arguments: &[&str]| {
                let mut command = std::process::Command::new(&cfsctl);
                command.arg("--repo").arg(repository).args(arguments);
                run::text(&mut command)
            };
            let init = format!("fsverity-{algorithm}-12");
            cfsctl(&theirs, &["init", "--insecure", "--algorithm", &init]);
            cfsctl(&theirs, &["oci", "pull", &source, "app"]);
            let images: Vec<String> = fs::read_dir(theirs.join("images"))
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != "refs")
                .collect();
            let id = made["image_id"].as_str().unwrap();
            assert_eq!(images, [id], "image {number}, {algorithm}");
            // Each takes what the other wrote.
            let ours = place.at("repository");
            cfsctl(&ours, &["--insecure", "fsck"]);
            cfsctl(&ours, &["--insecure", "oci", "fsck"]);
            let named = cfsctl(&ours, &["--insecure", "oci", "images"]);
            assert!(named.contains("app"), "{named}");
            let of_theirs = format!("composefs:{}:app", theirs.display());
            run::ok(lithify().args(["-q", "verify", &of_theirs]));
            assert!(place.tar(&of_theirs) == place.tar(&source));
            let again = place.build(&of_theirs, "again", &["--profile", "cfsctl"]);
            assert_eq!(again["image_id"], id);
        }
    }
}

#[test]
fn files_of_a_directory_share_their_blocks_where_the_filesystem_can() {
    if !require::root() || !require::tool("mkfs.xfs") || !require::kernel_filesystem("xfs") {
        return;
    }
    let tmp = temp_dir();
    let disk = tmp.path().join("disk");
    let file = fs::File::create(&disk).unwrap();
    file.set_len(400 << 20).unwrap();
    run::ok(run::command("mkfs.xfs").arg("-q").arg(&disk));
    let mounted = Mount::writable("xfs", &disk);
    let at = |name: &str| mounted.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    let large: Vec<u8> = (0..2_000_001_u32).map(|n| (n % 251) as u8).collect();
    fs::write(at("tree/large"), &large).unwrap();
    fs::write(at("tree/short"), "short").unwrap();
    let sparse = fs::File::create(at("tree/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 5000], 40 << 20).unwrap();
    sparse.set_len(60 << 20).unwrap();
    let source = format!("rootfs:{}", at("tree").display());
    let to = format!("{}:tree", at("repository").display());
    let build = || {
        let mut command = lithify();
        command.args([
            "-q",
            "build",
            &source,
            "-f",
            "composefs",
            "-o",
            &to,
            "--json",
        ]);
        let made: Value = serde_json::from_str(&run::text(&mut command)).unwrap();
        made["artifacts"][0]["statistics"].clone()
    };
    let made = build();
    assert_eq!(
        made["objects_shared_bytes"],
        2_000_001 + (60 << 20),
        "{made}"
    );
    let image = format!("composefs:{to}");
    let read = |path: &str| {
        let output = lithify_output(["-q", "cat", &image, path]);
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    };
    assert!(read("/large") == large);
    assert!(read("/sparse")[40 << 20..][..5000] == [7; 5000]);
    run::ok(lithify().args(["-q", "verify", &image]));
    // What is written to the directory afterwards stays there.
    fs::write(at("tree/large"), b"other").unwrap();
    assert!(read("/large") == large);
    // The second time there is nothing to share.
    fs::write(at("tree/large"), &large).unwrap();
    let again = build();
    assert_eq!(again["objects_shared_bytes"], Value::Null, "{again}");
    // But for the image, in which the file has another time.
    assert_eq!(again["objects_new"], 1, "{again}");
}

#[test]
fn a_plan_knows_what_is_in_the_repository() {
    let place = Place::new();
    let [lower, upper] = layers();
    let first = image(place.tmp.path(), [lower.clone()]);
    let states = |source: &str| {
        let to = place.output("app");
        let mut command = lithify();
        command.args([
            "-q",
            "build",
            source,
            "-f",
            "composefs",
            "-o",
            &to,
            "--dry-run",
            "--json",
        ]);
        let plan: Value = serde_json::from_str(&run::text(&mut command)).unwrap();
        let parts = plan["parts"].as_array().unwrap().iter();
        let parts = parts.map(|p| {
            format!(
                "{} {}",
                p["kind"].as_str().unwrap(),
                p["state"].as_str().unwrap()
            )
        });
        parts.collect::<Vec<_>>()
    };
    assert_eq!(states(&first), ["layer read", "filesystem make"]);
    assert!(!place.at("repository").exists());
    place.build(&first, "app", &[]);
    let both = image(&place.at("both"), [lower, upper]);
    assert_eq!(
        states(&both),
        ["layer there", "layer read", "filesystem make"]
    );
}
