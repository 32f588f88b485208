//! `rootfs:`, `tar:` and `ext4:`: file trees without a configuration. Images are made of them, none is put there.

use std::io;
use std::path::Path;
use std::sync::Arc;

use lithify_oci::Located;
use lithify_oci::source::TarInput;

use super::room::Place;
use super::room::Writing;
use crate::Error;
use crate::error::TransferError;
use crate::fs::Kind;
use crate::fs::image::FsImage;
use crate::image::Origin;
use crate::session::Session;
use crate::transfer::Target;

/// A directory of this host.
pub(super) struct Rootfs<'a>(pub(super) &'a Path);

impl Place for Rootfs<'_> {
    fn open(&self, _: &str, _: &Session) -> Result<Origin, Error> {
        let metadata = std::fs::metadata(self.0).map_err(|e| Error::input(self.0, e))?;
        match metadata.is_dir() {
            true => Ok(Origin::Rootfs(self.0.to_owned())),
            false => Err(Error::input(self.0, io::ErrorKind::NotADirectory.into())),
        }
    }

    fn is_for_one_platform(&self) -> bool {
        true
    }

    fn locate(&self, name: &str, _: &Session) -> Result<Located, Error> {
        Err(no_manifest(name))
    }

    fn target(&self, name: &str, _: &Writing, _: &Session) -> Result<Box<dyn Target>, Error> {
        Err(super::room::refused(name))
    }
}

/// A tar of a file tree.
pub(super) struct Tar<'a>(pub(super) &'a TarInput);

impl Place for Tar<'_> {
    fn open(&self, _: &str, _: &Session) -> Result<Origin, Error> {
        if let TarInput::File(path) = self.0 {
            std::fs::metadata(path).map_err(|e| Error::input(path, e))?;
        }
        Ok(Origin::Tar(self.0.clone()))
    }

    fn is_for_one_platform(&self) -> bool {
        true
    }

    fn locate(&self, name: &str, _: &Session) -> Result<Located, Error> {
        Err(no_manifest(name))
    }

    fn target(&self, name: &str, _: &Writing, _: &Session) -> Result<Box<dyn Target>, Error> {
        Err(super::room::refused(name))
    }
}

/// An ext4 filesystem, by itself or in a partition.
pub(super) struct Ext4<'a>(pub(super) &'a Path);

impl Place for Ext4<'_> {
    fn open(&self, _: &str, session: &Session) -> Result<Origin, Error> {
        let image = FsImage::open_volume(self.0, Kind::Ext4, &session.cancel)?;
        Ok(Origin::Filesystem(Arc::new(image)))
    }

    fn is_for_one_platform(&self) -> bool {
        true
    }

    fn locate(&self, name: &str, _: &Session) -> Result<Located, Error> {
        Err(no_manifest(name))
    }

    fn target(&self, name: &str, _: &Writing, _: &Session) -> Result<Box<dyn Target>, Error> {
        Err(super::room::refused(name))
    }
}

fn no_manifest(name: &str) -> Error {
    Error::from(TransferError::NotTransferable {
        name: name.to_owned(),
    })
}
