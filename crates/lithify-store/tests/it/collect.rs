//! Images, collection, accounting, and outputs.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use crate::common::{assert_clean, build, bytes, key, names, open};
use lithify_cancel::CancelToken;
use lithify_digest::{Algorithm, Digest};
use lithify_store::{
    Entry, EntryId, Error, ExportOptions, Exported, Facts, FsckOptions, GcOptions, GcReport,
    ImageRecord, Kept, OpenOptions, Store, Target,
};
use lithify_testkit::{Mount, require, temp_dir};

/// A process that was just forked holds every lease of its parent until it starts its program: tests that start one take
/// turns with those that look at leases.
static TURNS: RwLock<()> = RwLock::new(());

fn image(name: &str, manifest: &[u8], target: &str, entries: &[EntryId]) -> ImageRecord {
    let digest = Digest::of(Algorithm::Sha256, manifest);
    ImageRecord::new(name, "linux/amd64", digest, Facts::new())
        .target(target, Target::new(entries.to_vec(), Facts::new()))
}

fn removed(report: &GcReport) -> Vec<EntryId> {
    report.removed.iter().map(|e| e.id).collect()
}

/// Builds an entry that was last used so many minutes ago.
fn build_used(store: &Store, n: u64, length: usize, minutes: u64) -> EntryId {
    let id = build(store, n, length).0.id();
    let path = store.path().join("artifacts").join(id.hex());
    let time = SystemTime::now() - Duration::from_secs(60 * minutes);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
    id
}

#[test]
fn what_images_need_stays() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let ids: Vec<_> = (0..4).map(|n| build(&store, n, 1000).0.id()).collect();
    store
        .put_image(&image("a", b"m", "layers", &ids[..2]))
        .unwrap();
    store
        .put_image(&image("b", b"n", "layers", &ids[1..3]))
        .unwrap();
    let dry = store.gc(&GcOptions::new().dry_run(true)).unwrap();
    assert_eq!(removed(&dry), [ids[3]]);
    assert_eq!(store.entries().unwrap().len(), 4);
    let report = store.gc(&GcOptions::new()).unwrap();
    assert_eq!(removed(&report), [ids[3]]);
    assert!(report.removed_bytes.apparent > 1000);
    assert!(report.kept.iter().all(|(_, why)| *why == Kept::Referenced));
    // Shared entries go with the last image.
    assert_eq!(store.remove_image("a", None).unwrap().len(), 1);
    assert_eq!(removed(&store.gc(&GcOptions::new()).unwrap()), [ids[0]]);
    assert_eq!(
        store.remove_image("b", Some("linux/arm64")).unwrap().len(),
        0
    );
    assert_eq!(
        store.remove_image("b", Some("linux/amd64")).unwrap().len(),
        1
    );
    assert_eq!(store.gc(&GcOptions::new()).unwrap().removed.len(), 2);
    assert!(names(&store.path().join("artifacts")).is_empty());
    assert!(names(&store.path().join("tmp")).is_empty());
    assert_clean(&store);
}

#[test]
fn what_is_in_use_stays() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (entry, _) = build(&store, 1, 1000);
    let pending = store.insert(store.lock(&key(2)).unwrap()).unwrap();
    let mut file = pending.create("a").unwrap();
    file.write_all(b"more").unwrap();
    let report = store.gc(&GcOptions::new()).unwrap();
    assert!(report.removed.is_empty());
    assert_eq!(report.leftovers, 0);
    assert_eq!(report.locks, 0);
    assert!(matches!(report.kept[..], [(_, Kept::InUse)]));
    let second = pending.commit(Facts::new()).unwrap();
    let clone = entry.clone();
    drop(entry);
    assert!(store.gc(&GcOptions::new()).unwrap().removed.is_empty());
    assert_eq!(
        fs::read(clone.path("layer.erofs").unwrap()).unwrap(),
        bytes(1, 1000)
    );
    drop((clone, second));
    assert_eq!(store.gc(&GcOptions::new()).unwrap().removed.len(), 2);
}

