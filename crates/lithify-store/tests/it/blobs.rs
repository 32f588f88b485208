//! Blobs as they arrive: whole, in parts, wrong, twice, and needed by someone.

use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::common::{assert_clean, bytes, names, open};
use lithify_digest::{Algorithm, Digest, Mismatch};
use lithify_store::{Access, Begun, Error, GcOptions, Ingest, Kept, Lease, OpenOptions, Store};
use lithify_testkit::temp_dir;

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn begin(lease: &Lease, digest: &Digest, size: u64) -> Ingest {
    match lease.ingest(digest, size, None).unwrap() {
        Begun::Partial(ingest) => *ingest,
        Begun::Complete => panic!("{digest} is there"),
    }
}

fn read(lease: &Lease, digest: &Digest) -> Vec<u8> {
    let mut all = Vec::new();
    let mut file = lease.open(digest).unwrap().unwrap();
    file.read_to_end(&mut all).unwrap();
    all
}

fn partial(store: &Store, digest: &Digest) -> std::path::PathBuf {
    let name = format!("{}-{}", digest.algorithm(), digest.hex());
    store.path().join("partial").join(name)
}

#[test]
fn a_blob_is_there_when_whole() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    for algorithm in Algorithm::ALL {
        for durable in [true, false] {
            let data = bytes(u64::from(durable), 300_000);
            let name = Digest::of(algorithm, &data);
            let lease = store.lease().unwrap().durable(durable);
            assert!(!lease.has(&name, 300_000).unwrap());
            assert!(lease.open(&name).unwrap().is_none());
            let mut ingest = begin(&lease, &name, 300_000);
            assert_eq!((ingest.offset(), ingest.resumed()), (0, 0));
            assert_eq!((ingest.size(), *ingest.digest()), (300_000, name));
            for part in data.chunks(70_000) {
                ingest.append(part).unwrap();
                assert!(!store.has_blob(&name, 300_000).unwrap());
            }
            ingest.finish().unwrap();
            assert!(lease.has(&name, 300_000).unwrap());
            assert!(!lease.has(&name, 299_999).unwrap());
            assert_eq!(read(&lease, &name), data);
            let metadata = fs::metadata(store.blob_path(&name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
            let again = lease.ingest(&name, 300_000, None).unwrap();
            assert!(matches!(again, Begun::Complete));
        }
    }
    // One with no bytes.
    let lease = store.lease().unwrap();
    let none = digest(b"");
    begin(&lease, &none, 0).finish().unwrap();
    assert!(lease.has(&none, 0).unwrap());
    drop(lease);
    assert!(names(&tmp.path().join("partial")).is_empty());
    assert!(names(&tmp.path().join("tmp")).is_empty());
    assert!(names(&tmp.path().join("locks")).is_empty());
    assert_clean(&store);
    assert_eq!(store.all_blobs().unwrap().len(), 7);
}

#[test]
fn an_interrupted_blob_goes_on() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let data = bytes(1, 500_000);
    let name = digest(&data);
    let mut offset = 0;
    for part in data.chunks(150_000) {
        // Each time by another process, as far as the store can tell.
        let lease = store.lease().unwrap();
        let mut ingest = begin(&lease, &name, 500_000);
        assert_eq!((ingest.offset(), ingest.resumed()), (offset, offset));
        let mut there = Vec::new();
        ingest.open().unwrap().read_to_end(&mut there).unwrap();
        assert_eq!(there, data[..offset as usize]);
        ingest.append(part).unwrap();
        offset = ingest.offset();
    }
    let lease = store.lease().unwrap();
    let ingest = begin(&lease, &name, 500_000);
    assert_eq!(ingest.offset(), 500_000);
    // Someone with an odd umask, or killed just before the name was given.
    drop(ingest);
    fs::set_permissions(partial(&store, &name), fs::Permissions::from_mode(0o444)).unwrap();
    let ingest = begin(&lease, &name, 500_000);
    ingest.finish().unwrap();
    assert_eq!(read(&lease, &name), data);
    assert!(names(&tmp.path().join("partial")).is_empty());
}

