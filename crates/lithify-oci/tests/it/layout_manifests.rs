//! Manifests and configs in layouts: which are refused, and what they may take.

use std::fs;

use crate::support::*;
use lithify_oci::layout::{self, ImageOptions};
use lithify_oci::manifest::{self, ImageManifest, media_type};
use lithify_oci::{Error, Limits, OpenOptions, Source, blob};

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
