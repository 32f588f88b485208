//! Why something cannot be mounted or unmounted.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lithify_escape::Escaped;

/// Why something cannot be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The caller may not mount.
    #[error(
        "mounting needs root (CAP_SYS_ADMIN): run as root, or extract the image with `-f dir` instead"
    )]
    Permission,
    /// The image cannot be opened or read.
    #[error("cannot read the image `{path}`", path = Escaped::path(.path))]
    Image {
        /// The image; `-` when it was given as an open file.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// The image is something else.
    #[error("`{path}` is neither an EROFS nor a squashfs or ext4 image", path = Escaped::path(.path))]
    NotImage {
        /// The image; `-` when it was given as an open file.
        path: PathBuf,
    },
    /// An ext4 filesystem that was not unmounted, whose journal has what is missing in it.
    #[error(
        "`{path}` was not unmounted, and is mounted read-only: let `e2fsck -p` play its journal back first", path = Escaped::path(.path))]
    Unclean {
        /// The image; `-` when it was given as an open file.
        path: PathBuf,
    },
    /// A merged image that is no EROFS.
    #[error("`{path}` is not an EROFS image, which it must be to have data in other files", path = Escaped::path(.path))]
    NotErofs {
        /// The image; `-` when it was given as an open file.
        path: PathBuf,
    },
    /// A composefs image that is no EROFS.
    #[error("`{path}` is not an EROFS image, which a composefs image is", path = Escaped::path(.path))]
    NotComposefs {
        /// The image; `-` when it was given as an open file.
        path: PathBuf,
    },
    /// The kernel's overlayfs takes no layers of data alone, where composefs has its objects.
    #[error(
        "this kernel's overlayfs has no layers of data alone, which composefs needs: use Linux 6.5 or later, or build the image as EROFS (`lithify build`)"
    )]
    NoDataLayers {
        /// The system's answer to them.
        source: io::Error,
    },
    /// The kernel's overlayfs does not compare fs-verity digests.
    #[error(
        "this kernel's overlayfs does not compare fs-verity digests (`verity=require`): use Linux 6.6 or later, or mount without (`--verity off`)"
    )]
    NoOverlayVerity {
        /// The system's answer.
        source: io::Error,
    },
    /// The objects of a composefs image cannot be mounted.
    #[error("cannot mount the objects of the composefs image `{name}`", name = Escaped::path(.name))]
    Objects {
        /// The name of the image.
        name: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// The kernel has no EROFS.
    #[error(
        "this kernel cannot mount EROFS: load the module (modprobe erofs) or use a kernel with CONFIG_EROFS_FS"
    )]
    NoErofs,
    /// The kernel has no squashfs.
    #[error(
        "this kernel cannot mount squashfs: load the module (modprobe squashfs) or use a kernel with CONFIG_SQUASHFS"
    )]
    NoSquashfs,
    /// The kernel has no ext4.
    #[error(
        "this kernel cannot mount ext4: load the module (modprobe ext4) or use a kernel with CONFIG_EXT4_FS"
    )]
    NoExt4,
    /// The kernel has no tmpfs.
    #[error("this kernel has no tmpfs, which the root directory of an overlay needs")]
    NoTmpfs,
    /// The kernel does not show extended attributes of the filesystem, by which layers say what they remove.
    #[error(
        "this kernel does not read extended attributes of `{path}`: layers need them (CONFIG_SQUASHFS_XATTR, CONFIG_EROFS_FS_XATTR)", path = Escaped::path(.path))]
    NoAttributes {
        /// The image; `-` when it was given as an open file.
        path: PathBuf,
    },
    /// No layers, or more than overlayfs takes, or a root layer that is none of them.
    #[error(
        "{found} layers with the root directory of layer {root}: an overlay has 1 to {limit}; mount a merged or flat image instead"
    )]
    LayerCount {
        /// How many there are.
        found: usize,
        /// The most there can be.
        limit: usize,
        /// The layer whose root directory should count.
        root: usize,
    },
    /// The root directory of an overlay cannot be made to look like the image's.
    #[error("cannot set the metadata of an overlay's root directory")]
    Root {
        /// The answer of the system.
        source: io::Error,
    },
    /// No mount namespace of our own to put an overlay together in.
    #[error("cannot {operation}: an overlay is put together in a mount namespace of its own")]
    Namespace {
        /// What was tried.
        operation: &'static str,
        /// The answer of the system.
        source: io::Error,
    },
    /// The kernel has no overlayfs.
    #[error(
        "this kernel cannot mount overlays: load the module (modprobe overlay) or use a kernel with CONFIG_OVERLAY_FS"
    )]
    NoOverlay,
    /// The kernel does not take the filesystem.
    #[error("the kernel cannot mount {what}{}", .reason.as_deref().map_or_else(|| " (the kernel log may say why: dmesg)".to_owned(), |r| format!(" ({r})")))]
    Refused {
        /// What: the image, or the overlay.
        what: String,
        /// What the filesystem said, when it said something.
        reason: Option<String>,
        /// The answer of the system.
        source: io::Error,
    },
    /// The mount point cannot be used.
    #[error("cannot mount at `{path}`: it must be an existing directory", path = Escaped::path(.path))]
    Target {
        /// The mount point.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// A loop device cannot be set up, which this kernel needs for the image.
    #[error("cannot {operation}: this kernel or the image's filesystem needs a loop device for it")]
    LoopDevice {
        /// What was tried.
        operation: &'static str,
        /// The answer of the system.
        source: io::Error,
    },
    /// The directory for changes cannot be used.
    #[error("cannot {operation} `{path}` for changes to the image", path = Escaped::path(.path))]
    Writable {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// Two overlays over one directory of changes would damage it.
    #[error(
        "`{path}` already keeps the changes of the mount at `{mounted}`: unmount that first, or name another directory", path = Escaped::path(.path), mounted = Escaped::path(.mounted))]
    WritableInUse {
        /// The directory for changes.
        path: PathBuf,
        /// Where it is in use.
        mounted: PathBuf,
    },
    /// Nothing is mounted at the directory.
    #[error("`{path}` is not a mount point", path = Escaped::path(.path))]
    NotMounted {
        /// The directory.
        path: PathBuf,
    },
    /// Something is mounted there, but not an image.
    #[error("`{path}` has a {filesystem} mounted that lithify did not mount: use umount(8)", path = Escaped::path(.path))]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its filesystem.
        filesystem: String,
    },
    /// Someone uses the mount.
    #[error("`{path}` is in use{}", Users(.users), path = Escaped::path(.path))]
    Busy {
        /// The mount point.
        path: PathBuf,
        /// Who, as far as could be found out.
        users: Vec<User>,
    },
    /// It cannot be unmounted for another reason.
    #[error("cannot unmount `{path}`", path = Escaped::path(.path))]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// `/proc` cannot be read, which says what is mounted.
    #[error("cannot read `{path}`, which says what is mounted", path = Escaped::path(.path))]
    Table {
        /// The file.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// Not on this system.
    #[error("mounting images takes Linux")]
    Unsupported,
}

