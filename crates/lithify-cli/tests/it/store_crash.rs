//! Builds that are killed, and builds at the same time, on one store.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::names;
use crate::common::stores::{
    assert_same_files, assert_undamaged, build_command, counts, counts_of, fsck_store, lithify_at,
    numbered_image,
};
use lithify_testkit::{run, temp_dir};

/// Kills, unless `LITHIFY_TEST_KILLS` says another number.
const KILLS: usize = 200;

/// Killed builds between two looks at the store.
const BATCH: usize = 20;

/// Builds that run at the same time while they are killed.
const TOGETHER: usize = 2;

/// A sequence that looks random (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn start(store: &Path, source: &str, output: &Path) -> Child {
    let mut command = build_command(store, source, output);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until something is being made in the store, or the build has ended.
fn until_something_is_made(build: &mut Child, store: &Path) {
    let making = || fs::read_dir(store.join("tmp")).is_ok_and(|mut items| items.next().is_some());
    while !making() && build.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits for builds that must all succeed; what they say of built and reused.
#[track_caller]
fn all_succeed(children: Vec<Child>) -> Vec<(u64, u64)> {
    let outputs = children.into_iter().map(|c| c.wait_with_output().unwrap());
    outputs
        .map(|output| {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", output.status);
            counts_of(&output.stdout)
        })
        .collect()
}

fn temporaries(directory: &Path) -> usize {
    names(directory)
        .iter()
        .filter(|n| n.starts_with(".lithify-"))
        .count()
}

#[test]
fn killed_builds_leave_a_store_that_works() {
    let kills = std::env::var("LITHIFY_TEST_KILLS");
    let kills = kills.map_or(KILLS, |n| {
        n.parse().expect("LITHIFY_TEST_KILLS is a number")
    });
    let tmp = temp_dir();
    let (store, outputs) = (tmp.path().join("store"), tmp.path().join("outputs"));
    fs::create_dir(&outputs).unwrap();
    let source = numbered_image(&tmp.path().join("image"), 1..6);
    let good = tmp.path().join("good");
    run::ok(build_command(&store, &source, &good).arg("--no-store"));
    let mut random = Random(kills as u64);
    let (mut killed, mut seen_leftovers, mut batch) = (0, false, 0);
    while killed < kills {
        batch += 1;
        let mut tried = 0;
        while tried < BATCH && killed < kills {
            let mut running: Vec<Child> = (0..TOGETHER)
                .map(|n| start(&store, &source, &outputs.join(n.to_string())))
                .collect();
            // Half of them while they make something, which on a loaded machine no time from the start says.
            if random.below(2) == 0 {
                until_something_is_made(&mut running[0], &store);
            }
            for child in &mut running {
                std::thread::sleep(Duration::from_micros(random.below(10_000)));
                child.kill().unwrap();
            }
            for child in running {
                let output = child.wait_with_output().unwrap();
                tried += 1;
                match output.status.code() {
                    // It was faster.
                    Some(0) => {}
                    None => killed += 1,
                    Some(_) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
                }
            }
            // Something to make for the next ones.
            if random.below(2) == 0 && store.join("artifacts").is_dir() {
                for entry in names(&store.join("artifacts")) {
                    if random.below(2) == 0 {
                        fs::remove_dir_all(store.join("artifacts").join(entry)).unwrap();
                    }
                }
                fs::remove_dir_all(store.join("images")).unwrap();
                fs::create_dir(store.join("images")).unwrap();
            }
        }
        // What there is under its name is complete.
        for output in names(&outputs).iter().filter(|n| !n.starts_with('.')) {
            assert_same_files(&good, &outputs.join(output));
        }
        seen_leftovers |= store.join("tmp").is_dir() && !names(&store.join("tmp")).is_empty();
        if store.exists() && store.join("lithify-store.json").exists() {
            let (code, said) = if batch % 2 == 0 {
                let output = run::output(lithify_at(&store).args(["fsck", "--dry-run", "--json"]));
                let said = serde_json::from_slice(&output.stdout).unwrap();
                (output.status.code().unwrap(), said)
            } else {
                fsck_store(&store)
            };
            assert_eq!(code, 0, "{said:#}");
        }
        let out = tmp.path().join("out");
        let (built, reused) = counts(&store, &source, &out);
        assert_eq!(built + reused, 6);
        assert_same_files(&good, &out);
        run::ok(lithify_at(&store).arg("gc"));
        assert!(names(&store.join("tmp")).is_empty());
        let (code, said) = fsck_store(&store);
        assert_eq!((code, &said["clean"]), (0, &true.into()), "{said:#}");
    }
    assert!(
        seen_leftovers,
        "no build was killed while it made something"
    );
    let left = temporaries(&outputs);
    assert!(left <= killed, "{left} directories of {killed} builds");
    // Builds that end leave none, and are not disturbed by those of the dead.
    counts(&store, &source, &outputs.join("0"));
    assert!(temporaries(&outputs) <= left);
    assert_eq!(temporaries(tmp.path()), 0);
}

/// A container begins with the same process numbers each time.
#[test]
fn what_a_process_of_the_same_number_left_is_in_nobodys_way() {
    let tmp = temp_dir();
    let source = numbered_image(&tmp.path().join("image"), 1..3);
    let good = tmp.path().join("good");
    run::ok(build_command(&tmp.path().join("store"), &source, &good).arg("--no-store"));
    for extra in ["--no-fsync", "--no-store"] {
        let out = tmp.path().join("out").join(extra);
        let script = format!(
            "for n in 0 1 2 3; do mkdir -p '{out}'/.lithify-$$-$n.tmp/layers; done
            exec '{lithify}' -q build '{source}' -f erofs-layers {extra} -o '{out}/built'",
            out = out.display(),
            lithify = env!("CARGO_BIN_EXE_lithify"),
        );
        let mut command = run::command("sh");
        command.env("LITHIFY_STORE", tmp.path().join("store"));
        run::ok(command.args(["-c", &script]));
        assert_same_files(&good, &out.join("built"));
        assert_eq!(temporaries(&out), 4);
    }
}

#[test]
fn builders_at_the_same_time_make_each_layer_once() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let source = numbered_image(&tmp.path().join("image"), 1..6);
    let good = tmp.path().join("good");
    run::ok(build_command(&store, &source, &good).arg("--no-store"));
    let out = |n: u8| tmp.path().join(format!("out-{n}"));
    let counts = all_succeed((0..10).map(|n| start(&store, &source, &out(n))).collect());
    assert_eq!(counts.iter().map(|c| c.0).sum::<u64>(), 6, "{counts:?}");
    assert_eq!(counts.iter().map(|c| c.1).sum::<u64>(), 54, "{counts:?}");
    for n in 0..10 {
        assert_same_files(&good, &out(n));
    }
    assert_eq!(temporaries(tmp.path()), 0);
    assert!(names(&store.join("tmp")).is_empty());
    assert_undamaged(&store);
}

