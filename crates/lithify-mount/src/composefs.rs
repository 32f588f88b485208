//! composefs images: overlays of an EROFS image of metadata and a directory of objects.
//!
//! A file of the image whose data is an object has attributes of overlayfs that name the object and its digest
//! (`Documentation/filesystems/overlayfs.rst`, "Metadata only copy up", "Data-only lower layers" and "fs-verity support"). Overlayfs
//! looks for it in layers of data alone, of which no name is visible.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use lithify_escape::Escaped;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::changes::{Changes, Spelling};
use crate::context::{Context, Target, attributes, descriptor_path};
use crate::source::Composefs;
use crate::{MountError, MountOptions, image, namespace, origin};

/// Mounts a composefs image.
pub(crate) fn mount(
    composefs: &Composefs,
    target: &Target,
    options: &MountOptions,
) -> Result<(), MountError> {
    let image = image::mount_opened(&composefs.image, options)?;
    let objects = copy_of_mount(composefs)?;
    let changes = match &options.writable {
        Some(writable) => Some(Changes::open(writable, &image)?),
        None => None,
    };
    let plan = Plan {
        image: &image,
        objects: &objects,
        verity: composefs.verity,
        changes: changes.as_ref(),
        name: &composefs.name,
        options,
    };
    let overlay = namespace::with_attached(&[&image, &objects], |_| plan.make())?;
    target.attach(&overlay)
}

/// Returns a mount of its own of the objects, which can be attached where the overlay is made.
fn copy_of_mount(composefs: &Composefs) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&composefs.objects, c"", flags).map_err(|e| match e {
        rustix::io::Errno::PERM => MountError::Permission,
        e => MountError::Objects {
            name: composefs.name.clone(),
            source: e.into(),
        },
    })
}

/// An overlay to be made.
#[derive(Clone, Copy, Debug)]
struct Plan<'a> {
    /// Attached in this mount namespace, as are the objects.
    image: &'a OwnedFd,
    objects: &'a OwnedFd,
    verity: bool,
    changes: Option<&'a Changes>,
    name: &'a Path,
    options: &'a MountOptions,
}

/// Objects are found and compared by attributes of the image, so those are believed; no index, as in any overlay of this
/// crate.
const FIXED_OPTIONS: [(&str, &str); 3] =
    [("metacopy", "on"), ("redirect_dir", "on"), ("index", "off")];

/// The ways to give an overlay its lower layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layers {
    /// One by one, the objects as data alone: Linux 6.7.
    OneByOne,
    /// As text, the objects as data alone: Linux 6.5.
    Text,
    /// As text, the objects as any other layer.
    Plain,
}

