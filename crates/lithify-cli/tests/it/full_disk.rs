//! Room is made on a disk that has none.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use lithify_testkit::{Mount, TarEntry, require, run, temp_dir};
use serde_json::Value;

use crate::common::stores::{assert_undamaged, lithify_at};
use crate::common::{image, layer};

const SIZE: usize = 3 << 20;

/// An image of one file that nothing makes smaller.
fn noise(dir: &Path, seed: u32) -> String {
    let mut state = seed;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    })
    .take(SIZE / 4)
    .flatten()
    .collect();
    image(dir, [layer([TarEntry::file("noise", bytes)])])
}

/// Takes all room a disk has, down to the last block.
fn fill(disk: &Path) {
    for number in 0.. {
        let Ok(mut file) = File::create(disk.join(format!("ballast-{number}"))) else {
            return;
        };
        let mut written = 0;
        while file.write_all(&[0xaa; 4096]).is_ok() {
            written += 1;
        }
        if written == 0 {
            return;
        }
    }
}

/// Small disks of two kinds: of memory, and of blocks.
fn disks(scratch: &Path) -> Vec<Mount> {
    let memory = ["-t", "tmpfs", "-o", "size=24m", "none"].map(OsStr::new);
    let mut disks = vec![Mount::with(memory).unwrap()];
    if require::tool("mke2fs") {
        let path = scratch.join("ext4");
        File::create(&path).unwrap().set_len(32 << 20).unwrap();
        let mut command = run::command("mke2fs");
        command.args(["-q", "-F", "-t", "ext4", "-m", "0"]);
        run::ok(command.arg(&path));
        let args = ["-t", "ext4", "-o", "loop"].map(OsStr::new);
        let args = args.into_iter().chain([path.as_os_str()]);
        disks.push(Mount::with(args).unwrap());
    }
    disks
}

fn images(store: &Path) -> Vec<String> {
    let out = run::ok(lithify_at(store).args(["images", "--json"]));
    let images: Value = serde_json::from_slice(&out).unwrap();
    let images = images.as_array().unwrap().iter();
    images
        .map(|image| image["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn images_are_removed_from_a_full_disk() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let sources = [1, 2].map(|n| noise(&tmp.path().join(n.to_string()), n));
    let stored = ["store:r.example/one:1", "store:r.example/two:1"];
    for built in [false, true] {
        for disk in disks(tmp.path()) {
            let store = disk.path().join("store");
            for (source, name) in sources.iter().zip(stored) {
                run::ok(lithify_at(&store).args(["-q", "copy", source, name]));
                if built {
                    // What was built of it takes room, too, and its record leaves some.
                    let out = tmp.path().join("layers");
                    let mut command = lithify_at(&store);
                    command.args(["-q", "build", name, "-f", "erofs-layers", "-o"]);
                    run::ok(command.arg(&out));
                    fs::remove_dir_all(&out).unwrap();
                }
            }
            fill(disk.path());
            run::ok(lithify_at(&store).args(["-q", "rm", stored[0]]));
            assert_eq!(images(&store), ["r.example/two:1"]);
            run::ok(lithify_at(&store).args(["-q", "gc"]));
            // The blob, and the layer.
            let size = SIZE * (1 + usize::from(built)) - (64 << 10);
            fs::write(disk.path().join("room"), vec![0xbb; size]).unwrap();
            assert_undamaged(&store);
            let out = tmp.path().join("two.tar");
            let mut command = lithify_at(&store);
            command.args(["-q", "build", stored[1], "-f", "tar", "-o"]);
            run::ok(command.arg(&out));
            fs::remove_file(&out).unwrap();
            // The last one, too.
            fill(disk.path());
            run::ok(lithify_at(&store).args(["-q", "rm", stored[1]]));
            assert_eq!(images(&store), [""; 0]);
            assert_undamaged(&store);
        }
    }
}

#[test]
fn a_full_disk_is_collected() {
    if !require::root() {
        return;
    }
    let tmp = temp_dir();
    let source = noise(&tmp.path().join("image"), 1);
    for disk in disks(tmp.path()) {
        let store = disk.path().join("store");
        let name = "store:r.example/one:1";
        run::ok(lithify_at(&store).args(["-q", "copy", &source, name]));
        run::ok(lithify_at(&store).args(["-q", "rm", name]));
        fill(disk.path());
        run::ok(lithify_at(&store).args(["-q", "gc"]));
        fs::write(disk.path().join("room"), vec![0xbb; SIZE - (64 << 10)]).unwrap();
        assert_undamaged(&store);
    }
}
