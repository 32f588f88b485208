//! `store:` and bare names: images of the local store.

mod beside; // a registry with a store beside it
mod by_config; // images by their configurations
mod destination; // the store as a destination
mod joined; // platforms that came to the store one by one
mod lookup; // images by name
mod pull; // images of registries into the store

use lithify_oci::{Located, Reference};
use lithify_store::{Access, Lease, OpenOptions, Store};

use crate::CancelToken;
use crate::Error;
use crate::PullPolicy;
use crate::StoreChoice;
use crate::error::{OpenError, TransferError};
use crate::image::Origin;
use crate::name::name_in_store;
use crate::place::room::Place;
use crate::place::room::Writing;
use crate::session::Session;
use crate::transfer::{Destination, Look, Nature, Plan, Target};
use destination::StoreDestination;
use lookup::{in_store, is_index, located, not_in_store};

pub(crate) use by_config::with_config;
pub use pull::{DeltaSavings, PullOptions, PullReport};
pub(crate) use pull::{pull_into, survey_pull};

/// The nature of the store, which keeps all blobs as they are.
const NATURE: Nature = Nature::ANYTHING;

/// The name of an image of the store, and of nothing else.
pub(super) struct InStore<'a>(pub(super) &'a Reference);

impl InStore<'_> {
    fn never_pulling(session: &Session) -> Session {
        Session {
            pull: PullPolicy::Never,
            ..session.clone()
        }
    }
}

impl Place for InStore<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        open_name(name, self.0, &Self::never_pulling(session))
    }

    fn locate(&self, _: &str, session: &Session) -> Result<Located, Error> {
        locate_all(self.0, &Self::never_pulling(session))
    }

    fn target(
        &self,
        _: &str,
        writing: &Writing,
        session: &Session,
    ) -> Result<Box<dyn Target>, Error> {
        Ok(Box::new(InStoreTarget::new(
            self.0,
            writing.durable,
            session,
        )))
    }
}

/// A bare name: an image of the store, else of its registry.
pub(super) struct Bare<'a>(pub(super) &'a Reference);

impl Place for Bare<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        open_name(name, self.0, session)
    }

    fn locate(&self, _: &str, session: &Session) -> Result<Located, Error> {
        locate_all(self.0, session)
    }

    /// It may have been meant for a file, or for a registry.
    fn target(&self, name: &str, _: &Writing, _: &Session) -> Result<Box<dyn Target>, Error> {
        Err(Error::from(TransferError::BareDestination {
            name: name.to_owned(),
        }))
    }
}

/// The name an image gets in the store.
#[derive(Debug)]
struct InStoreTarget {
    reference: Reference,
    durable: bool,
    session: Session,
}

impl InStoreTarget {
    fn new(reference: &Reference, durable: bool, session: &Session) -> Self {
        Self {
            reference: reference.clone(),
            durable,
            session: session.clone(),
        }
    }

