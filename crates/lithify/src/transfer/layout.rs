//! An OCI image layout as a destination.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lithify_oci::layout::{Directory, REF_NAME, Writer};
use lithify_oci::manifest::{Descriptor, ImageManifest};
use lithify_oci::{Content, Limits};

use super::plan::{Plan, SignatureTag};
use super::{BlobSource, Destination, Placed, signatures};
use crate::error::CommitError;
use crate::name::shown_path;
use crate::{CancelToken, Error};

/// A layout directory that images are added to.
///
/// A manifest with a subject is entered in `index.json` without a name, which is where image-spec 1.1 has clients look
/// for what refers to an image (`image-layout.md`).
#[derive(Debug)]
pub(crate) struct LayoutDestination {
    /// Blobs are put one after the other: there is one disk.
    writer: Mutex<Writer>,
    path: PathBuf,
    tag: Option<String>,
    /// Tags of signatures that have there what they are to have.
    signed: HashSet<String>,
    limits: Limits,
}

impl LayoutDestination {
    /// The layout in `path`, made if there is nothing, and the tag the image gets there.
    pub(crate) fn open(
        path: &Path,
        tag: Option<String>,
        durable: bool,
        limits: &Limits,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let writer = Writer::open(path, cancel).map_err(failed)?.durable(durable);
        Ok(Self {
            writer: Mutex::new(writer),
            path: path.to_owned(),
            tag,
            signed: HashSet::new(),
            limits: limits.clone(),
        })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: lithify_oci::layout::Error) -> Error {
    Error::from(CommitError::Layout(Box::new(error)))
}

impl Destination for LayoutDestination {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        if plan.tags.is_empty() {
            return Ok(());
        }
        let name = shown_path(&self.path);
        let layout = Directory::open(&self.path).map_err(|e| Error::opening(name.clone(), e))?;
        let content: Arc<dyn Content> = Arc::new(layout);
        self.signed = signatures::already_there(plan, |tag| {
            signatures::in_content(&name, &content, tag, &self.limits)
        })?;
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        self.writer().has_whole(blob).map_err(failed)
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        let mut reader = content.open(0)?;
        self.writer()
            .put_verified(blob, &mut reader)
            .map_err(failed)?;
        Ok(Placed::Copied)
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        let mut writer = self.writer();
        if !writer.has_whole(manifest).map_err(failed)? {
            writer
                .put_verified(manifest, &mut bytes.take(u64::MAX))
                .map_err(failed)?;
        }
        let refers = ImageManifest::parse(bytes, Some(&manifest.media_type))
            .is_ok_and(|parsed| parsed.subject.is_some());
        if refers {
            writer.add(manifest.clone());
        }
        Ok(())
    }

    fn put_tag(&self, tag: &SignatureTag, manifest: &Descriptor, _: &[u8]) -> Result<(), Error> {
        if self.signed.contains(&tag.tag) {
            return Ok(());
        }
        let mut entry = manifest.clone();
        entry
            .annotations
            .insert(REF_NAME.to_owned(), tag.tag.clone());
        self.writer().add(entry);
        Ok(())
    }

    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), Error> {
        let mut writer = self
            .writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut entry = root.clone();
        if let Some(tag) = self.tag {
            entry.annotations.insert(REF_NAME.to_owned(), tag);
        }
        writer.add(entry);
        writer.finish().map_err(failed)
    }
}
