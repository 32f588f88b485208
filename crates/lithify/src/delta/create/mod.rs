//! Deltas of images, created.

mod destination; // the name a delta gets
mod layer; // one layer
mod options; // effort, memory, platforms
mod report; // what was created

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use lithify_delta::create::{CreateOptions, OldImage};
use lithify_digest::Digest;
use lithify_oci::delta::{Delta, Reused};
use lithify_oci::manifest::{Descriptor, ImageManifest, Index, media_type};

use self::destination::Destination;
use self::layer::Maker;
pub use self::options::DeltaOptions;
pub use self::report::{DeltaReport, ImageDeltaReport};
use super::inspect;
use super::old::{Old, create_options};
use crate::Error;
use crate::Image;
use crate::error::{DeltaError, OutputError};
use crate::image::Merged;
use crate::session::Session;
use crate::transfer::{Plan, PlannedBlob, run};

/// Creates the delta that makes a new image of an old one, at `destination`: `oci:DIR:TAG`, `oci-archive:FILE`, `docker://NAME:TAG`.
///
/// The delta is an artifact whose subject is the new image. If the destination's name leads to the new image there, it is found as
/// what refers to it and gets no name of its own. Every layer of it has been applied, and its result compared, before anything is
/// published. The same inputs always make the same delta.
///
/// # Errors
/// [`DeltaError`]; whatever is wrong with the images, and what writing fails with. Nothing has the destination's name before
/// everything is there.
pub fn create_delta(
    old: impl AsRef<OsStr>,
    new: impl AsRef<OsStr>,
    destination: impl AsRef<OsStr>,
    options: &DeltaOptions,
    session: &Session,
) -> Result<DeltaReport, Error> {
    let (old, new) = (old.as_ref(), new.as_ref());
    create(old, new, destination.as_ref(), options, session).map_err(|e| session.reason(e))
}

fn create(
    old: &OsStr,
    new: &OsStr,
    destination: &OsStr,
    options: &DeltaOptions,
    session: &Session,
) -> Result<DeltaReport, Error> {
    let destination = Destination::find(destination, options, session)?;
    let pairs = pairs(old, new, options, session)?;
    let targets: Vec<&Image> = pairs.iter().map(|(_, new)| new).collect();
    // What would be refused at the end is refused before the work.
    let subject = destination.subject(&targets, session)?;
    let (name, beside) = (destination.name.clone(), destination.beside.clone());
    let (opened, workers) = destination.open(session)?;
    let (mut plan, mut entries, mut images) = (Plan::default(), Vec::new(), Vec::new());
    for (old, new) in &pairs {
        let (entry, report) = delta(old, new, &mut plan, (&name, &beside), options, session)?;
        entries.push(entry);
        images.push(report);
    }
    if options.all_platforms {
        let index = Index::new(entries);
        let bytes = serde_json::to_vec(&index).map_err(OutputError::Json)?;
        let digest = Digest::of(lithify_digest::Algorithm::Sha256, &bytes);
        let root = Descriptor::new(media_type::OCI_INDEX, digest, bytes.len() as u64);
        plan.add_document(root, bytes);
    }
    let digest = plan.root().map(|root| root.digest.to_string());
    plan.artifact_of = subject;
    let transferred = run(plan, opened, workers, session)?;
    Ok(DeltaReport {
        destination: name,
        digest: digest.unwrap_or_default(),
        images,
        referrers_unlisted: transferred.unlisted,
    })
}

/// Opens both images, for each platform that is wanted and that both are there for.
fn pairs(
    old: &OsStr,
    new: &OsStr,
    options: &DeltaOptions,
    session: &Session,
) -> Result<Vec<(Image, Image)>, Error> {
    if !options.all_platforms {
        let new = Image::open(new, session)?;
        // The old image is for the same platform, whichever was chosen.
        let platform = new.oci().map(|image| image.platform().clone());
        let session = Session {
            platform,
            ..session.clone()
        };
        return Ok(vec![(Image::open(old, &session)?, new)]);
    }
    let mut olds = Image::open_all(old, session)?;
    let news = Image::open_all(new, session)?;
    let platform = |image: &Image| image.oci().map(|image| image.platform().to_string());
    let mut pairs = Vec::new();
    for new in news {
        let found = olds.iter().position(|old| platform(old) == platform(&new));
        match found {
            Some(found) => pairs.push((olds.swap_remove(found), new)),
            None => log::warn!(
                "{}: for {} there is no old image, so that there will be no delta",
                new.name(),
                platform(&new).unwrap_or_default()
            ),
        }
    }
    match pairs.is_empty() {
        true => Err(DeltaError::NoPair {
            old: crate::name::shown(old),
            new: crate::name::shown(new),
        }
        .into()),
        false => Ok(pairs),
    }
}

