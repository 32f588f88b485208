//! How artifacts are made, and where they go.

use std::path::PathBuf;

use lithify_disk::SECTOR;

use crate::Error;
use crate::error::BuildError;
use crate::fs::Compression;
use crate::fs::FsOptions;
use crate::fs::Kind;
use crate::fs::VolumeOptions;
use crate::make::disk_kind::DiskKind;
use crate::make::format::{Format, Shape};
use crate::make::wanted::Artifacts;
use crate::repository::ComposefsProfile;

/// Where an artifact goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// A path. A regular file there is replaced, once the new one is complete; a directory must be empty, missing or
    /// the output of an earlier build.
    Path(PathBuf),
    /// Standard output; formats that are written front to back only.
    Stdout,
}

/// How an artifact is made. What a format has no use for is refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildOptions {
    /// The format.
    pub format: Format,
    /// How file data is compressed in image files, or a cpio archive as a whole (`gzip`, `zstd`). Default: not in EROFS and
    /// cpio archives, `zstd` in squashfs.
    pub compression: Option<Compression>,
    /// Bytes compressed together at most; the default depends on the filesystem.
    pub block_size: Option<u32>,
    /// Append a dm-verity hash tree to image files.
    pub verity: bool,
    /// Leave out extended attributes the format cannot hold, and count them by name; without, they are an error. squashfs has no
    /// room for POSIX ACLs, neither it nor EROFS nor ext4 for namespaces Linux does not have, a cpio archive for any attribute; a tar and a
    /// directory hold all.
    pub drop_xattrs: bool,
    /// Write sparse files into a tar as such, which few programs read; without, their holes are zeros, which take space and
    /// count for the limit `tar_bytes`.
    pub sparse: bool,
    /// Disks to make of an EROFS image per layer, by default a VMDK; or the disk a writable filesystem is on, by default
    /// none but itself.
    pub disks: Option<Vec<DiskKind>>,
    /// Where the images start on such a disk: at multiples of so many bytes, a power of two. Default 4096.
    pub alignment: u64,
    /// Put layers into a containerd cache too that are right only over the lower layers of this image: for a node that
    /// runs no other image, since containerd gives them to every image that has them. Default false.
    pub one_image: bool,
    /// What is decided for a writable filesystem.
    pub volume: VolumeOptions,
    /// The rules by which a composefs image is made of the filesystem.
    pub profile: ComposefsProfile,
    /// Whether to take the image file where someone published it, beside the image. Only for one image file.
    pub artifacts: Artifacts,
    /// Wait until the artifact is on the disk, so that it survives a power cut. Default true.
    pub durable: bool,
    /// Compute the SHA-256 of artifacts of one file. Default false; others always have it.
    pub digest: bool,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            compression: None,
            block_size: None,
            verity: false,
            drop_xattrs: false,
            sparse: false,
            disks: None,
            alignment: lithify_erofs::BLOCK_SIZE as u64,
            one_image: false,
            volume: VolumeOptions::default(),
            profile: ComposefsProfile::default(),
            artifacts: Artifacts::default(),
            durable: true,
            digest: false,
        }
    }
}

impl BuildOptions {
    /// What the image's record in the store calls the target: the format, and what is not at its default.
    pub(crate) fn target_name(&self) -> String {
        let mut name = self.format.name().to_owned();
        let mut add = |text: String| {
            name.push(' ');
            name.push_str(&text);
        };
        if let Some(compression) = self.compression {
            add(format!("compression={compression}"));
        }
        if let Some(size) = self.block_size {
            add(format!("block_size={size}"));
        }
        if self.verity {
            add("verity".to_owned());
        }
        if self.drop_xattrs {
            add("drop_xattrs".to_owned());
        }
        if self.sparse {
            add("sparse".to_owned());
        }
        for (option, value) in self.volume.given() {
            add(format!("{option}={value}"));
        }
        if let Some(disk) = self.disk_of_volume() {
            add(format!("disk={disk}"));
        }
        if self.alignment != Self::default().alignment {
            add(format!("alignment={}", self.alignment));
        }
        name
    }

