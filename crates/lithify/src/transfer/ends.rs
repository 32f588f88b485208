//! The two ends of a transfer: blobs that can be read, and places that take an image.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use lithify_oci::manifest::Descriptor;

use super::plan::{Plan, SignatureTag};
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
    Mounted,
}

/// The kind of layers a place takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    /// Layers are kept decompressed and taken one after the other: compressing one on the way there would be in vain.
    pub(crate) plain_layers: bool,
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
        vendor_layers: true,
        other_layers: true,
    };
}

/// Answers whether a blob is at a place, as far as that can be told without reading it.
pub(crate) type Look = Box<dyn Fn(&Descriptor) -> Result<bool, Error>>;

/// A place an image can go to. It was found to be one; nothing there has been touched.
pub(crate) trait Target: fmt::Debug {
    /// Returns the kind of layers the place takes.
    fn nature(&self) -> Nature {
        Nature::ANYTHING
    }

    /// Returns a path beside which scratch files have room.
    fn scratch(&self) -> PathBuf {
        std::env::temp_dir().join("image")
    }

    /// Opens the place to look at what it has, and changes nothing.
    fn look(&self) -> Result<Look, Error> {
        Ok(Box::new(|_| Ok(false)))
    }

    /// Opens the place to put an image there.
    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error>;
}

/// Takes an image part by part: blobs, in any order and several at a time; then manifests and indexes, each after what
/// it refers to; then [`finish`](Self::finish).
///
/// What is put is verified against its descriptor by the destination; nothing wrong becomes visible.
pub(crate) trait Destination: Send + Sync + fmt::Debug {
    /// Called with all there will be, before anything is put.
    fn begin(&mut self, _: &Plan) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a blob is there already, whole.
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error>;

    /// Puts a blob.
    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error>;

    /// Puts a manifest or index whose parts are there.
    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error>;

    /// Gives a manifest that was put a tag that says what it belongs to, beside the image's, where there are tags.
    fn put_tag(
        &self,
        tag: &SignatureTag,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let (_, _, _) = (tag, manifest, bytes);
        Ok(())
    }

    /// The reasons why what was put is not listed as referring to what it refers to.
    fn unlisted(&self) -> Vec<String> {
        Vec::new()
    }

    /// Makes the image visible: `root` is its manifest or index, already put.
    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), Error>;

    /// Ends the putting of an artifact that refers to `subject`, which was put too. Where artifacts are found by what they
    /// refer to, nothing gets a name.
    fn finish_artifact(self: Box<Self>, subject: &Descriptor) -> Result<(), Error> {
        self.finish(subject)
    }
}
