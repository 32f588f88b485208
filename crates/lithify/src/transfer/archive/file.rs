//! A docker-archive in a file.

use std::path::Path;
use std::sync::Arc;

use lithify_oci::manifest::Descriptor;

use super::docker::DockerArchive;
use crate::output::PendingFile;
use crate::transfer::plan::Plan;
use crate::transfer::{BlobSource, Destination, Placed};
use crate::{Error, ReadOptions};

/// A file that `docker load` reads.
#[derive(Debug)]
pub(crate) struct DockerArchiveDestination {
    archive: DockerArchive,
    pending: PendingFile,
    durable: bool,
}

impl DockerArchiveDestination {
    /// An archive that will be at `path`, and the names of the image in it.
    pub(crate) fn create(
        path: &Path,
        name: &str,
        tags: Vec<String>,
        durable: bool,
        read: &ReadOptions,
    ) -> Result<Self, Error> {
        let pending = PendingFile::create(path, durable)?;
        let file = Arc::clone(pending.file());
        Ok(Self {
            archive: DockerArchive::new(file, Some(path.to_owned()), name, tags, read),
            pending,
            durable,
        })
    }
}

impl Destination for DockerArchiveDestination {
    fn takes_plain_layers(&self) -> bool {
        true
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        self.archive.begin(plan)
    }

    fn has_blob(&self, _: &Descriptor) -> Result<bool, Error> {
        Ok(false)
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        self.archive.put(blob, content)
    }

    fn put_manifest(&self, _: &Descriptor, _: &[u8]) -> Result<(), Error> {
        // There is no place for it.
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Descriptor) -> Result<(), Error> {
        self.archive.finish()?;
        self.pending.commit(self.durable)
    }
}
