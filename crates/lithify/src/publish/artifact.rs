//! Filesystems and root hashes as artifacts beside an image (image-spec 1.1, `manifest.md`, "Guidelines for Artifact
//! Usage"): a manifest with an `artifactType`, an empty configuration, and the image's manifest as its `subject`.

use std::collections::BTreeMap;

use lithify_digest::Digest;
use lithify_oci::manifest::{Descriptor, ImageManifest, media_type as oci};
use lithify_verity::Sidecar;

use super::publisher::Publisher;
use super::publisher::described_bytes;
use crate::BuildOptions;
use crate::CancelToken;
use crate::Error;
use crate::Format;
use crate::Image;
use crate::artifacts::{Facts, VERITY, blob_type, media_type};
use crate::description::Verity;
use crate::error::{ArtifactError, OutputError};
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::fs::verity;
use crate::make::file_sha256;
use crate::make::write_flat;
use crate::output::PendingFile;
use crate::transfer::{FileBlob, PlannedBlob};

/// The annotation for a blob's file name.
const TITLE: &str = "org.opencontainers.image.title";

/// A manifest that was put.
pub(super) struct Artifact {
    pub(super) descriptor: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// Puts the merged filesystem of an image.
pub(super) fn flat(
    publisher: &mut Publisher<'_>,
    image: &Image,
    subject: &Descriptor,
    kind: Kind,
) -> Result<Artifact, Error> {
    let (options, session) = (publisher.options, publisher.session);
    let build = BuildOptions {
        format: Format::of_image(kind),
        compression: options.compression,
        verity: options.verity,
        drop_xattrs: options.drop_xattrs,
        ..BuildOptions::default()
    };
    let place = publisher
        .beside
        .with_file_name(format!("image.{}", kind.name()));
    let pending = PendingFile::create(&place, false)?;
    let filesystem = Filesystem::new(kind, Placement::Packed, build.filesystem())?;
    let (artifact, _) = write_flat(image, &filesystem, &pending, 0, &place, session)?;
    let mut size = artifact.size;
    let mut sidecar = None;
    if options.verity {
        let report = verity::append(pending.file(), size, &place, session)?;
        size = report.size;
        sidecar = Some(Verity::from(&Sidecar::from(&report)));
    }
    let digest = sha256(&place, pending.file(), &session.cancel)?;
    let blob_type = blob_type(kind);
    let title = format!("image.{}", kind.name());
    let mut layer = Descriptor::new(blob_type, digest, size);
    layer.annotations = titled(&title);
    publisher.plan.add(PlannedBlob {
        descriptor: layer.clone(),
        source: Box::new(FileBlob(std::sync::Arc::clone(pending.file()))),
    });
    let mut layers = vec![layer];
    if let Some(facts) = sidecar {
        layers.push(put_sidecar(publisher, &facts, &title)?);
    }
    let facts = Facts::of(image, build.target_name()).map(|facts| facts.annotations());
    put(
        publisher,
        media_type(kind),
        subject,
        layers,
        facts.unwrap_or_default(),
    )
}

/// Puts the root hashes of an image's layers.
pub(super) fn sidecars(
    publisher: &mut Publisher<'_>,
    subject: &Descriptor,
    sidecars: Vec<(Digest, Verity)>,
) -> Result<Artifact, Error> {
    let mut layers = Vec::with_capacity(sidecars.len());
    for (diff_id, facts) in &sidecars {
        layers.push(put_sidecar(
            publisher,
            facts,
            &format!("{}.erofs", diff_id.hex()),
        )?);
    }
    put(publisher, VERITY, subject, layers, BTreeMap::new())
}

fn put_sidecar(
    publisher: &mut Publisher<'_>,
    facts: &Verity,
    of: &str,
) -> Result<Descriptor, Error> {
    let json = verity::from_facts(facts)?.to_json().into_bytes();
    let blob = PlannedBlob::of_bytes(VERITY, json);
    let mut descriptor = blob.descriptor.clone();
    publisher.plan.add(blob);
    descriptor.annotations = titled(&format!("{of}.dmverity"));
    Ok(descriptor)
}

pub(super) fn put(
    publisher: &mut Publisher<'_>,
    artifact_type: &str,
    subject: &Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Result<Artifact, Error> {
    let empty = PlannedBlob::of_bytes(oci::OCI_EMPTY, b"{}".to_vec());
    let config = empty.descriptor.clone();
    publisher.plan.add(empty);
    let mut manifest = ImageManifest::new(config, layers.clone());
    manifest.artifact_type = Some(artifact_type.to_owned());
    manifest.annotations = annotations;
    // Only what identifies it.
    manifest.subject = Some(Descriptor::new(
        &subject.media_type,
        subject.digest,
        subject.size,
    ));
    let bytes = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
    let mut descriptor = described_bytes(oci::OCI_MANIFEST, &bytes);
    descriptor.artifact_type = Some(artifact_type.to_owned());
    publisher.plan.add_document(descriptor.clone(), bytes);
    Ok(Artifact { descriptor, layers })
}

pub(super) fn titled(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(TITLE.to_owned(), name.to_owned())])
}

fn sha256(
    path: &std::path::Path,
    file: &std::fs::File,
    cancel: &CancelToken,
) -> Result<Digest, Error> {
    use std::io::Seek as _;
    let mut from_start = file;
    from_start.rewind().map_err(|e| Error::input(path, e))?;
    let hex = file_sha256(path, file, cancel)?;
    format!("sha256:{hex}")
        .parse()
        .map_err(|_| Error::from(ArtifactError::RootHash { found: hex }))
}
