//! Every field of the superblock changed: what other readers refuse, `verify` does.
#![cfg(target_os = "linux")]

use std::path::Path;

use crate::common::{Builder, metadata, pattern, with_xattrs};
use lithify_erofs::Image;
use lithify_testkit::{Mount, require};

/// A number in an image: what it is, where, how many bytes.
type Field = (&'static str, usize, usize);

fn get(bytes: &[u8], (_, at, length): Field) -> u64 {
    let mut value = [0; 8];
    value[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(value)
}

fn put(bytes: &mut [u8], (_, at, length): Field, value: u64) {
    bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
}

/// Numbers near the right one, at the ends of what fits, and with one bit changed.
fn others(field: Field, right: u64) -> Vec<u64> {
    let max = u64::MAX >> (64 - 8 * field.2);
    let mut values = vec![0, 1, 2, max, max - 1, max / 2];
    for near in [1, 2, 8, 16, 4096] {
        values.extend([
            right.wrapping_add(near) & max,
            right.wrapping_sub(near) & max,
        ]);
    }
    values.extend((0..8 * field.2).map(|bit| right ^ 1 << bit));
    values.retain(|&v| v != right);
    values.sort_unstable();
    values.dedup();
    values
}

/// What the kernel or another program says against an image, if anything.
fn refusal(image: &Path) -> Option<String> {
    match Mount::try_image("erofs", image) {
        Err(said) => return Some(said),
        Ok(mount) => {
            if let Err(e) = mount.read_all() {
                return Some(format!("the kernel: {e}"));
            }
        }
    }
    let mut tool = lithify_testkit::run::command("fsck.erofs");
    tool.arg(image);
    let output = tool.output().unwrap();
    (!output.status.success()).then(|| {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8_lossy(&said).into_owned()
    })
}

fn is_sound(bytes: &[u8]) -> bool {
    Image::open(bytes).is_ok_and(|image| image.verify_data().is_ok_and(|v| v.is_sound()))
}

/// Asserts that whatever of `fields` is changed, no other reader refuses what `verify` accepts; gives how many
/// changes it accepts.
fn compare(what: &str, right: &[u8], fields: &[Field], repair: impl Fn(&mut [u8])) -> usize {
    let directory = lithify_testkit::temp_dir();
    let path = directory.path().join("image");
    std::fs::write(&path, right).unwrap();
    assert!(is_sound(right), "{what}");
    assert_eq!(refusal(&path), None, "{what}");
    let (mut accepted, mut wrong) = (0, Vec::new());
    for &field in fields {
        for value in others(field, get(right, field)) {
            let mut bytes = right.to_vec();
            put(&mut bytes, field, value);
            // erofs-utils 1.5 does not know fragments and prefixes of attribute names; Linux does.
            if field.0 == "feature_incompat" && value & 0x60 != 0 {
                continue;
            }
            repair(&mut bytes);
            if !is_sound(&bytes) {
                continue;
            }
            accepted += 1;
            std::fs::write(&path, &bytes).unwrap();
            if let Some(said) = refusal(&path) {
                wrong.push(format!(
                    "{what}: {} {:#x} to {value:#x}: {said}",
                    field.0,
                    get(right, field)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    accepted
}

/// Makes the superblock's checksum right again.
fn fix_checksum(bytes: &mut [u8]) {
    bytes[1028..1032].fill(0);
    let mut sum = !0_u32;
    for &byte in &bytes[1024..4096] {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    bytes[1028..1032].copy_from_slice(&sum.to_le_bytes());
}

fn sample() -> Vec<u8> {
    let mut b = Builder::new(Vec::new());
    for i in 0..10 {
        let metadata = with_xattrs(&[("user.k", &[i]), ("user.same", b"value")]);
        b.file(
            format!("dir/{i}"),
            metadata,
            &pattern(i.into(), 900 + usize::from(i)),
        );
    }
    b.file("big", metadata(0o644), &pattern(1, 30_000));
    b.symlink("link", b"dir/1");
    b.finish().0
}

#[test]
fn what_linux_or_fsck_refuses_is_not_sound() {
    if !require::kernel_erofs() || !require::tool("fsck.erofs") {
        return;
    }
    const SUPERBLOCK: [Field; 25] = [
        ("feature_compat", 1032, 4),
        ("blkszbits", 1036, 1),
        ("sb_extslots", 1037, 1),
        ("root_nid", 1038, 2),
        ("inos", 1040, 8),
        ("build_time", 1048, 8),
        ("build_time_nsec", 1056, 4),
        ("blocks", 1060, 4),
        ("meta_blkaddr", 1064, 4),
        ("xattr_blkaddr", 1068, 4),
        ("uuid", 1072, 8),
        ("volume_name", 1088, 8),
        ("end of volume_name", 1096, 8),
        ("feature_incompat", 1104, 4),
        ("compression", 1108, 2),
        ("extra_devices", 1110, 2),
        ("devt_slotoff", 1112, 2),
        ("dirblkbits", 1114, 1),
        ("xattr_prefix_count", 1115, 1),
        ("xattr_prefix_start", 1116, 4),
        ("packed_nid", 1120, 8),
        ("xattr_filter_reserved", 1128, 1),
        ("reserved", 1129, 8),
        ("reserved", 1137, 8),
        ("reserved", 1144, 8),
    ];
    let accepted = compare("erofs", &sample(), &SUPERBLOCK, fix_checksum);
    assert!(accepted > 40, "{accepted}");
}

#[test]
fn a_link_to_two_places_is_not_sound() {
    let mut b = Builder::new(Vec::new());
    b.symlink("link", b"etc/passwd.harmless");
    b.symlink("long", &pattern(3, 3000));
    let right = b.finish().0;
    assert!(is_sound(&right));
    let long = pattern(3, 3000)[100..120].to_vec();
    for (path, target) in [(&b"link"[..], b"passwd.harm".to_vec()), (b"long", long)] {
        let length = target.len();
        let at = right.windows(length).position(|w| w == target).unwrap();
        let mut bytes = right.clone();
        bytes[at + 6] = 0;
        let image = Image::open(&bytes[..]).unwrap();
        let problems = image.verify().unwrap().problems;
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].to_string().contains("has a NUL in it"),
            "{}",
            problems[0]
        );
        let link = image.lookup(path).unwrap().unwrap();
        assert!(image.read_link(&link).is_err());
    }
}
