//! The directory of a layered build, as it was left: what `image.json` says is there is believed only as far as digests
//! go.

mod own; // whether nothing else is in it
mod verify; // whether it is as it was left

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use lithify_storage::Beneath;
use lithify_tree::{ContentId, ContentSink, Escaped, LayerEntries, Merge, Tree};
use serde::Deserialize;

use crate::budgets::Budgets;
use crate::cat::find_file;
use crate::description::{Description, Stack, Verity};
use crate::disk::Extents;
use crate::error::{ArtifactError, LayerError};
use crate::fs_image::FsImage;
use crate::name::shown_path;
use crate::output_dir::DESCRIPTION;
use crate::subject::open_image;
use crate::{CancelToken, Error, ReadOptions};

pub(crate) use own::OwnOutput;
pub use own::{Names, ReplaceError};
pub use verify::DescriptionProblem;

/// Longest `image.json` read, in bytes.
const DESCRIPTION_MAX: u64 = 64 << 20;

/// The directory of a layered build.
#[derive(Debug)]
pub struct LayersDirectory {
    directory: Beneath,
    stack: Stack,
    files: Vec<DescribedFile>,
    layers: Vec<DescribedLayer>,
    description: Box<Description>,
}

/// An `image.json`. The members every build writes must be there.
#[derive(Debug, Deserialize)]
struct Written {
    #[expect(
        dead_code,
        reason = "that it is there tells a description from other JSON"
    )]
    reference: String,
    layers: Vec<DescribedLayer>,
    #[serde(default)]
    artifacts: Vec<DescribedFile>,
    stack: Stack,
}

/// A layer `image.json` describes.
#[derive(Debug, Deserialize)]
struct DescribedLayer {
    diff_id: Option<String>,
}

/// A file `image.json` describes.
#[derive(Debug, Deserialize)]
struct DescribedFile {
    path: String,
    format: String,
    size: u64,
    sha256: Option<String>,
    verity: Option<Verity>,
    diff_id: Option<String>,
}

