//! The table of what lithify knows of each kind of filesystem.

use super::erofs::Erofs;
use super::ext4::Ext4;
use super::format::Format;
use super::kind::Kind;
#[cfg(feature = "squashfs")]
use super::squashfs::Squashfs;
use crate::Error;

impl Kind {
    /// Returns what lithify knows of the filesystem.
    ///
    /// # Errors
    /// [`Cause::NotBuiltIn`](crate::Cause::NotBuiltIn) for one this library was built without.
    pub(super) fn format(self) -> Result<&'static dyn Format, Error> {
        match self {
            Self::Erofs => Ok(&Erofs),
            Self::Ext4 => Ok(&Ext4),
            #[cfg(feature = "squashfs")]
            Self::Squashfs => Ok(&Squashfs),
            #[cfg(not(feature = "squashfs"))]
            Self::Squashfs => Err(Error::not_built_in("squashfs images", "squashfs")),
        }
    }

    /// Returns the version of the bytes that its writer makes.
    pub(crate) fn writer_version(self) -> Result<u32, Error> {
        Ok(self.format()?.writer_version())
    }
}
