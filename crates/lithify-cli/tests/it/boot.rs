//! A kernel boots what was built: cpio archives as its initramfs, ext4 images as a root disk that is written to.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use lithify_testkit::{TarEntry, require, run, temp_dir, vm};

use crate::common::{image, layer, lithify};

/// Entries of a guest: busybox as a shell, and what the kernel needs to begin with.
fn guest(init: &str) -> Vec<TarEntry> {
    vec![
        TarEntry::directory("bin").mode(0o755),
        TarEntry::file("bin/busybox", vm::busybox()).mode(0o755),
        TarEntry::hard_link("bin/sh", "bin/busybox"),
        TarEntry::directory("dev").mode(0o755),
        TarEntry::char_device("dev/console", 5, 1).mode(0o600),
        TarEntry::directory("proc").mode(0o555),
        TarEntry::directory("root").mode(0o700),
        TarEntry::file("init", init).mode(0o755),
    ]
}

/// Builds an archive of some entries.
fn archive(dir: &Path, name: &str, entries: Vec<TarEntry>) -> PathBuf {
    let source = dir.join(format!("{name}.image"));
    fs::create_dir(&source).unwrap();
    let out = dir.join(name);
    run::ok(
        lithify()
            .args([
                "-q",
                "build",
                "--no-fsync",
                &image(&source, [layer(entries)]),
            ])
            .arg("-o")
            .arg(&out),
    );
    out
}

/// The kernel makes of an archive what it says: hard links of files and devices, owners, modes and times of everything.
#[test]
fn a_kernel_unpacks_an_archive_as_its_root() {
    if !require::vm() {
        return;
    }
    let tmp = temp_dir();
    let init = format!(
        r#"#!/bin/sh
stat() {{ /bin/busybox stat -c "$@"; }}
cd /tree
echo "root $(stat '%a %u:%g %Y' /)"
/bin/busybox find . | /bin/busybox sort | while read -r name; do
    stat '%N %F %a %u:%g %t:%T %s %Y' "$name"
done
echo "links $(stat '%h %i' a) $(stat '%h %i' dir/b) $(stat '%h %i' /z) $(stat '%h %i' null) $(stat '%h %i' dir/null)" | {{
    read -r _ n1 i1 n2 i2 n3 i3 n4 i4 n5 i5
    test $i1 = $i2 && test $i1 = $i3 && test $i4 = $i5 && test $i1 != $i4 && echo "links are $n1 $n2 $n3 $n4 $n5"
}}
/bin/busybox cat dir/b
/bin/busybox cat /of-gzip /of-zstd | /bin/busybox uniq -c
/bin/busybox sha256sum /bin/busybox
/bin/busybox echo {END} $?
/bin/busybox poweroff -f
"#,
        END = vm::END
    );
    let time = |entry: TarEntry, n: i64| entry.mtime(1_000_000_000 + n, 0);
    let root = || time(TarEntry::directory("."), 99).mode(0o711).owner(0, 9);
    let mut entries = vec![root()];
    entries.extend(guest(&init));
    entries.extend([
        time(TarEntry::directory("tree"), 0).mode(0o755),
        time(TarEntry::file("tree/a", "several names\n"), 1)
            .mode(0o4751)
            .owner(1000, 4_294_967_294),
        time(TarEntry::directory("tree/dir"), 2)
            .mode(0o2775)
            .owner(5, 6),
        TarEntry::hard_link("tree/dir/b", "tree/a"),
        TarEntry::hard_link("z", "tree/a"),
        time(TarEntry::char_device("tree/null", 1, 3), 3)
            .mode(0o666)
            .owner(7, 8),
        TarEntry::hard_link("tree/dir/null", "tree/null"),
        time(TarEntry::block_device("tree/disk", 259, 1_048_575), 4).mode(0o660),
        time(TarEntry::fifo("tree/pipe"), 5).mode(0o600),
        time(TarEntry::symlink("tree/link", "dir/b"), 6).owner(3, 4),
        TarEntry::hard_link("tree/link2", "tree/link"),
        time(TarEntry::file("tree/empty", ""), 7).mode(0),
        time(TarEntry::file("tree/nobody's", "x"), 8).owner(4_294_967_295, 4_294_967_295),
        time(TarEntry::file("TRAILER!!!", "x"), 9),
        time(
            TarEntry::file("tree/TRAILER!!!", "x"),
            0xffff_ffff - 1_000_000_000,
        ),
    ]);
    // One after the other, as boot loaders may put them: plain, then compressed ones.
    let mut all = fs::read(archive(tmp.path(), "a.cpio", entries)).unwrap();
    for (name, file) in [("b.cpio.gz", "of-gzip"), ("c.cpio.zst", "of-zstd")] {
        let entries = vec![
            root(),
            TarEntry::file(file, format!("{file}\n").repeat(3000)),
        ];
        all.extend(fs::read(archive(tmp.path(), name, entries)).unwrap());
    }
    let initramfs = tmp.path().join("initramfs");
    fs::write(&initramfs, all).unwrap();
    let output = vm::BootSpec::of_initramfs(&initramfs).boot();
    assert_eq!(output.status, Some(0), "{output}");
    for line in [
        "root 711 0:9 1000000099",
        ". directory 755 0:0 0:0",
        "./TRAILER!!! regular file 644 0:0 0:0 1 4294967295",
        "./a regular file 4751 1000:4294967294 0:0 14 1000000001",
        "./dir directory 2775 5:6",
        "./dir/b regular file 4751 1000:4294967294 0:0 14 1000000001",
        "./disk block special file 660 0:0 103:fffff 0 1000000004",
        "./empty regular empty file 0 0:0 0:0 0 1000000007",
        "'./link' -> 'dir/b' symbolic link 777 3:4 0:0 5 1000000006",
        "'./link2' -> 'dir/b' symbolic link 777 3:4 0:0 5 1000000006",
        "./null character special file 666 7:8 1:3 0 1000000003",
        // To `chown`, this owner means none.
        "./nobody's regular file 644 0:0 0:0 1 1000000008",
        "./pipe fifo 600 0:0 0:0 0 1000000005",
        "links are 3 3 3 2 2",
        "several names",
    ] {
        assert!(
            output.console.lines().any(|found| found.starts_with(line)),
            "`{line}` is missing. {output}"
        );
    }
    for line in ["3000 of-gzip", "3000 of-zstd"] {
        assert!(output.console.contains(line), "{output}");
    }
    let sum = run::text(run::command("sha256sum").arg(require::find_tool("busybox").unwrap()));
    let sum = sum.split(' ').next().unwrap();
    assert!(output.console.contains(sum), "{output}");
}

