//! The changes an overlay keeps in its upper directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lithify_hostfs::{OverlayAttributes, UpperOptions, UpperScanner};
use lithify_storage::{Beneath, BeneathError};
use lithify_tree::EntryKind;

use super::layer::{Counts, Layer, LayerWriter};
use super::options::CommitOptions;
use crate::Error;
use crate::error::LayerError;
use crate::image::warn_of_changes;
use crate::session::Session;

/// Makes the layer of what an overlay's upper directory keeps.
pub(super) fn layer(
    directory: &Path,
    scratch: &File,
    scratched: impl Fn(io::Error) -> Error + Copy,
    options: &CommitOptions,
    session: &Session,
) -> Result<Layer, Error> {
    let (upper, is_inside) = upper_of(directory)?;
    let mut scan = UpperOptions::default();
    scan.no_link = is_inside;
    scan.cancel = session.cancel.clone();
    scan.view.clone_from(&options.view);
    scan.fuse_overlayfs = options.fuse_overlayfs;
    scan.attributes = match options.user_attributes {
        // A mount of ours is never one of either: what else looks like a mark is the image's.
        None if options.fuse_overlayfs != Some(true) && is_of_a_mount(&upper) => {
            scan.fuse_overlayfs = Some(false);
            OverlayAttributes::Trusted
        }
        None => OverlayAttributes::Found,
        Some(true) => OverlayAttributes::User,
        Some(false) => OverlayAttributes::Trusted,
    };
    let mut scanner = UpperScanner::open(&upper, scan)?;
    let hint = "remove or shorten the file in the overlay, or raise the limit tar_bytes";
    let mut layer = LayerWriter::new(scratch, &scratched, options, session, hint)?;
    while let Some(entry) = scanner.next_entry()? {
        layer.entry(&entry)?;
        if matches!(entry.kind, EntryKind::File { .. }) {
            scanner.copy_into(&mut layer).map_err(|e| match e {
                lithify_hostfs::CopyError::Sink(e) => e,
                lithify_hostfs::CopyError::Scan(e) => Error::from(LayerError::Scan(e)),
                _ => Error::cancelled(),
            })?;
        }
    }
    let summary = scanner.finish()?;
    warn_of_changes(&crate::name::shown_path(&upper), summary.recorded.as_ref());
    let mut layer = layer.finish()?;
    layer.counts = Counts {
        entries: summary.entries,
        whiteouts: summary.whiteouts,
        opaque: summary.opaque,
        sockets: summary.sockets,
    };
    layer.recorded = summary.recorded;
    Ok(layer)
}

/// The upper directory that is meant, and whether it was found inside the one that was named. What is inside is not the
/// user's choice: a link in its place would make a layer of whatever it leads to.
fn upper_of(directory: &Path) -> Result<(PathBuf, bool), Error> {
    let failed = |name: &str, e: io::Error| Error::input(&directory.join(name), e);
    let opened = Beneath::open(directory).map_err(|e| Error::input(directory, e))?;
    for name in ["upper", "work"] {
        match opened.directory(name) {
            Ok(_) => {}
            Err(e @ BeneathError::Link { .. })
                if ["upper", "work"].iter().all(|n| directory.join(n).is_dir()) =>
            {
                return Err(failed(name, e.into()));
            }
            Err(
                BeneathError::Link { .. }
                | BeneathError::NotDirectory { .. }
                | BeneathError::NotRegular { .. },
            ) => return Ok((directory.to_path_buf(), false)),
            // The work directory of a mounted overlay is nobody's to read.
            Err(BeneathError::Io(e)) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(e) if e.is_not_found() => return Ok((directory.to_path_buf(), false)),
            Err(e) => return Err(failed(name, e.into())),
        }
    }
    Ok((directory.join("upper"), true))
}

/// Whether a directory keeps the changes of a mount lithify made.
#[cfg(feature = "mount")]
fn is_of_a_mount(upper: &Path) -> bool {
    lithify_mount::keeps_changes(upper)
}

/// Whether a directory keeps the changes of a mount lithify made: this library was built without mounts.
#[cfg(not(feature = "mount"))]
fn is_of_a_mount(_: &Path) -> bool {
    false
}
