//! `docker-archive:`: what `docker save` writes and `docker load` reads.

mod archive; // the archive under construction

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_oci::manifest::Descriptor;
use lithify_oci::source::Source;
use lithify_oci::{Located, Reference};

use crate::Error;
use crate::image::Origin;
use crate::output::PendingFile;
use crate::place::room::Place;
use crate::place::room::Writing;
use crate::place::room::located_archive_or_layout;
use crate::place::room::opened_archive_or_layout;
use crate::place::room::tag_of;
use crate::session::Session;
use crate::transfer::{BlobSource, Destination, Look, Nature, Placed, Plan, Target};

pub(super) use archive::DockerArchive;

/// The nature of what Docker loads: tars, decompressed.
pub(super) const NATURE: Nature = Nature {
    plain_layers: true,
    one_by_one: true,
    vendor_layers: true,
    other_layers: false,
};

/// An archive, and which of its images.
pub(super) struct InFile<'a> {
    pub(super) path: &'a Path,
    pub(super) source: &'a Source,
}

impl Place for InFile<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        opened_archive_or_layout(name, self.source, session)
    }

    fn is_for_one_platform(&self) -> bool {
        true
    }

    fn locate(&self, name: &str, session: &Session) -> Result<Located, Error> {
        located_archive_or_layout(name, self.source, session)
    }

    fn target(
        &self,
        name: &str,
        writing: &Writing,
        session: &Session,
    ) -> Result<Box<dyn Target>, Error> {
        let refused = || crate::place::room::refused(name);
        let tags = match tag_of(name, self.source)? {
            Some(tag) => {
                vec![loaded_name(&tag.parse().map_err(|_| refused())?).ok_or_else(refused)?]
            }
            None => Vec::new(),
        };
        Ok(Box::new(InFileTarget {
            path: self.path.to_owned(),
            name: name.to_owned(),
            tags,
            durable: writing.durable,
            session: session.clone(),
        }))
    }
}

/// Returns the name an image gets by `docker load`, which takes names with tags only.
pub(super) fn loaded_name(reference: &Reference) -> Option<String> {
    let full = reference.normalised().with_default_tag();
    full.digest().is_none().then(|| full.to_string())
}

/// The file an archive will be, and the names of the image in it.
#[derive(Debug)]
struct InFileTarget {
    path: PathBuf,
    name: String,
    tags: Vec<String>,
    durable: bool,
    session: Session,
}

impl Target for InFileTarget {
    fn nature(&self) -> Nature {
        NATURE
    }

    fn look(&self) -> Result<Look, Error> {
        PendingFile::check(&self.path)?;
        Ok(Box::new(|_, _| Ok(false)))
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        let Self {
            path,
            name,
            tags,
            durable,
            session,
        } = *self;
        let pending = PendingFile::create(&path, durable)?;
        let file = Arc::clone(pending.file());
        Ok(Box::new(InFileDestination {
            archive: DockerArchive::new(file, Some(path), &name, tags, &session),
            pending,
            durable,
        }))
    }
}

/// A file that `docker load` reads.
#[derive(Debug)]
struct InFileDestination {
    archive: DockerArchive,
    pending: PendingFile,
    durable: bool,
}

impl Destination for InFileDestination {
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
