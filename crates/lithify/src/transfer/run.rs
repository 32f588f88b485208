//! Transfers: blobs several at a time, then documents in order.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lithify_oci::manifest::Descriptor;

use super::blob::{BlobSource, Placed};
use super::destination::Destination;
use super::plan::{Plan, PlannedBlob};
use crate::CancelToken;
use crate::Error;
use crate::Event;
use crate::Progress;
use crate::error::TransferError;
use crate::session::Session;

/// Bytes between two reports.
const PROGRESS_STEP: u64 = 1 << 20;

/// What happened to the blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TransferCounts {
    /// Blobs that were sent.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Blobs that were there already.
    pub existed: u64,
    /// Blobs the registry took from another of its repositories.
    pub mounted: u64,
    /// Layers that are got from their vendor: not transferred, because they are not there, or not to a registry.
    pub foreign: u64,
}

/// What was transferred.
#[derive(Debug)]
pub(crate) struct Transferred {
    pub(crate) counts: TransferCounts,
    /// The reasons why it is not known, or listed, what refers to what.
    pub(crate) unlisted: Vec<String>,
}

/// Puts everything where it goes, `workers` blobs at a time, and makes it visible.
pub(crate) fn run(
    plan: Plan,
    mut destination: Box<dyn Destination>,
    workers: NonZeroUsize,
    session: &Session,
) -> Result<Transferred, Error> {
    destination.begin(&plan)?;
    let counts = Mutex::new(TransferCounts {
        foreign: plan.foreign,
        ..TransferCounts::default()
    });
    session.progress.event(Event::Started {
        layers: plan.blobs.len(),
    });
    let work = Work {
        blobs: &plan.blobs,
        destination: &*destination,
        session,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        error: Mutex::new(None),
        counts: &counts,
    };
    thread::scope(|scope| {
        for _ in 0..workers.get().min(plan.blobs.len()) {
            scope.spawn(|| work.run());
        }
    });
    if session.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    if let Some(error) = work
        .error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        return Err(error);
    }
    for (descriptor, bytes) in &plan.documents {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        destination.put_manifest(descriptor, bytes)?;
    }
    for tag in &plan.tags {
        if session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let mut documents = plan.documents.iter();
        let document = documents.find(|(d, _)| d.digest == tag.manifest);
        if let Some((descriptor, bytes)) = document {
            destination.put_tag(tag, descriptor, bytes)?;
        }
    }
    let Some(root) = plan.root().cloned() else {
        return Err(TransferError::NoManifest.into());
    };
    let mut unlisted = plan.unlisted;
    unlisted.extend(destination.unlisted());
    match &plan.artifact_of {
        Some(subject) => destination.finish_artifact(subject)?,
        None => destination.finish(&root)?,
    }
    Ok(Transferred {
        counts: counts.into_inner().unwrap_or_else(PoisonError::into_inner),
        unlisted,
    })
}

struct Work<'a> {
    blobs: &'a [PlannedBlob],
    destination: &'a dyn Destination,
    session: &'a Session,
    next: AtomicUsize,
    failed: AtomicBool,
    /// The first thing that went wrong.
    error: Mutex<Option<Error>>,
    counts: &'a Mutex<TransferCounts>,
}

impl Work<'_> {
    fn run(&self) {
        while !self.failed.load(Ordering::Acquire) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(blob) = self.blobs.get(index) else {
                return;
            };
            if let Err(error) = self.blob(index, blob) {
                let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
                drop(first);
                // Others stop from here on: that they did is not what went wrong.
                self.failed.store(true, Ordering::Release);
            }
        }
    }

    fn blob(&self, index: usize, blob: &PlannedBlob) -> Result<(), Error> {
        let descriptor = &blob.descriptor;
        let placed = if self.destination.has_blob(descriptor)? {
            Placed::Existed
        } else {
            let name = descriptor.digest.to_string();
            self.session.progress.event(Event::Layer {
                index,
                name: &name,
                blob_size: Some(descriptor.size),
            });
            let counted = Counted {
                inner: &*blob.source,
                index,
                progress: &self.session.progress,
                cancel: &self.session.cancel,
                failed: &self.failed,
            };
            self.put(descriptor, &counted)?
        };
        let name = descriptor.digest.to_string();
        self.session.progress.event(Event::BlobDone {
            index,
            name: &name,
            bytes: descriptor.size,
            copied: placed == Placed::Copied,
        });
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match placed {
            Placed::Copied => {
                counts.copied += 1;
                counts.copied_bytes += descriptor.size;
            }
            Placed::Existed => counts.existed += 1,
            Placed::Mounted => counts.mounted += 1,
        }
        Ok(())
    }

    /// Puts a blob; one that is not what its digest says is asked for elsewhere, where there is an elsewhere.
    fn put(&self, descriptor: &Descriptor, source: &Counted<'_>) -> Result<Placed, Error> {
        loop {
            match self.destination.put_blob(descriptor, source) {
                Err(error) if error.is_verification() => {
                    let error = error.given_by(source.inner.given_by());
                    if !source.inner.distrust() {
                        return Err(error);
                    }
                    log::warn!("{}; asking again", error.report());
                }
                other => return other,
            }
        }
    }
}

/// A source that reports what is read of it.
struct Counted<'a> {
    inner: &'a dyn BlobSource,
    index: usize,
    progress: &'a Arc<dyn Progress>,
    cancel: &'a CancelToken,
    failed: &'a AtomicBool,
}

impl BlobSource for Counted<'_> {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(CountedReader {
            inner: self.inner.open(offset)?,
            index: self.index,
            progress: self.progress,
            cancel: self.cancel,
            failed: self.failed,
            read: offset,
            reported: offset,
        }))
    }

    fn distrust(&self) -> bool {
        self.inner.distrust()
    }

    fn given_by(&self) -> Vec<String> {
        self.inner.given_by()
    }
}

struct CountedReader<'a> {
    inner: Box<dyn Read + Send + 'a>,
    index: usize,
    progress: &'a Arc<dyn Progress>,
    cancel: &'a CancelToken,
    failed: &'a AtomicBool,
    read: u64,
    reported: u64,
}

impl Read for CountedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() || self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("stopped"));
        }
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if self.read - self.reported >= PROGRESS_STEP || read == 0 {
            self.reported = self.read;
            self.progress.event(Event::Read {
                index: self.index,
                blob_bytes: self.read,
            });
        }
        Ok(read)
    }
}
