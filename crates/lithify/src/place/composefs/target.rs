//! A repository an image is to go to.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use lithify_composefs::oci;
use lithify_composefs::repository::CreateOptions;
use lithify_oci::manifest::ImageManifest;
use lithify_oci::source::Source;

use super::destination::RepositoryDestination;
use crate::place::room::{Writing, tag_of};
use crate::repository::{Named, check_new_name, create, open};
use crate::session::Session;
use crate::transfer::{Destination, Look, Nature, Target};
use crate::{Error, ErrorKind};

/// The nature of a repository, which keeps the tars of layers.
const NATURE: Nature = Nature {
    plain_layers: true,
    one_by_one: false,
    vendor_layers: true,
    other_layers: true,
};

/// Checks that an image can be written to a repository.
pub(super) fn of(
    path: &Path,
    source: &Source,
    name: &str,
    writing: &Writing,
    session: &Session,
) -> Result<Box<dyn Target>, Error> {
    let tag = tag_of(name, source)?;
    if let Some(tag) = &tag {
        check_new_name(path, tag)?;
    }
    Ok(Box::new(RepositoryTarget {
        path: path.to_path_buf(),
        tag,
        name: name.to_owned(),
        durable: writing.durable,
        session: session.clone(),
    }))
}

#[derive(Debug)]
struct RepositoryTarget {
    path: PathBuf,
    tag: Option<String>,
    name: String,
    durable: bool,
    session: Session,
}

impl Target for RepositoryTarget {
    fn nature(&self) -> Nature {
        NATURE
    }

    fn scratch(&self) -> PathBuf {
        self.path.join("meta.json")
    }

    fn look(&self) -> Result<Look, Error> {
        let repository = match open(&self.path, &self.session) {
            Ok(repository) => repository,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Box::new(|_, _| Ok(false))),
            Err(e) => return Err(e),
        };
        // Blobs are not kept under their digests: the manifests say which there were.
        let mut known = HashSet::new();
        for (_, named) in Named::all(&repository)? {
            let Named::Oci(digest) = named else {
                continue;
            };
            let Ok(image) = oci::Image::open(&repository, &digest) else {
                continue;
            };
            known.extend([image.digest, image.config_digest]);
            if let Ok(manifest) = ImageManifest::parse(&image.manifest, None) {
                known.extend(manifest.layers.iter().map(|layer| layer.digest));
            }
        }
        Ok(Box::new(move |_, part| Ok(known.contains(&part.digest))))
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        let options = CreateOptions::default();
        let repository = create(&self.path, &options, self.durable, &self.session)?;
        Ok(Box::new(RepositoryDestination::new(
            repository,
            self.name,
            self.tag,
            self.session,
        )))
    }
}
