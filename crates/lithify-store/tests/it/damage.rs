//! Changed bytes, by whatever means: found by `fsck`, and never handed out as good.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::{Random, assert_clean, build, bytes, files, flip, key, open};
use lithify_digest::{Algorithm, Digest};
use lithify_store::{
    Access, Action, Defect, ExportOptions, Exported, Facts, Finding, FsckOptions, ImageRecord,
    Lookup, OpenOptions, Origin, Problem, RECHECK_AFTER, Store, Target,
};
use lithify_testkit::temp_dir;

const LENGTH: usize = 5000;

/// A store with everything a store has.
fn full_store(path: &Path) -> Store {
    let store = open(path);
    let entries = [1, 2].map(|n| build(&store, n, LENGTH).0.id());
    let digest = Digest::of(Algorithm::Sha256, b"manifest");
    let target = Target::new(entries.to_vec(), Facts::new());
    let image = ImageRecord::new("example:1", "linux/amd64", digest, Facts::new());
    store
        .put_image(&image.target("erofs-layers", target))
        .unwrap();
    let blob = b"a blob another tool wrote";
    let digest = Digest::of(Algorithm::Sha256, blob);
    fs::write(path.join("blobs/sha256").join(digest.hex()), blob).unwrap();
    store
}

#[test]
fn fsck_finds_every_changed_byte_of_every_file() {
    let tmp = temp_dir();
    let store = full_store(tmp.path());
    assert_clean(&store);
    let mut random = Random(1);
    let mut seen = 0;
    for file in files(tmp.path()) {
        let name = file.strip_prefix(tmp.path()).unwrap();
        if name.starts_with("locks") {
            assert_eq!(fs::metadata(&file).unwrap().len(), 0, "locks hold nothing");
            continue;
        }
        let length = fs::metadata(&file).unwrap().len();
        // Every byte of the small files, some of the large ones.
        let step = (length / 500).max(1);
        for offset in (0..length).step_by(step as usize) {
            let (bit, hide) = (random.below(8) as u32, random.below(2) == 0);
            flip(&file, offset, bit, hide);
            let report = store.fsck(&FsckOptions::new()).unwrap();
            assert!(!report.is_clean(), "{name:?} at {offset}, bit {bit}");
            let at = &report.damage().next().unwrap().path;
            assert!(name.starts_with(at), "{name:?} was changed, {at:?} found");
            flip(&file, offset, bit, hide);
            seen += 1;
        }
    }
    assert!(seen > 1500, "{seen}");
    assert_clean(&store);
}

#[test]
fn no_changed_byte_is_handed_out() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let mut random = Random(2);
    for round in 0..120 {
        let (entry, _) = build(&store, 1, LENGTH);
        let directory = entry.path("layer.erofs").unwrap();
        drop(entry);
        let names = [
            "layer.erofs",
            "layer.erofs.dmverity",
            "entry.json",
            "stamp.json",
        ];
        let name = names[round % 4];
        let path = directory.with_file_name(name);
        let offset = random.below(fs::metadata(&path).unwrap().len());
        flip(&path, offset, random.below(8) as u32, random.below(2) == 0);
        match store.look_up(&key(1)).unwrap() {
            Lookup::Damaged(damage) => {
                assert_ne!(name, "stamp.json");
                assert!(damage.quarantined.unwrap().is_dir());
                assert_eq!(build(&store, 1, LENGTH).1, Origin::Built);
            }
            Lookup::Hit(entry) => {
                assert_eq!(name, "stamp.json", "a changed {name} is a hit");
                assert_eq!(
                    fs::read(entry.path("layer.erofs").unwrap()).unwrap(),
                    bytes(1, LENGTH)
                );
            }
            other => panic!("{other:?}"),
        }
        assert_clean(&store);
    }
}

#[test]
fn cut_and_grown_and_replaced_files_are_noticed() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |p| {
            fs::File::options()
                .write(true)
                .open(p)
                .unwrap()
                .set_len(10)
                .unwrap()
        },
        |p| {
            fs::File::options()
                .write(true)
                .open(p)
                .unwrap()
                .set_len(9999)
                .unwrap()
        },
        |p| fs::remove_file(p).unwrap(),
        |p| {
            fs::remove_file(p).unwrap();
            fs::write(p, vec![0; LENGTH]).unwrap();
        },
        |p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        },
    ];
    for change in changes {
        let (entry, origin) = build(&store, 1, LENGTH);
        assert_eq!(origin, Origin::Built);
        let path = entry.path("layer.erofs").unwrap();
        drop(entry);
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        change(&path);
        assert!(!store.fsck(&FsckOptions::new()).unwrap().is_clean());
        assert!(matches!(
            store.look_up(&key(1)).unwrap(),
            Lookup::Damaged(_)
        ));
        assert!(matches!(store.look_up(&key(1)).unwrap(), Lookup::Miss));
    }
}