#[test]
fn too_few_and_too_many_bytes() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let lease = store.lease().unwrap();
    let data = bytes(1, 1000);
    let name = digest(&data);
    let mut ingest = begin(&lease, &name, 1000);
    ingest.append(&data[..900]).unwrap();
    let long = ingest.append(&data[..101]).unwrap_err();
    assert!(
        matches!(
            long,
            Error::BlobMismatch {
                source: Mismatch::Trailing { expected: 1000 },
                ..
            }
        ),
        "{long}"
    );
    let short = ingest.finish().unwrap_err();
    assert!(
        matches!(
            short,
            Error::BlobMismatch {
                source: Mismatch::Size {
                    expected: 1000,
                    found: 900,
                },
                ..
            }
        ),
        "{short}"
    );
    // What was good so far is good still.
    let mut ingest = begin(&lease, &name, 1000);
    assert_eq!(ingest.offset(), 900);
    std::io::Write::write_all(&mut ingest, &data[900..]).unwrap();
    ingest.finish().unwrap();
    assert_clean(&store);
}

#[test]
fn wrong_bytes_do_not_stay() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let lease = store.lease().unwrap();
    let data = bytes(1, 1000);
    let name = digest(&data);
    let wrong = bytes(2, 1000);
    for resumed in [0, 400] {
        if resumed > 0 {
            begin(&lease, &name, 1000).append(&wrong[..400]).unwrap();
        }
        let mut ingest = begin(&lease, &name, 1000);
        ingest.append(&wrong[resumed..]).unwrap();
        match ingest.finish().unwrap_err() {
            Error::BlobMismatch {
                digest: blob,
                source: Mismatch::Digest { expected, found },
                resumed: r,
            } => {
                assert_eq!((*blob, *expected, *found), (name, name, digest(&wrong)));
                assert_eq!(r, resumed as u64);
            }
            other => panic!("{other}"),
        }
        assert!(!lease.has(&name, 1000).unwrap());
        assert!(names(&tmp.path().join("partial")).is_empty());
    }
    // A partial file that is too long is the beginning of nothing.
    fs::write(partial(&store, &name), vec![0; 1001]).unwrap();
    assert_eq!(begin(&lease, &name, 1000).offset(), 0);
    // Neither links nor files others have a name of are written to.
    let other = tmp.path().with_extension("other");
    fs::write(&other, "mine").unwrap();
    std::os::unix::fs::symlink(&other, partial(&store, &name)).unwrap();
    begin(&lease, &name, 1000).append(b"x").unwrap();
    begin(&lease, &name, 1000).discard().unwrap();
    fs::hard_link(&other, partial(&store, &name)).unwrap();
    begin(&lease, &name, 1000).append(b"x").unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    assert_eq!(fs::metadata(&other).unwrap().nlink(), 1);
    fs::remove_file(&other).unwrap();
    // A fresh start, of a download that cannot be resumed.
    let mut ingest = begin(&lease, &name, 1000);
    assert_eq!(ingest.offset(), 1);
    ingest.restart().unwrap();
    assert_eq!((ingest.offset(), ingest.resumed()), (0, 0));
    ingest.append(&data).unwrap();
    ingest.finish().unwrap();
    // In place of a blob of another length; nobody has its bytes.
    fs::remove_file(store.blob_path(&name)).unwrap();
    fs::write(store.blob_path(&name), "damaged").unwrap();
    assert!(!lease.has(&name, 1000).unwrap());
    let mut ingest = begin(&lease, &name, 1000);
    ingest.append(&data).unwrap();
    ingest.finish().unwrap();
    assert_eq!(read(&lease, &name), data);
    assert_clean(&store);
}

#[test]
fn the_digest_can_be_taken_elsewhere() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let lease = store.lease().unwrap();
    let data = bytes(1, 1_000_000);
    let name = digest(&data);
    begin(&lease, &name, 1_000_000)
        .append(&data[..1000])
        .unwrap();
    let mut ingest = begin(&lease, &name, 1_000_000);
    let mut hasher = ingest.take_hasher().unwrap();
    assert!(ingest.take_hasher().is_none());
    let hasher = std::thread::scope(|scope| {
        let hashed = scope.spawn(|| {
            hasher.update(&data[1000..]);
            hasher
        });
        ingest.append(&data[1000..]).unwrap();
        hashed.join().unwrap()
    });
    ingest.finish_with(hasher).unwrap();
    assert_eq!(read(&lease, &name), data);
    // A digest that is not brought up to date is a wrong one.
    let data = bytes(2, 1000);
    let name = digest(&data);
    let mut ingest = begin(&lease, &name, 1000);
    let hasher = ingest.take_hasher().unwrap();
    ingest.append(&data).unwrap();
    let wrong = ingest.finish_with(hasher).unwrap_err();
    assert!(matches!(wrong, Error::BlobMismatch { .. }), "{wrong}");
    // Without one the bytes are read again.
    let mut ingest = begin(&lease, &name, 1000);
    drop(ingest.take_hasher());
    ingest.append(&data).unwrap();
    ingest.finish().unwrap();
    assert_clean(&store);
}

