//! A tar-diff, applied at once.

use std::io::{BufReader, Read};

use lithify_delta::apply::{Patch, PatchError, PatchOptions};
use lithify_digest::{Algorithm, Digest, Hasher};

use super::base::SharedSources;
use crate::Error;
use crate::session::Session;

/// Bytes copied at a time.
pub(super) const BUFFER: usize = 256 << 10;

/// Begins to apply a tar-diff.
pub(super) fn begin<R: Read>(
    delta: R,
    sources: SharedSources,
    session: &Session,
) -> Result<Patch<BufReader<R>, SharedSources>, PatchError> {
    let options = PatchOptions {
        cancel: session.cancel.clone(),
        ..PatchOptions::default()
    };
    let input = BufReader::with_capacity(BUFFER, delta);
    Patch::new(input, sources, &options)
}

/// Applies a tar-diff; returns the digest and the size of what it made.
pub(super) fn apply(
    delta: impl Read,
    sources: SharedSources,
    session: &Session,
    failed: impl Fn(PatchError) -> Error,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(Digest, u64), Error> {
    let mut patch = begin(delta, sources, session).map_err(&failed)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let read = patch.fill(&mut buffer).map_err(&failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        write(&buffer[..read])?;
        size += read as u64;
    }
    Ok((hasher.finish(), size))
}
