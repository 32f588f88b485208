//! Images of composefs repositories.

use std::path::{Path, PathBuf};

use lithify_composefs::image::read_header;
use lithify_mount::{Composefs, ImageFile, Source};
use lithify_oci::source::Selector;
use lithify_verity::file::FileDigest;

use super::options::MountOptions;
use super::verity::FileVerity;
use crate::Error;
use crate::error::{ComposefsError, MountError};
use crate::repository::{self, Named};
use crate::session::Session;

/// Mounts an image as it is in the repository at a path.
pub(super) fn mount(
    path: &Path,
    selector: Option<&Selector>,
    directory: &Path,
    options: &MountOptions,
    session: &Session,
) -> Result<(), Error> {
    let repository = repository::open(path, session)?;
    let verity = match options.verity {
        FileVerity::Auto => repository.is_secure(),
        FileVerity::Off => false,
        FileVerity::Require if repository.is_secure() => true,
        FileVerity::Require => {
            let path = path.to_path_buf();
            return Err(MountError::NoVerity { path }.into());
        }
    };
    let named = Named::find(&repository, selector, &crate::name::shown_path(path))?;
    let id = named.image(&repository)?;
    let file = repository.open_checked_image(&id);
    let file = file.map_err(|e| Error::in_repository(path, e))?;
    let place = path.join("images").join(id.hex());
    read_header(&file).map_err(|source| ComposefsError::Image {
        path: place.clone(),
        source: Box::new(source),
    })?;
    let objects = repository.objects_directory();
    let source = Source::Composefs(Composefs {
        image: ImageFile::named(file, &place),
        objects: objects.map_err(|e| Error::in_repository(path, e))?,
        verity,
        name: shown_name(path, selector, &id),
    });
    let mount = options.of_kernel();
    Ok(lithify_mount::mount_source(
        &source, directory, None, &mount,
    )?)
}

/// Returns the name that a list of mounts shows: with it the image can be mounted again, from anywhere.
fn shown_name(path: &Path, selector: Option<&Selector>, id: &FileDigest) -> PathBuf {
    // It was opened by this path a moment ago.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut name = path.into_os_string();
    match selector {
        Some(Selector::Name(wanted)) => name.push(format!(":{wanted}")),
        Some(Selector::Digest(digest)) => name.push(format!("@{digest}")),
        _ => name.push(format!(":{}", id.hex())),
    }
    name.into()
}
