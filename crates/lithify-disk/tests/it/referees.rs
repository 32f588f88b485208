//! Against QEMU and sgdisk. (The kernel's partition scan is asked by a guest: `boot.rs`.)
#![cfg(unix)]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::common::{MIB, Set, noise, open_all, write_companions};
use lithify_cancel::{CancelToken, Cancelled, Checked};
use lithify_disk::gpt::{GptOptions, Table};
use lithify_disk::vmdk::{Descriptor, PathRule, Vmdk, VmdkOptions};
use lithify_disk::{Alignment, Disk, RawError};
use lithify_testkit::{require, run};

/// Writes the descriptor beside the parts, and what it needs.
fn write_vmdk(dir: &Path, vmdk: &Vmdk) {
    std::fs::write(dir.join("disk.vmdk"), &vmdk.descriptor).unwrap();
    write_companions(dir, vmdk);
}

/// What QEMU makes of the descriptor is the raw disk, byte for byte.
fn qemu_agrees(set: &Set, disk: &Disk, options: &VmdkOptions) {
    let dir = set.dir();
    let vmdk = disk.vmdk(options).unwrap();
    write_vmdk(dir, &vmdk);
    let descriptor = Descriptor::parse(vmdk.descriptor.as_bytes(), PathRule::Below).unwrap();
    descriptor
        .check(|path| Ok(std::fs::metadata(dir.join(path))?.len()))
        .unwrap();
    assert_eq!(descriptor.size(), disk.size());
    assert_eq!(descriptor.cid, vmdk.cid);

    let mut raw = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.join("disk.img"))
        .unwrap();
    disk.write_file(&open_all(set), &mut raw).unwrap();
    assert_eq!(raw.metadata().unwrap().len(), disk.size());

    // From another directory: paths are relative to the descriptor.
    let qemu = |args: &[&str]| {
        let mut command = run::command("qemu-img");
        command.args(args).arg(dir.join("disk.vmdk"));
        command.current_dir("/");
        run::text(&mut command)
    };
    let info = qemu(&["info", "--output=json"]);
    let size = format!("\"virtual-size\": {}", disk.size());
    assert!(info.contains(&size), "{info}");
    assert!(info.contains(&format!("\"cid\": {}", vmdk.cid)), "{info}");
    qemu(&["check"]);
    let mut command = run::command("qemu-img");
    command.args(["compare", "-f", "vmdk", "-F", "raw"]);
    command.args([dir.join("disk.vmdk"), dir.join("disk.img")]);
    let verdict = run::text(&mut command);
    assert!(verdict.contains("Images are identical"), "{verdict}");
}

#[test]
fn qemu_reads_the_same_disk() {
    if !require::tool("qemu-img") {
        return;
    }
    let mut set = Set::new();
    set.add("fsmeta.erofs", &noise(1, 12_288));
    set.add("layers/one with ä.erofs", &noise(2, 3 * MIB as usize + 512));
    set.add("layers/two.erofs", &noise(3, 4096));
    set.add("layers/two.erofs.again", &noise(3, 4096));
    for alignment in [Alignment::SECTOR, Alignment::HUGE_PAGE] {
        let disk = Disk::concatenated(set.parts(), alignment).unwrap();
        qemu_agrees(&set, &disk, &VmdkOptions::default());
        let short = VmdkOptions {
            extent_max: 1 << 20,
            companions: "layers/x".into(),
            ..VmdkOptions::default()
        };
        qemu_agrees(&set, &disk, &short);
        let options = GptOptions { alignment };
        let disk = Disk::partitioned(set.parts(), &options).unwrap();
        qemu_agrees(&set, &disk, &VmdkOptions::default());
    }
}

/// Data on both sides of 2 and of 4 GiB, in one part and behind it.
#[test]
fn parts_beyond_4_gib() {
    if !require::tool("qemu-img") {
        return;
    }
    let mut set = Set::new();
    set.add("small", &noise(1, 512));
    let path = set.add_hole("large", 5 << 30);
    set.add("last", &noise(2, 4096));
    let file = File::options().write(true).open(path).unwrap();
    for (n, at) in [0, (2 << 30) - 3000, (4_u64 << 30) - 5, (5 << 30) - 700]
        .into_iter()
        .enumerate()
    {
        let bytes = noise(n as u64, 700);
        file.write_all_at(&bytes, at).unwrap();
    }
    let disk = Disk::concatenated(set.parts(), Alignment::SECTOR).unwrap();
    qemu_agrees(&set, &disk, &VmdkOptions::default());
    let blocks = |name: &str| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(set.dir().join(name)).unwrap().blocks() * 512
    };
    assert!(blocks("disk.img") < 4 * MIB, "holes are copied as holes");

    let disk = Disk::partitioned(set.parts(), &GptOptions::default()).unwrap();
    qemu_agrees(&set, &disk, &VmdkOptions::default());
    if require::tool("sgdisk") {
        sgdisk_agrees(&set.dir().join("disk.img"), &disk);
    }
}

