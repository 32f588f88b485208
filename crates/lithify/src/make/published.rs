//! Image files others made of an image and published beside it (`lithify push --as squashfs` and `erofs-image`), taken
//! instead of made.
//!
//! Of an image's own parts, each has its digest in the image's manifest. Of an artifact, nothing in the image says that it
//! is made of it: whoever may push to the repository may say so of anything. So it is never taken unasked; and where it
//! is, it is what its digests say, a sound filesystem, and named in the description.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use lithify_digest::{Digest, Mismatch, VerifiedReader, Verifier};
use lithify_oci::Content;
use lithify_oci::manifest::Descriptor;
use lithify_verity::Sidecar;

use super::result::file_sha256;
use super::wanted::Artifacts;
use crate::Error;
use crate::Event;
use crate::Image;
use crate::artifacts::Facts;
use crate::artifacts::{VERITY, blob_type, media_type, read_listed};
use crate::description::ArtifactSource;
use crate::error::{ArtifactError, BuildError, Operation};
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::fs::image::FsImage;
use crate::fs::verify::verify_tree;
use crate::fs::verity;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::BuildResult;
use crate::make::result::artifact;
use crate::make::result::output_path;
use crate::name::shown_path;
use crate::output::PendingFile;
use crate::session::Session;
use crate::transfer::{PartKind, PartState, PlanPart};

/// Most artifacts of one image that are looked at.
const MAX_LOOKED_AT: usize = 64;
/// Bytes copied at once.
const BUFFER: usize = 256 << 10;

/// Takes the image file that someone published, if that is asked for and someone did.
pub(super) fn take(
    image: &Image,
    kind: Kind,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Result<Option<BuildResult>, Error> {
    if options.artifacts == Artifacts::Ignore {
        return Ok(None);
    }
    let path = output_path(output, options.format)?;
    match wanted(image, kind, options, session)? {
        Some(found) => {
            let digest = &found.manifest.digest;
            log::info!("{}: taking the artifact {digest}", image.name());
            found.fetch(kind, path, options, session).map(Some)
        }
        None => Ok(None),
    }
}

/// Finds the image file that [`take`] would take, and leaves it where it is.
pub(super) fn look(
    image: &Image,
    kind: Kind,
    options: &BuildOptions,
    session: &Session,
) -> Result<Option<PlanPart>, Error> {
    if options.artifacts == Artifacts::Ignore {
        return Ok(None);
    }
    let found = wanted(image, kind, options, session)?;
    Ok(found.map(|found| {
        let mut part = PlanPart::new(PartKind::Filesystem, PartState::Move);
        part.digest = Some(found.filesystem.digest.to_string());
        part.media_type = Some(found.filesystem.media_type.clone());
        part.size = Some(found.filesystem.size);
        part
    }))
}

/// Finds the image file that was published. That there is none is an error if one is required.
fn wanted<'a>(
    image: &'a Image,
    kind: Kind,
    options: &BuildOptions,
    session: &Session,
) -> Result<Option<Found<'a>>, Error> {
    if let Some(found) = find(image, kind, options, session)? {
        return Ok(Some(found));
    }
    let target = options.target_name();
    if options.artifacts == Artifacts::Require {
        let manifest = image.oci().and_then(|oci| oci.manifest_digest());
        return Err(Error::from(BuildError::NoArtifact {
            name: image.name().to_owned(),
            manifest: manifest.map_or_else(|| "no manifest".to_owned(), Digest::to_string),
            target,
        }));
    }
    log::info!("{}: nobody published a {target}; making it", image.name());
    Ok(None)
}

/// An artifact that says it is what is wanted.
struct Found<'a> {
    image: &'a Image,
    content: Arc<dyn Content>,
    manifest: Descriptor,
    filesystem: Descriptor,
    /// The file with the root hash.
    sidecar: Option<Descriptor>,
    writer_version: Option<String>,
}

fn find<'a>(
    image: &'a Image,
    kind: Kind,
    options: &BuildOptions,
    session: &Session,
) -> Result<Option<Found<'a>>, Error> {
    let Some(((content, subject), facts)) = image
        .oci()
        .and_then(|oci| Some((oci.content()?, oci.manifest_digest()?)))
        .zip(Facts::of(image, options.target_name()))
    else {
        return Ok(None);
    };
    let failed = |e: lithify_oci::blob::Error| Error::opening(image.name(), e);
    let artifact_type = media_type(kind);
    let listed = match content.referrers(subject, Some(artifact_type)) {
        // An artifact saves work; where nobody says what there is, it is done.
        Err(error @ lithify_oci::blob::Error::Unlisted { .. })
            if options.artifacts == Artifacts::Use =>
        {
            log::warn!("{error}");
            Vec::new()
        }
        listed => listed.map_err(failed)?,
    };
    let mut best: Option<Found<'_>> = None;
    let listed = listed.into_iter().take(MAX_LOOKED_AT);
    for read in read_listed(
        image.name(),
        content,
        subject,
        artifact_type,
        listed,
        session,
    ) {
        let (entry, manifest) = read?;
        let is_wanted = facts.are_in(&manifest.annotations);
        let (filesystem, sidecar) = match (&*manifest.layers, options.verity) {
            ([filesystem], false) => (filesystem, None),
            ([filesystem, sidecar], true) if sidecar.media_type == VERITY => {
                (filesystem, Some(sidecar.clone()))
            }
            _ => continue,
        };
        if !is_wanted || filesystem.media_type != blob_type(kind) {
            log::info!(
                "{}: it is another kind of filesystem or of other files",
                entry.digest
            );
            continue;
        }
        let writer_version = Facts::writer(&manifest.annotations).cloned();
        let is_ours = writer_version.as_deref() == Some(crate::description::WRITER_VERSION);
        // Of those that say the same, the one a build would give byte for byte.
        if best.is_none() || is_ours {
            best = Some(Found {
                image,
                content: Arc::clone(content),
                manifest: entry,
                filesystem: filesystem.clone(),
                sidecar,
                writer_version,
            });
        }
        if is_ours {
            break;
        }
    }
    Ok(best)
}

