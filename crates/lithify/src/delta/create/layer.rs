//! One layer of a delta.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_delta::create::{CreateOptions, LayerDelta, OldImage, Report};
use lithify_digest::{Algorithm, Digest, HashingWriter, Mismatch};
use lithify_oci::Content;
use lithify_oci::delta::{self as artifact, Encoded, TAR_DIFF};
use lithify_oci::manifest::{Compression, Descriptor, LayerMediaType, media_type};
use lithify_storage::FileCursor;

use crate::delta::base::MergedFiles;
use crate::delta::patch;
use crate::delta::read::Layer;
use crate::delta::recipe::{Recipe, SAMPLE};
use crate::error::DeltaError;
use crate::image::{LayerInput, Merged};
use crate::output::scratch_file;
use crate::session::Session;
use crate::transfer::{FileBlob, PlannedBlob};
use crate::{Error, Image};

/// The share of a layer that its tar-diff has to save, as a divisor: a layer that the delta has as it is comes out byte for byte, and
/// needs no work.
const SAVED: u64 = 32;

/// What a layer of a delta is made of.
pub(super) struct Maker<'a> {
    pub(super) image: &'a Image,
    pub(super) index: usize,
    /// The layer, as its image's manifest has it.
    pub(super) descriptor: &'a Descriptor,
    pub(super) old: &'a OldImage,
    pub(super) merged: &'a Arc<Merged>,
    pub(super) create: &'a CreateOptions,
    /// A path beside which scratch files have room.
    pub(super) beside: &'a Path,
    pub(super) session: &'a Session,
}

/// A layer of a delta.
pub(super) struct Made {
    pub(super) blob: PlannedBlob,
    pub(super) entry: artifact::LayerDelta,
    pub(super) report: Report,
}

