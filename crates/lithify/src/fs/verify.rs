//! Checks of image files.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use lithify_cancel::Checked;
use serde::Serialize;

use super::image::FsImage;
use crate::Error;
use crate::error::{ArtifactError, SealReport};
use crate::name::shown_path;
use crate::session::Session;

/// What [`Subject::verify`](crate::Subject::verify) looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The name that was verified.
    pub name: String,
    /// Entries of all layers, or inodes of an artifact.
    pub entries: u64,
    /// Bytes whose digests or structure were checked: tar bytes of an image, the size of an artifact.
    pub bytes: u64,
    /// Whether file data was checked too: of an image by its digests, of an artifact by a recorded digest or a hash
    /// tree. Data in an uncompressed image has nothing else to be checked by.
    pub data: bool,
    /// Files of an image with an extended attribute that no Linux filesystem holds, by its name: it is sound, but can be
    /// built only without them ([`BuildOptions::drop_xattrs`](crate::BuildOptions)).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unusable_xattrs: BTreeMap<String, u64>,
    /// The composefs image, of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composefs: Option<VerifiedComposefs>,
    /// The digests of composefs that were published with the image, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealReport>,
}

/// A composefs image that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifiedComposefs {
    /// Its id: the fs-verity digest of its bytes.
    pub id: String,
    /// The format.
    pub format: u32,
    /// Objects it refers to.
    pub objects: u64,
    /// The objects were there, read and compared. Of an image in a file by itself they are not looked for.
    pub has_objects: bool,
}

impl FsImage {
    /// Checks the structure, and data where the filesystem has something to check it by.
    pub(crate) fn verify(&self) -> Result<VerifyReport, Error> {
        let name = shown_path(&self.path);
        let found = self.opened.verify().map_err(|e| self.failed(e))?;
        damaged(&self.path, &found.problems, found.more_problems)?;
        Ok(VerifyReport {
            name,
            entries: found.inodes,
            bytes: self.opened.size(),
            ..VerifyReport::default()
        })
    }
}

/// The first of some problems as an error.
pub(crate) fn damaged<P: ToString>(path: &Path, problems: &[P], more: u64) -> Result<(), Error> {
    match problems.first() {
        None => Ok(()),
        Some(first) => Err(Error::from(ArtifactError::Damaged {
            path: path.to_path_buf(),
            first: first.to_string(),
            more: problems.len() as u64 - 1 + more,
        })),
    }
}

/// Checks an image file against its hash tree.
pub(crate) fn verify_tree(
    path: &Path,
    file: &File,
    sidecar: &lithify_verity::Sidecar,
    session: &Session,
) -> Result<(), Error> {
    let verify = lithify_verity::VerifyOptions {
        root: Some(sidecar.root),
        threads: session.threads(),
    };
    let image = Checked::new(file, &session.cancel);
    lithify_verity::verify(&image, sidecar.hash_offset, &verify).map_err(|e| {
        Error::from(ArtifactError::Verity {
            path: path.to_path_buf(),
            source: Box::new(e),
        })
    })?;
    Ok(())
}