#[test]
fn what_no_time_tells_is_found_by_reading_again() {
    let tmp = temp_dir();
    let at = |after: Option<Duration>| {
        let options = OpenOptions::new().create(true).recheck_after(after);
        Store::open(tmp.path().join("store"), options).unwrap()
    };
    let (never, each_time) = (at(None), at(Some(Duration::ZERO)));
    let (entry, _) = build(&never, 1, LENGTH);
    let path = entry.path("layer.erofs").unwrap();
    drop(entry);
    let stamp = path.with_file_name("stamp.json");
    let checked = || fs::read_to_string(&stamp).unwrap().contains("checked");
    // Made this moment: a week has not passed, and no time at all has.
    assert!(at(Some(RECHECK_AFTER)).get(&key(1)).unwrap().is_some());
    assert!(!checked());
    assert!(each_time.get(&key(1)).unwrap().is_some());
    assert!(checked());
    // A bit changes, and all that time stamps say is that a link was made.
    flip(&path, 100, 3, true);
    fs::hard_link(&path, tmp.path().join("link")).unwrap();
    for store in [&never, &at(Some(RECHECK_AFTER))] {
        assert!(store.get(&key(1)).unwrap().is_some());
    }
    let Lookup::Damaged(damage) = each_time.look_up(&key(1)).unwrap() else {
        panic!("a changed file was handed out");
    };
    assert!(matches!(damage.defect, Defect::Content { .. }), "{damage}");
    assert_eq!(build(&each_time, 1, LENGTH).1, Origin::Built);
    assert_clean(&never);
}

#[test]
fn writing_to_a_linked_output_is_noticed() {
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let (entry, _) = build(&store, 1, LENGTH);
    let output = tmp.path().join("output.erofs");
    let how = entry
        .export("layer.erofs", &output, ExportOptions::new())
        .unwrap();
    drop(entry);
    if how != Exported::Link {
        // A filesystem with clones: the output is the user's alone.
        return;
    }
    // Hits stay hits: neither the link nor its removal makes anyone read the file.
    assert!(store.get(&key(1)).unwrap().is_some());
    flip(&output, 100, 0, false);
    let Lookup::Damaged(damage) = store.look_up(&key(1)).unwrap() else {
        panic!("a changed file was handed out");
    };
    assert!(matches!(damage.defect, Defect::Content { .. }), "{damage}");
    assert_eq!(build(&store, 1, LENGTH).1, Origin::Built);
    // The user's file is still the user's.
    assert_ne!(fs::read(&output).unwrap(), bytes(1, LENGTH));
    assert_clean(&store);
}

#[test]
fn touched_but_unchanged_is_good() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (entry, _) = build(&store, 1, LENGTH);
    let path = entry.path("layer.erofs").unwrap();
    let stamp = path.with_file_name("stamp.json");
    drop(entry);
    let before = fs::read(&stamp).unwrap();
    fs::File::open(&path)
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    assert!(store.get(&key(1)).unwrap().is_some());
    assert_ne!(
        fs::read(&stamp).unwrap(),
        before,
        "the next look is cheap again"
    );
    fs::remove_file(&stamp).unwrap();
    assert!(store.get(&key(1)).unwrap().is_some());
    assert!(stamp.exists());
    assert_clean(&store);
}

