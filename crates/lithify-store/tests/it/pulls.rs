//! Many processes that pull and collect, and some that are killed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{
    Random, assert_clean, assert_success, bytes, image, names, open, process, store_parts, task,
    until_at_work,
};
use lithify_digest::{Algorithm, Digest};
use lithify_store::{Begun, FsckOptions, GcOptions, Store};
use lithify_testkit::temp_dir;

const LENGTH: usize = 4_000_000;

#[test]
fn killed_writers_are_gone_on_from() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    let store = open(&path);
    let data = bytes(1, LENGTH);
    let name = Digest::of(Algorithm::Sha256, &data);
    let mut random = Random(7);
    let (mut before, mut resumed) = (0, 0);
    for round in 0..100 {
        let partial = path.join("partial").join(format!("sha256-{}", name.hex()));
        let mut child = process(CHILD, "write 1", &path).spawn().unwrap();
        if round % 4 > 0 {
            until_at_work(&mut child, || {
                fs::metadata(&partial).is_ok_and(|m| m.len() > before)
            });
        }
        std::thread::sleep(Duration::from_millis(random.below(10)));
        child.kill().unwrap();
        child.wait().unwrap();
        if store.has_blob(&name, LENGTH as u64).unwrap() {
            assert!(!partial.exists());
            // Another one, from the start.
            fs::remove_file(store.blob_path(&name)).unwrap();
            before = 0;
            continue;
        }
        let length = fs::metadata(&partial).map_or(0, |m| m.len());
        assert!(length >= before, "round {round}: {length} after {before}");
        resumed += u32::from(before > 0 && length > before);
        before = length;
        let there = fs::read(&partial).unwrap_or_default();
        assert!(data.starts_with(&there), "round {round}");
        let report = store.fsck(&FsckOptions::new()).unwrap();
        assert!(report.is_clean(), "round {round}: {:#?}", report.findings);
    }
    assert!(resumed > 0, "no kill hit anything");
    assert_success(vec![process(CHILD, "write 1", &path).spawn().unwrap()]);
    assert!(store.has_blob(&name, LENGTH as u64).unwrap());
    store.gc(&GcOptions::new()).unwrap();
    assert_eq!(names(&path.join("locks")), ["store.lock"]);
    assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
}

#[test]
fn processes_write_each_blob_once() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    let children = (0..8).map(|_| process(CHILD, "write 1", &path).spawn().unwrap());
    assert_success(children.collect());
    let wrote = fs::read_to_string(tmp.path().join("wrote")).unwrap();
    assert_eq!(wrote.lines().count(), 1);
    let store = open(&path);
    assert_eq!(store.all_blobs().unwrap().len(), 1);
    assert_clean(&store);
}

#[test]
fn collection_beside_pulls() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    open(&path);
    let tasks = ["pull 1", "pull 2", "pull 3", "collect", "collect"];
    let children = tasks.map(|task| process(CHILD, task, &path).spawn().unwrap());
    assert_success(children.into());
    let store = open(&path);
    store.gc(&GcOptions::new()).unwrap();
    assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
    assert!(store.tagged().unwrap().is_empty());
    assert!(store.all_blobs().unwrap().is_empty());
}

#[test]
fn killed_pulls_leave_only_whole_images() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    let store = open(&path);
    let mut random = Random(5);
    for round in 0..40 {
        let mut children = [round, round + 1000].map(|n| {
            process(CHILD, &format!("churn {n}"), &path)
                .spawn()
                .unwrap()
        });
        if round % 4 > 0 {
            until_at_work(&mut children[0], || names(&path.join("locks")).len() > 1);
        }
        std::thread::sleep(Duration::from_millis(random.below(20)));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let report = store.fsck(&FsckOptions::new()).unwrap();
        assert!(report.is_clean(), "round {round}: {:#?}", report.findings);
    }
    let report = store.gc(&GcOptions::new()).unwrap();
    assert!(
        report.leftovers + report.locks + report.partials > 0,
        "no kill hit anything"
    );
    assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
    for directory in ["tmp", "partial"] {
        assert!(names(&path.join(directory)).is_empty());
    }
}