#[test]
fn small_documents() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let lease = store.lease().unwrap();
    let name = digest(b"{}");
    lease.put(&name, b"{}").unwrap();
    lease.put(&name, b"{}").unwrap();
    assert_eq!(read(&lease, &name), b"{}");
    let wrong = lease.put(&name, b"{ }").unwrap_err();
    assert!(
        matches!(wrong, Error::BlobMismatch { resumed: 0, .. }),
        "{wrong}"
    );
    assert_clean(&store);
}

#[test]
fn ten_threads_write_one_blob_once() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let data = bytes(1, 2_000_000);
    let name = digest(&data);
    let written = AtomicU32::new(0);
    let waited = AtomicU32::new(0);
    let start = std::sync::Barrier::new(10);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let lease = store.lease().unwrap();
                start.wait();
                let mut count = |_: &lithify_store::Waiting| {
                    waited.fetch_add(1, Ordering::Relaxed);
                    ControlFlow::Continue(())
                };
                match lease.ingest(&name, 2_000_000, Some(&mut count)).unwrap() {
                    Begun::Complete => {}
                    Begun::Partial(mut ingest) => {
                        written.fetch_add(1, Ordering::Relaxed);
                        // The others come, and find it being written.
                        while waited.load(Ordering::Relaxed) == 0 {
                            std::thread::yield_now();
                        }
                        ingest.append(&data).unwrap();
                        ingest.finish().unwrap();
                    }
                }
                assert_eq!(read(&lease, &name), data);
            });
        }
    });
    assert_eq!(written.into_inner(), 1);
    assert!(waited.into_inner() > 0);
    assert!(names(&tmp.path().join("locks")).is_empty());
}

#[test]
fn waiting_can_be_given_up() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let name = digest(b"abc");
    let first = store.lease().unwrap();
    let mut ingest = begin(&first, &name, 3);
    ingest.append(b"a").unwrap();
    let second = store.lease().unwrap();
    let given_up = second.ingest(&name, 3, Some(&mut |_| ControlFlow::Break(())));
    let error = given_up.unwrap_err();
    assert!(matches!(&error, Error::AbandonedBlob { digest } if **digest == name));
    // The first gives up too: the second goes on.
    drop(ingest);
    assert_eq!(begin(&second, &name, 3).offset(), 1);
}

#[test]
fn what_is_leased_stays() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let (a, b, c) = (digest(b"a"), digest(b"b"), digest(b"c"));
    let first = store.lease().unwrap();
    first.put(&a, b"a").unwrap();
    first.put(&b, b"b").unwrap();
    let second = store.lease().unwrap();
    assert!(second.has(&b, 1).unwrap());
    assert!(!second.has(&c, 1).unwrap());
    let kept = |expected: &[Digest]| {
        for dry_run in [true, false] {
            let report = store.gc(&GcOptions::new().dry_run(dry_run)).unwrap();
            let in_use = report.kept_blobs.iter();
            let in_use = in_use.filter(|(_, why)| *why == Kept::InUse);
            let mut found: Vec<_> = in_use.map(|(blob, _)| blob.digest).collect();
            let mut expected = expected.to_vec();
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    };
    kept(&[a, b]);
    let clone = first.clone();
    drop(first);
    kept(&[a, b]);
    drop(clone);
    kept(&[b]);
    assert!(!store.has_blob(&a, 1).unwrap());
    // What was asked for before it was there is leased too.
    store.lease().unwrap().put(&c, b"c").unwrap();
    kept(&[b, c]);
    drop(second);
    let report = store.gc(&GcOptions::new()).unwrap();
    assert_eq!((report.blobs.len(), report.blob_bytes.apparent), (2, 2));
    // A blob on its way is leased, and so is its beginning.
    let lease = store.lease().unwrap();
    let mut ingest = begin(&lease, &a, 1);
    assert_eq!(store.gc(&GcOptions::new()).unwrap().partials, 0);
    ingest.append(b"a").unwrap();
    assert_eq!(store.gc(&GcOptions::new()).unwrap().partials, 0);
    ingest.finish().unwrap();
    kept(&[a]);
    // A living list that cannot be understood might say anything.
    let list = &names(&tmp.path().join("locks"))[0];
    fs::write(tmp.path().join("locks").join(list), "nonsense").unwrap();
    kept(&[a]);
    drop(lease);
    kept(&[]);
    assert!(store.all_blobs().unwrap().is_empty());
    // Leases of processes that are gone count for nothing, and go.
    fs::write(tmp.path().join("locks/lease-1-2-3f.lock"), format!("{a}\n")).unwrap();
    store.lease().unwrap().put(&a, b"a").unwrap();
    let report = store.gc(&GcOptions::new()).unwrap();
    assert_eq!((report.blobs.len(), report.locks), (1, 1));
    assert_clean(&store);
}