impl Found<'_> {
    /// Brings it to where the build's output goes.
    fn fetch(
        self,
        kind: Kind,
        path: &Path,
        options: &BuildOptions,
        session: &Session,
    ) -> Result<BuildResult, Error> {
        let limit = session.limits.layer.tar_bytes;
        self.check_size(&self.filesystem, limit, "tar_bytes")?;
        let pending = PendingFile::create(path, options.durable)?;
        verity::check_beside(path)?;
        session.progress.event(Event::Started { layers: 1 });
        let mut file: &std::fs::File = pending.file();
        self.copy(&self.filesystem, session, &mut |data| {
            file.write_all(data)
                .map_err(|e| Error::output(Operation::Write, path, e))
        })?;
        session.progress.event(Event::Finishing);
        let handle = pending.file().try_clone();
        let handle = handle.map_err(|e| Error::output(Operation::Create, path, e))?;
        let report = FsImage::open(path, handle, kind, &session.cancel)?.verify()?;
        let mut artifact = artifact(options.format, &shown_path(path));
        let digest = &self.filesystem.digest;
        artifact.size = self.filesystem.size;
        artifact.options =
            Filesystem::new(kind, Placement::Packed, options.filesystem())?.options();
        artifact.statistics = [("inodes".to_owned(), report.entries)].into();
        if let Some(version) = self.writer_version.clone() {
            artifact.writer_version = version;
        }
        artifact.source = Some(ArtifactSource {
            manifest: self.manifest.digest.to_string(),
            artifact_type: media_type(kind).to_owned(),
        });
        let mut pending_sidecar = None;
        if let Some(descriptor) = &self.sidecar {
            let facts = self.sidecar(descriptor, path, session)?;
            verify_tree(path, pending.file(), &facts, session)?;
            verity::describe(&mut artifact, &facts, self.filesystem.size);
            pending_sidecar = Some(verity::sidecar(path, &facts, options.durable)?);
        }
        if options.digest {
            artifact.sha256 = Some(match digest.algorithm() {
                lithify_digest::Algorithm::Sha256 => digest.hex(),
                _ => {
                    io::Seek::rewind(&mut file).map_err(|e| Error::input(path, e))?;
                    file_sha256(path, pending.file(), &session.cancel)?
                }
            });
        }
        let durable = options.durable;
        verity::commit_with(path, pending_sidecar, durable, || pending.commit(durable))?;
        Ok(BuildResult {
            artifacts: vec![artifact],
            counts: Some((0, 1)),
            ..BuildResult::default()
        })
    }

    fn check_size(&self, part: &Descriptor, limit: u64, option: &'static str) -> Result<(), Error> {
        match part.size <= limit {
            true => Ok(()),
            false => Err(Error::from(BuildError::ArtifactTooLarge {
                artifact: Box::new(self.manifest.digest),
                found: part.size,
                limit,
                option,
            })),
        }
    }

    /// The root hash.
    fn sidecar(&self, part: &Descriptor, path: &Path, session: &Session) -> Result<Sidecar, Error> {
        self.check_size(part, verity::SIDECAR_MAX, "sidecar_bytes")?;
        let mut bytes = Vec::new();
        self.copy(part, session, &mut |data| {
            bytes.extend_from_slice(data);
            Ok(())
        })?;
        Sidecar::parse(&bytes).map_err(|source| {
            Error::from(ArtifactError::Sidecar {
                path: verity::sidecar_path(path),
                source: Box::new(source),
            })
        })
    }

    /// Reads a part, and compares it with its descriptor.
    fn copy(
        &self,
        part: &Descriptor,
        session: &Session,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |e: lithify_oci::blob::Error| Error::opening(self.image.name(), e);
        let missing = || {
            let name = lithify_oci::blob::BlobName::Layer(Box::new(part.digest));
            failed(lithify_oci::blob::Error::Missing { name })
        };
        let blob = self.content.open_blob(&part.digest, Some(part.size));
        let blob = blob.map_err(failed)?.ok_or_else(missing)?;
        let name = part.digest.to_string();
        session.progress.event(Event::Layer {
            index: 0,
            name: &name,
            blob_size: Some(part.size),
        });
        let verifier = Verifier::new(part.digest, part.size);
        let mut reader = VerifiedReader::new(blob.into_reader(), verifier);
        let mut buffer = vec![0; BUFFER];
        let mut found = 0;
        loop {
            if session.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.of_reader(part, e)),
            };
            found += count as u64;
            sink(&buffer[..count])?;
            session.progress.event(Event::Read {
                index: 0,
                blob_bytes: found,
            });
        }
        Ok(())
    }

    fn of_reader(&self, part: &Descriptor, error: io::Error) -> Error {
        match Mismatch::in_error(&error) {
            Some(mismatch) => Error::from(BuildError::ArtifactBlob {
                artifact: Box::new(self.manifest.digest),
                part: Box::new(part.digest),
                source: mismatch.clone(),
            }),
            None => Error::of_reader(&part.digest, error),
        }
    }
}
