//! Images as filesystems.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lithify_escape::Escaped;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::context::{Context, STRING_MAX, attributes, descriptor_path};
use crate::loop_device::{self, LoopDevice};
use crate::{ImageFile, MountError, MountOptions};

/// Where EROFS has its superblock, in bytes, and what it starts with (`EROFS_SUPER_OFFSET` and `EROFS_SUPER_MAGIC_V1`
/// of the kernel's `fs/erofs/erofs_fs.h`).
const EROFS_SUPERBLOCK: u64 = 1024;
const EROFS_MAGIC: u32 = 0xe0f5_e1e2;

/// What squashfs starts with (`SQUASHFS_MAGIC` of the kernel's `include/uapi/linux/magic.h`).
const SQUASHFS_MAGIC: u32 = 0x7371_7368;

/// The filesystem in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filesystem {
    Erofs,
    Squashfs,
}

impl Filesystem {
    const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
        }
    }

    fn missing(self) -> MountError {
        match self {
            Self::Erofs => MountError::NoErofs,
            Self::Squashfs => MountError::NoSquashfs,
        }
    }
}

/// The image as a read-only mount that is attached nowhere yet.
pub(crate) fn mount(image: &ImageFile, options: &MountOptions) -> Result<OwnedFd, MountError> {
    match filesystem(image)? {
        Filesystem::Erofs => mount_erofs(image, &[], options),
        Filesystem::Squashfs => {
            let device = loop_device::attach(image)?;
            let what = format!("the image `{}`", Escaped::path(&image.shown()));
            let context = configure(Filesystem::Squashfs, device.path.as_bytes(), &[], what)?;
            finish(context, options)
        }
    }
}

/// An image with data in further files, likewise.
pub(crate) fn mount_merged(
    image: &ImageFile,
    devices: &[ImageFile],
    options: &MountOptions,
) -> Result<OwnedFd, MountError> {
    match filesystem(image)? {
        Filesystem::Erofs => mount_erofs(image, devices, options),
        Filesystem::Squashfs => Err(MountError::NotErofs {
            path: image.shown(),
        }),
    }
}

fn mount_erofs(
    image: &ImageFile,
    devices: &[ImageFile],
    options: &MountOptions,
) -> Result<OwnedFd, MountError> {
    let what = format!("the image `{}`", Escaped::path(&image.shown()));
    // Of a file the kernel takes all.
    if image.part.is_none() && devices.iter().all(|device| device.part.is_none()) {
        let names: Vec<_> = devices
            .iter()
            .map(|device| descriptor_path(device.file.as_fd()))
            .collect();
        let context = configure(Filesystem::Erofs, &name(image)?, &names, what.clone())?;
        match context.create() {
            Ok(()) => return into_mount(context, options),
            // A kernel before 6.12, or a file of a filesystem without what it takes.
            Err(Errno::NOTBLK) => {}
            Err(e) => return Err(context.refused(e)),
        }
    }
    // They detach themselves when their last user is gone: these descriptors, or the mount.
    let device = loop_device::attach(image)?;
    let further: Vec<LoopDevice> = devices
        .iter()
        .map(loop_device::attach)
        .collect::<Result<_, _>>()?;
    let names: Vec<_> = further.iter().map(|device| device.path.clone()).collect();
    let context = configure(Filesystem::Erofs, device.path.as_bytes(), &names, what)?;
    finish(context, options)
}

/// What the mount table will show of an image, and the kernel opens. The name may by now be another file's, so the kernel
/// gets the descriptor where that has to be one with what was checked: in a loop device, and as a device of a merged image.
fn name(image: &ImageFile) -> Result<Vec<u8>, MountError> {
    let descriptor = || descriptor_path(image.file.as_fd()).into_bytes();
    let Some(path) = &image.path else {
        return Ok(descriptor());
    };
    let path = path.canonicalize().map_err(|source| MountError::Image {
        path: path.clone(),
        source,
    })?;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > STRING_MAX {
        return Ok(descriptor());
    }
    Ok(bytes.to_vec())
}

fn configure(
    filesystem: Filesystem,
    source: &[u8],
    devices: &[String],
    what: String,
) -> Result<Context, MountError> {
    let context = Context::open(filesystem.name(), what, filesystem.missing())?;
    context.string("source", source)?;
    for device in devices {
        context.string("device", device.as_bytes())?;
    }
    context.flag("ro")?;
    Ok(context)
}

fn finish(context: Context, options: &MountOptions) -> Result<OwnedFd, MountError> {
    context.create().map_err(|e| context.refused(e))?;
    into_mount(context, options)
}

fn into_mount(context: Context, options: &MountOptions) -> Result<OwnedFd, MountError> {
    context.into_mount(attributes(options) | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn filesystem(image: &ImageFile) -> Result<Filesystem, MountError> {
    let path = || image.shown();
    let start = image.part.map_or(0, |(offset, _)| offset);
    if magic(&image.file, start + EROFS_SUPERBLOCK, path)? == Some(EROFS_MAGIC) {
        return Ok(Filesystem::Erofs);
    }
    if magic(&image.file, start, path)? == Some(SQUASHFS_MAGIC) {
        return Ok(Filesystem::Squashfs);
    }
    Err(MountError::NotImage { path: path() })
}

fn magic(
    file: &File,
    offset: u64,
    path: impl FnOnce() -> std::path::PathBuf,
) -> Result<Option<u32>, MountError> {
    let mut magic = [0; 4];
    match file.read_exact_at(&mut magic, offset) {
        Ok(()) => Ok(Some(u32::from_le_bytes(magic))),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(source) => Err(MountError::Image {
            path: path(),
            source,
        }),
    }
}

/// The file a loop device is of, and whether this crate made it.
pub(crate) fn behind_loop(device: &Path) -> Option<(std::path::PathBuf, bool)> {
    let name = device.file_name()?.to_str()?;
    let number = name.strip_prefix("loop")?;
    if device != Path::new("/dev").join(name) || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let file = std::fs::read(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    let file = file.strip_suffix(b"\n").unwrap_or(&file);
    let path = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(file));
    Some((path, loop_device::is_ours(device)))
}
