//! `oci:`: OCI image layouts.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lithify_oci::layout::{Directory, REF_NAME, Writer};
use lithify_oci::manifest::Descriptor;
use lithify_oci::source::Source;
use lithify_oci::{Content, Limits, Located};

use super::room::Listed;
use super::room::Place;
use super::room::Writing;
use super::room::leads_to;
use super::room::located_archive_or_layout;
use super::room::opened_archive_or_layout;
use super::room::tag_of;
use super::room::{note, unnamed};
use crate::Error;
use crate::error::CommitError;
use crate::image::Origin;
use crate::name::shown_path;
use crate::session::Session;
use crate::transfer::{
    BlobSource, Destination, Look, Placed, Plan, SignatureTag, Target, referrers, signatures,
};

/// A layout directory, and which of its images.
pub(super) struct Layout<'a> {
    pub(super) path: &'a Path,
    pub(super) source: &'a Source,
}

impl Place for Layout<'_> {
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
        Ok(Box::new(LayoutTarget {
            path: self.path.to_owned(),
            tag: tag_of(name, self.source)?,
            durable: writing.durable,
            session: session.clone(),
        }))
    }
}

/// A directory that is or will be a layout, and the tag the image gets there.
#[derive(Debug)]
struct LayoutTarget {
    path: PathBuf,
    tag: Option<String>,
    durable: bool,
    session: Session,
}

impl Target for LayoutTarget {
    fn scratch(&self) -> PathBuf {
        self.path.join("index.json")
    }

    fn look(&self) -> Result<Look, Error> {
        Writer::check(&self.path).map_err(failed)?;
        if !self.path.join("oci-layout").exists() {
            return Ok(Box::new(|_, _| Ok(false)));
        }
        let name = shown_path(&self.path);
        let layout = Directory::open(&self.path).map_err(|e| Error::opening(name.clone(), e))?;
        Ok(Box::new(move |_, blob| {
            let found = layout.open_blob(&blob.digest, Some(blob.size));
            let found = found.map_err(|e| Error::opening(name.clone(), e))?;
            Ok(found.is_some_and(|found| found.len() == blob.size))
        }))
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        let writer = Writer::open(&self.path, &self.session.cancel).map_err(failed)?;
        Ok(Box::new(LayoutDestination {
            writer: Mutex::new(writer.durable(self.durable)),
            path: self.path,
            tag: self.tag,
            signed: HashSet::new(),
            referring: Mutex::default(),
            listed: Mutex::default(),
            limits: self.session.limits.image,
        }))
    }
}

/// A layout directory that images are added to.
///
/// A manifest with a subject is entered in `index.json` without a name, which is where image-spec 1.1 has clients look
/// for what refers to an image (`image-layout.md`).
#[derive(Debug)]
struct LayoutDestination {
    /// Blobs are put one after the other: there is one disk.
    writer: Mutex<Writer>,
    path: PathBuf,
    tag: Option<String>,
    /// Tags of signatures that have there what they are to have.
    signed: HashSet<String>,
    /// Manifests that refer to others.
    referring: Mutex<Vec<Descriptor>>,
    /// What indexes list, by their digests.
    listed: Mutex<Listed>,
    limits: Limits,
}

impl LayoutDestination {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LayoutDestination {
    /// Enters what refers to others. What `root`, which gets an entry of its own, lists is found by that.
    fn into_writer(self, root: Option<&Descriptor>) -> Writer {
        let writer = self.writer.into_inner();
        let mut writer = writer.unwrap_or_else(PoisonError::into_inner);
        let referring = self.referring.into_inner();
        let mut referring = referring.unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = root {
            let listed = self.listed.into_inner();
            let listed = listed.unwrap_or_else(PoisonError::into_inner);
            referring = unnamed(referring, root, &listed);
        }
        referring
            .into_iter()
            .for_each(|manifest| writer.add(manifest));
        writer
    }

    /// Tells whether a tag leads to a manifest already, directly or through an index.
    fn leads_to(&self, tag: &str, wanted: &Descriptor) -> Result<bool, Error> {
        let name = shown_path(&self.path);
        let opening = |e: lithify_oci::blob::Error| Error::opening(name.clone(), e);
        let layout = Directory::open(&self.path).map_err(|e| Error::opening(name.clone(), e))?;
        let Some(there) = layout.tagged(tag).map_err(opening)? else {
            return Ok(false);
        };
        let located = Located::new(Arc::new(layout), there.clone(), Vec::new());
        let read = |entry: &Descriptor| {
            let found = located.read_manifest(entry, &self.limits);
            found.map_err(opening)
        };
        match read(&there)? {
            Some(bytes) => {
                let depth = self.limits.index_depth;
                leads_to((&there, &bytes), &wanted.digest, depth, &read)
            }
            None => Ok(false),
        }
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
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut listed, manifest, bytes);
        if referrers::of(manifest, bytes).is_some() {
            let referring = self.referring.lock();
            let mut referring = referring.unwrap_or_else(PoisonError::into_inner);
            referring.push(manifest.clone());
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

    fn finish_artifact(self: Box<Self>, subject: &Descriptor) -> Result<(), Error> {
        let is_there = match &self.tag {
            Some(tag) => self.leads_to(tag, subject)?,
            None => false,
        };
        match is_there {
            true => self.into_writer(None).finish().map_err(failed),
            false => self.finish(subject),
        }
    }

    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), Error> {
        let mut entry = root.clone();
        if let Some(tag) = &self.tag {
            entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
        }
        let mut writer = self.into_writer(Some(root));
        writer.add(entry);
        writer.finish().map_err(failed)
    }
}