#[test]
fn the_most_recently_used_are_kept() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let ids: Vec<_> = (0..5)
        .map(|n| build_used(&store, n, 100_000, 10 * n))
        .collect();
    store
        .put_image(&image("old", b"m", "layers", &ids[4..]))
        .unwrap();
    let keep = |bytes| GcOptions::new().dry_run(true).keep_bytes(Some(bytes));
    assert!(removed(&store.gc(&keep(u64::MAX)).unwrap()).is_empty());
    // Least recently used first; records count too.
    assert_eq!(
        removed(&store.gc(&keep(250_000)).unwrap()),
        [ids[3], ids[2]]
    );
    assert_eq!(
        removed(&store.gc(&keep(0)).unwrap()),
        [ids[3], ids[2], ids[1], ids[0]]
    );
    let older = GcOptions::new()
        .dry_run(true)
        .older_than(Some(Duration::from_secs(900)));
    assert_eq!(removed(&store.gc(&older).unwrap()), [ids[3], ids[2]]);
    // Being found is being used.
    store.get(&key(3)).unwrap().unwrap();
    assert_eq!(
        removed(&store.gc(&keep(250_000)).unwrap()),
        [ids[2], ids[1]]
    );
    let report = store
        .gc(&GcOptions::new().keep_bytes(Some(250_000)))
        .unwrap();
    assert_eq!(removed(&report), [ids[2], ids[1]]);
    assert_eq!(store.entries().unwrap().len(), 3);
}

#[test]
fn leftovers_are_removed() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let at = |name: &str| tmp.path().join("tmp").join(name);
    fs::create_dir_all(at("1-2-3/deep")).unwrap();
    fs::write(at("1-2-3/deep/file"), vec![1; 5000]).unwrap();
    fs::write(at("1-2-4"), "x").unwrap();
    std::os::unix::fs::symlink("/", at("1-2-5")).unwrap();
    fs::write(
        tmp.path()
            .join("locks")
            .join(format!("{}.lock", key(1).id())),
        "",
    )
    .unwrap();
    let dry = store.gc(&GcOptions::new().dry_run(true)).unwrap();
    assert_eq!((dry.leftovers, dry.locks), (3, 1));
    let report = store.gc(&GcOptions::new()).unwrap();
    assert_eq!((report.leftovers, report.locks), (3, 1));
    assert!(report.leftover_bytes.apparent >= 5001);
    assert!(names(&tmp.path().join("tmp")).is_empty());
    assert_eq!(names(&tmp.path().join("locks")), ["store.lock"]);
    // Quarantined things only when told so.
    fs::create_dir_all(tmp.path().join("quarantine/1-2-3/x")).unwrap();
    assert_eq!(store.gc(&GcOptions::new()).unwrap().quarantined, 0);
    assert_eq!(
        store
            .gc(&GcOptions::new().quarantine(true))
            .unwrap()
            .quarantined,
        1
    );
    assert!(names(&tmp.path().join("quarantine")).is_empty());
}

#[test]
fn images_are_remembered() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let ids: Vec<_> = (0..4).map(|n| build(&store, n, 100).0.id()).collect();
    // A name is data, whatever it looks like.
    let name = "../../etc/passwd\n\u{1b}[31m";
    store
        .put_image(&image(name, b"m", "erofs", &ids[..1]))
        .unwrap();
    assert_eq!(names(&tmp.path().join("images")).len(), 1);
    let stored = store.image(name, "linux/amd64").unwrap().unwrap();
    assert_eq!(stored.record.name, name);
    assert_eq!(store.image(name, "linux/arm64").unwrap().map(|_| ()), None);
    // The same image built in another format: both stay.
    store
        .put_image(&image(name, b"m", "squashfs", &ids[1..2]))
        .unwrap();
    let stored = store.image(name, "linux/amd64").unwrap().unwrap();
    assert_eq!(stored.record.entries().collect::<Vec<_>>(), ids[..2]);
    // The same name, another image: only what was built of that.
    store
        .put_image(&image(name, b"n", "erofs", &ids[2..3]))
        .unwrap();
    let stored = store.image(name, "linux/amd64").unwrap().unwrap();
    assert_eq!(stored.record.entries().collect::<Vec<_>>(), ids[2..3]);
    assert_eq!(store.images().unwrap().images.len(), 1);
    // What is not there cannot be needed.
    store.gc(&GcOptions::new()).unwrap();
    let missing = store.put_image(&image("x", b"m", "erofs", &ids[..1]));
    assert!(matches!(missing, Err(Error::MissingEntry { entry, .. }) if entry == ids[0]));
    assert!(matches!(
        store.put_image(&image("", b"m", "erofs", &[])),
        Err(Error::Unrecordable { .. })
    ));
    let before = stored.last_used;
    std::thread::sleep(Duration::from_millis(20));
    store.touch_image(name, "linux/amd64").unwrap();
    assert!(store.image(name, "linux/amd64").unwrap().unwrap().last_used > before);
    store.touch_image("unknown", "").unwrap();
    assert_clean(&store);
}

