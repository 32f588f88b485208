//! The places images are in, one room for each: its reading and its writing side.
//!
//! Adding a place means a row in the table of `lithify_oci::source`, a room here, and a line in [`of`].

mod daemon; // `docker-daemon:`
mod docker_archive; // `docker-archive:`
mod layout; // `oci:`
mod member; // tar headers of what is in archives
mod oci_archive; // `oci-archive:`
mod registry; // `docker://`
pub(crate) mod store; // `store:` and bare names
mod tree; // `rootfs:` and `tar:`

use std::ffi::OsStr;
use std::num::NonZeroUsize;

use lithify_oci::Located;
use lithify_oci::source::{Selector, Source};

use crate::error::{OpenError, TransferError};
use crate::image::Origin;
use crate::name::shown;
use crate::transfer::{Nature, Target};
use crate::{Error, Image, ReadOptions};

/// The way an image is written to a place.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    /// The place the image comes from, where it is one.
    pub(crate) source: Option<Source>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub(crate) chunk: Option<u64>,
    /// Whether to wait until everything is on the disk.
    pub(crate) durable: bool,
    /// Whether it is an image for all platforms.
    pub(crate) all_platforms: bool,
}

/// One image in its place, or the place one is to go to.
pub(crate) trait Place {
    /// Opens the image that is there, for the platform asked for.
    fn open(&self, name: &str, read: &ReadOptions) -> Result<Origin, Error>;

    /// Whether a place of the kind has room for an image for one platform only.
    fn is_for_one_platform(&self) -> bool {
        false
    }

    /// Finds the manifest or index that is there, whatever it is for.
    fn locate(&self, name: &str, read: &ReadOptions) -> Result<Located, Error>;

    /// Checks that an image can be written there, and touches nothing.
    fn target(
        &self,
        name: &str,
        writing: &Writing,
        read: &ReadOptions,
    ) -> Result<Box<dyn Target>, Error>;
}

/// Returns the place a name says.
///
/// # Errors
/// [`OpenError::UnsupportedSource`] for a kind of place this version does not know.
pub(crate) fn of<'a>(name: &str, source: &'a Source) -> Result<Box<dyn Place + 'a>, Error> {
    Ok(match source {
        Source::Oci { path, .. } => Box::new(layout::Layout { path, source }),
        Source::OciArchive { path, .. } => Box::new(oci_archive::OciArchive { path, source }),
        Source::DockerArchive { path, .. } => Box::new(docker_archive::InFile { path, source }),
        Source::DockerDaemon(image) => Box::new(daemon::InDaemon(image)),
        Source::Docker(reference) => Box::new(registry::InRegistry(reference)),
        Source::Store(reference) => Box::new(store::InStore(reference)),
        Source::Name(reference) => Box::new(store::Bare(reference)),
        Source::Rootfs(path) => Box::new(tree::Rootfs(path)),
        Source::Tar(input) => Box::new(tree::Tar(input)),
        _ => {
            return Err(Error::from(OpenError::UnsupportedSource {
                name: name.to_owned(),
                hint: "this kind of source is not supported",
            }));
        }
    })
}

/// Checks that an image can be written to the place `given` names.
pub(crate) fn target(
    given: &OsStr,
    writing: &Writing,
    read: &ReadOptions,
) -> Result<Box<dyn Target>, Error> {
    target_of(
        &shown(given),
        &Source::parse_destination(given)?,
        writing,
        read,
    )
}

/// Checks that an image can be written to a place.
pub(crate) fn target_of(
    name: &str,
    source: &Source,
    writing: &Writing,
    read: &ReadOptions,
) -> Result<Box<dyn Target>, Error> {
    let place = of(name, source)?;
    let target = place.target(name, writing, read)?;
    match writing.all_platforms && place.is_for_one_platform() {
        true => Err(Error::from(TransferError::OnePlatform {
            name: name.to_owned(),
        })),
        false => Ok(target),
    }
}

