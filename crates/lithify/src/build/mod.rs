//! Images into artifacts.

mod directory;
mod erofs;
mod tar;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lithify_digest::{Algorithm, Hasher};

use crate::decode::LayerSummary;
use crate::description::{Artifact, Description};
use crate::{Error, Image, ReadOptions};

/// What to make of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One EROFS image with the merged filesystem.
    #[default]
    Erofs,
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
            Self::Directory => "dir",
            Self::Tar => "tar",
        }
    }
}

/// Where an artifact goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// A path. A regular file there is replaced, once the new one is complete; a directory must be empty or missing.
    Path(PathBuf),
    /// Standard output; formats that are written front to back only.
    Stdout,
}

/// How an artifact is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildOptions {
    /// The format.
    pub format: Format,
    /// Wait until the artifact is on the disk, so that it survives a power cut. Default true.
    pub durable: bool,
    /// Compute the artifact's own SHA-256. Default false.
    pub digest: bool,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            durable: true,
            digest: false,
        }
    }
}

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
    let (artifact, summaries) = match options.format {
        Format::Erofs => erofs::build(image, output, options, read)?,
        Format::Directory => directory::build(image, output, options, read)?,
        Format::Tar => tar::build(image, output, options, read)?,
    };
    let mut description = image.describe();
    for (layer, summary) in description.layers.iter_mut().zip(summaries) {
        layer
            .diff_id
            .get_or_insert_with(|| summary.diff_id.to_string());
        layer.tar_size = Some(summary.tar_bytes);
        layer.entries = Some(summary.entries);
    }
    description.artifacts.push(artifact);
    Ok(description)
}

/// What each target's builder returns.
pub(crate) use erofs::write as write_erofs;

type Built = Result<(Artifact, Vec<LayerSummary>), Error>;

/// The artifact's description without what only the target knows.
fn artifact(format: Format, path: &str) -> Artifact {
    Artifact {
        path: path.to_owned(),
        format: format.name().to_owned(),
        options: BTreeMap::new(),
        writer_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Artifact::default()
    }
}

/// The path of an output that has one.
fn output_path(output: &Output, format: Format) -> Result<&Path, Error> {
    match output {
        Output::Path(path) => Ok(path),
        Output::Stdout => Err(Error::Destination {
            format: format.name(),
            destination: "standard output; name a file with -o",
        }),
    }
}

/// SHA-256 of a whole file, as hexadecimal digits.
fn file_sha256(path: &Path, file: &File) -> Result<String, Error> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    let mut file = file;
    loop {
        let read = file.read(&mut buffer).map_err(|e| Error::input(path, e))?;
        if read == 0 {
            return Ok(hasher.finish().hex());
        }
        hasher.update(&buffer[..read]);
    }
}
