//! A configuration on its way.

use std::io::Read as _;

use lithify_digest::{VerifiedReader, Verifier};
use lithify_oci::blob::BlobName;
use lithify_oci::manifest::Descriptor;

use super::blob::BlobSource;
use crate::Error;
use crate::session::Session;

/// Reads a configuration of an image of that name, and verifies it.
pub(crate) fn read_config(
    blob: &Descriptor,
    content: &dyn BlobSource,
    name: &str,
    session: &Session,
) -> Result<Vec<u8>, Error> {
    let limit = session.limits.image.config_bytes;
    if blob.size > limit {
        let too_large = lithify_oci::blob::Error::TooLarge {
            name: BlobName::Config(Box::new(blob.digest)),
            found: blob.size,
            limit,
            option: "config_bytes",
        };
        return Err(Error::opening(name, too_large));
    }
    let mut bytes = Vec::new();
    let verifier = Verifier::new(blob.digest, blob.size);
    let read = VerifiedReader::new(content.open(0)?, verifier).read_to_end(&mut bytes);
    match read {
        Ok(_) => Ok(bytes),
        Err(_) if session.cancel.is_cancelled() => Err(Error::cancelled()),
        Err(e) => Err(Error::of_reader(&blob.digest, e)),
    }
}
