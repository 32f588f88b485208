//! Images and artifacts, mounted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lithify_mount::{ImageFile, Source};
use lithify_oci::source::Source as Name;
use lithify_tree::overlay::{XATTR_ESCAPE, XATTR_PREFIX};
use lithify_tree::{Device, EntryKind, Escaped, Tree};

use super::composefs;
use super::options::MountOptions;
use super::verity::FileVerity;
use crate::BuildOptions;
use crate::Error;
use crate::Format;
use crate::Image;
use crate::Subject;
use crate::error::MountError;
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::fs::disk::Place;
use crate::fs::image::FsImage;
use crate::image::reading;
use crate::make::depot::Depot;
use crate::make::layered::{self, Layered};
use crate::make::layers::{BuiltLayer, IMAGE, LayerOptions};
use crate::make::write_flat;
use crate::output::LayersDirectory;
use crate::output::PendingFile;
use crate::session::Session;

/// Mounts an image or an artifact by its name at a directory.
///
/// An image of a composefs repository (`composefs:REPO[:NAME]`) is mounted as it is there: the kernel reads its files from the
/// repository's objects. The image's bytes are compared with its id before. Its files are compared by the kernel when they
/// are opened, if the repository is under fs-verity; if not, nobody does. Only a reference to the image keeps a collection in
/// the repository from removing objects that are mounted. Anything else is mounted by [`Subject::mount`].
///
/// # Errors
/// As [`Subject::open`] and [`Subject::mount`]; [`MountError::NoVerity`] if fs-verity is required of what is not under it.
pub fn mount(
    name: impl AsRef<OsStr>,
    directory: &Path,
    options: &MountOptions,
    session: &Session,
) -> Result<(), Error> {
    let name = name.as_ref();
    // A path that exists is none.
    if Name::has_transport(name)
        && let Name::Composefs { path, selector } = Name::parse(name)?
    {
        let mounted = composefs::mount(&path, selector.as_ref(), directory, options, session);
        return mounted.map_err(|e| session.reason(e));
    }
    Subject::open(name, session)?.mount(directory, options, session)
}

impl Subject {
    /// Mounts it at a directory.
    ///
    /// An image becomes images of its layers in the store, and a merged image over them, unless they are there: the
    /// next mount of it, and of images that share layers with it, makes less or nothing.
    ///
    /// # Errors
    /// Whatever stops the conversion; [`MountError::Mount`](crate::MountError::Mount) for what the kernel refuses.
    pub fn mount(
        &self,
        directory: &Path,
        options: &MountOptions,
        session: &Session,
    ) -> Result<(), Error> {
        self.mount_at(directory, options, session)
            .map_err(|e| session.reason(e))
    }

    fn mount_at(
        &self,
        directory: &Path,
        options: &MountOptions,
        session: &Session,
    ) -> Result<(), Error> {
        if let Self::Image(image) = self
            && let Name::Composefs { path, selector } = image.source()
        {
            return composefs::mount(path, selector.as_ref(), directory, options, session);
        }
        if options.verity != FileVerity::Auto {
            return Err(MountError::VerityOfFiles.into());
        }
        let session = &reading(session, options.drop_xattrs);
        let mount = options.of_kernel();
        match self {
            Self::File(file) => {
                file.check_data()?;
                if mount.writable.is_some() {
                    refuse_marks(&file.image.until(&session.cancel)?)?;
                }
                match disk_source(file)? {
                    None => Ok(lithify_mount::mount(file.path(), directory, &mount)?),
                    Some(source) => Ok(lithify_mount::mount_source(
                        &source,
                        directory,
                        Some(file.path()),
                        &mount,
                    )?),
                }
            }
            Self::Layers(layers) => Ok(lithify_mount::mount_source(
                &source(layers, mount.writable.is_some(), session)?,
                directory,
                Some(layers.path()),
                &mount,
            )?),
            Self::Image(image) => {
                match Depot::open(&session.store, &scratch_place(), &session.cancel)? {
                    depot if depot.keeps().is_some() && image.oci().is_some() => mount_layers(
                        image,
                        &depot,
                        directory,
                        &mount,
                        options.drop_xattrs,
                        session,
                    ),
                    _ => mount_flat(image, directory, &mount, options.drop_xattrs, session),
                }
            }
        }
    }
}

fn scratch_place() -> PathBuf {
    std::env::temp_dir().join("lithify-mount.erofs")
}

/// Converts an image into one file that has no name.
fn mount_flat(
    image: &Image,
    directory: &Path,
    mount: &lithify_mount::MountOptions,
    drop_xattrs: bool,
    session: &Session,
) -> Result<(), Error> {
    let place = scratch_place();
    let pending = PendingFile::create(&place, false)?;
    let filesystem = Filesystem {
        drop_xattrs,
        ..Filesystem::plain(Kind::Erofs)
    };
    write_flat(image, &filesystem, &pending, 0, &place, session)?;
    if mount.writable.is_some() {
        let file = pending
            .file()
            .try_clone()
            .map_err(Error::scratch_beside(&place))?;
        refuse_marks(&FsImage::open(&place, file, Kind::Erofs, &session.cancel)?)?;
    }
    Ok(lithify_mount::mount_file(pending.file(), directory, mount)?)
}

