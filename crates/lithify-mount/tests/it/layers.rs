//! Layers and merged images against the kernel; the layers made by `mkfs.erofs` and `mksquashfs`.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Place, run, skip};
use lithify_erofs::{FsmetaOptions, Image, LayerImage, write_fsmeta};
use lithify_mount::{
    ImageFile, LAYERS_MAX, MountError, MountKind, MountOptions, Mounted, Source, mount_source,
    mounts, umount,
};

const TOOLS: [&str; 5] = ["mkfs.erofs", "mksquashfs", "losetup", "setfattr", "mknod"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Erofs,
    Squashfs,
}

const FORMATS: [Format; 2] = [Format::Erofs, Format::Squashfs];

/// Writes a layer: `x` is a file with its path and the layer's number, `x/` a directory, `-x` a whiteout, `!x` makes a
/// directory opaque. Directories with whiteouts get an origin.
fn layer(place: &Place, format: Format, number: usize, entries: &[&str]) -> PathBuf {
    let root = place.at(&format!("root{number}"));
    fs::create_dir(&root).unwrap();
    let mark = |path: PathBuf, name: &str, value: &str| {
        let name = format!("trusted.overlay.{name}");
        run(Command::new("setfattr")
            .args(["-n", &name, "-v", value])
            .arg(path));
    };
    for entry in entries {
        if let Some(path) = entry.strip_prefix('-') {
            let path = root.join(path);
            run(Command::new("mknod").arg(&path).args(["c", "0", "0"]));
            mark(path.parent().unwrap().into(), "origin", "");
        } else if let Some(path) = entry.strip_prefix('!') {
            mark(root.join(path), "opaque", "y");
        } else if let Some(path) = entry.strip_suffix('/') {
            fs::create_dir(root.join(path)).unwrap();
        } else {
            fs::write(root.join(entry), format!("{entry} of {number}")).unwrap();
        }
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700 + number as u32 % 8)).unwrap();
    let image = place.at(&format!("layer{number}"));
    match format {
        Format::Erofs => run(Command::new("mkfs.erofs")
            .args(["--quiet", "-Enoinline_data", "-T0", "--ignore-mtime"])
            .args([&image, &root])),
        Format::Squashfs => run(Command::new("mksquashfs").args([&root, &image]).args([
            "-quiet",
            "-no-progress",
            "-xattrs",
            "-noappend",
        ])),
    };
    image
}

fn open(images: &[PathBuf]) -> Vec<ImageFile> {
    images
        .iter()
        .map(|path| ImageFile::open(path).unwrap())
        .collect()
}

fn layers(images: &[PathBuf], root: Option<usize>) -> Source {
    Source::Layers {
        images: open(images),
        root,
    }
}

