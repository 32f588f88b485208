//! `push --as` by the one plan all transfers run: blobs side by side, then manifests, the tag last.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::stores::lithify_at;
use crate::common::{image, layer, stderr};
use lithify_testkit::registry::{Action, Answer, Faulty, Kind, On};
use lithify_testkit::{TarEntry, run, temp_dir};
use serde_json::Value;

/// An image of so many layers.
fn sample(dir: &Path, layers: u8) -> String {
    let layers = (0..layers).map(|n| {
        let data: Vec<u8> = (0..20_000_u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761 + u32::from(n)).to_le_bytes())
            .collect();
        layer([
            TarEntry::directory("d"),
            TarEntry::file(format!("d/{n}"), data),
        ])
    });
    image(dir, layers)
}

fn push(dir: &Path, args: &[&str]) -> Command {
    let mut command = lithify_at(&dir.join("store"));
    command.args(["-q", "push", "--no-fsync"]).args(args);
    command
}

#[test]
fn blobs_go_first_and_the_tag_last() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let source = sample(dir, 5);
    for form in ["erofs", "erofs-image", "squashfs"] {
        let registry = Faulty::start();
        let mut digests = Vec::new();
        for (transfers, more) in [("one", &["--transfers", "1"][..]), ("several", &[])] {
            let name = format!("docker://{}/{transfers}:t", registry.address());
            registry.clear_requests();
            let args = ["--as", form, "--json", &source, &name];
            let said = run::ok(&mut push(dir, &[&args, more].concat()));
            digests.push(serde_json::from_slice::<Value>(&said).unwrap());
            let requests = registry.requests();
            let is_manifest = |r: &&lithify_testkit::registry::Request| {
                r.kind == Kind::Manifest && r.method == "PUT"
            };
            let manifests: Vec<&str> = requests
                .iter()
                .filter(is_manifest)
                .map(|r| &*r.path)
                .collect();
            assert!(manifests.len() >= 2, "{manifests:?}");
            let first = requests.iter().position(|r| is_manifest(&r)).unwrap();
            let blobs = requests
                .iter()
                .rposition(|r| r.kind == Kind::Upload)
                .unwrap();
            assert!(blobs < first, "{form} {transfers}");
            // Whatever was put beside it, the tag leads to the image, or to the index with it.
            assert!(
                manifests.last().unwrap().ends_with("/manifests/t"),
                "{manifests:?}"
            );
            assert_eq!(
                manifests.iter().filter(|m| !m.contains("sha256:")).count(),
                1
            );
        }
        assert_eq!(digests[0], digests[1], "{form}");
        assert_eq!(registry.blobs("one"), registry.blobs("several"), "{form}");
    }
}

#[test]
fn a_blob_that_fails_leaves_no_tag() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let source = sample(dir, 4);
    for form in ["erofs", "squashfs"] {
        for more in [&["--transfers", "1"][..], &[], &["--verity"]] {
            let registry = Faulty::start();
            let name = format!("docker://{}/app:t", registry.address());
            let refused = On::kind(Kind::Upload).method("PUT").nth(4);
            let denied = registry.rule(
                refused,
                Action::Answer(Answer::error(403, "DENIED", "too much")),
            );
            let args = ["--as", form, &source, &name];
            let output = run::output(&mut push(dir, &[&args, more].concat()));
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{form}: {said}");
            // That, not that others were stopped for it.
            assert!(said.contains("denied"), "{form} {more:?}: {said}");
            assert_eq!(denied.count(), 1);
            assert!(registry.tags("app").is_empty(), "{form}");
            let puts = registry.requests_on(&On::kind(Kind::Manifest).method("PUT"));
            assert!(puts.is_empty(), "{form}");
            // The next attempt goes on with what is there.
            let there = registry.blobs("app").len();
            registry.clear_rules();
            registry.clear_requests();
            run::ok(&mut push(dir, &[&args, more].concat()));
            let sent = registry
                .requests_on(&On::kind(Kind::Upload).method("POST"))
                .len();
            assert_eq!(sent + there, registry.blobs("app").len(), "{form} {more:?}");
        }
    }
}

/// What several platforms share is sent once.
#[test]
fn a_manifest_comes_after_all_it_names_in_a_layout_too() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let source = sample(dir, 3);
    let mut made = Vec::new();
    for (name, more) in [("one", &["--transfers", "1"][..]), ("several", &[])] {
        let to = format!("oci:{}:t", dir.join(name).display());
        let args = ["--as", "erofs", "--verity", "--json", &source, &to];
        made.push(run::ok(&mut push(dir, &[&args, more].concat())));
        let list = fs::read(dir.join(name).join("index.json")).unwrap();
        made.push(list);
        run::ok(lithify_at(&dir.join("store")).args(["-q", "verify", &to]));
    }
    assert!(made[0] == made[2] && made[1] == made[3]);
    let archive = format!("oci-archive:{}:t", dir.join("archive").display());
    run::ok(&mut push(
        dir,
        &["--as", "erofs", "--verity", &source, &archive],
    ));
    run::ok(lithify_at(&dir.join("store")).args(["-q", "verify", &archive]));
    // Archives that take tars only are refused before anything is made.
    let docker = format!("docker-archive:{}:a:b", dir.join("docker").display());
    let output = run::output(&mut push(dir, &["--as", "erofs", &source, &docker]));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!dir.join("docker").exists());
}
