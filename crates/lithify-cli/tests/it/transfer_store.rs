//! The store as a destination, of sources that are not what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::stores::lithify_at;
use crate::common::{layer, stderr};
use lithify_testkit::registry::{Action, At, Faulty, Kind, On};
use lithify_testkit::{Layout, TarEntry, digest, gzip, run, temp_dir};

/// A layer that does not fit into one buffer.
fn noise() -> Vec<u8> {
    let noise: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    layer([TarEntry::file("noise", noise)])
}

/// A layout, its name, and the file its layer is in.
fn layout(dir: &Path) -> (String, PathBuf) {
    let path = dir.join("image");
    Layout::new().gzip_layer(&noise()).write(&path);
    let blob = digest(&gzip(&noise())).replace(':', "/");
    (
        format!("oci:{}:latest", path.display()),
        path.join("blobs").join(blob),
    )
}

fn copy(dir: &Path, from: &str) -> Output {
    let mut command = lithify_at(&dir.join("store"));
    run::output(command.args(["copy", "-v", "--retries", "0", from, "store:app:1"]))
}

#[track_caller]
fn is_whole(dir: &Path, copied: &Output) {
    assert!(copied.status.success(), "{}", stderr(copied));
    run::ok(lithify_at(&dir.join("store")).args(["-q", "verify", "store:app:1"]));
    run::ok(lithify_at(&dir.join("store")).arg("fsck"));
}

/// What is too short is kept to be gone on with; asking for the rest of a file that has none must end.
#[test]
fn a_source_that_ends_too_early_is_an_error_each_time() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (name, blob) = layout(dir);
    let whole = fs::read(&blob).unwrap();
    fs::write(&blob, &whole[..whole.len() / 2]).unwrap();
    for _ in 0..3 {
        let output = copy(dir, &name);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("bytes"), "{said}");
        assert_eq!(run::text(lithify_at(&dir.join("store")).arg("images")), "");
    }
    fs::write(&blob, &whole).unwrap();
    is_whole(dir, &copy(dir, &name));
}

/// The same of a registry, where what came stays.
#[test]
fn a_download_that_ends_too_early_is_an_error_and_gone_on_with() {
    let tmp = temp_dir();
    let dir = tmp.path();
    layout(dir);
    let registry = Faulty::start();
    registry.add_layout(&dir.join("image"), "app", "1");
    let name = format!("docker://{}/app:1", registry.address());
    let on = || {
        On::kind(Kind::Blob)
            .method("GET")
            .path(&digest(&gzip(&noise())))
    };
    registry.rule(on(), Action::Truncate(At::Percent(60)));
    for _ in 0..2 {
        assert_eq!(copy(dir, &name).status.code(), Some(1));
    }
    registry.clear_rules();
    registry.clear_requests();
    is_whole(dir, &copy(dir, &name));
    let ranges: Vec<_> = registry
        .requests_on(&on())
        .iter()
        .map(|r| r.range().is_some())
        .collect();
    assert_eq!(ranges, [true]);
}

/// What an earlier attempt left may be what is wrong: it is fetched anew, once.
#[test]
fn a_partial_of_other_bytes_is_started_over() {
    let tmp = temp_dir();
    let dir = tmp.path();
    layout(dir);
    let registry = Faulty::start();
    registry.add_layout(&dir.join("image"), "app", "1");
    let name = format!("docker://{}/app:1", registry.address());
    let on = || {
        On::kind(Kind::Blob)
            .method("GET")
            .path(&digest(&gzip(&noise())))
    };
    registry.rule(on(), Action::FlipBit(5_000));
    registry.rule(on(), Action::Truncate(At::Percent(60)));
    assert_eq!(copy(dir, &name).status.code(), Some(1));
    registry.clear_rules();
    registry.clear_requests();
    let output = copy(dir, &name);
    is_whole(dir, &output);
    assert!(
        stderr(&output).contains("starting over"),
        "{}",
        stderr(&output)
    );
    let ranges: Vec<_> = registry
        .requests_on(&on())
        .iter()
        .map(|r| r.range().is_some())
        .collect();
    assert_eq!(ranges, [true, false]);
    // If it is wrong from the beginning, once is enough.
    let other = dir.join("other");
    fs::create_dir(&other).unwrap();
    registry.rule(on(), Action::FlipBit(5_000));
    registry.clear_requests();
    assert_eq!(copy(&other, &name).status.code(), Some(3));
    assert!(registry.requests_on(&on()).len() <= 2);
}
