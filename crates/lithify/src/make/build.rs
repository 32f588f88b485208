//! `build`: an image into an artifact of any format.

use super::result::describe_layers;
use super::{containerd, directory, flat, layered, published, tar};
use crate::Error;
use crate::Image;
use crate::description::Description;
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::image::reading;
use crate::make::options::BuildOptions;
use crate::make::options::Format;
use crate::make::options::Output;
use crate::session::ReadOptions;

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
    let read = &reading(read, options.drop_xattrs);
    let flat = |kind| {
        let filesystem = Filesystem::new(kind, Placement::Packed, options.filesystem())?;
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
