//! Collection and checks, against what is known to be needed.

use std::fs;

use lithify_cancel::CancelToken;
use lithify_composefs::oci::{Image, LayerWriter, layer_stream, untag};
use lithify_composefs::repository::{
    Category, Depth, ErofsFormat, Fault, FsckOptions, GcError, GcOptions, OpenOptions, Outcome,
    Publication, Repository,
};
use lithify_testkit::temp_dir;
use lithify_verity::file::FileDigest;
use proptest::prelude::*;

use crate::common::{
    ALGORITHM, Lists, bytes, checks, gc, layer, list_image, objects, open_with, path_of,
    repository, write_image, write_layer,
};

#[test]
fn what_a_tag_needs_stays_and_the_rest_goes() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    write_image(&repository, &[layer(0), layer(1)], "a");
    let kept = objects(tmp.path());
    write_image(&repository, &[layer(1), layer(2), layer(3)], "b");
    repository.store_object(b"nobody's").unwrap();
    let all = objects(tmp.path());
    assert_eq!(gc(&mut repository).objects, 1);
    untag(&repository, "b").unwrap();
    let options = GcOptions {
        is_dry_run: true,
        ..GcOptions::default()
    };
    let would = repository.gc(&Lists, &options).unwrap();
    assert_eq!(objects(tmp.path()).len(), all.len() - 1);
    let did = gc(&mut repository);
    assert_eq!(would, did);
    assert_eq!(objects(tmp.path()), kept);
    assert_eq!(
        (did.kept, did.objects),
        (kept.len() as u64, (all.len() - 1 - kept.len()) as u64)
    );
    assert_eq!(did.entries.len(), 5, "{did:?}"); // two layers, configuration, manifest, image
    assert!(
        repository
            .fsck(&Lists, &FsckOptions::default())
            .unwrap()
            .is_good()
    );
    assert_eq!(gc(&mut repository).objects, 0);
    assert!(
        Image::open_tag(&repository, "a")
            .unwrap()
            .is_intact(&repository)
            .unwrap()
    );
    untag(&repository, "a").unwrap();
    gc(&mut repository);
    assert!(objects(tmp.path()).is_empty());
    assert!(repository.entries(Category::Streams).unwrap().is_empty());
}

#[test]
fn roots_may_be_named() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    let (diff_id, id, parts) = write_layer(&repository, &layer(0));
    let image = repository.store_object(&list_image(&parts[..1])).unwrap();
    let mut publication = Publication::new();
    publication.stream(layer_stream(&diff_id), id).unwrap();
    publication.image(image.id);
    repository.publish(&publication).unwrap();
    let with = |roots: Vec<String>| GcOptions {
        roots,
        ..GcOptions::default()
    };
    let missing = repository.gc(&Lists, &with(vec!["missing".to_owned()]));
    assert!(matches!(missing, Err(GcError::Root { name }) if name == "missing"));
    let both = with(vec![layer_stream(&diff_id), image.id.hex()]);
    assert_eq!(repository.gc(&Lists, &both).unwrap().objects, 0);
    let report = repository.gc(&Lists, &with(vec![image.id.hex()])).unwrap();
    assert_eq!((report.kept, report.objects), (2, 2));
    assert_eq!(
        report.entries,
        [format!("streams/{}", layer_stream(&diff_id))]
    );
    let mut publication = Publication::new();
    publication
        .image_reference("system/root", &image.id)
        .unwrap();
    repository.publish(&publication).unwrap();
    assert_eq!(gc(&mut repository).kept, 2);
    let link = fs::read_link(tmp.path().join("images/refs/system/root")).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("../../{}", image.id.hex()));
    repository
        .remove_reference(Category::Images, "system/root")
        .unwrap();
    assert_eq!(gc(&mut repository).kept, 0);
}

/// A sparse file: the tar has its data alone, images the whole.
#[test]
fn what_a_layer_keeps_stays() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    let kept = repository.store_object(b"kept").unwrap().id;
    let mut writer = LayerWriter::unverified(&repository).unwrap();
    writer.raw(b"tar").unwrap();
    writer.keep(kept).unwrap();
    let id = writer.finish().unwrap().id;
    let mut publication = Publication::new();
    publication.stream("layer", id).unwrap();
    publication.stream_reference("layer", "layer").unwrap();
    repository.publish(&publication).unwrap();
    assert_eq!(gc(&mut repository).kept, 2);
    assert!(
        repository
            .fsck(&Lists, &checks(Depth::Contents))
            .unwrap()
            .is_good()
    );
    fs::remove_file(path_of(tmp.path(), &kept)).unwrap();
    let report = repository.fsck(&Lists, &checks(Depth::Structure)).unwrap();
    assert_eq!(
        report.findings[0].needed_by,
        ["streams/layer", "streams/refs/layer"]
    );
}

