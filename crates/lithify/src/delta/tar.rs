//! Deltas of single layers.

use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::Interruptible;
use lithify_delta::apply::{Patch, PatchOptions};
use lithify_delta::create::{self, CreateOptions, OldImage};
use lithify_delta::diff::Effort;
use lithify_digest::{Algorithm, Digest, Hasher, Mismatch};
use lithify_layer::{Decoded, Expected};
use lithify_storage::FileCursor;
use serde::Serialize;

use super::base::{Base, Old, merged};
use crate::Error;
use crate::error::{DeltaError, Operation};
use crate::output::PendingFile;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes copied at a time.
const BUFFER: usize = 256 << 10;

/// The way a delta is created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TarDeltaOptions {
    /// How hard it is tried to make it small.
    pub effort: Effort,
    /// Most bytes of memory for files and what is known of them.
    pub memory: u64,
    /// Waits until the delta is on the disk.
    pub durable: bool,
}

impl Default for TarDeltaOptions {
    fn default() -> Self {
        let options = CreateOptions::default();
        Self {
            effort: options.effort,
            memory: options.memory,
            durable: true,
        }
    }
}

/// A delta of a layer, as it was created.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TarDeltaReport {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of the layer's tar: what is made of the delta has it.
    pub diff_id: String,
    /// Bytes of the tar.
    pub tar_bytes: u64,
    /// Files whose content the old image has, and their bytes.
    pub same: u64,
    /// Bytes of these.
    pub same_bytes: u64,
    /// Files that the old image has something of.
    pub changed: u64,
    /// Bytes of these.
    pub changed_bytes: u64,
    /// Files that it has nothing of.
    pub new: u64,
    /// Bytes of these.
    pub new_bytes: u64,
}

/// A tar, as it was made of a delta.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TarPatchReport {
    /// Its digest.
    pub diff_id: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Creates the delta of a layer against an old image or file tree: a tar-diff that `tar-patch` and others apply.
///
/// `new` is the layer: a tar, which may be compressed with gzip or zstd. The delta has been applied, and its result compared, before it
/// gets its name. The same inputs always make the same delta.
///
/// # Errors
/// Whatever is wrong with the old image; [`DeltaError`]; [`OutputError`](crate::OutputError).
pub fn create_tar_delta(
    old: &OsStr,
    new: &Path,
    output: &Path,
    options: &TarDeltaOptions,
    session: &Session,
) -> Result<TarDeltaReport, Error> {
    let work = || {
        let merged = Arc::new(merged(old, session)?);
        let (contents, files) = Old::of(&merged)?;
        let create = CreateOptions {
            effort: options.effort,
            memory: options.memory,
            threads: session.threads(),
            limits: session.limits.layer.tar(),
            cancel: session.cancel.clone(),
        };
        let not_created = |source| DeltaError::create(new, source);
        let image = OldImage::read(files, &contents, &create).map_err(not_created)?;
        let mut tar = Layer::open(new, session)?;
        let pending = PendingFile::create(output, options.durable)?;
        let file = Arc::clone(pending.file());
        let written = |e| Error::output(Operation::Write, output, e);
        let out = BufWriter::new(&*file);
        let (out, report) = create::create(&mut tar, &image, out, &create).map_err(not_created)?;
        out.into_inner().map_err(|e| written(e.into_error()))?;
        let diff_id = tar.diff_id().ok_or_else(Error::cancelled)?;
        let size = file.metadata().map_err(written)?.len();
        let base = Base::Merged(Arc::clone(&merged));
        let patched = patch(
            FileCursor::new(&*file, 0),
            output,
            base,
            &mut io::sink(),
            session,
        )?;
        check(output, diff_id, patched.0)?;
        pending.commit(options.durable)?;
        Ok(TarDeltaReport {
            path: output.to_path_buf(),
            size,
            diff_id: diff_id.to_string(),
            tar_bytes: report.tar_bytes,
            same: report.same,
            same_bytes: report.same_bytes,
            changed: report.changed,
            changed_bytes: report.changed_bytes,
            new: report.new,
            new_bytes: report.new_bytes,
        })
    };
    work().map_err(|e: Error| session.reason(e))
}

/// Makes a layer's tar of a delta and the old image, or some other file tree that has its files.
///
/// With a diff_id, the tar gets its name only if that is its digest: a delta says nothing of what it should make.
///
/// # Errors
/// Whatever is wrong with the old image; [`DeltaError`]; [`OutputError`](crate::OutputError).
pub fn apply_tar_delta(
    delta: &Path,
    base: &OsStr,
    output: &Path,
    diff_id: Option<Digest>,
    session: &Session,
) -> Result<TarPatchReport, Error> {
    let work = || {
        let input = Interruptible::open(delta, &session.cancel);
        let input = input.map_err(|e| Error::input(delta, e))?;
        let base = Base::open(base, session)?;
        let pending = PendingFile::create(output, true)?;
        let file = Arc::clone(pending.file());
        let (made, size) = patch(input, delta, base, &mut &*file, session)?;
        if let Some(diff_id) = diff_id {
            check(delta, diff_id, made)?;
        }
        pending.commit(true)?;
        Ok(TarPatchReport {
            diff_id: made.to_string(),
            size,
        })
    };
    work().map_err(|e: Error| session.reason(e))
}

/// Compares what a delta made with what it should.
fn check(delta: &Path, expected: Digest, found: Digest) -> Result<(), Error> {
    Mismatch::of_digests(&expected, &found).map_err(|source| {
        Error::from(DeltaError::Result {
            path: delta.to_path_buf(),
            source,
        })
    })
}

/// Applies a delta, which is called `path`; returns the digest and the size of what it made.
fn patch(
    delta: impl Read,
    path: &Path,
    base: Base,
    out: &mut dyn Write,
    session: &Session,
) -> Result<(Digest, u64), Error> {
    let options = PatchOptions {
        cancel: session.cancel.clone(),
        ..PatchOptions::default()
    };
    let failed = |source| DeltaError::patch(path, source);
    let input = BufReader::with_capacity(BUFFER, delta);
    let mut patch = Patch::new(input, base, &options).map_err(failed)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let read = patch.fill(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])
            .map_err(|source| DeltaError::Output { source })?;
        size += read as u64;
    }
    Ok((hasher.finish(), size))
}

/// A layer, decompressed as it is read.
struct Layer {
    decoded: Decoded,
    /// What was decoded last, and how much of it was read.
    chunk: Vec<u8>,
    at: usize,
}

impl Layer {
    fn open(path: &Path, session: &Session) -> Result<Self, Error> {
        let blob = Interruptible::open(path, &session.cancel);
        let blob = blob.map_err(|e| Error::input(path, e))?;
        let options = Budgets::new(session).layer_options(session);
        let decoded = Decoded::new(blob, Expected::nothing(), options);
        let decoded = decoded.map_err(|e| Error::input(path, io::Error::other(e)))?;
        Ok(Self {
            decoded,
            chunk: Vec::new(),
            at: 0,
        })
    }

    /// Returns the digest of the tar, once it was read to its end.
    fn diff_id(&self) -> Option<Digest> {
        self.decoded.summary().map(|summary| summary.diff_id)
    }
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let Some(next) = self.decoded.next().map_err(io::Error::other)? else {
                return Ok(0);
            };
            self.chunk.clear();
            self.chunk.extend_from_slice(next);
            self.at = 0;
        }
        let read = (&self.chunk[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}
