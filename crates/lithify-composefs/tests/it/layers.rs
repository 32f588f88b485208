//! Layers and images: the exact bytes come back, and names promise them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use lithify_composefs::object_path;
use lithify_composefs::oci::{
    Image, ImageError, LayerError, LayerSplitter, LayerWriter, NewImage, layer_stream, open_blob,
    open_layer, resolve_tag, store_blob, store_blob_layer, store_image, tags, untag,
};
use lithify_composefs::repository::{Category, EntryError, ErofsFormat, Publication, Repository};
use lithify_composefs::splitstream::ContentType;
use lithify_digest::Mismatch;
use lithify_tar::Limits;
use lithify_testkit::{Tar, TarEntry, temp_dir};
use lithify_verity::file::FileAlgorithm;
use proptest::prelude::*;

use crate::common::{
    Piece, bytes, digest_of, documents, repository, sha256, whole, write_image, write_layer,
};

fn read(repository: &Repository, digest: &lithify_digest::Digest) -> std::io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    open_layer(repository, digest)
        .unwrap()
        .read_to_end(&mut tar)?;
    Ok(tar)
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        (any::<u64>(), 0..3000_usize).prop_map(|(s, n)| Piece::Raw(bytes(s, n))),
        (0..9_u64, 0..200_usize).prop_map(|(s, n)| Piece::File(bytes(s, n))),
        (0..3_u64, 1..4_usize).prop_map(|(s, n)| Piece::File(bytes(s, n * 90_000))),
    ];
    prop::collection::vec(piece, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_exact_tar_comes_back(
        pieces in pieces(),
        algorithm in prop::sample::select(&FileAlgorithm::ALL[..]),
    ) {
        let tmp = temp_dir();
        let repository = repository(tmp.path(), algorithm);
        let (diff_id, id, objects) = write_layer(&repository, &pieces);
        let long = pieces.iter().filter(|p| matches!(p, Piece::File(data) if data.len() > 64));
        prop_assert_eq!(objects.len(), long.count());
        let mut publication = Publication::new();
        publication.stream(layer_stream(&diff_id), id).unwrap();
        repository.publish(&publication).unwrap();
        prop_assert_eq!(read(&repository, &diff_id).unwrap(), whole(&pieces));
    }
}

/// A defect of `cfsctl` 0.9.4: what a layer is said to be is taken on trust, and so served to other
/// images.
#[test]
fn a_layer_is_compared_with_its_diff_id() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let mut writer = LayerWriter::new(&repository, sha256(b"the honest one")).unwrap();
    writer.raw(b"the evil one").unwrap();
    let refused = writer.finish();
    assert!(matches!(
        refused,
        Err(LayerError::Content {
            source: Mismatch::Digest { .. },
            ..
        })
    ));
    // Nor is it believed when it is read: as if another program had stored it.
    let (_, evil, _) = write_layer(&repository, &[Piece::Raw(b"the evil one".to_vec())]);
    let mut publication = Publication::new();
    let honest = sha256(b"the honest one");
    publication.stream(layer_stream(&honest), evil).unwrap();
    repository.publish(&publication).unwrap();
    let error = read(&repository, &honest).unwrap_err();
    assert!(matches!(
        Mismatch::in_error(&error),
        Some(Mismatch::Digest { .. })
    ));
}

#[test]
fn files_have_the_size_of_their_headers() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    for size in [10, 100] {
        let mut writer = LayerWriter::unverified(&repository).unwrap();
        writer.start_file(size).unwrap();
        writer.data(b"short").unwrap();
        assert!(matches!(
            writer.end_file(),
            Err(LayerError::FileSize { expected, found: 5 }) if expected == size
        ));
        let mut writer = LayerWriter::unverified(&repository).unwrap();
        writer.start_file(size).unwrap();
        assert!(matches!(
            writer.data(&[0; 101]),
            Err(LayerError::FileSize { expected, found: 101 }) if expected == size
        ));
    }
    let mut writer = LayerWriter::unverified(&repository).unwrap();
    let object = repository.store_object(&[7; 65]).unwrap();
    let short = writer.object(object.id, 64);
    assert!(matches!(
        short,
        Err(LayerError::Short {
            found: 64,
            limit: 64
        })
    ));
    writer.object(object.id, 65).unwrap();
    writer.keep(object.id).unwrap();
    let mut compared = LayerWriter::new(&repository, sha256(b"")).unwrap();
    let unseen = compared.object(object.id, 65);
    assert!(matches!(unseen, Err(LayerError::Unseen)));
    assert!(matches!(writer.data(b"x"), Err(LayerError::Order)));
    assert!(matches!(writer.end_file(), Err(LayerError::Order)));
    writer.start_file(3).unwrap();
    assert!(matches!(writer.raw(b"x"), Err(LayerError::Order)));
    assert!(matches!(writer.start_file(3), Err(LayerError::Order)));
    assert!(matches!(writer.finish(), Err(LayerError::Order)));
}

