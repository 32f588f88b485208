//! Bases that deltas of images are applied to.

use std::fs;

use lithify_testkit::{Compression, Layout, TarEntry, run};

use crate::common::deltas::{Images, new, noise, old, shared};
use crate::common::{layer, stderr};

/// The images of the fleet are there in many forms.
#[test]
fn everything_that_has_the_files_is_a_base() {
    let images = Images::foreign();
    // No layer is shared, so that files are enough.
    images.put("1", &[old(), shared()]);
    images.put("2", &new());
    let delta = images.delta(&[]);
    let old = images.image("1");
    let mut bases = vec![old.clone()];
    for (format, name) in [
        ("dir", "rootfs:"),
        ("tar", "tar:"),
        ("erofs", ""),
        ("squashfs", ""),
        ("ext4", "ext4:"),
        ("erofs-layers", ""),
        ("squashfs-layers", ""),
        ("composefs", "composefs:"),
    ] {
        let place = format!("base.{format}");
        let out = match format {
            "composefs" => format!("{}:image", images.place.text(&place)),
            _ => images.place.text(&place),
        };
        images.ok(&["build", &old, "-f", format, "-o", &out]);
        bases.push(format!("{name}{out}"));
    }
    images.ok(&[
        "build",
        &old,
        "-o",
        &images.place.text("z.erofs"),
        "--compress",
        "lz4",
    ]);
    bases.push(images.place.text("z.erofs"));
    images.ok(&["copy", &old, "store:localhost/old:1"]);
    bases.push("store:localhost/old:1".to_owned());
    let expected = images.erofs("2");
    for base in &bases {
        let out = images.place.text("out.erofs");
        run::ok(&mut images.applying(&delta, base, &["-f", "erofs", "-o", &out]));
        assert!(fs::read(&out).unwrap() == expected, "{base}");
    }
    // The store is looked into unasked.
    let out = images.place.text("store.erofs");
    images.ok(&["delta", "apply", &delta, "-o", &out]);
    assert!(fs::read(&out).unwrap() == expected);
}

#[test]
fn a_shared_layer_is_not_in_a_file_tree() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let tree = images.place.text("tree");
    images.ok(&["build", &images.image("1"), "-f", "dir", "-o", &tree]);
    let out = images.place.text("out.erofs");
    for base in [format!("rootfs:{tree}"), images.image("2")] {
        let is_tree = base.starts_with("rootfs:");
        let output = run::output(&mut images.applying(&delta, &base, &["-o", &out]));
        // The new image has the layer, but not the old image's files.
        let (code, word) = match is_tree {
            true => (1, "--base"),
            false => (3, "libfoo.so.1.2"),
        };
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
        assert!(!images.path("out.erofs").exists());
    }
    let output = run::output(
        images
            .place
            .lithify()
            .args(["-q", "delta", "apply", &delta, "-o", &out]),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--base"), "{}", stderr(&output));
}

/// An image under ostree has other objects, and one that `cfsctl` made has an empty /run.
#[test]
fn files_that_others_do_not_have_are_no_bases() {
    let images = Images::foreign();
    let content = noise(40, 20_000);
    images.put(
        "1",
        &[layer([
            TarEntry::file("run/state", &content),
            TarEntry::file("sysroot/ostree/repo/object", &content),
        ])],
    );
    images.put("2", &[layer([TarEntry::file("state", &content)])]);
    let delta = images.delta(&[]);
    let described = images.json(&["delta", "inspect", &delta]);
    assert!(
        described["delta_bytes"].as_u64().unwrap() > 20_000,
        "{described}"
    );
}

/// A base with the layers the delta wants, compressed otherwise: its tars are the same.
#[test]
fn a_shared_layer_may_be_compressed_otherwise() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let other = Layout::new()
        .layer(&shared(), Compression::Zstd)
        .layer(&old(), Compression::None);
    images.put_layout("other", &other);
    let out = images.place.text("out.erofs");
    run::ok(&mut images.applying(&delta, &images.image("other"), &["-o", &out]));
    assert!(fs::read(&out).unwrap() == images.erofs("2"));
}
