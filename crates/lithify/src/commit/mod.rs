//! `commit`: changes of a mount or of a virtual machine's disk into a layer, appended to an image.

mod contents; // what files have in them
mod disk; // changes of a disk
mod layer; // the layer being written
mod options; // what is asked for, and what was made
mod plan; // the new image
mod upper; // changes an overlay keeps

use std::ffi::OsStr;
use std::path::Path;

use lithify_oci::source::Source;

use crate::Error;
use crate::ErrorKind;
use crate::Image;
use crate::error::{CommitError, TransferError};
use crate::name::shown;
use crate::output::scratch_file;
use crate::place::{self, Writing};
use crate::session::Session;
use crate::transfer::run;

pub use options::{CommitOptions, CommitReport};

/// Turns changes into a layer and appends it to an image: those an overlay keeps in its upper directory, or what is other on a
/// disk than in the base image.
///
/// A disk is a file or a device with an ext4 filesystem, by itself or in a partition. It is compared with the image name by name and
/// byte by byte, not by times; neither is it mounted nor is root needed.
///
/// `destination` is any place images are copied to, or a bare name, which is one of the store. The image is `base`; without one,
/// the image that has the destination's name, which the new one then takes from it. A directory that holds `upper` and `work`, as [`MountOptions::writable`](crate::MountOptions::writable)
/// makes it, stands for its `upper`. The same changes give the same layer, byte for byte.
///
/// # Errors
/// [`CommitError::Upper`](crate::CommitError::Upper) for changes a layer cannot say, [`CommitError::Base`](crate::CommitError::Base) for an image without a configuration, what opening or
/// reading the base image fails with, and what [`copy`](crate::copy()) fails with. Nothing that was at the destination is lost.
pub fn commit(
    upper: &Path,
    base: Option<&Image>,
    destination: impl AsRef<OsStr>,
    options: &CommitOptions,
    session: &Session,
) -> Result<CommitReport, Error> {
    commit_to(upper, base, destination.as_ref(), options, session).map_err(|e| session.reason(e))
}

fn commit_to(
    upper: &Path,
    base: Option<&Image>,
    destination: &OsStr,
    options: &CommitOptions,
    session: &Session,
) -> Result<CommitReport, Error> {
    let name = &shown(destination);
    // A bare name is one of the store: there is no other place for it.
    let to = match Source::parse_destination(destination)? {
        Source::Name(reference) => Source::Store(reference),
        other => other,
    };
    let writing = Writing {
        source: base.map(|image| image.source().clone()),
        chunk: options.chunk,
        durable: options.durable,
        all_platforms: false,
    };
    let target = place::target_of(name, &to, &writing, session)?;
    let own;
    let base = match base {
        Some(image) => image,
        None => {
            own = own_base(name, &to, session)?;
            &own
        }
    };
    let unsuitable = || {
        Error::from(CommitError::Base {
            name: base.name().to_owned(),
        })
    };
    let oci = base.shared_oci().ok_or_else(unsuitable)?;
    let nature = target.nature();
    let scratch = target.scratch();
    let opened = target.open()?;

    let scratched = Error::scratch_beside(&scratch);
    let file = scratch_file(Some(&scratch)).map_err(scratched)?;
    let layer = match is_disk(upper)? {
        true => disk::layer(upper, base, &file, scratched, options, session)?,
        false => upper::layer(upper, &file, scratched, options, session)?,
    };
    let plan = plan::plan(base, oci, &layer, file, nature, options, session)?;
    let manifest = plan.root().ok_or(TransferError::NoManifest)?.digest;
    let places = [Some(base.source()), Some(&to)].into_iter().flatten();
    let workers = place::at_a_time(options.transfers, places, nature, session)?;
    run(plan, opened, workers, session)?;
    Ok(CommitReport {
        manifest_digest: manifest.to_string(),
        layer_digest: layer.digest.to_string(),
        diff_id: layer.diff_id.to_string(),
        layer_size: layer.size,
        layers: oci.layers().len() + 1,
        entries: layer.counts.entries,
        whiteouts: layer.counts.whiteouts,
        opaque: layer.counts.opaque,
        sockets: layer.counts.sockets,
        recorded: layer.recorded.as_ref().map(Into::into),
    })
}

/// Whether the changes are on a disk, which is no directory.
fn is_disk(changes: &Path) -> Result<bool, Error> {
    let metadata = changes.metadata().map_err(|e| Error::input(changes, e))?;
    Ok(!metadata.is_dir())
}

/// Opens the image that has the destination's name, on which the changes were made then.
fn own_base(name: &str, to: &Source, session: &Session) -> Result<Image, Error> {
    let there = match to {
        Source::Oci { path, .. } => path.join("oci-layout").is_file(),
        Source::Composefs { path, .. } => path.join("meta.json").is_file(),
        Source::OciArchive { path, .. } | Source::DockerArchive { path, .. } => path.is_file(),
        _ => true,
    };
    let none = |source| {
        let name = name.to_owned();
        Error::from(CommitError::NoBase { name, source })
    };
    if !there {
        return Err(none(None));
    }
    Image::open_source(name, to.clone(), session).map_err(|error| match error.kind() {
        ErrorKind::NotFound => none(Some(Box::new(error))),
        _ => error,
    })
}
