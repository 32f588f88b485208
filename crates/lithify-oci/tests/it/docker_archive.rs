//! Archives of `docker save` in all the forms it has had.

use std::fs;

use crate::support::*;
use lithify_oci::blob;
use lithify_oci::error::DockerArchiveError;
use lithify_oci::{Error, Image, Limits, manifest};
use serde_json::{Value, json};

fn open_tar(transport: &str, tar: &[u8], selector: &str, platform: &str) -> Result<Image, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), tar).unwrap();
    open(
        &format!("{transport}:{}{selector}", file.path().display()),
        platform,
    )
}

fn docker(tar: Vec<u8>, selector: &str) -> Result<Image, Error> {
    open_tar("docker-archive", &tar, selector, AMD64)
}

/// A config with its name.
fn config_file(platform: &str, layers: &[Vec<u8>]) -> (String, Vec<u8>) {
    let config = crate::support::json(&config(platform, layers));
    (format!("{}.json", sha256(&config).hex()), config)
}

fn manifest(entries: &Value) -> Vec<u8> {
    crate::support::json(entries)
}

/// Docker 1.10 to 24: a directory per layer, duplicates as links to the first.
#[test]
fn layers_in_directories_and_links() {
    let (one, two) = (layer("one"), layer("two"));
    let (name, config) = config_file(AMD64, &[one.clone(), two.clone(), one.clone()]);
    let entries = json!([{"Config": name, "RepoTags": ["app:1"], "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]);
    let tar = Tar::new()
        .dir("a/")
        .file("a/VERSION", b"1.0")
        .file("a/json", b"{}")
        .file("a/layer.tar", &one)
        .file("b/layer.tar", &two)
        .symlink("c/layer.tar", "../a/layer.tar")
        .file(&name, &config)
        .file("manifest.json", &manifest(&entries))
        .file("repositories", b"{}")
        .end();
    let image = docker(tar, "").unwrap();
    assert_eq!(image.names(), ["app:1"]);
    assert_eq!(
        (
            image.manifest_digest(),
            image.media_type(),
            image.raw_manifest()
        ),
        (None, None, None)
    );
    assert_eq!(*image.config_digest(), sha256(&config));
    assert_eq!(image.raw_config(), config);
    for (index, layer) in [&one, &two, &one].into_iter().enumerate() {
        let described = &image.layers()[index];
        assert_eq!(
            (described.digest, described.size),
            (None, Some(layer.len() as u64))
        );
        assert_eq!(described.diff_id, sha256(layer));
        assert_eq!(read_layer(&image, index), *layer);
    }
    image.check_layers().unwrap();
}

/// Docker 25: an OCI layout and `manifest.json` in one archive, which name different things here.
#[test]
fn both_formats_in_one_archive() {
    let layout = Layout::new(|w| drop(put(w, Some("1"), AMD64, "oci")));
    let tar = layer("docker");
    let config = crate::support::json(&config(AMD64, std::slice::from_ref(&tar)));
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", sha256(bytes).hex());
    let entries = json!([{"Config": path(&config), "RepoTags": null, "Layers": [path(&tar)], "LayerSources": {}}]);
    let oci = layout.tar();
    let archive = Tar::new()
        .raw(&oci[..oci.len() - 1024])
        .file(&path(&config), &config)
        .file(&path(&tar), &tar)
        .file("manifest.json", &manifest(&entries))
        .end();
    let image = docker(archive.clone(), "").unwrap();
    assert_eq!(text(&image), "docker");
    assert_eq!(image.layers()[0].digest, Some(sha256(&tar)));
    assert!(image.names().is_empty());
    let image = open_tar("oci-archive", &archive, "", AMD64).unwrap();
    assert_eq!(text(&image), "oci");
    assert!(image.manifest_digest().is_some());
}

#[test]
fn hints_for_the_other_format() {
    let oci = Layout::new(|w| drop(put(w, Some("1"), AMD64, "x"))).tar();
    let error = docker(oci, "").unwrap_err();
    assert!(
        error.to_string().contains("use oci-archive:FILE"),
        "{error}"
    );
    let save = Tar::new().file("manifest.json", b"[]").end();
    let error = open_tar("oci-archive", &save, "", AMD64).unwrap_err();
    assert!(
        error.to_string().contains("use docker-archive:FILE"),
        "{error}"
    );
    let tree = Tar::new().dir("usr/").file("usr/x", b"").end();
    let error = open_tar("oci-archive", &tree, "", AMD64).unwrap_err();
    assert!(error.to_string().contains("use tar:FILE"), "{error}");
    let error = open("oci-archive:.", AMD64).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`.` is a directory: use oci:DIR"),
        "{error}"
    );
}

fn two_images() -> Vec<u8> {
    let (one, two) = (layer("one"), layer("two"));
    let (name1, config1) = config_file(AMD64, std::slice::from_ref(&one));
    let (name2, config2) = config_file(AMD64, std::slice::from_ref(&two));
    let entries = json!([
        {"Config": name1, "RepoTags": ["app:1", "quay.io/x/app:latest"], "Layers": ["one.tar"]},
        {"Config": name2, "RepoTags": null, "Layers": ["two.tar"]},
    ]);
    Tar::new()
        .file("manifest.json", &manifest(&entries))
        .file(&name1, &config1)
        .file(&name2, &config2)
        .file("one.tar", &one)
        .file("two.tar", &two)
        .end()
}

#[test]
fn choosing_among_several() {
    let tar = two_images();
    let one = docker(tar.clone(), ":app:1").unwrap();
    let id = format!("@{}", one.config_digest());
    for selector in [":docker.io/library/app:1", ":quay.io/x/app", ":@0", &id] {
        assert_eq!(
            text(&docker(tar.clone(), selector).unwrap()),
            "one",
            "{selector}"
        );
    }
    assert_eq!(text(&docker(tar.clone(), ":@1").unwrap()), "two");
    let error = docker(tar.clone(), "").unwrap_err();
    assert!(
        matches!(&error, Error::Several { there } if there.last().unwrap() == "@1"),
        "{error:?}"
    );
    for selector in [":app:2", ":@2", ":other"] {
        let error = docker(tar.clone(), selector).unwrap_err();
        assert!(
            matches!(&error, Error::NoSuchImage { there, .. } if there.len() == 2),
            "{error:?}"
        );
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &tar).unwrap();
    let source = format!("docker-archive:{}", file.path().display())
        .parse()
        .unwrap();
    let listed = lithify_oci::list(&source, &Limits::default()).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].names, ["app:1", "quay.io/x/app:latest"]);
    assert_eq!(
        listed[1].platforms[0]
            .platform
            .as_ref()
            .unwrap()
            .to_string(),
        AMD64
    );
}