impl Plan<'_> {
    fn make(&self) -> Result<OwnedFd, MountError> {
        let made = match self.make_of(Layers::OneByOne) {
            Err(error) if error.is_invalid() => self.make_of(Layers::Text),
            made => made,
        };
        match made {
            Err(error) if error.is_invalid() => Err(self.diagnose(error)),
            made => made,
        }
    }

    /// Finds out what the kernel means by "invalid": it says the same of what it does not know and of what is wrong.
    fn diagnose(&self, error: MountError) -> MountError {
        let mut other = Self {
            verity: false,
            changes: None,
            ..*self
        };
        if other.make_of(Layers::Plain).is_err() {
            return error;
        }
        if let Err(refused) = other.make_of(Layers::Text) {
            return MountError::NoDataLayers {
                source: refused.into_refusal(),
            };
        }
        other.verity = true;
        match other.make_of(Layers::Text) {
            Err(refused) if self.verity => MountError::NoOverlayVerity {
                source: refused.into_refusal(),
            },
            _ => error,
        }
    }

    fn make_of(&self, layers: Layers) -> Result<OwnedFd, MountError> {
        let name = Escaped::path(self.name);
        let what = match self.changes {
            Some(changes) => format!(
                "the composefs image `{name}` with changes in `{}`",
                Escaped::path(&changes.path)
            ),
            None => format!("the composefs image `{name}`"),
        };
        let context = Context::open("overlay", what, MountError::NoOverlay)?;
        context.string("source", &origin::of_composefs(self.name))?;
        let image = descriptor_path(self.image.as_fd());
        let objects = descriptor_path(self.objects.as_fd());
        match layers {
            Layers::OneByOne => {
                context.string("lowerdir+", image.as_bytes())?;
                context.string("datadir+", objects.as_bytes())?;
            }
            Layers::Text => context.string("lowerdir", format!("{image}::{objects}").as_bytes())?,
            Layers::Plain => context.string("lowerdir", format!("{image}:{objects}").as_bytes())?,
        }
        for (name, value) in FIXED_OPTIONS {
            context.string(name, value.as_bytes())?;
        }
        if self.verity {
            context.string("verity", b"require")?;
        }
        let mut attributes = attributes(self.options);
        let mut named = Vec::new();
        if let Some(changes) = self.changes {
            for (option, name, directory) in changes.options() {
                let value = changes.option(name, directory, Spelling::Escaped)?;
                context.string(option, &value.value)?;
                named.push(value);
            }
        } else {
            context.flag("ro")?;
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        context.create().map_err(|e| context.refused(e))?;
        drop(named);
        context.into_mount(attributes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, mkdirat, openat};

    use super::*;
    use crate::table;

    const DATA: &[u8] = b"of an object";

    /// A tmpfs with a file.
    fn tmpfs(name: &str, data: &[u8]) -> Result<(OwnedFd, OwnedFd), MountError> {
        let context = Context::open("tmpfs", "a test".into(), MountError::NoTmpfs)?;
        context.create().map_err(|e| context.refused(e))?;
        let mount = context.into_mount(MountAttrFlags::empty())?;
        if let Some((above, _)) = name.split_once('/') {
            mkdirat(&mount, above, Mode::RWXU).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&mount, name, flags, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::io::write(&file, data).unwrap();
        Ok((mount, file))
    }

    /// As an image and its objects.
    fn layers() -> Result<[OwnedFd; 2], MountError> {
        let (image, file) = tmpfs("file", &vec![0; DATA.len()])?;
        for (name, value) in [("metacopy", &b""[..]), ("redirect", b"/ab/cd")] {
            let name = format!("trusted.overlay.{name}");
            fsetxattr(&file, name, value, XattrFlags::empty()).unwrap();
        }
        Ok([image, tmpfs("ab/cd", DATA)?.0])
    }

    /// Newer kernels know the older ways too.
    #[test]
    fn layers_are_given_in_both_ways() {
        let work = tempfile::tempdir().unwrap();
        let point = work.path().join("mnt");
        fs::create_dir(&point).unwrap();
        let target = Target::open(&point).unwrap();
        let changes = [
            None,
            Some(work.path().join("rw")),
            Some(work.path().join("a,b:c\\d")),
        ];
        for (layers_as, writable) in [Layers::OneByOne, Layers::Text]
            .iter()
            .flat_map(|layers| changes.iter().map(move |changes| (*layers, changes)))
        {
            let [image, objects] = match layers() {
                Err(MountError::Permission) => {
                    eprintln!("skipped: needs root");
                    return;
                }
                layers => layers.unwrap(),
            };
            let open = |path: &PathBuf| Changes::open(path, &image).unwrap();
            let changes = writable.as_ref().map(open);
            let plan = Plan {
                image: &image,
                objects: &objects,
                verity: false,
                changes: changes.as_ref(),
                name: Path::new("/repository:a"),
                options: &MountOptions::default(),
            };
            let make = |_: &Path| plan.make_of(layers_as);
            let overlay = match namespace::with_attached(&[&image, &objects], make) {
                Err(e) if e.is_invalid() => {
                    eprintln!("skipped: needs Linux 6.7");
                    return;
                }
                made => made.unwrap(),
            };
            target.attach(&overlay).unwrap();
            drop(overlay);
            assert_eq!(fs::read(point.join("file")).unwrap(), DATA);
            assert!(!point.join("ab").exists());
            assert_eq!(fs::write(point.join("new"), "x").is_ok(), changes.is_some());
            let found = crate::mounts().unwrap();
            let mounted = found.iter().find(|m| m.target == point).unwrap();
            assert_eq!(mounted.kind, crate::MountKind::Composefs);
            let name = Path::new("composefs:/repository:a");
            assert_eq!(mounted.source.as_deref(), Some(name));
            let keeps = mounted
                .writable
                .as_ref()
                .map(|w| fs::canonicalize(w).unwrap());
            assert_eq!(
                keeps,
                writable.as_ref().map(|w| fs::canonicalize(w).unwrap())
            );
            crate::umount(&point).unwrap();
            assert!(!table::mounts().unwrap().iter().any(|m| m.point == point));
        }
    }

    /// Errors blame the changes where nothing else is at fault.
    #[test]
    fn what_is_wrong_with_the_changes_is_no_fault_of_the_kernel() {
        let work = tempfile::tempdir().unwrap();
        let point = work.path().join("mnt");
        fs::create_dir(&point).unwrap();
        let target = Target::open(&point).unwrap();
        let make = |writable: &Path| {
            let [image, objects] = layers()?;
            let changes = Changes::open(writable, &image)?;
            let plan = Plan {
                image: &image,
                objects: &objects,
                verity: false,
                changes: Some(&changes),
                name: Path::new("/repository:a"),
                options: &MountOptions::default(),
            };
            namespace::with_attached(&[&image, &objects], |_| plan.make())
        };
        match make(&work.path().join("rw")) {
            Err(MountError::Permission) => {
                eprintln!("skipped: needs root");
                return;
            }
            Err(MountError::NoDataLayers { .. }) => {
                eprintln!("skipped: needs Linux 6.5");
                return;
            }
            made => target.attach(&made.unwrap()).unwrap(),
        }
        // An overlay keeps no changes of another one.
        let error = make(&point.join("rw")).unwrap_err();
        crate::umount(&point).unwrap();
        assert!(error.is_invalid(), "{error}");
    }
}
