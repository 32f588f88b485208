//! Pulls that are killed, and pulls at the same time, into one store.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{layer, stderr};
use lithify_testkit::registry::{Action, Faulty, Kind, On};
use lithify_testkit::{Layout, TarEntry, require, run, temp_dir};

/// Kills, unless `LITHIFY_TEST_KILLS` says another number.
const KILLS: usize = 100;

fn pull(store: &Path, name: &str) -> Command {
    let mut command = crate::common::lithify();
    command
        .env("LITHIFY_STORE", store)
        .env("HOME", store.with_extension("home"))
        .args(["-q", "pull", "--transfers", "2", name]);
    command
}

fn image(dir: &Path) {
    let noise = |seed: u32| -> Vec<u8> {
        (0..400_000_u32)
            .flat_map(|n| {
                (n ^ seed)
                    .wrapping_mul(2_654_435_761)
                    .rotate_left(n % 31)
                    .to_le_bytes()
            })
            .collect()
    };
    (1..=5_u32)
        .fold(Layout::new(), |layout, n| {
            let tar = layer([TarEntry::file(format!("file{n}"), noise(n))]);
            layout.layer(&tar, lithify_testkit::Compression::None)
        })
        .write(dir);
}

/// Blobs that are whole and have their name.
fn complete(store: &Path) -> BTreeSet<String> {
    let Ok(items) = fs::read_dir(store.join("blobs/sha256")) else {
        return BTreeSet::new();
    };
    items
        .map(|i| i.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn killed_pulls_go_on_where_they_stopped() {
    if !require::tool("skopeo") || !require::tool("umoci") {
        return;
    }
    let kills = std::env::var("LITHIFY_TEST_KILLS").map_or(KILLS, |n| {
        n.parse().expect("LITHIFY_TEST_KILLS is a number")
    });
    let tmp = temp_dir();
    let (layout, store) = (tmp.path().join("image"), tmp.path().join("store"));
    image(&layout);
    let faulty = Faulty::start();
    faulty.add_layout(&layout, "team/app", "1");
    let name = format!("{}/team/app:1", faulty.address());
    // Slow enough to be killed in the middle of a blob.
    faulty.rule(
        On::kind(Kind::Blob).method("GET"),
        Action::Drip(64 << 10, Duration::from_millis(1)),
    );

    let mut seed = 1_u64;
    let mut finished = 0;
    let mut partial = 0;
    for round in 0..kills {
        let before = complete(&store);
        faulty.clear_requests();
        let mut child = pull(&store, &name)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Most of them while blobs arrive, which on a loaded machine no time from the start says.
        let blobs = On::kind(Kind::Blob).method("GET");
        while round % 4 > 0
            && faulty.requests_on(&blobs).is_empty()
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros((seed >> 33) % 30_000));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            finished += 1;
        } else {
            assert!(output.status.code().is_none(), "{}", stderr(&output));
        }
        // No blob that was whole is asked for again.
        for request in faulty.requests_on(&On::kind(Kind::Blob).method("GET")) {
            let hex = request.path.rsplit(':').next().unwrap();
            assert!(!before.contains(hex), "round {round}: {hex} again");
            partial += usize::from(request.range().is_some());
        }
        if round % 10 == 9 || finished > 3 {
            run::ok(
                crate::common::lithify()
                    .env("LITHIFY_STORE", &store)
                    .args(["-q", "fsck"]),
            );
        }
        if finished > 3 {
            // Begin again with nothing.
            fs::remove_dir_all(&store).unwrap();
            finished = 0;
        }
    }
    let output = run::output(&mut pull(&store, &name));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(partial > 0, "no pull ever went on in the middle of a blob");
    run::ok(
        crate::common::lithify()
            .env("LITHIFY_STORE", &store)
            .args(["fsck"]),
    );
    run::ok(run::command("skopeo").args(["inspect", &format!("oci:{}:{name}", store.display())]));
    run::ok(run::command("umoci").args([
        "stat",
        "--image",
        &format!("{}:{name}", store.display()),
    ]));
    // What the killed ones left goes, what the image needs stays.
    run::ok(
        crate::common::lithify()
            .env("LITHIFY_STORE", &store)
            .args(["-q", "gc"]),
    );
    assert_eq!(complete(&store).len(), 7);
    assert_eq!(fs::read_dir(store.join("tmp")).unwrap().count(), 0);
}

#[test]
fn pulls_at_the_same_time_load_each_blob_once() {
    let tmp = temp_dir();
    let (layout, store) = (tmp.path().join("image"), tmp.path().join("store"));
    image(&layout);
    let faulty = Faulty::start();
    faulty.add_layout(&layout, "team/app", "1");
    let name = format!("{}/team/app:1", faulty.address());
    let children: Vec<_> = (0..6)
        .map(|_| {
            pull(&store, &name)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    // The configuration is read by each to choose the platform; layers come once.
    let mut layers: Vec<String> = faulty
        .requests_on(&On::kind(Kind::Blob).method("GET"))
        .into_iter()
        .filter(|r| r.sent > 100_000)
        .map(|r| r.path)
        .collect();
    layers.sort();
    let all = layers.len();
    layers.dedup();
    assert_eq!((all, layers.len()), (5, 5));
    run::ok(
        crate::common::lithify()
            .env("LITHIFY_STORE", &store)
            .args(["fsck"]),
    );
}
