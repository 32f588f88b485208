//! The only files of a layout that are ever opened.

use lithify_digest::Digest;

use crate::archive::Archive;
use crate::blob::{self, Blob, BlobName};

/// One file of a layout.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member<'a> {
    OciLayout,
    IndexJson,
    Blob(&'a Digest),
}

impl Member<'_> {
    /// The path within the layout.
    pub(crate) fn path(self) -> String {
        match self {
            Self::OciLayout => "oci-layout".to_owned(),
            Self::IndexJson => "index.json".to_owned(),
            Self::Blob(digest) => blob_path(digest),
        }
    }
}

pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// A layout, wherever it is.
pub(crate) trait Members: Send + Sync + std::fmt::Debug {
    /// Opens one file; `None` if it is not there.
    fn open(&self, member: Member<'_>) -> Result<Option<Blob>, blob::Error>;

    /// What this seems to be if it is no layout: empty, or words that continue a sentence.
    fn other_kind(&self) -> &'static str;
}

impl Members for Archive {
    fn open(&self, member: Member<'_>) -> Result<Option<Blob>, blob::Error> {
        let path = member.path();
        self.open_entry(&path)
            .map_err(|source| blob::Error::Archive {
                name: BlobName::Path(path),
                source,
            })
    }

    fn other_kind(&self) -> &'static str {
        if self.contains("manifest.json") {
            "; this is an archive of `docker save`, use docker-archive:FILE"
        } else if self.contains("repositories") {
            "; this is an archive of `docker save` from before version 1.10: load and save it again"
        } else if ["usr", "etc", "bin"].iter().any(|name| self.contains(name)) {
            "; this seems to be a file tree, use tar:FILE"
        } else {
            ""
        }
    }
}