fn layers() -> Vec<Vec<Piece>> {
    (0..3)
        .map(|n| {
            vec![
                Piece::Raw(bytes(n, 512)),
                Piece::File(bytes(n, 2000)),
                Piece::Raw(bytes(n, 1024)),
            ]
        })
        .collect()
}

#[test]
fn images_come_back_by_tag_and_digest() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let stored = write_image(&repository, &layers(), "example.org/a:1");
    let image = Image::open_tag(&repository, "example.org/a:1").unwrap();
    assert_eq!(image, Image::open(&repository, &stored.digest).unwrap());
    assert_eq!(sha256(&image.manifest), stored.digest);
    assert_eq!(sha256(&image.config), image.config_digest);
    assert!(image.is_intact(&repository).unwrap());
    let found: Vec<_> = image.layers.iter().map(|l| l.digest).collect();
    let expected: Vec<_> = layers().iter().map(|l| sha256(&whole(l))).collect();
    assert_eq!(found, expected);
    for (layer, pieces) in image.layers.iter().zip(layers()) {
        assert_eq!(read(&repository, &layer.digest).unwrap(), whole(&pieces));
    }
    let made = image.image(ErofsFormat::V1).unwrap();
    assert_eq!(image.image(ErofsFormat::V0), Some(made));
    assert_eq!(image.image(ErofsFormat::V2), None);
    repository.open_image(&made).unwrap();

    write_image(&repository, &layers()[..1], "b/c%d");
    let names: Vec<_> = tags(&repository)
        .unwrap()
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["b/c%d", "example.org/a:1"]);
    let link = fs::read_link(tmp.path().join("streams/refs/oci/example.org%2Fa:1")).unwrap();
    assert_eq!(
        link.to_str().unwrap(),
        format!("../../oci-manifest-{}", stored.digest)
    );
    untag(&repository, "b/c%d").unwrap();
    assert!(matches!(
        untag(&repository, "b/c%d"),
        Err(ImageError::NoTag { .. })
    ));
    assert!(matches!(
        resolve_tag(&repository, "b/c%d"),
        Err(ImageError::NoTag { .. })
    ));
    assert!(matches!(
        resolve_tag(&repository, "@a"),
        Err(ImageError::Name(_))
    ));
}

#[test]
fn an_image_that_lacks_something_is_not_complete() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let stored = write_image(&repository, &layers(), "a");
    let image = Image::open(&repository, &stored.digest).unwrap();
    let made = image.image(ErofsFormat::V1).unwrap();
    for at in [
        format!("images/{}", made.hex()),
        format!("streams/{}", layer_stream(&image.layers[1].digest)),
        format!("streams/oci-config-{}", image.config_digest),
    ] {
        let target = fs::read_link(tmp.path().join(&at)).unwrap();
        fs::remove_file(tmp.path().join(&at)).unwrap();
        assert!(!image.is_intact(&repository).unwrap(), "{at}");
        // Nor is what leads elsewhere: a splitstream of another layer is one too.
        let other = fs::read_link(
            tmp.path()
                .join(format!("streams/{}", layer_stream(&image.layers[0].digest))),
        );
        for other in [&other.unwrap(), std::path::Path::new("/etc/passwd")] {
            std::os::unix::fs::symlink(other, tmp.path().join(&at)).unwrap();
            assert!(!image.is_intact(&repository).unwrap(), "{at}");
            fs::remove_file(tmp.path().join(&at)).unwrap();
        }
        fs::write(tmp.path().join(&at), "no link").unwrap();
        assert!(!image.is_intact(&repository).unwrap(), "{at}");
        fs::remove_file(tmp.path().join(&at)).unwrap();
        std::os::unix::fs::symlink(target, tmp.path().join(&at)).unwrap();
        assert!(image.is_intact(&repository).unwrap());
    }
}

