//! A guest boots, and finds on its disk what was put there.
#![cfg(unix)]

use crate::common::{Set, noise, open_all, write_companions};
use lithify_disk::gpt::GptOptions;
use lithify_disk::vmdk::VmdkOptions;
use lithify_disk::{Alignment, Disk};
use lithify_erofs::{DataOptions, ImageOptions, Writer};
use lithify_testkit::{require, vm};
use lithify_tree::{
    ContentId, ContentSink as _, Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath,
};

/// An EROFS image with busybox, a few links to it, and a message.
fn image(message: &str) -> Vec<u8> {
    let busybox = std::fs::read(require::find_tool("busybox").unwrap()).unwrap();
    let mut writer = Writer::new(Vec::new(), DataOptions::default());
    let mut layer = LayerEntries::new();
    let mut add = |path: &str, kind: EntryKind, content: Option<ContentId>| {
        let entry = Entry {
            path: TreePath::clean(path.as_bytes()).unwrap(),
            metadata: Metadata {
                mode: 0o755,
                ..Metadata::default()
            },
            kind,
        };
        layer.push(&entry, content).unwrap();
    };
    for (path, data) in [
        ("bin/busybox", busybox.as_slice()),
        ("etc/motd", message.as_bytes()),
    ] {
        writer.begin(data.len() as u64, None).unwrap();
        writer.write(data).unwrap();
        let content = writer.finish().unwrap();
        let size = data.len() as u64;
        let kind = EntryKind::File {
            size,
            segments: None,
        };
        add(path, kind, Some(content));
    }
    for applet in ["sh", "cat", "rm", "sha256sum"] {
        let target = b"busybox".to_vec();
        add(
            &format!("bin/{applet}"),
            EntryKind::Symlink { target },
            None,
        );
    }
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    let (bytes, _) = writer
        .finish_image(&merge.finish(), &ImageOptions::default())
        .unwrap();
    bytes
}

/// Read-only EROFS as the lower layer, memory as the upper one; programs of the image run, write and delete.
const OVERLAY: &str = r#"
    set -e
    mkdir /lower /memory
    mount -t erofs -o ro /dev/vda /lower
    mount -t tmpfs memory /memory
    mkdir /memory/upper /memory/work
    mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /mnt
    chroot /mnt /bin/cat /etc/motd
    chroot /mnt /bin/sh -c 'echo changed > /etc/motd; cat /etc/motd; rm /etc/motd'
    test ! -e /mnt/etc/motd
    cat /lower/etc/motd
    if (echo no > /lower/etc/motd) 2> /dev/null; then exit 3; fi
    busybox sha256sum /bin/busybox /mnt/bin/busybox | cut -d ' ' -f 1 | uniq | wc -l
"#;

#[test]
fn a_guest_runs_a_program_of_its_only_disk() {
    if !require::vm() {
        return;
    }
    let mut set = Set::new();
    set.add("image.erofs", &image("hello from the image\n"));
    let disk = Disk::concatenated(set.parts(), Alignment::HUGE_PAGE).unwrap();
    let vmdk = disk.vmdk(&VmdkOptions::default()).unwrap();
    let path = set.dir().join("disk.vmdk");
    std::fs::write(&path, &vmdk.descriptor).unwrap();
    write_companions(set.dir(), &vmdk);

    let output = vm::BootSpec::new(OVERLAY)
        .disk(path, "vmdk")
        .module("erofs")
        .module("overlay")
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    let script = output.console.split("hello from the image\n");
    let script: Vec<_> = script.skip(1).collect();
    assert_eq!(script.len(), 2, "{output}");
    assert_eq!(script[0], "changed\n");
    assert!(script[1].starts_with("1\n"), "{output}");
}

/// The kernel scans the partition table, of a VMDK and of a raw disk; a partition is a file system as it is.
#[test]
fn a_guest_finds_the_partitions() {
    if !require::vm() {
        return;
    }
    let mut set = Set::new();
    set.add("data", &noise(1, 5 * 512));
    set.add("one", &image("first\n"));
    set.add("two", &image("second\n"));
    for n in 0..140 {
        set.add(&format!("more-{n}"), &noise(n, 512));
    }
    let disk = Disk::partitioned(set.parts(), &GptOptions::default()).unwrap();
    let vmdk = disk.vmdk(&VmdkOptions::default()).unwrap();
    let paths = ["disk.vmdk", "disk.img"].map(|name| set.dir().join(name));
    std::fs::write(&paths[0], &vmdk.descriptor).unwrap();
    write_companions(set.dir(), &vmdk);
    let mut raw = std::fs::File::create_new(&paths[1]).unwrap();
    disk.write_file(&open_all(&set), &mut raw).unwrap();

    let script = "
        set -e
        for disk in vda vdb; do
            for n in 2 3; do
                mount -t erofs -o ro /dev/$disk$n /mnt
                cat /mnt/etc/motd
                umount /mnt
            done
            cat /sys/block/$disk/${disk}1/size
            ls /sys/block/$disk | grep -c $disk
        done
        sha256sum /dev/vda143 /dev/vdb143 | cut -d ' ' -f 1 | uniq | wc -l
    ";
    let output = vm::BootSpec::new(script)
        .disk(&paths[0], "vmdk")
        .disk(&paths[1], "raw")
        .module("erofs")
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    let expected = "first\nsecond\n5\n143\n";
    let expected = format!("{expected}{expected}1\n");
    assert!(output.console.contains(&expected), "{output}");
}
