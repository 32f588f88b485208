//! Blobs on their way: what they are read from, what became of them, and what places take.

use std::io::Read;

use crate::Error;

/// A blob that can be read more than once: an upload that breaks off starts again.
pub(crate) trait BlobSource: Send + Sync {
    /// Opens it at `offset`.
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, Error>;

    /// Called when what was read is not what its digest says: whether it can be had in another way, in which it is read
    /// next.
    fn distrust(&self) -> bool {
        false
    }

    /// The hosts it was read from last, where the image's name does not say.
    fn given_by(&self) -> Vec<String> {
        Vec::new()
    }
}

/// How a blob came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It was sent.
    Copied,
    /// It was there.
    Existed,
    /// The registry had it in another repository.
    #[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "for uploads"))]
    Mounted,
}

/// The kind of layers a place takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    /// Layers are kept decompressed: compressing one on the way there would be in vain.
    pub(crate) plain_layers: bool,
    /// Layers are taken one after the other.
    pub(crate) one_by_one: bool,
    /// Layers their vendor distributes are taken, where the image says from where. They are carried everywhere but to a
    /// registry, which would distribute them: that is what their licence does not allow.
    pub(crate) vendor_layers: bool,
    /// Layers and artifacts that are no tars are taken.
    pub(crate) other_layers: bool,
}

impl Nature {
    /// The nature of a place that keeps all blobs as they are.
    pub(crate) const ANYTHING: Self = Self {
        plain_layers: false,
        one_by_one: false,
        vendor_layers: true,
        other_layers: true,
    };
}
