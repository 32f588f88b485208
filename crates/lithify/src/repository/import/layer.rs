//! Layers on their way into a repository.

use std::io::{self, Read as _};

use lithify_composefs::oci::{self, LayerSplitter};
use lithify_composefs::repository::{Category, Repository, Stored};
use lithify_digest::Digest;
use lithify_layer::{BlobError, Decoded};

use super::merged::LayerStream;
use crate::Error;
use crate::error::RepositoryFault;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// A layer whose tar is in a repository.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredLayer {
    pub(crate) stream: LayerStream,
    /// Bytes of the tar.
    pub(crate) size: u64,
    /// Members of the tar; 0 if it was there before.
    pub(crate) members: u64,
}

/// Tells whether a repository has a layer, by what it says itself.
pub(crate) fn has_layer(repository: &Repository, diff_id: &Digest) -> Result<bool, Error> {
    let name = oci::layer_stream(diff_id);
    let is_intact = repository.is_intact(Category::Streams, &name, None);
    is_intact.map_err(|e| Error::in_repository(repository.path(), RepositoryFault::from(e)))
}

/// Finds a layer that is in a repository, and compares its tar with the diff_id: whoever published it may have compared nothing.
/// One that cannot be read, or is another one, is not there.
pub(crate) fn find_layer(
    repository: &Repository,
    diff_id: &Digest,
    session: &Session,
    budgets: &Budgets,
) -> Result<Option<StoredLayer>, Error> {
    let failed = |fault: RepositoryFault| Error::in_repository(repository.path(), fault);
    if !has_layer(repository, diff_id)? {
        return Ok(None);
    }
    let name = oci::layer_stream(diff_id);
    let entry = repository.entry(Category::Streams, &name);
    let Some(id) = entry.map_err(|e| failed(e.into()))? else {
        return Ok(None);
    };
    let Ok(mut tar) = oci::open_layer(repository, diff_id) else {
        return Ok(None);
    };
    // A blob of that digest is no tar. One that is longer than all layers may be is counted where it comes from.
    let size = tar.size();
    if !tar.is_tar() || budgets.tar_bytes.take(size).is_err() {
        return Ok(None);
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        match tar.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Then it is stored again; what keeps it from being read keeps that from being done.
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(StoredLayer {
        stream: LayerStream {
            diff_id: *diff_id,
            id,
            is_found: true,
        },
        size,
        members: 0,
    }))
}

/// Stores the tar that a decoder gives. Once the decoder came to its end, it is the layer that was expected.
pub(crate) fn store_layer(
    repository: &Repository,
    decoded: &mut Decoded,
    session: &Session,
    layer_failed: impl Fn(lithify_layer::Error) -> Error,
) -> Result<StoredLayer, Error> {
    let failed = |e: oci::LayerError| match e {
        oci::LayerError::Tar(e) => layer_failed(lithify_layer::Error::Tar(e)),
        e => Error::in_repository(repository.path(), e),
    };
    let mut splitter =
        LayerSplitter::unverified(repository, session.limits.layer.tar()).map_err(failed)?;
    let read_failed = |e: BlobError| match e {
        BlobError::Cancelled => Error::cancelled(),
        e => layer_failed(e.into()),
    };
    while let Some(bytes) = decoded.next().map_err(read_failed)? {
        if let Err(error) = splitter.push(bytes) {
            return Err(better(decoded, error, failed, read_failed));
        }
    }
    let summary = decoded.summary().ok_or_else(Error::cancelled)?;
    let members = splitter.members();
    let stored: Stored = splitter.finish().map_err(failed)?;
    Ok(StoredLayer {
        stream: LayerStream {
            diff_id: summary.diff_id,
            id: stored.id,
            is_found: false,
        },
        size: summary.size,
        members,
    })
}

/// Returns the error of a tar; or that it is of another blob, which is the better news.
fn better(
    decoded: &mut Decoded,
    error: oci::LayerError,
    failed: impl Fn(oci::LayerError) -> Error,
    read_failed: impl Fn(BlobError) -> Error,
) -> Error {
    if !matches!(error, oci::LayerError::Tar(_)) {
        return failed(error);
    }
    loop {
        match decoded.next() {
            Ok(Some(_)) => {}
            Err(e) if e.is_verification() => return read_failed(e),
            Ok(None) | Err(_) => return failed(error),
        }
    }
}
