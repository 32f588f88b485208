//! Deltas of single layers.

use std::fs;
use std::path::Path;
use std::process::Command;

use lithify_testkit::{Compression, TarEntry, digest, run, temp_dir};
use serde_json::Value;

use crate::common::{image, layer, lithify, names, stderr};

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(|_| next()).collect()
}

fn create(old: &str, new: &Path, out: &Path, more: &[&str]) -> Value {
    let mut command = lithify();
    command.args(["-q", "delta", "tar", "create", "--json", old]);
    let said = run::ok(command.arg(new).arg("-o").arg(out).args(more));
    serde_json::from_slice(&said).unwrap()
}

/// A command that applies a delta.
fn applying(delta: &Path, base: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = lithify();
    command.args(["-q", "delta", "tar", "apply", "--base", base]);
    command.arg(delta).arg("-o").arg(out).args(more);
    command
}

/// Applies a delta; returns the tar.
fn apply(delta: &Path, base: &str, out: &Path) -> Vec<u8> {
    run::ok(&mut applying(delta, base, out, &[]));
    fs::read(out).unwrap()
}

/// Two layers, the second of which hides files of the first in every way there is.
fn old_layers() -> [Vec<u8>; 2] {
    let entries = [
        TarEntry::directory("d"),
        TarEntry::file("d/gone", noise(1, 20_000)),
        TarEntry::directory("e"),
        TarEntry::file("e/hidden", noise(2, 20_000)),
        TarEntry::file("link", noise(3, 20_000)),
        TarEntry::file("empty", noise(4, 20_000)),
        TarEntry::file("secret", noise(5, 20_000)),
        TarEntry::file("lib/libfoo.so.1.2", noise(6, 50_000)),
        TarEntry::file("bin/tool", noise(7, 60_000)),
        TarEntry::file("same", noise(8, 30_000)),
    ];
    let above = [
        TarEntry::whiteout("d"),
        TarEntry::opaque("e"),
        TarEntry::symlink("link", "same"),
        TarEntry::file("empty", ""),
        TarEntry::file("secret", noise(9, 20_000)).mode(0o600),
    ];
    [layer(entries), layer(above)]
}

/// A layer that brings back what nobody can see any more, and changes the rest.
fn new_layer() -> Vec<u8> {
    let mut tool = noise(7, 60_000);
    tool.splice(1000..1003, *b"changed bytes");
    tool[40_000] ^= 1;
    let mut library = noise(6, 50_000);
    library[25_000..25_010].fill(0);
    layer([
        TarEntry::file("d/gone", noise(1, 20_000)),
        TarEntry::file("e/hidden", noise(2, 20_000)),
        TarEntry::file("link", noise(3, 20_000)),
        TarEntry::file("empty", noise(4, 20_000)),
        TarEntry::file("secret", noise(9, 20_000)),
        TarEntry::file("lib/libfoo.so.1.10", library),
        TarEntry::file("bin/tool", tool),
        TarEntry::hard_link("bin/again", "bin/tool"),
        TarEntry::file("same", noise(8, 30_000)),
        TarEntry::file("new", "new\n"),
    ])
}

/// A delta that reads files which are removed with their directory, or hidden by a link, an empty file, or one that not everybody
/// may read, cannot be applied to what the image shows.
#[test]
fn only_what_the_old_image_shows_is_read() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let old = image(tmp.path(), old_layers());
    let new = new_layer();
    fs::write(at("new.tar"), &new).unwrap();
    let report = create(&old, &at("new.tar"), &at("delta"), &[]);
    assert_eq!(report["diff_id"], digest(&new));
    assert_eq!(
        (&report["same"], &report["changed"]),
        (&1.into(), &2.into())
    );
    assert_eq!(report["tar_bytes"], new.len());
    // The five files that nothing has, and little else.
    let size = report["size"].as_u64().unwrap();
    assert!((100_000..103_000).contains(&size), "{size}");
    assert_eq!(apply(&at("delta"), &old, &at("out.tar")), new);

    // A directory that has the files, and nothing that is hidden.
    run::ok(
        lithify()
            .args(["-q", "build", &old, "-f", "dir", "-o"])
            .arg(at("dir")),
    );
    let rootfs = format!("rootfs:{}", at("dir").display());
    assert_eq!(apply(&at("delta"), &rootfs, &at("out.tar")), new);
    let diff_id = digest(&new);
    let checked = ["--no-fsync", "--diff-id", &diff_id];
    run::ok(&mut applying(
        &at("delta"),
        &rootfs,
        &at("checked.tar"),
        &checked,
    ));
    assert_eq!(fs::read(at("checked.tar")).unwrap(), new);
}

