//! `-f ext4`, and empty disks: one filesystem that is written to, on a disk of any kind.

use std::fs;
use std::path::Path;

use lithify_tree::Merge;

use super::container::{Container, Framed};
use super::disk_kind::DiskKind;
use super::flat;
use super::options::{BuildOptions, Output};
use super::result::{BuildResult, Built, artifact, file_sha256, output_path};
use crate::Error;
use crate::Event;
use crate::Image;
use crate::description::{Artifact, Description};
use crate::error::{Operation, OutputError, ReplaceError};
use crate::fs::{Filesystem, FsWriter, Placement, verity};
use crate::name::shown_path;
use crate::output::PendingFile;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Builds the filesystem on a disk of a kind.
pub(super) fn build(
    image: &Image,
    filesystem: &Filesystem,
    disk: DiskKind,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let path = output_path(output, options.format)?;
    let container = Container::new(disk, path, options.alignment)?;
    let data = container.data_path();
    for file in [path, data] {
        verity::check_beside(file)?;
    }
    let pending = PendingFile::create(data, options.durable)?;
    let offset = container.offset()?;
    let (mut written, summaries) = flat::write(image, filesystem, &pending, offset, data, session)?;
    written.format = options.format.name().to_owned();
    let mut identity = Vec::new();
    for summary in &summaries {
        identity.extend_from_slice(summary.diff_id.as_bytes());
    }
    identity.extend_from_slice(options.target_name().as_bytes());
    let artifacts = finish(&container, pending, written, identity, options, session)?;
    Ok(BuildResult {
        artifacts,
        summaries,
        ..BuildResult::default()
    })
}

/// Makes an empty filesystem on a disk, where nothing is: [`BuildOptions::volume`] says its size, which has to be given.
///
/// # Errors
/// A format that is not written to, a size or another option it does not have, and what writing fails with.
pub fn create_disk(
    path: &Path,
    options: &BuildOptions,
    session: &Session,
) -> Result<Description, Error> {
    create(path, options, session).map_err(|e| session.reason(e))
}

fn create(path: &Path, options: &BuildOptions, session: &Session) -> Result<Description, Error> {
    options.check()?;
    let Some(kind) = options
        .format
        .shape()
        .kind()
        .filter(|kind| kind.is_volume())
    else {
        return Err(Error::from(OutputError::Destination {
            format: options.format.name(),
            destination: "an empty disk; -f ext4 does",
        }));
    };
    let filesystem = Filesystem::new(kind, Placement::Packed, options.filesystem())?;
    options.check_disk_size()?;
    let disk = options.disk_of_volume().unwrap_or(DiskKind::Raw);
    let container = Container::new(disk, path, options.alignment)?;
    let data = container.data_path().to_path_buf();
    // A disk is somebody's data.
    for file in [path, &data] {
        if fs::symlink_metadata(file).is_ok() {
            return Err(Error::from(OutputError::NotReplaced {
                path: file.to_path_buf(),
                source: Box::new(ReplaceError::Disk),
            }));
        }
    }
    let pending = PendingFile::create(&data, options.durable)?;
    let file = pending
        .file()
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, &data, e))?;
    let budgets = Budgets::new(session);
    let offset = container.offset()?;
    let writer = FsWriter::at(file, offset, &filesystem, session, &budgets, &data)?;
    session.progress.event(Event::Finishing);
    let mut tree = Merge::new().finish();
    // The filesystem is the same on every kind of disk.
    let alone = BuildOptions {
        disks: None,
        ..options.clone()
    };
    let seed = alone.target_name();
    let report = writer
        .finish(&filesystem, &mut tree, seed.as_bytes())
        .map_err(|e| e.at(&data))?;
    let mut written = artifact(options.format, "");
    written.size = report.size;
    written.options = filesystem.options();
    written.statistics = report
        .statistics
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    let artifacts = finish(
        &container,
        pending,
        written,
        seed.into_bytes(),
        options,
        session,
    )?;
    Ok(Description {
        reference: shown_path(path),
        artifacts,
        ..Description::default()
    })
}

/// Writes what is around a filesystem that is complete, and gives the files their names. Returns what was made.
fn finish(
    container: &Container<'_>,
    pending: PendingFile,
    mut filesystem: Artifact,
    identity: Vec<u8>,
    options: &BuildOptions,
    session: &Session,
) -> Result<Vec<Artifact>, Error> {
    let durable = options.durable;
    let Framed { size, descriptor } =
        container.frame(&pending, filesystem.size, identity, durable)?;
    let data = container.data_path().to_path_buf();
    filesystem.path = shown_path(&data);
    if container.kind() == DiskKind::Gpt {
        let name = options.format.name().to_owned();
        filesystem.options.insert("filesystem".to_owned(), name);
        filesystem.format = container.kind().name().to_owned();
    }
    filesystem.size = size;
    if options.digest {
        filesystem.sha256 = Some(file_sha256(&data, pending.file(), &session.cancel)?);
    }
    let mut artifacts = vec![filesystem];
    verity::commit_with(&data, None, durable, || pending.commit(durable))?;
    if let Some((descriptor, size)) = descriptor {
        let path = descriptor.destination().to_path_buf();
        let mut disk = artifact(options.format, &shown_path(&path));
        disk.format = container.kind().name().to_owned();
        disk.size = size;
        if options.digest {
            disk.sha256 = Some(file_sha256(&path, descriptor.file(), &session.cancel)?);
        }
        verity::commit_with(&path, None, durable, || descriptor.commit(durable))?;
        artifacts.push(disk);
    }
    Ok(artifacts)
}
