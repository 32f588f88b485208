//! Our filesystems beside those of `mke2fs`, and what e2fsprogs' other programs see of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, Journal};
use lithify_testkit::{Mount, require, vm};

use crate::common::{Builder, Fields, run};

/// Fields that say something else than `mke2fs` does, and why.
const DIFFERENT: [(&str, &str); 15] = [
    ("Filesystem UUID", "from the contents, not from chance"),
    ("Directory Hash Seed", "from the contents, not from chance"),
    ("Filesystem created", "a time of the tree, not now"),
    ("Last write time", "a time of the tree, not now"),
    ("Last checked", "a time of the tree, not now"),
    ("Checksum", "of all the others"),
    (
        "Checksum seed",
        "kept in the superblock, so that the UUID of a copy can be changed while it is mounted",
    ),
    (
        "Filesystem features",
        "metadata_csum_seed, which mke2fs has by default since 1.47.0 but not on Debian; no orphan_file, which Linux knows since 5.15",
    ),
    (
        "Filesystem flags",
        "names are hashed as unsigned bytes on every machine, mke2fs has its own machine's way",
    ),
    (
        "Reserved block count",
        "none: half of the tenth that is free would be for root alone; `tune2fs -m` reserves some",
    ),
    (
        "Reserved GDT blocks",
        "for 64 times the size, not for 1024 times: these blocks are not holes",
    ),
    (
        "Overhead clusters",
        "fewer blocks are reserved for descriptors",
    ),
    ("Free blocks", "fewer blocks are reserved for descriptors"),
    (
        "Lifetime writes",
        "not counted, as they would not be the same every time",
    ),
    ("Total journal size", "older versions round it"),
];

#[test]
fn the_same_features_as_of_mke2fs() {
    if !require::tool("mke2fs") {
        return;
    }
    for (block_size, size) in [
        (BlockSize::Small, 64 << 20),
        (BlockSize::Medium, 128 << 20),
        (BlockSize::Large, 64 << 20),
        (BlockSize::Large, 1 << 30),
    ] {
        let mut options = DataOptions::default();
        options.block_size = block_size;
        options.size = Some(size);
        let image = Builder::new(options).finish(&ImageOptions::default());
        let dir = lithify_testkit::temp_dir();
        let peer = dir.path().join("peer.ext4");
        File::create(&peer).unwrap().set_len(size).unwrap();
        let blocks = block_size.bytes().to_string();
        run(
            "mke2fs",
            &["-q", "-t", "ext4", "-i", "16384", "-b", &blocks],
            &peer,
        );
        let (ours, theirs) = (image.superblock(), Fields::of(&peer));
        let names: BTreeSet<&str> = ours.names().chain(theirs.names()).collect();
        for name in names {
            if DIFFERENT.iter().any(|(different, _)| *different == name) {
                continue;
            }
            assert_eq!(ours.get(name), theirs.get(name), "{name}");
        }
        let features = |fields: &Fields| -> BTreeSet<String> {
            let words = fields.get("Filesystem features").unwrap().split(' ');
            words.map(str::to_owned).collect()
        };
        let mut expected = features(&theirs);
        expected.insert("metadata_csum_seed".into());
        expected.remove("orphan_file");
        assert_eq!(features(&ours), expected);
        assert_eq!(ours.number("Reserved block count"), 0);
        let overhead = ours.number("Block count") - ours.number("Free blocks");
        // The root, lost+found and the block that leads to reserved ones are files.
        let files = 1 + (16 << 10) / u64::from(block_size.bytes()) + 1;
        assert_eq!(ours.number("Overhead clusters"), overhead - files);
    }
}

