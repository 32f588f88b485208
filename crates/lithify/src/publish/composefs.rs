//! Digests of composefs as an artifact beside an image, by the sealing specification of composefs-rs.

use std::collections::BTreeMap;
use std::sync::Arc;

use lithify_composefs::{FileAlgorithm, FileDigest};
use lithify_digest::{Algorithm, HashingWriter};
use lithify_oci::manifest::{Descriptor, media_type};

use super::artifact::{put, titled};
use super::publisher::{Publisher, described, one, source};
use crate::artifacts::{COMPOSEFS_IMAGE, SEAL, SealedFile};
use crate::output::scratch_file;
use crate::repository::{ComposefsImageOptions, ComposefsProfile, HashedImage, digest_of_bytes};
use crate::transfer::{FileBlob, PlannedBlob};
use crate::{Error, Image};

/// The file name of the image in an artifact.
const TITLE: &str = "image.cfs";

/// Returns algorithms in order, each once.
pub(super) fn distinct(algorithms: &[FileAlgorithm]) -> Vec<FileAlgorithm> {
    let mut algorithms = algorithms.to_vec();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}

impl Publisher<'_> {
    /// Adds an artifact beside the image for each algorithm: one has digests of one algorithm alone.
    pub(super) fn composefs(&mut self, images: &[Image]) -> Result<(), Error> {
        let image = one(images)?;
        let oci = source(image)?;
        let subject = self.subject(image)?;
        let algorithms = distinct(&self.options.algorithms);
        let profile = ComposefsProfile::Cfsctl;
        let hashed = HashedImage::of(image, profile, &algorithms, self.session);
        let hashed = hashed.map_err(Error::for_seal)?;
        let manifest = oci.raw_manifest().unwrap_or_default();
        for algorithm in algorithms {
            let (merged, file) = self.composefs_image(&hashed, algorithm)?;
            let digest = |file| match file {
                SealedFile::Manifest => digest_of_bytes(algorithm, manifest),
                SealedFile::Config => digest_of_bytes(algorithm, oci.raw_config()),
                SealedFile::Merged => Ok(merged),
            };
            let mut layers = Vec::with_capacity(SealedFile::ALL.len() + 1);
            for file in SealedFile::ALL {
                layers.push(self.digest_only(file.key(algorithm), digest(file)?.hex()));
            }
            layers.push(file);
            let artifact = put(self, SEAL, &subject, layers, BTreeMap::new())?;
            self.report.manifests.push(described(
                SEAL,
                &artifact.descriptor,
                oci.platform(),
                &artifact.layers,
            ));
        }
        self.plan.artifact_of = Some(subject);
        Ok(())
    }

    /// Adds the composefs image.
    fn composefs_image(
        &mut self,
        hashed: &HashedImage,
        algorithm: FileAlgorithm,
    ) -> Result<(FileDigest, Descriptor), Error> {
        let scratched = Error::scratch_beside(&self.beside);
        let scratch = Arc::new(scratch_file(Some(&self.beside)).map_err(scratched)?);
        let mut out = HashingWriter::new(&*scratch, Algorithm::Sha256);
        let options = ComposefsImageOptions {
            algorithm,
            ..ComposefsImageOptions::default()
        };
        let made = hashed.write(&options, &mut out, self.session)?;
        let (_, digest, size) = out.finish();
        let mut descriptor = Descriptor::new(COMPOSEFS_IMAGE, digest, size);
        descriptor.annotations = titled(TITLE);
        self.plan.add(PlannedBlob {
            descriptor: descriptor.clone(),
            source: Box::new(FileBlob(scratch)),
        });
        Ok((made.id, descriptor))
    }

    /// Adds a layer that has an annotation, and no signature.
    fn digest_only(&mut self, key: String, digest: String) -> Descriptor {
        let blob = PlannedBlob::of_bytes(media_type::OCI_EMPTY, b"{}".to_vec());
        let mut descriptor = blob.descriptor.clone();
        self.plan.add(blob);
        descriptor.annotations = BTreeMap::from([(key, digest)]);
        descriptor
    }
}