#[test]
fn space_is_accounted_for() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let ids: Vec<_> = (0..3).map(|n| build(&store, n, 100_000).0.id()).collect();
    store
        .put_image(&image("a", b"m", "erofs", &ids[..2]))
        .unwrap();
    fs::write(tmp.path().join("tmp/left"), vec![1; 5000]).unwrap();
    fs::write(tmp.path().join("quarantine/bad"), vec![1; 6000]).unwrap();
    fs::write(tmp.path().join("blobs/blob"), vec![1; 7000]).unwrap();
    let df = store.df().unwrap();
    assert_eq!(
        (df.referenced.entries, df.unreferenced.entries, df.images),
        (2, 1, 1)
    );
    assert!(
        (200_000..205_000).contains(&df.referenced.bytes.apparent),
        "{df:?}"
    );
    assert!((100_000..103_000).contains(&df.unreferenced.bytes.apparent));
    assert!(df.unreferenced.bytes.on_disk >= 100_000);
    assert_eq!(df.formats["erofs-layer"].entries, 3);
    assert_eq!(
        (
            df.temporary.apparent,
            df.quarantine.apparent,
            df.blobs.apparent
        ),
        (5000, 6000, 7000)
    );
}

fn check_output(entry: &Entry, output: &Path, options: ExportOptions) -> Exported {
    let how = entry.export("layer.erofs", output, options).unwrap();
    assert!(entry.verify("layer.erofs").unwrap());
    assert_eq!(
        fs::read(output).unwrap(),
        fs::read(entry.path("layer.erofs").unwrap()).unwrap()
    );
    let stray: Vec<_> = names(output.parent().unwrap())
        .into_iter()
        .filter(|n| n.starts_with(".lithify"))
        .collect();
    assert!(stray.is_empty(), "{stray:?}");
    how
}

#[test]
fn outputs_replace_files_and_nothing_else() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let (entry, _) = build(&store, 1, 300_000);
    let output = tmp.path().join("out.erofs");
    let first = check_output(&entry, &output, ExportOptions::new());
    // Again, over the output of before; over another file; over another entry's output.
    assert_eq!(
        check_output(&entry, &output, ExportOptions::new().durable(true)),
        first
    );
    fs::remove_file(&output).unwrap();
    fs::write(&output, "old").unwrap();
    assert_eq!(check_output(&entry, &output, ExportOptions::new()), first);
    let (other, _) = build(&store, 2, 1000);
    assert_eq!(check_output(&other, &output, ExportOptions::new()), first);
    assert_eq!(check_output(&entry, &output, ExportOptions::new()), first);
    // None of this makes the entries look changed.
    let id = entry.id();
    drop((entry, other));
    let stamp = tmp
        .path()
        .join("store/artifacts")
        .join(id.hex())
        .join("stamp.json");
    let entry = store.get(&key(1)).unwrap().unwrap();
    let before = fs::read(&stamp).unwrap();
    fs::remove_file(&output).unwrap();
    store.get(&key(1)).unwrap().unwrap();
    if first == Exported::Link {
        assert_ne!(
            fs::read(&stamp).unwrap(),
            before,
            "the link count was noted"
        );
    }
    // A copy can be written to.
    assert_ne!(
        check_output(&entry, &output, ExportOptions::new().copy(true)),
        Exported::Link
    );
    assert_ne!(
        fs::metadata(&output).unwrap().permissions().mode() & 0o200,
        0
    );
    fs::write(&output, "mine").unwrap();
    assert!(entry.verify("layer.erofs").unwrap());
    // Even where an earlier build left a link.
    entry
        .export("layer.erofs", &output, ExportOptions::new())
        .unwrap();
    assert_ne!(
        check_output(&entry, &output, ExportOptions::new().copy(true)),
        Exported::Link
    );
    assert_eq!(
        fs::metadata(entry.path("layer.erofs").unwrap())
            .unwrap()
            .nlink(),
        1
    );
    // What is no file is left alone.
    let directory = tmp.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let link = tmp.path().join("link");
    std::os::unix::fs::symlink(&output, &link).unwrap();
    for path in [&directory, &link] {
        let error = entry
            .export("layer.erofs", path, ExportOptions::new())
            .unwrap_err();
        assert!(matches!(error, Error::Destination { .. }), "{error}");
    }
    let nowhere = tmp.path().join("missing/out");
    assert!(
        entry
            .export("layer.erofs", &nowhere, ExportOptions::new())
            .is_err()
    );
    assert_clean(&store);
}

