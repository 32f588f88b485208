//! Where images go: a layout, an archive, the store, a registry, a daemon.

use std::fmt;
use std::io::Read;

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

/// Takes an image part by part: blobs, in any order and several at a time; then manifests and indexes, each after what
/// it refers to; then [`finish`](Self::finish).
///
/// What is put is verified against its descriptor by the destination; nothing wrong becomes visible.
pub(crate) trait Destination: Send + Sync + fmt::Debug {
    /// Whether it keeps layers decompressed and takes them one after the other: compressing one on the way there would be
    /// in vain.
    fn takes_plain_layers(&self) -> bool {
        false
    }

    /// Whether it is a place for layers their vendor distributes, where the image says from where. They are carried
    /// everywhere but to a registry, which would distribute them: that is what their licence does not allow.
    fn takes_vendor_layers(&self) -> bool {
        true
    }

    /// Called with all there will be, where that is known before anything is put.
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
