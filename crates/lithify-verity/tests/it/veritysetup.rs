//! Against `veritysetup`, the program that defines the format.

use std::fs::File;
use std::path::Path;

use lithify_testkit::{require, run, temp_dir};
use lithify_verity::{VerifyOptions, VerityOptions, VerityReport, append, verify};

/// Bytes without a pattern a block could share with another.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex = hex(&bytes);
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// `veritysetup format` of the same image with the same options, in a file beside it.
fn formatted(image: &Path, report: &VerityReport, options: &VerityOptions) -> Vec<u8> {
    let other = image.with_extension("other");
    let size = std::fs::metadata(image).unwrap().len();
    let mut bytes = std::fs::read(image).unwrap();
    bytes.truncate(report.hash_offset as usize);
    std::fs::write(&other, bytes).unwrap();
    let salt = match options.salt.as_slice() {
        [] => "-".into(),
        salt => hex(salt),
    };
    let text = run::text(
        run::command("veritysetup")
            .arg("format")
            .arg(format!("--salt={salt}"))
            .arg(format!("--uuid={}", uuid(report.uuid)))
            .arg(format!("--data-block-size={}", options.data_block))
            .arg(format!("--hash-block-size={}", options.hash_block))
            .arg(format!("--data-blocks={}", report.geometry.data_blocks()))
            .arg(format!("--hash-offset={}", report.hash_offset))
            .args([&other, &other]),
    );
    assert!(text.contains(&report.root.to_string()), "{text}");
    // A tree of no blocks ends with the superblock; ours has the rest of its block too.
    let mut bytes = std::fs::read(&other).unwrap();
    assert!(bytes.len() as u64 <= size);
    bytes.resize(size as usize, 0);
    bytes
}

fn check(size: usize, options: &VerityOptions) {
    let tmp = temp_dir();
    let path = tmp.path().join("image");
    let image = noise(size);
    std::fs::write(&path, &image).unwrap();
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    let report = append(&mut file, size as u64, options).unwrap();
    drop(file);

    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, report.size);
    assert!(bytes[..size] == image[..]);
    assert!(
        bytes[size..report.hash_offset as usize]
            .iter()
            .all(|&b| b == 0)
    );
    assert!(
        bytes == formatted(&path, &report, options),
        "{size} bytes, {options:?}"
    );

    // Its own verdict, with the number of blocks from the superblock.
    let verdict = |root: &str| {
        let mut command = run::command("veritysetup");
        command.arg("verify").arg(&path).arg(&path).arg(root);
        run::output(command.arg(format!("--hash-offset={}", report.hash_offset)))
    };
    assert!(verdict(&report.root.to_string()).status.success());
    assert!(!verdict(&"0".repeat(64)).status.success());

    let verified = verify(&bytes, report.hash_offset, &VerifyOptions::default()).unwrap();
    assert_eq!(verified.root, report.root);
    assert_eq!(verified.end, report.size);
    assert_eq!(verified.superblock.uuid, report.uuid);
}

#[test]
fn trees_are_veritysetups_to_the_byte() {
    if !require::tool("veritysetup") {
        return;
    }
    let options = VerityOptions::default();
    // One block (no tree), one level, just more, two levels, just more, and sizes between blocks.
    for size in [
        1,
        4096,
        4097,
        128 * 4096,
        128 * 4096 + 1,
        129 * 4096,
        1_000_000,
    ] {
        check(size, &options);
    }
    check(128 * 128 * 4096 + 1, &options);
}

#[test]
fn other_block_sizes_and_salts() {
    if !require::tool("veritysetup") {
        return;
    }
    for (data_block, hash_block) in [
        (512, 512),
        (512, 4096),
        (4096, 512),
        (1024, 2048),
        (65536, 4096),
        (4096, 65536),
        (524_288, 524_288),
    ] {
        for salt in [vec![], vec![7; 5], (0..=255).collect()] {
            let options = VerityOptions {
                data_block,
                hash_block,
                salt,
                uuid: Some([0x5a; 16]),
                threads: 2.try_into().unwrap(),
            };
            check(1_234_567, &options);
        }
    }
}

#[test]
fn dump_reads_the_superblock() {
    if !require::tool("veritysetup") {
        return;
    }
    let tmp = temp_dir();
    let path = tmp.path().join("image");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.set_len(1 << 20).unwrap();
    let report = append(&mut file, 1 << 20, &VerityOptions::default()).unwrap();
    let text = run::text(
        run::command("veritysetup")
            .arg("dump")
            .arg(&path)
            .arg(format!("--hash-offset={}", report.hash_offset)),
    );
    for (field, value) in [
        ("UUID:", uuid(report.uuid)),
        ("Hash type:", "1".into()),
        ("Data blocks:", "256".into()),
        ("Data block size:", "4096".into()),
        ("Hash block size:", "4096".into()),
        ("Hash algorithm:", "sha256".into()),
        ("Salt:", "0".repeat(64)),
    ] {
        assert!(
            text.lines().any(|line| line
                .strip_prefix(field)
                .is_some_and(|rest| rest.trim().trim_end_matches(" [bytes]") == value)),
            "{field} {value}: {text}"
        );
    }
}
