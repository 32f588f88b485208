//! Images by name, what keeps them, and what is wrong with them.

use std::fs;
use std::path::Path;

use crate::common::{
    Image, Random, assert_clean, flip, image, names, open, store_index, store_parts,
};
use lithify_digest::{Algorithm, Digest};
use lithify_oci::Platform;
use lithify_oci::manifest::Descriptor;
use lithify_store::{
    Error, Facts, FsckOptions, GcOptions, INDEX_ANNOTATION, ImageRecord, Problem, Store, Tagged,
};
use lithify_testkit::temp_dir;

const NAME: &str = "docker.io/library/alpine:3.20";

/// Stores an image and names it.
fn pull(store: &Store, name: &str, image: &Image, index: Option<&Digest>) -> Vec<Tagged> {
    let lease = store.lease().unwrap();
    store_parts(&lease, image);
    store.tag(name, &image.manifest, index).unwrap()
}

fn found(store: &Store, name: &str) -> Vec<Digest> {
    let found = store.find(name).unwrap();
    found.iter().map(|t| t.descriptor.digest).collect()
}

fn index_json(store: &Store) -> serde_json::Value {
    serde_json::from_slice(&fs::read(store.path().join("index.json")).unwrap()).unwrap()
}

fn whole(store: &Store, image: &Image) -> bool {
    let mut parts = image.blobs.iter();
    parts.all(|(digest, data)| store.has_blob(digest, data.len() as u64).unwrap())
}

#[test]
fn images_have_names() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (one, two) = (image("linux/amd64", 1), image("linux/amd64", 2));
    assert!(store.find(NAME).unwrap().is_empty());
    assert!(pull(&store, NAME, &one, None).is_empty());
    assert_eq!(found(&store, NAME), [one.manifest.digest]);
    let tagged = store.tagged().unwrap();
    assert_eq!(tagged.len(), 1);
    assert_eq!(
        (tagged[0].name.as_str(), tagged[0].ref_name()),
        (NAME, Some(NAME))
    );
    assert_eq!(tagged[0].descriptor.platform, one.manifest.platform);
    // Once more changes nothing.
    let before = fs::read(tmp.path().join("index.json")).unwrap();
    assert!(pull(&store, NAME, &one, None).is_empty());
    assert_eq!(fs::read(tmp.path().join("index.json")).unwrap(), before);
    // The name moves, and says from where.
    let replaced = pull(&store, NAME, &two, None);
    assert_eq!(replaced.len(), 1);
    assert_eq!(replaced[0].descriptor.digest, one.manifest.digest);
    assert_eq!(found(&store, NAME), [two.manifest.digest]);
    // A second name.
    store.tag("other", &two.manifest, None).unwrap();
    assert_eq!(found(&store, "other"), [two.manifest.digest]);
    assert_eq!(store.tagged().unwrap().len(), 2);
    assert_eq!(store.untag(NAME, None).unwrap().len(), 1);
    assert!(store.untag(NAME, None).unwrap().is_empty());
    assert!(store.find(NAME).unwrap().is_empty());
    assert_eq!(found(&store, "other"), [two.manifest.digest]);
    for name in ["", "a\nb", &"x".repeat(4097)] {
        let error = store.tag(name, &two.manifest, None).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error}");
    }
    assert_clean(&store);
}

#[test]
fn only_whole_images_get_names() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let image = image("linux/amd64", 1);
    let missing = |expected: &Digest| match store.tag(NAME, &image.manifest, None) {
        Err(Error::MissingBlob { image, digest, .. }) => {
            assert_eq!((image.as_str(), *digest), (NAME, *expected));
        }
        other => panic!("{other:?}"),
    };
    let lease = store.lease().unwrap();
    let (manifest, data) = image.blobs.last().unwrap();
    missing(manifest);
    lease.put(manifest, data).unwrap();
    // Its config first, then its layers.
    let (layers, config) = (&image.blobs[..3], &image.blobs[3]);
    missing(&config.0);
    lease.put(&config.0, &config.1).unwrap();
    for (digest, data) in layers {
        missing(digest);
        lease.put(digest, data).unwrap();
    }
    store.tag(NAME, &image.manifest, None).unwrap();
    assert_eq!(names(&tmp.path().join("partial")), [""; 0]);
}

