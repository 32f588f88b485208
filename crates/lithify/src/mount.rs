//! Mounting an image or artifact.

use std::path::{Path, PathBuf};

use crate::build::filesystem::{Filesystem, Kind};
use crate::output::PendingFile;
use crate::{Error, ReadOptions, Subject, build};

/// How something is mounted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// Keep changes in an overlay in this directory; without, the mount is read-only.
    pub writable: Option<PathBuf>,
    /// Let set-user-ID bits and file capabilities of the image take effect. Default false.
    pub setuid: bool,
    /// Let device nodes of the image be opened. Default false.
    pub devices: bool,
}

impl Subject {
    /// Mounts it at a directory. An image is converted first, into a file without a name that goes away with the mount.
    ///
    /// # Errors
    /// Whatever stops the conversion; [`Error::Mount`] for what the kernel refuses.
    pub fn mount(
        &self,
        directory: &Path,
        options: &MountOptions,
        read: &ReadOptions,
    ) -> Result<(), Error> {
        let mut mount = lithify_mount::MountOptions::default();
        mount.writable.clone_from(&options.writable);
        mount.setuid = options.setuid;
        mount.devices = options.devices;
        match self {
            Self::Layers(_) => todo!(),
            Self::File(file) => Ok(lithify_mount::mount(file.path(), directory, &mount)?),
            Self::Image(image) => {
                let place = std::env::temp_dir().join("lithify-mount.erofs");
                let pending = PendingFile::create(&place, false)?;
                let filesystem = Filesystem::plain(Kind::Erofs);
                build::write_flat(image, &filesystem, &pending, &place, read)?;
                Ok(lithify_mount::mount_file(
                    pending.file(),
                    directory,
                    &mount,
                )?)
            }
        }
    }
}

/// Undoes a mount: the overlay, the image below it and the loop device.
///
/// # Errors
/// [`Error::Mount`].
pub fn umount(directory: &Path) -> Result<(), Error> {
    Ok(lithify_mount::umount(directory)?)
}
