//! Everything that is given once, whatever is done: how images are found and read, and what bounds and stops the work.

pub(crate) mod budgets; // what an image may ask for
mod limits; // how much an image may ask for
pub(crate) mod parallel; // several things at the same time
mod progress; // how far things are
mod pull_policy; // when bare names are pulled
#[cfg_attr(not(feature = "registry"), path = "no_registries.rs")]
mod registries; // how registries are talked to
pub(crate) mod store_choice; // which store

use std::num::NonZeroUsize;
use std::sync::Arc;

use lithify_oci::{LayerKind, Platform};
#[cfg(feature = "daemon")]
use lithify_registry::daemon::DaemonOptions;

use crate::{CancelToken, Error};

pub use limits::{ImageLimits, Limits, UnknownLimit};
pub use progress::{Event, Progress, Silent};
pub use pull_policy::{PullPolicy, UnknownPolicy};
pub use registries::Registries;
pub use store_choice::StoreChoice;

/// Everything about reading an image that is not the image.
#[derive(Clone, Debug)]
pub struct Session {
    /// Which image of several; `None` is Linux on this machine's architecture.
    pub platform: Option<Platform>,
    /// Which of an image's manifests to take, if it has one with tars and one with EROFS images for the same platform.
    /// Default: tars. Whatever can use the images as they are is better off with these.
    pub layers: LayerKind,
    /// Processors to make use of; `None` is all there are. With 1 everything happens in the calling thread; with more,
    /// each layer being decoded has three threads of its own, and two layers are decoded at a time. Results never
    /// depend on it.
    pub jobs: Option<NonZeroUsize>,
    /// Bounds on what an image may contain.
    pub limits: Limits,
    /// The store bare names are looked up in, and pulled into.
    pub store: StoreChoice,
    /// When bare names are pulled. Default: when the store does not have them.
    pub pull: PullPolicy,
    /// Nothing is pulled for the sake of a bare name: what the store does not have is read from its registry. Default false.
    pub dry_run: bool,
    /// How registries are talked to.
    pub registries: Registries,
    /// Where the Docker daemon is looked for.
    #[cfg(feature = "daemon")]
    pub daemon: DaemonOptions,
    /// Who is told how far things are.
    pub progress: Arc<dyn Progress>,
    /// Stops the work, wherever it waits.
    pub cancel: CancelToken,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            platform: None,
            layers: LayerKind::Tar,
            jobs: None,
            limits: Limits::default(),
            store: StoreChoice::default(),
            pull: PullPolicy::default(),
            dry_run: false,
            registries: Registries::default(),
            #[cfg(feature = "daemon")]
            daemon: DaemonOptions::default(),
            progress: Arc::new(Silent),
            cancel: CancelToken::new(),
        }
    }
}

impl Session {
    /// Why something failed: because the work was stopped, if it was.
    pub(crate) fn reason(&self, error: impl Into<Error>) -> Error {
        match self.cancel.is_cancelled() {
            true => Error::cancelled(),
            false => error.into(),
        }
    }

    /// The same options for work that only looks.
    pub(crate) fn for_plan(&self) -> Self {
        Self {
            dry_run: true,
            ..self.clone()
        }
    }

    /// The number of threads to use.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.jobs
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}
