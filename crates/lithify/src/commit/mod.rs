//! `commit`: changes of a mount or of a virtual machine's disk into a layer, appended to an image.

mod contents; // what files have in them
mod disk; // changes of a disk
mod layer; // the layer being written
mod plan; // the new image
mod upper; // changes an overlay keeps

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use lithify_oci::source::Source;
use serde::Serialize;

use crate::Error;
use crate::ErrorKind;
use crate::Image;
use crate::description::RecordedDescription;
use crate::error::{CommitError, TransferError};
use crate::manifest::encode::LayerCompression;
use crate::name::shown;
use crate::output::scratch_file;
use crate::place::{self, Writing};
use crate::session::Session;
use crate::transfer::run;

/// How the layer is made, and what the image says about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// How the layer is compressed. Default gzip.
    pub compression: LayerCompression,
    /// Where the overlay is mounted, if it still is: renamed directories and files of which only metadata was changed are
    /// read from there. Without, they are errors.
    pub view: Option<PathBuf>,
    /// Whether the overlay kept its own attributes in `user.overlay.` (`userxattr`). Default: found out; of what
    /// [`MountOptions::writable`](crate::MountOptions::writable) was given it is known that it did not.
    pub user_attributes: Option<bool>,
    /// Whether fuse-overlayfs made the directory. Default: its marks are errors.
    pub fuse_overlayfs: Option<bool>,
    /// When, as the image will say (RFC 3339). Default: what the base image says, for the same bytes every time.
    pub created: Option<String>,
    /// What the image's history says made the layer. Default `lithify commit`.
    pub created_by: Option<String>,
    /// A comment in the history.
    pub comment: Option<String>,
    /// Blobs moved at the same time; `None` is 4.
    pub transfers: Option<NonZeroUsize>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub chunk: Option<u64>,
    /// Wait until the image is on the disk. Default false.
    pub durable: bool,
}

/// What a commit made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommitReport {
    /// Digest of the new image's manifest.
    pub manifest_digest: String,
    /// Digest of the new layer's blob.
    pub layer_digest: String,
    /// Digest of its uncompressed tar.
    pub diff_id: String,
    /// Size of the blob in bytes.
    pub layer_size: u64,
    /// Layers of the image, the new one included.
    pub layers: usize,
    /// Entries of the new layer.
    pub entries: u64,
    /// Names it removes.
    pub whiteouts: u64,
    /// Directories it empties.
    pub opaque: u64,
    /// Sockets, which a layer cannot hold: the names are removed.
    pub sockets: u64,
    /// Of a directory that a build wrote: what became of what was written beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedDescription>,
}

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
