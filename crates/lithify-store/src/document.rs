//! Manifests and indexes, as they stand in the store.

use lithify_digest::Digest;

use crate::error::{Context as _, Error};
use crate::fault::DocumentError;
use crate::refs::{MAX_DOCUMENT, Reference, references};
use crate::{Store, sys};

/// A manifest or index, as it stands in the store.
pub(crate) enum Document {
    Missing,
    Damaged(DocumentError),
    /// What it refers to.
    Good(Vec<Reference>),
}

impl Store {
    /// Reads and verifies a manifest or index.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Document, Error> {
        let Some(file) = self.open_blob(digest)? else {
            return Ok(Document::Missing);
        };
        let path = self.blob_path(digest);
        let bytes = sys::read_limited(file, MAX_DOCUMENT).context("read", &path)?;
        let Some(bytes) = bytes else {
            return Ok(Document::Damaged(DocumentError::TooLarge));
        };
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != *digest {
            let found = Box::new(found);
            return Ok(Document::Damaged(DocumentError::Digest { found }));
        }
        Ok(match references(&bytes) {
            Ok(references) => Document::Good(references),
            Err(e) => Document::Damaged(DocumentError::Json(e)),
        })
    }
}
