//! The plan of an image, whatever it has of a manifest.

use super::{layers, tree};
use crate::image::Origin;
use crate::transfer::{Nature, Plan};
use crate::{Error, Image, Session};

/// Returns the plan of an image on its way to a place of that nature; with `referrers`, of what refers to it too. An image
/// without a manifest gets one, the same each time.
pub(crate) fn plan(
    image: &Image,
    referrers: bool,
    to: Nature,
    session: &Session,
) -> Result<Plan, Error> {
    match image.origin() {
        Origin::Oci(oci) => match Plan::of_image(image.name(), oci, referrers, to, session)? {
            Some(plan) => Ok(plan),
            None => layers::plan(image, oci, to.plain_layers, session),
        },
        Origin::Rootfs(_) | Origin::Tar(_) | Origin::Filesystem(_) => {
            tree::plan(image, to.plain_layers, session)
        }
    }
}
