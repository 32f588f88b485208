//! Layers as what an overlay lies on.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags, fgetxattr, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::changes::copy_metadata;
use crate::context::Context;
use crate::{ImageFile, LAYERS_MAX, MountError, MountOptions, image};

/// By which a layer says that nothing of those below is visible in a directory, and how (overlayfs).
const OPAQUE: &str = "trusted.overlay.opaque";
const OPAQUE_VALUE: &[u8] = b"y";

/// Mounts an overlay lies on.
#[derive(Debug)]
pub(crate) struct Lower {
    /// Top first.
    pub(crate) mounts: Vec<OwnedFd>,
    /// Which of them has the metadata of the root directory; if none, it is kept aside.
    root: Result<usize, OwnedFd>,
}

impl Lower {
    /// A single filesystem.
    pub(crate) fn single(mount: OwnedFd) -> Self {
        Self {
            mounts: vec![mount],
            root: Ok(0),
        }
    }

    /// Mounts layers. What is below one with an opaque root is left out: overlayfs merges the roots of its layers
    /// whatever they say.
    pub(crate) fn mount(
        images: &[ImageFile],
        root: Option<usize>,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let root = root.unwrap_or(images.len().saturating_sub(1));
        if images.is_empty() || images.len() > LAYERS_MAX || root >= images.len() {
            return Err(MountError::LayerCount {
                found: images.len(),
                limit: LAYERS_MAX,
                root,
            });
        }
        let mut mounts = Vec::new();
        let mut covered = false;
        let mut root_mount = Ok(0);
        for (number, file) in images.iter().enumerate().rev() {
            if covered && number != root {
                continue;
            }
            let mount = image::mount(file, options)?;
            if covered {
                root_mount = Err(mount);
                break;
            }
            if number == root {
                root_mount = Ok(mounts.len());
            }
            covered = is_opaque(&mount, file)?;
            mounts.push(mount);
        }
        Ok(Self {
            mounts,
            root: root_mount,
        })
    }

    /// The mount whose root directory looks like that of the result.
    pub(crate) fn root(&self) -> &OwnedFd {
        match &self.root {
            Ok(number) => &self.mounts[*number],
            Err(mount) => mount,
        }
    }

    /// Puts an empty directory on top where that is needed for an overlay without a writable one: it takes two, and
    /// its root directory looks like that of the topmost.
    pub(crate) fn complete(&mut self) -> Result<(), MountError> {
        if self.mounts.len() > 1 && matches!(self.root, Ok(0)) {
            return Ok(());
        }
        let what = "an empty directory for the top of an overlay".to_owned();
        let context = Context::open("tmpfs", what, MountError::NoTmpfs)?;
        context.string("source", b"lithify")?;
        context.create().map_err(|e| context.refused(e))?;
        let top = context.into_mount(MountAttrFlags::MOUNT_ATTR_NODEV)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let copied = openat(&top, c".", flags, Mode::empty())
            .and_then(|directory| copy_metadata(self.root(), &directory));
        copied.map_err(|e| MountError::Root { source: e.into() })?;
        self.mounts.insert(0, top);
        self.root = Ok(0);
        Ok(())
    }
}

fn is_opaque(mount: &OwnedFd, file: &ImageFile) -> Result<bool, MountError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut value = [0; 8];
    let read = openat(mount.as_fd(), c".", flags, Mode::empty())
        .and_then(|root| fgetxattr(&root, OPAQUE, &mut value[..]));
    match read {
        Ok(length) => Ok(&value[..length] == OPAQUE_VALUE),
        // None, or a longer one.
        Err(Errno::NODATA | Errno::RANGE) => Ok(false),
        Err(Errno::OPNOTSUPP) => Err(MountError::NoAttributes { path: file.shown() }),
        Err(e) => Err(MountError::Image {
            path: file.shown(),
            source: e.into(),
        }),
    }
}
