//! What a few kilobytes may cost: budgets for the whole image, holes, and names that stand for many.

use std::fs;
use std::path::Path;

use crate::common::{build, image, layer, lithify, lithify_output, stderr};
use lithify_testkit::{Blob, Layout, TarEntry, digest, run, temp_dir};

/// A directory in a directory, `levels` deep, each with the name of the next and one more: `x0` and `x1`.
fn ladder(levels: usize) -> Vec<u8> {
    let mut at = "d".to_owned();
    let mut entries = vec![TarEntry::directory(&at)];
    for _ in 0..levels {
        entries.push(TarEntry::directory(format!("{at}/x1")));
        at.push_str("/x0");
        entries.push(TarEntry::directory(&at));
    }
    layer(entries)
}

/// Has `x1` of every directory lead where `x0` leads, in an EROFS image: twice as many names with each level.
fn double(image: &mut [u8]) -> usize {
    // Names follow each other: of the directory itself, the one above, and these.
    let names: Vec<usize> = (0..image.len() - 7)
        .filter(|&at| image[at..].starts_with(b"...x0x1"))
        .collect();
    for &at in &names {
        // Four entries of twelve bytes stand before them; each begins with the number of an inode.
        let (x0, x1) = (at - 24, at - 12);
        image.copy_within(x0..x0 + 8, x1);
    }
    // The first block's checksum is not asked for.
    image[1024 + 8] &= !1;
    names.len()
}

fn of_erofs(dir: &Path, bytes: Vec<u8>) -> String {
    let diff_id = digest(&bytes);
    let media_type = "application/vnd.erofs.layer.v1".to_owned();
    Layout::new()
        .blob(Blob { media_type, bytes }, &diff_id)
        .write(dir);
    format!("oci:{}:latest", dir.display())
}

/// `ls` looked at every way through such a graph: 2²⁴ names of 8 KB.
#[test]
fn directories_reached_twice_are_refused_by_whoever_looks() {
    let tmp = temp_dir();
    let made = tmp.path().join("made.erofs");
    build(&image(tmp.path(), [ladder(24)]), "erofs", &made);
    let mut bytes = fs::read(made).unwrap();
    let honest = of_erofs(&tmp.path().join("honest"), bytes.clone());
    assert_eq!(double(&mut bytes), 24);
    let source = of_erofs(&tmp.path().join("doubled"), bytes);

    let paths = |source: &str| run::text(lithify().args(["-q", "ls", "-aR", source, "/d"]));
    assert!(paths(&honest).contains("x0"));
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    for args in [
        &["ls", "-R", &source][..],
        &["ls", "-R", &source, "/d/x0/x0"],
        &["ls", "--json", &source],
        &["verify", &source],
        &["build", &source, "-f", "tar", "-o", out],
        &["build", &source, "-f", "erofs-layers", "-o", out],
    ] {
        let output = lithify_output(["-q"].iter().chain(args));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(
            said.contains("is reached a second time"),
            "{args:?}: {said}"
        );
    }
    // What does not meet it is shown.
    run::ok(lithify().args(["-q", "ls", "-d", &source, "/d"]));
}
