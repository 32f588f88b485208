//! `-f ext4` and `lithify disk create`: filesystems to be written to, judged by `e2fsck`, by the programs that read disks, and by
//! the kernel, which writes to them.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Output;

use crate::common::{
    beside_lost_and_found, build, image, layer, lithify, lithify_output, names, stderr,
};
use lithify_testkit::{Mount, Snapshot, TarEntry, require, run, temp_dir};

/// Has `e2fsck` look at everything: not even a remark is right.
fn fsck(path: &Path) {
    let output = run::output(run::command("e2fsck").arg("-fn").arg(path));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("Pass "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
}

/// A tree with something of everything.
fn everything() -> [Vec<u8>; 2] {
    let base = layer([
        TarEntry::directory("d")
            .mode(0o1777)
            .mtime(1_500_000_000, 123_456_789),
        TarEntry::file("d/a", "a".repeat(70_000)).owner(1000, 4_000_000_000),
        TarEntry::hard_link("d/b", "d/a"),
        TarEntry::file("d/gone", "x"),
        TarEntry::symlink("short", "d/a"),
        TarEntry::symlink("long", "x/".repeat(450)),
        TarEntry::char_device("null", 1, 3),
        TarEntry::block_device("far", 4000, 1_000_000),
        TarEntry::fifo("pipe"),
        TarEntry::file("caps", "c").xattr(
            "security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        TarEntry::file("user", "u").xattr("user.note", [7; 3000]),
    ]);
    let upper = layer(std::iter::once(TarEntry::whiteout("d/gone")).chain(
        (0..700).map(|n| TarEntry::file(format!("many/{n:04}-{}", "n".repeat(n % 200)), "m")),
    ));
    [base, upper]
}

fn judges() -> bool {
    require::root() && require::tool("e2fsck") && require::kernel_filesystem("ext4")
}

#[test]
fn the_mounted_image_equals_the_flat_erofs_image() {
    if !judges() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let (erofs, ext4) = (tmp.path().join("x.erofs"), tmp.path().join("x.ext4"));
    build(&source, "erofs", &erofs);
    let expected = Snapshot::of(Mount::erofs(&erofs).path());
    for args in [
        &[][..],
        &["--size", "200M", "--label", "root"],
        &["--free", "20M", "--journal", "none"],
        &["--block-size", "1K"],
        &["--block-size", "2K", "--journal", "4M"],
        &["--size", "40G", "--bytes-per-inode", "1M"],
    ] {
        let mut command = lithify();
        command.args(["-q", "build", "--no-fsync", &source, "-f", "ext4", "-o"]);
        run::ok(command.arg(&ext4).args(args));
        fsck(&ext4);
        let mount = Mount::image("ext4", &ext4);
        Snapshot::of(mount.path()).assert_same(&expected, &beside_lost_and_found());
        let space = fs::metadata(&ext4).expect("an image");
        // What is empty takes no space.
        assert!(
            space.blocks() * 512 < 40 << 20,
            "{args:?}: {}",
            space.blocks()
        );
    }
}

#[test]
fn the_mounted_debian_image_equals_umoci() {
    if !judges() || !require::tool("umoci") {
        return;
    }
    let Some(layout) = require::fixture("debian") else {
        return;
    };
    let tmp = temp_dir();
    let (bundle, ext4) = (tmp.path().join("bundle"), tmp.path().join("x.ext4"));
    let mut command = run::command("umoci");
    command.args(["unpack", "--image"]);
    run::ok(
        command
            .arg(format!("{}:latest", layout.display()))
            .arg(&bundle),
    );
    build(&format!("oci:{}:latest", layout.display()), "ext4", &ext4);
    fsck(&ext4);
    let expected = Snapshot::of(&bundle.join("rootfs"));
    let mount = Mount::image("ext4", &ext4);
    Snapshot::of(mount.path()).assert_same(&expected, &beside_lost_and_found());
}

#[test]
fn the_kernel_writes_to_it() {
    if !judges() {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let ext4 = tmp.path().join("x.ext4");
    let mut command = lithify();
    command.args(["-q", "build", &source, "--size", "256M", "-o"]);
    run::ok(command.arg(&ext4));
    {
        let mount =
            Mount::with(["-o".as_ref(), "loop,rw".as_ref(), ext4.as_os_str()]).expect("a mount");
        let directory = mount.path().join("new");
        fs::create_dir(&directory).expect("a directory");
        for n in 0..10_000 {
            fs::write(directory.join(format!("file {n}")), n.to_string()).expect("a file");
        }
        for n in (0..10_000).step_by(3) {
            fs::remove_file(directory.join(format!("file {n}"))).expect("it is there");
        }
        fs::remove_dir_all(mount.path().join("many")).expect("it is there");
    }
    fsck(&ext4);
    let mount = Mount::image("ext4", &ext4);
    let left = names(&mount.path().join("new")).len();
    assert_eq!(left, 10_000 - 10_000_usize.div_ceil(3));
}

#[test]
fn the_bytes_depend_on_nothing_else() {
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let archive = format!("oci-archive:{}", tmp.path().join("x.tar").display());
    run::ok(lithify().args(["-q", "copy", &source, &archive]));
    let out = tmp.path().join("x.ext4");
    let mut first: Option<Vec<u8>> = None;
    for (source, jobs) in [(&source, "1"), (&source, "8"), (&archive, "2")] {
        let mut command = lithify();
        command.args(["-q", "build", "--no-fsync", source, "-j", jobs, "-o"]);
        run::ok(command.arg(&out));
        let bytes = fs::read(&out).expect("an image");
        assert!(
            *first.get_or_insert_with(|| bytes.clone()) == bytes,
            "{source} {jobs}"
        );
    }
}

#[test]
fn a_layer_named_twice_is_data_of_each_inode_that_is_left() {
    if !judges() {
        return;
    }
    let tmp = temp_dir();
    // The link keeps the inode of the first time, the name has that of the second.
    let base = layer([TarEntry::file("a", "a".repeat(9000))]);
    let link = layer([TarEntry::hard_link("b", "a")]);
    let source = image(tmp.path(), [base.clone(), link, base]);
    let ext4 = tmp.path().join("x.ext4");
    build(&source, "ext4", &ext4);
    fsck(&ext4);
    let mount = Mount::image("ext4", &ext4);
    let inode = |name: &str| {
        let path = mount.path().join(name);
        assert_eq!(
            fs::read(&path).expect("a file"),
            "a".repeat(9000).as_bytes()
        );
        fs::metadata(path).expect("a file").ino()
    };
    assert_ne!(inode("a"), inode("b"));
}

/// What a partition table says of the only partition: its first byte and its length.
fn partition(disk: &Path) -> (u64, u64) {
    let json = run::text(run::command("sfdisk").arg("--json").arg(disk));
    let table: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let partitions = table["partitiontable"]["partitions"]
        .as_array()
        .expect("a list");
    assert_eq!(partitions.len(), 1, "{json}");
    let sectors = |name: &str| 512 * partitions[0][name].as_u64().expect("a number");
    (sectors("start"), sectors("size"))
}

#[test]
fn a_partition_holds_the_bytes_of_the_image() {
    if !require::tool("sfdisk") {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let (plain, disk) = (tmp.path().join("x.ext4"), tmp.path().join("x.img"));
    build(&source, "ext4", &plain);
    let plain = fs::read(&plain).expect("an image");
    for (args, expected) in [(&[][..], 1 << 20), (&["--align", "4M"], 4 << 20)] {
        let mut command = lithify();
        command.args(["-q", "build", &source, "-f", "ext4", "--disk", "gpt", "-o"]);
        run::ok(command.arg(&disk).args(args));
        run::ok(run::command("sfdisk").arg("--verify").arg(&disk));
        let (start, length) = partition(&disk);
        assert_eq!((start, length), (expected, plain.len() as u64));
        let mut found = vec![0; plain.len()];
        let file = fs::File::open(&disk).expect("a disk");
        file.read_exact_at(&mut found, start).expect("a partition");
        assert!(found == plain, "{args:?}");
    }
}

#[test]
fn a_vmdk_is_the_image_to_programs_that_read_it() {
    if !require::tool("qemu-img") {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let (plain, disk) = (tmp.path().join("x.ext4"), tmp.path().join("x.vmdk"));
    build(&source, "ext4", &plain);
    let mut command = lithify();
    command.args(["-q", "build", &source, "-f", "ext4", "--disk", "vmdk", "-o"]);
    run::ok(command.arg(&disk));
    let flat = tmp.path().join("x-flat.vmdk");
    assert!(fs::read(&flat).expect("data") == fs::read(&plain).expect("an image"));
    let mut compare = run::command("qemu-img");
    compare.args(["compare", "-f", "vmdk", "-F", "raw"]);
    run::ok(compare.arg(&disk).arg(&plain));
}

#[test]
fn what_is_too_small_is_told_with_a_size_that_would_do() {
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let out = tmp.path().join("x.ext4");
    let try_size = |size: &str| -> Output {
        let mut command = lithify();
        command.args(["-q", "build", &source, "-f", "ext4", "--size", size, "-o"]);
        run::output(command.arg(&out))
    };
    let refused = try_size("300K");
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert_eq!(names(tmp.path()), ["image"]);
    let said = stderr(&refused);
    let needed = said
        .split_whitespace()
        .filter_map(|word| word.parse::<u64>().ok())
        .next_back()
        .expect("a size");
    let taken = try_size(&needed.to_string());
    assert!(taken.status.success(), "{}", stderr(&taken));
    assert_eq!(fs::metadata(&out).expect("an image").len(), needed);
}

#[test]
fn options_of_other_formats_and_impossible_ones_are_refused() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [layer([TarEntry::file("a", "a")])]);
    let out = tmp.path().join("out");
    for args in [
        &["-f", "erofs", "--size", "1G"][..],
        &["-f", "tar", "--label", "x"],
        &["-f", "squashfs", "--disk", "gpt"],
        &["-f", "ext4", "--compress", "zstd"],
        &["-f", "ext4", "--block-size", "8K"],
        &["-f", "ext4", "--size", "1G", "--free", "1M"],
        &["-f", "ext4", "--inodes", "100", "--bytes-per-inode", "16K"],
        &["-f", "ext4", "--inodes", "5"],
        &["-f", "ext4", "--bytes-per-inode", "1"],
        &["-f", "ext4", "--journal", "1K"],
        &["-f", "ext4", "--label", "seventeen letters"],
        &["-f", "ext4", "--disk", "gpt,vmdk"],
        &["-f", "ext4", "--disk", "gpt", "--verity"],
        &["-f", "ext4", "--align", "1M"],
        &["-f", "ext4", "--disk", "vmdk", "--align", "1M"],
        &["-f", "ext4", "--artifacts", "use"],
        &["-f", "ext4", "--sparse"],
    ] {
        let mut command = lithify();
        command
            .args(["-q", "build", &source])
            .args(args)
            .arg("-o")
            .arg(&out);
        let output = run::output(&mut command);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(names(tmp.path()), ["image"]);
}

/// An image nobody can read: nothing of it was looked at.
#[test]
fn what_is_wrong_whatever_the_image_is_comes_before_its_layers() {
    let tmp = temp_dir();
    let source = image(tmp.path(), [layer([TarEntry::file("a", "a")])]);
    let blobs = tmp.path().join("image/blobs/sha256");
    for name in names(&blobs) {
        let path = blobs.join(name);
        let blob = fs::read(&path).expect("a blob");
        if blob.starts_with(&[0x1f, 0x8b]) {
            fs::write(path, vec![0; blob.len()]).expect("room");
        }
    }
    let out = tmp.path().join("out.ext4");
    let build = |args: &[&str]| {
        let mut command = lithify();
        command.args(["-q", "build", &source, "-o"]).arg(&out);
        run::output(command.args(args))
    };
    assert_eq!(build(&[]).status.code(), Some(3));
    for (args, expected) in [
        (&["--size", "100K"][..], "102400 bytes is not made"),
        (
            &["--size", "20M", "--journal", "30M"],
            "20971520 bytes has no room for its own",
        ),
        (
            &["--journal", "1K"],
            "a journal of 1024 bytes is not made: expected at least 4194304 bytes, at most 41943040000, or none",
        ),
        (&["--journal", "0"], "a journal of 0 bytes"),
        (
            &["--inodes", "4294967295", "--size", "16T"],
            "has at most 32768, and their numbers have 32 bits; in 17592186044416 bytes up to 4292870144 would do",
        ),
        (
            &["--disk", "gpt", "--size", "10000001"],
            "a size of 10000001 bytes on a disk (--disk gpt): expected a multiple of 512, such as 10000384",
        ),
        (&["--disk", "vmdk", "--size", "10000001"], "10000384"),
        // What would do is a size that does.
        (
            &["--disk", "gpt", "--size", "100"],
            "100 bytes is not made: expected 262144",
        ),
        (&["--inodes", "5"], "5 inodes is not made"),
        (&["--bytes-per-inode", "1"], "for every 1 bytes"),
        (&["--label", "seventeen letters"], "`seventeen letters`"),
        (&["--free", "2T"], "ask for one"),
        (&["--block-size", "8K"], "1K, 2K or 4K"),
    ] {
        let output = build(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    assert_eq!(names(tmp.path()), ["image"]);
}

#[test]
fn an_empty_disk_is_as_it_was_asked_for() {
    if !judges() || !require::tool("tune2fs") {
        return;
    }
    let tmp = temp_dir();
    let disk = tmp.path().join("data.ext4");
    let mut command = lithify();
    command.args(["-q", "disk", "create", "--size", "20G", "--label", "data"]);
    run::ok(command.arg(&disk));
    fsck(&disk);
    let metadata = fs::metadata(&disk).expect("a disk");
    assert_eq!(metadata.len(), 20 << 30);
    assert!(metadata.blocks() * 512 <= 2 << 20, "{}", metadata.blocks());
    let said = run::text(run::command("tune2fs").arg("-l").arg(&disk));
    assert!(said.contains("data"), "{said}");
    // Somebody's data is never replaced.
    let again = lithify_output([
        "disk",
        "create",
        "--size",
        "1G",
        disk.to_str().expect("UTF-8"),
    ]);
    assert_eq!(again.status.code(), Some(1), "{}", stderr(&again));
    assert_eq!(fs::metadata(&disk).expect("a disk").len(), 20 << 30);

    let mount =
        Mount::with(["-o".as_ref(), "loop,rw".as_ref(), disk.as_os_str()]).expect("a mount");
    assert_eq!(names(mount.path()), ["lost+found"]);
    fs::write(mount.path().join("x"), "x").expect("room");
    drop(mount);
    fsck(&disk);
}

#[test]
fn disks_of_every_kind_are_made_empty() {
    if !require::tool("qemu-img") || !require::tool("sfdisk") {
        return;
    }
    let tmp = temp_dir();
    let create = |name: &str, kind: &str| {
        let path = tmp.path().join(name);
        let mut command = lithify();
        command.args(["-q", "disk", "create", "--size", "64M", "--disk", kind]);
        run::output(command.arg(&path))
    };
    for (name, kind) in [("a", "raw"), ("b", "gpt"), ("c.vmdk", "vmdk")] {
        assert!(create(name, kind).status.success(), "{kind}");
    }
    let plain = tmp.path().join("a");
    let (start, length) = partition(&tmp.path().join("b"));
    assert_eq!((start, length), (1 << 20, 64 << 20));
    let mut compare = run::command("qemu-img");
    compare.args(["compare", "-f", "vmdk", "-F", "raw"]);
    compare.arg(tmp.path().join("c.vmdk")).arg(&plain);
    run::ok(&mut compare);
    assert_eq!(names(tmp.path()), ["a", "b", "c-flat.vmdk", "c.vmdk"]);
    // The data of a disk is as much in the way as the disk.
    fs::remove_file(tmp.path().join("c.vmdk")).expect("it is there");
    assert_eq!(create("c.vmdk", "vmdk").status.code(), Some(1));
}

#[test]
fn disks_nobody_can_have_are_not_made() {
    let tmp = temp_dir();
    let create = |name: &str, args: &[&str]| {
        let mut command = lithify();
        command.args(["disk", "create", "--size", "10M"]).args(args);
        run::output(command.arg(name).current_dir(tmp.path()))
    };
    let align = "--align is for the disks of -f erofs-layers, and ext4 with --disk gpt";
    for (name, args, says) in [
        ("d", &["--align", "1M"][..], align),
        ("d", &["--disk", "vmdk", "--align", "1M"], align),
        ("y.vmdk", &[], "`y.vmdk` is the name of a VMDK disk"),
        ("y.gpt", &[], "--disk gpt"),
        ("q.qcow2", &[], "`q.qcow2` is the name of a qcow2 disk"),
        ("q.tar", &[], "`q.tar` is the name of a tar"),
        ("q.erofs", &[], "`q.erofs` is the name of an EROFS image"),
        ("q/", &[], "a directory"),
        ("q/", &["--disk", "gpt"], "a directory"),
        ("-", &[], "cannot be written to standard output"),
    ] {
        let output = create(name, args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{name} {args:?}: {said}");
        assert!(said.contains(says), "{name} {args:?}: {said}");
    }
    for disk in ["gpt", "vmdk"] {
        let mut command = lithify();
        command.args(["disk", "create", "--size", "10000001", "--disk", disk, "d"]);
        let output = run::output(command.current_dir(tmp.path()));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("such as 10000384"), "{said}");
    }
    assert!(names(tmp.path()).is_empty());
    // Who says both may mean both.
    let output = create("x.img", &["--disk", "raw"]);
    assert!(output.status.success() && !stderr(&output).contains("is the name of"));
    let output = create("y.vmdk", &["--disk", "raw"]);
    assert!(output.status.success() && stderr(&output).contains("is the name of a VMDK disk"));
    let output = create("d.gpt", &["--disk", "gpt", "--align", "4M"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // As large as what was said would do, and a filesystem that is no multiple of a sector is one where nothing is around it.
    for (name, size, args) in [
        ("a", "10000384", &["--disk", "gpt"][..]),
        ("b", "10000001", &[]),
    ] {
        let mut command = lithify();
        command.args(["-q", "disk", "create", "--size", size, name]);
        run::ok(command.args(args).current_dir(tmp.path()));
    }
    assert_eq!(
        fs::metadata(tmp.path().join("b")).expect("a disk").len(),
        10_000_001
    );
}

/// A disk that something happened to: what is said names the place and the program that helps.
#[test]
fn damaged_disks_are_found_and_can_be_mended() {
    if !require::tool("e2fsck") {
        return;
    }
    let tmp = temp_dir();
    let source = image(tmp.path(), everything());
    let path = tmp.path().join("x.ext4");
    build(&source, "ext4", &path);
    run::ok(lithify().args(["-q", "verify"]).arg(&path));
    // The first group's number of free blocks.
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4096 + 12).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 4096 + 12).unwrap();
    let output = run::output(lithify().args(["-q", "verify"]).arg(&path));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("block group 0") && said.contains("e2fsck -f"),
        "{said}"
    );
    let mended = run::output(run::command("e2fsck").arg("-fy").arg(&path));
    assert_eq!(mended.status.code(), Some(1));
    run::ok(lithify().args(["-q", "verify"]).arg(&path));
}
