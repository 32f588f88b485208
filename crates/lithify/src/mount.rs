//! Mounting an image or artifact.

use std::path::{Path, PathBuf};

use lithify_mount::{ImageFile, Source};

use crate::artifact_dir::LayersDirectory;
use crate::build::filesystem::{Filesystem, Kind, Placement};
use crate::build::layered::{self, Layered};
use crate::build::layers::{IMAGE, LayerOptions};
use crate::build::write_flat;
use crate::depot::Depot;
use crate::output::PendingFile;
use crate::{BuildOptions, Error, Format, Image, ReadOptions, StoreChoice, Subject};

pub use lithify_mount::{MountKind, Mounted};

/// How something is mounted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// Keep changes in an overlay in this directory; without, the mount is read-only.
    pub writable: Option<PathBuf>,
    /// Let set-user-ID bits and file capabilities of the image take effect. Default false.
    pub setuid: bool,
    /// Let device nodes of the image be opened. Default false.
    pub devices: bool,
    /// Where images of layers are kept and looked for. With none, an image is converted into one file that goes away
    /// with the mount.
    pub store: StoreChoice,
}

impl Subject {
    /// Mounts it at a directory.
    ///
    /// An image becomes images of its layers in the store, and a merged image over them, unless they are there: the
    /// next mount of it, and of images that share layers with it, makes less or nothing.
    ///
    /// # Errors
    /// Whatever stops the conversion; [`Error::Mount`] for what the kernel refuses.
    pub fn mount(
        &self,
        directory: &Path,
        options: &MountOptions,
        read: &ReadOptions,
    ) -> Result<(), Error> {
        let mut mount = lithify_mount::MountOptions::default();
        mount.writable.clone_from(&options.writable);
        mount.setuid = options.setuid;
        mount.devices = options.devices;
        match self {
            Self::File(file) => Ok(lithify_mount::mount(file.path(), directory, &mount)?),
            Self::Layers(layers) => Ok(lithify_mount::mount_source(
                &source(layers)?,
                directory,
                Some(layers.path()),
                &mount,
            )?),
            Self::Image(image) => match Depot::open(&options.store, &scratch_place())? {
                depot if depot.keeps().is_some() && image.oci().is_some() => {
                    mount_layers(image, &depot, directory, &mount, read)
                }
                _ => mount_flat(image, directory, &mount, read),
            },
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
    read: &ReadOptions,
) -> Result<(), Error> {
    let place = scratch_place();
    let pending = PendingFile::create(&place, false)?;
    write_flat(
        image,
        &Filesystem::plain(Kind::Erofs),
        &pending,
        &place,
        read,
    )?;
    Ok(lithify_mount::mount_file(pending.file(), directory, mount)?)
}

/// Mounts the merged image of the store over the images of the layers.
fn mount_layers(
    image: &Image,
    depot: &Depot,
    directory: &Path,
    mount: &lithify_mount::MountOptions,
    read: &ReadOptions,
) -> Result<(), Error> {
    let options = BuildOptions {
        format: Format::ErofsLayers,
        ..BuildOptions::default()
    };
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(Kind::Erofs, Placement::Merged, &options)?,
        verity: false,
        durable: false,
    };
    let Layered { layers, merged } =
        match layered::make(image, depot, &layer_options, &options, read) {
            // What an overlay cannot hold, a flat image can.
            Err(Error::Overlay { .. } | Error::NoLayers) => {
                return mount_flat(image, directory, mount, read);
            }
            made => made?,
        };
    let Some(merged) = merged else {
        return mount_flat(image, directory, mount, read);
    };
    let open = |entry: &lithify_store::Entry| -> Result<ImageFile, Error> {
        Ok(ImageFile::open(&entry.path(IMAGE)?)?)
    };
    let devices: Result<Vec<_>, Error> = layers.iter().map(|l| open(&l.entry)).collect();
    let source = Source::Merged {
        image: open(&merged.entry)?,
        devices: devices?,
    };
    Ok(lithify_mount::mount_source(
        &source, directory, None, mount,
    )?)
}

/// The files of a layered build as the kernel takes them.
fn source(layers: &LayersDirectory) -> Result<Source, Error> {
    let open = |name: &String| ImageFile::open(&layers.path().join(name));
    let stack = layers.stack();
    Ok(match &stack.fsmeta {
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

/// What lithify has mounted, in the order of mounting.
///
/// # Errors
/// [`Error::Mount`].
pub fn mounts() -> Result<Vec<Mounted>, Error> {
    Ok(lithify_mount::mounts()?)
}

/// Undoes a mount: the overlay, the images below it and their loop devices.
///
/// # Errors
/// [`Error::Mount`].
pub fn umount(directory: &Path) -> Result<(), Error> {
    Ok(lithify_mount::umount(directory)?)
}
