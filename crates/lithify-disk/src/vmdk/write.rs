//! Descriptors as they become.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::error::WriteError;
use super::path::{self, PathRule};
use super::{CREATE_TYPE, DESCRIPTOR_MAX, NO_PARENT, SIGNATURE};
use crate::disk::{Content, Disk};
use crate::{SECTOR, identity};

/// Largest extent in bytes.
const EXTENT_MAX: u64 = 1 << 31;

/// Sectors per track and heads of the made-up geometry: 63 and 16, the most an IDE disk has.
const TRACK: u64 = 63;
const HEADS: u64 = 16;

/// Options of [`Disk::vmdk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmdkOptions {
    /// Which files may be named.
    pub paths: PathRule,
    /// Largest extent in bytes, a multiple of 512, at most 2 GiB.
    pub extent_max: u64,
    /// Start of the paths of companion files, such as `disk` for `disk.head.img`.
    pub companions: PathBuf,
}

impl Default for VmdkOptions {
    fn default() -> Self {
        Self {
            paths: PathRule::Below,
            extent_max: EXTENT_MAX,
            companions: "disk".into(),
        }
    }
}

/// What a companion file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompanionContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// That many zero bytes; a hole will do.
    Zeros(u64),
}

/// A file a descriptor needs beside the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Where it has to be, relative to the descriptor.
    pub path: PathBuf,
    /// What it has to hold.
    pub content: CompanionContent,
}

/// A descriptor and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmdk {
    /// The descriptor file's text.
    pub descriptor: String,
    /// Files to be written beside it: a partition table's two halves; zeros for gaps (all gaps share one file, as QEMU
    /// does not know extents of zeros and skips them, which moves all that follows).
    pub companions: Vec<Companion>,
    /// Content ID, derived from the parts. Never one of the two values that mean "none".
    pub cid: u32,
}

impl Disk {
    /// The disk as a VMDK descriptor over the parts' files.
    ///
    /// # Errors
    /// Paths that cannot stand in a descriptor, or a text longer than QEMU reads (over ten thousand extents).
    pub fn vmdk(&self, options: &VmdkOptions) -> Result<Vmdk, WriteError> {
        let extent_max = options.extent_max;
        if !(SECTOR..=EXTENT_MAX).contains(&extent_max) || !extent_max.is_multiple_of(SECTOR) {
            return Err(WriteError::ExtentMax { found: extent_max });
        }
        let mut companions = Companions::new(&options.companions);
        let mut extents = String::new();
        for piece in self.pieces() {
            let (path, repeats) = match &piece.content {
                Content::Part(part) => (self.parts()[*part].path.clone(), false),
                Content::Zeros => (companions.zeros(piece.length.min(extent_max)), true),
                Content::Bytes(bytes) => (companions.bytes(bytes), false),
            };
            let text = path::to_text(&path, options.paths)
                .map_err(|problem| WriteError::Path { path, problem })?;
            let mut offset = 0;
            while offset < piece.length {
                let length = (piece.length - offset).min(extent_max);
                let start = if repeats { 0 } else { offset / SECTOR };
                line(
                    &mut extents,
                    format_args!("RW {} FLAT \"{text}\" {start}", length / SECTOR),
                );
                // Checked here as well, so that memory stays bounded however many extents there would be.
                if extents.len() > DESCRIPTOR_MAX {
                    return Err(WriteError::TooLarge {
                        found: extents.len(),
                    });
                }
                offset += length;
            }
        }
        let cid = self.content_id();
        let descriptor = text(cid, &extents, self.size());
        if descriptor.len() > DESCRIPTOR_MAX {
            return Err(WriteError::TooLarge {
                found: descriptor.len(),
            });
        }
        Ok(Vmdk {
            descriptor,
            companions: companions.files,
            cid,
        })
    }

    fn content_id(&self) -> u32 {
        let offsets: Vec<u64> = self.pieces().iter().map(|piece| piece.offset).collect();
        let digest = identity::digest("VMDK content", &offsets, self.parts());
        let candidates = digest
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        // ffffffff is "no parent", fffffffe what writers use that have no content ID; 0 is better avoided too.
        candidates
            .into_iter()
            .find(|&cid| cid != 0 && cid < 0xffff_fffe)
            .unwrap_or(1)
    }
}

fn text(cid: u32, extents: &str, size: u64) -> String {
    let cylinders = (size / SECTOR).div_ceil(TRACK * HEADS);
    format!(
        "{SIGNATURE}
version=1
CID={cid:08x}
parentCID={NO_PARENT:08x}
createType=\"{CREATE_TYPE}\"

# Extent description
{extents}
# The Disk Data Base
#DDB

ddb.virtualHWVersion = \"4\"
ddb.geometry.cylinders = \"{cylinders}\"
ddb.geometry.heads = \"{HEADS}\"
ddb.geometry.sectors = \"{TRACK}\"
ddb.adapterType = \"ide\"
"
    )
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    if text.write_fmt(arguments).is_ok() {
        text.push('\n');
    }
}

/// Companion files, as they are found to be needed.
struct Companions<'a> {
    start: &'a Path,
    files: Vec<Companion>,
}

impl<'a> Companions<'a> {
    fn new(start: &'a Path) -> Self {
        Self {
            start,
            files: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let mut path = self.start.as_os_str().to_owned();
        path.push(name);
        path.into()
    }

    /// The file of zeros, with at least `length` of them.
    fn zeros(&mut self, length: u64) -> PathBuf {
        let path = self.path(".zero.img");
        let zeros = self
            .files
            .iter_mut()
            .find_map(|file| match &mut file.content {
                CompanionContent::Zeros(zeros) => Some(zeros),
                CompanionContent::Bytes(_) => None,
            });
        match zeros {
            Some(zeros) => *zeros = length.max(*zeros),
            None => self.files.push(Companion {
                path: path.clone(),
                content: CompanionContent::Zeros(length),
            }),
        }
        path
    }

    /// A new file: the first is at the disk's start, another at its end.
    fn bytes(&mut self, bytes: &[u8]) -> PathBuf {
        let first = !self
            .files
            .iter()
            .any(|file| matches!(file.content, CompanionContent::Bytes(_)));
        let path = self.path(if first { ".head.img" } else { ".tail.img" });
        self.files.push(Companion {
            path: path.clone(),
            content: CompanionContent::Bytes(bytes.to_vec()),
        });
        path
    }
}
