//! The cases of containerd's `TestBreakouts` (`pkg/archive/tar_test.go`) and the one of its `TestApplyTar`, by name:
//! layers that try to leave the image's root. Each says where the outcome is not containerd's, and why.

use crate::common::{Refused, listing, tree, try_layer};
use lithify_tree::{MergeError, PathError, WhiteoutError};

/// The listing of a layer applied to nothing.
fn one(lines: &[&str]) -> Vec<String> {
    listing(&tree(&[lines]))
}

/// The listing of a layer applied to a base.
fn two(base: &[&str], lines: &[&str]) -> Vec<String> {
    listing(&tree(&[base, lines]))
}

const PASSWD: [&str; 2] = ["d etc 0770", "f /etc/passwd=inside"];

/// A layer with `etc/passwd` in it.
fn with_passwd(lines: &[&str]) -> Vec<String> {
    one(&[&PASSWD[..], lines].concat())
}

const BASE: [&str; 2] = ["d /etc/", "f /etc/passwd=inside"];

#[test]
fn symlink_absolute() {
    let lines = ["d etc", "l localetc -> /etc", "f /localetc/unbroken=u"];
    assert_eq!(
        one(&lines),
        ["d etc", "f etc/unbroken=u", "l localetc -> /etc"]
    );
}

#[test]
fn symlink_up_and_out() {
    let lines = [
        "d etc",
        "d dummy",
        "l localetc -> /dummy/../etc",
        "f /localetc/unbroken=u",
    ];
    assert_eq!(
        one(&lines),
        [
            "d dummy",
            "d etc",
            "f etc/unbroken=u",
            "l localetc -> /dummy/../etc"
        ]
    );
}

#[test]
fn symlink_multiple_absolute() {
    let lines = [
        "d etc",
        "d dummy",
        "l /dummy/etc -> /etc",
        "l localetc -> /dummy/etc",
        "f /dummy/etc/unbroken=u",
    ];
    assert_eq!(one(&lines)[3], "f etc/unbroken=u");
}

#[test]
fn symlink_multiple_relative() {
    let lines = [
        "d etc",
        "d dummy",
        "l /dummy/etc -> /etc",
        "l localetc -> ./dummy/etc",
        "f /dummy/etc/unbroken=u",
    ];
    assert_eq!(one(&lines)[3], "f etc/unbroken=u");
}

#[test]
fn symlink_empty_file() {
    let lines = [
        "d etc",
        "f etc/emptied=notempty",
        "l localetc -> /etc",
        "f /localetc/emptied",
    ];
    assert_eq!(
        one(&lines),
        ["d etc", "f etc/emptied", "l localetc -> /etc"]
    );
}

#[test]
fn hardlink_relative() {
    assert_eq!(
        with_passwd(&[
            "d breakouts",
            "l breakouts/d1 -> ../../etc",
            "h breakouts/mypasswd -> /breakouts/d1/passwd"
        ]),
        [
            "d breakouts",
            "l breakouts/d1 -> ../../etc",
            "f breakouts/mypasswd=inside",
            "d etc 0770",
            "h etc/passwd -> breakouts/mypasswd"
        ]
    );
}

#[test]
fn hardlink_down_and_out() {
    let lines = [
        "d breakouts",
        "d downandout",
        "l breakouts/d1 -> ../downandout/../../etc",
        "h breakouts/mypasswd -> /breakouts/d1/passwd",
    ];
    assert_eq!(with_passwd(&lines)[5], "h etc/passwd -> breakouts/mypasswd");
}

#[test]
fn hardlink_absolute() {
    assert_eq!(
        with_passwd(&["l localetc -> /etc", "h localpasswd -> /localetc/passwd"]),
        [
            "d etc 0770",
            "f etc/passwd=inside",
            "l localetc -> /etc",
            "h localpasswd -> etc/passwd"
        ]
    );
}

#[test]
fn hardlink_relative_long() {
    let lines = [
        "l localetc -> ../../../../../../../etc",
        "h localpasswd -> /localetc/passwd",
    ];
    assert_eq!(with_passwd(&lines)[3], "h localpasswd -> etc/passwd");
}

/// `upandout` does not exist: see `Walk::find_directory`.
#[test]
fn hardlink_relative_up_and_out() {
    let lines = [
        "l localetc -> upandout/../../../etc",
        "h localpasswd -> /localetc/passwd",
    ];
    assert_eq!(with_passwd(&lines)[3], "h localpasswd -> etc/passwd");
}

