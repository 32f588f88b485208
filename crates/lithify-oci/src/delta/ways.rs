//! The way to each layer of the target.

use std::collections::HashMap;

use lithify_digest::Digest;

use super::document::{Delta, LayerDelta};
use super::error::DeltaError;
use crate::Limits;
use crate::manifest::{Descriptor, ImageConfig, ImageManifest};

/// A layer of the target, and where it comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerWay {
    /// The layer, as the target's manifest has it.
    pub descriptor: Descriptor,
    /// Its diff_id.
    pub diff_id: Digest,
    /// Where it comes from.
    pub origin: LayerOrigin,
}

/// Where a layer of the target comes from.
#[derive(Clone, Debug)]
pub enum LayerOrigin {
    /// The source has it.
    Reused,
    /// The delta has what makes it, or the layer itself.
    Delta(Box<LayerDelta>),
}

impl Delta {
    /// Returns the way to each layer of the target, bottom first, by the target's own manifest and configuration.
    ///
    /// Both are compared neither with their digests nor with their sizes here: whoever read them did that.
    ///
    /// # Errors
    /// [`DeltaError`] for a target that is no image, or another one than the delta is for.
    pub fn layers_of(
        &self,
        manifest: &ImageManifest,
        config: &[u8],
        limits: &Limits,
    ) -> Result<Vec<LayerWay>, DeltaError> {
        manifest.check_image(limits)?;
        if manifest.config.digest != self.config.digest {
            return Err(DeltaError::OtherDocument {
                content: "image-config",
                found: Box::new(self.config.digest),
                expected: Box::new(manifest.config.digest),
            });
        }
        let config: ImageConfig = manifest.parse_config(config)?;
        manifest.check_config(&config)?;
        let layers = self.layers.iter().map(|layer| (layer.to, layer));
        let layers: HashMap<Digest, &LayerDelta> = layers.collect();
        let reused = self
            .reused
            .iter()
            .map(|layer| (layer.digest, layer.diff_id));
        let reused: HashMap<Digest, Digest> = reused.collect();
        let target: HashMap<Digest, Digest> = manifest
            .layers
            .iter()
            .map(|layer| layer.digest)
            .zip(config.diff_ids.iter().copied())
            .collect();
        let reused_here = self.reused.iter().map(|layer| layer.digest);
        let mut named = self.layers.iter().map(|layer| layer.to).chain(reused_here);
        if let Some(unknown) = named.find(|digest| !target.contains_key(digest)) {
            return Err(DeltaError::Unknown {
                digest: Box::new(unknown),
            });
        }
        let way = |(descriptor, diff_id): (&Descriptor, &Digest)| {
            let origin = match (
                layers.get(&descriptor.digest),
                reused.get(&descriptor.digest),
            ) {
                (Some(layer), _) => LayerOrigin::Delta(Box::new((*layer).clone())),
                (None, Some(said)) if said != diff_id => {
                    return Err(DeltaError::DiffId {
                        digest: Box::new(descriptor.digest),
                        found: Box::new(*said),
                        expected: Box::new(*diff_id),
                    });
                }
                (None, Some(_)) => LayerOrigin::Reused,
                (None, None) => {
                    return Err(DeltaError::NotCovered {
                        digest: Box::new(descriptor.digest),
                    });
                }
            };
            Ok(LayerWay {
                descriptor: descriptor.clone(),
                diff_id: *diff_id,
                origin,
            })
        };
        let layers = manifest.layers.iter().zip(&config.diff_ids);
        layers.map(way).collect()
    }
}
