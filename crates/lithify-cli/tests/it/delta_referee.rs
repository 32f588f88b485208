//! Deltas of images as the crate `oci-delta` takes them, with which composefs and bootc apply them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lithify_testkit::{Compression, Layout, TarEntry, require, run, wants_all};

use crate::common::deltas::{Images, new, noise, old, shared};
use crate::common::layer;

/// The program of `referees/oci-delta`, if it was built: it needs OpenSSL's headers. Its absence is a skip that counts only where all
/// inputs are wanted.
fn referee() -> Option<PathBuf> {
    let program =
        require::workspace().join("target/referees/oci-delta/bin/oci-delta-referee-image");
    if program.is_file() {
        return Some(program);
    }
    let need = "oci-delta-referee-image (of referees/oci-delta)";
    if !wants_all() {
        eprintln!("not run: lithify-cli::delta_referee needs {need}");
        return None;
    }
    require::met(false, need).then_some(program)
}

#[test]
fn the_crate_oci_delta_makes_the_layers_of_artifacts() {
    let Some(program) = referee() else {
        return;
    };
    let [changed, added] = new();
    let large = |at: usize| {
        let mut content = vec![7; 3 << 20];
        content[..1000].copy_from_slice(&noise(30, 1000));
        content[at] = 1;
        layer([TarEntry::file("large", content)])
    };
    let odd = vec![
        TarEntry::file("usr/tool", noise(4, 60_000)),
        TarEntry::hard_link("usr/again", "usr/tool"),
        TarEntry::symlink("link", "usr/tool"),
        TarEntry::whiteout("usr/both"),
        TarEntry::file("note", noise(3, 80_000)).xattr("user.note", "text"),
    ];
    let cases = [
        (
            vec![shared(), old()],
            vec![shared(), changed.clone(), added],
        ),
        (vec![shared(), old()], vec![layer(odd), Vec::new(), changed]),
        (vec![large(5)], vec![large(2_000_000), layer([])]),
        (vec![], vec![shared()]),
        (vec![shared()], vec![]),
    ];
    for (number, (old, new)) in cases.into_iter().enumerate() {
        let images = Images::empty();
        images.put("1", &old);
        let packings = [Compression::Gzip, Compression::Zstd, Compression::None];
        let layers = new.iter().zip(packings.iter().cycle());
        let layout = layers.fold(Layout::new(), |layout, (tar, packing)| {
            layout.layer(tar, *packing)
        });
        images.put_layout("2", &layout);
        let level = ["default", "fast", "best"][number % 3];
        images.delta(&["--level", level]);
        images.ok(&[
            "build",
            &images.image("1"),
            "-f",
            "dir",
            "-o",
            &images.place.text("root"),
        ]);
        let out = images.path("made");
        fs::create_dir(&out).unwrap();
        let mut command = Command::new(&program);
        command
            .arg(images.path("delta"))
            .arg(images.path("root"))
            .arg(&out);
        run::ok(&mut command);
        for (index, tar) in new.iter().enumerate() {
            let made = out.join(format!("{index}.tar"));
            let is_reused = old.contains(tar);
            assert_eq!(made.exists(), !is_reused, "{number}: {index}");
            assert!(
                is_reused || fs::read(made).unwrap() == *tar,
                "{number}: {index}"
            );
        }
    }
}