#[test]
fn outputs_on_other_filesystems_are_copies_with_holes() {
    let _alone = TURNS.write().unwrap_or_else(PoisonError::into_inner);
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let pending = store.insert(store.lock(&key(1)).unwrap()).unwrap();
    let mut file = pending.create("layer.erofs").unwrap();
    file.write_all(&bytes(1, 70_000)).unwrap();
    file.seek(SeekFrom::Start(40 << 20)).unwrap();
    file.write_all(&bytes(2, 70_000)).unwrap();
    file.set_len(60 << 20).unwrap();
    let entry = pending.commit(Facts::new()).unwrap();
    let mount = Mount::with(["-t", "tmpfs", "-o", "size=2m", "none"].map(AsRef::as_ref)).unwrap();
    let output = mount.path().join("out");
    assert_eq!(
        check_output(&entry, &output, ExportOptions::new()),
        Exported::Copy
    );
    assert!(fs::metadata(&output).unwrap().blocks() * 512 < 1 << 20);
    // One that has no room.
    let (large, _) = build(&store, 2, 3 << 20);
    let error = large
        .export("layer.erofs", &output, ExportOptions::new())
        .unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(
        fs::metadata(&output).unwrap().len(),
        60 << 20,
        "the old output is still there"
    );
    assert_eq!(names(mount.path()), ["out"]);
}

#[test]
fn outputs_are_clones_where_that_can_be() {
    let _alone = TURNS.write().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let Some(mount) = Mount::reflinking(tmp.path()) else {
        return;
    };
    let store = open(&mount.path().join("store"));
    let (entry, _) = build(&store, 1, 300_000);
    let output = mount.path().join("out");
    for options in [ExportOptions::new(), ExportOptions::new().copy(true)] {
        assert_eq!(check_output(&entry, &output, options), Exported::Clone);
        fs::write(&output, "mine").unwrap();
        assert!(entry.verify("layer.erofs").unwrap());
    }
    drop((entry, store));
}

#[test]
fn a_collection_that_is_stopped_leaves_a_store_that_is_whole() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let id = build(&store, 1, 1000).0.id();
    let blob = b"a blob nobody needs";
    let digest = Digest::of(Algorithm::Sha256, blob);
    store.lease().unwrap().put(&digest, blob).unwrap();
    fs::create_dir(store.path().join("tmp/left")).unwrap();
    let token = CancelToken::new();
    let stopped = Store::open_until(store.path(), OpenOptions::new(), &token).unwrap();
    token.cancel();
    let error = stopped.gc(&GcOptions::new()).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(store.path().join("tmp/left").exists());
    assert_eq!(store.entries().unwrap()[0].id, id);
    let report = store.gc(&GcOptions::new()).unwrap();
    assert_eq!(removed(&report), [id]);
    assert_eq!((report.blobs.len(), report.leftovers), (1, 1));
    assert_clean(&store);
}

#[test]
fn a_check_that_is_stopped_does_not_read_to_the_end() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    // More than can be read while anybody waits.
    let name = "blobs/sha256/".to_owned() + &"0".repeat(64);
    let blob = fs::File::create(store.path().join(name)).unwrap();
    if blob.set_len(1 << 43).is_err() {
        // ext4 with small blocks.
        blob.set_len(1 << 40).unwrap();
    }
    let token = CancelToken::new();
    let checked = Store::open_until(store.path(), OpenOptions::new(), &token).unwrap();
    let error = std::thread::scope(|scope| {
        let check = scope.spawn(|| checked.fsck(&FsckOptions::new().repair(true)));
        token.cancel();
        check.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, Error::Cancelled), "{error}");
    // It is not taken for damaged.
    assert_eq!(names(&store.path().join("blobs/sha256")).len(), 1);
}

#[test]
fn an_entry_somebody_else_holds_is_not_waited_for() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let store = open(tmp.path());
    let built = build(&store, 1, 1000).0;
    let id = built.id();
    let entry = fs::File::open(built.path("layer.erofs").unwrap().parent().unwrap()).unwrap();
    drop(built);
    entry.lock().unwrap();
    let token = CancelToken::new();
    let stopped = Store::open_until(store.path(), OpenOptions::new(), &token).unwrap();
    let error = std::thread::scope(|scope| {
        let looking = scope.spawn(|| stopped.look_up(&key(1)));
        token.cancel();
        looking.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, Error::Cancelled), "{error}");
    entry.unlock().unwrap();
    assert_eq!(store.get(&key(1)).unwrap().unwrap().id(), id);
}

#[test]
fn an_output_that_is_stopped_is_not_there() {
    let _turn = TURNS.read().unwrap_or_else(PoisonError::into_inner);
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    build(&open(&path), 1, 1000);
    let token = CancelToken::new();
    let store = Store::open_until(&path, OpenOptions::new(), &token).unwrap();
    let entry = store.get(&key(1)).unwrap().unwrap();
    token.cancel();
    let out = tmp.path().join("out");
    fs::create_dir(&out).unwrap();
    match entry.export(
        "layer.erofs",
        &out.join("x"),
        ExportOptions::new().copy(true),
    ) {
        // Nothing is copied where the filesystem can share.
        Ok(how) => assert_eq!(how, Exported::Clone),
        Err(error) => {
            assert!(matches!(error, Error::Cancelled), "{error}");
            assert_eq!(names(&out), Vec::<String>::new());
        }
    }
}
