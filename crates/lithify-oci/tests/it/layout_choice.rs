//! Images of a layout: which one is chosen by name, digest and platform, and what is passed over.

use crate::support::*;
use lithify_oci::blob::{self, BlobName};
use lithify_oci::layout::{self, CONTAINERD_NAME, ImageOptions, Writer};
use lithify_oci::manifest::{self, Descriptor, ImageManifest, Index, media_type};
use lithify_oci::{Error, Limits, OpenOptions, Platform, Source};

fn named(descriptor: &Descriptor, key: &str, name: &str) -> Descriptor {
    let mut copy = descriptor.clone();
    copy.annotations.insert(key.to_owned(), name.to_owned());
    copy
}

#[test]
fn names_choose() {
    let layout = Layout::new(|w| {
        put(w, Some("v1"), AMD64, "one");
        put(w, Some("v2"), AMD64, "two");
        put(w, Some("docker.io/library/app:v3"), AMD64, "three");
        let four = put_with(w, ImageOptions::default(), AMD64, "four");
        w.add(named(
            &named(&four, layout::REF_NAME, "v4"),
            CONTAINERD_NAME,
            "quay.io/x/app:v4",
        ));
    });
    for (selector, expected) in [
        (":v1", "one"),
        (":v2", "two"),
        (":docker.io/library/app:v3", "three"),
        (":app:v3", "three"),
        (":v3", "three"),
        (":v4", "four"),
        (":quay.io/x/app:v4", "four"),
        (":@1", "two"),
    ] {
        assert_eq!(
            text(&layout.open(selector, AMD64).unwrap()),
            expected,
            "{selector}"
        );
    }
    let error = layout.open(":v9", AMD64).unwrap_err();
    assert!(
        matches!(&error, Error::NoSuchImage { there, .. } if there.len() == 4),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("there are v1, v2, docker.io/library/app:v3, quay.io/x/app:v4"),
        "{error}"
    );
    assert!(matches!(
        layout.open(":@9", AMD64),
        Err(Error::NoSuchImage { .. })
    ));
    assert!(matches!(
        layout.open(&format!("@{}", sha256(b"?")), AMD64),
        Err(Error::NoSuchImage { .. })
    ));
    let error = layout.open("", AMD64).unwrap_err();
    assert!(matches!(error, Error::Several { .. }), "{error:?}");
}

/// Several images must not be told apart by platform alone: the name was forgotten.
#[test]
fn several_images_are_never_guessed() {
    let layout = Layout::new(|w| {
        put(w, Some("a"), AMD64, "a");
        put(w, Some("b"), ARM64, "b");
    });
    assert!(matches!(layout.open("", AMD64), Err(Error::Several { .. })));
    let unnamed = Layout::new(|w| {
        put(w, None, AMD64, "a");
        put(w, None, AMD64, "b");
    });
    let error = unnamed.open("", AMD64).unwrap_err();
    assert!(error.to_string().contains("sha256:"), "{error}");
    // Same tag of different repositories, as `nerdctl save a:1 b:1` writes them.
    let tags = Layout::new(|w| {
        for repository in ["a", "b"] {
            let d = put_with(w, ImageOptions::default(), AMD64, repository);
            w.add(named(
                &named(&d, layout::REF_NAME, "1"),
                CONTAINERD_NAME,
                &format!("docker.io/library/{repository}:1"),
            ));
        }
    });
    assert!(matches!(tags.open(":1", AMD64), Err(Error::Several { .. })));
    assert_eq!(text(&tags.open(":b:1", AMD64).unwrap()), "b");
    // One image under two names is one image.
    let twice = Layout::new(|w| {
        let d = put(w, Some("a"), AMD64, "a");
        w.add(named(&d, layout::REF_NAME, "b"));
    });
    assert_eq!(twice.open("", AMD64).unwrap().names(), ["a", "b"]);
}

