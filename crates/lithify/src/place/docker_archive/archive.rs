//! Archives as `docker save` of Docker before 25 and skopeo write them: `docker load` of every age takes these.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, Digest, Mismatch, digest_of};
use lithify_layer::{BlobError, DecodedSummary, ForeignFormat};
use lithify_oci::blob::BlobName;
use lithify_oci::manifest::{Descriptor, ImageConfig, ImageManifest, LayerMediaType};
use serde::Serialize;

use crate::place::member::{BLOCK, END, block_header, header, padded};
use lithify_storage::FileCursor;

use crate::Error;
use crate::error::{OpenError, Operation, TransferError};
use crate::place::decoded::TransferredLayer;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::transfer::{BlobSource, Placed, Plan, read_config};

/// Why an archive cannot hold them.
const EROFS: &str = "its layers are EROFS images, and it takes tars only: copy the image they were made of, \
                         or make one tar with `lithify build -f tar`";

/// An archive under construction: each layer's plain tar, once, in the order the image names them; its config; and
/// `manifest.json`. The same image and names always become the same bytes.
///
/// Layers come one after the other, since where one starts depends on how long those before it are when decompressed.
#[derive(Debug)]
pub(in crate::place) struct DockerArchive {
    file: Arc<File>,
    /// Its place, if it has one.
    path: Option<PathBuf>,
    /// What the user calls it.
    name: String,
    tags: Vec<String>,
    /// Whether Docker itself is to load it.
    for_docker: bool,
    session: Session,
    /// What all layers together may have.
    budgets: Budgets,
    manifest: Option<ImageManifest>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that are taken.
    end: u64,
    /// Layers that are there, by the digests of the blobs.
    layers: HashMap<Digest, Member>,
    /// The same by the SHA-256 of their tars: several blobs may hold the same one.
    members: HashMap<Digest, Member>,
    config: Option<Vec<u8>>,
}

/// A layer in the archive.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// SHA-256 of its tar, by which it is named.
    sha256: Digest,
    /// Where that is in the archive.
    start: u64,
    size: u64,
}