/// On both sides of each step of the rule.
#[test]
fn journals_are_as_large_as_those_of_mke2fs() {
    if !require::tool("mke2fs") {
        return;
    }
    let dir = lithify_testkit::temp_dir();
    let peer = dir.path().join("peer.ext4");
    let steps = [
        2048, 32_768, 262_144, 524_288, 4_194_304, 8_388_608, 16_777_216, 33_554_432,
    ];
    for blocks in steps.into_iter().flat_map(|step| [step - 1, step]) {
        let size: u64 = blocks * 4096;
        File::create(&peer).unwrap().set_len(size).unwrap();
        let extended = "lazy_journal_init=1,nodiscard";
        let args = [
            "-q", "-t", "ext4", "-b", "4096", "-i", "1048576", "-E", extended,
        ];
        run("mke2fs", &args, &peer);
        let mut options = DataOptions::default();
        options.size = Some(size);
        options.bytes_per_inode = 1 << 20;
        let image = Builder::new(options).finish(&ImageOptions::default());
        let (ours, theirs) = (image.superblock(), Fields::of(&peer));
        for name in ["Total journal blocks", "Block count", "Journal inode"] {
            assert_eq!(ours.get(name), theirs.get(name), "{blocks} {name}");
        }
    }
}

/// Nobody has to write what nobody wrote: neither the kernel, by its lazy initialisation, nor `e2fsck`.
#[test]
fn groups_are_left_uninitialised() {
    let mut options = DataOptions::default();
    options.size = Some(10 << 30);
    let image = Builder::new(options).finish(&ImageOptions::default());
    let said = run("dumpe2fs", &[], &image.path);
    let groups: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("Group ") && line.contains(": (Blocks "))
        .collect();
    assert_eq!(groups.len(), 80);
    let count = |flag: &str| groups.iter().filter(|line| line.contains(flag)).count();
    assert_eq!(count("ITABLE_ZEROED"), 80);
    assert_eq!(count("INODE_UNINIT"), 79);
    // The first of each flexible group has the tables of all, the first of all the journal; the last one's end has to be
    // marked.
    assert_eq!(count("BLOCK_UNINIT"), 80 - 5 - 1);
}