#[test]
fn platforms_choose() {
    let layout = Layout::new(|w| {
        for (platform, text) in [
            ("linux/arm/v5", "v5"),
            ("linux/arm/v6", "v6"),
            ("windows(10.0.20348.1)/amd64", "win"),
            (AMD64, "amd64"),
            (ARM64, "arm64"),
        ] {
            put(w, None, platform, text);
        }
    });
    for (wanted, expected) in [
        (AMD64, "amd64"),
        ("linux/amd64/v3", "amd64"),
        ("linux/x86_64", "amd64"),
        (ARM64, "arm64"),
        ("linux/arm64/v9", "arm64"),
        ("linux/arm/v7", "v6"),
        ("linux/arm/v5", "v5"),
        ("windows/amd64", "win"),
        ("windows(10.0.20348)/amd64", "win"),
    ] {
        let image = layout.open("", wanted).unwrap();
        assert_eq!(text(&image), expected, "{wanted}");
    }
    let error = layout.open("", "linux/s390x").unwrap_err();
    let Error::Platform { there, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(there.len(), 5);
    assert!(error.to_string().contains("linux/arm/v5"), "{error}");
    // No --platform: Linux on this machine's architecture.
    let source: Source = format!("oci:{}", layout.path().display()).parse().unwrap();
    let host = lithify_oci::open(&source, &OpenOptions::default());
    match Platform::host().architecture() {
        "amd64" | "arm64" => assert_eq!(host.unwrap().platform(), &Platform::host()),
        _ => drop(host),
    }
}

/// umoci, skopeo and buildah write descriptors without `platform`.
#[test]
fn platform_from_the_config() {
    let layout = Layout::new(|w| {
        put_with(w, ImageOptions::default(), ARM64, "arm64");
        put_with(w, ImageOptions::default(), AMD64, "amd64");
    });
    assert_eq!(text(&layout.open("", AMD64).unwrap()), "amd64");
    assert_eq!(text(&layout.open("", ARM64).unwrap()), "arm64");
    let one = Layout::new(|w| drop(put_with(w, ImageOptions::default(), ARM64, "x")));
    assert!(matches!(one.open("", AMD64), Err(Error::Platform { .. })));
    // Empty strings are no platform.
    let mut index = one.index();
    index["manifests"][0]["platform"] = serde_json::json!({"os":"","architecture":""});
    one.write("index.json", &json(&index));
    assert_eq!(text(&one.open("", ARM64).unwrap()), "x");
    // A config that says nothing fits anything; there is nothing to tell by.
    let mute = Layout::new(|w| {
        let layer = layer("mute");
        let d = w.put(media_type::OCI_LAYER, &layer).unwrap();
        let mut config = config(AMD64, &[layer]);
        (config.os, config.architecture) = (String::new(), String::new());
        w.put_image(&config, vec![d], ImageOptions::default())
            .unwrap();
    });
    assert_eq!(text(&mute.open("", "linux/s390x").unwrap()), "mute");
}

/// An index that promises amd64 for an arm64 image.
#[test]
fn lying_platform() {
    let layout = Layout::new(|w| {
        let mut d = put_with(w, ImageOptions::default(), ARM64, "x");
        d.platform = Some(AMD64.parse().unwrap());
        d.annotations.insert(layout::REF_NAME.into(), "lie".into());
        w.add(d);
    });
    let error = layout.open(":lie", AMD64).unwrap_err();
    assert!(
        matches!(&error, Error::Platform { there, .. } if there[0] == ARM64.parse().unwrap()),
        "{error:?}"
    );
    // By digest, the config alone decides.
    let digest = layout.index()["manifests"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        text(&layout.open(&format!("@{digest}"), ARM64).unwrap()),
        "x"
    );
}

fn nested(w: &mut layout::Writer, inner: Vec<Descriptor>, levels: usize) -> Descriptor {
    let mut manifests = inner;
    let mut last = None;
    for _ in 0..levels {
        let d = w
            .put_json(media_type::OCI_INDEX, &Index::new(manifests))
            .unwrap();
        manifests = vec![d.clone()];
        last = Some(d);
    }
    last.unwrap()
}

/// Images stored as blobs only, not entered in index.json.
fn unlisted(w: &mut layout::Writer, platform: &str, text: &str) -> Descriptor {
    let layer = layer(text);
    let d = w.put(media_type::OCI_LAYER, &layer).unwrap();
    let config = config(platform, &[layer]);
    let c = w.put_json(media_type::OCI_CONFIG, &config).unwrap();
    let mut m = w
        .put_json(media_type::OCI_MANIFEST, &ImageManifest::new(c, vec![d]))
        .unwrap();
    m.platform = Some(platform.parse().unwrap());
    m
}

/// Docker with containerd's store and Apple `container` nest an index in index.json.
#[test]
fn nested_indexes() {
    for levels in 1..=4 {
        let layout = Layout::new(|w| {
            let inner = vec![unlisted(w, ARM64, "arm64"), unlisted(w, AMD64, "amd64")];
            let root = nested(w, inner, levels);
            w.add(named(&root, layout::REF_NAME, "x"));
        });
        let result = layout.open(":x", AMD64);
        if levels < 4 {
            let image = result.unwrap();
            assert_eq!(text(&image), "amd64");
            // By the digest of a manifest deep inside.
            let pin = format!("@{}", image.manifest_digest().unwrap());
            assert_eq!(text(&layout.open(&pin, AMD64).unwrap()), "amd64");
        } else {
            assert!(
                matches!(result, Err(Error::IndexDepth { limit: 4 })),
                "{result:?}"
            );
        }
    }
    // The first of equals within one image, as the specification has it.
    let layout = Layout::new(|w| {
        let inner = vec![unlisted(w, AMD64, "first"), unlisted(w, AMD64, "second")];
        let root = nested(w, inner, 1);
        w.add(root);
    });
    assert_eq!(text(&layout.open("", AMD64).unwrap()), "first");
}

#[test]
fn attestations_artifacts_and_unknown_entries_are_passed_over() {
    let layout = Layout::new(|w| {
        let image = unlisted(w, AMD64, "image");
        let mut by_platform = unlisted(w, AMD64, "a1");
        by_platform.platform = Some(Platform::new("unknown", "unknown", None));
        let mut by_annotation = unlisted(w, AMD64, "a2");
        by_annotation.annotations.insert(
            "vnd.docker.reference.type".into(),
            "attestation-manifest".into(),
        );
        let empty = w.put("application/vnd.oci.empty.v1+json", b"{}").unwrap();
        let signature = w
            .put_json(
                media_type::OCI_MANIFEST,
                &ImageManifest::new(empty.clone(), vec![empty.clone()]),
            )
            .unwrap();
        let mut listed = signature.clone();
        listed.artifact_type = Some("application/vnd.example".into());
        let strange = Descriptor::new("application/vnd.strange", sha256(b"strange"), 7);
        let mut schema1 = strange.clone();
        schema1.media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws".into();
        let root = nested(
            w,
            vec![
                by_platform,
                signature.clone(),
                listed,
                strange,
                schema1,
                by_annotation,
                image,
            ],
            1,
        );
        w.add(root);
        w.add(named(&signature, layout::REF_NAME, "sha256-1234.sig"));
    });
    assert_eq!(text(&layout.open("", AMD64).unwrap()), "image");
    let error = layout.open(":sha256-1234.sig", AMD64).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Manifest {
                source: manifest::Error::NotAnImage { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("application/vnd.oci.empty.v1+json"),
        "{error}"
    );
    let listed = lithify_oci::list(
        &format!("oci:{}", layout.path().display()).parse().unwrap(),
        &Limits::default(),
    );
    let listed = listed.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].platforms.len(), 1);
    assert!(listed[1].platforms.is_empty());
    assert_eq!(listed[1].names, ["sha256-1234.sig"]);
}

