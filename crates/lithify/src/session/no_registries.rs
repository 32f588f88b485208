//! Registries, in a library that was built without them.

use std::num::NonZeroUsize;

use lithify_oci::{Limits, Located, Reference};

use crate::{CancelToken, Error};

/// Registries that this library was built without: whatever would have to be asked of one is an error.
#[derive(Clone, Debug, Default)]
pub struct Registries(());

impl Registries {
    pub(crate) fn locate(
        &self,
        _: &Reference,
        _: &Limits,
        _: &CancelToken,
    ) -> Result<Located, Error> {
        Err(Error::not_built_in("registries", "registry"))
    }

    pub(crate) fn at_a_time<'a>(
        &self,
        wanted: Option<NonZeroUsize>,
        _: impl IntoIterator<Item = &'a Reference>,
        _: &CancelToken,
    ) -> Result<NonZeroUsize, Error> {
        Ok(wanted.unwrap_or(NonZeroUsize::MIN))
    }
}
