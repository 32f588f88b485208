//! Files with several names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lithify_tree::TreePath;
use rustix::fs::Stat;

use crate::dirs::FileId;

/// Files of which a name was met and others are to come.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<FileId, FirstName>);

#[derive(Debug)]
struct FirstName {
    path: TreePath,
    /// Names not met yet.
    remaining: u64,
}

impl Links {
    /// The first name of a file, if this is a later one.
    pub(super) fn first_name(&mut self, stat: &Stat, path: &TreePath) -> Option<TreePath> {
        #[allow(clippy::useless_conversion, reason = "16 bits on some systems")]
        let names = u64::from(stat.st_nlink);
        if names < 2 {
            return None;
        }
        match self.0.entry(FileId::of(stat)) {
            Entry::Vacant(slot) => {
                slot.insert(FirstName {
                    path: path.clone(),
                    remaining: names - 1,
                });
                None
            }
            Entry::Occupied(mut slot) => {
                let first = slot.get_mut();
                first.remaining = first.remaining.saturating_sub(1);
                if first.remaining == 0 {
                    return Some(slot.remove().path);
                }
                Some(first.path.clone())
            }
        }
    }
}
