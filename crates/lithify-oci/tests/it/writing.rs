//! Layouts that are written into: by several writers at once, after others that were killed, and what is damaged already.
#![cfg(unix)]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::*;
use lithify_cancel::CancelToken;
use lithify_digest::{Algorithm, Digest};
use lithify_oci::layout::{self, Writer};
use lithify_oci::manifest::{Descriptor, media_type};

fn open(path: &Path) -> Result<Writer, layout::Error> {
    Writer::open(path, &CancelToken::new())
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    Descriptor::new(media_type::OCI_LAYER, digest, bytes.len() as u64)
}

fn blob(layout: &Path, of: &Descriptor) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(of.digest.hex())
}

fn index(layout: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

#[test]
fn writers_at_once_lose_nothing_of_each_other() {
    let tmp = tempfile::tempdir().unwrap();
    for (round, existing) in [false, true].into_iter().enumerate() {
        let path = tmp.path().join(round.to_string());
        if existing {
            open(&path).unwrap().finish().unwrap();
        }
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for round in 0..5 {
                        let mut writer = open(path).unwrap();
                        let name = format!("t{thread}-{round}");
                        put(&mut writer, Some(&name), AMD64, &name);
                        writer.finish().unwrap();
                    }
                });
            }
        });
        assert_eq!(index(&path)["manifests"].as_array().unwrap().len(), 40);
        // Nothing is left of how it was written.
        assert_eq!(names(&path), ["blobs", "index.json", "oci-layout"]);
        assert_eq!(names(&path.join("blobs")), ["sha256"]);
    }
}

/// Writers for which nothing comes of it take away what they began, beside others who begin.
#[test]
fn who_gives_up_takes_away_nothing_of_others() {
    let tmp = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = tmp.path().join(round.to_string());
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let path = &path;
                scope.spawn(move || {
                    let mut writer = open(path).unwrap();
                    if thread % 2 == 0 {
                        put(&mut writer, Some(&format!("t{thread}")), AMD64, "same");
                        writer.finish().unwrap();
                    }
                });
            }
        });
        assert_eq!(index(&path)["manifests"].as_array().unwrap().len(), 3);
        drop(open(&path).unwrap());
        assert_eq!(index(&path)["manifests"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn a_layout_nothing_came_of_is_gone_unless_it_has_whole_blobs() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("layout");
    let (good, bad) = (descriptor(b"good"), descriptor(b"bad"));
    let refused = |writer: &mut Writer| {
        let error = writer.put_verified(&bad, &mut &b"dab"[..]).unwrap_err();
        assert!(matches!(error, layout::Error::Mismatch { .. }), "{error:?}");
    };
    let mut writer = open(&path).unwrap();
    refused(&mut writer);
    drop(writer);
    assert!(!path.exists());
    // A directory that was there stays.
    fs::create_dir(&path).unwrap();
    let mut writer = open(&path).unwrap();
    refused(&mut writer);
    drop(writer);
    assert!(names(&path).is_empty());

    let mut writer = open(&path).unwrap();
    writer.put_verified(&good, &mut &b"good"[..]).unwrap();
    refused(&mut writer);
    drop(writer);
    assert_eq!(index(&path)["manifests"], serde_json::json!([]));
    assert_eq!(names(&path.join("blobs/sha256")).len(), 1);
    assert!(open(&path).unwrap().has_whole(&good).unwrap());

    // Stopped, nothing at all is left.
    let path = tmp.path().join("stopped");
    let cancel = CancelToken::new();
    let mut writer = Writer::open(&path, &cancel).unwrap();
    writer.put_verified(&good, &mut &b"good"[..]).unwrap();
    cancel.cancel();
    drop(writer);
    assert!(!path.exists());
}

/// What cannot be entered goes again, and does not wait for its own lock.
#[test]
fn what_is_begun_and_cannot_be_entered_is_gone() {
    let tmp = tempfile::tempdir().unwrap();
    fs::write(tmp.path().join("file"), "").unwrap();
    let error = open(&tmp.path().join("file")).unwrap_err();
    assert!(
        matches!(error, layout::Error::NotADirectory { .. }),
        "{error:?}"
    );
    std::os::unix::fs::symlink("nowhere", tmp.path().join("link")).unwrap();
    let error = open(&tmp.path().join("link")).unwrap_err();
    assert!(matches!(error, layout::Error::Io { .. }), "{error:?}");
    assert_eq!(names(tmp.path()), ["file", "link"]);
}

#[test]
fn what_killed_writers_left_is_removed_and_what_others_write_is_not() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("layout");
    open(&path).unwrap().finish().unwrap();
    let left = [
        ".lithify-00c0ffee00c0ffee.tmp",
        "blobs/.lithify-1-2.tmp",
        "blobs/.new-17-3",
        "blobs/sha256/.lithify-00c0ffee00c0ffee.tmp",
    ];
    let kept = [
        "blobs/sha256/.lithify-0000000000000001.tmp", // young
        "blobs/sha256/.lithify-0000000000000002.tmp", // of a process that lives
        "blobs/.new-17-4",                            // young
        "blobs/.new-mine",                            // someone's
        "blobs/sha256/.new-17-3",                     // someone's
        "notes.tmp",                                  // someone's
    ];
    for name in left.iter().chain(&kept) {
        let file = File::create(path.join(name)).unwrap();
        if ![kept[0], kept[2]].contains(name) {
            let long_ago = SystemTime::now() - Duration::from_secs(120);
            file.set_modified(long_ago).unwrap();
        }
    }
    let alive = File::open(path.join(kept[1])).unwrap();
    alive.lock_shared().unwrap();
    open(&path).unwrap().finish().unwrap();
    for name in left {
        assert!(!path.join(name).exists(), "{name}");
    }
    for name in kept {
        assert!(path.join(name).exists(), "{name}");
    }
}

