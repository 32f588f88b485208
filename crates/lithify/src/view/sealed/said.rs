//! Digests of composefs, as they were published.

use std::sync::Arc;

use lithify_composefs::{FileAlgorithm, FileDigest};
use lithify_oci::manifest::{Descriptor, ImageManifest};
use lithify_oci::{Content, blob};

use crate::Error;
use crate::artifacts::{COMPOSEFS_IMAGE, KEYS, SEAL, SealedFile, read_listed};
use crate::error::{SealCheck, SealError, SealState};
use crate::image::Image;
use crate::session::Session;

/// Most artifacts of one image that are read.
const MAX_ARTIFACTS: usize = 64;
/// Most digests that are told of.
const MAX_DIGESTS: usize = 1024;
/// Most characters of what is no digest that are shown.
const SHOWN_MAX: usize = 160;

/// The place of an image's own annotations.
const OWN: &str = "manifest";

/// The thing that a digest is compared with.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    File(SealedFile, FileDigest),
    /// The image of an artifact whose digests are of this algorithm.
    Image(FileAlgorithm, Box<Descriptor>),
    /// Nothing that is known.
    Nothing,
}

/// Everything that was published of the digests of an image.
#[derive(Debug)]
pub(super) struct Said {
    name: String,
    pub(super) digests: Vec<(SealCheck, Wanted)>,
    pub(super) unlisted: Vec<String>,
}

impl Said {
    /// Reads the annotations of an image and of the artifacts that refer to it.
    pub(super) fn of(
        image: &Image,
        elsewhere: Option<&Image>,
        session: &Session,
    ) -> Result<Self, Error> {
        let no_manifest = |image: &Image| SealError::NoManifest {
            name: image.name().to_owned(),
        };
        let manifest = image.oci().and_then(|oci| {
            let parsed = ImageManifest::parse(oci.raw_manifest()?, oci.media_type());
            Some((oci, oci.manifest_digest()?, parsed.ok()?))
        });
        let (oci, subject, manifest) = manifest.ok_or_else(|| no_manifest(image))?;
        let mut said = Self {
            name: image.name().to_owned(),
            digests: Vec::new(),
            unlisted: Vec::new(),
        };
        said.add(OWN, &manifest)?;
        let lists = match elsewhere {
            Some(other) => {
                let content = other.oci().and_then(|oci| oci.content());
                Some(content.ok_or_else(|| no_manifest(other))?)
            }
            // Of tars in a repository there is nothing to ask.
            None => oci.content(),
        };
        for (artifact, manifest) in said.artifacts(lists, subject, session)? {
            said.add(&artifact.digest.to_string(), &manifest)?;
        }
        if said.digests.is_empty() {
            return Err(SealError::None {
                name: said.name,
                prefix: KEYS,
                unlisted: said.unlisted,
            }
            .into());
        }
        let is_merged = |(_, wanted): &(SealCheck, Wanted)| {
            matches!(wanted, Wanted::File(SealedFile::Merged, _))
        };
        match said.digests.iter().any(is_merged) {
            true => Ok(said),
            false => Err(SealError::NotChecked {
                name: said.name,
                found: said.digests.len(),
                expected: SealedFile::Merged.key(FileAlgorithm::Sha256),
            }
            .into()),
        }
    }

    /// Returns the algorithms of the digests that are compared.
    pub(super) fn algorithms(&self) -> Vec<FileAlgorithm> {
        let is_of = |algorithm: FileAlgorithm| {
            self.digests.iter().any(|(_, wanted)| match wanted {
                Wanted::File(_, digest) => digest.algorithm() == algorithm,
                Wanted::Image(..) | Wanted::Nothing => false,
            })
        };
        let all = FileAlgorithm::ALL.into_iter();
        all.filter(|&algorithm| is_of(algorithm)).collect()
    }

    fn artifacts(
        &mut self,
        content: Option<&Arc<dyn Content>>,
        subject: &lithify_digest::Digest,
        session: &Session,
    ) -> Result<Vec<(Descriptor, ImageManifest)>, Error> {
        let Some(content) = content else {
            return Ok(Vec::new());
        };
        let listed = match content.referrers(subject, Some(SEAL)) {
            Ok(listed) => listed,
            Err(error @ blob::Error::Unlisted { .. }) => {
                log::warn!("{error}");
                self.unlisted.push(error.to_string());
                return Ok(Vec::new());
            }
            Err(error) => return Err(Error::opening(&*self.name, error)),
        };
        if listed.len() > MAX_ARTIFACTS {
            return Err(self.too_many("artifacts with composefs digests", MAX_ARTIFACTS));
        }
        read_listed(&self.name, content, subject, SEAL, listed, session).collect()
    }

    /// Adds the annotations of a manifest.
    fn add(&mut self, place: &str, manifest: &ImageManifest) -> Result<(), Error> {
        let descriptors = [&manifest.config].into_iter().chain(&manifest.layers);
        let annotations = descriptors.map(|descriptor| &descriptor.annotations);
        let mut algorithm = None;
        for (key, value) in [&manifest.annotations]
            .into_iter()
            .chain(annotations)
            .flatten()
        {
            if !key.starts_with(KEYS) {
                continue;
            }
            let known = SealedFile::of_key(key);
            let wanted = match known {
                Some((file, of)) => {
                    algorithm = algorithm.or(Some(of));
                    Wanted::File(file, parse(place, key, value, of)?)
                }
                None => Wanted::Nothing,
            };
            let role = known.map(|(file, _)| file.name());
            self.push(place, key, role, value, wanted)?;
        }
        let images = manifest.layers.iter();
        for image in images.filter(|layer| layer.media_type == COMPOSEFS_IMAGE) {
            let wanted = match algorithm {
                Some(algorithm) => Wanted::Image(algorithm, Box::new(image.clone())),
                None => Wanted::Nothing,
            };
            let digest = image.digest.to_string();
            self.push(place, COMPOSEFS_IMAGE, Some("image"), &digest, wanted)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        place: &str,
        annotation: &str,
        role: Option<&'static str>,
        expected: &str,
        wanted: Wanted,
    ) -> Result<(), Error> {
        if self.digests.len() == MAX_DIGESTS {
            return Err(self.too_many("composefs digests", MAX_DIGESTS));
        }
        let check = SealCheck {
            place: place.to_owned(),
            annotation: begin(annotation),
            role,
            expected: begin(expected),
            found: None,
            state: SealState::NotChecked,
            reason: None,
        };
        self.digests.push((check, wanted));
        Ok(())
    }

    fn too_many(&self, what: &'static str, limit: usize) -> Error {
        SealError::TooMany {
            name: self.name.clone(),
            what,
            limit,
        }
        .into()
    }
}

fn parse(
    place: &str,
    key: &str,
    value: &str,
    algorithm: FileAlgorithm,
) -> Result<FileDigest, SealError> {
    FileDigest::from_hex(algorithm, value).map_err(|_| SealError::Digest {
        place: place.to_owned(),
        annotation: key.to_owned(),
        found: begin(value),
        digits: 2 * algorithm.digest_size(),
    })
}

/// Returns a text, or its beginning if it is longer than any digest.
fn begin(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
