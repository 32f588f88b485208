//! Digests of composefs, computed and compared.

use std::collections::BTreeMap;
use std::io;

use lithify_composefs::{FileAlgorithm, FileDigest};
use lithify_digest::{Algorithm, Digest, HashingWriter};
use lithify_oci::source::Source;

use super::said::{Said, Wanted};
use crate::Error;
use crate::artifacts::SealedFile;
use crate::error::{SealCheck, SealReport, SealState};
use crate::image::Image;
use crate::repository::{ComposefsImageOptions, HashedImage, canonical_image, digest_of_bytes};
use crate::session::Session;

const UNKNOWN: &str = "its role, or its algorithm with this size of blocks, is not known";
const OTHER_DIGEST: &str = "it is named by another digest than SHA-256";
const NOT_SAID: &str = "no digest of this algorithm is said of the merged filesystem";
const OTHER_RULES: &str = "the repository made it by other rules than those of `cfsctl`";
const NO_ARTIFACT: &str = "no digest that is known stands beside it";

/// A composefs image that was made.
struct Merged {
    id: FileDigest,
    sha256: Digest,
    size: u64,
}

impl Said {
    /// Computes the digests of an image whose files were hashed, and compares them.
    pub(super) fn compare(
        self,
        image: &Image,
        hashed: &HashedImage,
        session: &Session,
    ) -> Result<SealReport, Error> {
        let mut merged = BTreeMap::new();
        for algorithm in self.algorithms() {
            let mut out = HashingWriter::new(io::sink(), Algorithm::Sha256);
            let options = ComposefsImageOptions {
                algorithm,
                ..ComposefsImageOptions::default()
            };
            let id = hashed.write(&options, &mut out, session)?.id;
            let (_, sha256, size) = out.finish();
            merged.insert(algorithm, Merged { id, sha256, size });
        }
        let mut checks = Vec::with_capacity(self.digests.len() + 1);
        for (mut check, wanted) in self.digests {
            match wanted {
                Wanted::File(file, expected) => {
                    let found = digest(image, file, expected.algorithm(), &merged)?;
                    decide(
                        &mut check,
                        found.map(|found| (found.hex(), found == expected)),
                    );
                }
                Wanted::Image(algorithm, blob) => match merged.get(&algorithm) {
                    Some(_) if blob.digest.algorithm() != Algorithm::Sha256 => {
                        check.reason = Some(OTHER_DIGEST);
                    }
                    found => {
                        let found = found.map(|found| {
                            let is_same = found.sha256 == blob.digest && found.size == blob.size;
                            (found.sha256.to_string(), is_same)
                        });
                        decide(&mut check, found);
                    }
                },
                Wanted::Nothing if check.role.is_some() => check.reason = Some(NO_ARTIFACT),
                Wanted::Nothing => check.reason = Some(UNKNOWN),
            }
            checks.push(check);
        }
        checks.extend(in_repository(image, &merged, session)?);
        Ok(SealReport {
            checks,
            unlisted: self.unlisted,
        })
    }
}

/// Notes what was computed.
fn decide(check: &mut SealCheck, found: Option<(String, bool)>) {
    match found {
        Some((found, is_same)) => {
            check.found = Some(found);
            check.state = match is_same {
                true => SealState::Same,
                false => SealState::Different,
            };
        }
        None => check.reason = Some(NOT_SAID),
    }
}

/// Computes a digest.
fn digest(
    image: &Image,
    file: SealedFile,
    algorithm: FileAlgorithm,
    merged: &BTreeMap<FileAlgorithm, Merged>,
) -> Result<Option<FileDigest>, Error> {
    let bytes = image.oci().and_then(|oci| match file {
        SealedFile::Manifest => oci.raw_manifest(),
        SealedFile::Config => Some(oci.raw_config()),
        SealedFile::Merged => None,
    });
    match bytes {
        Some(bytes) => digest_of_bytes(algorithm, bytes).map(Some),
        None => Ok(merged.get(&algorithm).map(|merged| merged.id)),
    }
}

/// Compares the id by which a repository has the image.
fn in_repository(
    image: &Image,
    merged: &BTreeMap<FileAlgorithm, Merged>,
    session: &Session,
) -> Result<Option<SealCheck>, Error> {
    let Source::Composefs { path, selector } = image.source() else {
        return Ok(None);
    };
    let found = canonical_image(path, selector.as_ref(), image.name(), session)?;
    let mut check = SealCheck {
        place: "repository".to_owned(),
        annotation: "composefs.image.v1".to_owned(),
        role: Some(SealedFile::Merged.name()),
        expected: String::new(),
        found: None,
        state: SealState::NotChecked,
        reason: None,
    };
    match found {
        Some(id) => {
            check.expected = id.hex();
            let computed = merged.get(&id.algorithm());
            decide(&mut check, computed.map(|m| (m.id.hex(), m.id == id)));
        }
        None => check.reason = Some(OTHER_RULES),
    }
    Ok(Some(check))
}
