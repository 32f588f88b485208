//! Layout directories: written, read, and refused where they are broken or lead elsewhere.

use std::fs;

use crate::support::*;
use lithify_digest::{Algorithm, Digest};
use lithify_oci::Error;
use lithify_oci::blob::{self, BlobName};
use lithify_oci::layout::{self, ImageOptions};
use lithify_oci::manifest::{Compression, Descriptor, ImageManifest, Index, media_type};

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
