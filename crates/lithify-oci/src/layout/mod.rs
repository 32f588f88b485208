//! OCI image layouts: `oci-layout`, `index.json` and `blobs/ALGORITHM/HEX`
//! (image-spec, `image-layout.md`), in a directory or in an archive.
//!
//! Nothing an image says becomes a path: the only names ever opened are the three above,
//! with a digest that has been parsed. `oci-layout`, `index.json` and each blob must be regular
//! files; a symbolic link in their place is refused, and so is a FIFO or device, without waiting for it.
//! `blobs` and the directories in it must be directories: through a link there, a layout somebody made would have files
//! of this host read and written. The directory of the layout itself may be named by a link.

mod directory;
mod member;
#[cfg(unix)]
mod write;

use std::io;
use std::path::PathBuf;

use lithify_escape::Escaped;
use serde::Deserialize;

pub use directory::Directory;
pub(crate) use member::{Member, Members};
#[cfg(unix)]
pub use write::{ImageOptions, Writer};

use crate::Limits;
use crate::blob::{self, BlobName, Expected};
use crate::manifest::{self, Index};

/// The annotation that names an image in `index.json` (image-spec, `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's annotation for the whole reference, beside [`REF_NAME`] with the tag alone.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Why something is no usable OCI layout.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} `{}`: {source}", Escaped::path(.path))]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file where a directory was expected.
    #[error("`{}` is not a directory: use oci-archive:FILE or docker-archive:FILE for a file", Escaped::path(.path))]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The `oci-layout` file is missing.
    #[error("no OCI image layout: there is no file `oci-layout`{hint}")]
    NotALayout {
        /// What it seems to be instead; empty or starting with `; `.
        hint: &'static str,
    },
    /// The `oci-layout` file is not the JSON it must be.
    #[error("oci-layout is no valid JSON object with `imageLayoutVersion`: {source}")]
    Marker {
        /// Where and why parsing stopped.
        source: serde_json::Error,
    },
    /// A layout version other than 1.
    #[error("image layout version is `{}`, expected 1.0.0", Escaped(.found))]
    Version {
        /// The version found.
        found: String,
    },
    /// `index.json` is refused.
    #[error("index.json: {source}")]
    Index {
        /// Why.
        source: manifest::Error,
    },
    /// The layout that was to be added to could not be read, before or after.
    #[error("nothing is added to the layout `{}`: {source}", Escaped::path(.path))]
    Unreadable {
        /// The layout.
        path: PathBuf,
        /// Why it could not be read.
        source: Box<Error>,
    },
    /// `oci-layout` or `index.json` cannot be read.
    #[error(transparent)]
    Blob(#[from] blob::Error),
    /// A blob that was to be written is not what its descriptor says.
    #[error("the blob {digest} is not what its descriptor says: {source}")]
    Mismatch {
        /// The blob's digest by its descriptor.
        digest: Box<lithify_digest::Digest>,
        /// The difference.
        source: lithify_digest::Mismatch,
    },
    /// The bytes that were to be written cannot be read from where they are.
    #[error("cannot read what goes into the layout `{}`: {source}", Escaped::path(.path))]
    Read {
        /// The layout.
        path: PathBuf,
        /// The error of the reader.
        source: io::Error,
    },
    /// A directory of the layout that is to be written into is a symbolic link, or none.
    #[error("cannot write into the layout `{}`: {source}", Escaped::path(.path))]
    Inside {
        /// The layout.
        path: PathBuf,
        /// What stands where.
        source: lithify_storage::BeneathError,
    },
    /// A writer was asked to write where something is already.
    #[error("`{}` exists and is not empty: a layout is only written into a new directory", Escaped::path(.path))]
    Exists {
        /// The path.
        path: PathBuf,
    },
}

/// Checks `oci-layout` and reads `index.json`.
pub(crate) fn read_index<M: Members + ?Sized>(
    members: &M,
    limits: &Limits,
) -> Result<Index, Error> {
    check_marker(members, limits)?;
    parse_index(&read_index_json(members, limits)?)
}

/// Checks `oci-layout`.
fn check_marker<M: Members + ?Sized>(members: &M, limits: &Limits) -> Result<(), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }

    let marker = read(members, Member::OciLayout, BlobName::OciLayout, limits)?;
    let marker = marker.ok_or_else(|| Error::NotALayout {
        hint: members.other_kind(),
    })?;
    let marker: Marker =
        serde_json::from_slice(&marker).map_err(|source| Error::Marker { source })?;
    // Later 1.x versions may add to the layout, not change it.
    match marker.image_layout_version.starts_with("1.") {
        true => Ok(()),
        false => Err(Error::Version {
            found: marker.image_layout_version,
        }),
    }
}

/// Reads `index.json`, which must be there.
fn read_index_json<M: Members + ?Sized>(members: &M, limits: &Limits) -> Result<Vec<u8>, Error> {
    let name = BlobName::IndexJson;
    let json = read(members, Member::IndexJson, name.clone(), limits)?;
    Ok(json.ok_or(blob::Error::Missing { name })?)
}

fn parse_index(json: &[u8]) -> Result<Index, Error> {
    Index::parse(json).map_err(|source| Error::Index { source })
}

/// Reads one of the two documents; `None` if it is not there.
fn read<M: Members + ?Sized>(
    members: &M,
    member: Member<'_>,
    name: BlobName,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, blob::Error> {
    let Some(blob) = members.open(member)? else {
        return Ok(None);
    };
    let expected = Expected {
        size: None,
        digest: None,
        limit: limits.manifest_bytes,
        option: "manifest_bytes",
    };
    blob::read(blob, name, expected).map(Some)
}
