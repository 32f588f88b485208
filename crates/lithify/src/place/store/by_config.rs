//! Images of the store by their configurations.

use std::sync::Arc;

use lithify_digest::Digest;
use lithify_oci::Located;
use lithify_oci::manifest::ImageManifest;
use lithify_store::{Access, OpenOptions};

use super::lookup::{is_whole, located};
use crate::Error;
use crate::image::{Image, Origin};
use crate::session::Session;

/// Opens an image of the store that has a configuration, and all its parts; `None` if there is none.
pub(crate) fn with_config(config: &Digest, session: &Session) -> Result<Option<Image>, Error> {
    let options = OpenOptions::new().access(Access::Preferred);
    let store = match session.store.open_until(options, &session.cancel) {
        Ok(store) => store,
        Err(e) if e.is_no_store() || e.is_no_place_for_a_store() => return Ok(None),
        Err(e) => return Err(e),
    };
    let lease = store.lease()?;
    let limits = &session.limits.image;
    for tagged in store.tagged()? {
        let content = Arc::new(lease.clone());
        let entry = Located::new(content, tagged.descriptor.clone(), Vec::new());
        // What is damaged is found by who asks for it by its name.
        let Ok(Some(bytes)) = entry.read_manifest(&tagged.descriptor, limits) else {
            continue;
        };
        let parsed = ImageManifest::parse(&bytes, Some(&tagged.descriptor.media_type));
        let has_it = parsed.is_ok_and(|manifest| manifest.config.digest == *config);
        if !has_it || !is_whole(&lease, &tagged, limits)? {
            continue;
        }
        let name = format!("store:{}", tagged.name);
        let source = lithify_oci::Source::parse(name.as_ref())?;
        let session = Session {
            platform: tagged.descriptor.platform.clone(),
            ..session.clone()
        };
        let origin = Origin::of_located(&name, located(lease, tagged), &session)?;
        return Ok(Some(Image::new(&name, source, origin)));
    }
    Ok(None)
}
