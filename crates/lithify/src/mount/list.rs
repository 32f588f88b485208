//! Mounts listed, and ended.

use std::path::Path;

use lithify_mount::Mounted;

use crate::Error;

/// Lists the mounts of lithify, in the order of mounting.
///
/// # Errors
/// [`MountError::Mount`](crate::MountError::Mount).
pub fn mounts() -> Result<Vec<Mounted>, Error> {
    Ok(lithify_mount::mounts()?)
}

/// Undoes a mount: the overlay, the images below it and their loop devices.
///
/// # Errors
/// [`MountError::Mount`](crate::MountError::Mount).
pub fn umount(directory: &Path) -> Result<(), Error> {
    Ok(lithify_mount::umount(directory)?)
}
