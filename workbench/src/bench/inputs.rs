//! The images the benchmarks run on.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use lithify_testkit::{Tar, TarEntry};
use tempfile::TempDir;

use super::registry::Registry;
use super::synthetic;
use crate::fixtures;
use crate::layout::{self, Layout, Packing};
use crate::sh;
use xtask::error::{At as _, Error};

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
    /// A layout of an image that has all layers of `image` but the top one.
    pub(super) sibling: PathBuf,
    /// A layout of two layers: many files, then whiteouts of some.
    pub(super) crowd: PathBuf,
    /// The same image with one small layer more.
    pub(super) crowd_more: PathBuf,
    /// An image and its update, where they can be had.
    pub(super) update: Option<Update>,
    /// A registry that has `image`.
    pub(super) registry: Option<Registry>,
    /// Where those made for this run are.
    _scratch: TempDir,
}

/// An image and its update.
#[derive(Debug)]
pub(super) struct Update {
    /// The layout of the old image.
    pub(super) old_image: PathBuf,
    /// The layout of the new one.
    pub(super) new_image: PathBuf,
    /// The old image's blobs, bottom first.
    pub(super) old: Vec<PathBuf>,
    /// The new image's blobs.
    pub(super) new: Vec<PathBuf>,
    /// Bytes of the new image's tars.
    pub(super) tar_bytes: u64,
}

impl Update {
    fn prepare() -> Result<Self, Error> {
        let place = fixtures::updates()?;
        let (old_image, new_image) = (place.join("old"), place.join("new"));
        let new = layout::layer_blobs(&new_image, "latest")?;
        let bytes = new.iter().map(|blob| {
            let text =
                sh::output(sh::command("bash", ["-c", "gzip -dc < \"$0\" | wc -c"]).arg(blob))?;
            Ok(text.trim().parse::<u64>().unwrap_or(0))
        });
        Ok(Self {
            tar_bytes: bytes.sum::<Result<_, Error>>()?,
            old: layout::layer_blobs(&old_image, "latest")?,
            old_image,
            new_image,
            new,
        })
    }
}

/// Entries of the lowest layer of `crowd`.
pub(super) const CROWD: u64 = 100_000;

/// Whiteouts in the layer above.
pub(super) const WHITEOUTS: u64 = 4_000;

impl Inputs {
    /// Makes what is missing, for this run alone in `place`.
    pub(super) fn prepare(place: &Path) -> Result<Self, Error> {
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
        let scratch = tempfile::tempdir_in(place).at("write in", place)?;
        let dir = scratch.path().canonicalize().at("find", scratch.path())?;
        let top = dir.join("top.tar");
        write(&top, small)?;
        let sibling = upon(&image, 1, &top, &dir.join("sibling"))?;
        let crowd = crowd(&dir)?;
        let crowd_more = upon(&crowd, 0, &top, &dir.join("crowd-more"))?;
        let registry = Registry::start(&image)?;
        let update = Update::prepare();
        if let Err(error) = &update {
            eprintln!("no deltas are measured: {error}");
        }
        Ok(Self {
            update: update.ok(),
            registry,
            blob: blobs[n].clone(),
            image,
            image_bytes,
            blobs,
            layer,
            tar,
            tar_bytes,
            sibling,
            crowd,
            crowd_more,
            _scratch: scratch,
        })
    }
}

/// An image of another's lower layers and one more.
fn upon(image: &Path, without: usize, tar: &Path, out: &Path) -> Result<PathBuf, Error> {
    let mut layout = Layout::create(out)?;
    layout.lower_layers(image, "latest", without)?;
    layout.layer(tar, Packing::Gzip)?;
    layout.finish("latest")?;
    Ok(out.into())
}

/// The image of many files and whiteouts.
fn crowd(dir: &Path) -> Result<PathBuf, Error> {
    let out = dir.join("crowd");
    let mut layout = Layout::create(&out)?;
    let tar = dir.join("crowd.tar");
    write(&tar, |out| synthetic::entries(out, CROWD))?;
    layout.layer(&tar, Packing::Gzip)?;
    write(&tar, |out| synthetic::whiteouts(out, CROWD, WHITEOUTS))?;
    layout.layer(&tar, Packing::Gzip)?;
    layout.finish("latest")?;
    std::fs::remove_file(&tar).at("remove", &tar)?;
    Ok(out)
}

fn small(out: &mut impl Write) -> io::Result<()> {
    let mut tar = Tar::new();
    tar.add(TarEntry::directory("etc"))
        .add(TarEntry::file("etc/added", "by the top layer\n"));
    out.write_all(&tar.unfinished())
}

/// Writes a tar: the entries, then its end.
fn write(
    path: &Path,
    entries: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let mut out = BufWriter::new(File::create(path).at("create", path)?);
    entries(&mut out)
        .and_then(|()| out.write_all(&[0; 1024]))
        .and_then(|()| out.flush())
        .at("write", path)
}

/// Bytes of a file.
pub(super) fn size(path: &Path) -> Result<u64, Error> {
    Ok(std::fs::metadata(path).at("look at", path)?.len())
}
