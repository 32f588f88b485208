//! Seeds that `lithify` and other programs make: images of filesystems, records of a store.

use std::path::{Path, PathBuf};

use lithify_erofs::CompressionMethod;
use lithify_testkit::require;

use super::seeds;
use crate::{fixtures, sh};
use xtask::error::{At as _, Error};

/// EROFS images: flat, compressed, of a layer, merged; and what `mkfs.erofs` makes.
pub(super) fn erofs() -> Result<Vec<Vec<u8>>, Error> {
    let workshop = Workshop::open()?;
    workshop.build("hello", &["-o", "hello.erofs"])?;
    workshop.build(
        "hello",
        &["-f", "erofs-layers", "--store", "store", "-o", "layers"],
    )?;
    if require::find_tool("mkfs.erofs").is_some() {
        for (n, options) in [
            &["-T0"][..],
            &["-T1", "-E^inline_data"],
            &["-x-1"],
            &["--chunksize=4096"],
            &["-zlz4"],
            &["-zlz4hc", "-C16384", "-Elegacy-compress"],
            &["-zlz4", "-Eztailpacking"],
        ]
        .iter()
        .enumerate()
        {
            let (image, root) = (format!("theirs-{n}.erofs"), "root");
            sh::output(
                sh::command("mkfs.erofs", *options)
                    .args([&image, root])
                    .current_dir(workshop.dir()),
            )?;
        }
    }
    let mut images = workshop.files("erofs")?;
    for method in [CompressionMethod::Lz4, CompressionMethod::Zstd { level: 3 }] {
        for cluster_size in [8192, 65536] {
            images.extend(seeds::compressed(method, cluster_size));
        }
    }
    Ok(images)
}

/// Squashfs images in each compression, and what `mksquashfs` makes.
pub(super) fn squashfs() -> Result<Vec<Vec<u8>>, Error> {
    let workshop = Workshop::open()?;
    workshop.build("hello", &["-f", "squashfs", "-o", "hello.squashfs"])?;
    for compression in ["none", "gzip", "lz4", "xz", "zstd"] {
        let out = format!("{compression}.squashfs");
        workshop.build(
            "root",
            &["-f", "squashfs", "--compress", compression, "-o", &out],
        )?;
    }
    if require::find_tool("mksquashfs").is_some() {
        for (n, options) in [
            &["-comp", "zstd"][..],
            &["-noI", "-noD", "-noF", "-noX"],
            &["-no-fragments", "-b", "4096"],
        ]
        .iter()
        .enumerate()
        {
            let mut mksquashfs = sh::command("mksquashfs", ["root"]);
            mksquashfs
                .arg(format!("theirs-{n}.squashfs"))
                .args(*options);
            sh::output(
                mksquashfs
                    .args(["-quiet", "-no-progress"])
                    .current_dir(workshop.dir()),
            )?;
        }
    }
    workshop.files("squashfs")
}

/// Records of a store without their seals, which the target makes anew.
pub(super) fn records() -> Result<Vec<Vec<u8>>, Error> {
    let workshop = Workshop::open()?;
    for format in ["erofs-layers", "squashfs-layers"] {
        workshop.build("hello", &["-f", format, "--store", "store", "-o", format])?;
    }
    let mut seeds = workshop.files("json")?;
    for seed in &mut seeds {
        let text = String::from_utf8_lossy(seed);
        let record = text.strip_prefix("{\"record\":");
        if let Some((record, _seal)) = record.and_then(|rest| rest.rsplit_once(",\"sha256\":")) {
            *seed = record.into();
        }
    }
    Ok(seeds)
}

/// A directory to make images in. Its `root` has a file of most kinds.
struct Workshop {
    scratch: tempfile::TempDir,
}

impl Workshop {
    fn open() -> Result<Self, Error> {
        let scratch = lithify_testkit::temp_dir();
        fixtures::small_tree(&scratch.path().join("root"))?;
        Ok(Self { scratch })
    }

    fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Builds `hello` (the example image) or `root`. A build that fails is a seed less.
    fn build(&self, source: &str, options: &[&str]) -> Result<(), Error> {
        let mut cargo = sh::cargo(["run", "--quiet", "--release", "--package", "lithify-cli"]);
        cargo
            .arg("--manifest-path")
            .arg(sh::root().join("Cargo.toml"));
        cargo.args(["--", "--quiet", "build"]);
        match source {
            "root" => cargo.arg("rootfs:root"),
            _ => cargo.arg(format!(
                "oci:{}:latest",
                sh::root().join("examples/hello").display()
            )),
        };
        match sh::run(cargo.args(options).current_dir(self.dir())) {
            Err(error @ Error::Failed { .. }) => eprintln!("a seed less: {error}"),
            other => other?,
        }
        Ok(())
    }

    /// The contents of all files of this extension, in the order of their paths.
    fn files(&self, extension: &str) -> Result<Vec<Vec<u8>>, Error> {
        let mut paths = Vec::new();
        find(self.dir(), extension, &mut paths)?;
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).at("read", path))
            .collect()
    }
}

fn find(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        let path = entry.path();
        if entry.file_type().at("look at", &path)?.is_dir() {
            find(&path, extension, found)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    Ok(())
}
