//! Layers that an image names several times.

use std::collections::HashMap;

use super::opened::Image;

/// Which layers of an image are the same.
pub(crate) struct Twins {
    /// For each layer the lowest that is the same.
    lowest: Vec<usize>,
}

impl Twins {
    pub(crate) fn of(image: &Image) -> Self {
        let mut known = HashMap::new();
        let layers = image.oci().map_or(&[][..], |oci| oci.layers());
        let lowest = layers.iter().enumerate().map(|(index, layer)| {
            // Only a digest says that two blobs are one: those it verifies need no second look.
            let Some(digest) = layer.digest else {
                return index;
            };
            let same = (
                digest,
                layer.size,
                layer.diff_id,
                layer.kind,
                layer.compression,
            );
            *known.entry(same).or_insert(index)
        });
        let mut lowest: Vec<usize> = lowest.collect();
        lowest.extend(lowest.len()..image.layer_count());
        Self { lowest }
    }

    /// The lowest layer that is the same.
    pub(crate) fn lowest(&self, index: usize) -> usize {
        self.lowest[index]
    }

    /// Whether another layer of the image is the same.
    pub(crate) fn is_repeated(&self, index: usize) -> bool {
        let same = |&&lowest: &&usize| lowest == self.lowest[index];
        self.lowest.iter().filter(same).count() > 1
    }
}
