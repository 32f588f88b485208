//! `oci-archive:`: tars of an OCI image layout.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lithify_digest::{Digest, VerifiedReader, Verifier};
use lithify_oci::layout::{CONTAINERD_NAME, REF_NAME};
use lithify_oci::manifest::{Descriptor, Index};
use lithify_oci::source::Source;
use lithify_oci::{Located, Reference};

use super::member::{END, header, padded};
use super::room::Listed;
use super::room::Place;
use super::room::Writing;
use super::room::located_archive_or_layout;
use super::room::opened_archive_or_layout;
use super::room::tag_of;
use super::room::{note, unnamed};
use crate::CancelToken;
use crate::Error;
use crate::error::Operation;
use crate::image::Origin;
use crate::output::PendingFile;
use crate::session::Session;
use crate::transfer::{
    BlobSource, Destination, Look, Placed, Plan, SignatureTag, Target, referrers,
};

/// Bytes copied at a time.
const BUFFER: usize = 256 << 10;

/// An archive, and which of its images.
pub(super) struct OciArchive<'a> {
    pub(super) path: &'a Path,
    pub(super) source: &'a Source,
}

impl Place for OciArchive<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        opened_archive_or_layout(name, self.source, session)
    }

    fn locate(&self, name: &str, session: &Session) -> Result<Located, Error> {
        located_archive_or_layout(name, self.source, session)
    }

    fn target(
        &self,
        name: &str,
        writing: &Writing,
        session: &Session,
    ) -> Result<Box<dyn Target>, Error> {
        Ok(Box::new(OciArchiveTarget {
            path: self.path.to_owned(),
            tag: tag_of(name, self.source)?,
            durable: writing.durable,
            cancel: session.cancel.clone(),
        }))
    }
}

/// The file an archive will be, and the tag of the image in it.
#[derive(Debug)]
struct OciArchiveTarget {
    path: PathBuf,
    tag: Option<String>,
    durable: bool,
    cancel: CancelToken,
}

impl Target for OciArchiveTarget {
    fn look(&self) -> Result<Look, Error> {
        PendingFile::check(&self.path)?;
        Ok(Box::new(|_, _| Ok(false)))
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        let Self {
            path,
            tag,
            durable,
            cancel,
        } = *self;
        Ok(Box::new(OciArchiveDestination::create(
            &path, tag, durable, cancel,
        )?))
    }
}

/// An archive under construction: `oci-layout`, the blobs in the order the image names them, its manifests, and
/// `index.json`. The same image always becomes the same bytes: each part has its place before the first one comes, so
/// that they can come in any order and at the same time.
#[derive(Debug)]
struct OciArchiveDestination {
    pending: PendingFile,
    tag: Option<String>,
    durable: bool,
    cancel: CancelToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that are taken.
    end: u64,
    /// Directories that are there.
    directories: HashSet<String>,
    /// Where the data of each part goes.
    places: HashMap<Digest, u64>,
    /// What is there, whole.
    done: HashSet<Digest>,
    /// What refers to other manifests.
    referring: Vec<Descriptor>,
    /// What indexes list, by their digests.
    listed: Listed,
}

