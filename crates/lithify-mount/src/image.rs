//! An image as a filesystem.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::context::{Context, attributes, descriptor_path};
use crate::{MountError, MountOptions, loop_device};

/// Where the superblock is, in bytes, and what it starts with (`EROFS_SUPER_OFFSET` and `EROFS_SUPER_MAGIC_V1` of the
/// kernel's `fs/erofs/erofs_fs.h`).
const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;

/// The image as a read-only mount that is attached nowhere yet.
pub(crate) fn mount(
    image: &File,
    path: Option<&Path>,
    options: &MountOptions,
) -> Result<OwnedFd, MountError> {
    let shown = path.map_or_else(|| PathBuf::from("-"), Path::to_path_buf);
    check(image, &shown)?;
    // The name is what the mount table will show. It may by now be another file's, so the kernel gets the descriptor
    // where that has to be one with what was checked: in a loop device.
    let source = match path.map(Path::canonicalize) {
        Some(Ok(path)) => path.as_os_str().as_bytes().to_vec(),
        Some(Err(source)) => {
            let path = shown;
            return Err(MountError::Image { path, source });
        }
        None => descriptor_path(image.as_fd()).into_bytes(),
    };
    let attributes = attributes(options) | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let what = format!("the image {shown:?}");
    let context = configure(&source, what.clone())?;
    match context.create() {
        Ok(()) => return context.into_mount(attributes),
        // A kernel before 6.12, or a file of a filesystem without what it takes.
        Err(Errno::NOTBLK) => {}
        Err(e) => return Err(context.refused(e)),
    }
    // Detaches itself when its last user is gone: this descriptor, or the mount.
    let device = loop_device::attach(image)?;
    let context = configure(device.path.as_bytes(), what)?;
    context.create().map_err(|e| context.refused(e))?;
    context.into_mount(attributes)
}

fn configure(source: &[u8], what: String) -> Result<Context, MountError> {
    let context = Context::open("erofs", what, MountError::NoErofs)?;
    context.string("source", source)?;
    context.flag("ro")?;
    Ok(context)
}

fn check(image: &File, shown: &Path) -> Result<(), MountError> {
    let mut magic = [0; 4];
    match image.read_exact_at(&mut magic, SUPERBLOCK) {
        Ok(()) if u32::from_le_bytes(magic) == MAGIC => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(MountError::Image {
            path: shown.to_path_buf(),
            source: e,
        }),
        _ => Err(MountError::NotErofs {
            path: shown.to_path_buf(),
        }),
    }
}
