//! Layered builds, mounted in every way, and images that are awkward to build in layers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{image, layer, lithify};
use lithify_testkit::{Allow, Difference, Field, Mount, TarEntry, run};
use serde_json::Value;

/// A layered build with a store of its own.
pub(crate) fn layered(source: &str, format: &str, dir: &Path, extra: &[&str]) -> PathBuf {
    let out = dir.join(format);
    let mut command = with_store(dir);
    command.args(["build", source, "-f", format, "-o"]);
    run::ok(command.arg(&out).args(extra));
    out
}

pub(crate) fn with_store(dir: &Path) -> Command {
    let mut command = lithify();
    command.env("LITHIFY_STORE", dir.join("store"));
    command
}

pub(crate) fn description(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("image.json")).unwrap()).unwrap()
}

/// The files a list of the stack names.
pub(crate) fn stack(directory: &Path, list: &str) -> Vec<PathBuf> {
    let description = description(directory);
    let names = description["stack"][list].as_array().unwrap();
    names
        .iter()
        .map(|name| directory.join(name.as_str().unwrap()))
        .collect()
}

pub(crate) fn merged(directory: &Path) -> Mount {
    let devices = stack(directory, "devices");
    let devices: Vec<&Path> = devices.iter().map(PathBuf::as_path).collect();
    Mount::erofs_with_devices(&directory.join("fsmeta.erofs"), &devices).unwrap()
}

/// Every image of the overlay mounted, top first, and the overlay.
pub(crate) fn overlay(directory: &Path, filesystem: &str) -> (Vec<Mount>, Mount) {
    let mounts: Vec<Mount> = stack(directory, "overlay")
        .iter()
        .map(|image| Mount::image(filesystem, image))
        .collect();
    let lower: Vec<&Path> = mounts.iter().map(Mount::path).collect();
    let top = Mount::overlay(&lower).unwrap();
    (mounts, top)
}

/// What an overlay cannot show: a file of a lower layer that lost a name to an upper one keeps counting it, and a
/// directory's number of links is 1.
pub(crate) fn overlay_differences() -> Allow {
    Allow::nothing().also("links an overlay does not count", |d: &Difference| {
        d.field == Field::Links
    })
}

/// What shipping systems get wrong about layers, in one image.
pub(crate) fn awkward(dir: &Path) -> String {
    image(
        dir,
        [
            bottom_of_awkward(),
            layer([
                TarEntry::whiteout("etc/gone"),
                // Through a symbolic link of the layer below, into a directory nobody describes here.
                TarEntry::file("var/run/app.pid", "7"),
                // A third name for a file of the layer below.
                TarEntry::hard_link("data/c", "data/a"),
                TarEntry::file("full/three", "3"),
                TarEntry::opaque("full"),
            ]),
            layer([
                TarEntry::directory("new"),
                TarEntry::whiteout("new/nothing"),
                TarEntry::directory("etc").mode(0o700),
                TarEntry::file("etc/gone", "again")
                    .xattr("user.note", "")
                    .xattr("trusted.overlay.opaque", "y"),
                TarEntry::file("new/big", vec![7; 200_000]),
            ]),
        ],
    )
}

pub(crate) fn bottom_of_awkward() -> Vec<u8> {
    layer([
        TarEntry::directory(".")
            .mode(0o700)
            .owner(5, 6)
            .mtime(77, 8),
        TarEntry::directory("etc").mode(0o711),
        TarEntry::file("etc/gone", "x"),
        TarEntry::file("etc/kept", "kept"),
        TarEntry::directory("data").mode(0o2755).owner(3, 4),
        TarEntry::file("data/a", vec![b'a'; 10_000]),
        TarEntry::hard_link("data/b", "data/a"),
        TarEntry::directory("full"),
        TarEntry::file("full/one", "1"),
        TarEntry::file("full/two", "2"),
        TarEntry::directory("run"),
        TarEntry::directory("var"),
        TarEntry::symlink("var/run", "/run"),
    ])
}

/// Two directories with the same files.
#[track_caller]
pub(crate) fn same_files(a: &Path, b: &Path) {
    let list = |directory: &Path| {
        let out = run::text(
            run::command("find")
                .arg(".")
                .args(["-type", "f"])
                .current_dir(directory),
        );
        let mut names: Vec<String> = out.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(list(a), list(b));
    for name in list(a) {
        let (a, b) = (a.join(&name), b.join(&name));
        assert!(
            fs::read(&a).unwrap() == fs::read(&b).unwrap(),
            "{name} differs"
        );
    }
}
