//! The names by which an overlay's layer says what a layer tar says with whiteout entries (`Documentation/filesystems/overlayfs.rst`).

/// Start of the extended attributes overlayfs keeps for itself (`OVL_XATTR_TRUSTED_PREFIX`).
pub const PREFIX: &[u8] = b"trusted.overlay.";

/// On a directory: nothing of lower layers is visible in it, if the value is [`OPAQUE_VALUE`].
pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// The value of [`OPAQUE`] that means so.
pub const OPAQUE_VALUE: &[u8] = b"y";

/// On a directory: overlayfs looks at every name in it, and so hides whiteouts there even if no layer below has it.
pub const ORIGIN: &[u8] = b"trusted.overlay.origin";

/// Start of attributes that an image has of its own: overlayfs (from Linux 6.7 on) shows them with one `overlay.` less
/// (`OVL_XATTR_ESCAPE_TRUSTED_PREFIX`).
pub const ESCAPED_PREFIX: &[u8] = b"trusted.overlay.overlay.";
