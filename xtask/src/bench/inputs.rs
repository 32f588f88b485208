//! The images the benchmarks run on.

use std::path::{Path, PathBuf};

use crate::error::{At as _, Error};
use crate::{fixtures, layout};

/// The reference image and parts of it.
#[derive(Debug)]
pub(super) struct Inputs {
    /// The layout of the whole image.
    pub(super) image: PathBuf,
    /// Bytes of all its layers' tars.
    pub(super) image_bytes: u64,
    /// Its layers' blobs, bottom first.
    pub(super) blobs: Vec<PathBuf>,
    /// A layout of its largest layer alone.
    pub(super) layer: PathBuf,
    /// That layer's blob, gzip.
    pub(super) blob: PathBuf,
    /// That layer's tar.
    pub(super) tar: PathBuf,
    /// Bytes of that tar.
    pub(super) tar_bytes: u64,
}

impl Inputs {
    /// Makes what is missing.
    pub(super) fn prepare() -> Result<Self, Error> {
        let image = fixtures::reference()?;
        let tars = fixtures::reference_tars(&image)?;
        let blobs = layout::layer_blobs(&image, "latest")?;
        let mut image_bytes = 0;
        let mut largest = (0, 0);
        for n in 0..blobs.len() {
            let bytes = size(&tars.join(format!("{n}.tar")))?;
            image_bytes += bytes;
            largest = largest.max((bytes, n));
        }
        let (tar_bytes, n) = largest;
        let tar = tars.join(format!("{n}.tar"));
        let layer = fixtures::reference_layer(&blobs[n], &tar)?;
        Ok(Self {
            blob: blobs[n].clone(),
            image,
            image_bytes,
            blobs,
            layer,
            tar,
            tar_bytes,
        })
    }
}

/// Bytes of a file.
pub(super) fn size(path: &Path) -> Result<u64, Error> {
    Ok(std::fs::metadata(path).at("look at", path)?.len())
}
