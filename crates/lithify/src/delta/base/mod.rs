//! The files of an old image, for who applies a delta.

mod directory; // a directory of this host
mod filesystem; // a filesystem in a file
mod layered; // the directory of a layered build
mod merged; // the merged layers of an image
mod whole; // files that are read from start to end

use std::ffi::OsStr;
use std::sync::Arc;

use lithify_delta::apply::Sources;
use lithify_oci::source::Source;

use crate::Error;
use crate::Image;
use crate::Subject;
use crate::image::{Merged, Origin};
use crate::repository::{self, Named, TreeInRepository};
use crate::session::Session;

pub(super) use merged::MergedFiles;

/// Files that several threads open.
pub(super) type SharedSources = Arc<dyn Sources + Send + Sync>;

/// An old image, or another place that has its files.
#[derive(Debug)]
pub(super) struct Base {
    files: Subject,
    /// The image with its blobs, where the files are read from another form of it.
    blobs: Option<Image>,
}

impl Base {
    /// Opens an image, an artifact or a file tree.
    pub(super) fn open(name: &OsStr, session: &Session) -> Result<Self, Error> {
        Ok(Self {
            files: Subject::open(name, session)?,
            blobs: None,
        })
    }

    /// Takes an image. `blobs` is the same image, if that has blobs where the other has tars.
    pub(super) const fn of_image(image: Image, blobs: Option<Image>) -> Self {
        Self {
            files: Subject::Image(image),
            blobs,
        }
    }

    /// Returns its name.
    pub(super) fn name(&self) -> String {
        self.files.describe().reference
    }

    /// Returns the image, if it is one with layers.
    pub(super) fn image(&self) -> Option<&Image> {
        if self.blobs.is_some() {
            return self.blobs.as_ref();
        }
        match &self.files {
            Subject::Image(image) => image.oci().map(|_| image),
            Subject::File(_) | Subject::Layers(_) => None,
        }
    }

    /// Returns the files. Images are read for that, with their data in a scratch file; whatever else has files is read in
    /// place.
    pub(super) fn sources(&self, session: &Session) -> Result<SharedSources, Error> {
        let cancel = &session.cancel;
        Ok(match &self.files {
            Subject::Image(image) => match image.origin() {
                Origin::Rootfs(path) => Arc::new(directory::Directory::open(path)?),
                Origin::Filesystem(tree) => {
                    let tree = tree.same_until(cancel)?;
                    Arc::new(filesystem::FilesystemFiles::of(tree)?)
                }
                Origin::Oci(_) | Origin::Tar(_) => match in_repository(image, session)? {
                    Some(files) => Arc::new(files),
                    None => Arc::new(MergedFiles::new(Arc::new(Merged::of(
                        image, None, session,
                    )?))),
                },
            },
            Subject::File(file) => {
                file.check_data()?;
                let tree = Box::new(file.image.until(cancel)?);
                Arc::new(filesystem::FilesystemFiles::of(tree)?)
            }
            Subject::Layers(layers) => Arc::new(layered::LayeredFiles::of(layers, session)?),
        })
    }
}

/// Returns the files of an image in a composefs repository, if a composefs image was made of it.
fn in_repository(
    image: &Image,
    session: &Session,
) -> Result<Option<filesystem::FilesystemFiles>, Error> {
    let Source::Composefs { path, selector } = image.source() else {
        return Ok(None);
    };
    let repository = repository::open(path, session)?;
    let named = Named::find(&repository, selector.as_ref(), image.name())?;
    let id = match named.image(&repository) {
        Err(e) if e.is_not_made() => return Ok(None),
        id => id?,
    };
    let tree = TreeInRepository::open(Arc::new(repository), id, &session.cancel)?;
    filesystem::FilesystemFiles::of(Box::new(tree)).map(Some)
}
