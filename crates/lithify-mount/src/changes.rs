//! Directories that keep the changes of overlays.

use std::ffi::OsStr;
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

use crate::context::{STRING_MAX, descriptor_path};
use crate::{MountError, table};

/// The directory changes are kept in.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) path: PathBuf,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Changes {
    pub(crate) fn open(path: &Path, image: &OwnedFd) -> Result<Self, MountError> {
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
            mark(&path);
            // The top of the overlay is this directory: it must look like the image's.
            copy_metadata(image, &upper)
                .map_err(|e| failed("set the metadata of", &path.join("upper"))(e.into()))?;
        }
        Ok(Self { path, upper, work })
    }

    /// The options they are given by, with name and descriptor.
    pub(crate) fn options(&self) -> [(&'static str, &'static str, &OwnedFd); 2] {
        [
            ("upperdir", "upper", &self.upper),
            ("workdir", "work", &self.work),
        ]
    }

    /// Tells whether the path has characters to which overlayfs or older kernels give a meaning.
    pub(crate) fn is_odd(&self) -> bool {
        let bytes = self.path.as_os_str().as_bytes();
        bytes.iter().any(|b| matches!(b, b',' | b':' | b'\\'))
    }

    /// A directory as the value of an option: by path, by which the mount table shows it, and by descriptor where that is too
    /// long or cannot be spelled. To be called where the overlay is made: a descriptor of another mount namespace is none
    /// for it.
    pub(crate) fn option(
        &self,
        name: &str,
        fd: &OwnedFd,
        spelling: Spelling,
    ) -> Result<OptionValue, MountError> {
        let path = self.path.join(name);
        let value = escaped(path.as_os_str().as_bytes());
        let spelled = spelling == Spelling::Escaped || !self.is_odd();
        if spelled && value.len() <= STRING_MAX {
            return Ok(OptionValue {
                value,
                _directory: None,
            });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(rustix::fs::CWD, &path, flags, Mode::empty()).and_then(|here| {
            let (a, b) = (fstat(&here)?, fstat(fd)?);
            // Replaced since it was looked at.
            if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
                Ok(here)
            } else {
                Err(Errno::STALE)
            }
        });
        let directory = opened.map_err(|e| MountError::Writable {
            operation: "open",
            path: path.clone(),
            source: e.into(),
        })?;
        Ok(OptionValue {
            value: descriptor_path(directory.as_fd()).into_bytes(),
            _directory: Some(directory),
        })
    }
}

/// The way in which a directory is given whose path has characters with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// By its path, as overlayfs unescapes it.
    Escaped,
    /// By a descriptor.
    Descriptor,
}

/// A path as overlayfs reads it in an option, where a backslash stands before what is meant literally (`ovl_unescape`).
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(path.len());
    for &byte in path {
        if byte == b'\\' {
            value.push(byte);
        }
        value.push(byte);
    }
    value
}

/// The upper directory of an overlay, where the mount table has its path.
pub(crate) fn upper_directory(mount: &table::Mount) -> Option<PathBuf> {
    let value = mount.option("upperdir")?;
    let mut path = Vec::new();
    let mut bytes = value.as_os_str().as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        // As above; the last backslash of a value means itself.
        path.push(match byte {
            b'\\' => bytes.next().copied().unwrap_or(byte),
            byte => byte,
        });
    }
    let path = PathBuf::from(OsStr::from_bytes(&path).to_os_string());
    (!path.starts_with("/proc/self")).then_some(path)
}

/// The value of an option, with what it is the name of.
#[derive(Debug)]
pub(crate) struct OptionValue {
    pub(crate) value: Vec<u8>,
    _directory: Option<OwnedFd>,
}

/// The kernel only warns of a second overlay over the same changes.
fn in_use(path: &Path) -> Result<(), MountError> {
    let upper = path.join("upper");
    let user = table::mounts()?
        .into_iter()
        .find(|m| m.filesystem == "overlay" && upper_directory(m).as_deref() == Some(&upper));
    match user {
        Some(mount) => Err(MountError::WritableInUse {
            path: path.to_path_buf(),
            mounted: mount.point,
        }),
        None => Ok(()),
    }
}

/// On a directory changes are kept in: the overlay's own attributes are those in `trusted.overlay.`, and everything else is what
/// the image or its user set. Only root can set it.
const CHANGES: &str = "trusted.lithify.changes";
const CHANGES_VALUE: &[u8] = b"trusted.overlay";

fn mark(path: &Path) {
    // Where it cannot be set, `commit` has to be told what it says.
    rustix::fs::setxattr(path, CHANGES, CHANGES_VALUE, XattrFlags::empty()).ok();
}

/// Tells whether a directory has the mark, or is the upper directory in one that does.
pub(crate) fn keeps_changes(directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else {
        return false;
    };
    let marked = |path: &Path| {
        let mut value = [0; 32];
        let read = rustix::fs::getxattr(path, CHANGES, &mut value[..]);
        read.is_ok_and(|length| &value[..length] == CHANGES_VALUE)
    };
    let is_upper = directory.file_name() == Some(OsStr::new("upper"));
    marked(&directory) || is_upper && directory.parent().is_some_and(marked)
}

/// Owner, attributes, mode and time of one directory for another.
pub(crate) fn copy_metadata(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
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
        // The overlay's own are of where they stand. Those of the image are escaped, in a layer as in what lies over it.
        let is_escaped = name.starts_with(b"trusted.overlay.overlay.");
        if name.starts_with(b"trusted.overlay.") && !is_escaped {
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
