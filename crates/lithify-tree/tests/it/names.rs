//! Names: cleaning, the whiteout convention, the limits of names and targets.

use lithify_tree::{
    Convention, Escaped, MergeError, NAME_MAX, PATH_MAX, PathError, TreePath, WhiteoutError,
    unescape,
};
use proptest::prelude::*;

fn clean(raw: &[u8]) -> TreePath {
    TreePath::clean(raw).unwrap()
}

/// peers.md, second product 8: `.` components and long names made a corrupt image.
#[test]
fn names_are_cleaned() {
    for (raw, path) in [
        (&b"a"[..], &b"a"[..]),
        (b"/a", b"a"),
        (b"./a", b"a"),
        (b"././a", b"a"),
        (b"//a//b//", b"a/b"),
        (b"a/./b", b"a/b"),
        (b"a/b/.", b"a/b"),
        (b"", b""),
        (b".", b""),
        (b"./", b""),
        (b"/", b""),
        (b"/././/", b""),
        (b"...", b"..."),
        (b"..a/a..", b"..a/a.."),
        (b"\xff\xfe\n\x1b", b"\xff\xfe\n\x1b"),
        (b"a b", b"a b"),
        (b"C:\\x", b"C:\\x"),
    ] {
        assert_eq!(clean(raw).as_bytes(), path, "{}", raw.escape_ascii());
    }
}

#[test]
fn impossible_names_are_refused() {
    for raw in [&b".."[..], b"../a", b"a/..", b"a/../b", b"/..", b"./..//"] {
        let path = raw.to_vec();
        assert_eq!(
            TreePath::clean(raw),
            Err(PathError::ParentComponent { path })
        );
    }
    let nul = b"a\0b";
    assert_eq!(
        TreePath::clean(nul),
        Err(PathError::Nul { path: nul.to_vec() })
    );
    assert!(TreePath::clean(&[b'x'; NAME_MAX]).is_ok());
    let long = vec![b'x'; NAME_MAX + 1];
    let error = TreePath::clean(&[b"d/", &long[..]].concat()).unwrap_err();
    assert!(
        matches!(error, PathError::ComponentTooLong { length: 256, .. }),
        "{error:?}"
    );
    let most = [&b"d/".repeat(PATH_MAX / 2 - 1)[..], b"ee"].concat();
    assert_eq!(most.len(), PATH_MAX);
    assert_eq!(clean(&most).as_bytes(), most);
    let over = [&most[..], b"e"].concat();
    assert_eq!(
        TreePath::clean(&over).unwrap_err().to_string(),
        format!("`{}…` has 4097 bytes, the limit is 4096", "d/".repeat(32))
    );
}

#[test]
fn the_whiteout_convention() {
    use Convention::{AufsFile, AufsLeftover, Opaque, Ordinary, Whiteout};
    let of = |raw: &[u8]| Convention::of(clean(raw));
    for (raw, meaning) in [
        (&b"a/.wh.b"[..], Whiteout(clean(b"a/b"))),
        (b".wh.b", Whiteout(clean(b"b"))),
        (b".wh.b/", Whiteout(clean(b"b"))),
        (b".wh..b", Whiteout(clean(b".b"))),
        (b".wh....", Whiteout(clean(b"..."))),
        (b".wh...b", Whiteout(clean(b"..b"))),
        (b".wh.wh.b", Whiteout(clean(b"wh.b"))),
        (b".wh..wh", Whiteout(clean(b".wh"))),
        (b"a/.wh..wh..opq", Opaque(clean(b"a"))),
        (b".wh..wh..opq", Opaque(TreePath::root())),
        // AUFS kept its books under these names; image-spec knows nothing of them.
        (b".wh..wh.aufs", AufsLeftover),
        (b".wh..wh.plnk", AufsLeftover),
        (b".wh..wh.plnk/1.2", AufsFile(clean(b".wh..wh.plnk/1.2"))),
        (b".wh..wh.plnk/1/2", AufsLeftover),
        (b"a/.wh..wh.plnk/1.2", AufsLeftover),
        (b".wh..wh.plnk/.wh.x/y", AufsLeftover),
        (b".wh..wh.orph/x", AufsLeftover),
        (b".wh..wh.", AufsLeftover),
        (b".wh..wh..opqx", AufsLeftover),
        (b"a/.wh..wh..tmp/b", AufsLeftover),
        (b"", Ordinary(TreePath::root())),
        (b"a.wh.b", Ordinary(clean(b"a.wh.b"))),
        (b".whb", Ordinary(clean(b".whb"))),
        (b".wh", Ordinary(clean(b".wh"))),
        (b"wh.b", Ordinary(clean(b"wh.b"))),
        (b".WH.b", Ordinary(clean(b".WH.b"))),
    ] {
        assert_eq!(of(raw), Ok(meaning), "{}", raw.escape_ascii());
    }
    // peers.md, first product 22: `.wh...` removed the directory above the image.
    for (raw, names) in [
        (&b".wh."[..], &b""[..]),
        (b".wh..", b"."),
        (b".wh...", b".."),
        (b"a/.wh.", b""),
        (b"a/.wh..", b"."),
        (b"a/.wh...", b".."),
    ] {
        let (path, names) = (clean(raw), names.to_vec());
        assert_eq!(of(raw), Err(WhiteoutError::NamesNothing { path, names }));
    }
    for (raw, component) in [
        (&b".wh.a/b"[..], &b".wh.a"[..]),
        (b"x/.wh.a/b/c", b".wh.a"),
        (b".wh..wh..opq/child", b".wh..wh..opq"),
        (b".wh.a/.wh.b", b".wh.a"),
        (b".wh.a/.wh..wh.plnk", b".wh.a"),
        (b".wh./a", b".wh."),
    ] {
        let (path, component) = (clean(raw), component.to_vec());
        assert_eq!(
            of(raw),
            Err(WhiteoutError::BelowWhiteout { path, component })
        );
    }
    assert_eq!(
        of(b"etc/.wh...").unwrap_err().to_string(),
        "whiteout `/etc/.wh...` names `..`, which cannot be removed"
    );
    assert_eq!(
        of(b"etc/.wh.a/b").unwrap_err().to_string(),
        "`/etc/.wh.a/b` lies below `.wh.a`, which is a whiteout and not a directory"
    );
}