/// Every path below a directory, and what files say.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let shown = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                todo.push(path);
                found.push(format!("{shown}/"));
            } else {
                assert!(kind.is_file(), "{shown}: a whiteout is visible");
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    found.sort();
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn writable(place: &Place, name: &str) -> MountOptions {
    let writable = Some(place.at(name));
    MountOptions {
        writable,
        ..MountOptions::default()
    }
}

fn stack(place: &Place, format: Format) -> Vec<PathBuf> {
    vec![
        layer(
            place,
            format,
            0,
            &["d/", "d/a", "d/b", "o/", "o/old", "top", "keep"],
        ),
        layer(
            place,
            format,
            1,
            &[
                "d/", "-d/b", "-d/never", "d/c", "o/", "!o", "o/new", "-never",
            ],
        ),
        layer(
            place,
            format,
            2,
            &["d/", "d/b", "-top", "new/", "-new/never", "new/x"],
        ),
    ]
}

const MERGED: [&str; 8] = [
    "d/",
    "d/a of 0",
    "d/b of 2",
    "d/c of 1",
    "keep of 0",
    "new/",
    "new/x of 2",
    "o/",
];

fn merged() -> Vec<String> {
    let mut all: Vec<String> = MERGED.map(str::to_owned).into();
    all.push("o/new of 1".into());
    all.sort();
    all
}

/// What the crate says of this place.
fn listed(place: &Place) -> Vec<Mounted> {
    let here = |m: &Mounted| m.target.starts_with(place.work.path());
    mounts().unwrap().into_iter().filter(here).collect()
}

#[test]
fn layers_are_one_mount() {
    if skip(&TOOLS) {
        return;
    }
    for format in FORMATS {
        let place = Place::within(&std::env::temp_dir());
        let images = stack(&place, format);
        for root in 0..3 {
            let options = MountOptions::default();
            let source = layers(&images, Some(root));
            mount_source(&source, &place.target(), Some(place.work.path()), &options).unwrap();
            drop(source);
            assert_eq!(listing(&place.target()), merged());
            assert_eq!(mode(&place.target()), 0o700 + root as u32);
            let error = fs::write(place.target().join("keep"), "").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            assert_eq!(place.mounts().len(), 1);
            assert!(
                place.mounts()[0].contains("nosuid,nodev"),
                "{:?}",
                place.mounts()
            );
            let [mounted] = &listed(&place)[..] else {
                panic!()
            };
            assert_eq!(
                (mounted.kind, &mounted.writable),
                (MountKind::Overlay, &None)
            );
            assert_eq!(mounted.source.as_deref(), Some(place.work.path()));
            umount(&place.target()).unwrap();
            assert_eq!(listed(&place), []);
            place.assert_clean();
        }
    }
}

#[test]
fn changes_to_layers_come_back() {
    if skip(&TOOLS) {
        return;
    }
    for format in FORMATS {
        let place = Place::within(&std::env::temp_dir());
        let images = stack(&place, format);
        let options = writable(&place, "changes");
        mount_source(&layers(&images, Some(1)), &place.target(), None, &options).unwrap();
        assert_eq!(listing(&place.target()), merged());
        assert_eq!(mode(&place.target()), 0o701);
        fs::write(place.target().join("keep"), "changed").unwrap();
        fs::remove_dir_all(place.target().join("d")).unwrap();
        let [mounted] = &listed(&place)[..] else {
            panic!()
        };
        assert_eq!(mounted.writable, Some(place.at("changes")));
        assert_eq!(mounted.source, None);
        umount(&place.target()).unwrap();
        place.assert_clean();

        mount_source(&layers(&images, Some(1)), &place.target(), None, &options).unwrap();
        let wanted = ["changed", "new/", "new/x of 2", "o/", "o/new of 1"];
        assert_eq!(listing(&place.target()), wanted);
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
}

/// overlayfs merges the roots of its layers whatever they say.
#[test]
fn an_opaque_root_hides_what_is_below() {
    if skip(&TOOLS) {
        return;
    }
    for format in FORMATS {
        let place = Place::within(&std::env::temp_dir());
        let images = [
            layer(&place, format, 0, &["a", "b"]),
            layer(&place, format, 1, &["!.", "b"]),
            layer(&place, format, 2, &["c"]),
        ];
        for (root, options) in [(0, MountOptions::default()), (2, writable(&place, "rw"))] {
            mount_source(
                &layers(&images, Some(root)),
                &place.target(),
                None,
                &options,
            )
            .unwrap();
            assert_eq!(listing(&place.target()), ["b of 1", "c of 2"]);
            assert_eq!(mode(&place.target()), 0o700 + root as u32);
            umount(&place.target()).unwrap();
        }
        // Alone, and only the root of what it hides.
        mount_source(
            &layers(&images[..2], Some(0)),
            &place.target(),
            None,
            &MountOptions::default(),
        )
        .unwrap();
        assert_eq!(listing(&place.target()), ["b of 1"]);
        assert_eq!(mode(&place.target()), 0o700);
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
}

/// A single layer shows no whiteouts either.
#[test]
fn one_layer() {
    if skip(&TOOLS) {
        return;
    }
    for format in FORMATS {
        let place = Place::within(&std::env::temp_dir());
        let images = [layer(&place, format, 0, &["d/", "d/a", "-d/b", "-top"])];
        for options in [MountOptions::default(), writable(&place, "rw")] {
            mount_source(&layers(&images, None), &place.target(), None, &options).unwrap();
            assert_eq!(listing(&place.target()), ["d/", "d/a of 0"]);
            umount(&place.target()).unwrap();
            place.assert_clean();
        }
    }
}

/// Overlay attributes of an image do not lead anywhere.
#[test]
fn a_redirect_is_not_followed() {
    if skip(&TOOLS) {
        return;
    }
    let place = Place::within(&std::env::temp_dir());
    let lower = layer(&place, Format::Erofs, 0, &["secret/", "secret/x", "d/"]);
    let root = place.at("root1");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(root.join("f"), "").unwrap();
    for (path, name, value) in [
        ("d", "redirect", "/secret"),
        ("f", "metacopy", ""),
        ("f", "redirect", "/secret/x"),
    ] {
        let name = format!("trusted.overlay.{name}");
        run(Command::new("setfattr")
            .args(["-n", &name, "-v", value])
            .arg(root.join(path)));
    }
    let upper = place.at("upper");
    run(Command::new("mkfs.erofs")
        .arg("--quiet")
        .args([&upper, &root]));
    for options in [MountOptions::default(), writable(&place, "rw")] {
        mount_source(
            &layers(&[lower.clone(), upper.clone()], None),
            &place.target(),
            None,
            &options,
        )
        .unwrap();
        assert!(
            fs::read_dir(place.target().join("d")).is_ok_and(|d| d.count() == 0)
                || fs::read_dir(place.target().join("d")).is_err()
        );
        assert!(
            !fs::read_to_string(place.target().join("f")).is_ok_and(|text| text.contains("secret"))
        );
        umount(&place.target()).unwrap();
    }
    place.assert_clean();
}

#[test]
fn more_layers_than_a_page_of_options_holds() {
    if skip(&TOOLS) {
        return;
    }
    let count = 150;
    let place = Place::within(&std::env::temp_dir());
    let images: Vec<_> = (0..count)
        .map(|n| {
            let (file, gone) = (format!("d/{n:03}"), format!("-d/{:03}", n - n.min(1)));
            let entries: &[&str] = if n % 2 == 1 {
                &["d/", &file, &gone]
            } else {
                &["d/", &file]
            };
            layer(&place, Format::Erofs, n, entries)
        })
        .collect();
    let mut wanted: Vec<_> = (1..count)
        .step_by(2)
        .map(|n| format!("d/{n:03} of {n}"))
        .collect();
    wanted.insert(0, "d/".into());
    for options in [MountOptions::default(), writable(&place, "rw")] {
        mount_source(&layers(&images, Some(0)), &place.target(), None, &options).unwrap();
        assert_eq!(listing(&place.target()), wanted);
        assert_eq!(place.mounts().len(), 1);
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
    // The same by way of a merged image.
    let fsmeta = merge(&place, &images);
    let source = Source::Merged {
        image: ImageFile::open(&fsmeta).unwrap(),
        devices: open(&images),
    };
    mount_source(&source, &place.target(), None, &MountOptions::default()).unwrap();
    assert_eq!(listing(&place.target()), wanted);
    umount(&place.target()).unwrap();
    place.assert_clean();
}

#[test]
fn as_many_layers_as_overlayfs_takes() {
    if skip(&TOOLS) {
        return;
    }
    let place = Place::within(&std::env::temp_dir());
    let image = layer(&place, Format::Erofs, 0, &["f"]);
    let most = vec![image.clone(); LAYERS_MAX];
    for options in [MountOptions::default(), writable(&place, "rw")] {
        mount_source(&layers(&most, Some(0)), &place.target(), None, &options).unwrap();
        assert_eq!(listing(&place.target()), ["f of 0"]);
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
    let none = MountOptions::default();
    for (count, root) in [(0, None), (LAYERS_MAX + 1, None), (2, Some(2))] {
        let source = layers(&vec![image.clone(); count], root);
        let error = mount_source(&source, &place.target(), None, &none).unwrap_err();
        assert!(
            matches!(error, MountError::LayerCount { found, .. } if found == count),
            "{error}"
        );
    }
    place.assert_clean();
}

fn merge(place: &Place, images: &[PathBuf]) -> PathBuf {
    let opened: Vec<_> = images
        .iter()
        .map(|path| Image::open(File::open(path).unwrap()).unwrap())
        .collect();
    let inputs: Vec<_> = opened
        .iter()
        .map(|image| LayerImage {
            image,
            describes_root: true,
            tag: [b'0'; 64],
        })
        .collect();
    let path = place.at("fsmeta");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    write_fsmeta(&inputs, file, &FsmetaOptions::default()).unwrap();
    path
}

/// On a disk file by file, on tmpfs by loop devices; and files without names.
#[test]
fn a_merged_image_with_its_layers() {
    if skip(&TOOLS) {
        return;
    }
    for directory in [std::env::temp_dir(), "/dev/shm".into()] {
        let place = Place::within(&directory);
        let images = stack(&place, Format::Erofs);
        let fsmeta = merge(&place, &images);
        let source = Source::Merged {
            image: ImageFile::open(&fsmeta).unwrap(),
            devices: open(&images),
        };
        for options in [MountOptions::default(), writable(&place, "rw")] {
            mount_source(&source, &place.target(), Some(&fsmeta), &options).unwrap();
            assert_eq!(listing(&place.target()), merged());
            assert_eq!(mode(&place.target()), 0o702);
            assert_eq!(place.mounts().len(), 1);
            let [mounted] = &listed(&place)[..] else {
                panic!()
            };
            let kind = if options.writable.is_some() {
                MountKind::Overlay
            } else {
                MountKind::Erofs
            };
            assert_eq!(mounted.kind, kind);
            assert_eq!(mounted.source, Some(fsmeta.clone()));
            umount(&place.target()).unwrap();
            place.assert_clean();
        }

        let file = |path: &PathBuf| ImageFile::from_file(File::open(path).unwrap());
        let source = Source::Merged {
            image: file(&fsmeta),
            devices: images.iter().map(file).collect(),
        };
        for path in images.iter().chain([&fsmeta]) {
            fs::remove_file(path).unwrap();
        }
        mount_source(&source, &place.target(), None, &MountOptions::default()).unwrap();
        drop(source);
        assert_eq!(listing(&place.target()), merged());
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
}

#[test]
fn squashfs_in_one_file() {
    if skip(&TOOLS) {
        return;
    }
    let place = Place::within(&std::env::temp_dir());
    let image = layer(&place, Format::Squashfs, 0, &["d/", "d/f"]);
    for options in [MountOptions::default(), writable(&place, "rw")] {
        lithify_mount::mount(&image, &place.target(), &options).unwrap();
        assert_eq!(listing(&place.target()), ["d/", "d/f of 0"]);
        assert_eq!(place.mounts().len(), 1);
        let [mounted] = &listed(&place)[..] else {
            panic!()
        };
        let kind = if options.writable.is_some() {
            MountKind::Overlay
        } else {
            MountKind::Squashfs
        };
        assert_eq!(
            (mounted.kind, mounted.source.as_deref()),
            (kind, Some(image.as_path()))
        );
        umount(&place.target()).unwrap();
        place.assert_clean();
    }
    // What others mounted is not listed, and not unmounted.
    run(Command::new("mount")
        .args(["-t", "squashfs", "-o", "ro,loop"])
        .args([&image, &place.target()]));
    assert_eq!(listed(&place), []);
    let error = umount(&place.target()).unwrap_err();
    assert!(matches!(error, MountError::Foreign { .. }), "{error}");
    run(Command::new("umount").arg("--lazy").arg(place.target()));
    place.assert_clean();
}

#[test]
fn a_busy_mount_stays() {
    if skip(&TOOLS) {
        return;
    }
    let place = Place::within(&std::env::temp_dir());
    let images = stack(&place, Format::Squashfs);
    mount_source(
        &layers(&images, None),
        &place.target(),
        None,
        &MountOptions::default(),
    )
    .unwrap();
    let open = File::open(place.target().join("keep")).unwrap();
    let error = umount(&place.target()).unwrap_err();
    assert!(matches!(error, MountError::Busy { .. }), "{error}");
    assert_eq!(listing(&place.target()), merged());
    assert_eq!(place.loop_devices().len(), 3);
    drop(open);
    umount(&place.target()).unwrap();
    place.assert_clean();
}

#[test]
fn a_failure_leaves_nothing() {
    if skip(&TOOLS) {
        return;
    }
    let place = Place::within(&std::env::temp_dir());
    let images = stack(&place, Format::Squashfs);
    let none = MountOptions::default();
    // The lowest is mounted last.
    fs::write(place.at("garbage"), vec![7; 9000]).unwrap();
    let bad = [vec![place.at("garbage")], images.clone()].concat();
    let error = mount_source(&layers(&bad, None), &place.target(), None, &none).unwrap_err();
    assert!(matches!(error, MountError::NotImage { .. }), "{error}");
    place.assert_clean();
    // A directory for changes that overlayfs cannot use.
    let options = MountOptions {
        writable: Some("/proc/self/fd".into()),
        ..none.clone()
    };
    let error = mount_source(&layers(&images, None), &place.target(), None, &options).unwrap_err();
    assert!(matches!(error, MountError::Writable { .. }), "{error}");
    place.assert_clean();
    // The kernel refuses the overlay: changes on the same filesystem as a mount of the image itself.
    fs::create_dir_all(place.at("rw/work/work/x")).unwrap();
    lithify_mount::mount(&images[0], &place.at("rw"), &none).unwrap();
    let error = mount_source(
        &layers(&images, None),
        &place.target(),
        None,
        &writable(&place, "rw"),
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            MountError::Writable { .. } | MountError::Refused { .. }
        ),
        "{error}"
    );
    umount(&place.at("rw")).unwrap();
    place.assert_clean();
    // No such mount point.
    let error =
        mount_source(&layers(&images, None), &place.at("nowhere"), None, &none).unwrap_err();
    assert!(matches!(error, MountError::Target { .. }), "{error}");
    // Devices that are not those of the merged image: too few, and one that is no image but a directory.
    let erofs = Place::within(&std::env::temp_dir());
    let images = stack(&erofs, Format::Erofs);
    let fsmeta = merge(&erofs, &images);
    for devices in [
        &images[..2],
        &[erofs.at("root0"), images[1].clone(), images[2].clone()],
    ] {
        let source = Source::Merged {
            image: ImageFile::open(&fsmeta).unwrap(),
            devices: open(devices),
        };
        let error = mount_source(&source, &erofs.target(), None, &none).unwrap_err();
        assert!(matches!(error, MountError::Refused { .. }), "{error}");
        erofs.assert_clean();
    }
    let squashfs = Source::Merged {
        image: open(&[place.at("layer0")]).remove(0),
        devices: open(&images),
    };
    let error = mount_source(&squashfs, &erofs.target(), None, &none).unwrap_err();
    assert!(matches!(error, MountError::NotErofs { .. }), "{error}");
    place.assert_clean();
    erofs.assert_clean();
}

#[test]
fn long_paths_and_odd_ones() {
    if skip(&TOOLS) {
        return;
    }
    let top = Place::within(&std::env::temp_dir());
    let deep = top.at(&format!(
        "a b,c:d\\/{}/{}",
        "x".repeat(200),
        "y".repeat(200)
    ));
    fs::create_dir_all(&deep).unwrap();
    let place = Place::within(&deep);
    let images = stack(&place, Format::Erofs);
    for options in [MountOptions::default(), writable(&place, "rw")] {
        let source = layers(&images, None);
        mount_source(&source, &place.target(), Some(place.work.path()), &options).unwrap();
        assert_eq!(listing(&place.target()), merged());
        let [mounted] = &listed(&place)[..] else {
            panic!()
        };
        assert_eq!(mounted.source, None);
        umount(&place.target()).unwrap();
    }
    lithify_mount::mount(&images[0], &place.target(), &MountOptions::default()).unwrap();
    assert!(place.target().join("keep").exists());
    umount(&place.target()).unwrap();
    place.assert_clean();
}

/// As in a container: filesystems may be stacked two high only, and an image on an overlay counts as one.
#[test]
fn images_that_lie_on_an_overlay() {
    if skip(&TOOLS) {
        return;
    }
    let below = Place::within(&std::env::temp_dir());
    for directory in ["l", "u", "w"] {
        fs::create_dir(below.at(directory)).unwrap();
    }
    let here = below.work.path().display();
    let options = format!("lowerdir={here}/l,upperdir={here}/u,workdir={here}/w");
    run(Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(below.target()));
    let place = Place::within(&below.target());
    // An overlay has no whiteouts that could be put into a layer.
    let made = Place::within(&std::env::temp_dir());
    let mut images = stack(&made, Format::Erofs);
    for image in &mut images {
        let copy = place.at(image.file_name().unwrap().to_str().unwrap());
        fs::copy(&image, &copy).unwrap();
        *image = copy;
    }
    let fsmeta = merge(&place, &images);
    let merged_image = Source::Merged {
        image: ImageFile::open(&fsmeta).unwrap(),
        devices: open(&images),
    };
    let changes = Place::within(&std::env::temp_dir());
    for options in [MountOptions::default(), writable(&changes, "rw")] {
        for source in [&layers(&images, None), &merged_image] {
            mount_source(source, &place.target(), None, &options).unwrap();
            assert_eq!(listing(&place.target()), merged());
            umount(&place.target()).unwrap();
        }
    }
    drop(merged_image);
    place.assert_clean();
    drop(place);
    run(Command::new("umount").arg("--lazy").arg(below.target()));
}
