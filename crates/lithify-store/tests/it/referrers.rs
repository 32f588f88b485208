//! What refers to an image stays as long as it.

use std::fs;

use crate::common::{assert_clean, open};
use lithify_digest::{Algorithm, Digest};
use lithify_oci::Content as _;
use lithify_oci::manifest::{Descriptor, media_type};
use lithify_store::{Error, GcOptions, Lease, SUBJECT_ANNOTATION, Store};
use lithify_testkit::temp_dir;
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.example.note";

fn described(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

/// Puts a manifest with one layer.
fn put(lease: &Lease, text: &str, subject: Option<&Descriptor>) -> Descriptor {
    let config = described(media_type::OCI_EMPTY, b"{}");
    let layer = described("text/plain", text.as_bytes());
    lease.put(&config.digest, b"{}").unwrap();
    lease.put(&layer.digest, text.as_bytes()).unwrap();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": [layer],
        "annotations": { "org.opencontainers.image.ref.name": "a trap" },
    });
    if let Some(subject) = subject {
        manifest["artifactType"] = TYPE.into();
        manifest["subject"] = serde_json::to_value(subject).unwrap();
    }
    let bytes = manifest.to_string().into_bytes();
    let descriptor = described(media_type::OCI_MANIFEST, &bytes);
    lease.put(&descriptor.digest, &bytes).unwrap();
    descriptor
}

fn index(store: &Store) -> Value {
    serde_json::from_slice(&fs::read(store.path().join("index.json")).unwrap()).unwrap()
}

fn there(store: &Store, manifest: &Descriptor) -> bool {
    store
        .lease()
        .unwrap()
        .has(&manifest.digest, manifest.size)
        .unwrap()
}

fn gc(store: &Store) {
    store.gc(&GcOptions::new()).unwrap();
    assert_clean(store);
}

#[test]
fn they_go_with_what_they_refer_to() {
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let lease = store.lease().unwrap();
    let image = put(&lease, "image", None);
    let note = put(&lease, "note", Some(&image));
    let signature = put(&lease, "signature of the note", Some(&note));
    let circle = put(
        &lease,
        "of something else",
        Some(&described(media_type::OCI_MANIFEST, b"?")),
    );
    store.tag("a:1", &image, None).unwrap();
    store
        .add_referrers(&[
            (note.digest, signature.clone()),
            (image.digest, note.clone()),
            (Digest::of(Algorithm::Sha256, b"?"), circle.clone()),
        ])
        .unwrap();
    // Once each, without names, and said what for.
    store
        .add_referrers(&[(image.digest, note.clone())])
        .unwrap();
    let entries = index(&store)["manifests"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 4);
    assert_eq!(
        entries[2]["annotations"],
        json!({ SUBJECT_ANNOTATION: image.digest.to_string() })
    );
    assert_eq!(store.tagged().unwrap().len(), 1);
    let found = lease.referrers(&image.digest, None).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest, note.digest);
    assert_eq!(found[0].artifact_type.as_deref(), Some(TYPE));
    assert!(
        lease
            .referrers(&image.digest, Some("other"))
            .unwrap()
            .is_empty()
    );
    assert_eq!(lease.referrers(&note.digest, Some(TYPE)).unwrap().len(), 1);
    drop(lease);

    let before = index(&store);
    store.gc(&GcOptions::new().dry_run(true)).unwrap();
    assert_eq!(index(&store), before);
    gc(&store);
    assert!(there(&store, &image) && there(&store, &note) && there(&store, &signature));
    assert!(!there(&store, &circle));
    assert_eq!(index(&store)["manifests"].as_array().unwrap().len(), 3);

    // Another name keeps the image, and so what refers to it.
    store.tag("b:1", &image, None).unwrap();
    store.untag("a:1", None).unwrap();
    gc(&store);
    assert!(there(&store, &signature));
    store.untag("b:1", None).unwrap();
    gc(&store);
    assert!(!there(&store, &image) && !there(&store, &note) && !there(&store, &signature));
    assert_eq!(index(&store)["manifests"], json!([]));
}

#[test]
fn what_got_a_name_stays_by_it() {
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let lease = store.lease().unwrap();
    let image = put(&lease, "image", None);
    let note = put(&lease, "note", Some(&image));
    store.tag("note:1", &note, None).unwrap();
    drop(lease);
    gc(&store);
    // A document leads to its subject.
    assert!(there(&store, &note) && there(&store, &image));
}

#[test]
fn all_parts_have_to_be_there() {
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let lease = store.lease().unwrap();
    let image = put(&lease, "image", None);
    let note = put(&lease, "note", Some(&image));
    let layer = described("text/plain", b"note").digest;
    fs::remove_file(store.path().join("blobs/sha256").join(layer.hex())).unwrap();
    let added = store.add_referrers(&[(image.digest, note)]);
    assert!(matches!(added, Err(Error::MissingBlob { .. })), "{added:?}");
    let absent = described(media_type::OCI_MANIFEST, b"absent");
    let added = store.add_referrers(&[(image.digest, absent)]);
    assert!(matches!(added, Err(Error::MissingBlob { .. })), "{added:?}");
    assert_eq!(index(&store)["manifests"], json!([]));
}
