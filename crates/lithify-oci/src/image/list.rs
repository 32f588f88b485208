//! What images a layout or archive holds.

use std::sync::Arc;

use lithify_digest::Digest;

use super::content::Located;
use super::select::{Candidate, Root, Selection, State};
use super::{docker, open_archive, unavailable};
use crate::layout::{self, Directory, Members};
use crate::manifest::Descriptor;
use crate::platform::Platform;
use crate::source::Source;
use crate::{Error, Limits, OpenOptions};

/// One image of a layout or archive, for one or more platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its names; empty if it has none. Hostile input.
    pub names: Vec<String>,
    /// Digest of its entry in `index.json`: a manifest or an index. In a docker-archive, of its config.
    pub digest: Digest,
    /// Media type of that entry. `None` in a docker-archive.
    pub media_type: Option<String>,
    /// What it is for, in order. Empty for what is no container image.
    pub platforms: Vec<ListedPlatform>,
}

/// One platform's manifest of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedPlatform {
    /// The platform; `None` if it cannot be told because something is missing.
    pub platform: Option<Platform>,
    /// Digest of the manifest. In a docker-archive, of the config.
    pub digest: Digest,
    /// Whether the manifest is there: `docker save` lists platforms it leaves out.
    pub present: bool,
}

/// Lists the images in `source`, whatever its tag or digest; attestations are left out.
///
/// # Errors
/// As [`open`](super::open), except those of choosing one image.
pub fn list(source: &Source, limits: &Limits) -> Result<Vec<Listed>, Error> {
    let archive = |path| open_archive(path, &OpenOptions::default().with_limits(limits.clone()));
    match source {
        Source::Oci { path, .. } => list_layout(&Arc::new(Directory::open(path)?), limits),
        Source::OciArchive { path, .. } => list_layout(&Arc::new(archive(path)?), limits),
        Source::DockerArchive { path, .. } => docker::list(&archive(path)?, limits),
        other => Err(unavailable(other)),
    }
}

fn list_layout<T: Members + 'static>(
    layout: &Arc<T>,
    limits: &Limits,
) -> Result<Vec<Listed>, Error> {
    let index = layout::read_index(&**layout, limits)?;
    let mut selection = Selection::new(&**layout, limits);
    let roots = selection.roots(&index, None)?;
    let candidates = selection.candidates(&roots)?;
    let mut listed: Vec<Listed> = roots
        .iter()
        .map(|root| Listed {
            names: root.names.iter().cloned().collect(),
            digest: root.descriptor.digest,
            media_type: Some(root.descriptor.media_type.clone()).filter(|t| !t.is_empty()),
            platforms: Vec::new(),
        })
        .collect();
    for Candidate {
        descriptor,
        root,
        platform,
        state,
    } in candidates
    {
        let present = match state {
            State::Image => selection
                .content
                .open_manifest(&descriptor.digest)?
                .is_some(),
            State::Absent => false,
            State::Refused(_) => continue,
        };
        listed[root].platforms.push(ListedPlatform {
            platform,
            digest: descriptor.digest,
            present,
        });
    }
    Ok(listed)
}

impl Located {
    /// The manifests of images the root leads to and what they are for, in order; attestations and manifests that are not
    /// there are left out, and so are those whose platform cannot be told.
    ///
    /// # Errors
    /// As [`open`](super::open), except those of choosing one image.
    pub fn platforms(&self, limits: &Limits) -> Result<Vec<(Platform, Descriptor)>, Error> {
        let root = Root {
            descriptor: self.root.clone(),
            names: self.names.iter().cloned().collect(),
        };
        let mut selection = Selection::new(&*self.content, limits);
        let mut found = Vec::new();
        for candidate in selection.candidates(&[root])? {
            let Candidate {
                descriptor,
                platform: Some(platform),
                state: State::Image,
                ..
            } = candidate
            else {
                continue;
            };
            if selection.content.has_manifest(&descriptor.digest)? {
                found.push((platform, descriptor));
            }
        }
        Ok(found)
    }
}
