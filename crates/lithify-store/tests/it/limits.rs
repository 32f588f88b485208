//! Full disks and filesystems that cannot be written.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::common::{assert_clean, build, bytes, image, key, names, open, store_parts};
use lithify_store::{
    Access, Begun, Error, Facts, FsckOptions, GcOptions, ImageRecord, OpenOptions, Store, Target,
};
use lithify_testkit::{Mount, require, run, temp_dir};

fn tmpfs(options: &str) -> Mount {
    Mount::with(["-t", "tmpfs", "-o", options, "none"].map(AsRef::as_ref)).unwrap()
}

/// One build, as a caller does it.
fn try_build(store: &Store, n: u64, length: usize) -> Result<(), Error> {
    let path = store.path().to_path_buf();
    let built: Result<_, Error> = store.get_or_build(&key(n), None, |pending| {
        let mut file = pending.create("layer.erofs")?;
        file.write_all(&bytes(n, length)).map_err(|source| {
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
            Error::Full {
                operation: "write",
                path,
                source,
            }
        })?;
        Ok(Facts::new())
    });
    let (entry, _) = built?;
    let digest = lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, b"m");
    let target = Target::new(vec![entry.id()], Facts::new());
    store.put_image(
        &ImageRecord::new(format!("{n}"), "", digest, Facts::new()).target("erofs", target),
    )
}

#[test]
fn blobs_on_a_full_disk() {
    if !require::root() {
        return;
    }
    let mount = tmpfs("size=2m,nr_inodes=1k");
    let store = open(&mount.path().join("store"));
    let image = image("linux/amd64", 1);
    store_parts(&store.lease().unwrap(), &image);
    store.tag("a", &image.manifest, None).unwrap();
    let data = bytes(2, 300_000);
    let name = lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, &data);
    let filler = mount.path().join("filler");
    let mut full = 0;
    for pages in 0..100_u64 {
        fs::remove_file(&filler).ok();
        let rest = available(mount.path()).saturating_sub(pages * 4096);
        fs::write(&filler, vec![1; rest as usize]).unwrap();
        let lease = store.lease().unwrap();
        // Reading needs no room.
        let (config, bytes) = &image.blobs[3];
        assert!(lease.has(config, bytes.len() as u64).unwrap());
        assert!(lease.open(config).unwrap().is_some());
        let write = || -> Result<(), Error> {
            if let Begun::Partial(mut ingest) = lease.ingest(&name, 300_000, None)? {
                let offset = ingest.offset() as usize;
                for part in data[offset..].chunks(10_000) {
                    ingest.append(part)?;
                }
                ingest.finish()?;
            }
            Ok(())
        };
        match write() {
            Ok(()) => break,
            Err(Error::Full { .. }) => full += 1,
            Err(e) => panic!("{pages} pages of room: {e}"),
        }
        match store.tag("b", &image.manifest, None) {
            Ok(_) => drop(store.untag("b", None)),
            Err(Error::Full { .. }) => assert_eq!(store.tagged().unwrap().len(), 1),
            Err(e) => panic!("{pages} pages of room: {e}"),
        }
        assert_clean(&store);
    }
    // Each attempt went on from the one before.
    assert!(full > 10, "{full}");
    assert!(store.has_blob(&name, 300_000).unwrap());
    fs::remove_file(&filler).unwrap();
    assert_clean(&store);
    assert_eq!(store.gc(&GcOptions::new()).unwrap().blobs.len(), 1);
}

#[test]
fn a_full_disk_leaves_nothing_half_done() {
    if !require::root() {
        return;
    }
    let mount = tmpfs("size=2m,nr_inodes=1k");
    let store = open(&mount.path().join("store"));
    try_build(&store, 0, 1000).unwrap();
    let filler = mount.path().join("filler");
    let (mut full, mut fine) = (0, 0);
    // Every amount of room that could end a build at another place.
    for pages in 0..24_u64 {
        fs::remove_file(&filler).ok();
        let rest = available(mount.path()).saturating_sub(pages * 4096);
        fs::write(&filler, vec![1; rest as usize]).unwrap();
        match try_build(&store, 1, 10_000) {
            Ok(()) => fine += 1,
            Err(Error::Full { .. }) => full += 1,
            Err(e) => panic!("{pages} pages of room: {e}"),
        }
        assert!(names(&store.path().join("tmp")).is_empty());
        let report = store.fsck(&FsckOptions::new()).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        // Reading and forgetting need no room.
        assert!(store.get(&key(0)).unwrap().is_some());
        store.remove_image("1", None).unwrap();
        store.gc(&GcOptions::new()).unwrap();
    }
    assert!(full > 5 && fine > 5, "{full} full, {fine} fine");
    fs::remove_file(&filler).unwrap();
    try_build(&store, 1, 10_000).unwrap();
    assert_clean(&store);
}

