//! An image on its way into a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lithify_composefs::oci;
use lithify_composefs::repository::Repository;
use lithify_digest::Digest;
use lithify_oci::manifest::{Descriptor, ImageManifest, LayerMediaType};
use lithify_verity::file::FileDigest;

use crate::Error;
use crate::error::{ComposefsError, TransferError};
use crate::place::decoded::TransferredLayer;
use crate::repository::{
    ComposefsProfile, Documents, LayerStream, Named, compose, find_image, find_layer, note_left,
    note_profile, publish, store_layer,
};
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::transfer::{BlobSource, Destination, Placed, Plan, read_config};

/// A repository that gets an image.
#[derive(Debug)]
pub(super) struct RepositoryDestination {
    repository: Repository,
    /// The name that the user gave it.
    name: String,
    tag: Option<String>,
    session: Session,
    budgets: Budgets,
    image: Option<Arriving>,
    is_finished: bool,
}

impl Drop for RepositoryDestination {
    fn drop(&mut self) {
        if !self.is_finished {
            note_left(&self.repository);
        }
    }
}

/// The image that arrives.
#[derive(Debug)]
struct Arriving {
    digest: Digest,
    manifest: ImageManifest,
    manifest_bytes: Vec<u8>,
    config: Vec<u8>,
    /// Names of the layers: diff_ids, or digests if it is an artifact.
    layers: Vec<Digest>,
    is_image: bool,
    /// The whole of it was there, with the image that is made of it.
    is_there: bool,
    streams: Mutex<BTreeMap<Digest, LayerStream>>,
}

impl Arriving {
    fn streams(&self) -> MutexGuard<'_, BTreeMap<Digest, LayerStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RepositoryDestination {
    pub(super) fn new(
        repository: Repository,
        name: String,
        tag: Option<String>,
        session: Session,
    ) -> Self {
        Self {
            budgets: Budgets::of_data(&session),
            repository,
            name,
            tag,
            session,
            image: None,
            is_finished: false,
        }
    }

    fn refused(&self, reason: &'static str) -> Error {
        Error::from(TransferError::NotArchivable {
            name: self.name.clone(),
            reason,
        })
    }

    fn image(&self) -> Result<&Arriving, Error> {
        let image = self.image.as_ref();
        image.ok_or_else(|| self.refused("it is no image as it was found"))
    }

    /// Finds the positions of the layers that a blob is.
    fn positions(&self, blob: &Digest) -> Result<Vec<usize>, Error> {
        let layers = self.image()?.manifest.layers.iter().enumerate();
        let same = layers.filter(|(_, layer)| layer.digest == *blob);
        Ok(same.map(|(index, _)| index).collect())
    }

    fn put_layer(
        &self,
        index: usize,
        blob: &Descriptor,
        content: &dyn BlobSource,
    ) -> Result<(), Error> {
        let image = self.image()?;
        let name = image.layers[index];
        if !image.is_image {
            let source = content.open(0)?;
            let stored = oci::store_blob_layer(&self.repository, name, blob.size, source);
            let id = stored.map_err(|e| self.blob_failed(blob, e))?.id;
            image.streams().insert(
                name,
                LayerStream {
                    diff_id: name,
                    id,
                    is_found: false,
                },
            );
            return Ok(());
        }
        let layer = TransferredLayer {
            index,
            blob,
            diff_id: Some(name),
        };
        let failed = |source| layer.failed(source, &self.session);
        let stored = layer.decode(content, &self.session, &self.budgets, |decoded| {
            let mut decoded = decoded.map_err(|e| failed(e.into()))?;
            store_layer(&self.repository, &mut decoded, &self.session, failed)
        })?;
        image.streams().insert(name, stored.stream);
        Ok(())
    }

    fn blob_failed(&self, blob: &Descriptor, error: oci::LayerError) -> Error {
        match error {
            oci::LayerError::Io(_) if self.session.cancel.is_cancelled() => Error::cancelled(),
            oci::LayerError::Io(e) => Error::of_reader(&blob.digest, e),
            e => Error::in_repository(self.repository.path(), e),
        }
    }
}