/// A file is in one piece, unless a copy of the superblock is in its way.
#[test]
fn files_are_in_one_piece() {
    if !require::tool("filefrag") || !require::kernel_filesystem("ext4") {
        return;
    }
    let mut b = Builder::new(DataOptions::default());
    for n in 0..30 {
        b.file(&format!("f{n}"), &vec![n; 100_000 * usize::from(n)]);
    }
    // The group after the first has a copy, the one after that has none.
    b.file("over", &vec![1; 100 << 20]);
    b.file("behind", &vec![2; 120 << 20]);
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    let mount = Mount::image("ext4", &image.path);
    let pieces = |name: &str| {
        let said = run("filefrag", &[], &mount.path().join(name));
        let words = said.rsplit(": ").next().unwrap();
        words.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    for n in 1..30 {
        assert_eq!(pieces(&format!("f{n}")), 1, "{n}");
    }
    assert_eq!(pieces("over"), 2);
    assert_eq!(pieces("behind"), 1);
    drop(mount);
    // Blocks belong to whom they should.
    let said = run("debugfs", &["-R", "blocks /f3"], &image.path);
    let block = said.split_whitespace().next().unwrap().to_owned();
    let said = run("debugfs", &["-R", &format!("icheck {block}")], &image.path);
    let found = said.lines().find(|line| line.starts_with(&block)).unwrap();
    let inode = found.split_whitespace().nth(1).unwrap();
    let said = run("debugfs", &["-R", &format!("ncheck {inode}")], &image.path);
    assert!(said.contains("/f3"), "{said}");
}

#[test]
fn the_kernel_writes_on() {
    if !require::kernel_filesystem("ext4") {
        return;
    }
    let mut options = DataOptions::default();
    options.size = Some(200 << 20);
    options.inodes = Some(20_000);
    let mut b = Builder::new(options);
    b.file("data", &vec![5; 30 << 20]);
    for n in 0..1000 {
        b.file(&format!("etc/{n}"), format!("{n}").as_bytes());
    }
    let image = b.finish(&ImageOptions::default());
    let mount = Mount::writable("ext4", &image.path);
    let at = |name: String| mount.path().join(name);
    for n in 0..10_000 {
        if n % 100 == 0 {
            fs::create_dir(at(format!("new-{}", n / 100))).unwrap();
        }
        fs::write(at(format!("new-{}/{n}", n / 100)), [n as u8; 3000]).unwrap();
    }
    // In directories of ours too, which have to be split.
    for n in 0..1000 {
        fs::write(at(format!("etc/more-{n}")), b"more").unwrap();
        if n % 3 == 0 {
            fs::remove_file(at(format!("etc/{n}"))).unwrap();
        }
    }
    for n in (0..10_000).step_by(7) {
        fs::remove_file(at(format!("new-{}/{n}", n / 100))).unwrap();
    }
    fs::remove_file(at("data".into())).unwrap();
    fs::write(at("data".into()), vec![6; 40 << 20]).unwrap();
    drop(mount);
    image.fsck();
    let mount = Mount::image("ext4", &image.path);
    let at = |name: String| mount.path().join(name);
    for n in 0..10_000 {
        let found = fs::read(at(format!("new-{}/{n}", n / 100)));
        match n % 7 {
            0 => assert!(found.is_err()),
            _ => assert!(found.unwrap() == [n as u8; 3000]),
        }
    }
    for n in 0..1000 {
        assert_eq!(at(format!("etc/{n}")).exists(), n % 3 != 0);
        assert!(at(format!("etc/more-{n}")).exists());
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (n, byte) in bytes.iter().enumerate() {
        let separator = if [4, 6, 8, 10].contains(&n) { "-" } else { "" };
        text += &format!("{separator}{byte:02x}");
    }
    text
}

/// What people change of a disk that is there.
#[test]
fn tune2fs_changes_it() {
    if !require::tool("tune2fs") {
        return;
    }
    for block_size in [BlockSize::Small, BlockSize::Large] {
        let mut options = DataOptions::default();
        options.block_size = block_size;
        options.size = Some(300 << 20);
        let mut b = Builder::new(options);
        for n in 0..3000 {
            b.file(&format!("etc/{n}"), format!("{n}").as_bytes());
        }
        let image = b.finish(&ImageOptions::default());
        if require::kernel_filesystem("ext4") {
            // Two copies of a disk in one machine.
            let mount = Mount::writable("ext4", &image.path);
            let device = run("findmnt", &["-n", "-o", "SOURCE"], mount.path());
            run("tune2fs", &["-U", "random"], Path::new(device.trim()));
            fs::write(mount.path().join("etc/new"), b"new").unwrap();
            drop(mount);
            image.fsck();
            // What is below needs a filesystem that was looked at since.
            run("e2fsck", &["-fp"], &image.path);
            let uuid = uuid(&image.report.uuid);
            assert_ne!(
                image.superblock().get("Filesystem UUID"),
                Some(uuid.as_str())
            );
        }
        for args in [
            &["-U", "random"][..],
            &["-L", "another", "-m", "5", "-c", "20", "-i", "30d"],
            &["-O", "^has_journal"],
            &["-j"],
            &["-O", "^metadata_csum_seed"],
            &["-O", "^metadata_csum"],
            &["-O", "metadata_csum"],
            &["-O", "quota"],
            &["-O", "^dir_index"],
        ] {
            run("tune2fs", args, &image.path);
            image.fsck();
        }
    }
}

#[test]
fn it_grows_and_shrinks() {
    if !require::tool("resize2fs") {
        return;
    }
    for block_size in [BlockSize::Small, BlockSize::Large] {
        for size in [None, Some(100 << 20)] {
            let mut options = DataOptions::default();
            options.block_size = block_size;
            options.size = size;
            let mut b = Builder::new(options);
            b.file("data", &vec![5; 30 << 20]);
            for n in 0..500 {
                b.file(&format!("etc/{n}"), format!("{n}").as_bytes());
            }
            let image = b.finish(&ImageOptions::default());
            let path = image.path.to_str().unwrap();
            let check = || {
                image.fsck();
                let said = run("debugfs", &["-R", "stat /data"], &image.path);
                assert!(said.contains("Size: 31457280"), "{said}");
            };
            // The last is more than what the descriptors of the second have room for.
            for size in [
                "110M", "150M", "200M", "300M", "500M", "1G", "2G", "4G", "6G", "12G",
            ] {
                run("e2fsck", &["-fp"], &image.path);
                run("resize2fs", &[path], Path::new(size));
                check();
            }
            run("e2fsck", &["-fp"], &image.path);
            run("resize2fs", &["-M"], &image.path);
            check();
            let found = image.superblock();
            let bytes = found.number("Block count") * found.number("Block size");
            assert!(bytes < 100 << 20, "{bytes}");
        }
    }
}

/// Ten times, while files come. The last size is more than what the reserved descriptors of two of the disks have room for.
const GROW: &str = "set -e
for disk in a b c; do
    mkdir -p /mnt/$disk
    mount -t ext4 /dev/vd$disk /mnt/$disk
done
n=0
for size in 110 150 200 300 500 1000 2000 4000 6000 12000; do
    n=$((n+1))
    for disk in a b c; do
        resize2fs /dev/vd$disk ${size}M 2>&1
        yes $n | head -c 3000000 > /mnt/$disk/$n
    done
done
for disk in a b c; do
    umount /mnt/$disk
done
";

#[test]
fn it_grows_while_it_is_mounted() {
    if !require::vm() || !require::tool("resize2fs") {
        return;
    }
    let disks = [
        (BlockSize::Large, None, Journal::Default),
        (BlockSize::Large, Some(100 << 20), Journal::None),
        (BlockSize::Small, Some(100 << 20), Journal::Default),
    ];
    let mut guest = vm::BootSpec::new(GROW).module("ext4").program("resize2fs");
    let images = disks.map(|(block_size, size, journal)| {
        let mut data = DataOptions::default();
        data.block_size = block_size;
        data.size = size;
        let mut b = Builder::new(data);
        b.file("data", &vec![5; 30 << 20]);
        let mut options = ImageOptions::default();
        options.journal = journal;
        let image = b.finish(&options);
        let file = File::options().write(true).open(&image.path).unwrap();
        file.set_len(12_000 << 20).unwrap();
        image
    });
    for image in &images {
        guest = guest.writable_disk(&image.path);
    }
    let output = guest.boot();
    assert_eq!(output.status, Some(0), "{output}");
    let grown = output.console.matches(" is now ").count();
    assert_eq!(grown, 10 * images.len(), "{output}");
    for image in &images {
        image.fsck();
        let found = image.superblock();
        let bytes = found.number("Block count") * found.number("Block size");
        assert!(bytes > 11_990 << 20, "{bytes}");
        let said = run("debugfs", &["-R", "cat /data"], &image.path);
        assert!(said.bytes().filter(|byte| *byte == 5).count() == 30 << 20);
        for n in 1..=10 {
            let said = run("debugfs", &["-R", &format!("cat /{n}")], &image.path);
            let line = format!("{n}\n");
            assert!(said.matches(&line).count() > 3_000_000 / 3 - 1, "{n}");
        }
    }
}

#[test]
fn it_shrinks_as_it_is_made() {
    if !require::tool("resize2fs") {
        return;
    }
    let mut options = DataOptions::default();
    options.size = Some(5 << 30);
    let mut b = Builder::new(options);
    b.file("data", &vec![5; 30 << 20]);
    let image = b.finish(&ImageOptions::default());
    run("e2fsck", &["-fp"], &image.path);
    run("resize2fs", &["-M"], &image.path);
    image.fsck();
}