/// peers.md, first product 34: an AUFS `.wh..wh.plnk` directory aborted the build.
#[test]
fn aufs_leftovers_are_skipped() {
    assert_tree!(
        [[
            "d .wh..wh.plnk",
            "f .wh..wh.plnk/123.456",
            "f .wh..wh.aufs",
            "f a"
        ]],
        ["f a"]
    );
}

/// CVE-2021-29136 (umoci): an entry for the root that is not a directory.
#[test]
fn the_root_can_only_be_a_directory() {
    for line in [
        "l . -> /etc",
        "f /=x",
        "l /. -> x",
        "c . 1:3",
        "b . 1:3",
        "p .",
        "s .",
        "h . -> x",
    ] {
        let error = crate::common::error(&[&["f x"], &[line, "f etc/y"]]);
        assert!(
            matches!(error, MergeError::RootNotDirectory { .. }),
            "{line}: {error:?}"
        );
    }
}

#[test]
fn symlink_targets_linux_cannot_hold_are_refused() {
    let target =
        |target: &str| crate::common::try_merge(&[&[&format!("l l -> {target}")]]).map(|_| ());
    assert_eq!(target(&"x".repeat(PATH_MAX - 1)), Ok(()));
    for bad in ["", "a\0b", &"x".repeat(PATH_MAX)] {
        let path = b"l".to_vec();
        let length = bad.len();
        assert_eq!(target(bad), Err(MergeError::SymlinkTarget { path, length }));
    }
    assert_eq!(
        target("").unwrap_err().to_string(),
        "the symbolic link `/l` has a target of 0 bytes, it must have 1 to 4095 without NUL"
    );
}

#[test]
fn the_number_of_names_has_a_limit() {
    let apply = |limit, lines: &[&str]| {
        let mut merge = lithify_tree::Merge::new().limit_names(limit);
        merge
            .apply(crate::common::try_layer(lines).unwrap())
            .map(|_| ())
    };
    assert_eq!(apply(3, &["f a", "f d/b"]), Ok(()));
    let error = apply(3, &["f a", "f d/b", "f c"]).unwrap_err();
    let path = b"c".to_vec();
    assert_eq!(error, MergeError::TooManyNames { path, limit: 3 });
    assert_eq!(apply(0, &["d ."]), Ok(()));
    // One short entry can stand for two thousand names.
    let deep = format!("f {}", vec!["a"; 2048].join("/"));
    assert!(apply(2047, &[&deep]).is_err());
    assert_eq!(apply(2048, &[&deep]), Ok(()));
}

#[test]
fn escaped_text_cannot_drive_a_terminal() {
    for (bytes, text) in [
        (&b"plain/\xc3\xa4\xe6\x97\xa5"[..], "plain/\u{e4}\u{65e5}"),
        (b"a\nb\tc\rd", r"a\nb\tc\rd"),
        (b"\x1b[31m\x07\x00\x7f", r"\x1b[31m\x07\x00\x7f"),
        (b"back\\slash", r"back\\slash"),
        // C1 controls: as UTF-8, and as the single bytes that an 8-bit terminal obeys.
        (b"\xc2\x9b31m", r"\u{9b}31m"),
        (b"\x9b31m", r"\x9b31m"),
        (b"\xff\xc3", r"\xff\xc3"),
        // CVE-2021-42574: what turns text around or hides it.
        ("gpj.\u{202e}exe".as_bytes(), r"gpj.\u{202e}exe"),
        (
            "a\u{200b}b\u{2066}c\u{feff}".as_bytes(),
            r"a\u{200b}b\u{2066}c\u{feff}",
        ),
        (
            "a\u{ad}\u{34f}\u{3164}\u{e0041}".as_bytes(),
            r"a\u{ad}\u{34f}\u{3164}\u{e0041}",
        ),
        (
            "a\u{2028}b\u{2029}\u{fff9}".as_bytes(),
            r"a\u{2028}b\u{2029}\u{fff9}",
        ),
    ] {
        assert_eq!(Escaped(bytes).to_string(), text);
    }
}