/// Adds the delta of one image to a plan. It is called `name`, and scratch files go beside `beside`.
fn delta(
    old: &Image,
    new: &Image,
    plan: &mut Plan,
    (name, beside): (&str, &Path),
    options: &DeltaOptions,
    session: &Session,
) -> Result<(Descriptor, ImageDeltaReport), Error> {
    let source = with_manifest(old)?;
    let target = with_manifest(new)?;
    let manifest = target.blob();
    let mut delta = Delta::new(
        manifest.descriptor.clone(),
        target.manifest.config.clone(),
        Some(source.descriptor.digest),
        *source.image.config_digest(),
    );
    let config = PlannedBlob::of_bytes(
        &target.manifest.config.media_type,
        target.image.raw_config().to_vec(),
    );
    plan.add(manifest);
    plan.add(config);
    let there: BTreeSet<Digest> = source.image.layers().iter().map(|l| l.diff_id).collect();
    let layers = target.image.layers();
    let is_needed = layers.iter().any(|layer| !there.contains(&layer.diff_id));
    let create = create_options(options.effort, options.memory, session);
    let known = match is_needed {
        true => Some(known(old, &create, beside, session)?),
        false => None,
    };
    let mut report = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        let digest = target.manifest.layers[index].digest;
        let is_said = delta.reused.iter().any(|reused| reused.digest == digest)
            || delta.layers.iter().any(|layer| layer.to == digest);
        if is_said {
            continue;
        }
        let known = known.as_ref().filter(|_| !there.contains(&layer.diff_id));
        let Some((image, merged)) = known else {
            delta.reused.push(Reused::new(digest, layer.diff_id));
            continue;
        };
        let maker = Maker {
            image: new,
            index,
            descriptor: &target.manifest.layers[index],
            old: image,
            merged,
            create: &create,
            beside,
            session,
        };
        let made = maker.make()?;
        plan.add(made.blob);
        delta.layers.push(made.entry);
        report.insert(digest, made.report);
    }
    let empty = PlannedBlob::of_bytes(media_type::OCI_EMPTY, b"{}".to_vec());
    let artifact = delta.to_manifest(empty.descriptor.clone());
    plan.add(empty);
    // As everybody who applies it does.
    let limits = &session.limits.image;
    let refused = |source| DeltaError::artifact(name, source);
    let read = Delta::parse(&artifact, limits).map_err(refused)?;
    let ways = read.layers_of(&target.manifest, target.image.raw_config(), limits);
    let ways = ways.map_err(refused)?;
    let bytes = serde_json::to_vec(&artifact).map_err(OutputError::Json)?;
    let digest = Digest::of(lithify_digest::Algorithm::Sha256, &bytes);
    let size = bytes.len() as u64;
    let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, size);
    entry.artifact_type.clone_from(&artifact.artifact_type);
    plan.add_document(entry.clone(), bytes);
    entry.platform = Some(target.image.platform().clone());
    let description = inspect::describe(name, &entry, &read, &ways, target.image.platform());
    Ok((entry, ImageDeltaReport::new(description, &report)))
}

/// The old image, as what new files are compared with, and as what the delta is applied to.
type Known = (OldImage, Arc<Merged>);

fn known(
    old: &Image,
    create: &CreateOptions,
    beside: &Path,
    session: &Session,
) -> Result<Known, Error> {
    let merged = Arc::new(Merged::of(old, Some(beside), session)?);
    let (contents, files) = Old::of(&merged)?;
    let image = OldImage::read(files, contents, create);
    let image = image.map_err(|e| DeltaError::create_of(old.name(), e))?;
    Ok((image, merged))
}

/// An image with its manifest.
struct WithManifest<'a> {
    image: &'a lithify_oci::Image,
    descriptor: Descriptor,
    manifest: ImageManifest,
    raw: &'a [u8],
}

impl WithManifest<'_> {
    /// Returns the manifest as a blob.
    fn blob(&self) -> PlannedBlob {
        PlannedBlob::of_bytes(&self.descriptor.media_type, self.raw.to_vec())
    }
}

fn with_manifest(image: &Image) -> Result<WithManifest<'_>, Error> {
    let no_manifest = || DeltaError::NoManifest {
        name: image.name().to_owned(),
    };
    let oci = image.oci().ok_or_else(no_manifest)?;
    let (Some(raw), Some(digest)) = (oci.raw_manifest(), oci.manifest_digest()) else {
        return Err(no_manifest().into());
    };
    let media_type = oci.media_type().unwrap_or(media_type::OCI_MANIFEST);
    let manifest = ImageManifest::parse(raw, oci.media_type());
    let manifest = manifest.map_err(|_| no_manifest())?;
    Ok(WithManifest {
        image: oci,
        descriptor: Descriptor::new(media_type, *digest, raw.len() as u64),
        manifest,
        raw,
    })
}
