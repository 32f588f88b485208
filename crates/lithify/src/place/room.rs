//! The reading and the writing side every place has, and what several have in common.

use std::collections::HashMap;

use lithify_digest::Digest;
use lithify_oci::manifest::media_type::{DOCKER_LIST, OCI_INDEX};
use lithify_oci::manifest::{Descriptor, Document};
use lithify_oci::source::{Selector, Source};
use lithify_oci::{Located, Reference};

use crate::error::TransferError;
use crate::image::Origin;
use crate::transfer::{Plan, Target};
use crate::{Error, Session};

/// The way an image is written to a place.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    /// The place the image comes from, where it is one.
    #[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "for uploads"))]
    pub(crate) source: Option<Source>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    #[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "for uploads"))]
    pub(crate) chunk: Option<u64>,
    /// Whether to wait until everything is on the disk.
    pub(crate) durable: bool,
    /// Whether it is an image for all platforms.
    pub(crate) all_platforms: bool,
}

/// One image in its place, or the place one is to go to.
pub(crate) trait Place {
    /// Opens the image that is there, for the platform asked for.
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error>;

    /// Whether a place of the kind has room for an image for one platform only.
    fn is_for_one_platform(&self) -> bool {
        false
    }

    /// Finds the manifest or index that is there, whatever it is for.
    fn locate(&self, name: &str, session: &Session) -> Result<Located, Error>;

    /// Checks that an image can be written there, and touches nothing.
    fn target(
        &self,
        name: &str,
        writing: &Writing,
        session: &Session,
    ) -> Result<Box<dyn Target>, Error>;
}

/// Opens an image of a layout or archive.
pub(super) fn opened_archive_or_layout(
    name: &str,
    source: &Source,
    session: &Session,
) -> Result<Origin, Error> {
    let mut open = lithify_oci::OpenOptions::default()
        .with_limits(session.limits.image.clone())
        .preferring(session.layers)
        .until(&session.cancel);
    open.platform.clone_from(&session.platform);
    let image = lithify_oci::open(source, &open).map_err(|e| Error::opening(name, e))?;
    Ok(Origin::of(image))
}

/// Finds the manifest or index of a layout or archive.
pub(super) fn located_archive_or_layout(
    name: &str,
    source: &Source,
    session: &Session,
) -> Result<Located, Error> {
    lithify_oci::locate_until(source, &session.limits.image, &session.cancel)
        .map_err(|e| Error::opening(name, e))
}

/// Returns the tag a destination has behind its path, if it has one.
pub(super) fn tag_of(name: &str, destination: &Source) -> Result<Option<String>, Error> {
    match destination {
        Source::Oci { selector, .. }
        | Source::OciArchive { selector, .. }
        | Source::DockerArchive { selector, .. }
        | Source::Composefs { selector, .. } => match selector {
            Some(Selector::Name(tag)) => Ok(Some(tag.clone())),
            None => Ok(None),
            Some(_) => Err(refused(name)),
        },
        _ => Ok(None),
    }
}

/// Checks that what gets a name with a digest is what that digest says. An artifact gets no name: its subject has it.
pub(super) fn check_digest(name: &Reference, plan: &Plan) -> Result<(), Error> {
    let is_artifact = plan.artifact_of.is_some();
    match (name.digest(), plan.root()) {
        (Some(wanted), Some(root)) if *wanted != root.digest && !is_artifact => {
            Err(Error::from(TransferError::OtherDigest {
                name: name.to_string(),
                found: Box::new(root.digest),
            }))
        }
        _ => Ok(()),
    }
}

/// The error for a place images are not copied to.
pub(super) fn refused(name: &str) -> Error {
    Error::from(TransferError::TransferDestination {
        name: name.to_owned(),
    })
}

/// Tells whether a manifest or index, by its descriptor and bytes, is another one, or an index that leads to it through at
/// most so many others.
pub(super) fn leads_to(
    (document, bytes): (&Descriptor, &[u8]),
    wanted: &Digest,
    depth: usize,
    read: &impl Fn(&Descriptor) -> Result<Option<Vec<u8>>, Error>,
) -> Result<bool, Error> {
    if document.digest == *wanted {
        return Ok(true);
    }
    let parsed = Document::parse(bytes, Some(&document.media_type));
    let Ok(Document::Index(index)) = parsed else {
        return Ok(false);
    };
    if index.manifests.iter().any(|entry| entry.digest == *wanted) {
        return Ok(true);
    }
    let is_index =
        |entry: &Descriptor| [OCI_INDEX, DOCKER_LIST].contains(&entry.media_type.as_str());
    for entry in index.manifests.iter().filter(|entry| is_index(entry)) {
        if depth > 0
            && let Some(bytes) = read(entry)?
            && leads_to((entry, &bytes), wanted, depth - 1, read)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What indexes list, by the digests of the indexes.
pub(super) type Listed = HashMap<Digest, Vec<Digest>>;

/// Notes what a document lists, if it is an index.
pub(super) fn note(listed: &mut Listed, document: &Descriptor, bytes: &[u8]) {
    if let Ok(Document::Index(index)) = Document::parse(bytes, Some(&document.media_type)) {
        let children = index.manifests.iter().map(|entry| entry.digest);
        listed.insert(document.digest, children.collect());
    }
}

/// Returns those of what refers to others that have to be entered in `index.json` for that: neither the root, which is entered anyway, nor
/// what the root lists. Some readers take a layout of one manifest only.
pub(super) fn unnamed(
    referring: Vec<Descriptor>,
    root: &Descriptor,
    listed: &Listed,
) -> Vec<Descriptor> {
    let children = listed.get(&root.digest).map_or(&[][..], Vec::as_slice);
    let mut referring = referring;
    referring.retain(|entry| {
        // What has a tag of its own is found by that.
        let has_name = !entry.annotations.is_empty();
        has_name || entry.digest != root.digest && !children.contains(&entry.digest)
    });
    referring
}