#[test]
fn what_was_written_to_since_it_was_published_is_read() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let stored = write_image(&repository, &layers(), "a");
    let image = Image::open(&repository, &stored.digest).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let touch = |path: &std::path::Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(later).unwrap();
    };
    let stream = repository
        .entry(Category::Streams, &layer_stream(&image.layers[0].digest))
        .unwrap()
        .unwrap();
    let mut reader = repository
        .open_stream(&layer_stream(&image.layers[0].digest), ContentType::LAYER)
        .unwrap();
    let object = reader.object(0).unwrap();
    for id in [stream, object] {
        let path = tmp.path().join("objects").join(object_path(&id));
        let good = fs::read(&path).unwrap();
        // The same bytes once more.
        fs::write(&path, &good).unwrap();
        touch(&path);
        assert!(image.is_intact(&repository).unwrap());
        let mut bad = good.clone();
        bad[10] ^= 1;
        fs::write(&path, &bad).unwrap();
        touch(&path);
        assert!(!image.is_intact(&repository).unwrap());
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        touch(&path);
        assert!(!image.is_intact(&repository).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!image.is_intact(&repository).unwrap());
        fs::write(&path, &good).unwrap();
        assert!(image.is_intact(&repository).unwrap());
    }
}

#[test]
fn documents_are_compared_with_their_digests() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let (diff_id, id, _) = write_layer(&repository, &layers()[0]);
    let (manifest, config) = documents(&[diff_id], "x");
    let ids = BTreeMap::from([(diff_id, id)]);
    let good = NewImage {
        digest: sha256(&manifest),
        manifest: &manifest,
        config: &config,
        layers: &ids,
        images: &BTreeMap::new(),
        kept: &[],
    };
    let refused = |image: NewImage<'_>| store_image(&repository, &image).unwrap_err();
    let other = [&manifest[..], b" "].concat();
    assert!(matches!(
        refused(NewImage {
            manifest: &other,
            ..good.clone()
        }),
        ImageError::Content {
            document: "manifest",
            ..
        }
    ));
    let other = [&config[..], b" "].concat();
    assert!(matches!(
        refused(NewImage {
            config: &other,
            ..good.clone()
        }),
        ImageError::Content {
            document: "configuration",
            ..
        }
    ));
    let none = BTreeMap::new();
    assert!(matches!(
        refused(NewImage { layers: &none, ..good.clone() }),
        ImageError::NoLayer { layer } if *layer == diff_id
    ));
    let (_, config_of_two) = documents(&[diff_id, diff_id], "x");
    let manifest_of_one = String::from_utf8(manifest.clone()).unwrap();
    let manifest_of_one = manifest_of_one
        .replace(
            &sha256(&config).to_string(),
            &sha256(&config_of_two).to_string(),
        )
        .into_bytes();
    assert!(matches!(
        refused(NewImage {
            digest: sha256(&manifest_of_one),
            manifest: &manifest_of_one,
            config: &config_of_two,
            ..good.clone()
        }),
        ImageError::LayerCount {
            manifest: 1,
            config: 2
        }
    ));
    assert!(matches!(
        refused(NewImage {
            digest: sha256(b"{}"),
            manifest: b"{}",
            ..good.clone()
        }),
        ImageError::Json {
            document: "manifest",
            ..
        }
    ));
    store_image(&repository, &good).unwrap();
    // Nothing has a name yet.
    assert!(repository.entries(Category::Streams).unwrap().is_empty());
}

#[test]
fn a_damaged_document_is_not_read() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let stored = write_image(&repository, &layers(), "a");
    let object = repository.store_object(&Image::open(&repository, &stored.digest).unwrap().config);
    let hex = object.unwrap().id.hex();
    let path = tmp.path().join("objects").join(&hex[..2]).join(&hex[2..]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("amd64", "arm64")).unwrap();
    assert!(matches!(
        Image::open(&repository, &stored.digest),
        Err(ImageError::Content {
            document: "configuration",
            ..
        })
    ));
}