/// cosign's signatures have the config of an image, and a name: they were counted as images beside the one they are of.
#[test]
fn signatures_are_not_images_beside_theirs() {
    let signature = |w: &mut Writer, layer: &str| {
        let config = w.put(media_type::OCI_CONFIG, b"{}").unwrap();
        let payload = w.put(layer, layer.as_bytes()).unwrap();
        w.put_json(
            media_type::OCI_MANIFEST,
            &ImageManifest::new(config, vec![payload]),
        )
        .unwrap()
    };
    let tag = format!("sha256-{}.sig", sha256(b"image").hex());
    let whole = format!("docker.io/library/app:{}", tag.replace("sig", "att"));
    let layout = Layout::new(|w| {
        let image = unlisted(w, AMD64, "image");
        w.add(named(&image, layout::REF_NAME, "v1"));
        // Of kinds that an image could have, and of a platform.
        let sbom = unlisted(w, AMD64, "sbom");
        w.add(named(&sbom, layout::REF_NAME, &tag.replace("sig", "sbom")));
        let signed = signature(w, "application/vnd.dev.cosign.simplesigning.v1+json");
        w.add(named(&signed, layout::REF_NAME, &tag));
        let attested = signature(w, "application/vnd.dsse.envelope.v1+json");
        w.add(named(&attested, layout::REF_NAME, &whole));
        // What has another name is told by its layers.
        let other = signature(w, "application/vnd.example");
        w.add(named(&other, layout::REF_NAME, "other"));
        w.add(other);
    });
    assert_eq!(text(&layout.open("", AMD64).unwrap()), "image");
    let source = format!("oci:{}", layout.path().display()).parse().unwrap();
    let located = lithify_oci::locate(&source, &Limits::default()).unwrap();
    assert_eq!(located.names, ["v1"]);
    // By name each can be had, or is said to be none.
    assert_eq!(
        text(
            &layout
                .open(&format!(":{}", tag.replace("sig", "sbom")), AMD64)
                .unwrap()
        ),
        "sbom"
    );
    for name in [&tag, &whole, "other"] {
        let error = layout.open(&format!(":{name}"), AMD64).unwrap_err();
        let Error::Manifest { source, .. } = &error else {
            panic!("{name}: {error:?}");
        };
        assert!(
            matches!(source, manifest::Error::LayerMediaType { .. }),
            "{error:?}"
        );
        let source = format!("oci:{}:{name}", layout.path().display())
            .parse()
            .unwrap();
        assert!(lithify_oci::locate(&source, &Limits::default()).is_ok());
    }
    let listed = lithify_oci::list(&source, &Limits::default()).unwrap();
    assert_eq!(listed.len(), 5);
    // Of an image in an odd compression nothing else is taken for it.
    let layout = Layout::new(|w| {
        let image = unlisted(w, AMD64, "image");
        w.add(named(&image, layout::REF_NAME, "v1"));
        let odd = signature(w, "application/vnd.oci.image.layer.v1.tar+lz4");
        w.add(named(&odd, layout::REF_NAME, "v2"));
    });
    assert!(matches!(layout.open("", AMD64), Err(Error::Several { .. })));
}

