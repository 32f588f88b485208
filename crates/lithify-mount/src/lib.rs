//! Mounting images of filesystems and of layers, read-only or under a writable overlay.
//!
//! An image comes from elsewhere, so it is mounted as something that may be hostile: without set-user-ID programs and
//! device nodes working, unless asked for ([`MountOptions`]). And a mount should be one thing: whatever stands behind
//! it (the image's own mount under an overlay, a loop device) goes away with it, without a daemon or a record.
//!
//! - Linux 6.12 and later mount the image file itself; before, and where the file's own filesystem does not support
//!   that (tmpfs), a loop device comes between that detaches itself with the mount.
//!   squashfs and ext4 always get one.
//! - A [`Source`] may also be a merged EROFS image with the files its data is in, or layers for an overlay, or a
//!   composefs image with the objects it refers to.
//! - With [`MountOptions::writable`], an overlay lies over the image. An overlay keeps the filesystems below it alive on
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
mod changes; // what keeps the changes of a writable mount
#[cfg(target_os = "linux")]
mod composefs; // an overlay of metadata and objects
#[cfg(target_os = "linux")]
mod context; // a filesystem on its way to being mounted
mod error;
#[cfg(target_os = "linux")]
mod image; // image files and block devices, checked and mounted
#[cfg(target_os = "linux")]
mod layers; // what an overlay lies on
#[cfg(target_os = "linux")]
mod list; // which mounts are ours
#[cfg(target_os = "linux")]
mod loop_device; // a file as a block device
#[cfg(target_os = "linux")]
mod namespace; // where an overlay is put together
#[cfg(target_os = "linux")]
mod origin; // what overlays say they are of
#[cfg(target_os = "linux")]
mod overlay; // layers over each other, a writable one over all
mod source; // what is to be mounted
#[cfg(target_os = "linux")]
mod table; // what is mounted where
#[cfg(target_os = "linux")]
mod unmount;
#[cfg(target_os = "linux")]
mod users; // who keeps a mount busy

use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::{MountError, User};
pub use source::{Composefs, ImageFile, LAYERS_MAX, Source};

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

/// Mounts an image, a file or block device with EROFS, squashfs or ext4, at a directory: read-only, also where a
/// disk could be written to.
///
/// # Errors
/// [`MountError`]. Nothing stays mounted then.
pub fn mount(image: &Path, directory: &Path, options: &MountOptions) -> Result<(), MountError> {
    let source = Source::Image(ImageFile::open(image)?);
    mount_source(&source, directory, Some(image), options)
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
    let file = image.try_clone().map_err(|source| MountError::Image {
        path: "-".into(),
        source,
    })?;
    let source = Source::Image(ImageFile::from_file(file));
    mount_source(&source, directory, None, options)
}

/// Mounts whatever a [`Source`] is at a directory: always as one mount, all else of which goes away with it. `name` is
/// a path that [`mounts`] then tells, such as that of a directory with layers; of images mounted without an overlay
/// their own is told.
///
/// # Errors
/// [`MountError`]. Nothing stays mounted then.
#[cfg(target_os = "linux")]
pub fn mount_source(
    source: &Source,
    directory: &Path,
    name: Option<&Path>,
    options: &MountOptions,
) -> Result<(), MountError> {
    let target = context::Target::open(directory)?;
    let filesystem = match source {
        Source::Image(image) => image::mount(image, options)?,
        Source::Merged { image, devices } => image::mount_merged(image, devices, options)?,
        Source::Layers { images, root } => {
            let lower = layers::Lower::mount(images, *root, options)?;
            return overlay::mount(lower, &target, name, options);
        }
        Source::Composefs(composefs) => return composefs::mount(composefs, &target, options),
    };
    match &options.writable {
        None => target.attach(&filesystem),
        Some(_) => overlay::mount(layers::Lower::single(filesystem), &target, name, options),
    }
}

/// Mounts something at a directory.
///
/// # Errors
/// [`MountError::Unsupported`] on this system.
#[cfg(not(target_os = "linux"))]
pub fn mount_source(
    _: &Source,
    _: &Path,
    _: Option<&Path>,
    _: &MountOptions,
) -> Result<(), MountError> {
    Err(MountError::Unsupported)
}

/// What is mounted at a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mounted {
    /// The directory.
    pub target: PathBuf,
    /// As what.
    pub kind: MountKind,
    /// The image file, or what the mount was named: of a composefs image `composefs:REPOSITORY:NAME`. `None` if it has no name.
    pub source: Option<PathBuf>,
    /// The directory that keeps changes ([`MountOptions::writable`]); `None` if the mount is read-only, or the
    /// directory's path was no option for an overlay.
    pub writable: Option<PathBuf>,
}

/// How something is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MountKind {
    /// An EROFS image, with its data or merged.
    Erofs,
    /// A squashfs image.
    Squashfs,
    /// An ext4 image.
    Ext4,
    /// Layers, or an image with a directory for changes.
    Overlay,
    /// A composefs image over its objects.
    Composefs,
}

/// What is mounted that [`umount`] would undo, in the order of mounting. Two at one directory are in it twice.
///
/// # Errors
/// [`MountError::Table`].
#[cfg(target_os = "linux")]
pub fn mounts() -> Result<Vec<Mounted>, MountError> {
    list::mounts()
}

/// What is mounted.
///
/// # Errors
/// [`MountError::Unsupported`] on this system.
#[cfg(not(target_os = "linux"))]
pub fn mounts() -> Result<Vec<Mounted>, MountError> {
    Err(MountError::Unsupported)
}

/// Undoes a mount made by [`mount`]: whatever EROFS, squashfs, ext4 or overlay of this crate is topmost at the directory. Loop devices
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

/// Whether a directory is what [`MountOptions::writable`] was given, or the upper directory in it, so that attributes in
/// `user.overlay.` and of other programs are known to be data.
#[must_use]
#[cfg(target_os = "linux")]
pub fn keeps_changes(directory: &Path) -> bool {
    changes::keeps_changes(directory)
}

/// Whether a directory is what [`MountOptions::writable`] was given.
#[must_use]
#[cfg(not(target_os = "linux"))]
pub fn keeps_changes(_: &Path) -> bool {
    false
}
