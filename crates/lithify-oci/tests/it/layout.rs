//! Images in layout directories: which one is chosen, and what is refused.

use std::fs;

use crate::support::*;
use lithify_digest::{Algorithm, Digest};
use lithify_oci::blob::{self, BlobName};
use lithify_oci::layout::{self, CONTAINERD_NAME, ImageOptions, Writer};
use lithify_oci::manifest::{self, Compression, Descriptor, ImageManifest, Index, media_type};
use lithify_oci::{Error, Limits, OpenOptions, Platform, Source};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";

fn named(descriptor: &Descriptor, key: &str, name: &str) -> Descriptor {
    let mut copy = descriptor.clone();
    copy.annotations.insert(key.to_owned(), name.to_owned());
    copy
}

#[test]
fn everything_about_an_image() {
    let mut manifest = None;
    let layout = Layout::new(|w| manifest = Some(put(w, Some("v1"), AMD64, "hello")));
    let manifest = manifest.unwrap();
    for selector in [
        "",
        ":v1",
        ":@0",
        &format!("@{}", manifest.digest),
        &format!(":v1@{}", manifest.digest),
    ] {
        let image = layout.open(selector, AMD64).unwrap();
        assert_eq!(image.manifest_digest(), Some(&manifest.digest));
        assert_eq!(image.media_type(), Some(media_type::OCI_MANIFEST));
        assert_eq!(sha256(image.raw_manifest().unwrap()), manifest.digest);
        assert_eq!(sha256(image.raw_config()), *image.config_digest());
        assert_eq!(
            fs::read(layout.blob(image.config_digest())).unwrap(),
            image.raw_config()
        );
        assert_eq!(image.platform().to_string(), AMD64);
        let [layer] = image.layers() else {
            panic!("one layer")
        };
        assert_eq!(layer.digest, Some(layer.diff_id));
        assert_eq!(layer.compression, Some(Compression::None));
        assert_eq!(text(&image), "hello");
        image.check_layers().unwrap();
        assert!(matches!(
            image.open_layer(1),
            Err(Error::NoSuchLayer {
                index: 1,
                layers: 1
            })
        ));
        assert!(image.names().is_empty() || image.names() == ["v1"]);
    }
}

#[test]
fn writing_is_reproducible() {
    let make = || {
        let layout = Layout::new(|w| {
            put(w, Some("b"), AMD64, "x");
            put(w, Some("a"), ARM64, "y");
        });
        layout.tar()
    };
    assert_eq!(make(), make());
    let layout = Layout::new(|_| {});
    assert!(matches!(layout.open("", AMD64), Err(Error::Empty)));
    let again = layout::Writer::create(&layout.path());
    assert!(matches!(again, Err(layout::Error::Exists { .. })));
}

