//! Images of registries, opened by way of a delta.

use lithify_oci::source::Source;

use super::find::{Wanted, none};
use super::policy::DeltaPolicy;
use crate::Error;
use crate::Image;
use crate::name::shown;
use crate::session::Session;

/// Opens the target of the smallest delta that refers to an image of a registry and whose old image the store has.
pub(crate) fn by_delta(
    image: &Image,
    policy: DeltaPolicy,
    session: &Session,
) -> Result<Option<Image>, Error> {
    let name = image.name();
    let manifest = image.oci().and_then(|oci| oci.manifest_digest());
    let (Source::Docker(reference), Some(manifest)) = (image.source(), manifest) else {
        return none(policy, name);
    };
    let located = crate::place::of(&shown(name.as_ref()), image.source())?;
    let located = located.locate(name, session)?;
    let wanted = Wanted {
        name,
        reference,
        located: &located,
        manifest,
        from: None,
    };
    let opened = wanted.find(session).and_then(|found| match found {
        Some(target) => target.for_builds().map(Some),
        None => Ok(None),
    });
    match opened {
        Ok(Some(image)) => Ok(Some(image)),
        Ok(None) => none(policy, name),
        Err(e) if policy == DeltaPolicy::Auto && !session.cancel.is_cancelled() => {
            log::warn!("{}; going on without a delta", e.report());
            Ok(None)
        }
        Err(e) => Err(e),
    }
}