impl Maker<'_> {
    /// Makes the tar-diff of the layer and applies it; where that would not be smaller, takes the layer as it is.
    pub(super) fn make(&self) -> Result<Made, Error> {
        let LayerInput::Blob(blob, expected, _) =
            self.image.open_layer(self.index, &self.session.cancel)?
        else {
            let content = self.image.shared_oci().and_then(|oci| oci.content());
            let content = content.ok_or_else(|| DeltaError::NoManifest {
                name: self.image.name().to_owned(),
            })?;
            return Ok(self.whole(content, Report::default()));
        };
        let scratched = Error::scratch_beside(self.beside);
        let scratch = Arc::new(scratch_file(Some(self.beside)).map_err(scratched)?);
        let out = HashingWriter::new(&*scratch, Algorithm::Sha256);
        let failed = |e| self.failed(e);
        let mut delta = LayerDelta::new(self.old, out, self.create).map_err(failed)?;
        let layer = Layer {
            name: &self.image.layer_name(self.index),
            index: self.index,
        };
        let (size, mut sample) = (self.image.blob_size(self.index), Vec::new());
        let head = Head::default();
        let blob = Box::new(head.of(blob));
        let summary = layer.read(blob, expected, size, self.session, |bytes| {
            let room = SAMPLE - sample.len();
            sample.extend_from_slice(&bytes[..bytes.len().min(room)]);
            delta.push(bytes).map_err(failed)
        })?;
        let (out, report) = delta.finish().map_err(failed)?;
        layer.done(&report, self.session);
        let (_, digest, size) = out.finish();
        let oci = self.image.shared_oci();
        let content = oci.and_then(|oci| oci.content());
        let is_worth_it = size < self.descriptor.size - self.descriptor.size / SAVED;
        if let Some(content) = content.filter(|_| !is_worth_it) {
            return Ok(self.whole(content, report));
        }
        let is_whole = summary.size <= SAMPLE as u64;
        let recipe = head.recipe(&sample, is_whole).map_err(scratched)?;
        let compression = self.check(&scratch, summary.diff_id, recipe)?;
        let blob = Descriptor::new(TAR_DIFF, digest, size);
        let encoded = Encoded::new(
            Some(summary.size),
            compression.map(|recipe| recipe.to_string()),
        );
        Ok(Made {
            entry: artifact::LayerDelta::new(self.descriptor.digest, blob.clone(), encoded),
            blob: PlannedBlob {
                descriptor: blob,
                source: Box::new(FileBlob(scratch)),
            },
            report,
        })
    }

    fn failed(&self, source: lithify_delta::create::CreateError) -> Error {
        DeltaError::create_of(&self.image.layer_name(self.index), source)
    }

    /// Applies a tar-diff and compares the tar with the layer's. Returns the way the layer's blob was compressed if it is one that makes
    /// the very blob of the tar.
    fn check(
        &self,
        delta: &Arc<File>,
        diff_id: Digest,
        recipe: Option<Recipe>,
    ) -> Result<Option<Recipe>, Error> {
        let name = self.image.layer_name(self.index);
        let scratched = Error::scratch_beside(self.beside);
        let sources = Arc::new(MergedFiles::new(Arc::clone(self.merged)));
        let hashed = || HashingWriter::new(io::sink(), Algorithm::Sha256);
        let again = recipe.map(|recipe| recipe.compressor(hashed()));
        let mut again = again.transpose().map_err(scratched)?;
        let read = FileCursor::new(Arc::clone(delta), 0);
        let failed = |source| DeltaError::patch(Path::new(&name), source);
        let (made, _) = patch::apply(
            read,
            sources,
            self.session,
            failed,
            |bytes| match &mut again {
                Some(again) => again.write_all(bytes).map_err(scratched),
                None => Ok(()),
            },
        )?;
        Mismatch::of_digests(&diff_id, &made).map_err(|source| DeltaError::Result {
            path: name.clone().into(),
            source,
        })?;
        let Some(again) = again else {
            return Ok(None);
        };
        let (_, digest, size) = again.finish().map_err(scratched)?.finish();
        let is_it = digest == self.descriptor.digest && size == self.descriptor.size;
        Ok(recipe.filter(|_| is_it))
    }

    /// Takes the layer as it is.
    fn whole(&self, content: &Arc<dyn Content>, report: Report) -> Made {
        let mut blob = self.descriptor.clone();
        blob.annotations.clear();
        // The crate `oci-delta` 0.1.1 knows no types of Docker's. What counts is what the target's manifest says.
        if let LayerMediaType::Tar {
            compression,
            foreign: false,
        } = LayerMediaType::of(&blob.media_type)
        {
            let media_type = match compression {
                Compression::Gzip => media_type::OCI_LAYER_GZIP,
                Compression::Zstd => media_type::OCI_LAYER_ZSTD,
                _ => media_type::OCI_LAYER,
            };
            media_type.clone_into(&mut blob.media_type);
        }
        let to = blob.digest;
        Made {
            blob: PlannedBlob::of_content(self.image.name(), content, blob.clone()),
            entry: artifact::LayerDelta::new(to, blob, Encoded::default()),
            report,
        }
    }
}

/// The beginning of a blob that passes.
#[derive(Clone, Default)]
struct Head(Arc<Mutex<Vec<u8>>>);

impl Head {
    /// Keeps the beginning of what is read.
    fn of<R: Read>(&self, inner: R) -> Beginning<R> {
        Beginning {
            inner,
            head: self.clone(),
            kept: 0,
        }
    }

    /// Returns the way by which the blob may have been made of a tar that begins so.
    fn recipe(&self, tar: &[u8], is_whole: bool) -> io::Result<Option<Recipe>> {
        let head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Recipe::find(&head, tar, is_whole)
    }
}

/// A blob, the beginning of which is kept.
struct Beginning<R> {
    inner: R,
    head: Head,
    kept: usize,
}

impl<R: Read> Read for Beginning<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let keep = count.min(SAMPLE - self.kept);
        if keep > 0 {
            let mut head = self.head.0.lock().unwrap_or_else(PoisonError::into_inner);
            head.extend_from_slice(&buffer[..keep]);
            self.kept += keep;
        }
        Ok(count)
    }
}
