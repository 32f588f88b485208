//! Images some of whose layers are EROFS images: what others made, what is damaged, and tars beside them.

use std::fs;
use std::path::Path;

use crate::common::native::{blob_path, document, layers, links_of_an_overlay, push, sample};
use crate::common::stores::lithify_at;
use crate::common::{build, lithify, lithify_output, paths, stderr};
use lithify_testkit::{Allow, Blob, Layout, Mount, Snapshot, digest, require, run, temp_dir};

/// The sample with some of its layers as EROFS images.
fn mixed(
    dir: &Path,
    native: [bool; 3],
    change: impl Fn(usize, &mut Vec<u8>, &mut String),
) -> String {
    let tars = layers();
    let layout = dir.join("pushed");
    let report = push(
        &dir.join("pushing"),
        &sample(dir),
        &layout,
        &["--as", "erofs"],
    );
    let index = document(&layout, &report["digest"]);
    let manifest = document(&layout, &index["manifests"][1]["digest"]);
    let mut mixed = Layout::new();
    for (number, tar) in tars.iter().enumerate() {
        if !native[number] {
            mixed = mixed.gzip_layer(tar);
            continue;
        }
        let erofs = manifest["layers"][number]["digest"].as_str().unwrap();
        let mut bytes = fs::read(blob_path(&layout, erofs)).unwrap();
        let mut diff_id = erofs.to_owned();
        change(number, &mut bytes, &mut diff_id);
        let media_type = "application/vnd.erofs.layer.v1".to_owned();
        mixed = mixed.blob(Blob { media_type, bytes }, &diff_id);
    }
    let path = dir.join("mixed");
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    mixed.write(&path);
    format!("oci:{}:latest", path.display())
}

#[test]
fn tars_and_images_mix() {
    let tmp = temp_dir();
    let names = paths(&sample(tmp.path()));
    for native in [
        [true, false, false],
        [false, true, false],
        [true, false, true],
    ] {
        let source = mixed(tmp.path(), native, |_, _, _| {});
        assert_eq!(paths(&source), names);
        run::ok(lithify().args(["-q", "verify", &source]));
        for format in ["erofs", "squashfs", "erofs-layers", "squashfs-layers"] {
            let out = tmp.path().join(format!("{format}{native:?}"));
            build(&source, format, &out);
            assert_eq!(paths(out.to_str().unwrap()), names, "{format} {native:?}");
            run::ok(lithify().args(["-q", "verify"]).arg(&out));
            for (path, text) in [("/etc/kept", "kept"), ("/full/three", "3")] {
                let mut cat = lithify();
                cat.args(["-q", "cat"]).arg(&out).arg(path);
                assert_eq!(run::text(&mut cat), text);
            }
        }
    }
}

