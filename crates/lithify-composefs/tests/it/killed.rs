//! Processes that are killed while they publish and collect, and what is on the disk before links
//! are.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use lithify_composefs::oci::{promised_digest, tags, untag};
use lithify_composefs::repository::{Depth, FsckOptions, GcOptions, OpenOptions};
use lithify_testkit::{program, require, run, temp_dir};

use crate::common::{ALGORITHM, Lists, Piece, Random, bytes, open_with, write_image};

/// Kills, unless `LITHIFY_TEST_KILLS` says another number.
const KILLS: usize = 200;
/// Kills between two looks at the repository.
const BATCH: usize = 10;
/// Processes at the same time.
const TOGETHER: usize = 2;

/// For the process that is killed: the repository, and a seed; also the number of images, where it
/// is to end by itself.
pub(crate) const DIRECTORY: &str = "LITHIFY_TEST_COMPOSEFS";
pub(crate) const SEED: &str = "LITHIFY_TEST_COMPOSEFS_SEED";
pub(crate) const IMAGES: &str = "LITHIFY_TEST_COMPOSEFS_IMAGES";

/// The name of a publisher's first image, which no publisher removes.
pub(crate) const KEPT: &str = "kept";

fn layer(random: &mut Random) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for _ in 0..random.below(25) {
        pieces.push(Piece::Raw(bytes(random.below(1000), 512)));
        pieces.push(Piece::File(bytes(
            random.below(1000),
            65 + random.below(3000) as usize,
        )));
    }
    pieces
}

/// Not a test by itself: what other processes are started to do.
#[test]
fn publisher() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let mut random = Random(number(SEED).unwrap());
    let images = number(IMAGES);
    let mut repository = open_with(&directory, ALGORITHM, &OpenOptions::new());
    for image in 0..images.unwrap_or(u64::MAX) {
        let layers: Vec<_> = (0..1 + random.below(3))
            .map(|_| layer(&mut random))
            .collect();
        let tag = match image {
            0 => KEPT.to_owned(),
            _ => format!("tag/{}", random.below(5)),
        };
        write_image(&repository, &layers, &tag);
        if images.is_none() && random.below(3) == 0 {
            for tag in tags(&repository).unwrap() {
                if tag.name != KEPT && random.below(2) == 0 {
                    // Another process may have been faster.
                    drop(untag(&repository, &tag.name));
                }
            }
            // In use, most of the time.
            drop(repository.gc(&Lists, &GcOptions::default()));
        }
    }
}