/// containerd resolves the `..` inside the root. A tar tool writes no such name, so it is refused here as any `..` is.
#[test]
fn hardlink_direct_relative() {
    let refused = try_layer(&[
        "d etc 0770",
        "f /etc/passwd=inside",
        "h localpasswd -> ../../../../../etc/passwd",
    ]);
    assert!(matches!(
        refused,
        Err(Refused::Path(PathError::ParentComponent { .. }))
    ));
}

#[test]
fn hardlink_direct_absolute() {
    assert_eq!(
        with_passwd(&["h localpasswd -> /etc/passwd"]),
        [
            "d etc 0770",
            "f etc/passwd=inside",
            "h localpasswd -> etc/passwd"
        ]
    );
}

/// containerd ignores an entry that resolves to the root; a `..` is refused here.
#[test]
fn symlink_parent_directory() {
    let refused = try_layer(&["l .. -> /etc/", "h localpasswd -> /etc/passwd"]);
    assert!(matches!(
        refused,
        Err(Refused::Path(PathError::ParentComponent { .. }))
    ));
}

/// containerd ignores an entry that resolves to the root; umoci refuses it since CVE-2021-29136, as is done here.
#[test]
fn symlink_empty_filename() {
    let error = crate::common::error(&[&[
        "d etc",
        "f /etc/passwd",
        "l  -> /etc/",
        "h localpasswd -> /etc/passwd",
    ]]);
    assert!(matches!(error, MergeError::RootNotDirectory { .. }));
}

/// containerd cleans `localetc/sub/..` to `localetc`; a `..` is refused here.
#[test]
fn symlink_parent_relative() {
    let refused = try_layer(&[
        "l localetc/sub/.. -> /etc/",
        "h /localetc/localpasswd -> /etc/passwd",
    ]);
    assert!(matches!(
        refused,
        Err(Refused::Path(PathError::ParentComponent { .. }))
    ));
}

#[test]
fn symlink_slash_ended() {
    assert_eq!(
        with_passwd(&["d localetc/ 0770", "h /localetc/localpasswd -> /etc/passwd"]),
        [
            "d etc 0770",
            "f etc/passwd=inside",
            "d localetc 0770",
            "h localetc/localpasswd -> etc/passwd"
        ]
    );
}

#[test]
fn symlink_override_directory() {
    let base = [&BASE[..], &["d /localetc/"]].concat();
    assert_eq!(
        two(
            &base,
            &[
                "l localetc -> /etc",
                "h /localetc/localpasswd -> /etc/passwd"
            ]
        ),
        [
            "d etc",
            "f etc/localpasswd=inside",
            "h etc/passwd -> etc/localpasswd",
            "l localetc -> /etc"
        ]
    );
}

#[test]
fn symlink_override_directory_relative() {
    let base = [&BASE[..], &["d /localetc/"]].concat();
    assert_eq!(
        two(
            &base,
            &[
                "l localetc -> ../../etc",
                "h /localetc/localpasswd -> /etc/passwd"
            ]
        ),
        [
            "d etc",
            "f etc/localpasswd=inside",
            "h etc/passwd -> etc/localpasswd",
            "l localetc -> ../../etc"
        ]
    );
}

#[test]
fn directory_override_symlink() {
    let base = [&BASE[..], &["l localetc -> /etc"]].concat();
    assert_eq!(
        two(
            &base,
            &["d /localetc/", "h /localetc/localpasswd -> /etc/passwd"]
        ),
        [
            "d etc",
            "f etc/passwd=inside",
            "d localetc",
            "h localetc/localpasswd -> etc/passwd"
        ]
    );
}

#[test]
fn directory_override_symlink_and_hardlink() {
    let base = [
        &BASE[..],
        &["l localetc -> etc", "h localetc/localpasswd -> /etc/passwd"],
    ]
    .concat();
    assert_eq!(
        two(
            &base,
            &["d /localetc/", "f /localetc/localpasswd=different"]
        ),
        [
            "d etc",
            "f etc/localpasswd=inside",
            "h etc/passwd -> etc/localpasswd",
            "d localetc",
            "f localetc/localpasswd=different"
        ]
    );
}

fn names_nothing(line: &str) -> bool {
    matches!(
        try_layer(&[line]),
        Err(Refused::Whiteout(WhiteoutError::NamesNothing { .. }))
    )
}

#[test]
fn whiteout_root_parent() {
    assert!(names_nothing("f .wh..."));
}

