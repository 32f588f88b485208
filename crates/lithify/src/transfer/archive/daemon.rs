//! A daemon as a destination.

use std::fs::File;
use std::sync::Arc;

use lithify_cancel::Checked;
use lithify_oci::manifest::Descriptor;
use lithify_registry::daemon::Daemon;
use lithify_storage::FileCursor;
use lithify_tree::Escaped;

use super::docker::DockerArchive;
use crate::output::scratch_file;
use crate::transfer::plan::Plan;
use crate::transfer::{BlobSource, Destination, Placed};
use crate::{CancelToken, Error, ReadOptions};

/// A daemon that loads an image once all of it is here and verified: it is sent nothing that may turn out wrong.
#[derive(Debug)]
pub(crate) struct DaemonDestination {
    archive: DockerArchive,
    /// Where that is, in a file without a name.
    file: Arc<File>,
    daemon: Daemon,
    cancel: CancelToken,
}

impl DaemonDestination {
    /// The daemon that is there, and the names the image gets.
    pub(crate) fn connect(
        name: &str,
        tags: Vec<String>,
        read: &ReadOptions,
    ) -> Result<Self, Error> {
        let daemon =
            Daemon::connect_until(&read.daemon, &read.cancel).map_err(|e| read.reason(e))?;
        let file = Arc::new(scratch_file(None).map_err(Error::scratch)?);
        Ok(Self {
            archive: DockerArchive::new(Arc::clone(&file), None, name, tags, read),
            file,
            daemon,
            cancel: read.cancel.clone(),
        })
    }
}

impl Destination for DaemonDestination {
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
        let length = self.archive.finish()?;
        let mut reader = Checked::new(FileCursor::new(&*self.file, 0), &self.cancel);
        match self.daemon.load(&mut reader, length) {
            Ok(names) => {
                log::info!("the daemon has it as {}", Escaped(&names.join(", ")));
                Ok(())
            }
            Err(_) if self.cancel.is_cancelled() => Err(Error::cancelled()),
            Err(error) => Err(error.into()),
        }
    }
}