/// One tag for several platforms.
#[test]
fn platforms() {
    let (one, two) = (layer("amd64"), layer("arm64"));
    let (name1, config1) = config_file(AMD64, std::slice::from_ref(&one));
    let (name2, config2) = config_file("linux/arm64", std::slice::from_ref(&two));
    let entries = json!([
        {"Config": name1, "RepoTags": ["app:1"], "Layers": ["one.tar"]},
        {"Config": name2, "RepoTags": ["app:1"], "Layers": ["two.tar"]},
    ]);
    let tar = Tar::new()
        .file("manifest.json", &manifest(&entries))
        .file(&name1, &config1)
        .file(&name2, &config2)
        .file("one.tar", &one)
        .file("two.tar", &two)
        .end();
    for platform in [AMD64, "linux/arm64"] {
        let image = open_tar("docker-archive", &tar, "", platform).unwrap();
        assert_eq!(format!("linux/{}", text(&image)), platform);
    }
    // An entry whose config was left out.
    let mut gone = entries.clone();
    gone[1]["Config"] = "gone.json".into();
    let partial = Tar::new()
        .raw(&tar[..tar.len() - 1024])
        .file("manifest.json", &manifest(&gone))
        .end();
    assert!(open_tar("docker-archive", &partial, "", AMD64).is_ok());
    let error = open_tar("docker-archive", &partial, "", "linux/arm64").unwrap_err();
    assert!(
        matches!(&error, Error::Platform { absent: 1, .. }),
        "{error:?}"
    );
    let error = open_tar("docker-archive", &tar, "", "linux/s390x").unwrap_err();
    assert!(
        matches!(&error, Error::Platform { there, .. } if there.len() == 2),
        "{error:?}"
    );
}