#[test]
fn no_inodes_is_a_full_disk_too() {
    if !require::root() {
        return;
    }
    for inodes in 2..40 {
        let mount = tmpfs(&format!("size=2m,nr_inodes={inodes}"));
        let path = mount.path().join("store");
        let done = Store::open(&path, OpenOptions::new().create(true))
            .and_then(|store| try_build(&store, 1, 1000));
        match done {
            Ok(()) => assert!(inodes > 15),
            Err(Error::Full { .. }) => assert!(inodes < 35),
            Err(e) => panic!("{inodes} inodes: {e}"),
        }
        run::ok(
            run::command("mount")
                .args(["-o", "remount,nr_inodes=100"])
                .arg(mount.path()),
        );
        let store = open(&path);
        try_build(&store, 1, 1000).unwrap();
        assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
    }
}

fn available(path: &Path) -> u64 {
    let text = run::text(run::command("df").args(["-B1", "--output=avail"]).arg(path));
    text.lines().last().unwrap().trim().parse().unwrap()
}

#[test]
fn a_store_that_cannot_be_written_is_still_of_use() {
    if !require::root() {
        return;
    }
    let mount = tmpfs("size=4m");
    let path = mount.path().join("store");
    build(&open(&path), 1, 1000);
    run::ok(
        run::command("mount")
            .args(["-o", "remount,ro"])
            .arg(mount.path()),
    );

    let error = Store::open(&path, OpenOptions::new().create(true)).unwrap_err();
    assert!(error.is_read_only(), "{error}");
    for access in [Access::Preferred, Access::ReadOnly] {
        let store = Store::open(&path, OpenOptions::new().access(access)).unwrap();
        assert!(store.read_only());
        let entry = store.get(&key(1)).unwrap().unwrap();
        assert_eq!(
            fs::read(entry.path("layer.erofs").unwrap()).unwrap(),
            bytes(1, 1000)
        );
        assert!(store.get(&key(2)).unwrap().is_none());
        assert!(store.lock(&key(2)).unwrap_err().is_read_only());
        assert!(try_build(&store, 2, 10).unwrap_err().is_read_only());
        assert!(store.gc(&GcOptions::new()).unwrap_err().is_read_only());
        assert!(store.remove_image("x", None).unwrap_err().is_read_only());
        assert_eq!(
            store
                .gc(&GcOptions::new().dry_run(true))
                .unwrap()
                .kept
                .len(),
            1
        );
        drop(entry);
        let report = store.gc(&GcOptions::new().dry_run(true)).unwrap();
        assert_eq!(report.removed.len(), 1);
        store.touch_image("x", "").unwrap();
        assert_eq!(store.df().unwrap().unreferenced.entries, 1);
        assert_clean(&store);
        let tmp = temp_dir();
        let output = tmp.path().join("out");
        let entry = store.get(&key(1)).unwrap().unwrap();
        entry
            .export("layer.erofs", &output, lithify_store::ExportOptions::new())
            .unwrap();
        assert_eq!(fs::read(&output).unwrap(), bytes(1, 1000));
    }
    let none = mount.path().join("none");
    for (access, create) in [(Access::ReadWrite, true), (Access::Preferred, true)] {
        let error =
            Store::open(&none, OpenOptions::new().access(access).create(create)).unwrap_err();
        assert!(error.is_read_only(), "{error}");
    }
    let error = Store::open(&none, OpenOptions::new().access(Access::ReadOnly)).unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }), "{error}");
    run::ok(
        run::command("mount")
            .args(["-o", "remount,rw"])
            .arg(mount.path()),
    );
    build(&open(&path), 2, 1000);
}
