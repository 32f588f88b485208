//! Linux reads through the tree (in a guest: the host may have no device mapper), and refuses what was changed behind it.
#![cfg(unix)]

use lithify_digest::{Algorithm, Digest};
use lithify_testkit::{require, temp_dir, vm};
use lithify_verity::{VerityOptions, append};

#[test]
fn linux_reads_through_the_tree() {
    if !require::vm() || !require::tool("veritysetup") {
        return;
    }
    let tmp = temp_dir();
    // Two levels; whole blocks, so that what is read is what was written.
    let image: Vec<u8> = (0..200 * 4096_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut bytes = image.clone();
    let report = append(&mut bytes, image.len() as u64, &VerityOptions::default()).unwrap();
    let good = tmp.path().join("good");
    std::fs::write(&good, &bytes).unwrap();
    bytes[150 * 4096 + 7] ^= 1;
    let bad = tmp.path().join("bad");
    std::fs::write(&bad, &bytes).unwrap();

    let script = format!(
        "
        export DM_DISABLE_UDEV=1
        mkdir -p /run/cryptsetup
        for disk in vda vdb; do
            veritysetup open /dev/$disk $disk-tree /dev/$disk {root} --hash-offset={offset} || exit 2
        done
        veritysetup open /dev/vda other /dev/vda {other} --hash-offset={offset} && exit 3
        sha256sum /dev/mapper/vda-tree
        dd if=/dev/mapper/vdb-tree of=/dev/null bs=4096 count=1 skip=150 && exit 4
        dd if=/dev/mapper/vdb-tree of=/dev/null bs=4096 count=1 skip=140 || exit 5
        veritysetup status vdb-tree | grep status:
        ",
        root = report.root,
        other = "0".repeat(64),
        offset = report.hash_offset,
    );
    let output = vm::BootSpec::new(&script)
        .disk(good, "raw")
        .disk(bad, "raw")
        .module("dm_mod")
        .module("dm_verity")
        .program("veritysetup")
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    let digest = Digest::of(Algorithm::Sha256, &image).hex();
    let line = format!("{digest}  /dev/mapper/vda-tree");
    assert!(output.has_line(&line), "{output}");
    assert!(output.has_line("  status:      corrupted"), "{output}");
}