#[test]
fn what_is_not_what_it_should_be_is_refused() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let attempt = |source: &str, format: &str, extra: &[&str]| {
        let out = tmp.path().join("refused");
        let mut command = lithify_at(&store);
        command.args(["-q", "build", source, "-f", format, "-o"]);
        let output = run::output(command.arg(&out).args(extra));
        // A cache is added to: its directory is there before.
        let is_empty =
            !out.exists() || format == "containerd-cache" && crate::common::names(&out).is_empty();
        assert!(output.status.success() || is_empty, "{}", stderr(&output));
        if out.is_dir() {
            fs::remove_dir_all(&out).unwrap();
        } else if out.exists() {
            fs::remove_file(&out).unwrap();
        }
        (output.status.code().unwrap(), stderr(&output))
    };
    // The right image under a wrong diff_id: refused before anything is read, since blob and image are one.
    let other = digest(b"other");
    let source = mixed(tmp.path(), [false, true, false], |_, _, diff_id| {
        diff_id.clone_from(&other);
    });
    let (code, said) = attempt(&source, "tar", &[]);
    assert!(code == 3 && said.contains("diff id"), "{code} {said}");
    // Another blob than its digest says.
    let source = mixed(tmp.path(), [false, true, false], |_, _, _| {});
    let manifest = fs::read_dir(tmp.path().join("mixed/blobs/sha256")).unwrap();
    let mut damaged = 0;
    for blob in manifest {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > 4096 && bytes[1024..1028] == [0xe2, 0xe1, 0xf5, 0xe0] {
            bytes[3000] ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    for format in ["tar", "erofs", "erofs-layers", "containerd-cache"] {
        let (code, said) = attempt(&source, format, &[]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("digest"), "{said}");
    }
    // Damage that the digests know: the image is refused, or sound after all, and never a crash.
    let mut refused = 0;
    for at in [
        1024, 1030, 1036, 1040, 1064, 1104, 4096, 4100, 4110, 4120, 4130, 4200, 4300, 8192, 8200,
    ] {
        for bit in [0, 7] {
            let source = mixed(tmp.path(), [false, true, false], |_, bytes, diff_id| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
                *diff_id = digest(bytes);
            });
            for format in ["tar", "erofs-layers"] {
                let (code, said) = attempt(&source, format, &["--jobs", "2"]);
                assert!([0, 1, 3].contains(&code), "{at} {bit}: {code} {said}");
                refused += usize::from(code != 0);
            }
        }
    }
    assert!(refused >= 20, "{refused}");
    crate::common::stores::assert_undamaged(&store);
    // What is no zstd is no `+zstd`.
    let bytes = b"not zstd".repeat(1000);
    let diff_id = digest(&bytes);
    let media_type = "application/vnd.erofs+zstd".to_owned();
    let path = tmp.path().join("nozstd");
    Layout::new()
        .blob(Blob { media_type, bytes }, &diff_id)
        .write(&path);
    let (code, said) = attempt(&format!("oci:{}:latest", path.display()), "tar", &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("decompress"), "{said}");
}