#[test]
fn repair_sets_aside_what_is_bad_and_keeps_what_is_good() {
    let tmp = temp_dir();
    let store = full_store(tmp.path());
    build(&store, 3, LENGTH);
    let at = |n: u64| tmp.path().join("artifacts").join(key(n).id().hex());
    flip(&at(1).join("layer.erofs"), 7, 7, true);
    flip(&at(2).join("entry.json"), 70, 1, true);
    flip(&at(3).join("stamp.json"), 20, 2, true);
    fs::write(at(3).join("stray"), "x").unwrap();
    fs::write(tmp.path().join("notes.txt"), "x").unwrap();
    fs::write(tmp.path().join("artifacts/x"), "x").unwrap();
    fs::write(tmp.path().join("images/x"), "x").unwrap();
    fs::write(tmp.path().join("locks/x"), "x").unwrap();
    fs::write(tmp.path().join("blobs/x"), "x").unwrap();
    fs::write(tmp.path().join("tmp/123-4-5"), "x").unwrap();
    fs::create_dir(tmp.path().join("tmp/123-4-6")).unwrap();
    let blob = files(&tmp.path().join("blobs/sha256")).remove(0);
    flip(&blob, 0, 0, true);
    flip(&tmp.path().join("index.json"), 3, 0, true);
    fs::remove_file(tmp.path().join("oci-layout")).unwrap();

    let seen = store.fsck(&FsckOptions::new()).unwrap();
    assert!(
        seen.findings
            .iter()
            .all(|f| matches!(f.action, Action::Reported))
    );
    let report = store.fsck(&FsckOptions::new().repair(true)).unwrap();
    // Entries that were set aside are missed by the image that needs them, which forgets what it has to build again.
    assert_eq!(report.findings.len(), seen.findings.len() + 1);
    let dangling = |f: &&Finding| matches!(f.problem, Problem::Dangling { .. });
    assert_eq!(report.findings.iter().filter(dangling).count(), 1);
    for finding in &report.findings {
        let open = matches!(finding.action, Action::Reported | Action::Failed(_));
        assert!(!open, "{finding:?}");
    }
    assert_clean(&store);
    assert!(store.get(&key(3)).unwrap().is_some());
    for n in [1, 2] {
        assert_eq!(build(&store, n, LENGTH).1, Origin::Built);
    }
    assert_clean(&store);
    let aside = files(&tmp.path().join("quarantine"));
    for name in ["layer.erofs", "notes.txt", "stray", "index.json"] {
        assert!(aside.iter().any(|p| p.ends_with(name)), "{name}: {aside:?}");
    }
}

#[test]
fn a_damaged_version_is_found_and_repaired() {
    let tmp = temp_dir();
    build(&open(tmp.path()), 1, LENGTH);
    let path = tmp.path().join("lithify-store.json");
    for offset in 0..fs::metadata(&path).unwrap().len() {
        flip(&path, offset, 0, true);
        for create in [false, true] {
            let result = Store::open(tmp.path(), OpenOptions::new().create(create));
            assert!(
                matches!(result, Err(lithify_store::Error::Version { .. })),
                "{offset}"
            );
        }
        flip(&path, offset, 0, true);
    }
    flip(&path, 20, 3, true);
    let store = Store::open(tmp.path(), OpenOptions::new().repair(true)).unwrap();
    assert!(
        !store
            .fsck(&FsckOptions::new().repair(true))
            .unwrap()
            .is_clean()
    );
    assert_clean(&store);
    assert!(open(tmp.path()).get(&key(1)).unwrap().is_some());
}

#[test]
fn a_damaged_image_record_stops_collection() {
    let tmp = temp_dir();
    let store = full_store(tmp.path());
    let record = files(&tmp.path().join("images")).remove(0);
    flip(&record, 30, 0, true);
    let options = lithify_store::GcOptions::new();
    assert!(matches!(
        store.gc(&options),
        Err(lithify_store::Error::Record { .. })
    ));
    assert_eq!(store.images().unwrap().damaged.len(), 1);
    store.fsck(&FsckOptions::new().repair(true)).unwrap();
    assert_eq!(store.gc(&options).unwrap().removed.len(), 2);
}

#[test]
fn a_read_only_look_changes_nothing() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (entry, _) = build(&store, 1, LENGTH);
    flip(&entry.path("layer.erofs").unwrap(), 1, 1, true);
    drop(entry);
    let read_only = Store::open(tmp.path(), OpenOptions::new().access(Access::ReadOnly)).unwrap();
    let Lookup::Damaged(damage) = read_only.look_up(&key(1)).unwrap() else {
        panic!("a changed file was handed out");
    };
    assert_eq!(damage.quarantined, None);
    assert!(!read_only.fsck(&FsckOptions::new()).unwrap().is_clean());
    assert!(
        read_only
            .fsck(&FsckOptions::new().repair(true))
            .unwrap_err()
            .is_read_only()
    );
    assert!(matches!(
        store.look_up(&key(1)).unwrap(),
        Lookup::Damaged(_)
    ));
}

#[test]
fn a_writable_artifact_is_mentioned() {
    use std::os::unix::fs::PermissionsExt as _;
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (entry, _) = build(&store, 1, LENGTH);
    fs::set_permissions(
        entry.path("layer.erofs").unwrap(),
        fs::Permissions::from_mode(0o664),
    )
    .unwrap();
    let report = store.fsck(&FsckOptions::new().repair(true)).unwrap();
    assert!(
        matches!(report.findings[..], [ref f] if matches!(f.problem, Problem::Mode { found: 0o664 }))
    );
    assert_clean(&store);
}