#[test]
fn a_damaged_layout_is_not_added_to() {
    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let index_of = |entry: &str| format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
    let manifest = media_type::OCI_MANIFEST;
    let cases = [
        ("index.json", index_of("null"), "index.json: no valid index"),
        ("index.json", index_of("{}"), "missing field `digest`"),
        ("index.json", "[]".into(), "index.json: no valid"),
        ("index.json", String::new(), "index.json: no valid"),
        (
            "index.json",
            r#"{"schemaVersion":1,"manifests":[]}"#.into(),
            "index.json: schemaVersion is 1",
        ),
        (
            "index.json",
            r#"{"schemaVersion":"2","manifests":[]}"#.into(),
            "index.json: no valid",
        ),
        (
            "index.json",
            r#"{"schemaVersion":2,"mediaType":"x","manifests":[]}"#.into(),
            "media type `x`",
        ),
        (
            "index.json",
            format!(r#"{{"schemaVersion":2,"mediaType":"{manifest}","manifests":[]}}"#),
            "index.json: media type",
        ),
        (
            "index.json",
            index_of(&format!(
                r#"{{"mediaType":"{manifest}","size":1,"digest":"sha256:../x"}}"#
            )),
            "index.json: manifests[0].digest",
        ),
        (
            "index.json",
            index_of(&format!(
                r#"{{"mediaType":"{manifest}","size":1,"digest":"{DIGEST}","annotations":[1]}}"#
            )),
            "index.json: no valid index",
        ),
        ("oci-layout", String::new(), "oci-layout is no valid JSON"),
        (
            "oci-layout",
            r#"{"imageLayoutVersion":"9.0.0"}"#.into(),
            "image layout version is `9.0.0`",
        ),
    ];
    for (file, content, expected) in cases {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("layout");
        open(&path).unwrap().finish().unwrap();
        fs::write(path.join(file), &content).unwrap();
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, layout::Error::Unreadable { .. }),
            "{content}: {error:?}"
        );
        let said = error.to_string();
        assert!(said.contains(expected), "{content}: {said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert_eq!(fs::read_to_string(path.join(file)).unwrap(), content);
        assert!(names(&path.join("blobs/sha256")).is_empty());
    }

    // Damaged while it is being written into: what was there stays as it is.
    let tmp = tempfile::tempdir().unwrap();
    let mut writer = open(tmp.path()).unwrap();
    put(&mut writer, Some("x"), AMD64, "x");
    fs::write(tmp.path().join("index.json"), "[]").unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        matches!(error, layout::Error::Unreadable { .. }),
        "{error:?}"
    );
    assert_eq!(fs::read(tmp.path().join("index.json")).unwrap(), b"[]");
}

/// Nothing is listed that lithify itself could not read.
#[test]
fn what_is_entered_can_be_read() {
    let tmp = tempfile::tempdir().unwrap();
    let mut writer = open(tmp.path()).unwrap();
    let mut entry = put(&mut writer, Some("x"), AMD64, "x");
    let long = "x".repeat(5 << 20);
    entry.annotations.insert("long".to_owned(), long);
    writer.add(entry);
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("manifest_bytes"), "{error}");
    assert_eq!(index(tmp.path())["manifests"], serde_json::json!([]));
}

#[test]
fn an_index_without_a_version_gets_one() {
    for old in ["{}", r#"{"schemaVersion":0,"manifests":null}"#] {
        let tmp = tempfile::tempdir().unwrap();
        open(tmp.path()).unwrap().finish().unwrap();
        fs::write(tmp.path().join("index.json"), old).unwrap();
        let mut writer = open(tmp.path()).unwrap();
        put(&mut writer, Some("x"), AMD64, "x");
        writer.finish().unwrap();
        let index = index(tmp.path());
        assert_eq!(index["schemaVersion"], 2, "{old}");
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_blob_with_other_bytes_is_not_there_and_is_replaced() {
    let tmp = tempfile::tempdir().unwrap();
    let bytes = vec![7; 300_000];
    let good = descriptor(&bytes);
    let mut writer = open(tmp.path()).unwrap().durable(true);
    writer.put_verified(&good, &mut &bytes[..]).unwrap();
    writer.finish().unwrap();
    let at = blob(tmp.path(), &good);
    let flipped = || {
        let mut bytes = bytes.clone();
        bytes[200_000] ^= 1;
        bytes
    };
    for damaged in [flipped(), bytes[..299_999].to_vec(), Vec::new()] {
        fs::write(&at, damaged).unwrap();
        let mut writer = open(tmp.path()).unwrap().durable(true);
        assert!(!writer.has_whole(&good).unwrap());
        writer.put_verified(&good, &mut &bytes[..]).unwrap();
        let inode = fs::metadata(&at).unwrap().ino();
        assert!(writer.has_whole(&good).unwrap());
        assert_eq!(fs::metadata(&at).unwrap().ino(), inode);
        assert!(fs::read(&at).unwrap() == bytes);
    }
    let cancel = CancelToken::new();
    let writer = Writer::open(tmp.path(), &cancel).unwrap();
    cancel.cancel();
    writer.has_whole(&good).unwrap_err();
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