/// Finds the disk by the kernel's parameter, as initramfs do, and leaves the machine to the program on it.
const SWITCH: &str = r#"#!/bin/sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules/order); do busybox insmod /modules/$module; done
root=$(busybox sed 's/.*root=\([^ ]*\).*/\1/' /proc/cmdline)
busybox mkdir /mnt
busybox mount -t ext4 -o rw $root /mnt && exec busybox switch_root /mnt /init
busybox poweroff -f
"#;

/// Writes on the first boot and lets the machine fall; looks on the second one, with a larger disk.
const SYSTEM: &str = r#"#!/bin/sh
export PATH=/bin:/sbin:/usr/sbin:/usr/bin
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
root=$(busybox sed 's/.*root=\([^ ]*\).*/\1/' /proc/cmdline)
busybox grep " / ext4 rw" /proc/mounts
if ! busybox test -e /data; then
    busybox mkdir /data
    n=0; while [ $n -lt 500 ]; do echo $n > /data/$n; n=$((n+1)); done
    echo changed > /etc/motd
    busybox rm /etc/gone
    busybox dd if=/dev/zero of=/data/large bs=1M count=20 2> /dev/null
    if busybox test -e /dev/vdb; then
        busybox mkdir /other
        busybox mount -t ext4 /dev/vdb /other
        busybox cp -r /data /other
        busybox rm /other/data/large
        echo "$(busybox ls /other/data | busybox wc -l) on the other disk"
        busybox umount /other
    fi
    busybox sync
    echo {END} $?
    busybox reboot -nf
fi
set -e
busybox cat /etc/motd
busybox test ! -e /etc/gone
busybox ls /data | busybox wc -l
busybox cat /data/0 /data/499
busybox stat -c '%n %s' /data/large
before=$(busybox df -k / | busybox awk 'END { print $2 }')
case $root in
    /dev/vda) resize2fs $root 2>&1 ;;
