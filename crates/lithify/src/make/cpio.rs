//! `-f cpio`: the merged filesystem as one archive that Linux unpacks as its initramfs.

use std::io::Write;

use lithify_cpio::{CpioWriter, Name, Report, WriteError};
use lithify_tree::InodeKind;

use super::stream::{Appended, Archive, Destination, Member, emit};
use crate::Error;
use crate::Image;
use crate::error::BuildError;
use crate::fs::drop_xattrs;
use crate::image::Merged;
use crate::image::add_dropped;
use crate::make::format::Format;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::Built;
use crate::make::result::artifact;
use crate::output::StreamCompression;
use crate::session::Session;
use crate::session::budgets::stored;

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let compression = match options.compression {
        Some(compression) => compression.of_stream()?,
        None => StreamCompression::None,
    };
    let destination = Destination::create(output, options.durable)?;
    let mut merged = Merged::of(image, destination.path(), session)?;
    let mut artifact = artifact(Format::Cpio, &destination.name());
    if options.drop_xattrs {
        artifact.dropped_xattrs = drop_xattrs(&mut merged.tree, lithify_cpio::unsupported_xattrs);
    }
    let failed = |e: WriteError| match e {
        WriteError::Write(_) if session.cancel.is_cancelled() => Error::cancelled(),
        WriteError::Write(e) => destination.failed(e),
        WriteError::Holes { path, holes, limit } => BuildError::Holes {
            path,
            holes,
            format: "cpio archive",
            limit,
            hint: "raise the limit tar_bytes",
        }
        .into(),
        e @ WriteError::Xattr { .. } => BuildError::UnsupportedXattr {
            attribute: Box::new(e),
        }
        .into(),
        e => BuildError::Cpio(e).into(),
    };
    let stream = destination.open(compression, options.digest, session)?;
    let writer = CpioWriter::new(stream).zeros_max(session.limits.layer.tar_bytes);
    let archive = Cpio {
        writer,
        failed: &failed,
    };
    let ((stream, report), _) = emit(&merged, archive, session)?;
    (artifact.size, artifact.sha256) = destination.close(stream, session)?;
    destination.commit()?;
    let given = [
        (
            "compression",
            options
                .compression
                .map(|compression| compression.to_string()),
        ),
        (
            "unsupported_xattrs",
            options.drop_xattrs.then(|| "drop".to_owned()),
        ),
    ];
    for (name, value) in given {
        artifact
            .options
            .extend(value.map(|value| (name.to_owned(), value)));
    }
    let clamped = ("clamped_times".to_owned(), report.clamped_times);
    artifact.statistics.extend([clamped]);
    add_dropped(&mut artifact.dropped_xattrs, &merged.summaries);
    Ok((artifact, merged.summaries).into())
}

/// Bytes that a name takes besides its data, at least: a header.
const HEADER_LEN: u64 = 112;

struct Cpio<'a, W: Write> {
    writer: CpioWriter<W>,
    failed: &'a dyn Fn(WriteError) -> Error,
}

impl<W: Write> Archive for Cpio<'_, W> {
    type Done = (W, Report);

    fn append(&mut self, member: &Member<'_>) -> Result<Appended, Error> {
        let Member {
            inode,
            xattrs,
            segments,
            is_last,
            ..
        } = *member;
        let name = Name {
            path: &member.path,
            number: member.number,
            is_last,
        };
        let appended = self.writer.append(&name, &inode, xattrs, segments);
        appended.map_err(self.failed)?;
        let zeros = match inode.kind {
            InodeKind::File { size, .. } if is_last => size - stored(size, segments),
            _ => 0,
        };
        Ok(Appended::Written {
            overhead: HEADER_LEN + zeros,
            with_data: is_last,
        })
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        self.writer.data(data).map_err(self.failed)
    }

    fn finish(self) -> Result<(W, Report), Error> {
        self.writer.finish().map_err(self.failed)
    }
}
