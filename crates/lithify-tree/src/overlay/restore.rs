//! Layers of an overlay, as an image would say them.

use super::{OPAQUE_VALUE, OPAQUE_XATTR, unescape};
use crate::{Device, Entry, EntryKind, Metadata};

/// What an entry of an overlay layer is in a layer of an image: a device 0:0 is a whiteout, an opaque directory is a
/// directory and the marker that removes what lower layers have in it. Attributes get their own names back, those of
/// the overlay are left out.
pub fn restore(entry: Entry) -> impl Iterator<Item = Entry> {
    let Entry {
        path,
        mut metadata,
        kind,
    } = entry;
    let opaque = matches!(kind, EntryKind::Directory)
        && metadata.xattrs.get(OPAQUE_XATTR) == Some(OPAQUE_VALUE);
    let kind = match kind {
        EntryKind::CharDevice(device) if device == Device::default() => EntryKind::Whiteout,
        kind => kind,
    };
    if kind == EntryKind::Whiteout {
        metadata = Metadata::default();
    } else if let Some(own) = unescape(&metadata.xattrs) {
        metadata.xattrs = own;
    }
    let marker = opaque.then(|| Entry {
        path: path.clone(),
        metadata: Metadata::default(),
        kind: EntryKind::Opaque,
    });
    let entry = Entry {
        path,
        metadata,
        kind,
    };
    std::iter::once(entry).chain(marker)
}