#[cfg(target_os = "linux")]
impl MountError {
    /// Tells whether the kernel said that something asked of a filesystem is invalid, as one does that does not know it.
    pub(crate) fn is_invalid(&self) -> bool {
        use rustix::io::Errno;
        matches!(
            self,
            Self::Refused { source, .. } if Errno::from_io_error(source) == Some(Errno::INVAL)
        )
    }

    /// Returns what the system said, where the error is that the kernel does not take a filesystem.
    pub(crate) fn into_refusal(self) -> io::Error {
        match self {
            Self::Refused { source, .. } => source,
            other => io::Error::other(other),
        }
    }
}

/// Who keeps a mount busy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum User {
    /// A process with its working directory, root, program or an open file there.
    Process {
        /// Its id.
        pid: u32,
        /// Its short name.
        name: String,
    },
    /// Another mount below.
    Mount(PathBuf),
}

/// Who, as a clause.
struct Users<'a>(&'a [User]);

impl fmt::Display for Users<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, user) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { " by " } else { ", " })?;
            match user {
                User::Process { pid, name } => write!(f, "process {pid} ({})", Escaped(name))?,
                User::Mount(path) => write!(f, "the mount at `{}`", Escaped::path(path))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_who_and_what() {
        let name = "a\x1b[0m".to_owned();
        let error = MountError::Busy {
            path: "/mnt".into(),
            users: vec![
                User::Process { pid: 7, name },
                User::Mount("/mnt/proc".into()),
            ],
        };
        let text = r"`/mnt` is in use by process 7 (a\x1b[0m), the mount at `/mnt/proc`";
        assert_eq!(error.to_string(), text);
    }
}
