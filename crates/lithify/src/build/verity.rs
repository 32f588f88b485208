//! Hash trees behind image files.

use std::fs::File;
use std::path::{Path, PathBuf};

use lithify_verity::{Sidecar, VerityOptions, VerityReport};

use crate::description::Artifact;
use crate::error::Operation;
use crate::output::PendingFile;
use crate::{Error, ReadOptions};

/// Appends superblock and tree behind the image that is the first `size` bytes of a file.
pub(crate) fn append(
    file: &File,
    size: u64,
    path: &Path,
    read: &ReadOptions,
) -> Result<VerityReport, Error> {
    let options = VerityOptions {
        threads: read.threads(),
        ..VerityOptions::default()
    };
    let mut handle = file
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, path, e))?;
    lithify_verity::append(&mut handle, size, &options).map_err(|e| match e {
        lithify_verity::WriteError::Io { source, .. } => {
            Error::output(Operation::Write, path, source)
        }
        e => Error::WriteVerity(Box::new(e)),
    })
}

/// The file that tells containerd the root hash of the image at `image`.
pub(crate) fn sidecar_path(image: &Path) -> PathBuf {
    let mut path = image.as_os_str().to_owned();
    path.push(".dmverity");
    path.into()
}

/// A sidecar for the image at `image`, complete and without its name yet.
pub(crate) fn sidecar(
    image: &Path,
    sidecar: &Sidecar,
    durable: bool,
) -> Result<PendingFile, Error> {
    use std::io::Write as _;
    let path = sidecar_path(image);
    let pending = PendingFile::create(&path, durable)?;
    (&**pending.file())
        .write_all(sidecar.to_json().as_bytes())
        .map_err(|e| Error::output(Operation::Write, &path, e))?;
    Ok(pending)
}

/// Says in the artifact's description where its tree is.
pub(crate) fn describe(artifact: &mut Artifact, sidecar: &Sidecar, size: u64) {
    artifact.verity = Some(sidecar.into());
    artifact.size = size;
    artifact
        .options
        .insert("verity".to_owned(), "sha256".to_owned());
}

/// The sidecar for a tree that was described.
pub(crate) fn from_facts(facts: &crate::description::Verity) -> Result<Sidecar, Error> {
    let root = facts.root_hash.parse().map_err(|_| Error::RootHash {
        found: facts.root_hash.clone(),
    })?;
    Ok(Sidecar {
        root,
        hash_offset: facts.hash_offset,
    })
}