#[test]
fn refused() {
    let tar = layer("x");
    let (name, config) = config_file(AMD64, std::slice::from_ref(&tar));
    let archive = |config_path: &str, layers: Value| {
        let entries = json!([{"Config": config_path, "RepoTags": null, "Layers": layers}]);
        Tar::new()
            .file("manifest.json", &manifest(&entries))
            .file(&name, &config)
            .file("layer.tar", &tar)
            .symlink("escape.tar", "../../../etc/passwd")
            .symlink("loop.tar", "./loop.tar")
            .symlink("dangling.tar", "nothing")
            .dir("dir")
            .end()
    };
    assert!(docker(archive(&name, json!(["layer.tar"])), "").is_ok());
    assert!(docker(archive(&format!("./{name}"), json!(["./layer.tar"])), "").is_ok());
    for layer in [
        "../layer.tar",
        "/layer.tar",
        "/etc/passwd",
        "a/../layer.tar",
        "",
        "escape.tar",
        "loop.tar",
        "dangling.tar",
        "dir",
    ] {
        let error = docker(archive(&name, json!([layer])), "").unwrap_err();
        assert!(
            matches!(&error, Error::Blob(blob::Error::Archive { .. })),
            "{layer}: {error:?}"
        );
    }
    let error = docker(archive(&name, json!(["gone.tar"])), "").unwrap_err();
    assert!(
        matches!(error, Error::Blob(blob::Error::Missing { .. })),
        "{error:?}"
    );
    for config in ["../config.json", "/etc/passwd", "escape.tar", "dir"] {
        let error = docker(archive(config, json!(["layer.tar"])), "").unwrap_err();
        assert!(
            matches!(&error, Error::Blob(blob::Error::Archive { .. })),
            "{config}: {error:?}"
        );
    }
    let error = docker(archive(&name, json!([])), "").unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Manifest {
                source: manifest::Error::LayerCount {
                    layers: 0,
                    diff_ids: 1
                },
                ..
            }
        ),
        "{error:?}"
    );
    let error = docker(archive(&name, Value::Null), "").unwrap_err();
    assert!(matches!(&error, Error::Manifest { .. }), "{error:?}");
    let many = vec!["layer.tar"; 2000];
    let error = docker(archive(&name, json!(many)), "").unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Manifest {
                source: manifest::Error::TooMany { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn other_documents() {
    let with = |json: &[u8]| docker(Tar::new().file("manifest.json", json).end(), "");
    assert!(matches!(with(b"[]"), Err(Error::Empty)));
    assert!(matches!(with(b"null"), Err(Error::Empty)));
    for json in [
        &b""[..],
        b"{}",
        b"[{}]",
        b"[null]",
        b"[{\"Config\":1}]",
        br#"[{"Config":"a","Config":"b","Layers":[]}]"#,
        br#"[{"Config":"a","config":"b","Layers":[]}]"#,
        br#"[{"Config":"a","layers":[]}]"#,
    ] {
        let error = with(json).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::DockerArchive(DockerArchiveError::Json { .. })
            ),
            "{}: {error:?}",
            json.escape_ascii()
        );
    }
    let legacy = Tar::new()
        .file("repositories", b"{}")
        .file("x/json", b"{}")
        .end();
    let error = docker(legacy, "").unwrap_err();
    assert!(
        matches!(error, Error::DockerArchive(DockerArchiveError::Legacy)),
        "{error:?}"
    );
    let nothing = Tar::new().file("x", b"{}").end();
    let error = docker(nothing, "").unwrap_err();
    assert!(
        matches!(
            error,
            Error::DockerArchive(DockerArchiveError::NoManifest { .. })
        ),
        "{error:?}"
    );
    let fifo = Tar::new().member(b'6', "manifest.json", "", b"").end();
    assert!(matches!(
        docker(fifo, ""),
        Err(Error::Blob(blob::Error::Archive { .. }))
    ));
}

/// Jib, Kaniko and others leave layers compressed, and one image may stand there under two tags.
#[test]
fn compressed_layers_and_repeated_entries() {
    let layer = layer("zipped");
    let (name, config) = config_file(AMD64, std::slice::from_ref(&layer));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &layer).unwrap();
    let entry = |tag: &str| json!({"Config": name, "RepoTags": [tag], "Layers": ["l.tar.gz"]});
    let tar = Tar::new()
        .file(
            "manifest.json",
            &manifest(&json!([entry("a:1"), entry("b:1")])),
        )
        .file(&name, &config)
        .file("l.tar.gz", &gzip.finish().unwrap())
        .end();
    let image = docker(tar.clone(), "").unwrap();
    assert_eq!(text(&image), "zipped");
    assert_eq!(image.layers()[0].compression, None);
    assert_eq!(docker(tar, ":b:1").unwrap().names(), ["b:1"]);
}

