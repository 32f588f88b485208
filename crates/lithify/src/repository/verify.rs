//! Checks of composefs images: their bytes, their structure, and the objects they refer to.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lithify_composefs::image::{ImageEntry, ReadError, Version, entries, read_header};
use lithify_composefs::repository::{ObjectError, Repository};
use lithify_composefs::{Content, oci};
use lithify_digest::Digest;
use lithify_oci::source::Selector;
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::dump::ComposefsImageOptions;
use super::image::hash;
use super::import::{ComposefsProfile, HashedImage};
use super::named::Named;
use super::open::open;
use crate::error::{ComposefsError, DamagedFile, DamagedFiles, FileFault};
use crate::fs::image::FsImage;
use crate::fs::verify::{VerifiedComposefs, VerifyReport};
use crate::image::{Image, LayerSummary, reading};
use crate::session::{Session, parallel};
use crate::{CancelToken, Error};

/// Names of damaged files that are listed.
const LISTED_MAX: usize = 10_000;
/// An image of a repository that was checked.
pub(crate) enum Made {
    /// That of a file tree.
    Tree(VerifyReport),
    /// That which was made of an image of the OCI, if one was; its layers were not looked at.
    Image(Option<OfLayers>),
}

/// An image that a repository says was made of layers.
#[derive(Debug)]
pub(crate) struct OfLayers {
    pub(crate) report: VerifyReport,
    path: PathBuf,
    id: FileDigest,
    /// That of its format; `None` if it is one that only `cfsctl` writes.
    version: Option<Version>,
    /// The rules by which it was, if the repository says which: those it may be.
    profiles: Vec<ComposefsProfile>,
}

impl OfLayers {
    /// Makes an image of the layers, which verifies them, and compares its id. `None` if its format is not written here.
    pub(crate) fn compare(
        &self,
        image: &Image,
        session: &Session,
    ) -> Result<Option<Vec<LayerSummary>>, Error> {
        let Some(version) = self.version else {
            return Ok(None);
        };
        let session = &reading(session, true);
        let options = ComposefsImageOptions {
            version,
            algorithm: self.id.algorithm(),
            ..ComposefsImageOptions::default()
        };
        for profile in &self.profiles {
            let algorithms = [self.id.algorithm()];
            let hashed = match HashedImage::of(image, *profile, &algorithms, session) {
                // By these rules none can be made.
                Err(e) if e.is_of_profile() => continue,
                hashed => hashed?,
            };
            if hashed.write(&options, &mut io::sink(), session)?.id == self.id {
                return Ok(Some(hashed.layers));
            }
        }
        Err(ComposefsError::OtherImage {
            path: self.path.clone(),
            id: Box::new(self.id),
        }
        .into())
    }
}

/// Returns the rules by which a repository says that an image was made, or all there are.
fn profiles(
    repository: &Repository,
    manifest: &Digest,
    id: &FileDigest,
) -> Result<Vec<ComposefsProfile>, Error> {
    let image = oci::Image::open(repository, manifest);
    let image = image.map_err(|e| Error::in_repository(repository.path(), e))?;
    let is_by = |profile: &ComposefsProfile| {
        let mut formats = repository.metadata().formats();
        formats.any(|format| {
            let name = oci::profile_name(format, profile.name());
            image.images.get(&name) == Some(id)
        })
    };
    let said: Vec<_> = ComposefsProfile::ALL.into_iter().filter(is_by).collect();
    Ok(match said.is_empty() {
        // `cfsctl` itself does not say.
        true => vec![ComposefsProfile::Cfsctl, ComposefsProfile::Faithful],
        false => said,
    })
}

/// Checks the composefs image of what has a name in the repository at a path.
pub(crate) fn verify_named(
    path: &Path,
    selector: Option<&Selector>,
    name: &str,
    session: &Session,
) -> Result<Made, Error> {
    let repository = open(path, session)?;
    let named = Named::find(&repository, selector, name)?;
    let id = match (named.image(&repository), &named) {
        (Err(e), Named::Oci(_)) if e.is_not_made() => return Ok(Made::Image(None)),
        (id, _) => id?,
    };
    let (report, version) = verify(&repository, &id, name, session)?;
    Ok(match named {
        Named::Tree(_) => Made::Tree(report),
        Named::Oci(manifest) => Made::Image(Some(OfLayers {
            report,
            path: path.to_path_buf(),
            id,
            version,
            profiles: profiles(&repository, &manifest, &id)?,
        })),
    })
}

