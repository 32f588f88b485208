//! Disks and hash trees of layered builds: a machine boots from them, `veritysetup` accepts them, `verify` finds their damage.

use std::fs;
use std::path::Path;

use crate::common::layered::{awkward, description, layered, merged, stack};
use crate::common::{image, layer, lithify, lithify_output, stderr};
use lithify_testkit::{Allow, Mount, Snapshot, TarEntry, require, run, temp_dir, vm};
use serde_json::Value;

#[test]
fn damage_is_found_by_verify() {
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let extra = ["--verity", "--disk", "vmdk,raw,gpt"];
    let directory = layered(&source, "erofs-layers", tmp.path(), &extra);
    run::ok(lithify().arg("verify").arg(&directory));
    for artifact in description(&directory)["artifacts"].as_array().unwrap() {
        assert!(artifact["sha256"].is_string(), "{artifact}");
    }
    let mut files = stack(&directory, "devices");
    files.push(directory.join("fsmeta.erofs"));
    files.extend(["disk.vmdk", "disk.raw", "disk.gpt"].map(|n| directory.join(n)));
    for file in files {
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        let at = bad.len() * 2 / 3;
        bad[at] ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, bad).unwrap();
        let output = lithify_output(["verify", directory.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{}", file.display());
        fs::write(&file, good).unwrap();
    }
    // A description that points elsewhere is not followed.
    let json = fs::read_to_string(directory.join("image.json")).unwrap();
    let hostile = json.replace("\"fsmeta.erofs\"", "\"../store/oci-layout\"");
    fs::write(directory.join("image.json"), hostile).unwrap();
    let output = lithify_output(["verify", directory.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("not below"), "{}", stderr(&output));
}

#[test]
fn verity_is_what_veritysetup_expects() {
    if !require::tool("veritysetup") {
        return;
    }
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let check = |file: &Path| {
        let mut sidecar = file.as_os_str().to_owned();
        sidecar.push(".dmverity");
        let facts: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
        let mut command = run::command("veritysetup");
        command.arg("verify").args([file, file]);
        command.arg(facts["roothash"].as_str().unwrap());
        run::ok(command.arg(format!("--hash-offset={}", facts["hashoffset"])));
    };
    // Every image of a layered build has a tree: the layers', the merged one, and that of the root directory alone.
    for format in ["erofs-layers", "squashfs-layers"] {
        let directory = layered(&source, format, tmp.path(), &["--verity"]);
        let described = description(&directory);
        let mut images = 0;
        for artifact in described["artifacts"].as_array().unwrap() {
            let path = directory.join(artifact["path"].as_str().unwrap());
            if artifact["format"] == "vmdk" {
                assert!(artifact.get("verity").is_none());
                continue;
            }
            check(&path);
            assert_eq!(artifact["options"]["verity"], "sha256", "{artifact}");
            let sidecar = fs::read(path.with_extension(format!(
                "{}.dmverity",
                path.extension().unwrap().to_str().unwrap()
            )));
            let sidecar: Value = serde_json::from_slice(&sidecar.unwrap()).unwrap();
            assert_eq!(artifact["verity"], sidecar);
            images += 1;
        }
        let stacked = described["stack"]["overlay"].as_array().unwrap().len();
        let merged = usize::from(format == "erofs-layers");
        // Three layers and the root directory's.
        assert_eq!((images, stacked), (4 + merged, 4), "{format}");
        run::ok(lithify().arg("verify").arg(&directory));
    }
    for format in ["erofs", "squashfs"] {
        let flat = tmp.path().join("flat");
        let mut command = lithify();
        command.args(["build", &source, "-f", format, "--verity", "-o"]);
        run::ok(command.arg(&flat));
        check(&flat);
        run::ok(lithify().arg("verify").arg(&flat));
        let mut bytes = fs::read(&flat).unwrap();
        bytes[2000] ^= 1;
        fs::write(&flat, bytes).unwrap();
        let output = lithify_output(["verify", flat.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3));
    }
}

/// The trees stand behind the images, and the merged image points at what would stand elsewhere if they were counted.
#[test]
fn hash_trees_are_not_on_the_disks() {
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let disks = ["--disk", "vmdk,raw,gpt"];
    let mut raw = Vec::new();
    for (name, verity) in [("plain", &[][..]), ("trees", &["--verity"])] {
        let dir = tmp.path().join(name);
        fs::create_dir(&dir).unwrap();
        let directory = layered(&source, "erofs-layers", &dir, &[&disks, verity].concat());
        let disk = fs::read(directory.join("disk.raw")).unwrap();
        if require::tool("qemu-img") {
            let converted = dir.join("converted");
            let mut qemu = run::command("qemu-img");
            qemu.args(["convert", "-f", "vmdk", "-O", "raw"]);
            run::ok(qemu.arg(directory.join("disk.vmdk")).arg(&converted));
            assert!(fs::read(converted).unwrap() == disk, "{name}");
        }
        if require::root() && require::kernel_erofs() {
            let expected = Snapshot::of(merged(&directory).path());
            let on_disk = Mount::erofs(&directory.join("disk.raw"));
            Snapshot::of(on_disk.path()).assert_same(&expected, &Allow::nothing());
        }
        raw.push(disk);
    }
    // The device table names the layers' files by their digests, trees included; else all is the same.
    assert_eq!(raw[0].len(), raw[1].len());
}

#[test]
fn a_machine_boots_from_the_vmdk() {
    if !require::vm() {
        return;
    }
    let tmp = temp_dir();
    let busybox = fs::read(require::find_tool("busybox").unwrap()).unwrap();
    let source = image(
        &tmp.path().join("image"),
        [
            layer([
                TarEntry::directory("bin"),
                TarEntry::file("bin/busybox", busybox).mode(0o755),
                TarEntry::symlink("bin/sh", "busybox"),
                TarEntry::directory("etc"),
                TarEntry::file("etc/gone", "x"),
            ]),
            layer([
                TarEntry::directory("etc"),
                TarEntry::whiteout("etc/gone"),
                TarEntry::file("etc/motd", "hello from the image\n"),
            ]),
        ],
    );
    let directory = layered(&source, "erofs-layers", tmp.path(), &[]);
    // The folder can be moved: the disk names its files relative to itself.
    let moved = tmp.path().join("moved");
    fs::rename(&directory, &moved).unwrap();
    let offsets: Vec<String> = description(&moved)["stack"]["disk_offsets"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    // Linux before 6.4 needs a device for each layer; those are on the one disk all the same.
    let script = format!(
        "
        mkdir /ro /rw /top
        if ! mount -t erofs -o ro /dev/vda /ro; then
            options=ro number=0
            for offset in {}; do
                losetup -r -o $offset /dev/loop$number /dev/vda
                options=$options,device=/dev/loop$number number=$((number+1))
            done
            mount -t erofs -o $options /dev/vda /ro
        fi
        mount -t tmpfs none /rw
        mkdir /rw/upper /rw/work
        mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work none /top
        chroot /top /bin/sh -c '/bin/busybox cat /etc/motd; /bin/busybox ls /etc; echo x > /etc/new && echo wrote'
        test ! -e /ro/etc/new
        ",
        offsets.join(" ")
    );
    let output = vm::BootSpec::new(&script)
        .disk(moved.join("disk.vmdk"), "vmdk")
        .module("erofs")
        .module("overlay")
        .module("loop")
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    assert!(output.has_line("hello from the image"), "{output}");
    assert!(output.has_line("wrote"), "{output}");
    assert!(!output.has_line("gone"), "{output}");
}