#[test]
fn nothing_is_removed_where_it_is_not_known_what_is_needed() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    let stored = write_image(&repository, &[layer(0)], "a");
    repository.store_object(b"nobody's").unwrap();
    let image = Image::open(&repository, &stored.digest).unwrap();
    let hex = image.layers[0].id.hex();
    let path = tmp.path().join("objects").join(&hex[..2]).join(&hex[2..]);
    let content = fs::read(&path).unwrap();
    for broken in [Some(&b"no splitstream"[..]), None] {
        match broken {
            Some(broken) => fs::write(&path, broken).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let before = objects(tmp.path());
        let refused = repository.gc(&Lists, &GcOptions::default());
        assert!(
            matches!(refused, Err(GcError::Unknown { .. })),
            "{refused:?}"
        );
        assert_eq!(objects(tmp.path()), before);
    }
    fs::write(&path, content).unwrap();
    assert_eq!(gc(&mut repository).objects, 1);
    // The image can be made again, of layers that are kept.
    let made = image.image(ErofsFormat::V1).unwrap().hex();
    fs::remove_file(tmp.path().join("images").join(&made)).unwrap();
    fs::remove_file(tmp.path().join("objects").join(&made[..2]).join(&made[2..])).unwrap();
    assert_eq!(gc(&mut repository).objects, 0);
}

