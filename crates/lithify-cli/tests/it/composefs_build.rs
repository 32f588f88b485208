//! `build -f composefs` and copies to and from `composefs:`: what is in a repository is the image, whatever it came from.

use std::fs;
use std::path::Path;

use lithify_testkit::{
    Allow, Compression, Layout, Mount, Snapshot, TarEntry, require, run, temp_dir,
};
use serde_json::{Value, json};

use crate::common::places::{Place, build, layers};
use crate::common::{erofs, image, layer, lithify, lithify_output, stderr};

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
        let made = build(&source, &to, &[]);
        run::ok(lithify().args(["-q", "verify", &format!("composefs:{to}")]));
        made["image_id"].as_str().unwrap().to_owned()
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
        stderr(&missing).contains("no name `missing`: there is `example.org/a/b:1`, `said`"),
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

#[test]
fn files_of_a_directory_share_their_blocks_where_the_filesystem_can() {
    let tmp = temp_dir();
    let Some(mounted) = Mount::reflinking(tmp.path()) else {
        return;
    };
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
    let build = || build(&source, &to, &[])["statistics"].clone();
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
        let plan = place.try_build(source, "app", &["--dry-run"]);
        let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
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
