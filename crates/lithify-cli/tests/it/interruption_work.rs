//! Signals amid long work: files that are read without end are not read to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::common::signals::{check, end, kill, listing, lithify, registry, until};
use crate::common::{layer, stderr};
use lithify_testkit::{TarEntry, run, temp_dir};
use rustix::process::Signal;

/// Waits until a command has a file open, of which its path says that it is the one.
fn until_open(child: &Child, what: &str, is_it: impl Fn(&Path) -> bool) {
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    until(what, || {
        let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| is_it(&target))
    });
}

/// More than can be read while anybody waits.
const ENDLESS: u64 = 1 << 39;

#[test]
fn a_verification_is_interrupted() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let source = crate::common::image(dir, [layer([TarEntry::file("a", "a")])]);
    let out = dir.join("out");
    crate::common::build(&source, "squashfs-layers", &out);
    let json = std::fs::read_to_string(out.join("image.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = &mut description["artifacts"][0];
    let path = out.join(first["path"].as_str().unwrap());
    first["size"] = ENDLESS.into();
    std::fs::write(out.join("image.json"), description.to_string()).unwrap();
    // It may share its data with the store.
    std::fs::remove_file(&path).unwrap();
    let file = File::create(&path).unwrap();
    file.set_len(ENDLESS).unwrap();
    lithify(dir);
    let before = listing(dir);
    let child = lithify(dir).arg("verify").arg(&out).spawn().unwrap();
    until_open(&child, "the layer", |target| target == path);
    kill(&child, Signal::INT);
    check(&end(child), Signal::INT, "verify");
    assert_eq!(listing(dir), before);
}

/// The header of a file in GNU's form, which has room for the length of any file.
fn header(name: &str, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &[0x80]);
    put(128, &size.to_be_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar  \0");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Layers of a docker-archive are compressed before anything is sent.
#[test]
fn a_layer_that_is_compressed_to_be_copied_is_interrupted() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let archive = dir.join("archive.tar");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))] },
    });
    let manifest =
        serde_json::json!([{ "Config": "c.json", "RepoTags": ["x:1"], "Layers": ["layer.tar"] }]);
    let mut start = Vec::new();
    for (name, text) in [
        ("c.json", config.to_string()),
        ("manifest.json", manifest.to_string()),
    ] {
        start.extend(header(name, text.len() as u64));
        start.extend(text.as_bytes());
        start.resize(start.len().next_multiple_of(512), 0);
    }
    // Its end, and the end of the archive, are zeros as its file is.
    let length = 512 + ENDLESS + 1024;
    start.extend(header("layer.tar", length));
    let length = start.len() as u64 + length + 1024;
    start.extend(header("zeros", ENDLESS));
    std::fs::write(&archive, start).unwrap();
    let file = File::options().write(true).open(&archive).unwrap();
    file.set_len(length).unwrap();
    lithify(dir);
    let before = listing(dir);
    let mut command = lithify(dir);
    command
        .args(["copy", "--limit", "tar_bytes=1099511627776"])
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("oci:{}:x", dir.join("place").display()));
    let child = command.spawn().unwrap();
    // The file without a name into which the layer is compressed.
    until_open(&child, "the scratch file", |target| {
        target.starts_with(dir) && target.to_string_lossy().ends_with(" (deleted)")
    });
    kill(&child, Signal::TERM);
    check(&end(child), Signal::TERM, "copy");
    assert_eq!(listing(dir), before);
}

/// A look at what a file is does not depend on its length.
#[test]
fn a_file_of_zeros_is_no_image_at_once() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let path = dir.join("x.img");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    for verb in ["ls", "inspect", "verify"] {
        let output = end(lithify(dir).arg(verb).arg(&path).spawn().unwrap());
        let said = stderr(&output);
        assert!(said.contains("x.img"), "{verb}: {said}");
        assert!(
            matches!(output.status.code(), Some(1..=3)),
            "{verb}: {said}"
        );
    }
}

#[test]
fn a_check_of_the_store_is_interrupted() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let (_faulty, name) = registry(dir);
    run::ok(lithify(dir).args(["pull", "-q", &name]));
    // More than can be read while anybody waits.
    let path = dir.join("store/blobs/sha256").join("0".repeat(64));
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let before = listing(dir);
    let mut command = lithify(dir);
    let child = command.arg("fsck").spawn().unwrap();
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    until("the blob", || {
        let open = std::fs::read_dir(&fds).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|target| target == path)
    });
    kill(&child, Signal::INT);
    check(&end(child), Signal::INT, "fsck");
    assert_eq!(listing(dir), before);
}
