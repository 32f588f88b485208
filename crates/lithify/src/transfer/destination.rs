//! Places that take an image.

use std::fmt;
use std::path::PathBuf;

use lithify_oci::manifest::Descriptor;

use super::blob::{BlobSource, Nature, Placed};
use super::plan::{Plan, SignatureTag};
use crate::Error;

/// The two sorts of parts that places keep apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A layer or a configuration.
    Blob,
    /// A manifest or index.
    Document,
}

/// Answers whether a part is at a place, as far as that can be told without reading it.
pub(crate) type Look = Box<dyn Fn(Sort, &Descriptor) -> Result<bool, Error>>;

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
        Ok(Box::new(|_, _| Ok(false)))
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

    /// Ends the putting of an artifact that refers to `subject`, which was put too and gets the name. Where artifacts are
    /// found by what they refer to, a name that leads to an index with the subject keeps leading there.
    fn finish_artifact(self: Box<Self>, subject: &Descriptor) -> Result<(), Error> {
        self.finish(subject)
    }
}
