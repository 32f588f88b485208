//! Disks for virtual machines, of the merged image and the layers' images.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use lithify_cancel::Checked;
use lithify_disk::gpt::GptOptions;
use lithify_disk::vmdk::{CompanionContent, VmdkOptions};
use lithify_disk::{Alignment, Disk, Part};
use lithify_erofs::Storage as _;

use super::disk_kind::DiskKind;
use super::fsmeta::Merged;
use super::layers::{BuiltLayer, IMAGE};
use crate::CancelToken;
use crate::Error;
use crate::description::Artifact;
use crate::error::{BuildError, Operation};
use crate::make::format::Format;
use crate::make::result::artifact;
use crate::make::result::file_sha256;
use crate::output::PendingFile;

/// What stands on a disk.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// Where the disk goes.
    pub(super) directory: &'a Path,
    /// The merged image's file in it.
    pub(super) fsmeta: &'a str,
    pub(super) merged: &'a Merged,
    pub(super) layers: &'a [BuiltLayer],
    /// The layers' files, bottom first.
    pub(super) names: &'a [String],
    pub(super) durable: bool,
    pub(super) cancel: &'a CancelToken,
}

impl Parts<'_> {
    /// Writes the disks.
    pub(super) fn write(&self, kinds: &[DiskKind], alignment: u64) -> Result<Vec<Artifact>, Error> {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        let mut artifacts = Vec::new();
        for kind in kinds {
            let (mut written, size) = match kind {
                DiskKind::Vmdk => self.vmdk(alignment, &mut artifacts)?,
                DiskKind::Raw => self.raw(kind, &self.flat(alignment)?)?,
                DiskKind::Gpt => {
                    let mut options = GptOptions::default();
                    options.alignment = options.alignment.max(self.alignment(alignment)?);
                    self.raw(kind, &Disk::partitioned(self.parts()?, &options)?)?
                }
            };
            written.statistics.insert("disk_bytes".to_owned(), size);
            artifacts.push(written);
        }
        Ok(artifacts)
    }

    fn alignment(&self, bytes: u64) -> Result<Alignment, Error> {
        Alignment::new(bytes).ok_or(Error::from(BuildError::Alignment { found: bytes }))
    }

    /// The merged image, then the layers' images without what may be appended to them: as the merged image's device
    /// table says.
    fn flat(&self, alignment: u64) -> Result<Disk, Error> {
        let disk = Disk::concatenated(self.parts()?, self.alignment(alignment)?)?;
        for (number, &mapped) in self.merged.facts.mapped_blocks.iter().enumerate() {
            let expected = u64::from(mapped) * lithify_erofs::BLOCK_SIZE as u64;
            let found = disk.part_offset(number + 1);
            if found != expected {
                return Err(Error::from(BuildError::DiskMismatch {
                    layer: number,
                    expected,
                    found,
                }));
            }
        }
        Ok(disk)
    }

    fn parts(&self) -> Result<Vec<Part>, Error> {
        let merged = self.merged.entry.file(IMAGE)?;
        let mut parts = vec![Part {
            path: self.fsmeta.into(),
            size: self.merged.facts.image_size,
            name: "fsmeta".to_owned(),
            identity: merged.sha256.as_bytes().to_vec(),
        }];
        for (number, (layer, name)) in self.layers.iter().zip(self.names).enumerate() {
            parts.push(Part {
                path: name.into(),
                size: layer.facts.image_size,
                name: format!("layer {number}"),
                identity: layer.entry.file(IMAGE)?.sha256.as_bytes().to_vec(),
            });
        }
        Ok(parts)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the text, and the files it needs besides the images, which are artifacts too: everything a disk consists of
    /// is covered by a digest.
    fn vmdk(
        &self,
        alignment: u64,
        companions: &mut Vec<Artifact>,
    ) -> Result<(Artifact, u64), Error> {
        let disk = self.flat(alignment)?;
        let vmdk = disk.vmdk(&VmdkOptions::default())?;
        for companion in &vmdk.companions {
            let name = companion.path.to_string_lossy();
            let path = self.place(&name);
            let failed = |e| Error::output(Operation::Write, &path, e);
            let pending = PendingFile::create(&path, self.durable)?;
            let size = match &companion.content {
                CompanionContent::Bytes(bytes) => {
                    (&**pending.file()).write_all(bytes).map_err(failed)?;
                    bytes.len() as u64
                }
                CompanionContent::Zeros(length) => {
                    pending.file().set_len(*length).map_err(failed)?;
                    *length
                }
            };
            companions.push(self.finish("vmdk-extent", &name, pending, size)?);
        }
        let path = self.place(DiskKind::Vmdk.file_name());
        let pending = PendingFile::create(&path, self.durable)?;
        (&**pending.file())
            .write_all(vmdk.descriptor.as_bytes())
            .map_err(|e| Error::output(Operation::Write, &path, e))?;
        let size = vmdk.descriptor.len() as u64;
        let kind = DiskKind::Vmdk;
        let written = self.finish(kind.name(), kind.file_name(), pending, size)?;
        Ok((written, disk.size()))
    }

    fn raw(&self, kind: DiskKind, disk: &Disk) -> Result<(Artifact, u64), Error> {
        let path = self.place(kind.file_name());
        let pending = PendingFile::create(&path, self.durable)?;
        let mut sources: Vec<File> = vec![self.merged.entry.open(IMAGE)?];
        for layer in self.layers {
            sources.push(layer.entry.open(IMAGE)?);
        }
        let mut file = pending
            .file()
            .try_clone()
            .map_err(|e| Error::output(Operation::Create, &path, e))?;
        disk.write_checked(&sources, &mut Checked::new(&mut file, self.cancel))
            .map_err(|e| Error::raw_disk(e, &path))?;
        file.set_size(disk.size())
            .map_err(|e| Error::output(Operation::Write, &path, e))?;
        let size = disk.size();
        let written = self.finish(kind.name(), kind.file_name(), pending, size)?;
        Ok((written, size))
    }

    fn finish(
        &self,
        format: &str,
        name: &str,
        pending: PendingFile,
        size: u64,
    ) -> Result<Artifact, Error> {
        let mut written = artifact(Format::ErofsLayers, name);
        written.format = format.to_owned();
        written.size = size;
        let file = pending.file();
        let path = self.place(name);
        std::io::Seek::rewind(&mut &**file).map_err(|e| Error::input(&path, e))?;
        written.sha256 = Some(file_sha256(&path, file, self.cancel)?);
        pending.commit(self.durable)?;
        Ok(written)
    }
}
