//! A real image, a Debian root with layers of odd things on it, against `umoci unpack`: what the kernel shows of the
//! EROFS image, the directory and the unpacked tar equal it in every path, type, mode, owner, size, time, link, device,
//! attribute and byte.

use std::path::{Path, PathBuf};

use crate::common::{build, fsck, lithify};
use lithify_testkit::{Allow, Field, Kind, Mount, Snapshot, require, run, temp_dir};

fn source(layout: &Path) -> String {
    format!("oci:{}:latest", layout.display())
}

/// The fixture and what umoci makes of it.
fn unpacked(name: &str, dir: &Path) -> Option<(PathBuf, Snapshot)> {
    if !require::root() || !require::tool("umoci") {
        return None;
    }
    let layout = require::fixture(name)?;
    let bundle = dir.join("bundle");
    run::ok(
        run::command("umoci")
            .arg("unpack")
            .arg("--image")
            .arg(format!("{}:latest", layout.display()))
            .arg(&bundle),
    );
    Some((layout, Snapshot::of(&bundle.join("rootfs"))))
}

#[test]
fn the_mounted_erofs_image_equals_umoci() {
    let tmp = temp_dir();
    let Some((layout, umoci)) = unpacked("debian", tmp.path()) else {
        return;
    };
    if !require::kernel_erofs() || !require::tool("fsck.erofs") {
        return;
    }
    let out = tmp.path().join("x.erofs");
    build(&source(&layout), "erofs", &out);
    fsck(&out);
    run::ok(lithify().arg("verify").arg(&out));
    Snapshot::of(Mount::erofs(&out).path()).assert_same(&umoci, &Allow::nothing());
}

#[test]
fn the_directory_equals_umoci() {
    let tmp = temp_dir();
    let Some((layout, umoci)) = unpacked("debian", tmp.path()) else {
        return;
    };
    let out = tmp.path().join("dir");
    build(&source(&layout), "dir", &out);
    Snapshot::of(&out).assert_same(&umoci, &Allow::nothing());
}

#[test]
fn the_unpacked_tar_equals_umoci() {
    let tmp = temp_dir();
    let Some((layout, umoci)) = unpacked("debian", tmp.path()) else {
        return;
    };
    let (tar, out) = (tmp.path().join("x.tar"), tmp.path().join("untarred"));
    build(&source(&layout), "tar", &tar);
    std::fs::create_dir(&out).expect("a directory");
    let mut command = run::command("tar");
    command.args([
        "--extract",
        "--numeric-owner",
        "--same-permissions",
        "--xattrs",
        "--xattrs-include=*",
        "--file",
    ]);
    run::ok(command.arg(&tar).arg("--directory").arg(&out));
    Snapshot::of(&out).assert_same(&umoci, &Allow::nothing());
}

#[test]
fn every_packaging_of_the_image_gives_the_same_bytes() {
    if require::fixture("debian").is_none() {
        return;
    }
    let tmp = temp_dir();
    let fixture = |name: &str| require::fixtures_dir().join(name).display().to_string();
    let expected = tmp.path().join("expected");
    build(&format!("oci:{}", fixture("debian")), "erofs", &expected);
    let expected = std::fs::read(expected).expect("an image");
    for source in [
        format!("oci:{}", fixture("debian-zstd")),
        format!("oci:{}", fixture("debian-plain")),
        format!("oci:{}", fixture("debian-members")),
        format!("oci-archive:{}", fixture("debian.oci.tar")),
        format!("docker-archive:{}", fixture("debian.docker.tar")),
    ] {
        let out = tmp.path().join("x.erofs");
        build(&source, "erofs", &out);
        assert!(
            std::fs::read(&out).expect("an image") == expected,
            "{source} differs"
        );
    }
}

#[test]
fn a_directory_as_source_comes_back_as_it_was() {
    let tmp = temp_dir();
    let Some((_, umoci)) = unpacked("debian", tmp.path()) else {
        return;
    };
    if !require::kernel_erofs() {
        return;
    }
    let out = tmp.path().join("x.erofs");
    build(
        &format!("rootfs:{}", tmp.path().join("bundle/rootfs").display()),
        "erofs",
        &out,
    );
    fsck(&out);
    Snapshot::of(Mount::erofs(&out).path()).assert_same(&umoci, &Allow::nothing());
}

/// umoci 0.4.7 refuses GNU tar's own sparse entries, so GNU tar itself says what is right.
#[test]
fn sparse_files_of_every_format_equal_gnu_tar() {
    if !require::kernel_erofs() || !require::tool("tar") {
        return;
    }
    let (Some(layout), Some(tars)) = (
        require::fixture("sparse"),
        require::fixture("sparse-layers"),
    ) else {
        return;
    };
    let tmp = temp_dir();
    let untarred = tmp.path().join("untarred");
    std::fs::create_dir(&untarred).expect("a directory");
    for name in crate::common::names(&tars) {
        let mut command = run::command("tar");
        command.args([
            "--extract",
            "--numeric-owner",
            "--same-permissions",
            "--file",
        ]);
        run::ok(
            command
                .arg(tars.join(name))
                .arg("--directory")
                .arg(&untarred),
        );
    }
    let expected = Snapshot::of(&untarred);
    let implicit = || {
        Allow::nothing().also(
            "GNU tar gives directories that no entry describes the time of day",
            |d| d.field == Field::Mtime && (d.path.is_empty() || d.path == b"opt"),
        )
    };
    let (out, directory) = (tmp.path().join("x.erofs"), tmp.path().join("dir"));
    build(&source(&layout), "erofs", &out);
    fsck(&out);
    Snapshot::of(Mount::erofs(&out).path()).assert_same(&expected, &implicit());
    build(&source(&layout), "dir", &directory);
    Snapshot::of(&directory).assert_same(&expected, &implicit());
    // Holes stay holes.
    let data: u64 = expected
        .nodes
        .values()
        .map(|n| match &n.kind {
            Kind::File { size, .. } => *size,
            _ => 0,
        })
        .sum();
    assert!(std::fs::metadata(&out).expect("an image").len() < data / 4);
}
