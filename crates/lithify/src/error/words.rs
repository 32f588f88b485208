//! Parts of messages.

use std::fmt;

use lithify_tree::TreePath;

/// The place in a layer that a message ends with, if there is one.
pub(super) struct At<'a>(pub(super) Option<&'a TreePath>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, ": `{path}`"),
            None => Ok(()),
        }
    }
}

/// The number of problems that were not shown.
pub(crate) fn and_more(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(" (and {count} more problems)")
    }
}
