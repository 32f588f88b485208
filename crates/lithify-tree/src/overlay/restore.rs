//! Layers of an overlay, as an image would say them.

use super::{ForeignMark, Marks, Namespace};
use crate::{Device, Entry, EntryKind, Metadata};

/// An entry of an overlay layer as a layer of an image has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The entry, a whiteout for a character device 0:0.
    pub entry: Entry,
    /// Whether it is a directory in which lower layers have no say.
    pub opaque: bool,
}

impl Restored {
    /// The marker that removes what lower layers have in an opaque directory.
    #[must_use]
    pub fn marker(&self) -> Option<Entry> {
        self.opaque.then(|| Entry {
            path: self.entry.path.clone(),
            metadata: Metadata::default(),
            kind: EntryKind::Opaque,
        })
    }
}

/// Translates an entry of an overlay layer into one of a layer of an image: a device 0:0 is a whiteout, an opaque directory
/// is a directory and a [marker](Restored::marker). Attributes get their own names back, those of the overlay are left
/// out.
///
/// # Errors
/// [`ForeignMark`] for an attribute that would have overlayfs look elsewhere, see [`Marks`].
#[inline]
pub fn restore(mut entry: Entry) -> Result<Restored, ForeignMark> {
    if entry.kind == EntryKind::CharDevice(Device::default()) {
        entry.kind = EntryKind::Whiteout;
        entry.metadata = Metadata::default();
    }
    let marks = Marks::take(&mut entry.metadata.xattrs, Namespace::Trusted);
    if let Some(name) = marks.foreign {
        let path = entry.path;
        return Err(ForeignMark { path, name });
    }
    let opaque = marks.opaque && entry.kind == EntryKind::Directory;
    Ok(Restored { entry, opaque })
}