#[test]
fn beginnings_and_old_blobs_are_collected() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let old = SystemTime::now() - Duration::from_secs(3600);
    let data: Vec<_> = (0..4).map(|n| bytes(n, 10_000)).collect();
    {
        let lease = store.lease().unwrap();
        for (n, data) in data.iter().enumerate() {
            let name = digest(data);
            lease.put(&name, data).unwrap();
            if n < 2 {
                let file = lease.open(&name).unwrap().unwrap();
                file.set_modified(old).unwrap();
            }
        }
        for n in [10, 11] {
            let name = digest(&bytes(n, 100));
            begin(&lease, &name, 100).append(b"beginning").unwrap();
            if n == 10 {
                let file = fs::File::open(partial(&store, &name)).unwrap();
                file.set_modified(old).unwrap();
            }
        }
        // Nothing of it was there: nothing of it stays.
        drop(begin(&lease, &digest(b"x"), 1));
    }
    assert_eq!(names(&tmp.path().join("partial")).len(), 2);
    let df = store.df().unwrap();
    assert_eq!(
        (df.unreferenced_blobs.entries, df.partial.apparent),
        (4, 18)
    );
    let recent = GcOptions::new().older_than(Some(Duration::from_secs(600)));
    let dry = store.gc(&recent.dry_run(true)).unwrap();
    let report = store.gc(&recent).unwrap();
    for report in [dry, report] {
        assert_eq!((report.blobs.len(), report.partials), (2, 1));
        assert_eq!(report.partial_bytes.apparent, 9);
        assert_eq!(report.blob_bytes.apparent, 20_000);
        assert!(
            report
                .kept_blobs
                .iter()
                .all(|(_, why)| *why == Kept::Recent)
        );
    }
    let keep = GcOptions::new().keep_bytes(Some(15_000));
    let report = store.gc(&keep).unwrap();
    assert_eq!((report.blobs.len(), report.partials), (1, 1));
    assert_eq!(store.all_blobs().unwrap().len(), 1);
    assert!(names(&tmp.path().join("partial")).is_empty());
    assert!(names(&tmp.path().join("tmp")).is_empty());
    assert_clean(&store);
}

#[test]
fn a_store_that_is_only_read() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let name = digest(b"abc");
    store.lease().unwrap().put(&name, b"abc").unwrap();
    let store = Store::open(tmp.path(), OpenOptions::new().access(Access::ReadOnly)).unwrap();
    let lease = store.lease().unwrap();
    assert!(lease.has(&name, 3).unwrap());
    assert_eq!(read(&lease, &name), b"abc");
    let error = lease.ingest(&digest(b"d"), 1, None).unwrap_err();
    assert!(error.is_read_only(), "{error}");
    assert!(lease.put(&digest(b"d"), b"d").unwrap_err().is_read_only());
    assert!(store.untag("x", None).unwrap_err().is_read_only());
    assert!(names(&tmp.path().join("locks")).is_empty());
}

#[test]
fn a_store_made_before_blobs_were_kept() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    fs::remove_dir(tmp.path().join("partial")).unwrap();
    assert_clean(&store);
    store.gc(&GcOptions::new()).unwrap();
    store.df().unwrap();
    let lease = store.lease().unwrap();
    let mut ingest = begin(&lease, &digest(b"abc"), 3);
    ingest.append(b"abc").unwrap();
    ingest.finish().unwrap();
    assert_clean(&store);
}