fn start(directory: &Path, seed: u64) -> Child {
    let mut command = program::again("killed::publisher");
    command
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn killed_processes_leave_no_link_to_nothing() {
    let kills = std::env::var("LITHIFY_TEST_KILLS");
    let kills = kills.map_or(KILLS, |n| {
        n.parse().expect("LITHIFY_TEST_KILLS is a number")
    });
    let tmp = temp_dir();
    let path = tmp.path().join("repository");
    let mut random = Random(kills as u64);
    let checks = FsckOptions {
        depth: Depth::Contents,
        threads: Some(2),
        promised: Some(promised_digest),
    };
    let mut killed = 0;
    while killed < kills {
        for _ in 0..BATCH / TOGETHER {
            let running: Vec<Child> = (0..TOGETHER).map(|_| start(&path, random.next())).collect();
            for mut child in running {
                std::thread::sleep(Duration::from_micros(random.below(40_000)));
                child.kill().unwrap();
                let output = child.wait_with_output().unwrap();
                // It never ends by itself, unless something failed.
                assert_eq!(
                    output.status.code(),
                    None,
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                killed += 1;
            }
        }
        if !path.join("meta.json").exists() {
            continue;
        }
        let mut repository = open_with(&path, ALGORITHM, &OpenOptions::new());
        let report = repository.fsck(&Lists, &checks).unwrap();
        assert!(report.is_good(), "after {killed}: {report:#?}");
        let collected = repository.gc(&Lists, &GcOptions::default()).unwrap();
        assert_eq!(collected.references, Vec::<String>::new());
        let report = repository.fsck(&Lists, &checks).unwrap();
        assert!(report.is_good(), "{report:#?}");
    }
    let repository = open_with(&path, ALGORITHM, &OpenOptions::new());
    assert!(
        !tags(&repository).unwrap().is_empty(),
        "something was published"
    );
}

/// The path of a descriptor, and the rest, of `NAME(3</path>, …`.
fn described(call: &str) -> (&str, &str) {
    let (_, from) = call.split_once('<').unwrap();
    from.split_once('>').unwrap()
}

/// A defect of `cfsctl` 0.9.4: links of images are made before the images are on the disk. What a
/// power cut would leave shows in the order of calls.
#[test]
fn links_are_made_after_what_they_lead_to_is_on_the_disk() {
    if !require::tool("strace") {
        return;
    }
    let tmp = temp_dir();
    let (path, log) = (tmp.path().join("repository"), tmp.path().join("log"));
    let mut command = run::command("strace");
    command.args([
        "-f",
        "-y",
        "-s",
        "400",
        "-e",
        "trace=linkat,renameat,renameat2,symlinkat,fsync,fdatasync,syncfs",
        "-o",
    ]);
    command.arg(&log).arg(std::env::current_exe().unwrap());
    command.args(program::arguments("killed::publisher"));
    command
        .env(DIRECTORY, &path)
        .env(SEED, "1")
        .env(IMAGES, "12");
    run::ok(&mut command);
    let log = fs::read_to_string(log).unwrap();
    let root = path.to_str().unwrap();
    // Objects and links that have names, but may be gone after a power cut; by directory.
    let mut unsynced = HashMap::<String, BTreeSet<String>>::new();
    let mut unwritten = BTreeSet::new();
    let (mut entries, mut references, mut whole) = (0, 0, 0);
    // Calls that those of other threads divided, by thread.
    let mut begun = HashMap::<&str, &str>::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some((beginning, _)) = call.split_once(" <unfinished ...>") {
            begun.insert(thread, beginning);
            continue;
        }
        let call = match call.split_once(" resumed>") {
            Some((_, end)) => format!("{}{end}", begun.remove(thread).unwrap_or_default()),
            None => call.to_owned(),
        };
        let call = call.as_str();
        if call.contains("= -1") {
            continue;
        }
        if call.starts_with("syncfs(") {
            unsynced.clear();
            unwritten.clear();
            whole += 1;
        } else if call.starts_with("fsync(") {
            let (synced, _) = described(call);
            unsynced.remove(synced);
            // Where a file has no name yet, strace shows none either.
            unwritten.remove(synced);
        } else if call.starts_with("linkat(") {
            let names: Vec<&str> = call.split('"').collect();
            let (directory, _) = described(names[2]);
            let file = format!("{directory}/{}", names[3]);
            if names[3] != "meta.json" {
                unsynced
                    .entry(directory.to_owned())
                    .or_default()
                    .insert(names[3].to_owned());
                unwritten.insert(file);
            }
        } else if call.starts_with("symlinkat(") {
            let names: Vec<&str> = call.split('"').collect();
            let (target, name) = (names[1], names[3]);
            let (directory, _) = described(names[2]);
            if target.contains("objects/") {
                assert!(unwritten.is_empty(), "{name} before {unwritten:?}");
                assert!(
                    unsynced.keys().all(|d| !d.contains("/objects")),
                    "{name} before {unsynced:?}"
                );
                entries += 1;
            } else {
                let lost = unsynced.get(&format!("{root}/streams"));
                assert!(lost.is_none(), "{target} before {lost:?}");
                references += 1;
            }
            // Names that are replaced are made elsewhere and renamed.
            unsynced
                .entry(directory.to_owned())
                .or_default()
                .insert(name.to_owned());
        } else if call.starts_with("rename") {
            let (directory, _) = described(call.rsplit_once(", ").unwrap().0);
            unsynced.remove(root);
            unsynced.entry(directory.to_owned()).or_default();
        }
    }
    assert!(entries >= 30 && references >= 5, "{entries} {references}");
    assert!(whole >= 1, "many objects are brought to the disk together");
    let left: Vec<_> = unsynced
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
