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
    /// The delta's name; of several, the last one's.
    pub delta: String,
    /// The names of deltas that are applied before it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The name of the old image, or of what has its files.
    pub base: String,
    /// Digest of the target's manifest.
    pub target: String,
    /// Whether a copy of the image has that very manifest. If not, layers are compressed again wherever it is copied to, and its manifest is a
    /// new one; its configuration and its layers' tars are those of the target in any case.
    pub exact: bool,
    /// Bytes of the deltas.
    pub delta_bytes: u64,
    /// Bytes of the target's layers that the old image does not have, at most: what is transferred without the delta.
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
        Self::open_chain(&[delta], base, session)
    }

    /// Opens the target of the last of several deltas, each of which is for the target of the one before. Targets in between are read, to
    /// have their files, and kept nowhere.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`DeltaError::Chain`] where one is not for the target of the one before.
    pub fn open_chain(
        deltas: &[impl AsRef<OsStr>],
        base: Option<&OsStr>,
        session: &Session,
    ) -> Result<Self, Error> {
        let opened = || {
            let artifacts = deltas
                .iter()
                .map(|delta| Artifact::open(delta.as_ref(), session));
            let artifacts = artifacts.collect::<Result<Vec<_>, Error>>()?;
            let first = artifacts.first().ok_or(DeltaError::NoDeltas)?;
            let config = first.delta.source_config;
            let base = match base {
                Some(base) => Base::open(base, &first.session_for_base(session))?,
                None => match store::with_config(&config, session)? {
                    Some(image) => Base::of_image(image, None),
                    None => {
                        return Err(DeltaError::NoBase {
                            name: first.name.clone(),
                            config: Box::new(config),
                        }
                        .into());
                    }
                },
            };
            Self::of(artifacts, base, session)
        };
        opened().map_err(|e| session.reason(e))
    }

    /// Opens the target of deltas on the image that the first is for.
    pub(super) fn on_image(
        artifacts: Vec<Artifact>,
        base: Image,
        session: &Session,
    ) -> Result<Self, Error> {
        Self::of(artifacts, Base::of_image(base, None), session)
    }

    fn of(artifacts: Vec<Artifact>, base: Base, session: &Session) -> Result<Self, Error> {
        let mut pairs = artifacts.iter().zip(artifacts.iter().skip(1));
        if let Some((before, after)) =
            pairs.find(|(before, after)| after.delta.source_config != before.delta.config.digest)
        {
            return Err(DeltaError::Chain {
                name: after.name.clone(),
                expected: Box::new(after.delta.source_config),
                before: before.name.clone(),
                found: Box::new(before.delta.config.digest),
            }
            .into());
        }
        let (mut base, mut done): (_, Option<Self>) = (Some(base), None);
        for artifact in artifacts {
            let on = match (base.take(), &done) {
                (Some(base), _) => base,
                (None, Some(target)) => target.as_base()?,
                (None, None) => break,
            };
            done = Some(Self::on(artifact, on, done.as_ref(), session)?);
        }
        done.ok_or_else(|| DeltaError::NoDeltas.into())
    }

    /// Returns the target as what another delta is applied to.
    fn as_base(&self) -> Result<Base, Error> {
        let blobs = match self.report.exact {
            true => Some(self.for_copies()?),
            false => None,
        };
        Ok(Base::of_image(self.for_builds()?, blobs))
    }

    fn on(
        artifact: Artifact,
        base: Base,
        before: Option<&Self>,
        session: &Session,
    ) -> Result<Self, Error> {
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
            after: Vec::new(),
            base: base.name(),
            target: described.target,
            exact: false,
            delta_bytes: described.delta_bytes,
            changed_bytes: described.changed_bytes,
            target_bytes: described.target_bytes,
        };
        if let Some(before) = before.map(|before| &before.report) {
            report.base.clone_from(&before.base);
            report.after.clone_from(&before.after);
            report.after.push(before.delta.clone());
            report.delta_bytes = report.delta_bytes.saturating_add(before.delta_bytes);
            // What one of them changed and the next one has may be in both; it is not more than all.
            let changed = report.changed_bytes.saturating_add(before.changed_bytes);
            report.changed_bytes = changed.min(report.target_bytes);
        }
        let layers = Layers::new(artifact, base, session)?;
        report.exact = layers.are_exact();
        Ok(Self {
            layers: Arc::new(layers),
            session: session.clone(),
            report,
        })
    }

    /// Returns the bytes of deltas before the last one, all of which are read for it.
    pub(super) fn bytes_before(&self) -> u64 {
        let last = inspect::of(self.layers.artifact()).delta_bytes;
        self.report.delta_bytes.saturating_sub(last)
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
