//! How much is read of what headers say.

#[cfg(doc)]
use crate::Member;

/// The part of what headers say that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// All of it: members with owner, mode, times and attributes, the maps of sparse files.
    #[default]
    Everything,
    /// Names, kinds, sizes and where data lies, in one piece: sparse files are errors. The rest of a [`Member`] stays empty.
    Placement,
}