#[test]
fn builders_of_the_same_layers_in_other_orders_do_not_wait_for_each_other() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let up = numbered_image(&tmp.path().join("up"), 1..6);
    let down = numbered_image(&tmp.path().join("down"), (1..6).rev());
    let good = ["good-up", "good-down"].map(|n| tmp.path().join(n));
    for (source, good) in [&up, &down].into_iter().zip(&good) {
        run::ok(build_command(&store, source, good).arg("--no-store"));
    }
    let out = |n: u8| tmp.path().join(format!("out-{n}"));
    let children = (0..10).map(|n| start(&store, if n % 2 == 0 { &up } else { &down }, &out(n)));
    let counts = all_succeed(children.collect());
    // Five layers, and two images over them.
    assert_eq!(counts.iter().map(|c| c.0).sum::<u64>(), 7, "{counts:?}");
    for n in 0..10 {
        assert_same_files(&good[usize::from(n % 2)], &out(n));
    }
    assert_undamaged(&store);
}

#[test]
fn collecting_does_not_disturb_builders() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let sources: Vec<String> = (0..3)
        .map(|n| {
            numbered_image(
                &tmp.path().join(format!("image-{n}")),
                [1, 2, 10 + n, 20 + n],
            )
        })
        .collect();
    let good: Vec<_> = (0..3)
        .map(|n| tmp.path().join(format!("good-{n}")))
        .collect();
    for (source, good) in sources.iter().zip(&good) {
        run::ok(build_command(&store, source, good).arg("--no-store"));
    }
    counts(&store, &sources[0], &tmp.path().join("out-0"));
    for _ in 0..6 {
        let outs: Vec<_> = (0..3)
            .map(|n| tmp.path().join(format!("out-{n}")))
            .collect();
        let builders = (0..3)
            .map(|n| start(&store, &sources[n], &outs[n]))
            .collect();
        for number in 0..4 {
            // Forgetting an image while it is built is as collecting before it is remembered.
            run::output(lithify_at(&store).args(["rm", &sources[number % 3]]));
            run::ok(lithify_at(&store).arg("gc"));
        }
        all_succeed(builders);
        for (good, out) in good.iter().zip(&outs) {
            assert_same_files(good, out);
        }
        assert_undamaged(&store);
    }
}