    /// Returns the disks made of an EROFS image per layer.
    pub(super) fn disks_of_layers(&self) -> &[DiskKind] {
        self.disks.as_deref().unwrap_or(&[DiskKind::Vmdk])
    }

    /// Returns the disk a writable filesystem is on, if that is more than itself.
    pub(super) fn disk_of_volume(&self) -> Option<DiskKind> {
        let disks = self.disks.as_deref().unwrap_or_default();
        let disk = disks.first().copied();
        disk.filter(|disk| {
            self.format.shape().kind().is_some_and(Kind::is_volume) && *disk != DiskKind::Raw
        })
    }

    /// Returns the options an image file is written with.
    pub(crate) fn filesystem(&self) -> FsOptions {
        FsOptions {
            compression: self.compression,
            block_size: self.block_size,
            drop_xattrs: self.drop_xattrs,
            volume: self.volume.clone(),
        }
    }

    /// Refuses what the format has no use for.
    pub(super) fn check(&self) -> Result<(), Error> {
        let default = Self::default();
        let shape = self.format.shape();
        let is_image = shape.kind().is_some();
        let is_compressed = is_image || shape == Shape::Cpio;
        let is_volume = shape.kind().is_some_and(Kind::is_volume);
        // What is written to is not published.
        let is_published = matches!(shape, Shape::Image(_)) && !is_volume;
        let has_disks = self.format == Format::ErofsLayers;
        let unused = [
            ("compression", self.compression.is_some() && !is_compressed),
            ("a block size", self.block_size.is_some() && !is_image),
            ("verity", self.verity && !is_image),
            ("sparse", self.sparse && self.format != Format::Tar),
            (
                "an alignment",
                self.alignment != default.alignment
                    && !has_disks
                    && self.disk_of_volume() != Some(DiskKind::Gpt),
            ),
            (
                "taking artifacts",
                self.artifacts != Artifacts::Ignore && !is_published,
            ),
            (
                "a size, free space, inodes, a journal or a label",
                self.volume != default.volume && !is_volume,
            ),
            ("disks", self.disks.is_some() && !has_disks && !is_volume),
            (
                "more than one disk",
                self.disks.as_ref().is_some_and(|disks| disks.len() > 1) && is_volume,
            ),
            (
                "verity on a disk",
                self.verity && is_volume && self.disk_of_volume().is_some(),
            ),
            (
                "a profile",
                self.profile != default.profile && self.format != Format::Composefs,
            ),
            (
                "being for one image",
                self.one_image && self.format != Format::ContainerdCache,
            ),
        ];
        if let Some((option, _)) = unused.into_iter().find(|(_, unused)| *unused) {
            return Err(Error::from(BuildError::UnusedOption {
                option,
                format: self.format.name(),
            }));
        }
        if let (Format::Cpio, Some(compression)) = (self.format, self.compression) {
            compression.of_stream()?;
        }
        if !self.alignment.is_power_of_two() || !(4096..=1 << 30).contains(&self.alignment) {
            return Err(Error::from(BuildError::Alignment {
                found: self.alignment,
            }));
        }
        Ok(())
    }

    /// Refuses a size that a filesystem can have and a disk cannot.
    pub(super) fn check_disk_size(&self) -> Result<(), Error> {
        if let (Some(disk), Some(found)) = (self.disk_of_volume(), self.volume.size)
            && !found.is_multiple_of(SECTOR)
        {
            return Err(Error::from(BuildError::DiskSize {
                found,
                disk: disk.name(),
                expected: found
                    .checked_next_multiple_of(SECTOR)
                    .unwrap_or(found - found % SECTOR),
            }));
        }
        Ok(())
    }
}