#[test]
fn whiteout_parent() {
    assert!(names_nothing("f etc/.wh..."));
}

#[test]
fn whiteout_root() {
    assert!(names_nothing("f .wh.."));
}

#[test]
fn whiteout_current_directory() {
    assert!(names_nothing("f etc/.wh.."));
}

#[test]
fn whiteout_symlink() {
    let base = [&BASE[..], &["l localetc -> /etc"]].concat();
    assert_eq!(
        two(&base, &["f .wh.localetc"]),
        ["d etc", "f etc/passwd=inside"]
    );
}

#[test]
fn whiteout_symlink_path() {
    let base = [&BASE[..], &["f /etc/whitedout=ahhhh", "l localetc -> /etc"]].concat();
    assert_eq!(
        two(&base, &["f localetc/.wh.whitedout"]),
        ["d etc", "f etc/passwd=inside", "l localetc -> /etc"]
    );
}

/// containerd makes a directory `.wh.etc`. The specification says that no such name can exist; a whiteout is an empty
/// file, so what lies below one is an error here.
#[test]
fn whiteout_directory_name() {
    let refused = try_layer(&["f .wh.etc/somefile=non-empty"]);
    assert!(matches!(
        refused,
        Err(Refused::Whiteout(WhiteoutError::BelowWhiteout { .. }))
    ));
}

#[test]
fn whiteout_dead_symlink_parent() {
    let base = [&BASE[..], &["l localetc -> /dne"]].concat();
    assert_eq!(
        two(&base, &["f localetc/.wh.etc"]),
        ["d etc", "f etc/passwd=inside", "l localetc -> /dne"]
    );
}

/// containerd cleans `dne/../.wh.etc` to `.wh.etc`; a `..` is refused here.
#[test]
fn whiteout_relative_path() {
    let refused = try_layer(&["f dne/../.wh.etc"]);
    assert!(matches!(
        refused,
        Err(Refused::Path(PathError::ParentComponent { .. }))
    ));
}

#[test]
fn hardlink_symlink_before_create_target() {
    let lines = [
        "d etc 0770",
        "l localpasswd -> /etc/passwd",
        "h localpasswd-dup -> localpasswd",
        "f /etc/passwd=after",
    ];
    assert_eq!(
        one(&lines),
        [
            "d etc 0770",
            "f etc/passwd=after",
            "l localpasswd -> /etc/passwd",
            "h localpasswd-dup -> localpasswd"
        ]
    );
}

#[test]
fn hardlink_symlink_relative() {
    let lines = [
        "l passwdlink -> ../../../../../etc/passwd",
        "h localpasswd -> /passwdlink",
    ];
    assert_eq!(
        with_passwd(&lines)[2..],
        [
            "l localpasswd -> ../../../../../etc/passwd",
            "h passwdlink -> localpasswd"
        ]
    );
}

#[test]
fn hardlink_symlink_absolute() {
    let lines = [
        "l passwdlink -> /etc/passwd",
        "h localpasswd -> /passwdlink",
    ];
    assert_eq!(
        with_passwd(&lines)[2..],
        [
            "l localpasswd -> /etc/passwd",
            "h passwdlink -> localpasswd"
        ]
    );
}

/// The link's target is a path of the host, the link's own metadata would be applied to what it points to: here both
/// are names of the image, and a hard link has no metadata of its own.
#[test]
fn hardlink_symlink_chmod() {
    let tree = tree(&[&[
        "l /tmp/also-exists-outside-root -> /tmp/perm400",
        "h sketchylink -> /tmp/also-exists-outside-root 0777",
    ]]);
    assert_eq!(
        listing(&tree),
        [
            "l sketchylink -> /tmp/perm400",
            "d tmp @0",
            "h tmp/also-exists-outside-root -> sketchylink"
        ]
    );
}

#[test]
fn directory_creation() {
    assert_eq!(
        two(
            &["d /etc/"],
            &[
                "d /etc/subdir",
                "d /etc/subdir2/",
                "d /etc/subdir2/more",
                "d /other/noparent-1/1",
                "d /other/noparent-2/2/"
            ]
        ),
        [
            "d etc",
            "d etc/subdir",
            "d etc/subdir2",
            "d etc/subdir2/more",
            "d other @0",
            "d other/noparent-1 @0",
            "d other/noparent-1/1",
            "d other/noparent-2 @0",
            "d other/noparent-2/2"
        ]
    );
}
