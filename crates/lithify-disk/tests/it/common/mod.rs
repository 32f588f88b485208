//! Parts in a directory.
#![allow(unreachable_pub, reason = "shared by test programs")]

use std::fs::File;
use std::path::{Path, PathBuf};

use lithify_disk::Part;
use lithify_disk::vmdk::{CompanionContent, Vmdk};
use lithify_testkit::temp_dir;
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;

/// Bytes without a pattern.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Files that are parts.
#[derive(Debug)]
pub struct Set {
    dir: TempDir,
    parts: Vec<Part>,
}

impl Set {
    pub fn new() -> Self {
        Self {
            dir: temp_dir(),
            parts: Vec::new(),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn parts(&self) -> Vec<Part> {
        self.parts.clone()
    }

    pub fn add(&mut self, path: &str, bytes: &[u8]) -> PathBuf {
        let file = self.dir().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
        self.push(path, bytes.len() as u64);
        file
    }

    pub fn add_hole(&mut self, path: &str, size: u64) -> PathBuf {
        let file = self.dir().join(path);
        File::create_new(&file).unwrap().set_len(size).unwrap();
        self.push(path, size);
        file
    }

    fn push(&mut self, path: &str, size: u64) {
        self.parts.push(Part {
            path: path.into(),
            size,
            name: path.into(),
            identity: path.into(),
        });
    }
}

pub fn open_all(set: &Set) -> Vec<File> {
    let parts = set.parts();
    let files = parts
        .iter()
        .map(|part| File::open(set.dir().join(&part.path)));
    files.collect::<Result<_, _>>().unwrap()
}

pub fn write_companions(dir: &Path, vmdk: &Vmdk) {
    for companion in &vmdk.companions {
        let path = dir.join(&companion.path);
        match &companion.content {
            CompanionContent::Bytes(bytes) => std::fs::write(path, bytes).unwrap(),
            CompanionContent::Zeros(length) => {
                File::create(path).unwrap().set_len(*length).unwrap()
            }
        }
    }
}