#[test]
fn damaged_manifests_are_not_missing_and_get_no_names() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let image = image("linux/amd64", 1);
    pull(&store, NAME, &image, None);
    let (digest, data) = image.blobs.last().unwrap();
    let path = store.blob_path(digest);
    let mut rotten = data.clone();
    rotten[0] ^= 1;
    for bytes in [&rotten[..], &data[..data.len() - 1], &[]] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let tagged = store.tag("other", &image.manifest, None);
        let kept = store.add_referrers(&[(*digest, image.manifest.clone())]);
        for error in [tagged.unwrap_err(), kept.unwrap_err()] {
            assert!(
                matches!(&error, Error::Manifest { digest: of, .. } if **of == *digest),
                "{error}"
            );
        }
        assert!(store.find("other").unwrap().is_empty());
    }
    // Putting it again mends it.
    store.lease().unwrap().put(digest, data).unwrap();
    store.tag("other", &image.manifest, None).unwrap();
}

#[test]
fn platforms_of_one_name() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let host = Platform::host().to_string();
    let other = match host.as_str() {
        "linux/amd64" => "linux/arm64/v8",
        _ => "linux/amd64",
    };
    let platforms = ["windows(10.0.20348+win32k)/amd64", other, &host];
    let images = platforms.map(|p| image(p, 1));
    let lease = store.lease().unwrap();
    let listed = images.iter().map(|i| i.manifest.clone());
    let index = store_index(&lease, listed.collect());
    for image in &images {
        assert!(pull(&store, NAME, image, Some(&index.digest)).is_empty());
    }
    let ref_names = || {
        let all = store.find(NAME).unwrap();
        all.iter()
            .map(|t| {
                assert_eq!(t.name, NAME);
                assert_eq!(t.index, Some(index.digest));
                let platform = t.descriptor.platform.as_ref().unwrap().to_string();
                (platform, t.ref_name().unwrap().to_owned())
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let all = ref_names();
    assert_eq!(all.len(), 3);
    // Whichever came first: the name itself is this host's.
    assert_eq!(all[&host], NAME);
    assert_eq!(all[other], format!("{NAME}@{other}"));
    let windows = format!("{NAME}@windows-10-0-20348-win32k/amd64");
    assert_eq!(all[platforms[0]], windows);
    assert_eq!(found(&store, &windows), [images[0].manifest.digest]);
    // By digest: the manifest's, or the index's, under any tag of the repository.
    let by = |digest: &Digest| found(&store, &format!("alpine@{digest}"));
    assert_eq!(by(&images[1].manifest.digest), [images[1].manifest.digest]);
    assert_eq!(by(&index.digest).len(), 3);
    assert!(found(&store, &format!("busybox@{}", index.digest)).is_empty());
    // Each platform moves on its own.
    let newer = image(other, 2);
    let replaced = pull(&store, NAME, &newer, Some(&index.digest));
    assert_eq!(replaced.len(), 1);
    assert_eq!(replaced[0].descriptor.digest, images[1].manifest.digest);
    assert_eq!(ref_names(), all);
    // Without this host's, the name is the next one's.
    let removed = store.untag(NAME, Some(&Platform::host())).unwrap();
    assert_eq!(removed.len(), 1);
    assert_eq!(ref_names()[platforms[0]], NAME);
    assert_eq!(ref_names()[other], format!("{NAME}@{other}"));
    // The index is kept by the names, and no platform by the index.
    drop(lease);
    store.gc(&GcOptions::new()).unwrap();
    assert!(store.has_blob(&index.digest, index.size).unwrap());
    assert!(!whole(&store, &images[2]));
    assert!(whole(&store, &images[0]) && whole(&store, &newer));
    // A whole index takes the name from all, and a platform of it changes nothing.
    store_parts(&store.lease().unwrap(), &images[1]);
    let replaced = store.tag(NAME, &index, None).unwrap();
    assert_eq!(replaced.len(), 2);
    assert_eq!(found(&store, NAME), [index.digest]);
    assert!(
        store
            .tag(NAME, &images[0].manifest, Some(&index.digest))
            .unwrap()
            .is_empty()
    );
    assert_eq!(found(&store, NAME), [index.digest]);
    // Of a newer index, it does.
    let replaced = store.tag(NAME, &images[0].manifest, None).unwrap();
    assert_eq!(replaced[0].descriptor.digest, index.digest);
    assert_eq!(found(&store, NAME), [images[0].manifest.digest]);
    assert_eq!(store.untag(NAME, None).unwrap().len(), 1);
    assert!(store.tagged().unwrap().is_empty());
    store.gc(&GcOptions::new()).unwrap();
    assert!(store.all_blobs().unwrap().is_empty());
    assert_clean(&store);
}

#[test]
fn what_others_wrote_stays() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (one, two) = (image("linux/amd64", 1), image("linux/amd64", 2));
    pull(&store, NAME, &one, None);
    // Entries of several kinds, some of which lithify would never make.
    let mut index = index_json(&store);
    let blob = |n: u8| format!("sha256:{}", Digest::of(Algorithm::Sha256, &[n]).hex());
    let foreign = serde_json::json!([
        { "mediaType": "text/plain", "digest": blob(1), "size": 1, "x-unknown": { "deep": [1, 2.5, null] } },
        { "mediaType": "application/x", "digest": "blake3:00", "size": -5 },
        "not even an object",
        { "digest": blob(2), "size": 2, "annotations": { "org.opencontainers.image.ref.name": "theirs" } },
    ]);
    let entries = index["manifests"].as_array_mut().unwrap();
    entries.extend(foreign.as_array().unwrap().iter().cloned());
    index["annotations"] = serde_json::json!({ "a": "b" });
    index["x-top"] = 1.into();
    fs::write(tmp.path().join("index.json"), index.to_string()).unwrap();
    assert_eq!(found(&store, "theirs").len(), 1);
    pull(&store, "second", &two, None);
    pull(&store, NAME, &two, None);
    store.untag("second", None).unwrap();
    let after = index_json(&store);
    assert_eq!(
        after["manifests"].as_array().unwrap()[1..],
        *foreign.as_array().unwrap()
    );
    assert_eq!(
        (&after["annotations"]["a"], &after["x-top"]),
        (&"b".into(), &1.into())
    );
    // Collection goes by theirs as well.
    store
        .lease()
        .unwrap()
        .put(&blob(1).parse().unwrap(), &[1])
        .unwrap();
    store.gc(&GcOptions::new()).unwrap();
    assert!(store.has_blob(&blob(1).parse().unwrap(), 1).unwrap());
    assert_eq!(store.untag("theirs", None).unwrap().len(), 1);
}

#[test]
fn what_images_lead_to_stays() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let images: Vec<_> = (0..5).map(|n| image("linux/amd64", n)).collect();
    let lease = store.lease().unwrap();
    for image in &images {
        store_parts(&lease, image);
    }
    // An index in an index, of which a platform is not there.
    let mut absent = images[0].manifest.clone();
    absent.digest = Digest::of(Algorithm::Sha256, b"absent");
    let inner = store_index(&lease, vec![images[0].manifest.clone(), absent]);
    let outer = store_index(&lease, vec![inner.clone()]);
    store.tag("index", &outer, None).unwrap();
    store.tag("image", &images[1].manifest, None).unwrap();
    // An image something was built of.
    let record = ImageRecord::new("b", "linux/amd64", images[2].manifest.digest, Facts::new());
    store.put_image(&record).unwrap();
    // An artifact of a kind lithify does not know.
    let artifact = serde_json::json!({ "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "blobs": [{ "digest": images[3].blobs[2].0.to_string(), "size": images[3].blobs[2].1.len() }] });
    let artifact = artifact.to_string().into_bytes();
    let digest = Digest::of(Algorithm::Sha256, &artifact);
    lease.put(&digest, &artifact).unwrap();
    let kind = "application/vnd.oci.artifact.manifest.v1+json";
    let descriptor = Descriptor::new(kind, digest, artifact.len() as u64);
    fs::write(tmp.path().join("index.json"), {
        let mut index = index_json(&store);
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.push(serde_json::to_value(&descriptor).unwrap());
        index.to_string()
    })
    .unwrap();
    drop(lease);
    let df = store.df().unwrap();
    let report = store.gc(&GcOptions::new()).unwrap();
    assert_eq!(df.unreferenced_blobs.entries, report.blobs.len() as u64);
    assert_eq!(df.referenced_blobs.entries, report.kept_blobs.len() as u64);
    assert_eq!(df.tagged, 2);
    assert!(images[..3].iter().all(|image| whole(&store, image)));
    assert!(store.has_blob(&inner.digest, inner.size).unwrap());
    let mut left: Vec<_> = store
        .all_blobs()
        .unwrap()
        .iter()
        .map(|b| b.digest)
        .collect();
    assert!(left.contains(&images[3].blobs[2].0) && left.contains(&digest));
    left.retain(|d| images[4].blobs.iter().any(|(b, _)| b == d));
    // The layer all images share.
    assert_eq!(left, [images[4].blobs[0].0]);
    assert!(store.gc(&GcOptions::new()).unwrap().blobs.is_empty());
    assert_clean(&store);
    store.untag("index", None).unwrap();
    store.remove_image("b", None).unwrap();
    store.gc(&GcOptions::new()).unwrap();
    assert!(!whole(&store, &images[0]) && whole(&store, &images[1]) && !whole(&store, &images[2]));
    assert_clean(&store);
}

#[test]
fn damage_stops_collection() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (one, two) = (image("linux/amd64", 1), image("linux/amd64", 2));
    pull(&store, NAME, &one, None);
    pull(&store, "two", &two, None);
    store.untag("two", None).unwrap();
    let manifest = store.blob_path(&one.manifest.digest);
    let blobs = store.all_blobs().unwrap().len();
    let mut random = Random(1);
    let length = fs::metadata(&manifest).unwrap().len();
    for _ in 0..50 {
        let (at, bit) = (random.below(length), random.below(8) as u32);
        flip(&manifest, at, bit, false);
        match store.gc(&GcOptions::new()).unwrap_err() {
            Error::Manifest { digest, .. } => assert_eq!(*digest, one.manifest.digest),
            other => panic!("{other}"),
        }
        store.df().unwrap();
        flip(&manifest, at, bit, false);
    }
    let index = fs::read(tmp.path().join("index.json")).unwrap();
    for json in ["", "[", "{\"manifests\":", &"x".repeat(5 << 20)] {
        fs::write(tmp.path().join("index.json"), json).unwrap();
        let error = store.gc(&GcOptions::new()).unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{error}");
        assert!(matches!(store.tagged().unwrap_err(), Error::Index { .. }));
        store.df().unwrap();
    }
    fs::remove_file(tmp.path().join("index.json")).unwrap();
    assert!(matches!(
        store.gc(&GcOptions::new()),
        Err(Error::Index { .. })
    ));
    assert_eq!(store.all_blobs().unwrap().len(), blobs);
    fs::write(tmp.path().join("index.json"), index).unwrap();
    assert_eq!(store.gc(&GcOptions::new()).unwrap().blobs.len(), 4);
    assert_clean(&store);
}

/// Repairs, and expects that nothing is left to find.
fn repair(store: &Store) {
    store.fsck(&FsckOptions::new().repair(true)).unwrap();
    let report = store.fsck(&FsckOptions::new()).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn missing_and_damaged_parts_are_found_and_mended() {
    for part in 0..5 {
        for damage in ["missing", "short", "flipped"] {
            let tmp = temp_dir();
            let store = open(tmp.path());
            let (one, two) = (image("linux/amd64", 1), image("linux/arm64", 2));
            pull(&store, NAME, &one, None);
            pull(&store, "index", &two, None);
            let lease = store.lease().unwrap();
            let index = store_index(&lease, vec![two.manifest.clone(), one.manifest.clone()]);
            store.tag("index", &index, None).unwrap();
            assert_clean(&store);
            let path = store.blob_path(&one.blobs[part].0);
            match damage {
                "missing" => fs::remove_file(&path).unwrap(),
                "short" => {
                    let short = &one.blobs[part].1[1..];
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, short).unwrap();
                }
                _ => flip(&path, 20, 3, true),
            }
            let before = fs::read(tmp.path().join("index.json")).unwrap();
            let report = store.fsck(&FsckOptions::new()).unwrap();
            assert!(!report.is_clean(), "{part} {damage}");
            assert_eq!(fs::read(tmp.path().join("index.json")).unwrap(), before);
            if damage == "missing" && part < 4 {
                let found = report.findings.iter().any(|f| {
                    matches!(&f.problem, Problem::Incomplete { name, part: p, .. }
                        if **p == one.blobs[part].0 && name.as_deref() == Some(NAME))
                });
                assert!(found, "{:#?}", report.findings);
            }
            repair(&store);
            assert!(store.find(NAME).unwrap().is_empty(), "{part} {damage}");
            // The first layer belongs to both; an index may miss whole platforms.
            assert_eq!(found(&store, "index"), [index.digest]);
            drop(lease);
            store.gc(&GcOptions::new()).unwrap();
            assert_eq!(whole(&store, &two), part != 0, "{part} {damage}");
            // Pulling again makes it good.
            pull(&store, NAME, &one, None);
            assert!(whole(&store, &one));
            assert_clean(&store);
        }
    }
}

#[test]
fn a_damaged_list_is_made_of_what_can_be_read() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let one = image("linux/amd64", 1);
    pull(&store, NAME, &one, None);
    let mut index = index_json(&store);
    index["unknown"] = 1.into();
    index["manifests"].as_array_mut().unwrap().push("x".into());
    fs::write(tmp.path().join("index.json"), index.to_string()).unwrap();
    assert!(!store.fsck(&FsckOptions::new()).unwrap().is_clean());
    repair(&store);
    assert_eq!(found(&store, NAME), [one.manifest.digest]);
    let quarantined = crate::common::files(&tmp.path().join("quarantine"));
    assert!(quarantined[0].ends_with("index.json"));
    // What is saved is held against the blobs.
    pull(&store, "two", &image("linux/amd64", 2), None);
    let mut index = index_json(&store);
    index["unknown"] = 1.into();
    fs::write(tmp.path().join("index.json"), index.to_string()).unwrap();
    fs::remove_file(store.blob_path(&one.blobs[1].0)).unwrap();
    repair(&store);
    assert!(store.find(NAME).unwrap().is_empty());
    assert_eq!(store.tagged().unwrap().len(), 1);
    for bad in ["", "{", "[]"] {
        fs::write(tmp.path().join("index.json"), bad).unwrap();
        repair(&store);
        assert!(store.tagged().unwrap().is_empty());
    }
    fs::remove_file(tmp.path().join("index.json")).unwrap();
    repair(&store);
    for odd in [
        "partial/x",
        "partial/sha256-00",
        "locks/lease-.lock",
        "locks/blob-x.lock",
    ] {
        fs::write(tmp.path().join(odd), "").unwrap();
        let report = store.fsck(&FsckOptions::new()).unwrap();
        assert!(matches!(report.findings[0].problem, Problem::Unknown));
        assert_eq!(report.findings[0].path, Path::new(odd));
        repair(&store);
    }
}

#[test]
fn an_image_of_the_store_is_one_of_a_layout() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let platforms = ["linux/amd64", "linux/arm64/v8"];
    for platform in platforms {
        let index = Digest::of(Algorithm::Sha256, b"index");
        pull(&store, NAME, &image(platform, 1), Some(&index));
        pull(&store, "other:1", &image(platform, 2), Some(&index));
    }
    for platform in platforms {
        for name in [NAME, "alpine:3.20"] {
            let source = format!("oci:{}:{name}", store.path().display());
            let mut options = lithify_oci::OpenOptions::default();
            options.platform = Some(platform.parse().unwrap());
            let image = lithify_oci::open(&source.parse().unwrap(), &options).unwrap();
            assert_eq!(image.layers().len(), 3);
            assert_eq!(image.config().platform().to_string(), platform);
        }
    }
    let entry = &index_json(&store)["manifests"][0];
    assert_eq!(
        entry["annotations"][INDEX_ANNOTATION]
            .as_str()
            .unwrap()
            .len(),
        71
    );
}
