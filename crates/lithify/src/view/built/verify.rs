//! Whether a layered build is as it was left.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use lithify_disk::vmdk::{Descriptor, PathRule};
use lithify_storage::BeneathError;
use lithify_verity::Sidecar;

use crate::Error;
use crate::description::DESCRIPTION;
use crate::error::ArtifactError;
use crate::error::DescriptionProblem;
use crate::fs::Kind;
use crate::fs::image::FsImage;
use crate::fs::verify::VerifyReport;
use crate::fs::verify::damaged;
use crate::fs::verify::verify_tree;
use crate::fs::verity;
use crate::output::DescribedFile;
use crate::output::LayersDirectory;
use crate::output::OwnOutput;
use crate::session::Session;

/// Longest file with a root hash read, in bytes; one more is read, to be told it is too long.
const SIDECAR_MAX: u64 = 4097;

/// Longest text of a disk read, in bytes; one more than is parsed.
const DISK_TEXT_MAX: u64 = (64 << 20) + 1;

impl LayersDirectory {
    fn problem(&self, problem: DescriptionProblem) -> Error {
        Error::from(ArtifactError::DescriptionStack {
            path: self.path().join(DESCRIPTION),
            source: problem,
        })
    }

    /// Checks that the description covers every file there is with a digest, that the stack has the image's layers in their
    /// order; then every file: its size and digest, its structure, its hash tree and the file that says so; that the
    /// merged image's data is where it says, and that disks name what is there.
    pub(crate) fn verify(&self, session: &Session) -> Result<VerifyReport, Error> {
        let files = self.check_files().map_err(|p| self.problem(p))?;
        self.check_stack(&files).map_err(|p| self.problem(p))?;
        let mut report = VerifyReport {
            name: crate::name::shown_path(self.path()),
            data: true,
            ..VerifyReport::default()
        };
        for described in &self.files {
            if session.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            report.bytes += described.size;
            report.entries += self.verify_file(described, &files, session)?;
        }
        // Last: of what is known to be wrong with a file, the most exact is said.
        let names = OwnOutput::foreign(self).map_err(|e| Error::input(self.path(), e))?;
        if !names.is_empty() {
            return Err(self.problem(DescriptionProblem::Foreign { names }));
        }
        Ok(report)
    }

    /// The described files by name, each once and with a digest.
    fn check_files(&self) -> Result<BTreeMap<&str, &DescribedFile>, DescriptionProblem> {
        let mut files = BTreeMap::new();
        for file in &self.files {
            let name = || file.path.clone();
            if file.sha256.is_none() {
                return Err(DescriptionProblem::NoDigest { name: name() });
            }
            if files.insert(file.path.as_str(), file).is_some() {
                return Err(DescriptionProblem::Twice { name: name() });
            }
        }
        Ok(files)
    }

