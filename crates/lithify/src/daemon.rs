//! Images of a daemon on this machine.

use lithify_oci::archive::Archive;
use lithify_oci::source::DaemonImage;
use lithify_registry::daemon::{Daemon, DaemonError};
use lithify_tree::Escaped;

use crate::error::OpenError;
use crate::{Error, ReadOptions};

/// Has a daemon save an image into a file without a name, and opens it there.
pub(crate) fn open(
    name: &str,
    image: &DaemonImage,
    open: &lithify_oci::OpenOptions,
    options: &ReadOptions,
) -> Result<lithify_oci::Image, Error> {
    let daemon =
        Daemon::connect_until(&options.daemon, &options.cancel).map_err(|e| options.reason(e))?;
    // Older daemons say only here in so many words that there is no such image.
    let info = daemon.inspect(image).map_err(|e| options.reason(e))?;
    log::info!(
        "the daemon at {} saves {name} ({})",
        Escaped::path(daemon.socket()),
        Escaped(&info.id)
    );
    let saved = daemon.save(image).map_err(|e| options.reason(e))?;
    let archive = Archive::from_reader_until(saved, &open.limits, &options.cancel);
    let archive = archive.map_err(|error| {
        if options.cancel.is_cancelled() {
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
