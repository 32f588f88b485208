//! Requests that no build can do, whatever the image is: known before anything is read.

use super::options::{BuildOptions, Output};
use super::result::output_path;
use crate::Error;
use crate::fs::{Filesystem, Placement};
use crate::make::format::Shape;

/// Checks what is asked for.
///
/// # Errors
/// Options the format does not have, alone or together, and an output it cannot go to.
pub(super) fn check(output: &Output, options: &BuildOptions) -> Result<(), Error> {
    options.check()?;
    let shape = options.format.shape();
    if !matches!(shape, Shape::Tar | Shape::Cpio) {
        output_path(output, options.format)?;
    }
    if let Some(kind) = shape.kind() {
        Filesystem::new(kind, Placement::Packed, options.filesystem())?;
    }
    options.check_disk_size()
}