#[test]
fn what_killed_processes_left_is_removed() {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    write_image(&repository, &[layer(0)], "a");
    let directory = fs::read_dir(tmp.path().join("objects"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let left = [
        tmp.path().join(".lithify-0123456789abcdef.tmp"),
        tmp.path().join("objects/.tmp-object-aaaa"),
        directory.join(".lithify-0123456789abcdef.tmp"),
        tmp.path().join("streams/.symlink-aaaa"),
        tmp.path().join("streams/refs/oci/.symlink-aaaa"),
    ];
    for path in &left {
        fs::write(path, "x").unwrap();
    }
    fs::write(directory.join("mine"), "x").unwrap();
    std::os::unix::fs::symlink("../../gone", tmp.path().join("streams/refs/oci/old")).unwrap();
    let report = gc(&mut repository);
    assert_eq!(report.temporary, left.len() as u64);
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!((report.others.len(), report.objects), (1, 0));
    assert_eq!(report.references, ["streams/refs/oci/old"]);
}

#[test]
fn work_that_is_stopped_removes_nothing() {
    let tmp = temp_dir();
    let cancel = CancelToken::new();
    let options = OpenOptions::new().sync(false).cancel(&cancel);
    let mut repository = open_with(tmp.path(), ALGORITHM, &options);
    write_image(&repository, &[layer(0)], "a");
    repository.store_object(b"nobody's").unwrap();
    let before = objects(tmp.path());
    cancel.cancel();
    let stopped = repository.gc(&Lists, &GcOptions::default());
    assert!(stopped.is_err(), "{stopped:?}");
    let stopped = repository.fsck(&Lists, &FsckOptions::default());
    assert!(stopped.is_err(), "{stopped:?}");
    assert_eq!(objects(tmp.path()), before);
    // Who waits for the others stops waiting, too.
    let mut other = crate::common::repository(tmp.path(), ALGORITHM);
    let waiting = GcOptions {
        is_waiting: true,
        ..GcOptions::default()
    };
    let stopped = repository.gc(&Lists, &waiting);
    assert!(matches!(stopped, Err(GcError::Cancelled(_))), "{stopped:?}");
    assert!(matches!(
        other.gc(&Lists, &GcOptions::default()),
        Err(GcError::InUse)
    ));
    drop(repository);
    assert_eq!(gc(&mut other).objects, 1);
}

#[test]
fn a_repository_in_use_is_not_collected() {
    let tmp = temp_dir();
    let mut one = repository(tmp.path(), ALGORITHM);
    let two = repository(tmp.path(), ALGORITHM);
    one.store_object(b"nobody's").unwrap();
    assert!(matches!(
        one.gc(&Lists, &GcOptions::default()),
        Err(GcError::InUse)
    ));
    let dry = GcOptions {
        is_dry_run: true,
        ..GcOptions::default()
    };
    assert_eq!(one.gc(&Lists, &dry).unwrap().objects, 1);
    drop(two);
    assert_eq!(gc(&mut one).objects, 1);
    // The shared lock is there again.
    let mut two = repository(tmp.path(), ALGORITHM);
    assert!(matches!(
        two.gc(&Lists, &GcOptions::default()),
        Err(GcError::InUse)
    ));
    // Who waits gets its turn when the other one has ended.
    std::thread::scope(|scope| {
        let waiting = GcOptions {
            is_waiting: true,
            ..GcOptions::default()
        };
        let collecting = scope.spawn(move || two.gc(&Lists, &waiting).unwrap());
        drop(one);
        collecting.join().unwrap();
    });
}

#[derive(Clone, Debug)]
enum Step {
    /// Stores an image of these layers under a tag.
    Image(Vec<u8>, u8),
    Untag(u8),
    Object(u8),
    Collect,
    /// Damages an object, if there is one, and repairs.
    Damage(prop::sample::Index),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (prop::collection::vec(0..6_u8, 1..4), 0..4_u8).prop_map(|(l, t)| Step::Image(l, t)),
        2 => (0..4_u8).prop_map(Step::Untag),
        1 => any::<u8>().prop_map(Step::Object),
        2 => Just(Step::Collect),
        1 => any::<prop::sample::Index>().prop_map(Step::Damage),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..14)
}

/// Does what steps say, and compares tags and objects with what should be there.
fn follow(steps: Vec<Step>) {
    let tmp = temp_dir();
    let mut repository = repository(tmp.path(), ALGORITHM);
    // Layers by tag.
    let mut model = std::collections::BTreeMap::<String, Vec<u8>>::new();
    let layers = |list: &[u8]| -> Vec<_> { list.iter().map(|n| layer(u64::from(*n))).collect() };
    for step in steps {
        match step {
            Step::Image(list, tag) => {
                let tag = format!("tag/{tag}");
                write_image(&repository, &layers(&list), &tag);
                model.insert(tag, list);
            }
            Step::Untag(tag) => {
                let tag = format!("tag/{tag}");
                assert_eq!(
                    untag(&repository, &tag).is_ok(),
                    model.remove(&tag).is_some()
                );
            }
            Step::Object(seed) => {
                repository.store_object(&bytes(seed.into(), 100)).unwrap();
            }
            Step::Collect => {
                gc(&mut repository);
                let other = temp_dir();
                let fresh = crate::common::repository(other.path(), ALGORITHM);
                for (tag, list) in &model {
                    write_image(&fresh, &layers(list), tag);
                }
                assert_eq!(objects(tmp.path()), objects(other.path()));
                let entries = |r: &Repository, c| r.entries(c).unwrap();
                for category in Category::ALL {
                    assert_eq!(entries(&repository, category), entries(&fresh, category));
                }
            }
            Step::Damage(index) => {
                let all: Vec<String> = objects(tmp.path()).into_iter().collect();
                if !all.is_empty() {
                    let hex = index.get(&all);
                    let id = FileDigest::from_hex(ALGORITHM, hex).unwrap();
                    fs::write(path_of(tmp.path(), &id), "damage").unwrap();
                    let report = repository
                        .repair(&Lists, &checks(Depth::Objects), false)
                        .unwrap();
                    assert!(
                        report
                            .findings
                            .iter()
                            .any(|f| matches!(f.fault, Fault::Digest { .. }))
                    );
                    for (tag, list) in &model {
                        write_image(&repository, &layers(list), tag);
                    }
                }
            }
            Step::Reopen => {
                drop(repository);
                repository = crate::common::repository(tmp.path(), ALGORITHM);
            }
        }
        let report = repository.fsck(&Lists, &checks(Depth::Contents)).unwrap();
        // What only images need whose tags are gone was not stored again.
        let is_referred_to = |at: &String| at.contains("/refs/");
        let findings = report.findings.iter();
        let wrong: Vec<_> = findings
            .filter(|f| is_referred_to(&f.at) || f.needed_by.iter().any(is_referred_to))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        for (tag, list) in &model {
            let image = Image::open_tag(&repository, tag).unwrap();
            assert!(image.is_intact(&repository).unwrap());
            assert_eq!(image.layers.len(), list.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_work_leaves_what_it_should(steps in steps()) {
        follow(steps);
    }
}

#[test]
fn an_object_that_was_stored_again_is_said_to_be_there() {
    let tmp = temp_dir();
    let repository = repository(tmp.path(), ALGORITHM);
    write_image(&repository, &[layer(0)], "a");
    let stored = repository.store_object(&bytes(0, 1000)).unwrap();
    assert_eq!(stored.outcome, Outcome::Existing);
}
