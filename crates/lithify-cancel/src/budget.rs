//! Bounds that several pieces of work share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on what pieces of work use up together, such as the layers of an image: each takes its part before it uses it.
/// Clones share what is left.
#[derive(Clone, Debug, Default)]
pub struct Budget(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    option: &'static str,
    what: &'static str,
    limit: u64,
    used: AtomicU64,
}

/// Work asked for more than its [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetExceeded {
    /// The name of the option that sets the budget.
    pub option: &'static str,
    /// The things it counts, as a plural.
    pub what: &'static str,
    /// Its value.
    pub limit: u64,
    /// The amount all work together asked for: the first value over the limit.
    pub found: u64,
}

impl Budget {
    /// Sets no bound.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// Sets a bound of which nothing is used up. `option` is the name of what raises it, `what` the plural of what it counts.
    #[must_use]
    pub fn new(option: &'static str, what: &'static str, limit: u64) -> Self {
        Self(Some(Arc::new(Shared {
            option,
            what,
            limit,
            used: AtomicU64::new(0),
        })))
    }

    /// Takes a part.
    ///
    /// # Errors
    /// [`BudgetExceeded`] when that is more than is left.
    pub fn take(&self, amount: u64) -> Result<(), BudgetExceeded> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let add = |used: u64| used.saturating_add(amount);
        let before = shared
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(add(used)))
            .unwrap_or(u64::MAX);
        let found = add(before);
        match found > shared.limit {
            false => Ok(()),
            true => Err(BudgetExceeded {
                option: shared.option,
                what: shared.what,
                limit: shared.limit,
                found,
            }),
        }
    }
}

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            option,
            what,
            limit,
            found,
        } = self;
        write!(
            f,
            "{found} {what} are over the limit of {limit} for the whole image; raise `{option}` if the image is trusted"
        )
    }
}

impl std::error::Error for BudgetExceeded {}

/// One user of a [`Budget`] that knows how much it has used up so far, not by how much that grew.
#[derive(Clone, Debug, Default)]
pub struct Share {
    budget: Budget,
    taken: u64,
}

impl Share {
    /// Starts with nothing taken.
    #[must_use]
    pub const fn of(budget: Budget) -> Self {
        Self { budget, taken: 0 }
    }

    /// Takes what is missing to `total`, if anything is: what was taken is never given back.
    ///
    /// # Errors
    /// [`BudgetExceeded`] when that is more than is left.
    pub fn grow_to(&mut self, total: u64) -> Result<(), BudgetExceeded> {
        let Some(more) = total.checked_sub(self.taken).filter(|&more| more > 0) else {
            return Ok(());
        };
        self.taken = total;
        self.budget.take(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_is_left() {
        let budget = Budget::new("image_entries", "entries", 10);
        let other = budget.clone();
        assert_eq!(budget.take(6), Ok(()));
        assert_eq!(other.take(4), Ok(()));
        let error = budget.take(1).unwrap_err();
        assert_eq!((error.limit, error.found), (10, 11));
        assert_eq!(
            error.to_string(),
            "11 entries are over the limit of 10 for the whole image; raise `image_entries` if the image is trusted"
        );
        assert_eq!(other.take(u64::MAX).unwrap_err().found, u64::MAX);
        assert_eq!(Budget::unlimited().take(u64::MAX), Ok(()));
    }

    #[test]
    fn a_share_takes_what_is_missing() {
        let budget = Budget::new("output_bytes", "bytes of output", 10);
        let mut share = Share::of(budget.clone());
        assert_eq!(share.grow_to(4), Ok(()));
        assert_eq!(share.grow_to(2), Ok(()));
        assert_eq!(share.grow_to(6), Ok(()));
        assert_eq!(budget.take(4), Ok(()));
        assert_eq!(share.grow_to(7).unwrap_err().found, 11);
    }
}
