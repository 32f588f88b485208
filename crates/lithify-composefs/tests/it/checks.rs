//! Checks and repairs, against what was damaged.

use std::fs;

use lithify_composefs::oci::{Image, layer_stream};
use lithify_composefs::repository::{
    Category, Depth, ErofsFormat, Fault, FsckOptions, ImageObjects, Publication, Repository,
};
use lithify_testkit::temp_dir;
use lithify_verity::file::FileDigest;

use crate::common::{
    ALGORITHM, Lists, Piece, bytes, checks, layer, objects, path_of, repository, write_image,
    write_layer,
};

/// A defect of `cfsctl` 0.9.4: a corrupted object stays in use after the image is pulled again.
#[test]
fn damage_is_found_named_and_healed_by_the_next_import() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    let layers = [layer(0), layer(1)];
    let stored = write_image(&repository, &layers, "a");
    let image = Image::open(&repository, &stored.digest).unwrap();
    let made = image.image(ErofsFormat::V1).unwrap();
    let file = crate::common::digest_of(ALGORITHM, &bytes(1, 1000));
    let report = repository.fsck(&Lists, &checks(Depth::Contents)).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(
        (report.streams, report.images, report.references),
        (4, 1, 1)
    );
    let good = objects(tmp.path());
    let parts = [
        file,
        made,
        image.layers[1].id,
        stored.config.id,
        stored.manifest.id,
    ];
    for id in parts {
        let path = path_of(tmp.path(), &id);
        let content = fs::read(&path).unwrap();
        let mut changed = content.clone();
        *changed.last_mut().unwrap() ^= 1;
        let longer = [&content[..], b"x"].concat();
        for damage in [Some(changed), Some(longer), None] {
            let is_missing = damage.is_none();
            match damage {
                None => fs::remove_file(&path).unwrap(),
                Some(damage) => fs::write(&path, damage).unwrap(),
            }
            let report = repository.fsck(&Lists, &checks(Depth::Objects)).unwrap();
            // It is said once, not of all that it is part of.
            let [finding] = &report.findings[..] else {
                panic!("{report:?}")
            };
            assert_eq!(
                finding.at,
                format!("objects/{}/{}", &id.hex()[..2], &id.hex()[2..])
            );
            match is_missing {
                true => assert!(matches!(finding.fault, Fault::Missing)),
                false => assert!(matches!(finding.fault, Fault::Digest { .. })),
            }
            assert!(
                finding.needed_by.contains(&"streams/refs/oci/a".to_owned()),
                "{finding:?}"
            );
            let report = repository
                .repair(&Lists, &checks(Depth::Objects), false)
                .unwrap();
            assert!(report.is_good(), "{report:?}");
            assert!(!path.exists());
            let complete = Image::open(&repository, &stored.digest)
                .is_ok_and(|image| image.is_intact(&repository).unwrap());
            assert!(!complete);
            write_image(&repository, &layers, "a");
            assert_eq!(objects(tmp.path()), good);
            let report = repository.fsck(&Lists, &checks(Depth::Contents)).unwrap();
            assert!(report.is_good(), "{report:?}");
            assert!(
                Image::open_tag(&repository, "a")
                    .unwrap()
                    .is_intact(&repository)
                    .unwrap()
            );
        }
    }
}

#[test]
fn a_layer_under_the_name_of_another_is_found() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    let (diff_id, _, _) = write_layer(&repository, &layer(0));
    let (_, evil, _) = write_layer(&repository, &layer(1));
    let mut publication = Publication::new();
    publication.stream(layer_stream(&diff_id), evil).unwrap();
    repository.publish(&publication).unwrap();
    let report = repository.fsck(&Lists, &checks(Depth::Structure)).unwrap();
    assert!(report.is_good());
    let report = repository
        .repair(&Lists, &checks(Depth::Contents), false)
        .unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{report:?}")
    };
    assert!(matches!(finding.fault, Fault::Content(_)));
    assert_eq!(
        repository
            .entry(Category::Streams, &layer_stream(&diff_id))
            .unwrap(),
        None
    );
}

