//! composefs images of images, without a repository: files are hashed as layers are decoded, and no data is kept.

use std::io::Write;

use lithify_composefs::{Content, Contents, Source};
use lithify_tree::{ContentId, Tree};
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::profile::{self, ComposefsProfile};
use super::sink::{ObjectSink, hasher};
use crate::Error;
use crate::image::{Image, LayerSummary, decode, reading};
use crate::repository::dump::{ComposefsImageOptions, ComposefsImageReport, not_made, write_image};
use crate::session::Session;
use crate::session::budgets::Budgets;

/// The filesystem of an image whose files were hashed.
#[derive(Debug)]
pub(crate) struct HashedImage {
    name: String,
    tree: Tree,
    contents: Vec<(FileAlgorithm, Contents)>,
    /// The findings about each layer.
    pub(crate) layers: Vec<LayerSummary>,
}

/// A tree with contents.
struct Joined<'a> {
    tree: &'a Tree,
    contents: &'a Contents,
}

impl Source for Joined<'_> {
    fn tree(&self) -> &Tree {
        self.tree
    }

    fn content(&self, id: ContentId) -> Content<'_> {
        self.contents.get(id)
    }
}

impl HashedImage {
    /// Decodes an image, which verifies it, and hashes its files by some algorithms.
    pub(crate) fn of(
        image: &Image,
        profile: ComposefsProfile,
        algorithms: &[FileAlgorithm],
        session: &Session,
    ) -> Result<Self, Error> {
        // One that Linux cannot hold is none that `cfsctl` leaves.
        let session = &reading(session, profile == ComposefsProfile::Cfsctl);
        let mut sink = ObjectSink::hashing(algorithms);
        let budgets = Budgets::new(session);
        let decoded = decode(image, &mut sink, session, &budgets, |e| e)?;
        let (merge, layers) = decoded.merged(image, session)?;
        Ok(Self {
            name: image.name().to_owned(),
            tree: profile::finish(merge, profile, image.name())?,
            contents: sink.into_contents(),
            layers,
        })
    }

    /// Writes the composefs image whose objects are named by one of the algorithms.
    pub(crate) fn write(
        &self,
        options: &ComposefsImageOptions,
        out: &mut dyn Write,
        session: &Session,
    ) -> Result<ComposefsImageReport, Error> {
        let none = Contents::default();
        let mut contents = self.contents.iter();
        let found = contents.find(|(algorithm, _)| *algorithm == options.algorithm);
        let source = Joined {
            tree: &self.tree,
            contents: found.map_or(&none, |(_, contents)| contents),
        };
        let written = write_image(&source, options, out, &session.cancel);
        written.map_err(|e| not_made(&self.name, e))
    }
}

/// Computes the digest that bytes have as a file.
pub(crate) fn digest_of_bytes(algorithm: FileAlgorithm, bytes: &[u8]) -> Result<FileDigest, Error> {
    let mut hasher = hasher(algorithm)?;
    hasher.update(bytes);
    Ok(hasher.finish())
}
