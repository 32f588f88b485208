//! Checks of the composefs digests that were published with an image.
//!
//! They are annotations of its manifest, or of artifacts that refer to it ([`said`]). Each is computed anew and compared
//! ([`compare`]), but those of which nobody here knows what they are of: these are told, and never taken for right.

mod compare; // digests, computed
mod said; // digests, as they were published

use lithify_oci::source::Source;

use self::said::Said;
use super::subject::{Subject, verified};
use crate::Error;
use crate::error::{SealError, SealState};
use crate::fs::VerifyReport;
use crate::image::Image;
use crate::repository::verify::{Made, verify_named};
use crate::repository::{ComposefsProfile, HashedImage};
use crate::session::Session;

impl Subject {
    /// Checks an image as [`verify`](Self::verify) does, and the digests of composefs that were published with it: in its manifest,
    /// and in artifacts that its place, or that of `elsewhere`, lists as referring to it.
    ///
    /// That they are right proves nothing of who published them.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`SealError`].
    pub fn verify_sealed(
        &self,
        elsewhere: Option<&Image>,
        session: &Session,
    ) -> Result<VerifyReport, Error> {
        let verified = match self {
            Self::Image(image) => verify_sealed(image, elsewhere, session),
            Self::File(_) | Self::Layers(_) => Err(SealError::NoManifest {
                name: self.describe().reference,
            }
            .into()),
        };
        verified.map_err(|e| session.reason(e))
    }
}

fn verify_sealed(
    image: &Image,
    elsewhere: Option<&Image>,
    session: &Session,
) -> Result<VerifyReport, Error> {
    let said = Said::of(image, elsewhere, session)?;
    let made = match image.source() {
        Source::Composefs { path, selector } => {
            verify_named(path, selector.as_ref(), image.name(), session)?
        }
        _ => Made::Image(None),
    };
    let profile = ComposefsProfile::Cfsctl;
    let hashed = HashedImage::of(image, profile, &said.algorithms(), session);
    let hashed = hashed.map_err(Error::for_seal)?;
    let sealed = said.compare(image, &hashed, session)?;
    if sealed
        .checks
        .iter()
        .any(|check| check.state == SealState::Different)
    {
        return Err(SealError::Different {
            name: image.name().to_owned(),
            report: Box::new(sealed),
        }
        .into());
    }
    let made = match made {
        Made::Image(Some(made)) => {
            made.compare(image, session)?;
            Some(made.report)
        }
        Made::Image(None) => None,
        Made::Tree(made) => Some(made),
    };
    let mut report = verified(image, &hashed.layers);
    report.bytes += made.as_ref().map_or(0, |made| made.bytes);
    report.composefs = made.and_then(|made| made.composefs);
    report.sealed = Some(sealed);
    Ok(report)
}
