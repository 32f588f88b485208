//! The directory of a layered build, as its description says: believed only as far as digests go.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use lithify_storage::Beneath;
use serde::Deserialize;

use crate::Error;
use crate::description::DESCRIPTION;
use crate::description::Description;
use crate::description::Stack;
use crate::description::Verity;
use crate::error::ArtifactError;

/// Longest `image.json` read, in bytes.
const DESCRIPTION_MAX: u64 = 64 << 20;

/// The directory of a layered build.
#[derive(Debug)]
pub struct LayersDirectory {
    pub(crate) directory: Beneath,
    stack: Stack,
    pub(crate) files: Vec<DescribedFile>,
    pub(crate) layers: Vec<DescribedLayer>,
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
pub(crate) struct DescribedLayer {
    pub(crate) diff_id: Option<String>,
}

/// A file `image.json` describes.
#[derive(Debug, Deserialize)]
pub(crate) struct DescribedFile {
    pub(crate) path: String,
    pub(crate) format: String,
    pub(crate) size: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) verity: Option<Verity>,
    pub(crate) diff_id: Option<String>,
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
