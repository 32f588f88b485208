//! Deltas of images, applied.

use std::ffi::OsStr;
use std::sync::Arc;

use serde::Serialize;

use super::artifact::Artifact;
use super::base::Base;
use super::inspect;
use super::target::{self, Layers};
use crate::Error;
use crate::Image;
use crate::error::DeltaError;
use crate::place::store;
use crate::session::Session;

/// The target of a delta: an image whose layers are made as they are read, and compared with its digests then.
///
/// ```no_run
/// use lithify::{BuildOptions, CopyOptions, DeltaTarget, Output, Session};
///
/// let session = Session::default();
/// let base = Some("oci:images:1".as_ref());
/// let target = DeltaTarget::open("oci-archive:app.delta", base, &session)?;
/// let output = Output::Path("app.erofs".into());
/// lithify::build(&target.for_builds()?, &output, &BuildOptions::default(), &session)?;
/// lithify::copy_image(&target.for_copies()?, "oci:images:2", &CopyOptions::default(), &session)?;
/// # Ok::<(), lithify::Error>(())
/// ```
#[derive(Debug)]
pub struct DeltaTarget {
    layers: Arc<Layers>,
    session: Session,
    report: DeltaTargetReport,
}

/// A delta's target, and how it comes about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaTargetReport {
    /// The delta's name.
    pub delta: String,
    /// The name of the old image, or of what has its files.
    pub base: String,
    /// Digest of the target's manifest.
    pub target: String,
    /// Whether a copy of the image has that very manifest. If not, layers are compressed again wherever it is copied to, and its manifest is a
    /// new one; its configuration and its layers' tars are those of the target in any case.
    pub exact: bool,
    /// Bytes of the delta.
    pub delta_bytes: u64,
    /// Bytes of the target's layers that the old image does not have: what is transferred without the delta.
    pub changed_bytes: u64,
    /// Bytes of all the target's layers, as its manifest has them.
    pub target_bytes: u64,
}

impl DeltaTarget {
    /// Opens the target of a delta. `base` is the old image, or an artifact or a file tree that has its files; without it the store is
    /// searched for the image that the delta is for. Layers that the target shares with the old image are taken from it, so that
    /// only an image with layers will do where there are some.
    ///
    /// # Errors
    /// [`DeltaError`]; whatever is wrong with the base. What is wrong with the delta's layers is found when they are read.
    pub fn open(
        delta: impl AsRef<OsStr>,
        base: Option<&OsStr>,
        session: &Session,
    ) -> Result<Self, Error> {
        let opened = || {
            let artifact = Artifact::open(delta.as_ref(), session)?;
            Self::of(artifact, base, session)
        };
        opened().map_err(|e| session.reason(e))
    }

    /// Opens the target of a delta that was opened.
    fn of(artifact: Artifact, base: Option<&OsStr>, session: &Session) -> Result<Self, Error> {
        let config = artifact.delta.source_config;
        if let Some(base) = base {
            let for_base = artifact.session_for_base(session);
            return Self::on(artifact, Base::open(base, &for_base)?, session);
        }
        match store::with_config(&config, session)? {
            Some(image) => Self::on_image(artifact, image, session),
            None => Err(DeltaError::NoBase {
                name: artifact.name,
                config: Box::new(config),
            }
            .into()),
        }
    }

    /// Opens the target of a delta on the image that it is for.
    pub(super) fn on_image(
        artifact: Artifact,
        base: Image,
        session: &Session,
    ) -> Result<Self, Error> {
        Self::on(artifact, Base::of_image(base), session)
    }

    fn on(artifact: Artifact, base: Base, session: &Session) -> Result<Self, Error> {
        let source_config = artifact.delta.source_config;
        if let Some(found) = base.image().and_then(Image::oci).map(|i| i.config_digest())
            && *found != source_config
        {
            log::warn!(
                "{}: it is for the image with the configuration {source_config}, and `{}` has {found}",
                artifact.name,
                base.name()
            );
        }
        let described = inspect::of(&artifact);
        let mut report = DeltaTargetReport {
            delta: described.name,
            base: base.name(),
            target: described.target,
            exact: false,
            delta_bytes: described.delta_bytes,
            changed_bytes: described.changed_bytes,
            target_bytes: described.target_bytes,
        };
        let layers = Layers::new(artifact, base, session)?;
        report.exact = layers.are_exact();
        Ok(Self {
            layers: Arc::new(layers),
            session: session.clone(),
            report,
        })
    }

    /// Returns the layers.
    pub(super) const fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// Returns the way it comes about.
    #[must_use]
    pub const fn report(&self) -> &DeltaTargetReport {
        &self.report
    }

    /// Opens the image for whatever reads its layers: for [`build`](crate::build()), lists and checks.
    ///
    /// # Errors
    /// [`OpenError::Open`](crate::OpenError::Open).
    pub fn for_builds(&self) -> Result<Image, Error> {
        target::tars(&self.layers, &self.session)
    }

    /// Opens the image for [`copy_image`](crate::copy_image): with its own manifest, if it [can be](DeltaTargetReport::exact) had.
    ///
    /// # Errors
    /// [`OpenError::Open`](crate::OpenError::Open).
    pub fn for_copies(&self) -> Result<Image, Error> {
        match self.report.exact {
            true => target::blobs(&self.layers, &self.session),
            false => target::tars(&self.layers, &self.session),
        }
    }

    /// Checks that the image has the very manifest of the target.
    ///
    /// # Errors
    /// [`DeltaError::NotExact`].
    pub fn check_exact(&self) -> Result<(), Error> {
        match self.report.exact {
            true => Ok(()),
            false => Err(DeltaError::NotExact {
                name: self.report.delta.clone(),
                target: self.report.target.clone(),
            }
            .into()),
        }
    }
}