#[test]
fn what_is_no_part_of_a_repository_is_reported() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    write_image(&repository, &[layer(0)], "a");
    let link = |target: &str, at: &str| {
        std::os::unix::fs::symlink(target, tmp.path().join(at)).unwrap();
    };
    fs::write(tmp.path().join("streams/file"), "x").unwrap();
    link("/etc/passwd", "streams/outside");
    link("../../gone", "streams/refs/oci/gone");
    let other = crate::common::digest_of(ALGORITHM, b"other").hex();
    let made = fs::read_dir(tmp.path().join("images"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let target = fs::read_link(made.path()).unwrap();
    link(target.to_str().unwrap(), &format!("images/{other}"));
    let directory = fs::read_dir(tmp.path().join("objects"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(directory.join("mine"), "x").unwrap();
    let report = repository.fsck(&Lists, &FsckOptions::default()).unwrap();
    let faults: Vec<_> = report
        .findings
        .iter()
        .map(|f| (&f.at[..], &f.fault))
        .collect();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(matches!(faults[0], (_, Fault::OtherImage { .. })));
    assert!(matches!(faults[1], (_, Fault::NotAnObject)));
    assert!(matches!(faults[2], ("streams/file", Fault::NotALink)));
    assert!(matches!(
        faults[3],
        ("streams/outside", Fault::Target { .. })
    ));
    assert!(matches!(
        faults[4],
        ("streams/refs/oci/gone", Fault::Dangling { .. })
    ));
}

/// A defect of `cfsctl` 0.9.4: a name such as `../../../../zz` writes a link outside of the
/// repository.
/// Publishes an image, with a name, when it is asked for the first time.
struct Importing<'a> {
    repository: &'a Repository,
    is_done: std::sync::atomic::AtomicBool,
}

impl ImageObjects for Importing<'_> {
    fn objects(
        &self,
        image: &fs::File,
        each: &mut dyn FnMut(FileDigest),
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if !self
            .is_done
            .swap(true, std::sync::atomic::Ordering::Relaxed)
        {
            write_image(self.repository, &[layer(7)], "meanwhile");
        }
        Lists.objects(image, each)
    }
}

#[test]
fn an_import_beside_a_check_is_no_damage() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    write_image(&repository, &[layer(0)], "a");
    let importing = Importing {
        repository: &repository,
        is_done: false.into(),
    };
    let report = repository.fsck(&importing, &checks(Depth::Contents));
    let report = report.unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.references, 2);
    // One that leads nowhere is told all the same.
    let manifest = Image::open_tag(&repository, "meanwhile").unwrap().digest;
    let manifest = lithify_composefs::oci::manifest_stream(&manifest);
    fs::remove_file(tmp.path().join("streams").join(manifest)).unwrap();
    let report = repository.fsck(&Lists, &checks(Depth::Structure)).unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{report:?}")
    };
    assert!(matches!(finding.fault, Fault::Dangling { .. }));
}

/// So many that several threads look at them.
#[test]
fn one_damaged_object_of_thousands_is_noticed() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    let files = (0..5000_u64).map(|n| n.to_le_bytes().repeat(10));
    let layer: Vec<Piece> = files.map(Piece::File).collect();
    let stored = write_image(&repository, &[layer], "a");
    let image = Image::open(&repository, &stored.digest).unwrap();
    assert!(image.is_intact(&repository).unwrap());
    let all: Vec<String> = objects(tmp.path()).into_iter().collect();
    assert!(all.len() > 5000);
    for hex in [&all[0], &all[2000], &all[4000], &all[all.len() - 1]] {
        let path = path_of(tmp.path(), &FileDigest::from_hex(ALGORITHM, hex).unwrap());
        let content = fs::read(&path).unwrap();
        fs::write(&path, "damage").unwrap();
        assert!(!image.is_intact(&repository).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!image.is_intact(&repository).unwrap());
        fs::write(&path, content).unwrap();
        assert!(image.is_intact(&repository).unwrap());
    }
}
