//! Images as filesystems.

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

/// The magic numbers of images, and at which byte they are: EROFS (`EROFS_SUPER_OFFSET`, `EROFS_SUPER_MAGIC_V1` of the kernel's `fs/erofs/erofs_fs.h`),
/// squashfs (`SQUASHFS_MAGIC` of `include/uapi/linux/magic.h`), and ext2, ext3 and ext4 (`s_magic` of `fs/ext4/ext4.h`).
const MAGICS: [(Filesystem, u64, &[u8]); 3] = [
    (Filesystem::Erofs, 1024, &0xe0f5_e1e2_u32.to_le_bytes()),
    (Filesystem::Squashfs, 0, b"hsqs"),
    (Filesystem::Ext4, 1024 + 56, &0xef53_u16.to_le_bytes()),
];

/// The filesystem in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filesystem {
    Erofs,
    Squashfs,
    Ext4,
}

impl Filesystem {
    const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
        }
    }

    fn missing(self) -> MountError {
        match self {
            Self::Erofs => MountError::NoErofs,
            Self::Squashfs => MountError::NoSquashfs,
            Self::Ext4 => MountError::NoExt4,
        }
    }
}

/// The image as a read-only mount that is attached nowhere yet.
pub(crate) fn mount(image: &ImageFile, options: &MountOptions) -> Result<OwnedFd, MountError> {
    match filesystem(image)? {
        Filesystem::Erofs => mount_erofs(image, name(image)?, &[], options),
        filesystem @ (Filesystem::Squashfs | Filesystem::Ext4) => {
            let device = loop_device::attach(image)?;
            let what = format!("the image `{}`", Escaped::path(&image.shown()));
            let context = configure(filesystem, device.path.as_bytes(), &[], what)?;
            if filesystem == Filesystem::Ext4 {
                // A superblock can ask for a panic of the kernel that finds an error.
                context.string("errors", b"remount-ro")?;
            }
            match context.create() {
                Ok(()) => into_mount(context, options),
                // A journal is played back only to a device that can be written to.
                Err(Errno::ROFS) if filesystem == Filesystem::Ext4 => Err(MountError::Unclean {
                    path: image.shown(),
                }),
                Err(e) => Err(context.refused(e)),
            }
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
        Filesystem::Erofs => mount_erofs(image, name(image)?, devices, options),
        Filesystem::Squashfs | Filesystem::Ext4 => Err(MountError::NotErofs {
            path: image.shown(),
        }),
    }
}

/// An EROFS image, likewise, by its descriptor: what was checked is what is mounted.
pub(crate) fn mount_opened(
    image: &ImageFile,
    options: &MountOptions,
) -> Result<OwnedFd, MountError> {
    match filesystem(image)? {
        Filesystem::Erofs => mount_erofs(image, descriptor(image), &[], options),
        Filesystem::Squashfs | Filesystem::Ext4 => Err(MountError::NotComposefs {
            path: image.shown(),
        }),
    }
}

fn mount_erofs(
    image: &ImageFile,
    name: Vec<u8>,
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
        let context = configure(Filesystem::Erofs, &name, &names, what.clone())?;
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
    let Some(path) = &image.path else {
        return Ok(descriptor(image));
    };
    let path = path.canonicalize().map_err(|source| MountError::Image {
        path: path.clone(),
        source,
    })?;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > STRING_MAX {
        return Ok(descriptor(image));
    }
    Ok(bytes.to_vec())
}

fn descriptor(image: &ImageFile) -> Vec<u8> {
    descriptor_path(image.file.as_fd()).into_bytes()
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
    let start = image.part.map_or(0, |(offset, _)| offset);
    for (filesystem, offset, magic) in MAGICS {
        let mut found = vec![0; magic.len()];
        match image.file.read_exact_at(&mut found, start + offset) {
            Ok(()) if found == magic => return Ok(filesystem),
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(source) => {
                return Err(MountError::Image {
                    path: image.shown(),
                    source,
                });
            }
        }
    }
    Err(MountError::NotImage {
        path: image.shown(),
    })
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