#[test]
fn looking_into_damaged_images_ends() {
    let tmp = temp_dir();
    let mut refused = 0;
    for at in (1024..1136).step_by(7).chain((4096..4600).step_by(11)) {
        let source = mixed(tmp.path(), [true, true, true], |number, bytes, diff_id| {
            if let Some(byte) = bytes.get_mut(at)
                && number != 2
            {
                *byte ^= 0x41;
            }
            *diff_id = digest(bytes);
        });
        for args in [&["ls", &source][..], &["cat", &source, "/etc/kept"]] {
            let output = lithify_output(["-q"].iter().chain(args));
            let code = output.status.code();
            assert!(
                [Some(0), Some(1), Some(3)].contains(&code),
                "{at}: {code:?} {}",
                stderr(&output)
            );
            refused += usize::from(code != Some(0));
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn limits_hold_for_images_too() {
    let tmp = temp_dir();
    let source = mixed(tmp.path(), [true, true, true], |_, _, _| {});
    for (limit, expected) in [
        ("tar_bytes=1000", "tar_bytes"),
        ("entries=3", "entries"),
        ("file_bytes=1000", "file_bytes"),
    ] {
        let output = lithify_output(["-q", "verify", "--limit", limit, &source]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn images_of_mkfs_are_layers_too() {
    if !require::root() || !require::tool("mkfs.erofs") || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let trees = [tmp.path().join("lower"), tmp.path().join("upper")];
    for tree in &trees {
        fs::create_dir_all(tree.join("d")).unwrap();
    }
    fs::write(trees[0].join("d/kept"), "kept ".repeat(3000)).unwrap();
    fs::write(trees[0].join("d/gone"), "x").unwrap();
    fs::write(trees[1].join("d/new"), "new").unwrap();
    run::ok(
        run::command("mknod")
            .arg(trees[1].join("d/gone"))
            .args(["c", "0", "0"]),
    );
    let mut layout = Layout::new();
    let mut mounts = Vec::new();
    for (number, tree) in trees.iter().enumerate() {
        let file = tmp.path().join(format!("{number}.erofs"));
        let mut mkfs = run::command("mkfs.erofs");
        if number == 0 {
            mkfs.arg("-zlz4");
        }
        run::ok(mkfs.arg(&file).arg(tree));
        let bytes = fs::read(&file).unwrap();
        let diff_id = digest(&bytes);
        let media_type = "application/vnd.erofs.layer.v1".to_owned();
        layout = layout.blob(Blob { media_type, bytes }, &diff_id);
        mounts.push(Mount::erofs(&file));
    }
    let path = tmp.path().join("image");
    layout.write(&path);
    let source = format!("oci:{}:latest", path.display());
    let overlay = Mount::overlay(&[mounts[1].path(), mounts[0].path()]).unwrap();
    let expected = Snapshot::of(overlay.path());
    let flat = crate::common::erofs(&source, tmp.path());
    Snapshot::of(Mount::erofs(&flat).path()).assert_same(&expected, &links_of_an_overlay());
    // Nothing refers to data that does not start with a block: there is no merged image, but a stack.
    let layers = tmp.path().join("layers");
    build(&source, "erofs-layers", &layers);
    assert!(!layers.join("fsmeta.erofs").exists());
    assert_eq!(paths(layers.to_str().unwrap()), paths(&source));
    let point = tmp.path().join("point");
    fs::create_dir(&point).unwrap();
    run::ok(lithify().args(["-q", "mount", &source]).arg(&point));
    let seen = Snapshot::of(&point);
    run::ok(lithify().arg("umount").arg(&point));
    seen.assert_same(&expected, &links_of_an_overlay());
    let text = run::text(lithify().args(["-q", "cat", &source, "/d/kept"]));
    assert_eq!(text, "kept ".repeat(3000));
}

/// Files shorter than a block stand behind their inodes unless `mkfs.erofs` is told otherwise: a merged image has a copy.
#[test]
fn short_files_of_mkfs_are_merged() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let tmp = temp_dir();
    let mut layout = Layout::new();
    for (number, names) in [["d/a", "d/b"], ["d/b", "e/c"]].into_iter().enumerate() {
        let tree = tmp.path().join(number.to_string());
        for name in names {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{name} of {number}")).unwrap();
        }
        fs::write(tree.join("blocks"), vec![number as u8; 8192]).unwrap();
        let file = tmp.path().join(format!("{number}.erofs"));
        run::ok(run::command("mkfs.erofs").arg(&file).arg(&tree));
        let bytes = fs::read(&file).unwrap();
        let diff_id = digest(&bytes);
        let media_type = "application/vnd.erofs.layer.v1".to_owned();
        layout = layout.blob(Blob { media_type, bytes }, &diff_id);
    }
    let path = tmp.path().join("image");
    layout.write(&path);
    let source = format!("oci:{}:latest", path.display());
    let layers = tmp.path().join("layers");
    build(&source, "erofs-layers", &layers);
    assert!(layers.join("fsmeta.erofs").is_file());
    run::ok(lithify().args(["-q", "verify"]).arg(&layers));
    for (path, text) in [
        ("/d/a", "d/a of 0"),
        ("/d/b", "d/b of 1"),
        ("/e/c", "e/c of 1"),
    ] {
        let mut cat = lithify();
        cat.args(["-q", "cat"]).arg(&layers).arg(path);
        assert_eq!(run::text(&mut cat), text);
    }
    if require::root() && require::kernel_erofs() {
        let flat = crate::common::erofs(&source, tmp.path());
        let expected = Snapshot::of(Mount::erofs(&flat).path());
        let point = tmp.path().join("point");
        fs::create_dir(&point).unwrap();
        run::ok(lithify().args(["-q", "mount"]).arg(&layers).arg(&point));
        let seen = Snapshot::of(&point);
        run::ok(lithify().arg("umount").arg(&point));
        seen.assert_same(&expected, &Allow::nothing());
    }
}
