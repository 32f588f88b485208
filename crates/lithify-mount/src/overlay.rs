//! Overlays: a writable layer over an image, and layers over each other.
//!
//! The filesystems an overlay lies on are attached nowhere but where it is made ([`namespace`]): one mount in the
//! table, nothing else to undo.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify_escape::Escaped;
use rustix::fs::{
    Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, fstat, futimens, openat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, OpenTreeFlags, mount as mount_by_text, open_tree};
use rustix::process::chdir;

use crate::context::{Context, STRING_MAX, Target, attributes, descriptor_path};
use crate::layers::Lower;
use crate::{MountError, MountOptions, namespace, table};

/// What an overlay says it was made from, by which [`umount`](crate::umount) knows it; a colon and the image's name may
/// follow.
const SOURCE: &[u8] = b"lithify";

/// Puts an overlay over mounts and attaches it. `name` is what it is of.
pub(crate) fn mount(
    mut lower: Lower,
    target: &Target,
    name: Option<&Path>,
    options: &MountOptions,
) -> Result<(), MountError> {
    let changes = match &options.writable {
        Some(writable) => Some(Changes::open(writable, lower.root())?),
        None => {
            lower.complete()?;
            None
        }
    };
    let mounts: Vec<&OwnedFd> = lower.mounts.iter().collect();
    let plan = Plan {
        lower: &mounts,
        changes: changes.as_ref(),
        name,
        options,
    };
    let overlay = namespace::with_attached(&mounts, |stage| plan.make(stage))?;
    target.attach(&overlay)
}

/// What an overlay is to be.
#[derive(Clone, Copy, Debug)]
struct Plan<'a> {
    /// Top first, attached in this mount namespace.
    lower: &'a [&'a OwnedFd],
    changes: Option<&'a Changes>,
    /// What the overlay is of.
    name: Option<&'a Path>,
    options: &'a MountOptions,
}

/// An image may carry overlay attributes of its own: never let one redirect a name or lend a file's data
/// (`Documentation/filesystems/overlayfs.rst`, "Metadata only copy up", warning). And no index, which would tie the
/// changes to this very copy of the image.
const FIXED_OPTIONS: [(&str, &str); 3] = [
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
];

impl Plan<'_> {
    fn make(&self, stage: &Path) -> Result<OwnedFd, MountError> {
        let mut made = self.make_by_context(Spelling::Escaped);
        if made.is_err() && self.changes.is_some_and(Changes::is_odd) {
            // Linux before 6.5 takes no comma in the value of an option.
            made = self.make_by_context(Spelling::Descriptor);
        }
        let error = match made {
            Ok(overlay) => return Ok(overlay),
            Err(error) => error,
        };
        let invalid = matches!(
            &error,
            MountError::Refused { source, .. } if Errno::from_io_error(source) == Some(Errno::INVAL)
        );
        if !invalid || self.lower.len() == 1 {
            return Err(error);
        }
        // Linux before 6.7, where layers cannot be given one by one. What is wrong otherwise is so again.
        self.make_by_mount(stage).map_err(|_| error)
    }

    fn what(&self) -> String {
        match self.changes {
            Some(changes) => format!(
                "an overlay with changes in `{}`",
                Escaped::path(&changes.path)
            ),
            None => format!("an overlay of {} layers", self.lower.len()),
        }
    }

    fn make_by_context(&self, spelling: Spelling) -> Result<OwnedFd, MountError> {
        let context = Context::open("overlay", self.what(), MountError::NoOverlay)?;
        context.string("source", &source(self.name))?;
        if let [single] = self.lower {
            context.string("lowerdir", descriptor_path(single.as_fd()).as_bytes())?;
        } else {
            // One by one, so that they may be any number.
            for layer in self.lower {
                context.string("lowerdir+", descriptor_path(layer.as_fd()).as_bytes())?;
            }
        }
        let mut attributes = attributes(self.options);
        let mut named = Vec::new();
        if let Some(changes) = self.changes {
            for (option, name, directory) in changes.options() {
                let value = changes.option(name, directory, spelling)?;
                context.string(option, &value.value)?;
                named.push(value);
            }
        } else {
            context.flag("ro")?;
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        for (name, value) in FIXED_OPTIONS {
            context.string(name, value.as_bytes())?;
        }
        context.create().map_err(|e| context.refused(e))?;
        drop(named);
        context.into_mount(attributes)
    }

    /// By `mount(2)`, whose options are a page of text: layers are named by the numbers of their descriptors, from the
    /// directory these are in. The overlay is attached at `stage`, and a copy given that is not.
    fn make_by_mount(&self, stage: &Path) -> Result<OwnedFd, MountError> {
        use std::os::fd::AsRawFd as _;

        let refused = |e: Errno| MountError::Refused {
            what: self.what(),
            reason: None,
            source: e.into(),
        };
        let numbers: Vec<_> = self
            .lower
            .iter()
            .map(|layer| layer.as_raw_fd().to_string())
            .collect();
        let mut data = format!("lowerdir={}", numbers.join(":")).into_bytes();
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::NOSUID, !self.options.setuid);
        flags.set(MountFlags::NODEV, !self.options.devices);
        let mut named = Vec::new();
        let mut add = |name: &str, value: &[u8]| {
            data.push(b',');
            data.extend_from_slice(name.as_bytes());
            data.push(b'=');
            data.extend_from_slice(value);
        };
        if let Some(changes) = self.changes {
            for (option, name, directory) in changes.options() {
                let value = changes.option(name, directory, Spelling::Descriptor)?;
                add(option, &value.value);
                named.push(value);
            }
        } else {
            flags |= MountFlags::RDONLY;
        }
        for (name, value) in FIXED_OPTIONS {
            add(name, value.as_bytes());
        }
        if data.len() >= MOUNT_DATA_MAX {
            return Err(refused(Errno::TOOBIG));
        }
        let (Ok(data), Ok(source)) = (CString::new(data), CString::new(source(self.name))) else {
            return Err(refused(Errno::INVAL));
        };
        // This thread's own, as its mount namespace is.
        chdir("/proc/self/fd").map_err(refused)?;
        mount_by_text(&source, stage, c"overlay", flags, data.as_c_str()).map_err(refused)?;
        let copy = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(rustix::fs::CWD, stage, copy).map_err(refused)
    }
}

