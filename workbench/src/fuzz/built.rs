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

/// Small ext4 images, ours and those of `mke2fs`, some with something in their journals. Behind each the target has a byte of its own.
pub(super) fn ext4() -> Result<Vec<Vec<u8>>, Error> {
    let workshop = Workshop::open()?;
    let journal = workshop.dir().join("root/journal");
    std::fs::write(&journal, log()).at("write", &journal)?;
    for (n, options) in [&["--block-size", "1k"][..], &["--block-size", "2k"]]
        .iter()
        .enumerate()
    {
        let out = format!("ours-{n}.ext4");
        let all = ["-f", "ext4", "--journal", "none", "--size", "250k"];
        let more = ["--inodes", "330", "-o", &out];
        workshop.build("root", &[&all, *options, &more].concat())?;
    }
    if require::find_tool("mke2fs").is_some() {
        // Of options that are there twice the last counts.
        for (n, options) in [
            &[][..],
            &["-O", "^metadata_csum,uninit_bg"],
            &["-O", "^extent,^64bit"],
            &["-O", "inline_data,ea_inode"],
            &["-O", "bigalloc,^resize_inode", "-C", "2048"],
            &["-O", "large_dir", "-g", "256"],
            &["-O", "meta_bg,^resize_inode,quota"],
            &["-I", "128"],
            &["-t", "ext2"],
        ]
        .iter()
        .enumerate()
        {
            let image = format!("theirs-{n}.ext4");
            let mut mke2fs = sh::command("mke2fs", ["-q", "-F", "-b", "1024", "-N", "400"]);
            if !options.contains(&"-t") {
                mke2fs.args(["-t", "ext4", "-O", "^has_journal"]);
            }
            mke2fs.args(["-d", "root"]).args(*options);
            sh::output(mke2fs.args([&image, "250"]).current_dir(workshop.dir()))?;
        }
    }
    let mut images = workshop.files("ext4")?;
    let journals = images
        .iter()
        .take(1)
        .flat_map(|image| (0..8_u8).map(|file| [&image[..], &[2 + 4 * file]].concat()));
    let journals: Vec<_> = journals.collect();
    for (n, image) in images.iter_mut().enumerate() {
        image.push(n as u8 % 2);
    }
    images.extend(journals);
    Ok(images)
}

/// A journal of eight blocks with a transaction that changes a block and revokes another.
fn log() -> Vec<u8> {
    let block = |words: &[u32]| {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.resize(1024, 0);
        bytes
    };
    const MAGIC: u32 = 0xc03b_3998;
    // Blocks of 1024 bytes, eight of them, the log from 1 on; it begins there with transaction 1; revoked blocks are known.
    let superblock = [MAGIC, 4, 0, 1024, 8, 1, 1, 1, 0, 0, 1];
    // A tag of the last block in a list, with the same identifier.
    let list = [MAGIC, 1, 1, 200, 8 | 2];
    let revoked = [MAGIC, 5, 1, 20, 201];
    let commit = [MAGIC, 2, 1];
    [
        &superblock[..],
        &list,
        &[0x6e65_7720],
        &revoked,
        &commit,
        &[],
        &[],
        &[],
    ]
    .map(block)
    .concat()
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
