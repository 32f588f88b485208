//! Images into artifacts.

mod compression; // how data is compressed
mod containerd; // a cache containerd reads
mod directory; // a directory of this host
mod disks; // disks for virtual machines
pub(crate) mod filesystem; // image files of any kind
mod flat; // one image file
mod format_name; // what names of outputs say
pub(crate) mod fsmeta; // the merged image over layers
pub(crate) mod layered; // a directory of images
pub(crate) mod layers; // images of layers
mod published; // images others made
mod survey; // builds that are not done
pub(crate) mod tar; // one tar
pub(crate) mod verity; // hash trees
pub(crate) mod xattrs; // attributes left out

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, digest_of};

use crate::decode::LayerSummary;
use crate::depot::{StoreChoice, WRITER_VERSION};
use crate::description::{Artifact, Description, LeftOut, Stack};
use crate::error::{BuildError, OutputError};
use crate::{CancelToken, Error, Image, ReadOptions};
use filesystem::{Filesystem, Kind, Placement};

pub use compression::{Compression, CompressionAlgorithm, UnknownCompression};
pub use disks::{DiskKind, UnknownDisk};
pub(crate) use flat::write as write_flat;
pub use format_name::FormatNameError;
pub(crate) use layers::layer_ids;
pub use published::{Artifacts, UnknownArtifacts};
pub use survey::plan_build;

/// What to make of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One EROFS image with the merged filesystem.
    #[default]
    Erofs,
    /// One squashfs image with the merged filesystem.
    Squashfs,
    /// A directory: an EROFS image per layer, a merged image that refers to their data, disks of all.
    ErofsLayers,
    /// A directory with a squashfs image per layer.
    SquashfsLayers,
    /// EROFS images of layers, where containerd's snapshotter looks for them.
    ContainerdCache,
    /// A directory with the merged filesystem.
    Directory,
    /// One tar with the merged filesystem, in sorted order.
    Tar,
}

impl Format {
    /// The name of the format on the command line and in descriptions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::ErofsLayers => "erofs-layers",
            Self::SquashfsLayers => "squashfs-layers",
            Self::ContainerdCache => "containerd-cache",
            Self::Directory => "dir",
            Self::Tar => "tar",
        }
    }
}

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
    /// How file data is compressed in image files. Default: not in EROFS, `zstd` in squashfs.
    pub compression: Option<Compression>,
    /// Bytes compressed together at most; the default depends on the filesystem.
    pub block_size: Option<u32>,
    /// Append a dm-verity hash tree to image files.
    pub verity: bool,
    /// Leave out extended attributes the format cannot hold, and count them by name; without, they are an error. squashfs has no
    /// room for POSIX ACLs, neither it nor EROFS for namespaces Linux does not have; a tar and a directory hold all.
    pub drop_xattrs: bool,
    /// Write sparse files into a tar as such, which few programs read; without, their holes are zeros, which take space and
    /// count for the limit `tar_bytes`.
    pub sparse: bool,
    /// Disks to make of an EROFS image per layer. Default: a VMDK.
    pub disks: Vec<DiskKind>,
    /// Where the images start on such a disk: at multiples of so many bytes, a power of two. Default 4096.
    pub alignment: u64,
    /// Put layers into a containerd cache too that are right only over the lower layers of this image: for a node that
    /// runs no other image, since containerd gives them to every image that has them. Default false.
    pub one_image: bool,
    /// Whether to take the image file where someone published it, beside the image. Only for one image file.
    pub artifacts: Artifacts,
    /// Where images of layers are kept and looked for.
    pub store: StoreChoice,
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
            disks: vec![DiskKind::Vmdk],
            alignment: lithify_erofs::BLOCK_SIZE as u64,
            one_image: false,
            artifacts: Artifacts::default(),
            store: StoreChoice::default(),
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
        if self.alignment != Self::default().alignment {
            add(format!("alignment={}", self.alignment));
        }
        name
    }

    /// Refuses what the format has no use for.
    fn check(&self) -> Result<(), Error> {
        let default = Self::default();
        let is_image = !matches!(self.format, Format::Directory | Format::Tar);
        let is_flat = matches!(self.format, Format::Erofs | Format::Squashfs);
        let has_disks = self.format == Format::ErofsLayers;
        let unused = [
            ("compression", self.compression.is_some() && !is_image),
            ("a block size", self.block_size.is_some() && !is_image),
            ("verity", self.verity && !is_image),
            ("sparse", self.sparse && self.format != Format::Tar),
            (
                "an alignment",
                self.alignment != default.alignment && !has_disks,
            ),
            (
                "taking artifacts",
                self.artifacts != Artifacts::Ignore && !is_flat,
            ),
            ("disks", self.disks != default.disks && !has_disks),
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
        if !self.alignment.is_power_of_two() || !(4096..=1 << 30).contains(&self.alignment) {
            return Err(Error::from(BuildError::Alignment {
                found: self.alignment,
            }));
        }
        Ok(())
    }
}

