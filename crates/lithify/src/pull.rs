//! `pull`: images of registries into the store.

use std::ffi::OsStr;

use lithify_oci::Reference;
use lithify_oci::source::Source;

use crate::Error;
use crate::error::OpenError;
use crate::name::shown;
use crate::place::store::{PullOptions, PullReport, open_store, pull_into, survey_pull};
use crate::session::Session;
use crate::transfer::PlanReport;

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
    let reference = reference(name.as_ref())?;
    let store = open_store(&session.store, &session.cancel)?;
    pull_into(&store, &reference, options, session).map_err(|e| session.reason(e))
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
