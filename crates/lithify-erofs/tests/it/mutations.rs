//! Every field of the superblock changed: what other readers refuse, `verify` does.
#![cfg(target_os = "linux")]

use crate::common::{Builder, Erofs, metadata, pattern, with_xattrs};
use lithify_erofs::Image;
use lithify_fstests::Filesystem as _;
use lithify_fstests::mutations::{Field, compare};
use lithify_testkit::require;

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
    // erofs-utils 1.5 does not know fragments and prefixes of attribute names; Linux does.
    let unknown = |field: Field, value| field.0 == "feature_incompat" && value & 0x60 != 0;
    let accepted = compare::<Erofs>("erofs", &sample(), &SUPERBLOCK, unknown);
    assert!(accepted > 40, "{accepted}");
}

#[test]
fn a_link_to_two_places_is_not_sound() {
    let mut b = Builder::new(Vec::new());
    b.symlink("link", b"etc/passwd.harmless");
    b.symlink("long", &pattern(3, 3000));
    let right = b.finish().0;
    assert!(Erofs::is_sound(&right));
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