impl LayersDirectory {
    /// Reads `image.json`.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`](crate::ArtifactError::UnknownArtifact) for a directory without, [`ArtifactError::DescriptionJson`](crate::ArtifactError::DescriptionJson) and [`ArtifactError::DescriptionPath`](crate::ArtifactError::DescriptionPath) for
    /// one that no build wrote.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let directory = Beneath::open(directory).map_err(|e| Error::input(directory, e))?;
        let path = directory.path().join(DESCRIPTION);
        let unknown = || {
            Error::from(ArtifactError::UnknownArtifact {
                path: directory.path().to_path_buf(),
            })
        };
        let json = match directory.read(DESCRIPTION, DESCRIPTION_MAX) {
            Err(e) if e.is_not_found() => return Err(unknown()),
            read => read.map_err(|e| Error::input(&path, e.into()))?,
        };
        let not_json = |source| {
            Error::from(ArtifactError::DescriptionJson {
                path: path.clone(),
                source,
            })
        };
        let written: Written = serde_json::from_slice(&json).map_err(not_json)?;
        let description = serde_json::from_slice(&json).map_err(not_json)?;
        let stack = written.stack;
        let named = stack
            .overlay
            .iter()
            .chain(&stack.devices)
            .chain(&stack.fsmeta);
        let named = named.chain(written.artifacts.iter().map(|f| &f.path));
        for name in named {
            check_path(&path, name)?;
        }
        Ok(Self {
            directory,
            stack,
            files: written.artifacts,
            layers: written.layers,
            description,
        })
    }

    /// What `image.json` says.
    pub(crate) fn describe(&self) -> Description {
        (*self.description).clone()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// How its files become one filesystem.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Opens a file, which is really inside.
    pub(crate) fn open_file(&self, name: &str) -> Result<(PathBuf, File), Error> {
        let path = self.path().join(name);
        let file = self.directory.file(name);
        let file = file.map_err(|e| Error::input(&path, e.into()))?;
        Ok((path, file))
    }

    /// The merged image, with the layers' images it refers to.
    fn merged(&self, name: &str, cancel: &CancelToken) -> Result<FsImage, Error> {
        let (path, file) = self.open_file(name)?;
        let devices = self.stack.devices.iter();
        let devices = devices.map(|name| Ok(Extents::from(self.open_file(name)?.1)));
        let devices: Result<Vec<Extents>, Error> = devices.collect();
        FsImage::open_with_devices(&path, file.into(), devices?, cancel)
    }

    /// The names and metadata as a tree.
    pub(crate) fn tree(&self, options: &ReadOptions) -> Result<Tree, Error> {
        let cancel = &options.cancel;
        let budgets = Budgets::new(options);
        let mut merge = Merge::new().until(cancel);
        let mut apply = |index, image: &FsImage, describes_root| {
            let entries = image.layer_entries(index, describes_root)?;
            take(&budgets, index, &image.path, &entries)?;
            merge.apply(entries).map_err(|source| {
                Error::from(LayerError::Merge {
                    index,
                    name: shown_path(&image.path),
                    source,
                })
            })
        };
        if let Some(name) = &self.stack.fsmeta {
            return self.merged(name, cancel)?.tree();
        }
        for (index, name) in self.stack.overlay.iter().rev().enumerate() {
            let (path, file) = self.open_file(name)?;
            // The topmost directory is the root an overlay shows.
            let is_top = index + 1 == self.stack.overlay.len();
            apply(index, &open_image(&path, file, cancel)?, is_top)?;
        }
        Ok(merge.finish())
    }

    /// Copies the data of the file at a path, all symbolic links followed.
    pub(crate) fn copy_file(
        &self,
        path: &[u8],
        sink: &mut impl ContentSink<Error = io::Error>,
        options: &ReadOptions,
    ) -> Result<(), Error> {
        let cancel = &options.cancel;
        let budgets = Budgets::new(options);
        let mut merge = Merge::new().until(cancel);
        // Where the numbers of each layer's contents begin.
        let mut firsts = vec![0];
        for (index, name) in self.stack.overlay.iter().rev().enumerate() {
            let (path, file) = self.open_file(name)?;
            let entries = open_image(&path, file, cancel)?.layer_entries(index, true)?;
            take(&budgets, index, &path, &entries)?;
            let failed = |source| {
                Error::from(LayerError::Merge {
                    index,
                    name: shown_path(&path),
                    source,
                })
            };
            let first = firsts.last().copied().unwrap_or(0);
            merge.apply_ref(&entries, first).map_err(failed)?;
            firsts.push(
                first
                    .checked_add(entries.content_count())
                    .ok_or_else(|| failed(lithify_tree::MergeError::Full))?,
            );
        }
        let (_, content) = find_file(&merge.finish(), path)?;
        let Some(ContentId(number)) = content else {
            return Ok(());
        };
        let owner = firsts.partition_point(|&first| first <= number) - 1;
        let missing = || {
            Error::from(ArtifactError::NotInImage {
                path: Escaped(path).to_string(),
            })
        };
        let name = self.stack.overlay.iter().rev().nth(owner);
        let (image_path, file) = self.open_file(name.ok_or_else(missing)?)?;
        let image = open_image(&image_path, file, cancel)?;
        let own = image
            .content_path(number - firsts[owner])?
            .ok_or_else(missing)?;
        image.copy_content(&own, sink, Error::scratch).map(drop)
    }
}

/// Counts the entries of a layer before they are merged: a description may name one file any number of times.
fn take(budgets: &Budgets, index: usize, path: &Path, entries: &LayerEntries) -> Result<(), Error> {
    budgets.entries.take_layer(entries).map_err(|source| {
        Error::from(LayerError::Budget {
            index,
            name: shown_path(path),
            path: None,
            source,
        })
    })
}

/// A description may come from elsewhere: what it names is below its directory.
fn check_path(description: &Path, name: &str) -> Result<(), Error> {
    let path = Path::new(name);
    let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
    // One spelling for one file.
    let plain = path.components().collect::<PathBuf>().as_os_str() == name;
    match inside && plain && !name.is_empty() {
        true => Ok(()),
        false => Err(Error::from(ArtifactError::DescriptionPath {
            path: description.to_path_buf(),
            name: name.to_owned(),
        })),
    }
}