#[test]
fn layers_that_are_no_tars_and_blobs_are_one_object() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    for blob in [bytes(1, 300_000), Vec::new()] {
        let (digest, size) = (sha256(&blob), blob.len() as u64);
        store_blob_layer(&repository, digest, size + 1, &blob[..]).unwrap_err();
        store_blob_layer(&repository, sha256(b"other"), size, &blob[..]).unwrap_err();
        let layer = store_blob_layer(&repository, digest, size, &blob[..]).unwrap();
        let stored = store_blob(&repository, &digest, &blob).unwrap();
        assert_eq!(layer.id, stored.id);
        let mut publication = Publication::new();
        publication.stream(layer_stream(&digest), layer.id).unwrap();
        publication
            .stream(format!("oci-blob-{digest}"), stored.id)
            .unwrap();
        repository.publish(&publication).unwrap();
        assert_eq!(open_blob(&repository, &digest).unwrap(), blob);
        assert!(!open_layer(&repository, &digest).unwrap().is_tar());
        assert_eq!(read(&repository, &digest).unwrap(), blob);
    }
    let missing = open_layer(&repository, &sha256(b"missing"));
    assert!(matches!(missing, Err(EntryError::Missing { .. })));
}

/// A tar with everything that stands between files.
fn tar() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.add(TarEntry::directory("d"));
    for size in [0, 1, 63, 64, 65, 511, 512, 513, 70_000] {
        let name = format!("d/{size}{}", "x".repeat(size % 300));
        tar.add(TarEntry::file(name, bytes(size as u64, size)));
    }
    tar.add(
        TarEntry::file("d/same", bytes(513, 513))
            .xattr("user.a", "b")
            .mtime(5, 6),
    );
    tar.add(TarEntry::symlink("link", "t".repeat(200)));
    tar.add(TarEntry::hard_link("hard", "d/same"));
    tar.add(TarEntry::char_device("null", 1, 3));
    tar.add(TarEntry::fifo("fifo"));
    tar.add(TarEntry::whiteout("gone"));
    // Some writers fill up to twenty blocks.
    let mut bytes = tar.finish();
    bytes.resize(bytes.len().next_multiple_of(10_240) + 10_240, 0);
    bytes
}

#[test]
fn tars_are_split_as_they_pass() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let tar = tar();
    let diff_id = sha256(&tar);
    let mut ids = Vec::new();
    for step in [1, 7, 512, 1000, tar.len()] {
        let mut splitter = LayerSplitter::new(&repository, diff_id, Limits::default()).unwrap();
        tar.chunks(step)
            .for_each(|piece| splitter.push(piece).unwrap());
        ids.push(splitter.finish().unwrap().id);
    }
    ids.dedup();
    let [id] = ids[..] else {
        panic!("the pieces change the stream")
    };
    let mut publication = Publication::new();
    publication.stream(layer_stream(&diff_id), id).unwrap();
    repository.publish(&publication).unwrap();
    assert_eq!(read(&repository, &diff_id).unwrap(), tar);
    let mut stream = repository
        .open_stream(&layer_stream(&diff_id), ContentType::LAYER)
        .unwrap();
    // Files longer than 64 bytes, each once.
    assert_eq!(stream.object_count(), 5);
    let expected =
        [65, 511, 512, 513, 70_000].map(|n| digest_of(FileAlgorithm::Sha256, &bytes(n as u64, n)));
    for (index, id) in expected.into_iter().enumerate() {
        assert_eq!(stream.object(index as u64).unwrap(), id);
    }
}

/// A defect of `cfsctl` 0.9.4: a layer that is cut between two blocks is taken for one with fewer
/// files.
#[test]
fn cut_tars_are_refused() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), FileAlgorithm::Sha256);
    let tar = tar();
    for length in (0..tar.len()).step_by(512) {
        let mut splitter =
            LayerSplitter::new(&repository, sha256(&tar), Limits::default()).unwrap();
        splitter.push(&tar[..length]).unwrap();
        let refused = splitter.finish();
        assert!(
            matches!(
                refused,
                Err(LayerError::Content { .. } | LayerError::Tar(_))
            ),
            "{length}: {refused:?}"
        );
    }
}
