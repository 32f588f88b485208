//! Overlays: a writable layer over an image, and layers over each other.
//!
//! The filesystems an overlay lies on are attached nowhere but where it is made ([`namespace`]): one mount in the
//! table, nothing else to undo.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use lithify_escape::Escaped;
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, OpenTreeFlags, mount as mount_by_text, open_tree};
use rustix::process::chdir;

use crate::changes::{Changes, Spelling};
use crate::context::{Context, Target, attributes, descriptor_path};
use crate::layers::Lower;
use crate::{MountError, MountOptions, namespace, origin};

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
        if !error.is_invalid() || self.lower.len() == 1 {
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
        context.string("source", &origin::of_image(self.name))?;
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
        let (Ok(data), Ok(source)) = (
            CString::new(data),
            CString::new(origin::of_image(self.name)),
        ) else {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{Mode, OFlags, openat};

    use super::*;
    use crate::table;

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
