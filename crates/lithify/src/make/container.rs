//! What a virtual machine's disk has around its filesystem: nothing, a partition table, or a description for programs that
//! read VMDK.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lithify_disk::gpt::GptOptions;
use lithify_disk::vmdk::VmdkOptions;
use lithify_disk::{Alignment, Disk, Part, SECTOR, Storage as _};

use super::disk_kind::DiskKind;
use crate::Error;
use crate::error::{BuildError, Operation};
use crate::output::PendingFile;

/// A disk with one filesystem.
#[derive(Debug)]
pub(super) struct Container<'a> {
    kind: DiskKind,
    alignment: Alignment,
    /// Where the disk goes.
    path: &'a Path,
    /// Where the filesystem goes, if that is another file.
    data: Option<PathBuf>,
}

/// A disk around a filesystem that was written.
#[derive(Debug)]
pub(super) struct Framed {
    /// Bytes of the file with the filesystem.
    pub(super) size: u64,
    /// The disk's own file, if it has one, and its bytes.
    pub(super) descriptor: Option<(PendingFile, u64)>,
}

impl<'a> Container<'a> {
    /// What is around a filesystem on a disk of that kind at `path`.
    pub(super) fn new(kind: DiskKind, path: &'a Path, alignment: u64) -> Result<Self, Error> {
        let alignment = Alignment::new(alignment)
            .ok_or_else(|| Error::from(BuildError::Alignment { found: alignment }))?;
        Ok(Self {
            kind,
            alignment,
            path,
            data: (kind == DiskKind::Vmdk).then(|| flat_path(path)),
        })
    }

    /// The kind of disk.
    pub(super) fn kind(&self) -> DiskKind {
        self.kind
    }

    /// The file the filesystem goes to.
    pub(super) fn data_path(&self) -> &Path {
        self.data.as_deref().unwrap_or(self.path)
    }

    /// The offset of the filesystem in its file, in bytes.
    pub(super) fn offset(&self) -> Result<u64, Error> {
        match self.kind {
            DiskKind::Gpt => Ok(self.partitioned(SECTOR, Vec::new())?.part_offset(0)),
            DiskKind::Raw | DiskKind::Vmdk => Ok(0),
        }
    }

    /// Writes what is around a filesystem of `size` bytes. `identity` says what it is, for the identifiers.
    pub(super) fn frame(
        &self,
        pending: &PendingFile,
        size: u64,
        identity: Vec<u8>,
        durable: bool,
    ) -> Result<Framed, Error> {
        let failed = |e| Error::output(Operation::Write, self.path, e);
        match self.kind {
            DiskKind::Raw => Ok(Framed {
                size,
                descriptor: None,
            }),
            DiskKind::Gpt => {
                let disk = self.partitioned(size, identity)?;
                let mut file = pending.file().try_clone().map_err(failed)?;
                disk.write_frame(&mut file)
                    .map_err(|e| Error::raw_disk(e, self.path))?;
                Ok(Framed {
                    size: disk.size(),
                    descriptor: None,
                })
            }
            DiskKind::Vmdk => {
                let disk = Disk::concatenated(vec![self.part(size, identity)], Alignment::SECTOR)?;
                let text = disk.vmdk(&VmdkOptions::default())?.descriptor;
                let descriptor = PendingFile::create(self.path, durable)?;
                let mut file = descriptor.file().try_clone().map_err(failed)?;
                file.write_all_at(text.as_bytes(), 0).map_err(failed)?;
                Ok(Framed {
                    size,
                    descriptor: Some((descriptor, text.len() as u64)),
                })
            }
        }
    }

    fn part(&self, size: u64, identity: Vec<u8>) -> Part {
        Part {
            path: self.data_path().file_name().unwrap_or_default().into(),
            size,
            name: "root".to_owned(),
            identity,
        }
    }

    fn partitioned(&self, size: u64, identity: Vec<u8>) -> Result<Disk, Error> {
        let mut options = GptOptions::default();
        options.alignment = options.alignment.max(self.alignment);
        let disk = Disk::partitioned(vec![self.part(size, identity)], &options)?;
        Ok(disk)
    }
}

/// The file with the data of the disk that a VMDK descriptor describes: `disk-flat.vmdk` beside `disk.vmdk`.
fn flat_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.file_stem().unwrap_or_default().to_owned();
    name.push("-flat.vmdk");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_vmdk_has_a_name_of_its_own() {
        for (path, data) in [
            ("x.vmdk", "x-flat.vmdk"),
            ("a.b/x", "a.b/x-flat.vmdk"),
            ("x-flat.vmdk", "x-flat-flat.vmdk"),
        ] {
            assert_eq!(flat_path(Path::new(path)), Path::new(data));
        }
    }
}
