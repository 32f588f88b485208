//! Registries, connected to when the first one is needed.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_cancel::WeakToken;
use lithify_oci::{Limits, Located, Reference};
use lithify_registry::config::{Config, Environment};
use lithify_registry::{Client, ClientOptions, Repository, RepositoryContent};

use crate::{CancelToken, Error};

/// Blobs transferred at the same time, unless something else is asked for.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// What says how registries are talked to, once one is needed.
type Options = dyn Fn() -> Result<ClientOptions, lithify_registry::Error> + Send + Sync;

/// How registries are talked to. Clones share connections and tokens, among work that is stopped together.
#[derive(Clone)]
pub struct Registries {
    options: Arc<Options>,
    clients: Arc<Mutex<Vec<Shared>>>,
}

/// A client for all work that one token stops.
struct Shared {
    /// Not kept, by the client neither: when nobody has it any more, all that work is over.
    token: WeakToken,
    client: Client,
}

impl Default for Registries {
    /// As configured where configurations usually are.
    fn default() -> Self {
        Self::configured_by(|| {
            let config = Config::load(Environment::of_process(), None)?;
            Ok(ClientOptions::new(config))
        })
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").finish_non_exhaustive()
    }
}

impl Registries {
    /// Registries talked to in this way.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self::configured_by(move || Ok(options.clone()))
    }

    /// Registries talked to as this says when the first is needed: a configuration that is wrong is no concern of those who
    /// need none.
    #[must_use]
    pub fn configured_by(
        options: impl Fn() -> Result<ClientOptions, lithify_registry::Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            options: Arc::new(options),
            clients: Arc::default(),
        }
    }

    /// The client for work that is stopped by `cancel`; that of [`ClientOptions::cancel`] does not count.
    ///
    /// # Errors
    /// [`Cause::Registry`](crate::Cause::Registry) for a configuration that cannot be used.
    pub fn client(&self, cancel: &CancelToken) -> Result<Client, Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |shared: &&Shared| shared.token.upgrade().as_ref() == Some(cancel);
        if let Some(shared) = clients.iter().find(is_wanted) {
            return Ok(shared.client.clone());
        }
        let mut options = (self.options)()?;
        options.cancel = cancel.clone();
        let client = Client::new(options)?;
        // One whose work is stopped or over is of no use to anybody.
        clients.retain(|shared| shared.token.upgrade().is_some_and(|t| !t.is_cancelled()));
        clients.push(Shared {
            token: cancel.downgrade(),
            client: client.clone(),
        });
        Ok(client)
    }

    pub(crate) fn repository(
        &self,
        reference: &Reference,
        cancel: &CancelToken,
    ) -> Result<Repository, Error> {
        Ok(self.client(cancel)?.repository(reference)?)
    }

    /// Looks up what a reference names.
    pub(crate) fn locate(
        &self,
        reference: &Reference,
        limits: &Limits,
        cancel: &CancelToken,
    ) -> Result<Located, Error> {
        let repository = self.repository(reference, cancel)?;
        RepositoryContent::locate(&repository, reference, limits).map_err(|error| {
            match cancel.is_cancelled() {
                true => Error::cancelled(),
                false => error.into(),
            }
        })
    }

    /// How many blobs to transfer at the same time: as many as wanted, unless less is configured for one of these
    /// registries.
    pub(crate) fn at_a_time<'a>(
        &self,
        wanted: Option<NonZeroUsize>,
        references: impl IntoIterator<Item = &'a Reference>,
        cancel: &CancelToken,
    ) -> Result<NonZeroUsize, Error> {
        let mut most = wanted.unwrap_or(AT_A_TIME);
        for reference in references {
            let configured = self.repository(reference, cancel)?.max_connections();
            most = configured
                .and_then(NonZeroUsize::new)
                .map_or(most, |n| n.min(most));
        }
        Ok(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_work_that_is_over_are_not_kept() {
        let registries = Registries::new(ClientOptions::default());
        let kept = || registries.clients.lock().unwrap().len();
        let lasting = CancelToken::new();
        registries.client(&lasting).unwrap();
        // A token for each job, none of which is ever stopped.
        for _ in 0..8 {
            let job = CancelToken::new();
            registries.client(&job).unwrap();
            // The same work has the same client.
            registries.client(&job.clone()).unwrap();
            assert_eq!(kept(), 2);
        }
        let job = CancelToken::new();
        registries.client(&job).unwrap();
        job.cancel();
        registries.client(&CancelToken::new()).unwrap();
        assert_eq!(kept(), 2);
    }
}