/// Under a writable mount lies an overlay, to which a device 0:0 is a removed name, and attributes in `trusted.overlay.` are its
/// own: another filesystem than the image's would be shown (docs/semantics.md, "Writable mounts").
fn refuse_marks(image: &FsImage) -> Result<(), Error> {
    image.for_each_entry(|entry| {
        let marked = |mark: String| {
            Error::from(MountError::OverlayMark {
                path: Escaped(entry.path.as_bytes()).to_string(),
                mark,
            })
        };
        if matches!(&entry.kind, EntryKind::CharDevice(device) if *device == Device::default()) {
            return Err(marked("is a character device 0:0".to_owned()));
        }
        let mut names = entry.metadata.xattrs.iter().map(|(name, _)| name);
        match names.find(|name| name.starts_with(XATTR_PREFIX)) {
            Some(name) => Err(marked(format!(
                "has the extended attribute `{}`",
                Escaped(name)
            ))),
            None => Ok(()),
        }
    })
}

/// Whether a layer has attributes of the image that are escaped for an overlay. A merged image has them as they are.
fn has_escaped(layer: &BuiltLayer, session: &Session) -> Result<bool, Error> {
    let (path, file) = crate::make::depot::open_file(&layer.entry, IMAGE)?;
    let mut found = false;
    FsImage::open(&path, file, Kind::Erofs, &session.cancel)?.for_each_entry(|entry| {
        let mut names = entry.metadata.xattrs.iter().map(|(name, _)| name);
        found |= names.any(|name| name.starts_with(XATTR_ESCAPE));
        Ok(())
    })?;
    Ok(found)
}

/// Mounts the merged image of the store over the images of the layers.
fn mount_layers(
    image: &Image,
    depot: &Depot,
    directory: &Path,
    mount: &lithify_mount::MountOptions,
    drop_xattrs: bool,
    session: &Session,
) -> Result<(), Error> {
    let options = BuildOptions {
        format: Format::ErofsLayers,
        drop_xattrs,
        ..BuildOptions::default()
    };
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(Kind::Erofs, Placement::Merged, options.filesystem())?,
        verity: false,
        durable: false,
    };
    let Layered { layers, merged } =
        match layered::make(image, depot, &layer_options, &options, session) {
            // What an overlay cannot hold, a flat image can.
            Err(e) if e.is_no_overlay() => {
                return mount_flat(image, directory, mount, drop_xattrs, session);
            }
            made => made?,
        };
    let Some(merged) = merged else {
        return mount_flat(image, directory, mount, drop_xattrs, session);
    };
    let open = |entry: &lithify_store::Entry| -> Result<ImageFile, Error> {
        Ok(ImageFile::open(&entry.path(IMAGE)?)?)
    };
    let images: Result<Vec<_>, Error> = layers.iter().map(|l| open(&l.entry)).collect();
    let images = images?;
    let mut escaped = false;
    if mount.writable.is_some() {
        for layer in &layers {
            escaped = escaped || has_escaped(layer, session)?;
        }
    }
    let source = match escaped {
        true => Source::Layers {
            images,
            root: layers.iter().rposition(|l| l.facts.describes_root),
        },
        false => Source::Merged {
            image: open(&merged.entry)?,
            devices: images,
        },
    };
    Ok(lithify_mount::mount_source(
        &source, directory, None, mount,
    )?)
}

/// What is on a disk as the kernel takes it; `None` for an image file as it is.
fn disk_source(file: &crate::ImageFile) -> Result<Option<Source>, Error> {
    let open = |place: &Place| -> Result<ImageFile, Error> {
        let file = place.file.try_clone();
        let file = file.map_err(|e| Error::input(&place.path, e))?;
        Ok(ImageFile::named(file, &place.path).part(place.offset, place.length))
    };
    let Some((merged, rest)) = file.places.split_first() else {
        return Ok(None);
    };
    let Some(image) = file.image.as_erofs() else {
        return match rest {
            [] => Ok(Some(Source::Image(open(merged)?))),
            _ => Ok(None),
        };
    };
    // Between images there may be something to fill the gaps.
    let block = image.block_size();
    let mut start = merged.length;
    let mut at = BTreeMap::new();
    for place in rest {
        at.insert(start, place);
        start += place.length;
    }
    let by_start =
        |slot: &lithify_erofs::DeviceSlot| at.get(&(u64::from(slot.mapped_block) * block)).copied();
    let slots = image.devices().iter();
    let found: Option<Vec<&Place>> = slots.map(by_start).collect();
    // In partitions they are one by one.
    let devices = found.unwrap_or_else(|| rest.iter().take(image.devices().len()).collect());
    Ok(Some(Source::Merged {
        image: open(merged)?,
        devices: devices.into_iter().map(open).collect::<Result<_, _>>()?,
    }))
}

/// The files of a layered build as the kernel takes them. A merged image has attributes of the image that mean something
/// to an overlay as they are, so it cannot lie under one then.
fn source(layers: &LayersDirectory, writable: bool, session: &Session) -> Result<Source, Error> {
    let open = |name: &String| -> Result<ImageFile, Error> {
        let (path, file) = layers.open_file(name)?;
        Ok(ImageFile::named(file, &path))
    };
    let stack = layers.stack();
    let merged = match &stack.fsmeta {
        Some(_) if writable && has_marks(&layers.tree(session)?) => None,
        merged => merged.as_ref(),
    };
    Ok(match merged {
        Some(fsmeta) => Source::Merged {
            image: open(fsmeta)?,
            devices: stack.devices.iter().map(open).collect::<Result<_, _>>()?,
        },
        None => Source::Layers {
            images: stack
                .overlay
                .iter()
                .rev()
                .map(open)
                .collect::<Result<_, _>>()?,
            root: None,
        },
    })
}

fn has_marks(tree: &Tree) -> bool {
    let marked = |id| {
        let xattrs = tree.xattrs(tree.inode(id).xattrs);
        let mut names = xattrs.iter().map(|(name, _)| name);
        names.any(|name| name.starts_with(XATTR_PREFIX))
    };
    tree.inode_ids().any(marked)
}
