//! Mounting EROFS images, read-only or under a writable overlay.
//!
//! An image comes from elsewhere, so it is mounted as something that may be hostile: without set-user-ID programs and
//! device nodes working, unless asked for ([`MountOptions`]). And a mount should be one thing: whatever stands behind
//! it (the image's own mount under an overlay, a loop device) goes away with it, without a daemon or a record.
//!
//! - Linux 6.12 and later mount the image file itself; before, and where the file's own filesystem does not support
//!   that (tmpfs), a loop device comes between that detaches itself with the mount.
//! - With [`MountOptions::writable`], an overlay lies over the image. The overlay keeps the image's filesystem alive on
//!   its own, so that only the overlay is ever in the mount table.
//!
//! Mounting takes `CAP_SYS_ADMIN`. Other systems than Linux get [`MountError::Unsupported`].
//!
//! ```no_run
//! use lithify_mount::{MountOptions, mount, umount};
//! use std::path::Path;
//!
//! mount(Path::new("debian.erofs"), Path::new("/mnt"), &MountOptions::default())?;
//! println!("{}", std::fs::read_to_string("/mnt/etc/os-release")?);
//! umount(Path::new("/mnt"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod context; // a filesystem on its way to being mounted
mod error;
#[cfg(target_os = "linux")]
mod image; // an image file or block device, checked and mounted
#[cfg(target_os = "linux")]
mod loop_device; // a file as a block device
#[cfg(target_os = "linux")]
mod overlay; // the writable layer
#[cfg(target_os = "linux")]
mod table; // what is mounted where
#[cfg(target_os = "linux")]
mod unmount;
#[cfg(target_os = "linux")]
mod users; // who keeps a mount busy

use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::{MountError, User};

/// How an image is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// A directory to keep changes in; without, the mount is read-only. It is made if missing, and gets `upper` and
    /// `work` of an overlay. Mounting the same image with it again brings the changes back.
    pub writable: Option<PathBuf>,
    /// Whether set-user-ID and set-group-ID bits and file capabilities of the image have effect. Off by default
    /// (`nosuid`).
    pub setuid: bool,
    /// Whether device nodes of the image can be opened. Off by default (`nodev`).
    pub devices: bool,
}

/// Mounts an image, a file or block device, at a directory.
///
/// # Errors
/// [`MountError`]. Nothing stays mounted then.
pub fn mount(image: &Path, directory: &Path, options: &MountOptions) -> Result<(), MountError> {
    let file = File::open(image).map_err(|source| MountError::Image {
        path: image.to_path_buf(),
        source,
    })?;
    mount_opened(&file, Some(image), directory, options)
}

/// Like [`mount`], with an image file that is open for reading and need not have a name. The kernel keeps it as long as
/// the mount exists.
///
/// # Errors
/// [`MountError`]. Nothing stays mounted then.
pub fn mount_file(
    image: &File,
    directory: &Path,
    options: &MountOptions,
) -> Result<(), MountError> {
    mount_opened(image, None, directory, options)
}

#[cfg(target_os = "linux")]
fn mount_opened(
    image: &File,
    path: Option<&Path>,
    directory: &Path,
    options: &MountOptions,
) -> Result<(), MountError> {
    let target = context::Target::open(directory)?;
    let filesystem = image::mount(image, path, options)?;
    match &options.writable {
        None => target.attach(&filesystem),
        Some(writable) => overlay::mount(&filesystem, &target, writable, options),
    }
}

#[cfg(not(target_os = "linux"))]
fn mount_opened(_: &File, _: Option<&Path>, _: &Path, _: &MountOptions) -> Result<(), MountError> {
    Err(MountError::Unsupported)
}

/// Undoes a mount made by [`mount`]: whatever EROFS or overlay of this crate is topmost at the directory. Loop devices
/// go with it. What a writable mount has kept stays where it is.
///
/// # Errors
/// [`MountError::NotMounted`], [`MountError::Foreign`] for anything else that is mounted there,
/// [`MountError::Busy`] while someone uses it, and does for more than half a second.
#[cfg(target_os = "linux")]
pub fn umount(directory: &Path) -> Result<(), MountError> {
    unmount::unmount(directory)
}

/// Undoes a mount.
///
/// # Errors
/// [`MountError::Unsupported`] on this system.
#[cfg(not(target_os = "linux"))]
pub fn umount(_: &Path) -> Result<(), MountError> {
    Err(MountError::Unsupported)
}
