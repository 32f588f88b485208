//! Types of artifacts, and of the blobs in them.

use lithify_oci::manifest::media_type as oci;

use crate::fs::Kind;

/// A squashfs image with a whole root filesystem, as artifact and as blob. No other type for that is in common use.
const SQUASHFS: &str = "application/vnd.lithify.squashfs.v1";
/// An ext4 image with a whole root filesystem, as artifact and as blob. No other type for that is in common use.
const EXT4: &str = "application/vnd.lithify.ext4.v1";
/// The artifact with an EROFS image of a whole root filesystem. The blob is [`oci::EROFS_DRAFT`], which any EROFS image is.
const EROFS: &str = "application/vnd.lithify.erofs.v1";
/// Where the hash tree of an image is and its root, `{"roothash":…,"hashoffset":…}`, as artifact and as blob. containerd
/// reads such a file beside an image, by the name the title annotation gives.
pub(crate) const VERITY: &str = "application/vnd.lithify.dmverity.v1+json";

/// The type of the artifact with an image of that kind.
pub(crate) const fn media_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Erofs => EROFS,
        Kind::Squashfs => SQUASHFS,
        Kind::Ext4 => EXT4,
    }
}

/// The type of an image of that kind.
pub(crate) const fn blob_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Erofs => oci::EROFS_DRAFT,
        Kind::Squashfs => SQUASHFS,
        Kind::Ext4 => EXT4,
    }
}