#[test]
fn appending_keeps_what_is_there() {
    let layout = Layout::new(|w| {
        put(w, Some("kept"), AMD64, "x");
        put(w, Some("moved"), AMD64, "y");
    });
    // What others may have put into the index stays too.
    let index = layout.path().join("index.json");
    let json = fs::read_to_string(&index).unwrap();
    let json = json.replacen('{', r#"{"org.example.note":"mine","#, 1);
    fs::write(&index, json).unwrap();
    let old = layout.open(":moved", AMD64).unwrap();
    let mut writer = layout::Writer::append(&layout.path())
        .unwrap()
        .durable(true);
    let new = put(&mut writer, Some("moved"), AMD64, "z");
    put(&mut writer, Some("added"), ARM64, "w");
    writer.finish().unwrap();
    let json = fs::read_to_string(&index).unwrap();
    assert!(json.contains(r#""org.example.note":"mine""#), "{json}");
    assert_eq!(json.matches("moved").count(), 1);
    layout.open(":kept", AMD64).unwrap();
    layout.open(":added", ARM64).unwrap();
    let found = layout.open(":moved", AMD64).unwrap();
    assert_eq!(found.manifest_digest(), Some(&new.digest));
    // The image that lost its name is still there.
    let by_digest = format!("@{}", old.manifest_digest().unwrap());
    assert!(
        layout
            .path()
            .join("blobs/sha256")
            .join(&by_digest["@sha256:".len()..])
            .is_file()
    );

    fs::write(&index, "[]").unwrap();
    let refused = layout::Writer::append(&layout.path());
    assert!(matches!(refused, Err(layout::Error::Unreadable { .. })));
}

#[test]
fn layers_are_read_at_once_from_any_thread() {
    let layout = Layout::new(|w| {
        let layers: Vec<_> = (0..8)
            .map(|i| layer(&format!("layer {i}").repeat(5000)))
            .collect();
        let descriptors = layers
            .iter()
            .map(|l| {
                w.put_reader(media_type::OCI_LAYER, &mut l.as_slice())
                    .unwrap()
            })
            .collect();
        w.put_image(
            &config(AMD64, &layers),
            descriptors,
            ImageOptions::named("x"),
        )
        .unwrap();
    });
    let archive = layout.dir.path().join("a.tar");
    fs::write(&archive, layout.tar()).unwrap();
    let directory = layout.open("", AMD64).unwrap();
    let archive = open(&format!("oci-archive:{}", archive.display()), AMD64).unwrap();
    for image in [directory, archive] {
        let blobs: Vec<_> = (0..8).map(|i| (i, image.open_layer(i).unwrap())).collect();
        let diff_ids: Vec<_> = image.layers().iter().map(|l| l.diff_id).collect();
        drop(image);
        std::thread::scope(|scope| {
            for (i, mut blob) in blobs {
                let diff_ids = &diff_ids;
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    std::io::Read::read_to_end(&mut blob, &mut bytes).unwrap();
                    assert_eq!(sha256(&bytes), diff_ids[i]);
                });
            }
        });
    }
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

#[test]
fn sha384_and_sha512() {
    for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
        let layout = Layout::new(|_| {});
        fs::create_dir(layout.path().join("blobs").join(algorithm.name())).unwrap();
        let put = |media_type: &str, bytes: &[u8]| {
            let digest = Digest::of(algorithm, bytes);
            fs::write(layout.blob(&digest), bytes).unwrap();
            Descriptor::new(media_type, digest, bytes.len() as u64)
        };
        let tar = layer("long");
        let mut config = config(AMD64, &[]);
        config.diff_ids = vec![Digest::of(algorithm, &tar)];
        let l = put(media_type::OCI_LAYER, &tar);
        let c = put(media_type::OCI_CONFIG, &json(&config));
        let m = put(
            media_type::OCI_MANIFEST,
            &json(&ImageManifest::new(c, vec![l])),
        );
        layout.write("index.json", &json(&Index::new(vec![m.clone()])));
        assert_eq!(text(&layout.open("", AMD64).unwrap()), "long");
        assert_eq!(
            text(&layout.open(&format!("@{}", m.digest), AMD64).unwrap()),
            "long"
        );
        fs::write(layout.blob(&m.digest), vec![b' '; m.size as usize]).unwrap();
        assert!(layout.open("", AMD64).unwrap_err().is_verification());
    }
}

#[test]
fn broken_content_is_a_verification_failure() {
    let parts = || {
        let mut d = None;
        let layout = Layout::new(|w| d = Some(put(w, None, AMD64, "hello")));
        (layout, d.unwrap())
    };
    // Another byte, a byte more, a byte less; in the manifest, then in the config.
    for which in ["manifest", "config"] {
        for change in ["byte", "more", "less"] {
            let (layout, manifest) = parts();
            let config = *layout.open("", AMD64).unwrap().config_digest();
            let digest = if which == "manifest" {
                manifest.digest
            } else {
                config
            };
            let mut bytes = fs::read(layout.blob(&digest)).unwrap();
            match change {
                "byte" => *bytes.last_mut().unwrap() = b' ',
                "more" => bytes.push(b'\n'),
                _ => drop(bytes.pop()),
            }
            fs::write(layout.blob(&digest), bytes).unwrap();
            let error = layout.open("", AMD64).unwrap_err();
            assert!(error.is_verification(), "{which} {change}: {error:?}");
            let expected = if change == "byte" {
                "its digest is"
            } else {
                "bytes, expected"
            };
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
    // A descriptor that lies about the size, either way.
    for delta in [-1, 1] {
        let (layout, manifest) = parts();
        let mut index = layout.index();
        index["manifests"][0]["size"] = (manifest.size as i64 + delta).into();
        layout.write("index.json", &json(&index));
        assert!(layout.open("", AMD64).unwrap_err().is_verification());
    }
    // A layer of another length is seen when it is opened.
    let (layout, _) = parts();
    let image = layout.open("", AMD64).unwrap();
    let layer = layout.blob(&image.layers()[0].digest.unwrap());
    fs::write(&layer, b"short").unwrap();
    assert!(image.open_layer(0).unwrap_err().is_verification());
    assert!(image.check_layers().unwrap_err().is_verification());
    fs::remove_file(&layer).unwrap();
    let error = image.open_layer(0).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Blob(blob::Error::Missing {
                name: BlobName::Layer(_)
            })
        ),
        "{error:?}"
    );
}

/// A manifest for one layer, changed before it is stored.
fn with_manifest(change: impl FnOnce(&mut serde_json::Value)) -> Layout {
    Layout::new(|w| {
        let tar = layer("x");
        let layer = w.put(media_type::OCI_LAYER, &tar).unwrap();
        let config = w
            .put_json(media_type::OCI_CONFIG, &config(AMD64, &[tar]))
            .unwrap();
        let mut manifest = serde_json::to_value(ImageManifest::new(config, vec![layer])).unwrap();
        change(&mut manifest);
        let mut d = w.put_json(media_type::OCI_MANIFEST, &manifest).unwrap();
        d.platform = Some(AMD64.parse().unwrap());
        w.add(d);
    })
}

fn refusal(layout: &Layout) -> manifest::Error {
    match layout.open("", AMD64) {
        Err(Error::Manifest { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn refused_manifests() {
    let media = |media_type: &'static str| {
        with_manifest(|m| m["layers"][0]["mediaType"] = media_type.into())
    };
    let error = refusal(&media(
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    ));
    assert!(
        matches!(error, manifest::Error::EncryptedLayer { index: 0, .. }),
        "{error:?}"
    );
    for unknown in [
        "application/vnd.in-toto+json",
        "application/vnd.erofs.layer.v1+gzip",
        "",
    ] {
        let error = refusal(&media(unknown));
        assert!(
            matches!(error, manifest::Error::LayerMediaType { index: 0, .. }),
            "{error:?}"
        );
    }
    let error = refusal(&with_manifest(|m| m["manifests"] = serde_json::json!([])));
    assert!(
        matches!(error, manifest::Error::Ambiguous { .. }),
        "{error:?}"
    );
    let error = refusal(&with_manifest(|m| {
        m["mediaType"] = media_type::DOCKER_MANIFEST.into()
    }));
    assert!(
        matches!(error, manifest::Error::MediaTypeMismatch { .. }),
        "{error:?}"
    );
    let error = refusal(&with_manifest(|m| m["layers"][0]["size"] = (-5).into()));
    assert!(
        matches!(error, manifest::Error::NegativeSize { found: -5, .. }),
        "{error:?}"
    );
    let error = refusal(&with_manifest(|m| {
        m["layers"][0]["digest"] = "sha256:../../../etc/passwd".into()
    }));
    assert!(matches!(error, manifest::Error::Digest { .. }), "{error:?}");
    let error = refusal(&with_manifest(|m| m["layers"] = serde_json::json!([])));
    assert!(
        matches!(
            error,
            manifest::Error::LayerCount {
                layers: 0,
                diff_ids: 1
            }
        ),
        "{error:?}"
    );
    // The type of a config alone says nothing of the files; that of the layers does.
    for odd in [
        "",
        "application/json",
        "application/vnd.cncf.helm.config.v1+json",
    ] {
        let layout = with_manifest(|m| m["config"]["mediaType"] = odd.into());
        assert_eq!(text(&layout.open("", AMD64).unwrap()), "x");
    }
    let error = refusal(&with_manifest(|m| {
        m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
        m["layers"][0]["mediaType"] = "application/vnd.cncf.helm.chart.content.v1.tar+gzip".into();
    }));
    assert!(
        matches!(
            error,
            manifest::Error::NotAnImage {
                artifact: false,
                ..
            }
        ),
        "{error:?}"
    );
    let error = refusal(&with_manifest(|m| {
        m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
        m["artifactType"] = "application/vnd.example".into();
    }));
    assert!(
        matches!(error, manifest::Error::NotAnImage { artifact: true, .. }),
        "{error:?}"
    );
    let many = with_manifest(|m| {
        let layer = m["layers"][0].clone();
        m["layers"] = vec![layer; 1025].into();
    });
    let error = refusal(&many);
    assert!(
        matches!(
            error,
            manifest::Error::TooMany {
                found: 1025,
                limit: 1024,
                ..
            }
        ),
        "{error:?}"
    );
}

/// Windows base layers: usable where their blob is, a telling error where it is not.
#[test]
fn foreign_layers() {
    let layout = with_manifest(|m| {
        m["layers"][0]["mediaType"] =
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        m["layers"][0]["urls"] = serde_json::json!(["https://example.com/layer"]);
    });
    let image = layout.open("", AMD64).unwrap();
    assert!(image.layers()[0].foreign);
    assert_eq!(text(&image), "x");
    fs::remove_file(layout.blob(&image.layers()[0].digest.unwrap())).unwrap();
    let error = image.open_layer(0).unwrap_err();
    assert!(
        error.to_string().contains("https://example.com/layer"),
        "{error}"
    );
    assert!(matches!(error, Error::ForeignLayer { index: 0, .. }));
}

#[test]
fn no_layers_is_an_image() {
    let layout = Layout::new(|w| {
        w.put_image(
            &config(AMD64, &[]),
            Vec::new(),
            ImageOptions::named("scratch"),
        )
        .unwrap();
    });
    assert!(layout.open(":scratch", AMD64).unwrap().layers().is_empty());
}

#[test]
fn limits() {
    let layout = Layout::new(|w| drop(put(w, None, AMD64, "x")));
    let open = |change: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        let source: Source = format!("oci:{}", layout.path().display()).parse().unwrap();
        let options = OpenOptions::default()
            .with_platform(AMD64.parse().unwrap())
            .with_limits(limits);
        lithify_oci::open(&source, &options)
    };
    assert!(open(&|_| {}).is_ok());
    assert!(matches!(
        open(&|l| l.manifest_bytes = 100),
        Err(Error::Layout(layout::Error::Blob(blob::Error::TooLarge {
            limit: 100,
            ..
        })))
    ));
    assert!(matches!(
        open(&|l| l.config_bytes = 10),
        Err(Error::Blob(blob::Error::TooLarge {
            limit: 10,
            option: "config_bytes",
            ..
        }))
    ));
    assert!(matches!(
        open(&|l| l.index_entries = 0),
        Err(Error::IndexEntries { limit: 0 })
    ));
    assert!(open(&|l| l.document_bytes = 0).is_ok());
    let mut index = layout.index();
    let platform = index["manifests"][0]["platform"].take();
    layout.write("index.json", &json(&index));
    assert!(matches!(
        open(&|l| l.document_bytes = 100),
        Err(Error::DocumentBytes { limit: 100 })
    ));
    index["manifests"][0]["platform"] = platform;
    index["manifests"][0]["platform"]["os.features"] = vec!["x".repeat(500); 3].into();
    layout.write("index.json", &json(&index));
    assert!(matches!(
        open(&|_| {}),
        Err(Error::Layout(layout::Error::Index {
            source: manifest::Error::PlatformTooLong { .. }
        }))
    ));
    index["manifests"][0]["platform"]["os.features"] = Vec::<String>::new().into();
    layout.write("index.json", &json(&index));
    assert!(matches!(
        open(&|l| l.layers = 0),
        Err(Error::Manifest {
            source: manifest::Error::TooMany { limit: 0, .. },
            ..
        })
    ));
    // A size that promises more than the limit is refused before anything is read.
    let mut index = layout.index();
    index["manifests"][0]["size"] = i64::MAX.into();
    layout.write("index.json", &json(&index));
    assert!(matches!(
        open(&|_| {}),
        Err(Error::Blob(blob::Error::TooLarge { .. }))
    ));
    // CVE-2023-25153; sparse, so it costs nothing here.
    let file = fs::File::create(layout.path().join("index.json")).unwrap();
    file.set_len(8 << 30).unwrap();
    assert!(matches!(
        open(&|_| {}),
        Err(Error::Layout(layout::Error::Blob(
            blob::Error::TooLarge { .. }
        )))
    ));
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

#[test]
fn what_is_no_layout() {
    let dir = tempfile::tempdir().unwrap();
    let at =
        |name: &str| open(&format!("oci:{}", dir.path().join(name).display()), AMD64).unwrap_err();
    assert!(matches!(
        at("gone"),
        Error::Layout(layout::Error::Io { .. })
    ));
    fs::write(dir.path().join("file"), b"").unwrap();
    assert!(at("file").to_string().contains("use oci-archive:"));
    fs::create_dir_all(dir.path().join("tree/usr")).unwrap();
    assert!(at("tree").to_string().contains("use rootfs:DIR"));
    fs::create_dir(dir.path().join("skopeo")).unwrap();
    fs::write(dir.path().join("skopeo/version"), b"").unwrap();
    fs::write(dir.path().join("skopeo/manifest.json"), b"").unwrap();
    assert!(at("skopeo").to_string().contains("skopeo copy dir:X"));

    let layout = Layout::new(|_| {});
    layout.write("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    assert!(matches!(
        layout.open("", AMD64),
        Err(Error::Layout(layout::Error::Version { .. }))
    ));
    layout.write("oci-layout", b"1.0.0");
    assert!(matches!(
        layout.open("", AMD64),
        Err(Error::Layout(layout::Error::Marker { .. }))
    ));
    layout.write("oci-layout", br#"{"imageLayoutVersion":"1.1.0"}"#);
    layout.write(
        "index.json",
        br#"{"schemaVersion":2,"config":{"digest":"x","size":1},"layers":[]}"#,
    );
    assert!(matches!(
        layout.open("", AMD64),
        Err(Error::Layout(layout::Error::Index { .. }))
    ));
    fs::remove_file(layout.path().join("index.json")).unwrap();
    let error = layout.open("", AMD64).unwrap_err();
    assert!(
        error.to_string().contains("index.json is missing"),
        "{error}"
    );
}

#[test]
fn sources_that_are_elsewhere() {
    for (source, words) in [
        (
            "docker-daemon:alpine:3",
            "docker save -o image.tar alpine:3",
        ),
        (
            "docker://quay.io/a/b:1",
            "skopeo copy docker://quay.io/a/b:1",
        ),
        ("alpine", "skopeo copy docker://alpine"),
        ("rootfs:/x", "is a file tree"),
        ("tar:-", "is a file tree"),
    ] {
        let error = open(source, AMD64).unwrap_err();
        assert!(error.to_string().contains(words), "{source}: {error}");
    }
}

#[cfg(unix)]
mod hostile_files {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Replaces the manifest blob, `index.json` and `oci-layout` in turn; none may hang or be followed.
    fn replaced(with: impl Fn(&std::path::Path)) {
        for which in ["oci-layout", "index.json", "manifest"] {
            let mut d = None;
            let layout = Layout::new(|w| d = Some(put(w, None, AMD64, "x")));
            let path = match which {
                "manifest" => layout.blob(&d.unwrap().digest),
                name => layout.path().join(name),
            };
            fs::rename(&path, layout.dir.path().join("moved")).unwrap();
            with(&path);
            let error = layout.open("", AMD64).unwrap_err();
            let inner = match &error {
                Error::Blob(e) | Error::Layout(layout::Error::Blob(e)) => e,
                _ => panic!("{which}: {error:?}"),
            };
            assert!(
                matches!(inner, blob::Error::NotRegular { .. }),
                "{which}: {error:?}"
            );
            assert!(
                error.to_string().contains("is not a regular file"),
                "{error}"
            );
        }
    }

    #[test]
    fn links_pipes_devices_sockets() {
        // Even a link to the very content is refused.
        replaced(|path| {
            let layout = path.ancestors().find(|p| p.ends_with("l")).unwrap();
            symlink(layout.with_file_name("moved"), path).unwrap();
        });
        replaced(|path| symlink(path, path).unwrap());
        replaced(|path| drop(fs::create_dir(path)));
        replaced(|path| drop(UnixListener::bind(path).unwrap()));
        replaced(|path| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o644),
                0,
            )
            .unwrap();
        });
        if rustix::process::geteuid().is_root() {
            replaced(|path| {
                let null = rustix::fs::makedev(1, 3);
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    path,
                    rustix::fs::FileType::CharacterDevice,
                    mode,
                    null,
                )
                .unwrap();
            });
        } else {
            eprintln!("skipped: needs root");
        }
    }

    /// Through a link, a layout that somebody made would have files of this host read as blobs, and written.
    #[test]
    fn linked_blob_directories_are_neither_read_nor_written_through() {
        for linked in ["blobs", "blobs/sha256"] {
            let layout = Layout::new(|w| drop(put(w, None, AMD64, "shared")));
            let store = layout.dir.path().join("store");
            fs::rename(layout.path().join(linked), &store).unwrap();
            symlink(&store, layout.path().join(linked)).unwrap();
            if linked == "blobs" {
                // Nor is a directory made there.
                fs::rename(store.join("sha256"), store.join("other")).unwrap();
                let writer = layout::Writer::append(&layout.path());
                assert!(matches!(writer, Err(layout::Error::Inside { .. })));
                assert!(!store.join("sha256").exists());
                fs::rename(store.join("other"), store.join("sha256")).unwrap();
            }
            let before = fs::read_dir(&store).unwrap().count();
            let error = layout.open("", AMD64).unwrap_err();
            let Error::Blob(blob::Error::LinkedDirectory { directory, .. }) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(directory, std::path::Path::new(linked));
            assert!(error.to_string().contains("cp -rL"), "{error}");
            let writer = layout::Writer::append(&layout.path());
            assert!(matches!(writer, Err(layout::Error::Inside { .. })));
            assert_eq!(fs::read_dir(&store).unwrap().count(), before);
        }
    }

    /// The layout is the user's choice: its own path may be a link.
    #[test]
    fn a_layout_may_be_named_by_a_link() {
        let layout = Layout::new(|w| drop(put(w, None, AMD64, "linked")));
        let moved = layout.dir.path().join("moved");
        fs::rename(layout.path(), &moved).unwrap();
        symlink(&moved, layout.path()).unwrap();
        assert_eq!(text(&layout.open("", AMD64).unwrap()), "linked");
    }

    /// What stands at the name of a temporary file of earlier versions, which could be guessed, is not written to.
    #[test]
    fn what_stands_at_the_name_of_a_temporary_file_is_left_alone() {
        let layout = Layout::new(|w| drop(put(w, None, AMD64, "x")));
        let victim = layout.dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let process = std::process::id();
        for name in [format!(".new-{process}")]
            .into_iter()
            .chain((0..200).map(|n| format!(".new-{process}-{n}")))
        {
            symlink(&victim, layout.path().join("blobs").join(name)).unwrap();
        }
        let mut writer = layout::Writer::append(&layout.path()).unwrap();
        put(&mut writer, Some("new"), AMD64, "new");
        writer.finish().unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(text(&layout.open(":new", AMD64).unwrap()), "new");
    }
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