#[test]
fn deltas_do_not_depend_on_threads_memory_or_compression_of_the_layer() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let old = image(tmp.path(), old_layers());
    let new = new_layer();
    fs::write(at("new.tar"), &new).unwrap();
    for level in ["fast", "default", "best"] {
        let delta = |name: &str, new: &str, more: &[&str]| {
            let options = [&["--level", level], more].concat();
            create(&old, &at(new), &at(name), &options);
            fs::read(at(name)).unwrap()
        };
        let first = delta("1", "new.tar", &["-j1"]);
        assert_eq!(delta("2", "new.tar", &["-j3"]), first);
        for compression in [Compression::Gzip, Compression::Zstd] {
            fs::write(at("layer"), compression.compress(&new)).unwrap();
            assert_eq!(delta("3", "layer", &[]), first);
        }
        // In parts, of which each is looked for where it was.
        delta("parts", "new.tar", &["--memory", "64K"]);
        assert_eq!(apply(&at("parts"), &old, &at("out.tar")), new);
    }
}

#[test]
fn memory_in_which_nothing_can_be_compared_is_refused() {
    for memory in ["0", "1K", "65535"] {
        let mut command = lithify();
        command.args([
            "delta", "tar", "create", "oci:old", "new.tar", "-o", "delta",
        ]);
        let failed = run::output(command.args(["--memory", memory]));
        assert_eq!(failed.status.code(), Some(2));
        let said = stderr(&failed);
        assert!(said.contains("--memory") && said.contains("64K"), "{said}");
    }
}

#[test]
fn the_wrong_base_and_damaged_deltas_leave_nothing() {
    let tmp = temp_dir();
    let at = |name: &str| tmp.path().join(name);
    let old = image(tmp.path(), old_layers());
    let new = new_layer();
    fs::write(at("new.tar"), &new).unwrap();
    create(&old, &at("new.tar"), &at("delta"), &[]);
    let out = at("apply");
    fs::create_dir(&out).unwrap();
    let to = out.join("out.tar");
    let fails = |delta: &Path, base: &str, more: &[&str], code: i32| {
        let failed = run::output(&mut applying(delta, base, &to, more));
        let said = stderr(&failed);
        assert_eq!(failed.status.code(), Some(code), "{said}");
        assert_eq!(names(&out), Vec::<String>::new());
        said
    };

    fs::create_dir(at("other")).unwrap();
    let other = format!("rootfs:{}", at("other").display());
    let said = fails(&at("delta"), &other, &[], 3);
    assert!(said.contains("has no such file"), "{said}");
    fs::create_dir_all(at("other/lib")).unwrap();
    fs::write(at("other/lib/libfoo.so.1.2"), "short").unwrap();
    let said = fails(&at("delta"), &other, &[], 3);
    assert!(
        said.contains("lib/libfoo.so.1.2") && said.contains("another image"),
        "{said}"
    );
    // Nothing outside of the directory is read.
    fs::remove_file(at("other/lib/libfoo.so.1.2")).unwrap();
    fs::write(at("outside"), noise(6, 50_000)).unwrap();
    std::os::unix::fs::symlink(at("outside"), at("other/lib/libfoo.so.1.2")).unwrap();
    let said = fails(&at("delta"), &other, &[], 3);
    assert!(said.contains("no regular file"), "{said}");

    let wrong = digest(b"another");
    let said = fails(&at("delta"), &old, &["--diff-id", &wrong], 3);
    assert!(
        said.contains(&digest(&new)) && said.contains(&wrong),
        "{said}"
    );
    fails(&at("delta"), &old, &["--diff-id", "sha256:1"], 2);

    let delta = fs::read(at("delta")).unwrap();
    for length in [0, 7] {
        fs::write(at("cut"), &delta[..length]).unwrap();
        fails(&at("cut"), &old, &[], 1);
    }
    for length in [8, 9, delta.len() / 2, delta.len() - 1] {
        fs::write(at("cut"), &delta[..length]).unwrap();
        let said = fails(&at("cut"), &old, &[], 3);
        assert!(said.contains("cut"), "{said}");
    }
    let said = fails(&at("new.tar"), &old, &[], 1);
    assert!(said.contains("no tar-diff"), "{said}");

    // What is no tar is no layer, and the delta that was there stays.
    fs::write(at("text"), "no tar at all\n".repeat(100)).unwrap();
    let mut command = lithify();
    command.args(["-q", "delta", "tar", "create", &old]);
    let failed = run::output(command.arg(at("text")).arg("-o").arg(at("delta")));
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("neither gzip nor zstd nor a tar"));
    assert_eq!(fs::read(at("delta")).unwrap(), delta);
}
