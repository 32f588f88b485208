//! Trees no image can hold, and text that is no dumpfile.

use std::error::Error as _;

use lithify_cancel::CancelToken;
use lithify_composefs::dumpfile::{self, DumpError};
use lithify_composefs::image::{Image, ImageError, ImageOptions};

use crate::random::escaped;
use crate::reference::filesystem;

const ROOT: &str = "/ 0 40755 2 0 0 0 0.0 - - -\n";

fn refused(line: &str) -> ImageError {
    let filesystem = filesystem(&format!("{ROOT}{line}\n"));
    let made = Image::new(&filesystem, &ImageOptions::default(), &CancelToken::new());
    made.err().unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn what_an_image_cannot_hold() {
    let long = |n: usize| "x".repeat(n);
    let file = "100644 1 0 0 0 0.0 - - -";
    match refused(&format!("/f 0 {file} user.a={}", long(65_536))) {
        ImageError::XattrValue { path, name, found } => {
            assert_eq!(
                (&path[..], &name[..], found),
                (&b"f"[..], &b"user.a"[..], 65_536)
            );
        }
        e => panic!("{e}"),
    }
    // Escaped it is longer than a name can be.
    let name = format!("trusted.overlay.{}", long(232));
    match refused(&format!("/f 0 {file} {name}=")) {
        ImageError::XattrName { path, name } => {
            assert_eq!((&path[..], name.len()), (&b"f"[..], 256));
        }
        e => panic!("{e}"),
    }
    let many: String = (0..5)
        .map(|n| format!(" user.{n}={}", long(60_000)))
        .collect();
    match refused(&format!("/f 0 {file}{many}")) {
        ImageError::Xattrs { found, .. } => assert!(found > 300_000),
        e => panic!("{e}"),
    }
    match refused("/f 8936830510563329 100644 1 0 0 0 0.0 - - -") {
        ImageError::FileSize { found, .. } => assert_eq!(found, (1016 << 43) + 1),
        e => panic!("{e}"),
    }
}

/// The longest of everything.
#[test]
fn what_an_image_just_holds() {
    let long = |n: usize| "x".repeat(n);
    let text = format!(
        "{ROOT}/{} 8936830510563328 100644 1 0 0 0 0.0 - - - user.a={} user.{}= trusted.overlay.{}=\n\
         /l 4095 120777 1 0 0 0 0.0 {} - -\n",
        long(255),
        long(65_535),
        long(250),
        long(231),
        long(4095),
    );
    let filesystem = filesystem(&text);
    let (bytes, _) = crate::reference::written(&filesystem, &ImageOptions::default());
    let read = lithify_composefs::image::read(bytes, &CancelToken::new()).unwrap();
    let mut again = Vec::new();
    dumpfile::write(&read, &mut again, &CancelToken::new()).unwrap();
    let again = String::from_utf8(again).unwrap();
    for part in [
        long(255),
        long(4095),
        long(65_535),
        "8936830510563328".to_owned(),
    ] {
        assert!(again.contains(&part));
    }
}

#[test]
fn lines_that_say_nothing() {
    let target = escaped(&[b'x'; 5000], false);
    for (line, expected) in [
        ("/a 0 40755 2 0 0 0 0.0 - -", "11"),
        ("/a 0 40755  2 0 0 0 0.0 - - -", "links"),
        ("/a x 40755 2 0 0 0 0.0 - - -", "size"),
        ("/a 0 40758 2 0 0 0 0.0 - - -", "mode"),
        ("/a 0 0 2 0 0 0 0.0 - - -", "kind"),
        ("/a 0 40755 2 -1 0 0 0.0 - - -", "owner"),
        ("/a 0 40755 2 0 4294967296 0 0.0 - - -", "group"),
        ("/a 0 40755 2 0 0 +1 0.0 - - -", "device"),
        ("/a 0 40755 2 0 0 0 0 - - -", "time"),
        ("/a 0 40755 2 0 0 0 0.1000000000 - - -", "time"),
        ("/a\\q 0 40755 2 0 0 0 0.0 - - -", "backslash"),
        ("a 0 40755 2 0 0 0 0.0 - - -", "absolute"),
        ("/a/ 0 40755 2 0 0 0 0.0 - - -", "absolute"),
        ("//a 0 40755 2 0 0 0 0.0 - - -", "absolute"),
        ("/. 0 40755 2 0 0 0 0.0 - - -", "absolute"),
        ("/.. 0 40755 2 0 0 0 0.0 - - -", "`..`"),
        ("/a\\x00 0 40755 2 0 0 0 0.0 - - -", "NUL"),
        ("/ 0 40755 2 0 0 0 0.0 - - -", "already"),
        ("/x/a 0 40755 2 0 0 0 0.0 - - -", "directory"),
        ("/l 0 120777 1 0 0 0 0.0 - - -", "target"),
        ("/l 0 @100644 1 0 0 0 0.0 - - -", "target"),
        ("/l 0 @40755 1 0 0 0 0.0 / - -", "directory"),
        ("/f 6 100644 1 0 0 0 0.0 - hello -", "content"),
        ("/f 6 100644 1 0 0 0 0.0 a - abc", "digest"),
        ("/f 0 100644 1 0 0 0 0.0 - - - user.a", "="),
        ("/f 0 100644 1 0 0 0 0.0 - - - =x", "name"),
    ] {
        let error = dumpfile::read(format!("{ROOT}{line}\n").as_bytes(), &CancelToken::new());
        match error.expect_err(line) {
            e @ DumpError::Line { line: 2, .. } => {
                let fault = e.source().unwrap().to_string();
                assert!(fault.contains(expected), "{line}: {fault}");
            }
            e => panic!("{line}: {e}"),
        }
    }
    for (text, expected) in [
        ("", "root"),
        ("/ 0 100644 1 0 0 0 0.0 - - -\n", "root"),
        (
            &*format!("{ROOT}/l 0 @100644 1 0 0 0 0.0 /x - -\n"),
            "no tree",
        ),
        (
            &*format!("{ROOT}/l 0 120777 1 0 0 0 0.0 {target} - -\n"),
            "no tree",
        ),
    ] {
        let error = dumpfile::read(text.as_bytes(), &CancelToken::new());
        let error = error.expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// A link may come before its file, as for C `mkcomposefs`, and the file is numbered where its own line is.
#[test]
fn links_before_their_file() {
    let before = format!(
        "{ROOT}/d 0 40755 2 0 0 0 0.0 - - -\n/d/b 0 @100644 1 0 0 0 0.0 /z - -\n/z 2 100644 2 0 0 0 0.0 - hi -\n/zz 0 100644 1 0 0 0 0.0 - - -\n"
    );
    let behind = format!(
        "{ROOT}/d 0 40755 2 0 0 0 0.0 - - -\n/z 2 100644 2 0 0 0 0.0 - hi -\n/d/b 0 @100644 1 0 0 0 0.0 /z - -\n/zz 0 100644 1 0 0 0 0.0 - - -\n"
    );
    let image = |text| crate::reference::written(&filesystem(text), &ImageOptions::default());
    assert!(image(&before) == image(&behind));
    // The first name in the order of the tree is another inode number.
    let other = format!(
        "{ROOT}/d 0 40755 2 0 0 0 0.0 - - -\n/d/b 2 100644 2 0 0 0 0.0 - hi -\n/z 0 @100644 1 0 0 0 0.0 /d/b - -\n/zz 0 100644 1 0 0 0 0.0 - - -\n"
    );
    assert!(image(&before) != image(&other));
}
