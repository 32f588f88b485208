//! Deltas of single layers.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::Interruptible;
use lithify_delta::create::{CreateOptions, LayerDelta, OldImage, Report};
use lithify_delta::diff::Effort;
use lithify_digest::{Digest, Mismatch};
use lithify_layer::Expected;
use lithify_storage::FileCursor;
use serde::Serialize;

use super::base::{Base, MergedFiles};
use super::old::{Old, create_options};
use super::patch;
use super::read::Layer;
use crate::Error;
use crate::error::{DeltaError, Operation};
use crate::image::{Image, Merged};
use crate::name::shown;
use crate::output::PendingFile;
use crate::session::Session;

/// The way a delta is created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TarDeltaOptions {
    /// The effort to make it small.
    pub effort: Effort,
    /// Most bytes of memory for comparing and compressing.
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

/// The way a delta is applied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TarPatchOptions {
    /// The digest that the tar has to have.
    pub diff_id: Option<Digest>,
    /// Waits until the tar is on the disk.
    pub durable: bool,
}

impl Default for TarPatchOptions {
    fn default() -> Self {
        Self {
            diff_id: None,
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
    /// Files whose content the old image has.
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
        let image = Image::open(old, session)?;
        let merged = Arc::new(Merged::of(&image, None, session)?);
        let (contents, files) = Old::of(&merged)?;
        let create = create_options(options.effort, options.memory, session);
        let failed = |source| DeltaError::create(new, output, source);
        let image = OldImage::read(files, contents, &create).map_err(failed)?;
        let pending = PendingFile::create(output, options.durable)?;
        let file = Arc::clone(pending.file());
        let delta = LayerDelta::new(&image, &*file, &create).map_err(failed)?;
        let (diff_id, report) = read_layer(new, delta, output, session)?;
        let size = file.metadata();
        let size = size.map_err(|e| Error::output(Operation::Write, output, e))?;
        let written = FileCursor::new(&*file, 0);
        let sources = Arc::new(MergedFiles::new(merged));
        let failed = |source| DeltaError::patch(output, source);
        let (made, _) = patch::apply(written, sources, session, failed, |_| Ok(()))?;
        check(output, diff_id, made)?;
        pending.commit(options.durable)?;
        Ok(TarDeltaReport {
            path: output.to_path_buf(),
            size: size.len(),
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

/// Reads a layer into its delta; returns its diff_id.
fn read_layer(
    path: &Path,
    mut delta: LayerDelta<&File>,
    output: &Path,
    session: &Session,
) -> Result<(Digest, Report), Error> {
    let name = shown(path.as_os_str());
    let layer = Layer {
        name: &name,
        index: 0,
    };
    let blob = Interruptible::open(path, &session.cancel);
    let blob = Box::new(blob.map_err(|e| Error::input(path, e))?);
    // Only progress wants to know.
    let size = path.metadata().ok().filter(Metadata::is_file);
    let size = size.map(|file| file.len());
    let not_created = |e| DeltaError::create(path, output, e);
    let summary = layer.read(blob, Expected::nothing(), size, session, |bytes| {
        delta.push(bytes).map_err(not_created)
    })?;
    let (_, report) = delta.finish().map_err(not_created)?;
    layer.done(&report, session);
    Ok((summary.diff_id, report))
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
    options: &TarPatchOptions,
    session: &Session,
) -> Result<TarPatchReport, Error> {
    let work = || {
        let input = Interruptible::open(delta, &session.cancel);
        let input = input.map_err(|e| Error::input(delta, e))?;
        let base = Base::open(base, session)?.sources(session)?;
        let pending = PendingFile::create(output, options.durable)?;
        let file = Arc::clone(pending.file());
        let failed = |source| DeltaError::patch(delta, source);
        let (made, size) = patch::apply(input, base, session, failed, |bytes| {
            let written = (&*file).write_all(bytes);
            written.map_err(|e| Error::output(Operation::Write, output, e))
        })?;
        if let Some(diff_id) = options.diff_id {
            check(delta, diff_id, made)?;
        }
        pending.commit(options.durable)?;
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