/// `docker save` of one platform keeps the descriptors of the others.
#[test]
fn absent_platforms() {
    let layout = Layout::new(|w| {
        let mut gone = unlisted(w, "linux/s390x", "gone");
        gone.digest = sha256(b"gone");
        let mut also_gone = gone.clone();
        also_gone.digest = sha256(b"also gone");
        also_gone.platform = None;
        let mut better = gone.clone();
        better.platform = Some("linux/amd64/v2".parse().unwrap());
        let here = unlisted(w, AMD64, "here");
        let root = nested(w, vec![gone, also_gone, better, here], 1);
        w.add(root);
    });
    assert_eq!(text(&layout.open("", AMD64).unwrap()), "here");
    // v2 would suit better but is not there.
    assert_eq!(text(&layout.open("", "linux/amd64/v2").unwrap()), "here");
    let error = layout.open("", "linux/s390x").unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Blob(blob::Error::Missing {
                name: BlobName::Manifest(_)
            })
        ) && !error.is_verification(),
        "{error:?}"
    );
    let error = layout.open("", ARM64).unwrap_err();
    assert!(
        matches!(&error, Error::Platform { absent: 3, .. }),
        "{error:?}"
    );
    let listed = lithify_oci::list(
        &format!("oci:{}", layout.path().display()).parse().unwrap(),
        &Limits::default(),
    )
    .unwrap();
    let present: Vec<_> = listed[0].platforms.iter().map(|p| p.present).collect();
    assert_eq!(present, [false, false, false, true]);
}

