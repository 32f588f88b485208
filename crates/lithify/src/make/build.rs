//! `build`: an image into an artifact of any format.

use super::check::check;
use super::result::describe_layers;
use super::{composefs, containerd, cpio, directory, flat, layered, published, tar, volume};
use crate::Error;
use crate::Image;
use crate::description::Description;
use crate::fs::Filesystem;
use crate::fs::Placement;
use crate::image::reading;
use crate::make::format::Shape;
use crate::make::options::BuildOptions;

use crate::make::options::Output;
use crate::session::Session;

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
    session: &Session,
) -> Result<Description, Error> {
    build_any(image, output, options, session).map_err(|e| session.reason(e))
}

fn build_any(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Result<Description, Error> {
    check(output, options)?;
    let session = &reading(session, options.drop_xattrs);
    let flat = |kind| {
        let filesystem = Filesystem::new(kind, Placement::Packed, options.filesystem())?;
        if let Some(disk) = options.disk_of_volume() {
            return volume::build(image, &filesystem, disk, output, options, session);
        }
        if let Some(taken) = published::take(image, kind, output, options, session)? {
            return Ok(taken);
        }
        flat::build(image, &filesystem, output, options, session)
    };
    let result = match options.format.shape() {
        Shape::Image(kind) => flat(kind)?,
        Shape::Layers(kind) => layered::build(image, kind, output, options, session)?,
        Shape::Cache => containerd::build(image, output, options, session)?,
        Shape::Directory => directory::build(image, output, options, session)?,
        Shape::Tar => tar::build(image, output, options, session)?,
        Shape::Cpio => cpio::build(image, output, options, session)?,
        Shape::Repository => composefs::build(image, output, options, session)?,
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