/// Thousands of entries that share one large config: the work is bounded, not only the memory.
#[test]
fn one_config_many_times() {
    let (name, mut config) = config_file(AMD64, &[]);
    config.resize(1 << 20, b' ');
    let name = format!("x{name}");
    let entries = vec![json!({"Config": name, "RepoTags": null, "Layers": []}); 5000];
    let tar = Tar::new()
        .file("manifest.json", &manifest(&json!(entries)))
        .file(&name, &config)
        .end();
    let error = docker(tar, "").unwrap_err();
    assert!(matches!(error, Error::DocumentBytes { .. }), "{error:?}");
}

/// A config whose name is a digest must have that digest; one with a plain name has none to keep.
#[test]
fn config_digests() {
    let tar = layer("x");
    let (name, config) = config_file(AMD64, std::slice::from_ref(&tar));
    let changed = [&config[..], b" "].concat();
    let hex = name.trim_end_matches(".json");
    let archive = |path: &str, config: &[u8]| {
        let entries = json!([{"Config": path, "RepoTags": null, "Layers": ["layer.tar"]}]);
        Tar::new()
            .file("manifest.json", &manifest(&entries))
            .file(path, config)
            .file("layer.tar", &tar)
            .end()
    };
    for path in [
        name.clone(),
        format!("sha256:{hex}"),
        format!("blobs/sha256/{hex}"),
    ] {
        assert!(docker(archive(&path, &config), "").is_ok(), "{path}");
        let error = docker(archive(&path, &changed), "").unwrap_err();
        assert!(error.is_verification(), "{path}: {error:?}");
    }
    let image = docker(archive("config.json", &changed), "").unwrap();
    assert_eq!(*image.config_digest(), sha256(&changed));
}

/// Docker Desktop and Apple `container`: index.json -> index -> manifests, most of them left out,
/// with attestations.
#[test]
fn nested_index_with_absent_manifests() {
    use lithify_oci::layout::{CONTAINERD_NAME, REF_NAME};
    use lithify_oci::manifest::{Descriptor, ImageManifest, Index, media_type};

    let layout = Layout::new(|w| {
        let tar = layer("here");
        let l = w.put(media_type::OCI_LAYER, &tar).unwrap();
        let c = w
            .put_json(media_type::OCI_CONFIG, &config(AMD64, &[tar]))
            .unwrap();
        let mut here = w
            .put_json(media_type::OCI_MANIFEST, &ImageManifest::new(c, vec![l]))
            .unwrap();
        here.platform = Some(AMD64.parse().unwrap());
        let mut gone = Descriptor::new(media_type::OCI_MANIFEST, sha256(b"gone"), 4);
        gone.platform = Some("linux/arm64".parse().unwrap());
        let mut attestation = Descriptor::new(media_type::OCI_MANIFEST, sha256(b"attestation"), 4);
        attestation.platform = Some("unknown/unknown".parse().unwrap());
        attestation.annotations.insert(
            "vnd.docker.reference.type".into(),
            "attestation-manifest".into(),
        );
        let index = Index::new(vec![gone, attestation, here]);
        let mut root = w.put_json(media_type::OCI_INDEX, &index).unwrap();
        root.annotations.insert(REF_NAME.into(), "1.0".into());
        root.annotations
            .insert(CONTAINERD_NAME.into(), "docker.io/library/app:1.0".into());
        w.add(root);
    });
    let tar = layout.tar();
    for selector in ["", ":1.0", ":app:1.0", ":docker.io/library/app:1.0"] {
        let image = open_tar("oci-archive", &tar, selector, AMD64).unwrap();
        assert_eq!(text(&image), "here", "{selector}");
        assert_eq!(image.names(), ["docker.io/library/app:1.0"]);
    }
    let error = open_tar("oci-archive", &tar, "", "linux/arm64").unwrap_err();
    assert!(
        matches!(&error, Error::Blob(blob::Error::Missing { .. })),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(&sha256(b"gone").to_string()),
        "{error}"
    );
    let error = open_tar("oci-archive", &tar, "", "linux/s390x").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is linux/amd64 (1 more listed but not there)"),
        "{error}"
    );
}

/// A tar of a layout directory made with `tar -C layout .`, compressed.
#[test]
fn dot_slash_and_compression() {
    let layout = Layout::new(|w| drop(put(w, None, AMD64, "dots")));
    let path = layout.path();
    let out = layout.dir.path().join("a.tar.gz");
    let Some(_) = tool(
        "tar",
        &[
            "-czf",
            out.to_str().unwrap(),
            "-C",
            path.to_str().unwrap(),
            ".",
        ],
    ) else {
        return;
    };
    let image = open(&format!("oci-archive:{}", out.display()), AMD64).unwrap();
    assert_eq!(text(&image), "dots");
}