/// `sgdisk` finds nothing wrong, and the same partitions.
fn sgdisk_agrees(image: &Path, disk: &Disk) {
    let verdict = run::text(run::command("sgdisk").arg("--verify").arg(image));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table = Table::read(&File::open(image).unwrap()).unwrap();
    assert_eq!(table.partitions.len(), disk.parts().len());
    let printed = run::text(run::command("sgdisk").arg("--print").arg(image));
    assert!(printed.contains(&table.disk.to_string()), "{printed}");
    for (n, (part, partition)) in disk.parts().iter().zip(&table.partitions).enumerate() {
        assert_eq!(partition.number, n + 1);
        assert_eq!(partition.offset, disk.part_offset(n));
        assert_eq!(partition.length, part.size);
        assert_eq!(partition.name, part.name);
        let info = format!("--info={}", n + 1);
        let info = run::text(run::command("sgdisk").arg(info).arg(image));
        for line in [
            "Partition GUID code: 0FC63DAF-8483-4772-8E79-3D69D8477DE4 (Linux filesystem)".into(),
            format!("Partition unique GUID: {}", partition.id),
            format!("First sector: {} ", partition.offset / 512),
            format!("Partition size: {} sectors", partition.length / 512),
            format!("Partition name: '{}'", part.name),
        ] {
            assert!(info.contains(&line), "{line}: {info}");
        }
    }
}

#[test]
fn sgdisk_finds_nothing_wrong() {
    if !require::tool("sgdisk") {
        return;
    }
    let mut set = Set::new();
    set.add("metadata", &noise(1, 4096));
    set.add("a layer with ünïcödé", &noise(2, 2 * MIB as usize + 1024));
    for alignment in [Alignment::MEBIBYTE, Alignment::HUGE_PAGE] {
        let disk = Disk::partitioned(set.parts(), &GptOptions { alignment }).unwrap();
        let image = set.dir().join("disk.img");
        let mut bytes = Vec::new();
        disk.write(&open_all(&set), &mut bytes).unwrap();
        std::fs::write(&image, &bytes).unwrap();
        assert!((bytes.len() as u64).is_multiple_of(alignment.bytes()));
        sgdisk_agrees(&image, &disk);
    }
}

/// More partitions than the 128 most tables have room for.
#[test]
fn many_partitions() {
    if !require::tool("sgdisk") {
        return;
    }
    let mut set = Set::new();
    for n in 0..200 {
        set.add(&format!("layer-{n}"), &noise(n, 4096));
    }
    let options = GptOptions {
        alignment: Alignment::new(4096).unwrap(),
    };
    let disk = Disk::partitioned(set.parts(), &options).unwrap();
    let image = set.dir().join("disk.img");
    let mut bytes = Vec::new();
    disk.write(&open_all(&set), &mut bytes).unwrap();
    std::fs::write(&image, &bytes).unwrap();
    let verdict = run::text(run::command("sgdisk").arg("--verify").arg(&image));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table = Table::read(&bytes).unwrap();
    assert_eq!(table.partitions.len(), 200);
    let printed = run::text(run::command("sgdisk").arg("--print").arg(&image));
    assert!(printed.contains("layer-199"), "{printed}");
    if require::tool("qemu-img") {
        qemu_agrees(&set, &disk, &VmdkOptions::default());
    }
}

#[test]
fn a_disk_is_written_as_long_as_the_work_goes_on() {
    let mut set = Set::new();
    set.add("a", &noise(1, 8192));
    let disk = Disk::concatenated(set.parts(), Alignment::SECTOR).unwrap();
    let token = CancelToken::new();
    let mut raw = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(set.dir().join("disk.img"))
        .unwrap();
    token.cancel();
    let written = disk.write_checked(&open_all(&set), &mut Checked::new(&mut raw, &token));
    let Err(RawError::Write { source, .. }) = written else {
        panic!("{written:?}");
    };
    assert!(source.get_ref().unwrap().is::<Cancelled>(), "{source}");
    assert_eq!(raw.metadata().unwrap().len(), 0);
}
