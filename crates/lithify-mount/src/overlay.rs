//! A writable layer over an image.
//!
//! An overlay holds the filesystems it lies on by itself (`clone_private_mount`), but up to Linux 6.14 takes only such
//! as are attached when it is made. So the image is attached at the target for that moment and then replaced by the
//! overlay: one mount in the table, nothing else to undo.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, fstat, futimens, openat,
};
use rustix::io::Errno;

use crate::context::{Context, Target, attributes, descriptor_path};
use crate::{MountError, MountOptions, table};

/// What an overlay says it was made from, by which [`umount`](crate::umount) knows it.
pub(crate) const SOURCE: &str = "lithify";

/// Puts an overlay over a mounted image and attaches it.
pub(crate) fn mount(
    image: &OwnedFd,
    target: &Target,
    writable: &Path,
    options: &MountOptions,
) -> Result<(), MountError> {
    let layer = Layer::open(writable, image)?;
    target.attach(image)?;
    let overlay = make(image, &layer, options);
    let detached = target.detach();
    let overlay = overlay?;
    detached.map_err(|e| MountError::Unmount {
        path: writable.to_path_buf(),
        source: e.into(),
    })?;
    target.attach(&overlay)
}

fn make(image: &OwnedFd, layer: &Layer, options: &MountOptions) -> Result<OwnedFd, MountError> {
    let what = format!("an overlay with changes in {:?}", layer.path);
    let context = Context::open("overlay", what, MountError::NoOverlay)?;
    context.string("source", SOURCE.as_bytes())?;
    context.string("lowerdir", descriptor_path(image.as_fd()).as_bytes())?;
    context.string("upperdir", &layer.option("upper", &layer.upper))?;
    context.string("workdir", &layer.option("work", &layer.work))?;
    // An image may carry overlay attributes of its own: never let one redirect a name or lend a file's data
    // (`Documentation/filesystems/overlayfs.rst`, "Metadata only copy up", warning). And no index, which would tie the
    // changes to this very copy of the image.
    context.string("redirect_dir", b"nofollow")?;
    context.string("metacopy", b"off")?;
    context.string("index", b"off")?;
    context.create().map_err(|e| context.refused(e))?;
    context.into_mount(attributes(options))
}

/// The directory changes are kept in.
#[derive(Debug)]
struct Layer {
    path: PathBuf,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Layer {
    fn open(path: &Path, image: &OwnedFd) -> Result<Self, MountError> {
        let failed = |operation, path: &Path| {
            let path = path.to_path_buf();
            move |source: io::Error| MountError::Writable {
                operation,
                path,
                source,
            }
        };
        fs::create_dir_all(path).map_err(failed("make", path))?;
        let path = path.canonicalize().map_err(failed("open", path))?;
        let open = |name: &str| {
            let path = path.join(name);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = match fs::create_dir(&path) {
                Ok(()) => true,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
                Err(e) => return Err(failed("make", &path)(e)),
            };
            let fd = openat(rustix::fs::CWD, &path, flags, Mode::empty())
                .map_err(|e| failed("open", &path)(e.into()))?;
            Ok((fd, made))
        };
        let (upper, new) = open("upper")?;
        let (work, _) = open("work")?;
        in_use(&path)?;
        if new {
            // The top of the overlay is this directory: it must look like the image's.
            copy_metadata(image, &upper)
                .map_err(|e| failed("set the metadata of", &path.join("upper"))(e.into()))?;
        }
        Ok(Self { path, upper, work })
    }

    /// The path as the value of an option: plain where it reads well, by descriptor where it has characters overlayfs
    /// or older kernels give a meaning.
    fn option(&self, name: &str, fd: &OwnedFd) -> Vec<u8> {
        let path = self.path.join(name);
        let bytes = path.as_os_str().as_bytes();
        if bytes.iter().any(|b| matches!(b, b',' | b':' | b'\\')) {
            return descriptor_path(fd.as_fd()).into_bytes();
        }
        bytes.to_vec()
    }
}

/// The kernel only warns of a second overlay over the same changes.
fn in_use(path: &Path) -> Result<(), MountError> {
    let upper = path.join("upper");
    let user = table::mounts()?
        .into_iter()
        .find(|m| m.filesystem == "overlay" && m.option("upperdir").as_deref() == Some(&upper));
    match user {
        Some(mount) => Err(MountError::WritableInUse {
            path: path.to_path_buf(),
            mounted: mount.point,
        }),
        None => Ok(()),
    }
}

/// Owner, attributes, mode and time of one directory for another.
fn copy_metadata(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let from = openat(from, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&from)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchown(to, Some(uid), Some(gid))?;
    let mut list = Vec::with_capacity(65536);
    let mut value = Vec::with_capacity(65536);
    match flistxattr(&from, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) | Err(Errno::OPNOTSUPP) => {}
        Err(e) => return Err(e),
    }
    for name in list.split(|&b| b == 0).filter(|n| !n.is_empty()) {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        value.clear();
        fgetxattr(&from, name, rustix::buffer::spare_capacity(&mut value))?;
        match fsetxattr(to, name, &value, XattrFlags::empty()) {
            // A label or namespace the filesystem of the changes does not take.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(e) => return Err(e),
        }
    }
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    futimens(to, &times)
}
