//! `-f erofs`, `-f squashfs`, `-f ext4`: one image file with the merged filesystem.

use std::path::Path;

use lithify_verity::Sidecar;

use crate::Error;
use crate::Event;
use crate::Image;
use crate::description::Artifact;
use crate::error::Operation;
use crate::fs::Filesystem;
use crate::fs::FsWriter;
use crate::fs::verity;
use crate::image::LayerSummary;
use crate::image::add_dropped;
use crate::image::decode;
use crate::make::format::Format;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::Built;
use crate::make::result::artifact;
use crate::make::result::file_sha256;
use crate::make::result::output_path;
use crate::name::shown_path;
use crate::output::PendingFile;
use crate::session::Session;
use crate::session::budgets::Budgets;

pub(super) fn build(
    image: &Image,
    filesystem: &Filesystem,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let path = output_path(output, options.format)?;
    let pending = PendingFile::create(path, options.durable)?;
    verity::check_beside(path)?;
    let (mut artifact, summaries) = write(image, filesystem, &pending, 0, path, session)?;
    artifact.format = options.format.name().to_owned();
    artifact.path = shown_path(path);
    let mut sidecar = None;
    if options.verity {
        let report = verity::append(pending.file(), artifact.size, path, session)?;
        let facts = Sidecar::from(&report);
        verity::describe(&mut artifact, &facts, report.size);
        sidecar = Some(verity::sidecar(path, &facts, options.durable)?);
    }
    if options.digest {
        artifact.sha256 = Some(file_sha256(path, pending.file(), &session.cancel)?);
    }
    let durable = options.durable;
    verity::commit_with(path, sidecar, durable, || pending.commit(durable))?;
    Ok((artifact, summaries).into())
}

/// Writes the image at an offset of a file that has no name yet.
pub(crate) fn write(
    image: &Image,
    filesystem: &Filesystem,
    pending: &PendingFile,
    offset: u64,
    beside: &Path,
    session: &Session,
) -> Result<(Artifact, Vec<LayerSummary>), Error> {
    let file = pending
        .file()
        .try_clone()
        .map_err(|e| Error::output(Operation::Create, beside, e))?;
    let budgets = Budgets::new(session);
    let mut writer = FsWriter::at(file, offset, filesystem, session, &budgets, beside)?;
    let decoded = decode(image, &mut writer, session, &budgets, |e| e.at(beside))?;
    let (mut tree, summaries) = decoded.merge(image, session)?;
    if session.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    session.progress.event(Event::Finishing);
    let mut seed = Vec::new();
    for summary in &summaries {
        seed.extend_from_slice(summary.diff_id.as_bytes());
    }
    let report = writer
        .finish(filesystem, &mut tree, &seed)
        .map_err(|e| e.at(beside))?;
    let mut artifact = artifact(Format::default(), "");
    artifact.size = report.size;
    artifact.options = filesystem.options();
    artifact.dropped_xattrs = report.dropped;
    add_dropped(&mut artifact.dropped_xattrs, &summaries);
    artifact.statistics = report
        .statistics
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    Ok((artifact, summaries))
}
