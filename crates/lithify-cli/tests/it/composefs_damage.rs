//! Repositories that are damaged, and images that are: whatever is wrong gets no name, and no repository is believed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lithify::composefs::oci;
use lithify::composefs::repository::{Category, ErofsFormat, Publication, Repository};
use lithify_testkit::{Compression, Layout, TarEntry, digest, run, temp_dir};
use lithify_verity::file::{FileAlgorithm, FileDigest};
use serde_json::Value;

use crate::common::places::{Place, layers};
use crate::common::repositories::{self, object_of};
use crate::common::{image, layer, lithify, lithify_output, stderr};

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

/// A file of a tree, or of an image of containers, whose object is of another size than the other ones.
fn with_a_large_file(dir: &Path) -> [String; 2] {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("usr")).unwrap();
    fs::write(tree.join("usr/big"), vec![5; 70_001]).unwrap();
    fs::write(tree.join("usr/other"), vec![6; 300]).unwrap();
    let layout = dir.join("source");
    let layer = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/big", vec![5; 70_001]),
        TarEntry::file("usr/other", vec![6; 300]),
    ]);
    Layout::new().gzip_layer(&layer).tag("app").write(&layout);
    [
        format!("rootfs:{}", tree.display()),
        format!("oci:{}:app", layout.display()),
    ]
}

#[test]
fn whatever_reads_a_damaged_object_names_it_and_says_what_to_do() {
    let tmp = temp_dir();
    let repository = tmp.path().join("repository");
    for source in with_a_large_file(tmp.path()) {
        let place = format!("composefs:{}:app", repository.display());
        let build =
            || run::ok(lithify().args(["-q", "build", &source, "-f", "composefs", "-o", &place]));
        build();
        let object = object_of(&repository, FileAlgorithm::Sha256, &[5; 70_001]);
        let bytes = fs::read(&object).unwrap();
        let name = object
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
            + object.file_name().unwrap().to_str().unwrap();
        let out = tmp.path().join("out");
        let copy = format!("oci:{}:x", out.display());
        for fault in ["damaged", "short", "missing"] {
            // What is written in the moment in which it was published has no later time.
            std::thread::sleep(std::time::Duration::from_millis(50));
            match fault {
                "damaged" => fs::write(&object, [&bytes[..70_000], b"x"].concat()).unwrap(),
                "short" => fs::write(&object, &bytes[..5000]).unwrap(),
                _ => fs::remove_file(&object).unwrap(),
            }
            for args in [
                &["cat", &place, "/usr/big"][..],
                &["copy", &place, &copy],
                &["build", &place, "-f", "tar", "-o", "-"],
                &["verify", &place],
            ] {
                let output = lithify_output([&["-q"], args].concat());
                // `verify` lists the files.
                let said = match args[0] {
                    "verify" => {
                        String::from_utf8_lossy(&output.stdout).replace('/', "") + &stderr(&output)
                    }
                    _ => stderr(&output),
                };
                assert_eq!(output.status.code(), Some(3), "{fault} {args:?}: {said}");
                let is_named_once = said.matches(&name).count() == 1;
                assert!(
                    is_named_once || args[0] == "verify" && said.contains(&name),
                    "{fault} {args:?}: {said}"
                );
                assert!(said.contains("once more"), "{fault} {args:?}: {said}");
            }
            build();
            assert!(fs::read(&object).unwrap() == bytes, "{fault}");
            run::ok(lithify().args(["-q", "cat", &place, "/usr/big"]));
        }
    }
}

#[test]
fn data_that_an_image_by_itself_does_not_have_is_not_read_as_zeros() {
    let tmp = temp_dir();
    let repository = tmp.path().join("repository");
    let [source, _] = with_a_large_file(tmp.path());
    fs::write(tmp.path().join("tree/usr/short"), "short").unwrap();
    fs::write(tmp.path().join("tree/usr/empty"), "").unwrap();
    let place = format!("composefs:{}:app", repository.display());
    run::ok(lithify().args(["-q", "build", &source, "-f", "composefs", "-o", &place]));
    let listed = run::text(lithify().args(["ls", &place]));
    for version in ["0", "1"] {
        let image = tmp.path().join("x.cfs");
        let image = image.to_str().unwrap();
        let dump = tmp.path().join("x.dump");
        fs::write(
            &dump,
            run::ok(lithify().args(["composefs", "dump", &place])),
        )
        .unwrap();
        let create = ["composefs", "create", "--format-version", version];
        run::ok(lithify().args(create).arg(&dump).arg(image));
        // Without the entries by which overlayfs finds objects.
        assert_eq!(run::text(lithify().args(["ls", image])), listed);
        assert_eq!(
            run::text(lithify().args(["cat", image, "/usr/short"])),
            "short"
        );
        assert_eq!(run::text(lithify().args(["cat", image, "/usr/empty"])), "");
        let target = tmp.path().join("target");
        fs::create_dir_all(&target).unwrap();
        for args in [
            &["cat", image, "/usr/big"][..],
            &["mount", image, target.to_str().unwrap()],
        ] {
            let output = lithify_output(args.iter().copied());
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
            assert!(output.stdout.is_empty(), "{args:?}");
            assert!(said.contains("as composefs:REPO:NAME"), "{args:?}: {said}");
        }
        run::ok(lithify().args(["-q", "verify", image]));
    }
}