/// Checks an image of a repository: that its bytes are those its id says, its structure, and that every object it refers to
/// is there and is what its name says. Bytes are read and compared here, whatever the kernel does.
fn verify(
    repository: &Repository,
    id: &FileDigest,
    name: &str,
    session: &Session,
) -> Result<(VerifyReport, Option<Version>), Error> {
    let path = repository.path();
    let file = repository.open_checked_image(id);
    let file = file.map_err(|e| Error::in_repository(path, e))?;
    let place = path.join("images").join(id.hex());
    let failed = |source| unreadable(&place, source);
    let header = read_header(&file).map_err(failed)?;
    let copy = file.try_clone().map_err(|e| Error::input(&place, e))?;
    let mut report = FsImage::open_any(&place, copy, &session.cancel)?.verify()?;

    // Each object once, with the size a file of it has.
    let mut sizes: BTreeMap<FileDigest, u64> = BTreeMap::new();
    let mut is_plain = true;
    each_entry(&file, &session.cancel, |entry| match entry.content {
        Some(Content::Object(object)) => {
            let first = *sizes.entry(object).or_insert(entry.size);
            is_plain &= first == entry.size;
        }
        None | Some(Content::Inline(_)) => {}
        Some(_) => is_plain = false,
    })
    .map_err(failed)?;
    let checked = check_objects(repository, sizes.keys().collect(), session)?;
    let as_said = |(id, size)| matches!(checked.get(id), Some(Ok(found)) if found == size);
    if !is_plain || !sizes.iter().all(as_said) {
        let mut damaged = DamagedFiles {
            repository: path.to_path_buf(),
            id: Box::new(*id),
            files: Vec::new(),
            more: 0,
        };
        name_files(&file, &checked, &mut damaged, session).map_err(failed)?;
        if !damaged.files.is_empty() {
            return Err(ComposefsError::Files(Box::new(damaged)).into());
        }
    }
    report.bytes += sizes.values().sum::<u64>();
    name.clone_into(&mut report.name);
    report.data = true;
    report.composefs = Some(VerifiedComposefs {
        id: id.to_string(),
        format: header.version,
        objects: sizes.len() as u64,
        has_objects: true,
    });
    let version = match header.version {
        0 => Some(Version::V0),
        1 => Some(Version::V1),
        _ => None,
    };
    Ok((report, version))
}

/// Tells of an image file whether it is one of composefs, and what it is then.
pub(crate) fn describe(
    path: &Path,
    file: &File,
    session: &Session,
) -> Result<Option<VerifiedComposefs>, Error> {
    let header = match read_header(file) {
        Ok(header) => header,
        Err(ReadError::NotComposefs { .. }) => return Ok(None),
        Err(e) => return Err(unreadable(path, e)),
    };
    let mut objects = std::collections::HashSet::new();
    let read = each_entry(file, &session.cancel, |entry| {
        objects.extend(entry.content.as_ref().and_then(digest));
    });
    read.map_err(|e| unreadable(path, e))?;
    let algorithm = objects.iter().next().map(FileDigest::algorithm);
    let id = hash(file, algorithm.unwrap_or(FileAlgorithm::Sha256), session);
    Ok(Some(VerifiedComposefs {
        id: id.map_err(|e| Error::input(path, e))?.to_string(),
        format: header.version,
        objects: objects.len() as u64,
        has_objects: false,
    }))
}

fn unreadable(path: &Path, source: ReadError) -> Error {
    match source {
        ReadError::Cancelled(_) => Error::cancelled(),
        source => ComposefsError::Image {
            path: path.to_path_buf(),
            source: Box::new(source),
        }
        .into(),
    }
}

fn each_entry(
    image: &File,
    cancel: &CancelToken,
    mut each: impl FnMut(ImageEntry),
) -> Result<(), ReadError> {
    entries(image, cancel, |entry| {
        each(entry);
        Ok(())
    })
}

fn digest(content: &Content<'_>) -> Option<FileDigest> {
    match content {
        Content::Object(digest) => Some(*digest),
        Content::External { digest, .. } => *digest,
        _ => None,
    }
}

/// The finding about each object: its bytes, or its fault.
type Checked = HashMap<FileDigest, Result<u64, Arc<FileFault>>>;

/// Reads objects, on as many threads as the session has.
fn check_objects(
    repository: &Repository,
    objects: Vec<&FileDigest>,
    session: &Session,
) -> Result<Checked, Error> {
    let found = Mutex::new(Checked::with_capacity(objects.len()));
    parallel::for_each(objects.len(), session.threads(), |index| {
        let checked = check_object(repository, objects[index])?;
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.insert(*objects[index], checked);
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn check_object(
    repository: &Repository,
    id: &FileDigest,
) -> Result<Result<u64, Arc<FileFault>>, Error> {
    let checked = repository.check_object(id).and_then(|()| {
        let size = repository.object_size(id)?;
        size.ok_or_else(|| ObjectError::Missing { id: Box::new(*id) })
    });
    match checked {
        Ok(size) => Ok(Ok(size)),
        Err(e @ ObjectError::Cancelled(_)) => Err(Error::in_repository(repository.path(), e)),
        Err(e) => Ok(Err(Arc::new(FileFault::Object(e)))),
    }
}

/// Finds the names of the files that are not what the image says.
fn name_files(
    image: &File,
    checked: &Checked,
    damaged: &mut DamagedFiles,
    session: &Session,
) -> Result<(), ReadError> {
    each_entry(image, &session.cancel, |entry| {
        let Some(fault) = fault_of(&entry, checked) else {
            return;
        };
        match damaged.files.len() < LISTED_MAX {
            true => damaged.files.push(DamagedFile {
                object: entry.content.as_ref().and_then(digest),
                path: entry.path,
                fault,
            }),
            false => damaged.more += 1,
        }
    })
}

fn fault_of(file: &ImageEntry, checked: &Checked) -> Option<Arc<FileFault>> {
    match file.content.as_ref()? {
        Content::Object(id) => match checked.get(id)? {
            Err(fault) => Some(Arc::clone(fault)),
            Ok(found) if *found == file.size => None,
            Ok(found) => Some(Arc::new(FileFault::Size {
                expected: file.size,
                found: *found,
            })),
        },
        Content::External { digest: None, .. } => Some(Arc::new(FileFault::NoDigest)),
        Content::External { path, .. } => {
            let path = path.as_ref().map_or(&file.path[..], |path| path);
            let path = path.to_vec();
            Some(Arc::new(FileFault::Elsewhere { path }))
        }
        _ => None,
    }
}