    fn check_stack(
        &self,
        files: &BTreeMap<&str, &DescribedFile>,
    ) -> Result<(), DescriptionProblem> {
        let stack = self.stack();
        let described = |name: &String| {
            let file = files.get(name.as_str()).copied();
            file.ok_or_else(|| DescriptionProblem::NotDescribed { name: name.clone() })
        };
        let of_format =
            |file: &DescribedFile, expected: &'static str| match file.format.ends_with(expected) {
                true => Ok(()),
                false => Err(DescriptionProblem::Format {
                    name: file.path.clone(),
                    found: file.format.clone(),
                    expected,
                }),
            };
        let mut layers: Vec<&String> = stack.overlay.iter().rev().collect();
        if let Some(top) = layers.last()
            && described(top)?.format.ends_with("-root")
        {
            layers.pop();
        }
        if layers.len() != self.layers.len() {
            return Err(DescriptionProblem::LayerCount {
                expected: self.layers.len(),
                found: layers.len(),
            });
        }
        for (index, (name, layer)) in layers.iter().zip(&self.layers).enumerate() {
            let file = described(name)?;
            of_format(file, "-layer")?;
            if let (Some(expected), Some(found)) = (&layer.diff_id, &file.diff_id)
                && expected != found
            {
                return Err(DescriptionProblem::LayerOrder {
                    index,
                    name: file.path.clone(),
                    expected: expected.clone(),
                    found: found.clone(),
                });
            }
        }
        let devices = stack.devices.iter().collect::<Vec<_>>();
        match &stack.fsmeta {
            Some(fsmeta) => {
                of_format(described(fsmeta)?, "-fsmeta")?;
                if devices != layers {
                    return Err(DescriptionProblem::Devices);
                }
            }
            None if !devices.is_empty() => return Err(DescriptionProblem::Devices),
            None => {}
        }
        Ok(())
    }

    fn verify_file(
        &self,
        described: &DescribedFile,
        files: &BTreeMap<&str, &DescribedFile>,
        session: &Session,
    ) -> Result<u64, Error> {
        let (path, file) = self.open_file(&described.path)?;
        let found = file.metadata().map_err(|e| Error::input(&path, e))?.len();
        if found != described.size {
            return Err(Error::from(ArtifactError::ArtifactSize {
                path,
                expected: described.size,
                found,
            }));
        }
        let found = crate::make::file_sha256(&path, &file, &session.cancel)?;
        if described.sha256.as_ref() != Some(&found) {
            return Err(Error::from(ArtifactError::ArtifactDigest {
                path,
                expected: described.sha256.clone().unwrap_or_default(),
                found,
            }));
        }
        if described.format == "vmdk" {
            return self.verify_vmdk(&described.path, files).map(|()| 0);
        }
        self.verify_sidecar(described, &path, &file, session)?;
        if self.stack().fsmeta.as_ref() == Some(&described.path)
            && let Some(merged) = self.merged(&described.path, &session.cancel)?.as_erofs()
        {
            let found = merged.verify()?;
            damaged(&path, &found.problems, found.more_problems)?;
            let slots = merged.devices().iter();
            let offsets = slots.map(|slot| u64::from(slot.mapped_block) * merged.block_size());
            if !offsets.eq(self.stack().disk_offsets.iter().copied()) {
                let name = described.path.clone();
                return Err(self.problem(DescriptionProblem::DiskOffsets { name }));
            }
            return Ok(found.inodes);
        }
        if !Kind::ALL
            .iter()
            .any(|k| described.format.starts_with(k.name()))
        {
            return Ok(0);
        }
        Ok(FsImage::open_any(&path, file, &session.cancel)?
            .verify()?
            .entries)
    }

    /// Checks the hash tree that is described, and that the file beside the image says the same of it.
    fn verify_sidecar(
        &self,
        described: &DescribedFile,
        path: &Path,
        file: &File,
        session: &Session,
    ) -> Result<(), Error> {
        let name = format!("{}.dmverity", described.path);
        let read = self.directory.read(&name, SIDECAR_MAX);
        let Some(facts) = &described.verity else {
            return match read {
                Err(e) if e.is_not_found() => Ok(()),
                _ => Err(self.problem(DescriptionProblem::StraySidecar { name })),
            };
        };
        let expected = verity::from_facts(facts)?;
        let place = self.path().join(&name);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(BeneathError::TooLong { .. }) => {
                return Err(self.problem(DescriptionProblem::Sidecar { name }));
            }
            Err(e) => return Err(Error::input(&place, e.into())),
        };
        let found = Sidecar::parse(&bytes).map_err(|source| {
            Error::from(ArtifactError::Sidecar {
                path: place,
                source: Box::new(source),
            })
        })?;
        if found != expected {
            return Err(self.problem(DescriptionProblem::Sidecar { name }));
        }
        verify_tree(path, file, &expected, session)
    }

    fn verify_vmdk(&self, name: &str, files: &BTreeMap<&str, &DescribedFile>) -> Result<(), Error> {
        let path = self.path().join(name);
        let text = self.directory.read(name, DISK_TEXT_MAX);
        let text = text.map_err(|e| Error::input(&path, e.into()))?;
        let descriptor = Descriptor::parse(&text, PathRule::Below).map_err(|source| {
            Error::from(ArtifactError::VmdkText {
                path: path.clone(),
                source: Box::new(source),
            })
        })?;
        let extents = descriptor.extents.iter().map(|e| e.path.as_str());
        for extent in extents {
            if !files.contains_key(extent) {
                let name = extent.to_owned();
                return Err(self.problem(DescriptionProblem::NotDescribed { name }));
            }
        }
        descriptor
            .check(|name| self.directory.file(name)?.metadata().map(|m| m.len()))
            .map_err(|source| {
                Error::from(ArtifactError::VmdkFiles {
                    path,
                    source: Box::new(source),
                })
            })
    }
}
