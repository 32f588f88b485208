//! `-f erofs`: one flat EROFS image.

use std::path::PathBuf;

use lithify_erofs::{DataOptions, ImageOptions, Storage, WriteError, Writer};

use super::{BuildOptions, Built, Format, Output, artifact, file_sha256, output_path};
use crate::decode::{LayerSummary, decode};
use crate::description::Artifact;
use crate::error::Operation;
use crate::output::{PendingFile, scratch_file};
use crate::{Error, Event, Image, ReadOptions};

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    read: &ReadOptions,
) -> Built {
    let path = output_path(output, Format::Erofs)?;
    let pending = PendingFile::create(path, options.durable)?;
    let (mut artifact, summaries) = write(image, &pending, path.to_path_buf(), read)?;
    artifact.path = path.to_string_lossy().into_owned();
    if options.digest {
        artifact.sha256 = Some(file_sha256(path, pending.file())?);
    }
    pending.commit(options.durable)?;
    Ok((artifact, summaries))
}

/// Writes the image to a file that has no name yet.
pub(crate) fn write(
    image: &Image,
    pending: &PendingFile,
    beside: PathBuf,
    read: &ReadOptions,
) -> Result<(Artifact, Vec<LayerSummary>), Error> {
    let failed = |e: WriteError| match e {
        WriteError::Io { source, .. } => Error::output(Operation::Write, &beside, source),
        e => Error::WriteErofs(Box::new(e)),
    };
    let scratch_beside = beside.clone();
    let mut data = DataOptions::default();
    data.spill = Some(Box::new(move || {
        Ok(Box::new(scratch_file(Some(&scratch_beside))?) as Box<dyn Storage + Send>)
    }));
    let file = pending
        .file()
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, &beside, e))?;
    let mut writer = Writer::new(file, data);
    let decoded = decode(image, &mut writer, read, failed)?;
    let (tree, summaries) = decoded.merge(image, read)?;
    if read.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    read.progress.event(Event::Finishing);
    let mut options = ImageOptions::default();
    for summary in &summaries {
        options
            .uuid_seed
            .extend_from_slice(summary.diff_id.as_bytes());
    }
    let (_, report) = writer.finish_image(&tree, &options).map_err(failed)?;
    let mut artifact = artifact(Format::Erofs, "");
    artifact.size = report.size;
    artifact.statistics = [
        (
            "inodes",
            u64::from(report.compact_inodes) + u64::from(report.extended_inodes),
        ),
        ("padding_bytes", report.padding_bytes),
        ("data_bytes", report.data_bytes),
        ("metadata_bytes", report.metadata_bytes),
        ("moved_bytes", report.moved_bytes),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect();
    Ok((artifact, summaries))
}