/// `manifest.json` (moby, `image/spec/v1.2.md`).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerArchive {
    /// An archive that is written to `file`, and the names the image has in it. One without a path is for Docker to load.
    pub(in crate::place) fn new(
        file: Arc<File>,
        path: Option<PathBuf>,
        name: &str,
        tags: Vec<String>,
        session: &Session,
    ) -> Self {
        Self {
            file,
            name: name.to_owned(),
            tags,
            for_docker: path.is_none(),
            path,
            session: session.clone(),
            budgets: Budgets::new(session),
            manifest: None,
            state: Mutex::default(),
        }
    }

    /// Learns what the image consists of, and refuses what no such archive can hold.
    pub(in crate::place) fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let only = plan.only_manifest();
        let (_, _, manifest) = only.map_err(|reason| self.refused(reason))?;
        for layer in &manifest.layers {
            match LayerMediaType::of(&layer.media_type) {
                LayerMediaType::Tar { foreign: false, .. } => {}
                LayerMediaType::Tar { .. } if plan.has(&layer.digest) => {}
                LayerMediaType::Tar { .. } => {
                    return Err(self.refused("a layer of it is only distributed by its vendor"));
                }
                LayerMediaType::Erofs { .. } | LayerMediaType::ErofsChunkIndex => {
                    return Err(self.refused(EROFS));
                }
                _ => return Err(self.refused("it has layers that are no tars")),
            }
        }
        self.manifest = Some(*manifest);
        Ok(())
    }

    pub(in crate::place) fn put(
        &self,
        blob: &Descriptor,
        content: &dyn BlobSource,
    ) -> Result<Placed, Error> {
        let manifest = self.manifest()?;
        if blob.digest == manifest.config.digest {
            let config = read_config(blob, content, &self.name, &self.session)?;
            self.state().config = Some(config);
            return Ok(Placed::Copied);
        }
        let index = manifest
            .layers
            .iter()
            .position(|layer| layer.digest == blob.digest)
            .ok_or_else(|| self.refused("it is no image of tar layers"))?;
        self.put_layer(index, blob, content)?;
        Ok(Placed::Copied)
    }

    /// Writes what comes last. Returns the archive's length.
    pub(in crate::place) fn finish(&self) -> Result<u64, Error> {
        let manifest = self.manifest()?;
        let mut state = self.state();
        let config = state
            .config
            .take()
            .ok_or_else(|| self.refused("it has no config"))?;
        let parsed = ImageConfig::parse(&config).map_err(|source| {
            Error::from(OpenError::Open {
                name: self.name.clone(),
                source: Box::new(lithify_oci::Error::Manifest {
                    name: BlobName::Config(Box::new(manifest.config.digest)),
                    source,
                }),
            })
        })?;
        manifest.check_config(&parsed).map_err(|source| {
            Error::from(OpenError::Open {
                name: self.name.clone(),
                source: Box::new(lithify_oci::Error::Manifest {
                    name: BlobName::Config(Box::new(manifest.config.digest)),
                    source,
                }),
            })
        })?;
        let mut layers = Vec::new();
        for (index, (layer, expected)) in manifest.layers.iter().zip(&parsed.diff_ids).enumerate() {
            let member = *state
                .layers
                .get(&layer.digest)
                .ok_or_else(|| self.refused("a layer of it is missing"))?;
            let found = match expected.algorithm() {
                Algorithm::Sha256 => member.sha256,
                _ if self.for_docker => {
                    return Err(self.refused(
                        "its diff_ids are not SHA-256, and Docker compares them with no others: copy it to docker-archive:FILE or oci:DIR",
                    ));
                }
                algorithm => self.digest_of(&member, algorithm)?,
            };
            let blob = TransferredLayer {
                index,
                blob: layer,
                diff_id: Some(*expected),
            };
            Mismatch::of_digests(expected, &found).map_err(|mismatch| {
                blob.failed(BlobError::DiffId(mismatch).into(), &self.session)
            })?;
            layers.push(format!("{}.tar", member.sha256.hex()));
        }
        let entry = Entry {
            config: format!("{}.json", Digest::of(Algorithm::Sha256, &config).hex()),
            repo_tags: (!self.tags.is_empty()).then(|| self.tags.clone()),
            layers,
        };
        self.append(&mut state, &entry.config, &config)?;
        let list = serde_json::to_vec(&[entry]).map_err(|e| self.failed(e.into()))?;
        self.append(&mut state, "manifest.json", &list)?;
        let length = state.end + END;
        self.file.set_len(length).map_err(|e| self.failed(e))?;
        Ok(length)
    }

    fn manifest(&self) -> Result<&ImageManifest, Error> {
        self.manifest
            .as_ref()
            .ok_or_else(|| self.refused("it is no image as it was found"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, reason: &'static str) -> Error {
        Error::from(TransferError::NotArchivable {
            name: self.name.clone(),
            reason,
        })
    }

    fn failed(&self, source: io::Error) -> Error {
        match &self.path {
            Some(path) => Error::output(Operation::Write, path, source),
            None => Error::scratch(source),
        }
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.file
            .write_all_at(bytes, at)
            .map_err(|e| self.failed(e))
    }

    fn append(&self, state: &mut State, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        let header = header(name, Some(size)).map_err(|e| self.failed(e))?;
        self.write(&header, state.end)?;
        let at = state.end + header.len() as u64;
        self.write(bytes, at)?;
        state.end = at + padded(size).map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Appends a layer's tar, unless it is there.
    fn put_layer(
        &self,
        index: usize,
        blob: &Descriptor,
        content: &dyn BlobSource,
    ) -> Result<(), Error> {
        // What else is put meanwhile has to wait: it goes behind this.
        let mut state = self.state();
        let start = state.end;
        // An attempt that failed may have left something, and what fills up blocks are holes.
        self.file.set_len(start).map_err(|e| self.failed(e))?;
        let summary = self.decode(index, blob, content, start + BLOCK)?;
        let member = match state.members.get(&summary.diff_id) {
            Some(member) => *member,
            None => {
                let name = format!("{}.tar", summary.diff_id.hex());
                let header = block_header(&name, summary.size).map_err(|e| self.failed(e))?;
                self.write(&header, start)?;
                state.end = start + BLOCK + padded(summary.size).map_err(|e| self.failed(e))?;
                let member = Member {
                    sha256: summary.diff_id,
                    start: start + BLOCK,
                    size: summary.size,
                };
                state.members.insert(summary.diff_id, member);
                member
            }
        };
        self.file.set_len(state.end).map_err(|e| self.failed(e))?;
        state.layers.insert(blob.digest, member);
        Ok(())
    }

    /// The digest of a layer's tar by another algorithm than that of its name.
    fn digest_of(&self, member: &Member, algorithm: Algorithm) -> Result<Digest, Error> {
        let place = FileCursor::new(&*self.file, member.start).take(member.size);
        match digest_of(&mut Checked::new(place, &self.session.cancel), algorithm) {
            Ok((digest, _)) => Ok(digest),
            Err(_) if self.session.cancel.is_cancelled() => Err(Error::cancelled()),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Writes a layer's tar at `at`.
    fn decode(
        &self,
        index: usize,
        blob: &Descriptor,
        content: &dyn BlobSource,
        at: u64,
    ) -> Result<DecodedSummary, Error> {
        let layer = TransferredLayer {
            index,
            blob,
            diff_id: None,
        };
        let failed = |error| match error {
            BlobError::Foreign {
                format: ForeignFormat::Erofs,
            } => self.refused(EROFS),
            error => layer.failed(error.into(), &self.session),
        };
        layer.decode(content, &self.session, &self.budgets, |decoded| {
            let mut decoded = decoded.map_err(failed)?;
            let mut end = at;
            while let Some(bytes) = decoded.next().map_err(failed)? {
                self.write(bytes, end)?;
                end += bytes.len() as u64;
            }
            decoded.summary().ok_or(Error::cancelled())
        })
    }
}