/// What each target's builder returns.
#[derive(Debug, Default)]
pub(crate) struct BuildResult {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) summaries: Vec<LayerSummary>,
    pub(crate) stack: Option<Stack>,
    /// How many artifacts were made, and how many found in the store.
    pub(crate) counts: Option<(u64, u64)>,
    /// Layers that were not put where the others are.
    pub(crate) left_out: Vec<LeftOut>,
}

impl From<(Artifact, Vec<LayerSummary>)> for BuildResult {
    fn from((artifact, summaries): (Artifact, Vec<LayerSummary>)) -> Self {
        Self {
            artifacts: vec![artifact],
            summaries,
            ..Self::default()
        }
    }
}

type Built = Result<BuildResult, Error>;

/// Builds an artifact. It exists complete when this returns, or not at all.
///
/// The returned description holds the image's own facts, what was found out about each layer, and the artifact.
///
/// # Errors
/// Any [`Error`]; [`Error::is_verification`] tells those that mean the image is not what it claims to be.
pub fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    read: &ReadOptions,
) -> Result<Description, Error> {
    build_any(image, output, options, read).map_err(|e| read.reason(e))
}

fn build_any(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    read: &ReadOptions,
) -> Result<Description, Error> {
    options.check()?;
    let read = &xattrs::reading(read, options.drop_xattrs);
    let flat = |kind| {
        let filesystem = Filesystem::new(kind, Placement::Packed, options)?;
        if let Some(taken) = published::take(image, kind, output, options, read)? {
            return Ok(taken);
        }
        flat::build(image, &filesystem, output, options, read)
    };
    let result = match options.format {
        Format::Erofs => flat(Kind::Erofs)?,
        Format::Squashfs => flat(Kind::Squashfs)?,
        Format::ErofsLayers => layered::build(image, Kind::Erofs, output, options, read)?,
        Format::SquashfsLayers => layered::build(image, Kind::Squashfs, output, options, read)?,
        Format::ContainerdCache => containerd::build(image, output, options, read)?,
        Format::Directory => directory::build(image, output, options, read)?,
        Format::Tar => tar::build(image, output, options, read)?,
    };
    let mut description = image.describe();
    describe_layers(&mut description, &result.summaries);
    description.artifacts = result.artifacts;
    description.stack = result.stack;
    description.left_out = result.left_out;
    if let Some((built, reused)) = result.counts {
        description.built = Some(built);
        description.reused = Some(reused);
    }
    Ok(description)
}

/// Adds what decoding the layers found out.
fn describe_layers(description: &mut Description, summaries: &[LayerSummary]) {
    for (layer, summary) in description.layers.iter_mut().zip(summaries) {
        layer
            .diff_id
            .get_or_insert_with(|| summary.diff_id.to_string());
        layer.tar_size = Some(summary.tar_bytes);
        layer.entries = Some(summary.entries);
        layer.recorded = summary.recorded.as_ref().map(Into::into);
    }
}

/// The artifact's description without what only the target knows.
fn artifact(format: Format, path: &str) -> Artifact {
    Artifact {
        path: path.to_owned(),
        format: format.name().to_owned(),
        options: BTreeMap::new(),
        writer_version: WRITER_VERSION.to_owned(),
        ..Artifact::default()
    }
}

/// Options by name, those that are given.
fn artifact_options<const N: usize>(
    options: [(&str, Option<String>); N],
) -> BTreeMap<String, String> {
    let given = options.into_iter();
    given
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// The path of an output that has one.
fn output_path(output: &Output, format: Format) -> Result<&Path, Error> {
    match output {
        Output::Path(path) => Ok(path),
        Output::Stdout => Err(Error::from(OutputError::Destination {
            format: format.name(),
            destination: "standard output; name a file with -o",
        })),
    }
}

/// SHA-256 of a file from where it stands, as hexadecimal digits, as long as the work goes on.
pub(crate) fn file_sha256(path: &Path, file: &File, cancel: &CancelToken) -> Result<String, Error> {
    match digest_of(&mut Checked::new(file, cancel), Algorithm::Sha256) {
        Ok((digest, _)) => Ok(digest.hex()),
        Err(e) => Err(Error::input(path, e)),
    }
}