/// Bytes of options `mount(2)` takes, with the NUL: a page of the smallest size.
const MOUNT_DATA_MAX: usize = 4096;

/// What the mount table shows as source.
fn source(name: Option<&Path>) -> Vec<u8> {
    let mut source = SOURCE.to_vec();
    if let Some(name) = name.and_then(|name| name.canonicalize().ok()) {
        let name = name.as_os_str().as_bytes();
        if source.len() + 1 + name.len() <= STRING_MAX {
            source.push(b':');
            source.extend_from_slice(name);
        }
    }
    source
}

/// The image's name in the source of an overlay of this crate; `None` if it is another's.
pub(crate) fn source_name(source: &OsStr) -> Option<Option<PathBuf>> {
    let rest = source.as_bytes().strip_prefix(SOURCE)?;
    if rest.is_empty() {
        return Some(None);
    }
    let name = OsStr::from_bytes(rest.strip_prefix(b":")?);
    Path::new(name)
        .is_absolute()
        .then(|| Some(PathBuf::from(name)))
}

/// The directory changes are kept in.
#[derive(Debug)]
struct Changes {
    path: PathBuf,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Changes {
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
            mark(&path);
            // The top of the overlay is this directory: it must look like the image's.
            copy_metadata(image, &upper)
                .map_err(|e| failed("set the metadata of", &path.join("upper"))(e.into()))?;
        }
        Ok(Self { path, upper, work })
    }

    /// The options they are given by, with name and descriptor.
    fn options(&self) -> [(&'static str, &'static str, &OwnedFd); 2] {
        [
            ("upperdir", "upper", &self.upper),
            ("workdir", "work", &self.work),
        ]
    }

    /// Whether the path has characters overlayfs or older kernels give a meaning.
    fn is_odd(&self) -> bool {
        let bytes = self.path.as_os_str().as_bytes();
        bytes.iter().any(|b| matches!(b, b',' | b':' | b'\\'))
    }

    /// A directory as the value of an option: by path, by which the mount table shows it, and by descriptor where that is too
    /// long or cannot be spelled. To be called where the overlay is made: a descriptor of another mount namespace is none
    /// for it.
    fn option(
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

/// How a directory is given whose path has characters with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
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
struct OptionValue {
    value: Vec<u8>,
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

/// Whether a directory has the mark, or is the upper directory in one that does.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A tmpfs with a file.
    fn layer(number: usize) -> Result<OwnedFd, MountError> {
        let context = Context::open("tmpfs", "a test".into(), MountError::NoTmpfs)?;
        context.create().map_err(|e| context.refused(e))?;
        let mount = context.into_mount(MountAttrFlags::empty())?;
        for name in ["same".to_owned(), number.to_string()] {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let file = openat(&mount, name, flags, Mode::RUSR).unwrap();
            rustix::io::write(&file, number.to_string().as_bytes()).unwrap();
        }
        Ok(mount)
    }

    /// The way of kernels before 6.7, which newer ones know too.
    #[test]
    fn layers_by_numbers() {
        let count = 300;
        let work = tempfile::tempdir().unwrap();
        let (point, odd) = (work.path().join("mnt"), work.path().join("a,b:c"));
        fs::create_dir(&point).unwrap();
        let target = Target::open(&point).unwrap();
        for writable in [None, Some(work.path().join("rw")), Some(odd)] {
            let layers = match (0..count).map(layer).collect::<Result<Vec<_>, _>>() {
                Err(MountError::Permission) => {
                    eprintln!("skipped: needs root");
                    return;
                }
                layers => layers.unwrap(),
            };
            let mounts: Vec<_> = layers.iter().collect();
            let changes = writable.map(|path| Changes::open(&path, mounts[0]).unwrap());
            let plan = Plan {
                lower: &mounts,
                changes: changes.as_ref(),
                name: Some(&point),
                options: &MountOptions::default(),
            };
            let make = |stage: &Path| plan.make_by_mount(stage);
            let overlay = namespace::with_attached(&mounts, make).unwrap();
            target.attach(&overlay).unwrap();
            drop(overlay);
            assert_eq!(fs::read_dir(&point).unwrap().count(), count + 1);
            assert_eq!(fs::read(point.join("same")).unwrap(), b"0");
            assert_eq!(fs::read(point.join("299")).unwrap(), b"299");
            let written = fs::write(point.join("new"), "x");
            assert_eq!(written.is_ok(), changes.is_some());
            let found = crate::mounts().unwrap();
            let mounted = found.iter().find(|m| m.target == point).unwrap();
            assert_eq!(mounted.source.as_deref(), Some(point.as_path()));
            crate::umount(&point).unwrap();
            assert!(!table::mounts().unwrap().iter().any(|m| m.point == point));
        }
    }
}
