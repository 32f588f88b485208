//! The part of the store that is an OCI image layout (image-spec, `image-layout.md`).
//!
//! `index.json` and the blobs may be written by other tools, so nothing of the store's own vouches for them: the index
//! is held against the specification, member by member, and each blob against its name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::layout::REF_NAME;
use serde::Deserialize;

use super::{Check, Problem, Repair};
use crate::error::{Context as _, Error};
use crate::quarantine::quarantine_locked;
use crate::store::{BLOBS, EMPTY_LAYOUT, OCI_INDEX, OCI_LAYOUT};
use crate::sys;

/// Longest `oci-layout` or `index.json`, in bytes.
const MAX_JSON: usize = 4 << 20;

/// What is wrong with the image layout.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutProblem {
    /// The file is not there.
    #[error("it is missing")]
    Missing,
    /// More bytes than such a file has.
    #[error("it has more than {MAX_JSON} bytes")]
    TooLarge,
    /// Not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// Not what the specification says.
    #[error("it is not what image-spec says")]
    Json(#[from] serde_json::Error),
    /// A member has a value it cannot have.
    #[error("its {member} is wrong: expected {expected}")]
    Member {
        /// Which.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A manifest is listed and not there.
    #[error("the blob {digest} it lists is missing")]
    MissingBlob {
        /// The blob.
        digest: Digest,
    },
    /// A manifest has another length than the index says.
    #[error("the blob {digest} it lists has {found} bytes, expected {expected}")]
    BlobSize {
        /// The blob.
        digest: Digest,
        /// The length listed.
        expected: u64,
        /// The length found.
        found: u64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Layout {
    image_layout_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "a member that may be there needs only to be known"
)]
struct Index {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
    artifact_type: Option<String>,
    subject: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    #[serde(with = "crate::text::digest")]
    digest: Digest,
    size: u64,
    annotations: Option<BTreeMap<String, String>>,
}

fn read(path: &Path) -> Result<Result<Vec<u8>, LayoutProblem>, Error> {
    let file = match sys::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(LayoutProblem::Missing)),
        Err(e) if crate::lookup::is_odd(&e) => return Ok(Err(LayoutProblem::NotAFile)),
        Err(e) => return Err(Error::io("open", path, e)),
    };
    if !file.metadata().context("look at", path)?.is_file() {
        return Ok(Err(LayoutProblem::NotAFile));
    }
    let bytes = sys::read_limited(file, MAX_JSON).context("read", path)?;
    Ok(bytes.ok_or(LayoutProblem::TooLarge))
}

fn check_layout(bytes: &[u8]) -> Result<(), LayoutProblem> {
    let layout: Layout = serde_json::from_slice(bytes)?;
    match layout.image_layout_version == "1.0.0" {
        true => Ok(()),
        false => Err(LayoutProblem::Member {
            member: "imageLayoutVersion",
            expected: "1.0.0",
        }),
    }
}

fn check_index(bytes: &[u8]) -> Result<Index, LayoutProblem> {
    let wrong = |member, expected| Err(LayoutProblem::Member { member, expected });
    let index: Index = serde_json::from_slice(bytes)?;
    if index.schema_version != 2 {
        return wrong("schemaVersion", "2");
    }
    let media_type = index.media_type.as_deref();
    if media_type.is_some_and(|m| m != "application/vnd.oci.image.index.v1+json") {
        return wrong("mediaType", "application/vnd.oci.image.index.v1+json");
    }
    Ok(index)
}