/// Returns the number of blobs to move at the same time between places, to one of that nature.
pub(crate) fn at_a_time<'a>(
    wanted: Option<NonZeroUsize>,
    places: impl IntoIterator<Item = &'a Source>,
    nature: Nature,
    read: &ReadOptions,
) -> Result<NonZeroUsize, Error> {
    if nature.plain_layers {
        // One goes behind the other.
        return Ok(NonZeroUsize::MIN);
    }
    let registries = places.into_iter().filter_map(|s| match s {
        Source::Docker(reference) => Some(reference),
        _ => None,
    });
    read.registries.at_a_time(wanted, registries, &read.cancel)
}

impl Image {
    /// Opens an image by its source name, such as `oci:DIR:TAG`; see [`Source`] for all of them.
    ///
    /// # Errors
    /// [`OpenError::Name`](crate::OpenError::Name) and [`OpenError::UnsupportedSource`](crate::OpenError::UnsupportedSource) for a name that cannot be opened, [`OpenError::Open`](crate::OpenError::Open) and
    /// [`OpenError::Input`](crate::OpenError::Input) for what is wrong with the image.
    pub fn open(name: impl AsRef<OsStr>, options: &ReadOptions) -> Result<Self, Error> {
        let given = name.as_ref();
        let opened = Source::parse(given)
            .map_err(Error::from)
            .and_then(|source| Self::open_source(&shown(given), source, options));
        opened.map_err(|e| options.reason(e))
    }

    /// Opens the image a parsed name says.
    pub(crate) fn open_source(
        name: &str,
        source: Source,
        options: &ReadOptions,
    ) -> Result<Self, Error> {
        let origin = of(name, &source)?.open(name, options)?;
        Ok(Self::new(name, source, origin))
    }

    /// Opens an image for every platform it is there for. Of manifests that differ only in what their layers are,
    /// [`ReadOptions::layers`] says which.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_all(name: impl AsRef<OsStr>, options: &ReadOptions) -> Result<Vec<Self>, Error> {
        let given = name.as_ref();
        let (name, source) = (&shown(given), Source::parse(given)?);
        let place = of(name, &source)?;
        if !place.is_for_one_platform() {
            let located = place.locate(name, options)?;
            let images = Self::of_all(name, &source, &located, options)?;
            if !images.is_empty() {
                return Ok(images);
            }
        }
        // Where there is none, opening says why.
        Ok(vec![Self::open(given, options)?])
    }
}

/// Opens an image of a layout or archive.
fn opened_archive_or_layout(
    name: &str,
    source: &Source,
    read: &ReadOptions,
) -> Result<Origin, Error> {
    let mut open = lithify_oci::OpenOptions::default()
        .with_limits(read.limits.image.clone())
        .preferring(read.layers)
        .until(&read.cancel);
    open.platform.clone_from(&read.platform);
    let image = lithify_oci::open(source, &open).map_err(|e| Error::opening(name, e))?;
    Ok(Origin::of(image))
}

/// Finds the manifest or index of a layout or archive.
fn located_archive_or_layout(
    name: &str,
    source: &Source,
    read: &ReadOptions,
) -> Result<Located, Error> {
    lithify_oci::locate_until(source, &read.limits.image, &read.cancel)
        .map_err(|e| Error::opening(name, e))
}

/// Returns the tag a destination has behind its path, if it has one.
fn tag_of(name: &str, destination: &Source) -> Result<Option<String>, Error> {
    match destination {
        Source::Oci { selector, .. }
        | Source::OciArchive { selector, .. }
        | Source::DockerArchive { selector, .. } => match selector {
            Some(Selector::Name(tag)) => Ok(Some(tag.clone())),
            None => Ok(None),
            Some(_) => Err(refused(name)),
        },
        _ => Ok(None),
    }
}

/// The error for a place images are not copied to.
fn refused(name: &str) -> Error {
    Error::from(TransferError::TransferDestination {
        name: name.to_owned(),
    })
}
