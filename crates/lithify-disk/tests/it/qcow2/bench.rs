//! A directory in which `qemu-img` works, and the comparison of what it says with what is read.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use lithify_disk::ReadAt;
use lithify_disk::qcow2::{Extent, ExtentKind, Image, OpenError, OpenOptions, Reference};
use lithify_testkit::{run, temp_dir};
use tempfile::TempDir;

use crate::common::noise;

/// A directory with images.
#[derive(Debug)]
pub(super) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { dir: temp_dir() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `qemu-img` here, with words parted by blanks.
    pub(super) fn img(&self, arguments: &str) -> String {
        run::text(&mut self.command(arguments))
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = run::command("qemu-img");
        command.args(arguments.split_whitespace());
        command.current_dir(self.dir.path());
        command
    }

    /// Runs commands of `qemu-io` on an image, which is opened with these options.
    pub(super) fn io(&self, image: &str, commands: &[&str]) {
        let mut command = run::command("qemu-io");
        command.args(["-f", "qcow2", "-d", "unmap"]);
        for one in commands {
            command.args(["-c", one]);
        }
        let said = run::text(command.arg(image).current_dir(self.dir.path()));
        assert!(!said.contains("failed"), "{commands:?}: {said}");
    }

    /// Writes a raw disk of `size` bytes with noise at some places: offset and length.
    pub(super) fn raw(&self, name: &str, size: u64, places: &[(u64, usize)]) {
        let mut file = File::create(self.path(name)).unwrap();
        file.set_len(size).unwrap();
        for &(offset, length) in places {
            let bytes = noise(offset + size, length);
            lithify_disk::Storage::write_all_at(&mut file, &bytes, offset).unwrap();
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(super) fn open_file(&self, name: &[u8]) -> io::Result<Option<File>> {
        let name = std::str::from_utf8(name).map_err(io::Error::other)?;
        match File::open(self.path(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens an image with the files that it names, as far as they are here.
    pub(super) fn open(&self, name: &str, options: &OpenOptions) -> Result<Image<File>, OpenError> {
        let file = File::open(self.path(name)).unwrap();
        Image::open(file, options, |reference| match reference {
            Reference::Backing { name, .. } => self.open_file(name),
            Reference::DataFile { name, .. } => self.open_file(name.unwrap()),
            other => panic!("{other:?}"),
        })
    }

    /// Reads an image as QEMU does, byte for byte and extent for extent.
    pub(super) fn agrees(&self, name: &str, options: &OpenOptions) -> Vec<Extent> {
        let image = self.open(name, options).unwrap();
        self.img(&format!("convert -f qcow2 -O raw {name} {name}.raw"));
        let expected = self.bytes(&format!("{name}.raw"));
        assert_eq!(image.virtual_size(), expected.len() as u64, "{name}");
        same(&image, &expected);
        self.same_map(name, &image)
    }

    /// Compares extents with `qemu-img map`.
    fn same_map(&self, name: &str, image: &Image<File>) -> Vec<Extent> {
        let map = self.img(&format!("map -f qcow2 --output=json {name}"));
        let map: serde_json::Value = serde_json::from_str(&map).unwrap();
        let extents: Vec<Extent> = image.extents().map(Result::unwrap).collect();
        let mut end = 0;
        for extent in &extents {
            assert_eq!(extent.offset, end);
            assert!(extent.length > 0);
            end += extent.length;
        }
        assert_eq!(end, image.virtual_size());
        for theirs in map.as_array().unwrap() {
            let start = theirs["start"].as_u64().unwrap();
            let end = start + theirs["length"].as_u64().unwrap();
            let theirs_depth = theirs["depth"].as_u64().unwrap() as usize;
            let has_data = theirs["data"].as_bool().unwrap();
            let here = extents
                .iter()
                .filter(|e| e.offset < end && e.offset + e.length > start);
            for ours in here {
                let agree = match ours.kind {
                    ExtentKind::Data { depth } if has_data => depth == theirs_depth,
                    // Holes in the file that has the data, where QEMU looks for them.
                    ExtentKind::Data { depth } => depth == theirs_depth && theirs["zero"] == true,
                    ExtentKind::Zero { depth } if theirs["present"] == true => {
                        !has_data && depth == theirs_depth
                    }
                    // Behind the end of a file, which QEMU counts for the one above it.
                    ExtentKind::Zero { depth } => !has_data && depth == theirs_depth + 1,
                    ExtentKind::Hole => !has_data && theirs["zero"] == true,
                    other => panic!("{other:?}"),
                };
                assert!(agree, "{name}: {ours:?}, but {theirs}");
            }
        }
        extents
    }
}

/// Compares a disk with bytes, read in pieces of many lengths.
pub(super) fn same<R: ReadAt>(image: &Image<R>, expected: &[u8]) {
    let lengths = [512, 70_000, 1, 4096, 1 << 20, 65_536, 333];
    let (mut at, mut turn) = (0, 0);
    let mut piece = Vec::new();
    while at < expected.len() {
        let length = lengths[turn % lengths.len()].min(expected.len() - at);
        piece.resize(length, 0xaa);
        image.read_at(&mut piece, at as u64).unwrap();
        assert!(piece == expected[at..at + length], "{length} at {at}");
        at += length;
        turn += 1;
    }
}

/// The extents of a disk as text: data, zeros and holes with their depths and lengths in KiB.
pub(super) fn shown(extents: &[Extent]) -> String {
    let one = |extent: &Extent| {
        let kib = extent.length as f64 / 1024.0;
        match extent.kind {
            ExtentKind::Data { depth } => format!("data{depth}:{kib}"),
            ExtentKind::Zero { depth } => format!("zero{depth}:{kib}"),
            _ => format!("hole:{kib}"),
        }
    };
    extents.iter().map(one).collect::<Vec<_>>().join(" ")
}