impl Destination for RepositoryDestination {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        if plan.artifact_of.is_some() {
            return Err(self.refused("a repository keeps images, and nothing beside them"));
        }
        let only = plan.only_manifest();
        let (root, bytes, manifest) = only.map_err(|reason| self.refused(reason))?;
        let config = plan
            .blobs
            .iter()
            .find(|blob| blob.descriptor.digest == manifest.config.digest)
            .ok_or_else(|| self.refused("it has no configuration"))?;
        let config = read_config(
            &config.descriptor,
            &*config.source,
            &self.name,
            &self.session,
        )?;
        // One that is none of an image is that of an artifact.
        let parsed = manifest.parse_config(&config).ok();
        let is_image = parsed.is_some();
        let layers = match parsed {
            Some(parsed) => parsed.diff_ids,
            None => manifest.layers.iter().map(|layer| layer.digest).collect(),
        };
        if layers.len() != manifest.layers.len() {
            return Err(self.refused("its configuration is of another number of layers"));
        }
        for (index, layer) in manifest.layers.iter().enumerate().filter(|_| is_image) {
            match LayerMediaType::of(&layer.media_type) {
                LayerMediaType::Tar { foreign: true, .. } if !plan.has(&layer.digest) => {
                    return Err(self.refused("a layer of it is only distributed by its vendor"));
                }
                LayerMediaType::Tar { .. } => {}
                _ => {
                    return Err(ComposefsError::NotATar {
                        index,
                        name: layer.digest.to_string(),
                        hint: "`lithify build -f composefs` takes its files",
                    }
                    .into());
                }
            }
        }
        let there = match is_image {
            true => find_image(&self.repository, &root.digest, None)?,
            false => None,
        };
        let is_compared = there.as_ref().is_some_and(|found| found.is_compared);
        let mut streams = BTreeMap::new();
        if let Some(found) = &there
            && is_compared
        {
            streams.extend(found.image.layers.iter().map(|layer| {
                let stream = LayerStream {
                    diff_id: layer.digest,
                    id: layer.id,
                    is_found: true,
                };
                (layer.digest, stream)
            }));
        } else if is_image {
            let unique: BTreeSet<&Digest> = layers.iter().collect();
            for diff_id in unique {
                let found = find_layer(&self.repository, diff_id, &self.session, &self.budgets)?;
                streams.extend(found.map(|found| (*diff_id, found.stream)));
            }
        }
        let has_all = layers.iter().all(|layer| streams.contains_key(layer));
        self.image = Some(Arriving {
            digest: root.digest,
            manifest: *manifest,
            manifest_bytes: bytes.to_vec(),
            config,
            layers,
            is_image,
            is_there: there.is_some() && (is_compared || has_all),
            streams: Mutex::new(streams),
        });
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let image = self.image()?;
        if blob.digest == image.manifest.config.digest {
            return Ok(image.is_there);
        }
        let streams = image.streams();
        let mut positions = self.positions(&blob.digest)?.into_iter().peekable();
        let is_layer = positions.peek().is_some();
        Ok(is_layer && positions.all(|index| streams.contains_key(&image.layers[index])))
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        let image = self.image()?;
        if blob.digest == image.manifest.config.digest {
            // It was read at the beginning.
            return Ok(Placed::Copied);
        }
        let positions = self.positions(&blob.digest)?;
        if positions.is_empty() {
            return Err(self.refused("it has a blob that is no layer"));
        }
        for index in positions {
            let is_stored = image.streams().contains_key(&image.layers[index]);
            if !is_stored {
                self.put_layer(index, blob, content)?;
            }
        }
        Ok(Placed::Copied)
    }

    fn put_manifest(&self, _: &Descriptor, _: &[u8]) -> Result<(), Error> {
        // It was taken at the beginning.
        Ok(())
    }

    fn finish(mut self: Box<Self>, root: &Descriptor) -> Result<(), Error> {
        let finished = self.publish(root);
        self.is_finished = finished.is_ok();
        finished
    }
}

impl RepositoryDestination {
    fn publish(&self, root: &Descriptor) -> Result<(), Error> {
        let image = self.image()?;
        if image.is_there {
            return match &self.tag {
                Some(name) => Named::Oci(root.digest).tag(&self.repository, name),
                None => Ok(()),
            };
        }
        let streams = image.streams();
        let composed = match image.is_image {
            true => {
                let missing = || self.refused("a layer of it is missing");
                let layers = image.layers.iter();
                let layers = layers.map(|l| streams.get(l).copied().ok_or_else(missing));
                let layers: Vec<_> = layers.collect::<Result<_, _>>()?;
                let profile = ComposefsProfile::Faithful;
                note_profile(
                    &self.repository,
                    self.tag.as_deref(),
                    Some(&root.digest),
                    profile,
                );
                let repository = &self.repository;
                let composed = compose(
                    repository,
                    &self.name,
                    &layers,
                    profile,
                    &self.session,
                    &self.budgets,
                );
                Some(composed?)
            }
            false => None,
        };
        let ids: BTreeMap<Digest, FileDigest> = streams.iter().map(|(d, s)| (*d, s.id)).collect();
        let documents = Documents {
            digest: image.digest,
            manifest: &image.manifest_bytes,
            config: &image.config,
        };
        publish(
            &self.repository,
            documents,
            &ids,
            composed.as_ref(),
            self.tag.as_deref(),
        )
    }
}
