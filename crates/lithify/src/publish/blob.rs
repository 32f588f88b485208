//! Blobs that can be read again from anywhere.

use lithify_storage::FileCursor;
use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::Arc;

use crate::error::{OpenError, TransferError};
use crate::transfer::BlobSource;
use crate::{Error, Image};

/// Bytes in memory.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl BlobSource for Bytes {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let at = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        Ok(Box::new(Cursor::new(self.0[at..].to_vec())))
    }
}

/// A file, whose position does not matter.
pub(super) struct FileBlob(pub(super) Arc<File>);

impl BlobSource for FileBlob {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(FileCursor::new(Arc::clone(&self.0), offset)))
    }
}

/// A layer of an image as it is.
pub(super) struct LayerBlob<'a> {
    pub(super) image: &'a Image,
    pub(super) index: usize,
}

impl BlobSource for LayerBlob<'_> {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let failed = |source| Error::opening(self.image.name(), source);
        let Some(oci) = self.image.oci() else {
            let name = self.image.name().to_owned();
            return Err(TransferError::NotTransferable { name }.into());
        };
        let layer = oci.open_layer(self.index).map_err(failed)?;
        let rest = layer.skip(offset).map_err(|source| {
            Error::from(OpenError::Input {
                path: self.image.layer_name(self.index).into(),
                source,
            })
        })?;
        Ok(rest.into_reader())
    }
}
