//! Sinks for the data of all layers of an image.

use std::ops::Range;

use lithify_hostfs::DirSink;
use lithify_tree::{ContentId, ContentSink, LayerEntries};

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

/// A sink that keeps nothing, for those who want names only.
#[derive(Debug)]
pub(crate) struct Discard;

impl ContentSink for Discard {
    type Error = std::convert::Infallible;

    fn begin(
        &mut self,
        _size: u64,
        _segments: Option<&[lithify_tree::DataSegment]>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn write(&mut self, _data: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<ContentId, Self::Error> {
        Ok(ContentId(0))
    }
}