#[test]
fn names_by_many_processes() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    let store = open(&path);
    let lease = store.lease().unwrap();
    for n in 0..8 {
        store_parts(&lease, &image("linux/amd64", n));
    }
    let children = (0..8).map(|n| process(CHILD, &format!("name {n}"), &path).spawn().unwrap());
    assert_success(children.collect());
    let tagged = store.tagged().unwrap();
    let found: Vec<_> = tagged.iter().map(|t| t.name.as_str()).collect();
    let expected: Vec<_> = (0..8)
        .flat_map(|n| (0..20).step_by(2).map(move |i| format!("image-{n}:{i:02}")))
        .collect();
    assert_eq!(found, expected);
    assert_clean(&store);
}

/// What [`process`] runs.
const CHILD: &str = "pulls::child";

#[test]
fn child() {
    let Some((task, path)) = task() else { return };
    let store = open(&path);
    let (verb, number) = task.split_once(' ').unwrap_or((&task, "0"));
    let number: u64 = number.parse().unwrap();
    match verb {
        "write" => write(&store, number, &path.with_file_name("wrote")),
        "pull" => pull(&store, number),
        "collect" => collect(&store),
        "churn" => churn(&store, number),
        "name" => name(&store, number),
        other => panic!("{other}"),
    }
}

fn write(store: &Store, number: u64, log: &Path) {
    let data = bytes(number, LENGTH);
    let name = Digest::of(Algorithm::Sha256, &data);
    let lease = store.lease().unwrap();
    let begun = lease.ingest(&name, LENGTH as u64, None).unwrap();
    if let Begun::Partial(mut ingest) = begun {
        let offset = ingest.offset() as usize;
        for part in data[offset..].chunks(40_000) {
            ingest.append(part).unwrap();
            std::thread::sleep(Duration::from_micros(100));
        }
        ingest.finish().unwrap();
        let mut log = File::options().create(true).append(true).open(log).unwrap();
        log.write_all(b"wrote\n").unwrap();
    }
    assert!(lease.has(&name, LENGTH as u64).unwrap());
}

const RACE: Duration = Duration::from_millis(1500);

fn pull(store: &Store, number: u64) {
    let start = Instant::now();
    let mut random = Random(number);
    let tag = format!("image-{number}");
    while start.elapsed() < RACE {
        let image = image("linux/amd64", random.below(4));
        let whole = || {
            for (digest, data) in &image.blobs {
                let mut file = store.open_blob(digest).unwrap().unwrap();
                let mut found = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut found).unwrap();
                assert_eq!(found, *data);
            }
        };
        let lease = store.lease().unwrap();
        store_parts(&lease, &image);
        // What is leased is there, without a name; then with a name, without a lease.
        whole();
        store.tag(&tag, &image.manifest, None).unwrap();
        drop(lease);
        whole();
        store.untag(&tag, None).unwrap();
    }
}

fn collect(store: &Store) {
    let start = Instant::now();
    while start.elapsed() < RACE {
        store.gc(&GcOptions::new()).unwrap();
        store.gc(&GcOptions::new().dry_run(true)).unwrap();
        assert_clean(store);
        store.df().unwrap();
    }
}

/// Pulls, names, forgets and collects, until killed.
fn churn(store: &Store, seed: u64) {
    let mut random = Random(seed);
    loop {
        let platform = ["linux/amd64", "linux/arm64"][random.below(2) as usize];
        let image = image(platform, random.below(3));
        let name = format!("image-{}", random.below(2));
        let lease = store.lease().unwrap();
        store_parts(&lease, &image);
        store.tag(&name, &image.manifest, None).unwrap();
        drop(lease);
        match random.below(4) {
            0 => drop(store.gc(&GcOptions::new()).unwrap()),
            1 => drop(store.untag(&name, None).unwrap()),
            _ => {}
        }
    }
}

fn name(store: &Store, number: u64) {
    let image = image("linux/amd64", number);
    let name = |i: u32| format!("image-{number}:{i:02}");
    for i in 0..20 {
        store.tag(&name(i), &image.manifest, None).unwrap();
        if i % 2 == 1 {
            assert_eq!(store.untag(&name(i), None).unwrap().len(), 1);
        }
    }
}