    /// Opens the store, if there is one.
    fn existing(&self) -> Result<Option<Store>, Error> {
        let options = OpenOptions::new().access(Access::Preferred);
        match self.session.store.open_until(options, &self.session.cancel) {
            Ok(store) => Ok(Some(store)),
            Err(e) if e.is_no_store() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Target for InStoreTarget {
    fn look(&self) -> Result<Look, Error> {
        let Some(store) = self.existing()? else {
            return Ok(Box::new(|_, _| Ok(false)));
        };
        let lease = store.lease()?;
        Ok(Box::new(move |_, blob| {
            Ok(lease.has(&blob.digest, blob.size)?)
        }))
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        let store = open_store(&self.session.store, &self.session.cancel)?;
        let Self {
            reference,
            durable,
            session,
        } = *self;
        let name = name_in_store(&reference);
        let destination = StoreDestination::new(&store, name, durable, session.cancel.clone())?;
        Ok(Box::new(
            destination.of_elsewhere(reference, &session.limits.image),
        ))
    }
}

/// Opens the store to write to it, made if there is none.
pub(crate) fn open_store(choice: &StoreChoice, cancel: &CancelToken) -> Result<Store, Error> {
    choice.open_until(OpenOptions::new().create(true), cancel)
}

/// Opens an image by a bare name: from the store, or pulled into it.
fn open_name(name: &str, reference: &Reference, session: &Session) -> Result<Origin, Error> {
    let located = match locate_name(reference, session)? {
        Some(located) => located,
        // Nothing is kept: straight from the registry.
        None => session
            .registries
            .locate(reference, &session.limits.image, &session.cancel)?,
    };
    Origin::of_located(name, located, session)
}

/// Finds an image by a bare name in the store, or pulls it into it. `None` when there is no store that can keep it.
fn locate_name(reference: &Reference, session: &Session) -> Result<Option<Located>, Error> {
    let name = name_in_store(reference);
    let open = |create| {
        let options = OpenOptions::new().create(create).access(Access::Preferred);
        session.store.open_until(options, &session.cancel)
    };
    let asked_for = match session.store.directory() {
        Ok(Some((_, asked_for))) => asked_for,
        Ok(None) => false,
        Err(e) if e.is_no_place_for_a_store() => false,
        Err(e) => return Err(e),
    };
    let existing = match open(false) {
        Ok(store) => Some(store),
        // One that is not there yet is made below.
        Err(e) if e.is_no_place_for_a_store() || e.is_no_store() => None,
        // A default nobody asked for is no reason to fail.
        Err(e) if asked_for => return Err(e),
        Err(_) => None,
    };
    if session.pull != PullPolicy::Always
        && let Some(store) = &existing
    {
        let lease = store.lease()?;
        if let Some(found) = in_store(&lease, &name, false, session)? {
            return Ok(Some(located(lease, found)));
        }
    }
    if session.pull == PullPolicy::Never {
        return Err(match &existing {
            Some(store) => not_in_store(store, name, false, session),
            None => Error::from(OpenError::NotInStore { name }),
        });
    }
    if session.store == StoreChoice::None || session.dry_run {
        return Ok(None);
    }
    let store = match existing {
        Some(store) => store,
        None => match open(true) {
            Ok(store) => store,
            Err(e) if asked_for => return Err(e),
            Err(e) => {
                log::info!("{e}; reading straight from the registry");
                return Ok(None);
            }
        },
    };
    if store.read_only() {
        return Ok(None);
    }
    let as_it_is = &mut |_: &Located, _: &mut Plan, _: &Lease| Ok(None);
    pull_into(
        &store,
        reference,
        &PullOptions::default(),
        session,
        as_it_is,
    )?;
    let lease = store.lease()?;
    let found = in_store(&lease, &name, false, session)?;
    Ok(found.map(|found| located(lease, found)))
}

/// Finds what a bare name means for all platforms: in the store, else in its registry.
fn locate_all(reference: &Reference, session: &Session) -> Result<Located, Error> {
    let name = name_in_store(reference);
    let options = OpenOptions::new().access(Access::Preferred);
    if session.pull != PullPolicy::Always
        && let Ok(store) = session.store.open_until(options, &session.cancel)
    {
        let lease = store.lease()?;
        let mut tagged = store.find(&name)?;
        if let Some(index) = tagged.iter().position(is_index) {
            return Ok(located(lease, tagged.swap_remove(index)));
        }
        match tagged.len() {
            0 => {}
            // What was chosen from an index is not all of it; the registry has the rest.
            _ if session.pull != PullPolicy::Never && tagged.iter().any(|t| t.index.is_some()) => {}
            1 => return Ok(located(lease, tagged.swap_remove(0))),
            _ => return joined::index_of(lease, &tagged, &session.limits.image),
        }
    }
    if session.pull == PullPolicy::Never {
        return Err(Error::from(OpenError::NotInStore { name }));
    }
    session
        .registries
        .locate(reference, &session.limits.image, &session.cancel)
}
