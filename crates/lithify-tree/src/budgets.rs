//! What the entries of several layers may ask for together.

use lithify_cancel::{Budget, BudgetExceeded};

use crate::{Entry, LayerEntries};

/// Bounds on the entries of several layers together, which whoever reads or merges them takes from first. Clones share what is
/// left. Default: any number.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EntryBudgets {
    /// Their number.
    pub entries: Budget,
    /// [`Entry::name_bytes`].
    pub name_bytes: Budget,
    /// [`Entry::xattr_bytes`].
    pub xattr_bytes: Budget,
}

impl EntryBudgets {
    /// Takes for one entry.
    ///
    /// # Errors
    /// [`BudgetExceeded`].
    pub fn take(&self, entry: &Entry) -> Result<(), BudgetExceeded> {
        self.take_all(1, entry.name_bytes(), entry.xattr_bytes())
    }

    /// Takes for all entries of a layer: merging them takes as long each time, however they came to be known.
    ///
    /// # Errors
    /// [`BudgetExceeded`].
    pub fn take_layer(&self, layer: &LayerEntries) -> Result<(), BudgetExceeded> {
        let entries = layer.len() as u64;
        self.take_all(entries, layer.name_bytes(), layer.xattr_bytes())
    }

    fn take_all(
        &self,
        entries: u64,
        name_bytes: u64,
        xattr_bytes: u64,
    ) -> Result<(), BudgetExceeded> {
        self.entries.take(entries)?;
        self.name_bytes.take(name_bytes)?;
        match xattr_bytes {
            0 => Ok(()),
            bytes => self.xattr_bytes.take(bytes),
        }
    }
}