impl Check<'_> {
    /// Checks `oci-layout`, `index.json` and `blobs/`.
    pub(super) fn image_layout(&mut self) -> Result<(), Error> {
        let path = self.store.at(OCI_LAYOUT);
        if let Err(problem) = read(&path)?.and_then(|bytes| check_layout(&bytes)) {
            let repair = Repair::Rewrite(OCI_LAYOUT, EMPTY_LAYOUT);
            self.found(&path, Problem::Layout(problem), repair);
        }
        self.blobs()?;
        let path = self.store.at(OCI_INDEX);
        match read(&path)?.and_then(|bytes| check_index(&bytes)) {
            Ok(index) => self.listed(&path, index),
            Err(problem) => {
                self.found(&path, Problem::Layout(problem), Repair::Salvage);
                // What was saved may have lost its blobs.
                match read(&path)?.and_then(|bytes| check_index(&bytes)) {
                    Ok(index) => self.listed(&path, index),
                    Err(_) => Ok(()),
                }
            }
        }
    }

    /// Checks what `index.json` lists, and what that leads to.
    fn listed(&mut self, path: &Path, index: Index) -> Result<(), Error> {
        for entry in index.manifests {
            self.store.cancel.check()?;
            if self.entry_problem(&entry)?.is_none() {
                continue;
            }
            // Looks again while no image loses its name and nothing is collected.
            let _lock = match self.store.read_only() {
                true => None,
                false => Some(self.store.lock_store()?),
            };
            let listed = self.store.listed().unwrap_or_default();
            if !listed.iter().any(|r| r.digest == entry.digest) {
                continue;
            }
            if let Some((problem, at)) = self.entry_problem(&entry)? {
                let done = match self.repair {
                    true => self.mend(&entry, at),
                    false => Ok(()),
                };
                self.found(path, problem, Repair::Done(done));
            }
        }
        Ok(())
    }

    /// What is wrong with the image of an entry, and where if that is not the entry's own manifest.
    fn entry_problem(
        &self,
        entry: &Descriptor,
    ) -> Result<Option<(Problem, Option<Digest>)>, Error> {
        let Descriptor { digest, size, .. } = entry;
        match self.store.blob_size(digest)? {
            None => {
                let digest = *digest;
                let problem = LayoutProblem::MissingBlob { digest };
                return Ok(Some((Problem::Layout(problem), None)));
            }
            Some(found) if found != *size => {
                let problem = LayoutProblem::BlobSize {
                    digest: *digest,
                    expected: *size,
                    found,
                };
                return Ok(Some((Problem::Layout(problem), None)));
            }
            Some(_) => {}
        }
        let media_type = entry.media_type.as_deref().unwrap_or("");
        let Some(lack) = self.store.missing_part(digest, media_type)? else {
            return Ok(None);
        };
        let annotations = entry.annotations.as_ref();
        let problem = Problem::Incomplete {
            name: annotations.and_then(|a| a.get(REF_NAME).cloned()),
            part: Box::new(lack.part),
            size: lack.size,
        };
        let at = (lack.manifest != *digest).then_some(lack.manifest);
        Ok(Some((problem, at)))
    }

    /// Takes away what leads to parts that are not there: the entry, or in an index the manifests of those platforms. With
    /// the lock of the store.
    fn mend(&self, entry: &Descriptor, mut at: Option<Digest>) -> Result<(), Error> {
        loop {
            match at {
                None => return self.store.drop_entries(&entry.digest),
                Some(manifest) => {
                    let path = self.store.blob_path(&manifest);
                    if quarantine_locked(self.store, &path, None)?.is_none() {
                        return Ok(());
                    }
                }
            }
            match self.entry_problem(entry)? {
                None => return Ok(()),
                Some((_, next)) => at = next,
            }
        }
    }

    fn blobs(&mut self) -> Result<(), Error> {
        let blobs = self.store.at(BLOBS);
        for (name, path) in self.list(&blobs)? {
            let algorithm = name.as_deref().and_then(Algorithm::from_name);
            let Some(algorithm) = algorithm.filter(|_| is_dir(&path)) else {
                self.found(&path, Problem::Unknown, Repair::Quarantine(None));
                continue;
            };
            for (name, path) in self.list(&path)? {
                let named = name.and_then(|n| format!("{algorithm}:{n}").parse::<Digest>().ok());
                match (named, sys::open(&path)) {
                    (Some(expected), Ok(file)) if is_file(&file) => {
                        self.blob(&path, expected, &file)?
                    }
                    (_, Err(e)) if e.kind() == io::ErrorKind::NotFound => {}
                    _ => self.found(&path, Problem::Unknown, Repair::Quarantine(None)),
                }
            }
        }
        Ok(())
    }

    fn blob(&mut self, path: &Path, expected: Digest, file: &fs::File) -> Result<(), Error> {
        let (size, found) =
            sys::digest(file, expected.algorithm(), &self.store.cancel).context("read", path)?;
        self.report.files += 1;
        self.report.bytes += size;
        if found != expected {
            let problem = Problem::Blob { expected, found };
            self.found(path, problem, Repair::Quarantine(None));
        }
        Ok(())
    }
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

fn is_file(file: &fs::File) -> bool {
    file.metadata().is_ok_and(|m| m.is_file())
}