/// A manifest in no index can be named by its digest.
#[test]
fn by_digest_alone() {
    let mut descriptor = None;
    let layout = Layout::new(|w| descriptor = Some(unlisted(w, AMD64, "x")));
    let descriptor = descriptor.unwrap();
    let image = layout
        .open(&format!("@{}", descriptor.digest), AMD64)
        .unwrap();
    assert_eq!(text(&image), "x");
    assert_eq!(image.media_type(), Some(media_type::OCI_MANIFEST));
    // A config is no manifest.
    let error = layout
        .open(&format!("@{}", image.config_digest()), AMD64)
        .unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error:?}");
}

/// Many indexes that all list each other's children: the work stays within the limit.
#[test]
fn indexes_that_multiply() {
    let layout = Layout::new(|w| {
        let mut level: Vec<Descriptor> = (0..20)
            .map(|i| {
                let mut d = Descriptor::new(media_type::OCI_MANIFEST, sha256(&[i]), 5);
                d.platform = Some("linux/s390x".parse().unwrap());
                d
            })
            .collect();
        for depth in 0..2 {
            level = (0..20u8)
                .map(|i| {
                    let mut index = Index::new(level.clone());
                    index.annotations.insert("n".into(), format!("{depth} {i}"));
                    w.put_json(media_type::OCI_INDEX, &index).unwrap()
                })
                .collect();
        }
        let root = nested(w, level, 1);
        w.add(root);
    });
    let error = layout.open("", AMD64).unwrap_err();
    assert!(
        matches!(error, Error::Blob(blob::Error::Missing { .. })),
        "{error:?}"
    );
    let mut limits = Limits::default();
    limits.index_entries = 500;
    let source: Source = format!("oci:{}", layout.path().display()).parse().unwrap();
    let error =
        lithify_oci::open(&source, &OpenOptions::default().with_limits(limits)).unwrap_err();
    assert!(
        matches!(error, Error::IndexEntries { limit: 500 }),
        "{error:?}"
    );
}

/// Each was compared with all others: sixty thousand took a minute.
#[test]
fn platforms_are_named_once_each_in_order() {
    let layout = Layout::new(|w| {
        put(w, None, ARM64, "arm64");
    });
    let mut index = layout.index();
    let entry = index["manifests"][0].clone();
    let versions: Vec<String> = (0..3000).map(|n| format!("10.0.{n}")).collect();
    let manifests: Vec<_> = [&versions[..], &versions[..10]]
        .concat()
        .into_iter()
        .map(|version| {
            let mut entry = entry.clone();
            entry["platform"] =
                serde_json::json!({"os":"windows","architecture":"amd64","os.version":version});
            entry
        })
        .collect();
    index["manifests"] = manifests.into();
    let inner = json(&index);
    let digest = sha256(&inner);
    layout.write(&format!("blobs/sha256/{}", digest.hex()), &inner);
    let outer = Descriptor::new(media_type::OCI_INDEX, digest, inner.len() as u64);
    layout.write("index.json", &json(&Index::new(vec![outer])));
    let error = layout.open("", "linux/s390x").unwrap_err();
    let Error::Platform { there, .. } = error else {
        panic!("{error:?}")
    };
    let found: Vec<_> = there.iter().map(|p| p.os_version().unwrap()).collect();
    assert_eq!(found, versions);
}