esac
after=$(busybox df -k / | busybox awk 'END { print $2 }')
echo "grown $((after / before)) times"
busybox dd if=/dev/zero of=/data/more bs=1M count=100 2> /dev/null
busybox mount -o remount,ro /
echo {END} $?
busybox poweroff -f
"#;

/// Builds an initramfs that switches to a disk.
fn switching(dir: &Path) -> PathBuf {
    let modules = vm::disk_modules();
    let order: Vec<&str> = modules.iter().map(|(name, _)| &**name).collect();
    let mut entries = guest(SWITCH);
    entries.extend([
        TarEntry::directory("modules"),
        TarEntry::file("modules/order", order.join("\n")),
    ]);
    for (name, data) in &modules {
        entries.push(TarEntry::file(format!("modules/{name}"), data));
    }
    archive(dir, "switch.cpio.zst", entries)
}

/// Entries of a guest with a shell as its system.
fn system() -> Vec<TarEntry> {
    let mut entries = guest(&SYSTEM.replace("{END}", vm::END));
    entries.extend([
        TarEntry::directory("etc"),
        TarEntry::file("etc/motd", "hello from the image\n"),
        TarEntry::file("etc/gone", "x"),
    ]);
    entries
}

/// The root disk of a virtual machine: its kernel writes to it, repairs it after a fall, and grows it while it is in use.
#[test]
fn a_guest_lives_on_its_ext4_root_disk() {
    if !require::vm() || !require::tool("e2fsck") || !require::tool("resize2fs") {
        return;
    }
    let tmp = temp_dir();
    let initramfs = switching(tmp.path());
    let mut entries = system();
    let mut taken = BTreeSet::new();
    for (path, data) in vm::program("resize2fs") {
        if taken.insert(path.clone()) {
            entries.push(TarEntry::file(path, data).mode(0o755));
        }
    }
    let disk = tmp.path().join("root.ext4");
    run::ok(
        lithify()
            .args(["-q", "build", "--no-fsync", "--size", "64M"])
            .arg(image(tmp.path(), [layer(entries)]))
            .arg("-o")
            .arg(&disk),
    );
    let check = || run::ok(run::command("e2fsck").arg("-fn").arg(&disk));
    check();
    let boot = || {
        let spec = vm::BootSpec::of_initramfs(&initramfs).writable_disk(&disk);
        spec.parameters("root=/dev/vda rw").boot()
    };
    let first = boot();
    assert_eq!(first.status, Some(0), "{first}");
    let file = OpenOptions::new().write(true).open(&disk).unwrap();
    file.set_len(640 << 20).unwrap();
    let second = boot();
    assert_eq!(second.status, Some(0), "{second}");
    for line in ["changed", "501", "0", "499", "/data/large 20971520"] {
        assert!(second.has_line(line), "{line}: {second}");
    }
    // What is of a fixed size counts less the more there is.
    let grown = ["grown 10 times", "grown 11 times"];
    assert!(grown.iter().any(|line| second.has_line(line)), "{second}");
    check();
}

/// The partition of a disk, and an empty one beside it.
#[test]
fn a_guest_lives_in_a_partition() {
    if !require::vm() || !require::tool("e2fsck") {
        return;
    }
    let tmp = temp_dir();
    let (disk, data) = (tmp.path().join("root.img"), tmp.path().join("data.ext4"));
    run::ok(
        lithify()
            .args([
                "-q", "build", "-f", "ext4", "--disk", "gpt", "--free", "64M",
            ])
            .arg(image(tmp.path(), [layer(system())]))
            .arg("-o")
            .arg(&disk),
    );
    let mut create = lithify();
    create.args(["-q", "disk", "create", "--size", "1G"]);
    run::ok(create.arg(&data));
    let output = vm::BootSpec::of_initramfs(switching(tmp.path()))
        .writable_disk(&disk)
        .writable_disk(&data)
        .parameters("root=/dev/vda1 rw")
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    assert!(output.console.contains("/dev/vda1 / ext4 rw"), "{output}");
    assert!(output.has_line("500 on the other disk"), "{output}");
    run::ok(run::command("e2fsck").arg("-fn").arg(&data));
}
