//! Layers as overlayfs understands them.
//!
//! A layer of an image says what to remove with names that begin with `.wh.`; a layer under an overlay says it with what
//! the kernel looks for (`Documentation/filesystems/overlayfs.rst`):
//!
//! - a character device with number 0:0 hides the name from lower layers (*whiteout*),
//! - a directory with `trusted.overlay.opaque` = `y` hides everything lower layers have in it,
//! - `trusted.overlay.origin` on a directory makes overlayfs leave out whiteouts when it lists it even if no lower layer
//!   has that directory (`fs/overlayfs/inode.c`, `ovl_get_inode`: "non-merge dir that may have whiteouts").
//!
//! What an image itself stores under `trusted.overlay.` is escaped with a second `overlay.`, as Linux 6.7 and later do,
//! so that it means nothing to the kernel and comes back under its own name.
//!
//! There are three ways to the [`Tree`](crate::Tree) of such a layer. [`alone`] needs nothing but the layer and suits only layers that
//! mean the same whatever lies below ([`LayerReport::is_self_contained`](crate::LayerReport::is_self_contained)).
//! [`difference`] suits all: it says what turns the filesystem below into the one with the layer. [`Changes`] says the same
//! without comparing all of both, from what [`Merge::apply_changes`](crate::Merge::apply_changes) noted.
//!
//! [`restore`] goes back: from what is in such a layer to the entries of a layer of an image. [`Marks`] reads the attributes of
//! overlays, those of other layers than these too.
//!
//! Three things an overlay cannot say. Its root directory looks as the topmost layer says, so a layer that has no entry
//! for the root hides the root's metadata of lower layers. A real character device 0:0 is always a whiteout
//! ([`OverlayError::WhiteoutDevice`]). And a file of a lower layer that loses one of its names to an upper layer keeps
//! counting it in its number of links.

mod alone; // from the layer's entries
mod between; // from the filesystems below and above
mod changes; // from what was noted while it was applied
mod marks; // the overlay's own attributes, read
mod restore; // and back

pub use alone::{alone, alone_until};
pub use between::difference;
pub use changes::Changes;
pub use marks::{ForeignMark, Marks, Namespace};
pub use restore::{Restored, restore};

use crate::{Escaped, MergeError, Xattrs};

/// What the names of all attributes begin with that overlayfs gives a meaning.
pub const XATTR_PREFIX: &[u8] = b"trusted.overlay.";

/// What the escaped names of attributes begin with that an image itself has under [`XATTR_PREFIX`].
pub const XATTR_ESCAPE: &[u8] = b"trusted.overlay.overlay.";

/// On a directory, with the value [`OPAQUE_VALUE`]: lower layers have no say in it.
pub const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// The value of [`OPAQUE_XATTR`].
pub const OPAQUE_VALUE: &[u8] = b"y";

/// On a directory, with an empty value: it may hold whiteouts that nothing of a lower layer answers to.
pub const ORIGIN_XATTR: &[u8] = b"trusted.overlay.origin";

/// Why there is no overlay layer for a layer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverlayError {
    /// The layer cannot be applied at all.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Overlayfs takes this device for a removed name.
    #[error(
        "`/{}` is a character device 0:0, which means a removed name in an overlay: build a flat image instead",
        Escaped(.path)
    )]
    WhiteoutDevice {
        /// The device.
        path: Vec<u8>,
    },
    /// The layer removes something in a directory it does not have: [`alone`] is not for it.
    #[error("the layer needs lower layers: it has no directory for the marker `/{}`", Escaped(.path))]
    NeedsLowerLayers {
        /// What the marker stands for.
        path: Vec<u8>,
    },
    /// An attribute whose escaped name would be over 255 bytes.
    #[error("the extended attribute `{}` has no room to be escaped for an overlay", Escaped(.name))]
    XattrName {
        /// The attribute.
        name: Vec<u8>,
    },
}

/// The attributes as they are stored in a layer of an overlay: those under [`XATTR_PREFIX`] escaped. `None` if nothing
/// changes.
///
/// # Errors
/// [`OverlayError::XattrName`].
pub fn escape(xattrs: &Xattrs) -> Result<Option<Xattrs>, OverlayError> {
    if !xattrs
        .iter()
        .any(|(name, _)| name.starts_with(XATTR_PREFIX))
    {
        return Ok(None);
    }
    let mut escaped = Xattrs::new();
    for (name, value) in xattrs.iter() {
        let full = match name.strip_prefix(XATTR_PREFIX) {
            Some(rest) => [XATTR_ESCAPE, rest].concat(),
            None => name.to_vec(),
        };
        escaped
            .set(&full, value)
            .map_err(|_| OverlayError::XattrName {
                name: name.to_vec(),
            })?;
    }
    Ok(Some(escaped))
}

/// Adds one of the overlay's own attributes.
fn mark(xattrs: &Xattrs, name: &[u8], value: &[u8]) -> Xattrs {
    let mut marked = xattrs.clone();
    let set = marked.set(name, value);
    debug_assert!(set.is_ok(), "a short constant name and value");
    marked
}
