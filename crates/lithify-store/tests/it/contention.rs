//! Many processes on one store, and processes that are killed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{
    Random, assert_clean, assert_success, build, bytes, key, names, open, process, task,
    until_at_work,
};
use lithify_digest::{Algorithm, Digest};
use lithify_store::{
    Error, ExportOptions, Facts, FsckOptions, GcOptions, ImageRecord, Origin, Store, Target,
};
use lithify_testkit::temp_dir;

fn put(store: &Store, name: &str, entries: Vec<lithify_store::EntryId>) {
    let digest = Digest::of(Algorithm::Sha256, name.as_bytes());
    let target = Target::new(entries, Facts::new());
    let image = ImageRecord::new(name, "linux/amd64", digest, Facts::new());
    store
        .put_image(&image.target("erofs-layers", target))
        .unwrap();
}

#[test]
fn ten_processes_build_each_layer_once() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    for layers in 1..=2 {
        let task = format!("image {layers}");
        let children = (0..10).map(|_| process(CHILD, &task, &store).spawn().unwrap());
        assert_success(children.collect());
    }
    // Each process notes what it built.
    let mut built: Vec<_> = fs::read_to_string(tmp.path().join("built"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    built.sort();
    assert_eq!(built, ["0", "1", "10", "11", "20", "21"]);
    let store = open(&store);
    assert_eq!(store.entries().unwrap().len(), 6);
    assert_eq!(store.images().unwrap().images.len(), 2);
    assert!(store.gc(&GcOptions::new()).unwrap().removed.is_empty());
    assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
    assert_eq!(names(&store.path().join("locks")), ["store.lock"]);
}

#[test]
fn ten_threads_build_once() {
    let tmp = temp_dir();
    let store = open(tmp.path());
    let built = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let (entry, origin) = build(&store, 1, 100_000);
                assert!(entry.verify("layer.erofs").unwrap());
                if origin == Origin::Built {
                    built.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(built.into_inner(), 1);
}

#[test]
fn killed_at_any_moment() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    let mut random = Random(3);
    let mut leftovers = 0;
    for round in 0..60 {
        let mut children: Vec<_> = (0..2)
            .map(|n| {
                process(CHILD, &format!("churn {}", round * 2 + n), &path)
                    .spawn()
                    .unwrap()
            })
            .collect();
        if round % 4 > 0 {
            let tmp = path.join("tmp");
            until_at_work(&mut children[0], || tmp.is_dir() && !names(&tmp).is_empty());
        }
        std::thread::sleep(Duration::from_millis(random.below(20)));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        if !path.join("lithify-store.json").exists() {
            continue;
        }
        let store = open(&path);
        let report = store.fsck(&FsckOptions::new()).unwrap();
        assert!(report.is_clean(), "round {round}: {:#?}", report.findings);
        leftovers += report.findings.len();
        if round % 10 == 9 {
            store.gc(&GcOptions::new()).unwrap();
            assert!(names(&path.join("tmp")).is_empty());
            assert_eq!(names(&path.join("locks")), ["store.lock"]);
        }
    }
    assert!(leftovers > 0, "no kill hit anything");
    assert_success(vec![process(CHILD, "image 1", &path).spawn().unwrap()]);
    let store = open(&path);
    store.gc(&GcOptions::new()).unwrap();
    assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
}

#[test]
fn collection_beside_builders() {
    let tmp = temp_dir();
    let path = tmp.path().join("store");
    open(&path);
    let tasks = [
        "builder 1",
        "builder 2",
        "builder 3",
        "collector",
        "collector",
    ];
    let children = tasks.map(|task| process(CHILD, task, &path).spawn().unwrap());
    assert_success(children.into());
    let store = open(&path);
    assert!(store.fsck(&FsckOptions::new()).unwrap().findings.is_empty());
}

/// What [`process`] runs.
const CHILD: &str = "contention::child";

#[test]
fn child() {
    let Some((task, path)) = task() else { return };
    let store = open(&path);
    let (verb, number) = task.split_once(' ').unwrap_or((&task, "0"));
    let number: u64 = number.parse().unwrap();
    match verb {
        "image" => make_image(&store, number, &path.with_file_name("built")),
        "churn" => churn(&store, number),
        "builder" => builder(&store, number, &path),
        "collector" => collector(&store),
        other => panic!("{other}"),
    }
}

/// Builds an image of three layers, each taking its time.
fn make_image(store: &Store, number: u64, log: &Path) {
    let mut entries = Vec::new();
    for n in 0..3 {
        let n = n * 10 + number - 1;
        let (entry, _) = store
            .get_or_build::<Error>(&key(n), None, |pending| {
                let mut log = fs::File::options()
                    .create(true)
                    .append(true)
                    .open(log)
                    .unwrap();
                log.write_all(format!("{n}\n").as_bytes()).unwrap();
                let mut file = pending.create("layer.erofs")?;
                file.write_all(&bytes(n, 200_000)).unwrap();
                std::thread::sleep(Duration::from_millis(30));
                Ok(Facts::new())
            })
            .unwrap();
        assert!(entry.verify("layer.erofs").unwrap());
        entries.push(entry);
    }
    put(
        store,
        &format!("image-{number}"),
        entries.iter().map(|e| e.id()).collect(),
    );
}

/// Everything a store is used for, until killed.
fn churn(store: &Store, seed: u64) {
    let mut random = Random(seed);
    let output = store
        .path()
        .with_file_name(format!("out-{}", random.below(2)));
    loop {
        let n = random.below(6);
        let (entry, _) = build(store, n, 1000 + 30_000 * n as usize);
        assert!(entry.verify("layer.erofs").unwrap());
        match random.below(6) {
            0 => {
                store.gc(&GcOptions::new()).unwrap();
            }
            1 => put(store, &format!("{}", random.below(3)), vec![entry.id()]),
            2 => {
                store
                    .remove_image(&format!("{}", random.below(3)), None)
                    .unwrap();
            }
            3 => {
                entry
                    .export("layer.erofs", &output, ExportOptions::new())
                    .unwrap();
            }
            4 => {
                // Someone's backup tool: the stamp is made anew.
                let file = entry.open("layer.erofs").unwrap();
                file.set_modified(std::time::SystemTime::now()).unwrap();
            }
            _ => {}
        }
    }
}

const RACE: Duration = Duration::from_millis(1500);

fn builder(store: &Store, number: u64, path: &Path) {
    let start = Instant::now();
    let mut random = Random(number);
    let output = path.with_file_name(format!("out-{number}"));
    while start.elapsed() < RACE {
        let numbers = [random.below(5), random.below(5)];
        let entries = numbers.map(|n| build(store, n, 20_000).0);
        for (entry, n) in entries.iter().zip(numbers) {
            // What is in use is there, whatever is collected.
            assert_eq!(
                fs::read(entry.path("layer.erofs").unwrap()).unwrap(),
                bytes(n, 20_000)
            );
            entry
                .export("layer.erofs", &output, ExportOptions::new())
                .unwrap();
            assert_eq!(fs::read(&output).unwrap(), bytes(n, 20_000));
        }
        let name = format!("image-{number}");
        put(store, &name, entries.iter().map(|e| e.id()).collect());
        drop(entries);
        // What an image needs is there, without being in use.
        for n in numbers {
            assert_eq!(build(store, n, 20_000).1, Origin::Reused);
        }
        store.remove_image(&name, None).unwrap();
    }
}

fn collector(store: &Store) {
    let start = Instant::now();
    while start.elapsed() < RACE {
        store.gc(&GcOptions::new()).unwrap();
        store.gc(&GcOptions::new().dry_run(true)).unwrap();
        assert_clean(store);
        store.df().unwrap();
    }
}