impl OciArchiveDestination {
    /// An archive that will be at `path`, and the tag of the image in it.
    fn create(
        path: &Path,
        tag: Option<String>,
        durable: bool,
        cancel: CancelToken,
    ) -> Result<Self, Error> {
        let archive = Self {
            pending: PendingFile::create(path, durable)?,
            tag,
            durable,
            cancel,
            state: Mutex::default(),
        };
        let mut state = archive.state();
        archive.append(
            &mut state,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        drop(state);
        Ok(archive)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::output(Operation::Write, self.pending.destination(), source)
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        let written = self.pending.file().write_all_at(bytes, at);
        written.map_err(|e| self.failed(e))
    }

    /// Writes the headers of a member at the end; returns where its data goes. What fills its last block is a hole.
    fn reserve(&self, state: &mut State, name: &str, size: Option<u64>) -> Result<u64, Error> {
        let header = header(name, size).map_err(|e| self.failed(e))?;
        self.write(&header, state.end)?;
        let at = state.end + header.len() as u64;
        let data = padded(size.unwrap_or(0)).map_err(|e| self.failed(e))?;
        state.end = at
            .checked_add(data)
            .ok_or_else(|| self.failed(io::ErrorKind::FileTooLarge.into()))?;
        Ok(at)
    }

    fn append(&self, state: &mut State, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let at = self.reserve(state, name, Some(bytes.len() as u64))?;
        self.write(bytes, at)
    }

    /// Where the data of a part goes.
    fn place(&self, state: &mut State, part: &Descriptor) -> Result<u64, Error> {
        if let Some(&at) = state.places.get(&part.digest) {
            return Ok(at);
        }
        let directory = format!("blobs/{}", part.digest.algorithm());
        for directory in ["blobs", &directory] {
            if state.directories.insert(directory.to_owned()) {
                self.reserve(state, directory, None)?;
            }
        }
        let name = format!("{directory}/{}", part.digest.hex());
        let at = self.reserve(state, &name, Some(part.size))?;
        state.places.insert(part.digest, at);
        Ok(at)
    }

    fn put(&self, part: &Descriptor, reader: &mut dyn Read) -> Result<(), Error> {
        let start = self.place(&mut self.state(), part)?;
        // The next member starts where it ends: no byte beyond that is written.
        let mut reader = VerifiedReader::new(reader, Verifier::new(part.digest, part.size));
        let mut size = 0;
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) if self.cancel.is_cancelled() => return Err(Error::cancelled()),
                Err(e) => return Err(Error::of_reader(&part.digest, e)),
            };
            self.write(&buffer[..read], start + size)?;
            size += read as u64;
        }
        self.state().done.insert(part.digest);
        Ok(())
    }
}

/// The name containerd and Docker give an image when they load it, if it was given a whole name: of a tag alone they make
/// a name of their own.
fn full_name(tag: &str) -> Option<String> {
    let reference: Reference = tag.parse().ok().filter(|_| tag.contains(['/', ':']))?;
    let full = reference.normalised().with_default_tag();
    full.digest().is_none().then(|| full.to_string())
}

impl Destination for OciArchiveDestination {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let mut state = self.state();
        let blobs = plan.blobs.iter().map(|blob| &blob.descriptor);
        for part in blobs.chain(plan.documents.iter().map(|(part, _)| part)) {
            self.place(&mut state, part)?;
        }
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.state().done.contains(&blob.digest))
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        self.put(blob, &mut *content.open(0)?)?;
        Ok(Placed::Copied)
    }

    fn put_manifest(&self, manifest: &Descriptor, mut bytes: &[u8]) -> Result<(), Error> {
        let refers = referrers::of(manifest, bytes).is_some();
        note(&mut self.state().listed, manifest, bytes);
        if !self.state().done.contains(&manifest.digest) {
            self.put(manifest, &mut bytes)?;
        }
        if refers {
            // Found by whoever looks for what refers to an image (image-spec 1.1, `image-layout.md`).
            self.state().referring.push(manifest.clone());
        }
        Ok(())
    }

    fn put_tag(&self, tag: &SignatureTag, manifest: &Descriptor, _: &[u8]) -> Result<(), Error> {
        let mut entry = manifest.clone();
        entry
            .annotations
            .insert(REF_NAME.to_owned(), tag.tag.clone());
        self.state().referring.push(entry);
        Ok(())
    }

    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), Error> {
        let mut state = std::mem::take(&mut *self.state());
        let mut entry = root.clone();
        if let Some(tag) = &self.tag {
            entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
            if let Some(name) = full_name(tag) {
                entry.annotations.insert(CONTAINERD_NAME.to_owned(), name);
            }
        }
        let referring = std::mem::take(&mut state.referring);
        let mut entries = unnamed(referring, root, &state.listed);
        entries.push(entry);
        let index = serde_json::to_vec(&Index::new(entries)).map_err(|e| self.failed(e.into()))?;
        self.append(&mut state, "index.json", &index)?;
        let whole = self.pending.file().set_len(state.end + END);
        whole.map_err(|e| self.failed(e))?;
        self.pending.commit(self.durable)
    }
}
