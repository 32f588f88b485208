//! Mounts that end with the test.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use tempfile::TempDir;

use crate::{require, run};

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

    /// Mounts an image file so that it can be written to (through a loop device).
    ///
    /// # Panics
    /// When the kernel refuses it; the message holds what `mount` said.
    #[must_use]
    pub fn writable(filesystem: &str, image: &Path) -> Self {
        let mounted = Self::with([
            OsStr::new("-t"),
            OsStr::new(filesystem),
            OsStr::new("-o"),
            OsStr::new("loop"),
            image.as_os_str(),
        ]);
        match mounted {
            Ok(mount) => mount,
            Err(report) => panic!("{report}"),
        }
    }

    /// Makes a filesystem whose files can share blocks (XFS) in a file in `directory`, and mounts it; `None`, which is reported
    /// as skipped, where that cannot be.
    ///
    /// # Panics
    /// When it cannot be made or mounted all the same.
    #[must_use]
    pub fn reflinking(directory: &Path) -> Option<Self> {
        if !(require::root() && require::tool("mkfs.xfs") && require::kernel_filesystem("xfs")) {
            return None;
        }
        let disk = directory.join("disk.xfs");
        let made = File::create(&disk).and_then(|file| file.set_len(400 << 20));
        made.expect("a file for the filesystem");
        run::ok(run::command("mkfs.xfs").arg("-q").arg(&disk));
        Some(Self::writable("xfs", &disk))
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

    /// Reads all there is: every name, every link, every file.
    ///
    /// # Errors
    /// The first thing the kernel refuses.
    pub fn read_all(&self) -> std::io::Result<()> {
        let mut todo = vec![self.path().to_path_buf()];
        while let Some(directory) = todo.pop() {
            for item in std::fs::read_dir(directory)? {
                let path = item?.path();
                let metadata = path.symlink_metadata()?;
                if metadata.is_dir() {
                    todo.push(path);
                } else if metadata.is_symlink() {
                    std::fs::read_link(path)?;
                } else if metadata.is_file() {
                    std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::sink())?;
                }
            }
        }
        Ok(())
    }

    /// Mounts an EROFS image file read-only with further files its data is in, all of them through the kernel's own
    /// reading of files (Linux 6.12), without loop devices.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn erofs_with_devices(image: &Path, devices: &[&Path]) -> Result<Self, String> {
        let mut options = vec![("source", image)];
        options.extend(devices.iter().map(|device| ("device", *device)));
        Self::new_style("erofs", &options)
    }

    /// Mounts an overlay of directories read-only, top first, of any number.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn overlay(lower: &[&Path]) -> Result<Self, String> {
        let options: Vec<_> = lower.iter().map(|dir| ("lowerdir+", *dir)).collect();
        Self::new_style("overlay", &options)
    }

    /// Mounts by `fsopen(2)`, whose options may be any number and length.
    fn new_style(filesystem: &str, options: &[(&str, &Path)]) -> Result<Self, String> {
        let point = crate::temp_dir();
        let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|e| format!("fsopen {filesystem}: {e}"))?;
        let mounted = options
            .iter()
            .try_for_each(|(name, value)| fsconfig_set_string(&context, *name, *value))
            .and_then(|()| fsconfig_set_flag(&context, "ro"))
            .and_then(|()| fsconfig_create(&context))
            .and_then(|()| {
                fsmount(
                    &context,
                    FsMountFlags::FSMOUNT_CLOEXEC,
                    MountAttrFlags::MOUNT_ATTR_RDONLY,
                )
            })
            .and_then(|mount| {
                move_mount(
                    mount,
                    c"",
                    CWD,
                    point.path(),
                    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
                )
            });
        match mounted {
            Ok(()) => Ok(Self { point }),
            Err(e) => {
                let mut log = [0; 4096];
                let length = rustix::io::read(&context, &mut log).unwrap_or(0);
                let log = String::from_utf8_lossy(&log[..length]);
                Err(format!("cannot mount {filesystem}: {e}: {log}"))
            }
        }
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
