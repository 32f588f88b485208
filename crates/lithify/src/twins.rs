//! Layers that an image names several times.

use std::collections::HashMap;
use std::ops::Range;

use lithify_hostfs::DirSink;
use lithify_tree::{ContentSink, LayerEntries};

use crate::Image;
use crate::decode::Discard;

/// A sink for all layers of an image, of which some may be the same.
pub(crate) trait LayerSink: ContentSink {
    /// The number of the next content, where contents are numbered one after the other.
    fn content_count(&self) -> u32;

    /// Takes the data of a layer once more, whose contents have these numbers: the result is what it would be had all of it come
    /// again. Gives what is to be added to the numbers.
    fn repeat(&mut self, layer: &LayerEntries, contents: Range<u32>) -> Result<u32, Self::Error>;
}

impl LayerSink for Discard {
    fn content_count(&self) -> u32 {
        0
    }

    fn repeat(&mut self, _: &LayerEntries, _: Range<u32>) -> Result<u32, Self::Error> {
        Ok(0)
    }
}

impl LayerSink for DirSink {
    fn content_count(&self) -> u32 {
        0
    }

    fn repeat(&mut self, _: &LayerEntries, _: Range<u32>) -> Result<u32, Self::Error> {
        Self::repeat(self);
        Ok(0)
    }
}

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
