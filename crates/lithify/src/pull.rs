//! `pull`: images of registries into the store.

use std::ffi::OsStr;

use lithify_oci::source::Source;
use lithify_oci::{Located, Reference};
use lithify_store::Lease;

use crate::Error;
use crate::Image;
use crate::StoreChoice;
use crate::delta::{DeltaPolicy, by_delta, with_delta};
use crate::error::OpenError;
use crate::name::shown;
use crate::place::store::{PullOptions, PullReport, open_store, pull_into, survey_pull};
use crate::session::Session;
use crate::transfer::{Plan, PlanReport};

/// Pulls an image of a registry, `docker://NAME` or `NAME`, into the store of [`Session::store`].
///
/// What an earlier attempt brought is not brought again. Nothing has the name before everything is there.
///
/// # Errors
/// [`Cause::Registry`](crate::Cause::Registry) and [`OpenError::Open`](crate::OpenError::Open) for what is wrong with registry or image, [`OpenError::NotInStore`](crate::OpenError::NotInStore) by policy.
pub fn pull(
    name: impl AsRef<OsStr>,
    options: &PullOptions,
    session: &Session,
) -> Result<PullReport, Error> {
    pull_by_delta(name, options, DeltaPolicy::Never, None, session)
}

/// Pulls an image as [`pull`] does, for one platform, with layers made of a delta and of an image that the store has, where that
/// saves something and gives the very blobs. `from` is the delta; without it the smallest one is taken of those that refer to the
/// image in its registry and whose old image the store has.
///
/// # Errors
/// As [`pull`]; [`DeltaError::NoDelta`](crate::DeltaError::NoDelta) where a delta is required.
pub fn pull_by_delta(
    name: impl AsRef<OsStr>,
    options: &PullOptions,
    policy: DeltaPolicy,
    from: Option<&OsStr>,
    session: &Session,
) -> Result<PullReport, Error> {
    let reference = reference(name.as_ref())?;
    let store = open_store(&session.store, &session.cancel)?;
    let mut rework = |located: &Located, plan: &mut Plan, lease: &Lease| match policy {
        DeltaPolicy::Never => Ok(None),
        policy => with_delta(&reference, located, plan, lease, (policy, from), session),
    };
    let pulled = pull_into(&store, &reference, options, session, &mut rework);
    pulled.map_err(|e| session.reason(e))
}

impl Image {
    /// Opens an image for whatever reads its layers, by way of a delta if there is one: the smallest of those that refer to the image in
    /// its registry and whose old image the store has. Of `docker://NAME` nothing is read from the registry then but the delta; a bare
    /// NAME is pulled as [`pull_by_delta`] does. Other images are opened as they are.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`DeltaError::NoDelta`](crate::DeltaError::NoDelta) where a delta is required.
    pub fn open_by_delta(
        name: impl AsRef<OsStr>,
        policy: DeltaPolicy,
        session: &Session,
    ) -> Result<Self, Error> {
        let given = name.as_ref();
        let is_kept = session.store != StoreChoice::None && !session.dry_run;
        if policy != DeltaPolicy::Never
            && let Source::Name(_) = Source::parse(given)?
            && is_kept
        {
            let options = PullOptions {
                policy: session.pull,
                ..PullOptions::default()
            };
            pull_by_delta(given, &options, policy, None, session)?;
            return Self::open(given, session);
        }
        let image = Self::open(given, session)?;
        let found = match policy {
            DeltaPolicy::Never => Ok(None),
            policy => by_delta(&image, policy, session),
        };
        let found = found.map_err(|e| session.reason(e))?;
        Ok(found.unwrap_or(image))
    }
}

/// Says what [`pull`] would bring, and what of it is there. The registry is asked for the manifests; nothing is written.
///
/// # Errors
/// As [`pull`].
pub fn plan_pull(
    name: impl AsRef<OsStr>,
    options: &PullOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    let reference = reference(name.as_ref())?;
    survey_pull(&reference, options, session).map_err(|e| session.reason(e))
}

/// Returns the name of an image that can be pulled.
fn reference(name: &OsStr) -> Result<Reference, Error> {
    match Source::parse(name)? {
        Source::Docker(reference) | Source::Name(reference) => Ok(reference),
        _ => Err(Error::from(OpenError::UnsupportedSource {
            name: shown(name),
            hint: "images of registries are pulled; `lithify copy` brings others into the store",
        })),
    }
}