#[test]
fn a_backslash_that_begins_no_escape_is_itself() {
    for text in [
        r"C:\dir",
        r"\x2",
        r"\xg0",
        r"\u{}",
        r"\u{d800}",
        r"\u{1234567}",
        r"\u{20",
        r"end\",
    ] {
        assert_eq!(unescape(text.as_bytes()), text.as_bytes(), "{text}");
    }
    assert_eq!(unescape(br"a\\x2db\x2dc"), br"a\x2db-c");
}

/// What [`Escaped`] wrote, read back.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            bytes.extend_from_slice(c.to_string().as_bytes());
            continue;
        }
        let kind = rest.chars().next().unwrap();
        rest = &rest[1..];
        match kind {
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            'u' => {
                let (code, after) = rest[1..].split_once('}').unwrap();
                let c = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
                bytes.extend_from_slice(c.to_string().as_bytes());
                rest = after;
            }
            kind => panic!("no escape begins with \\{kind}"),
        }
    }
    bytes
}

fn raw_name() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"/".to_vec()),
        2 => Just(b".".to_vec()),
        1 => Just(b"..".to_vec()),
        2 => Just(b".wh.".to_vec()),
        1 => Just(b".wh..wh..opq".to_vec()),
        4 => Just(b"a".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes: a path with no odd component, or an error; and cleaning a clean path changes nothing.
    #[test]
    fn cleaning_never_panics_and_is_idempotent(raw in raw_name()) {
        let Ok(path) = TreePath::clean(&raw) else {
            return Ok(());
        };
        prop_assert!(path.as_bytes().len() <= PATH_MAX);
        for c in path.components() {
            prop_assert!(!c.is_empty() && c.len() <= NAME_MAX && c != b"." && c != b"..");
            prop_assert!(!c.contains(&0) && !c.contains(&b'/'));
        }
        let joined = path.components().collect::<Vec<_>>().join(&b'/');
        prop_assert_eq!(&joined, path.as_bytes());
        prop_assert_eq!(TreePath::clean(path.as_bytes()), Ok(path.clone()));
        let (parent, name) = path.split_last().unwrap_or_default();
        let above = path.parent();
        prop_assert_eq!(parent, above.as_bytes());
        prop_assert!(path.is_root() || path.as_bytes().ends_with(name));
    }

    /// No path that counts as ordinary has a reserved component, and a marker's path has none either.
    #[test]
    fn no_reserved_name_gets_through(raw in raw_name()) {
        let Ok(path) = TreePath::clean(&raw) else {
            return Ok(());
        };
        let (Ok(Convention::Ordinary(path)) | Ok(Convention::Opaque(path))) = Convention::of(path)
        else {
            return Ok(());
        };
        prop_assert!(path.components().all(|c| !c.starts_with(b".wh.")));
    }

    #[test]
    fn escaping_is_harmless_and_loses_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = Escaped(&bytes).to_string();
        prop_assert_eq!(unescape(text.as_bytes()), bytes.clone());
        prop_assert!(text.chars().all(|c| !c.is_control()));
        prop_assert_eq!(unescaped(&text), bytes);
    }

    #[test]
    fn escaping_text_loses_nothing(text in "\\PC*|.*") {
        let shown = Escaped(text.as_bytes()).to_string();
        prop_assert_eq!(unescaped(&shown), text.as_bytes());
        prop_assert_eq!(unescape(shown.as_bytes()), text.as_bytes());
    }
}

/// What AUFS kept under `.wh..wh.plnk` are the files of hard links: leaving them out left the links without target.
/// Docker's own reader resolves them (`pkg/archive/diff.go`, "aufsHardlinks").
#[test]
fn hard_links_to_what_aufs_kept_are_one_file() {
    assert_tree!(
        [[
            "d .wh..wh.plnk 700",
            "f .wh..wh.plnk/123.456=data 640 1:2",
            "h a -> .wh..wh.plnk/123.456",
            "d d",
            "h d/b -> .wh..wh.plnk/123.456",
            "f .wh..wh.plnk/7=nobody's",
        ]],
        ["f a=data 0640 1:2", "d d", "h d/b -> a"]
    );
    // In whatever order, and in place of what a lower layer has.
    assert_tree!(
        [
            ["f a=old", "f .wh..wh.plnk/1=lower"],
            ["h a -> .wh..wh.plnk/1", "f .wh..wh.plnk/1=new", "h b -> a"],
        ],
        ["f a=new", "h b -> a"]
    );
    // The books of a lower layer are closed.
    assert_refused!(
        [["f .wh..wh.plnk/1=lower"], ["h a -> .wh..wh.plnk/1"]],
        MergeError::LinkTargetMissing { .. }
    );
    assert_refused!(
        [["d .wh..wh.plnk", "h a -> .wh..wh.plnk"]],
        MergeError::LinkTargetMissing { .. }
    );
}
