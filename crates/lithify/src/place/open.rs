//! The place a name says, opened.

use std::ffi::OsStr;
use std::num::NonZeroUsize;

use lithify_oci::source::Source;

#[cfg(feature = "daemon")]
use super::daemon;
#[cfg(feature = "registry")]
use super::registry;
use super::room::{Place, Writing};
use super::{composefs, docker_archive, layout, oci_archive, store, tree};
use crate::error::{OpenError, TransferError};
use crate::name::shown;
use crate::transfer::{Nature, Target};
use crate::{Error, Image, Session};

/// Returns the place a name says.
///
/// # Errors
/// [`OpenError::UnsupportedSource`] for a kind of place this version does not know.
pub(crate) fn of<'a>(name: &str, source: &'a Source) -> Result<Box<dyn Place + 'a>, Error> {
    Ok(match source {
        Source::Oci { path, .. } => Box::new(layout::Layout { path, source }),
        Source::OciArchive { path, .. } => Box::new(oci_archive::OciArchive { path, source }),
        Source::Composefs { path, .. } => Box::new(composefs::InRepository { path, source }),
        Source::DockerArchive { path, .. } => Box::new(docker_archive::InFile { path, source }),
        #[cfg(feature = "daemon")]
        Source::DockerDaemon(image) => Box::new(daemon::InDaemon(image)),
        #[cfg(feature = "registry")]
        Source::Docker(reference) => Box::new(registry::InRegistry(reference)),
        Source::Store(reference) => Box::new(store::InStore(reference)),
        Source::Name(reference) => Box::new(store::Bare(reference)),
        Source::Rootfs(path) => Box::new(tree::Rootfs(path)),
        Source::Tar(input) => Box::new(tree::Tar(input)),
        Source::Ext4(path) => Box::new(tree::Ext4(path)),
        #[cfg(not(feature = "daemon"))]
        Source::DockerDaemon(_) => {
            return Err(Error::not_built_in("images of daemons", "daemon"));
        }
        #[cfg(not(feature = "registry"))]
        Source::Docker(_) => return Err(Error::not_built_in("registries", "registry")),
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
    session: &Session,
) -> Result<Box<dyn Target>, Error> {
    target_of(
        &shown(given),
        &Source::parse_destination(given)?,
        writing,
        session,
    )
}

/// Checks that an image can be written to a place.
pub(crate) fn target_of(
    name: &str,
    source: &Source,
    writing: &Writing,
    session: &Session,
) -> Result<Box<dyn Target>, Error> {
    let place = of(name, source)?;
    let target = place.target(name, writing, session)?;
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
    session: &Session,
) -> Result<NonZeroUsize, Error> {
    if nature.one_by_one {
        return Ok(NonZeroUsize::MIN);
    }
    let registries = places.into_iter().filter_map(|s| match s {
        #[cfg(feature = "registry")]
        Source::Docker(reference) => Some(reference),
        _ => None,
    });
    session
        .registries
        .at_a_time(wanted, registries, &session.cancel)
}

impl Image {
    /// Opens an image by its source name, such as `oci:DIR:TAG`; see [`Source`] for all of them.
    ///
    /// # Errors
    /// [`OpenError::Name`](crate::OpenError::Name) and [`OpenError::UnsupportedSource`](crate::OpenError::UnsupportedSource) for a name that cannot be opened, [`OpenError::Open`](crate::OpenError::Open) and
    /// [`OpenError::Input`](crate::OpenError::Input) for what is wrong with the image.
    pub fn open(name: impl AsRef<OsStr>, session: &Session) -> Result<Self, Error> {
        let given = name.as_ref();
        let opened = Source::parse(given)
            .map_err(Error::from)
            .and_then(|source| Self::open_source(&shown(given), source, session));
        opened.map_err(|e| session.reason(e))
    }

    /// Opens the image a parsed name says.
    pub(crate) fn open_source(
        name: &str,
        source: Source,
        session: &Session,
    ) -> Result<Self, Error> {
        let origin = of(name, &source)?.open(name, session)?;
        Ok(Self::new(name, source, origin))
    }

    /// Opens an image for every platform it is there for. Of manifests that differ only in what their layers are,
    /// [`Session::layers`] says which.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_all(name: impl AsRef<OsStr>, session: &Session) -> Result<Vec<Self>, Error> {
        let given = name.as_ref();
        let (name, source) = (&shown(given), Source::parse(given)?);
        let place = of(name, &source)?;
        if !place.is_for_one_platform() {
            let located = place.locate(name, session)?;
            let images = Self::of_all(name, &source, &located, session)?;
            if !images.is_empty() {
                return Ok(images);
            }
        }
        // Where there is none, opening says why.
        Ok(vec![Self::open(given, session)?])
    }
}
