//! `docker-daemon:`: images of a daemon on this machine.

use std::fs::File;
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_oci::Located;
use lithify_oci::archive::Archive;
use lithify_oci::manifest::Descriptor;
use lithify_oci::source::DaemonImage;
use lithify_registry::daemon::{Daemon, DaemonError};
use lithify_storage::FileCursor;
use lithify_tree::Escaped;

use super::docker_archive::{DockerArchive, NATURE, loaded_name};
use super::room::Place;
use super::room::Writing;
use crate::CancelToken;
use crate::Error;
use crate::error::OpenError;
use crate::image::Origin;
use crate::output::scratch_file;
use crate::session::Session;
use crate::transfer::{BlobSource, Destination, Nature, Placed, Plan, Target};

/// An image of the daemon.
pub(super) struct InDaemon<'a>(pub(super) &'a DaemonImage);

impl Place for InDaemon<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        let mut open =
            lithify_oci::OpenOptions::default().with_limits(session.limits.image.clone());
        open.platform.clone_from(&session.platform);
        Ok(Origin::of(save(name, self.0, &open, session)?))
    }

    fn is_for_one_platform(&self) -> bool {
        true
    }

    fn locate(&self, name: &str, _: &Session) -> Result<Located, Error> {
        // It is saved as one image without a manifest.
        Err(Error::opening(name, lithify_oci::Error::NoManifest))
    }

    fn target(&self, name: &str, _: &Writing, session: &Session) -> Result<Box<dyn Target>, Error> {
        let refused = || super::room::refused(name);
        let DaemonImage::Name(reference) = self.0 else {
            return Err(refused());
        };
        Ok(Box::new(DaemonTarget {
            name: name.to_owned(),
            tags: vec![loaded_name(reference).ok_or_else(refused)?],
            session: session.clone(),
        }))
    }
}

/// The names an image gets in the daemon.
#[derive(Debug)]
struct DaemonTarget {
    name: String,
    tags: Vec<String>,
    session: Session,
}

impl Target for DaemonTarget {
    fn nature(&self) -> Nature {
        NATURE
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        let Self {
            name,
            tags,
            session,
        } = *self;
        let daemon = Daemon::connect_until(&session.daemon, &session.cancel)
            .map_err(|e| session.reason(e))?;
        let file = Arc::new(scratch_file(None).map_err(Error::scratch)?);
        Ok(Box::new(DaemonDestination {
            archive: DockerArchive::new(Arc::clone(&file), None, &name, tags, &session),
            file,
            daemon,
            cancel: session.cancel,
        }))
    }
}

/// A daemon that loads an image once all of it is here and verified: it is sent nothing that may turn out wrong.
#[derive(Debug)]
struct DaemonDestination {
    archive: DockerArchive,
    /// Where that is, in a file without a name.
    file: Arc<File>,
    daemon: Daemon,
    cancel: CancelToken,
}

impl Destination for DaemonDestination {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        self.archive.begin(plan)
    }

    fn has_blob(&self, _: &Descriptor) -> Result<bool, Error> {
        Ok(false)
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        self.archive.put(blob, content)
    }

    fn put_manifest(&self, _: &Descriptor, _: &[u8]) -> Result<(), Error> {
        // There is no place for it.
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Descriptor) -> Result<(), Error> {
        let length = self.archive.finish()?;
        let mut reader = Checked::new(FileCursor::new(&*self.file, 0), &self.cancel);
        match self.daemon.load(&mut reader, length) {
            Ok(names) => {
                log::info!("the daemon has it as {}", Escaped(&names.join(", ")));
                Ok(())
            }
            Err(_) if self.cancel.is_cancelled() => Err(Error::cancelled()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Has a daemon save an image into a file without a name, and opens it there.
fn save(
    name: &str,
    image: &DaemonImage,
    open: &lithify_oci::OpenOptions,
    session: &Session,
) -> Result<lithify_oci::Image, Error> {
    let daemon =
        Daemon::connect_until(&session.daemon, &session.cancel).map_err(|e| session.reason(e))?;
    // Older daemons say only here in so many words that there is no such image.
    let info = daemon.inspect(image).map_err(|e| session.reason(e))?;
    log::info!(
        "the daemon at {} saves {name} ({})",
        Escaped::path(daemon.socket()),
        Escaped(&info.id)
    );
    let saved = daemon.save(image).map_err(|e| session.reason(e))?;
    let archive = Archive::from_reader_until(saved, &open.limits, &session.cancel);
    let archive = archive.map_err(|error| {
        if session.cancel.is_cancelled() {
            return Error::cancelled();
        }
        failed(name, error)
    })?;
    lithify_oci::Image::from_docker_archive(&archive, None, open)
        .map_err(|source| Error::opening(name, source))
}

/// The daemon's error, if it was one.
fn failed(name: &str, error: lithify_oci::archive::Error) -> Error {
    let source = match error {
        lithify_oci::archive::Error::Read { source } => source,
        source => {
            return Error::from(OpenError::DaemonArchive {
                name: name.to_owned(),
                source: Box::new(source),
            });
        }
    };
    match source.downcast::<DaemonError>() {
        Ok(error) => error.into(),
        Err(source) => Error::from(OpenError::DaemonArchive {
            name: name.to_owned(),
            source: Box::new(lithify_oci::archive::Error::Read { source }),
        }),
    }
}
