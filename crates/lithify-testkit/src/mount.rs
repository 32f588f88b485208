//! Mounts that end with the test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::run;

/// A mounted file system. Dropping it unmounts it and removes the mount point.
#[derive(Debug)]
pub struct Mount {
    point: TempDir,
}

impl Mount {
    /// Mounts an EROFS image file read-only (through a loop device).
    ///
    /// # Panics
    /// When the kernel refuses it; the message holds what `mount` said.
    #[must_use]
    pub fn erofs(image: &Path) -> Self {
        Self::image("erofs", image)
    }

    /// Mounts a squashfs image file read-only (through a loop device).
    ///
    /// # Panics
    /// When the kernel refuses it; the message holds what `mount` said.
    #[must_use]
    pub fn squashfs(image: &Path) -> Self {
        Self::image("squashfs", image)
    }

    /// Mounts an image file of any file system read-only (through a loop device).
    ///
    /// # Panics
    /// When the kernel refuses it; the message holds what `mount` said.
    #[must_use]
    pub fn image(filesystem: &str, image: &Path) -> Self {
        match Self::try_image(filesystem, image) {
            Ok(mount) => mount,
            Err(report) => panic!("{report}"),
        }
    }

    /// As [`Mount::image`], for images the kernel may refuse.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn try_image(filesystem: &str, image: &Path) -> Result<Self, String> {
        Self::with([
            OsStr::new("-t"),
            OsStr::new(filesystem),
            OsStr::new("-o"),
            OsStr::new("ro,loop"),
            image.as_os_str(),
        ])
    }

    /// Runs `mount ARGS… POINT` on a fresh directory.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn with<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Result<Self, String> {
        let point = crate::temp_dir();
        let mut command = run::command("mount");
        command.args(args).arg(point.path());
        let output = run::output(&mut command);
        if output.status.success() {
            Ok(Self { point })
        } else {
            Err(run::report(&command, &output))
        }
    }

    /// The mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let point: PathBuf = self.point.path().into();
        let plain = run::command("umount").arg(&point).output();
        if !plain.is_ok_and(|o| o.status.success()) {
            // Something still holds a file open; the mount must not outlive the test all the same.
            let lazy = run::command("umount").arg("--lazy").arg(&point).output();
            if !lazy.is_ok_and(|o| o.status.success()) {
                eprintln!("cannot unmount {}", point.display());
            }
        }
    }
}
