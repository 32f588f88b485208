//! The directory of a layered build, as it was left: what `image.json` says is there is believed only as far as digests
//! go.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use lithify_disk::vmdk::{Descriptor, PathRule};
use lithify_tree::{ContentId, ContentSink, Escaped, Merge, Tree};
use serde::Deserialize;

use crate::build::filesystem::Kind;
use crate::build::verity;
use crate::cat::find_file;
use crate::description::{Stack, Verity};
use crate::fs_image::FsImage;
use crate::output_dir::DESCRIPTION;
use crate::subject::{damaged, open_image, verify_tree};
use crate::{Error, ReadOptions, VerifyReport};

/// Longest `image.json` read, in bytes.
const DESCRIPTION_MAX: u64 = 64 << 20;

/// The directory of a layered build.
#[derive(Debug)]
pub struct LayersDirectory {
    path: PathBuf,
    stack: Stack,
    files: Vec<DescribedFile>,
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    artifacts: Vec<DescribedFile>,
    stack: Option<Stack>,
}

/// A file `image.json` describes.
#[derive(Debug, Deserialize)]
struct DescribedFile {
    path: String,
    format: String,
    size: u64,
    sha256: Option<String>,
    verity: Option<Verity>,
}

impl LayersDirectory {
    /// Reads `image.json`.
    ///
    /// # Errors
    /// [`Error::UnknownArtifact`] for a directory without, [`Error::DescriptionJson`] and [`Error::DescriptionPath`] for
    /// one that no build wrote.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(DESCRIPTION);
        let metadata = match fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::UnknownArtifact {
                    path: directory.to_path_buf(),
                });
            }
            other => other.map_err(|e| Error::input(&path, e))?,
        };
        if metadata.len() > DESCRIPTION_MAX {
            let e = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
            return Err(Error::input(&path, e));
        }
        let json = fs::read(&path).map_err(|e| Error::input(&path, e))?;
        let written: Written =
            serde_json::from_slice(&json).map_err(|source| Error::DescriptionJson {
                path: path.clone(),
                source,
            })?;
        let stack = written.stack.ok_or_else(|| Error::UnknownArtifact {
            path: directory.to_path_buf(),
        })?;
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
            path: directory.to_path_buf(),
            stack,
            files: written.artifacts,
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its files become one filesystem.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    fn open_file(&self, name: &str) -> Result<(PathBuf, File), Error> {
        let path = self.path.join(name);
        let file = File::open(&path).map_err(|e| Error::input(&path, e))?;
        Ok((path, file))
    }

    /// The merged image, with the layers' images it refers to.
    fn merged(&self, name: &str) -> Result<lithify_erofs::Image<File>, Error> {
        let (_, file) = self.open_file(name)?;
        let devices = self.stack.devices.iter();
        let devices: Result<_, _> = devices.map(|name| Ok(self.open_file(name)?.1)).collect();
        let devices: Result<Vec<File>, Error> = devices;
        Ok(lithify_erofs::Image::open_with_devices(file, devices?)?)
    }

    /// The names and metadata as a tree.
    pub(crate) fn tree(&self) -> Result<Tree, Error> {
        let mut merge = Merge::new();
        let mut apply = |index, image: &FsImage, describes_root| {
            let entries = image.layer_entries(index, describes_root)?;
            merge.apply(entries).map_err(|source| Error::Merge {
                index,
                name: image.path.display().to_string(),
                source,
            })
        };
        if let Some(name) = &self.stack.fsmeta {
            let image = FsImage {
                path: self.path.join(name),
                opened: crate::fs_image::Opened::Erofs(Box::new(self.merged(name)?)),
            };
            return image.tree();
        }
        for (index, name) in self.stack.overlay.iter().rev().enumerate() {
            let (path, file) = self.open_file(name)?;
            // The topmost directory is the root an overlay shows.
            let is_top = index + 1 == self.stack.overlay.len();
            apply(index, &open_image(&path, file)?, is_top)?;
        }
        Ok(merge.finish())
    }

    /// Copies the data of the file at a path, all symbolic links followed.
    pub(crate) fn copy_file(
        &self,
        path: &[u8],
        sink: &mut impl ContentSink<Error = io::Error>,
    ) -> Result<(), Error> {
        let mut merge = Merge::new();
        // Where the numbers of each layer's contents begin.
        let mut firsts = vec![0];
        for (index, name) in self.stack.overlay.iter().rev().enumerate() {
            let (path, file) = self.open_file(name)?;
            let entries = open_image(&path, file)?.layer_entries(index, true)?;
            let failed = |source| Error::Merge {
                index,
                name: path.display().to_string(),
                source,
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
        let missing = || Error::NotInImage {
            path: Escaped(path).to_string(),
        };
        let name = self.stack.overlay.iter().rev().nth(owner);
        let (image_path, file) = self.open_file(name.ok_or_else(missing)?)?;
        let image = open_image(&image_path, file)?;
        let own = image
            .content_path(number - firsts[owner])?
            .ok_or_else(missing)?;
        image.copy_content(&own, sink, Error::Scratch).map(drop)
    }

    /// Checks every file: its size and digest, its structure, its hash tree; that the merged image's data is where it
    /// says, and that disks name what is there.
    pub(crate) fn verify(&self, options: &ReadOptions) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport {
            name: self.path.to_string_lossy().into_owned(),
            entries: 0,
            bytes: 0,
            data: true,
        };
        for described in &self.files {
            if options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            report.bytes += described.size;
            report.data &= described.sha256.is_some();
            report.entries += self.verify_file(described, options)?;
        }
        Ok(report)
    }

    fn verify_file(&self, described: &DescribedFile, options: &ReadOptions) -> Result<u64, Error> {
        let (path, file) = self.open_file(&described.path)?;
        let found = file.metadata().map_err(|e| Error::input(&path, e))?.len();
        if found != described.size {
            return Err(Error::ArtifactSize {
                path,
                expected: described.size,
                found,
            });
        }
        if let Some(sha256) = &described.sha256 {
            let found = crate::build::file_sha256(&path, &file)?;
            if *sha256 != found {
                return Err(Error::ArtifactDigest {
                    path,
                    expected: sha256.clone(),
                    found,
                });
            }
        }
        if let Some(facts) = &described.verity {
            verify_tree(&path, Some(verity::from_facts(facts)?), options)?;
        }
        if described.format == "vmdk" {
            return self.verify_vmdk(&path).map(|()| 0);
        }
        if self.stack.fsmeta.as_ref() == Some(&described.path) {
            let found = self.merged(&described.path)?.verify()?;
            damaged(&path, &found.problems, found.more_problems)?;
            return Ok(found.inodes);
        }
        if ![Kind::Erofs, Kind::Squashfs]
            .iter()
            .any(|k| described.format.starts_with(k.name()))
        {
            return Ok(0);
        }
        Ok(open_image(&path, file)?.verify()?.entries)
    }

    fn verify_vmdk(&self, path: &Path) -> Result<(), Error> {
        let text = fs::read(path).map_err(|e| Error::input(path, e))?;
        let descriptor =
            Descriptor::parse(&text, PathRule::Below).map_err(|source| Error::VmdkText {
                path: path.to_path_buf(),
                source: Box::new(source),
            })?;
        descriptor
            .check(|name| fs::metadata(self.path.join(name)).map(|m| m.len()))
            .map_err(|source| Error::VmdkFiles {
                path: path.to_path_buf(),
                source: Box::new(source),
            })
    }
}

/// A description may come from elsewhere: what it names is below its directory.
fn check_path(description: &Path, name: &str) -> Result<(), Error> {
    let inside = Path::new(name)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    match inside && !name.is_empty() {
        true => Ok(()),
        false => Err(Error::DescriptionPath {
            path: description.to_path_buf(),
            name: name.to_owned(),
        }),
    }
}
