//! Images looked up in the store by name.

use std::sync::Arc;

use lithify_oci::manifest::{Descriptor, ImageManifest, LayerMediaType};
use lithify_oci::{Limits, Located, Platform};
use lithify_store::{Lease, Store, Tagged};

use crate::Error;
use crate::error::OpenError;
use crate::session::Session;

/// An index lists platforms; whether it has the right one is found when it is opened.
pub(super) fn is_index(tagged: &Tagged) -> bool {
    tagged.descriptor.platform.is_none()
}

/// Why the store does not have a name for a platform, or for all.
pub(super) fn not_in_store(store: &Store, name: String, all: bool, session: &Session) -> Error {
    let wanted = session.platform.clone().unwrap_or_else(Platform::host);
    // That it cannot be read was said before.
    let there = store.find(&name).unwrap_or_default();
    let is_wanted = |t: &&Tagged| {
        let platform = t.descriptor.platform.as_ref();
        all || platform.is_none_or(|p| wanted.rank(p).is_some())
    };
    // What is damaged is there, and no less so for its name.
    for tagged in there.iter().filter(is_wanted) {
        if let Err(error) = store.check_manifest(&tagged.descriptor.digest) {
            return error.into();
        }
    }
    let platforms = there.iter().map(|t| t.descriptor.platform.as_ref());
    let Some(platforms) = platforms.collect::<Option<Vec<&Platform>>>() else {
        return Error::from(OpenError::NotInStore { name });
    };
    // One for the platform that is there has lost parts.
    if platforms.is_empty() || !all && platforms.iter().any(|p| wanted.rank(p).is_some()) {
        return Error::from(OpenError::NotInStore { name });
    }
    let wanted = match all {
        true => "all platforms".to_owned(),
        false => wanted.to_string(),
    };
    Error::from(OpenError::NotInStoreFor {
        there: platforms.iter().map(ToString::to_string).collect(),
        name,
        wanted,
    })
}

/// What the store has of that name for a platform, or for all. What lost parts is not there.
pub(super) fn in_store(
    lease: &Lease,
    name: &str,
    all: bool,
    session: &Session,
) -> Result<Option<Tagged>, Error> {
    let wanted = session.platform.clone().unwrap_or_else(Platform::host);
    let tagged = lease.store().find(name)?;
    let rank = |t: &Tagged| wanted.rank(t.descriptor.platform.as_ref()?);
    let best = match all {
        true => None,
        false => tagged
            .iter()
            .filter_map(|t| Some((rank(t)?, t)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, t)| t.clone()),
    };
    let Some(found) = best.or_else(|| tagged.into_iter().find(is_index)) else {
        return Ok(None);
    };
    Ok(is_whole(lease, &found, &session.limits.image)?.then_some(found))
}

/// Whether the store has all parts of a manifest, by their sizes. Those of an index are looked for when it is opened.
pub(super) fn is_whole(lease: &Lease, found: &Tagged, limits: &Limits) -> Result<bool, Error> {
    let Descriptor { digest, size, .. } = &found.descriptor;
    if !lease.has(digest, *size)? {
        return Ok(false);
    }
    let located = located(lease.clone(), found.clone());
    let manifest = located.read_manifest(&found.descriptor, limits);
    let Ok(Some(bytes)) = manifest else {
        return Ok(false);
    };
    let Ok(manifest) = ImageManifest::parse(&bytes, Some(&found.descriptor.media_type)) else {
        return Ok(true);
    };
    for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
        // Layers their vendor distributes may not have been there.
        let foreign = matches!(
            LayerMediaType::of(&part.media_type),
            LayerMediaType::Tar { foreign: true, .. }
        );
        if !foreign && !lease.has(&part.digest, part.size)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn located(lease: Lease, found: Tagged) -> Located {
    log::info!("{}: {} from the store", found.name, found.descriptor.digest);
    let mut root = found.descriptor;
    root.annotations.clear();
    Located::new(Arc::new(lease), root, vec![found.name])
}
