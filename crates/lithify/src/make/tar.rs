//! `-f tar`: the merged filesystem as one tar, in sorted order, the same for every way to slice it into layers.

use std::io::{BufWriter, Write};

use lithify_cancel::Checked;
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{Entry, EntryKind, InodeKind, Metadata};

use super::stream::{Appended, Archive, Destination, Member, emit};
use crate::Error;
use crate::Image;
use crate::error::TransferError;
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
    let destination = Destination::create(output, options.durable)?;
    let merged = Merged::of(image, destination.path(), session)?;
    let failed = |e: WriteError| match e {
        WriteError::Write(_) if session.cancel.is_cancelled() => Error::cancelled(),
        WriteError::Write(e) => destination.failed(e),
        e => Error::tar(
            e,
            "use --sparse to write them as holes, which not every program reads, or raise the limit tar_bytes",
        ),
    };
    let stream = destination.open(StreamCompression::None, options.digest, session)?;
    let holes = match options.sparse {
        true => Holes::Map,
        false => zeros(session),
    };
    let archive = Tar {
        writer: TarWriter::new(stream).holes(holes),
        holes,
        is_layer: false,
        failed: &failed,
    };
    let (stream, sockets) = emit(&merged, archive, session)?;
    let mut artifact = artifact(Format::Tar, &destination.name());
    (artifact.size, artifact.sha256) = destination.close(stream, session)?;
    destination.commit()?;
    if sockets > 0 {
        artifact
            .statistics
            .insert("sockets_left_out".to_owned(), sockets);
    }
    add_dropped(&mut artifact.dropped_xattrs, &merged.summaries);
    Ok((artifact, merged.summaries).into())
}

/// Writes the merged filesystem as the tar of a layer. Returns where it went, and how many sockets it could not hold.
pub(crate) fn write_layer<W: Write>(
    image: &Image,
    out: W,
    session: &Session,
) -> Result<(W, u64), Error> {
    let merged = Merged::of(image, None, session)?;
    let failed = |e: WriteError| match e {
        WriteError::Write(_) if session.cancel.is_cancelled() => Error::cancelled(),
        WriteError::Write(e) => Error::scratch(e),
        e => Error::tar(e, "raise the limit tar_bytes"),
    };
    let out = BufWriter::with_capacity(1 << 20, Checked::new(out, &session.cancel));
    // Layers have no sparse members: image-spec, `layer.md`.
    let holes = zeros(session);
    let archive = Tar {
        writer: TarWriter::new(out).holes(holes),
        holes,
        is_layer: true,
        failed: &failed,
    };
    let (buffered, sockets) = emit(&merged, archive, session)?;
    let written = buffered.into_inner();
    let checked = written.map_err(|e| failed(WriteError::Write(e.into_error())))?;
    Ok((checked.into_inner(), sockets))
}

/// Holes as zeros, as many as the limits allow.
fn zeros(session: &Session) -> Holes {
    Holes::Zeros {
        bytes_max: session.limits.layer.tar_bytes,
    }
}

/// Bytes of a tar that a file takes besides its data, at least: a header.
const HEADER_LEN: u64 = lithify_tar::BLOCK as u64;

struct Tar<'a, W: Write> {
    writer: TarWriter<W>,
    holes: Holes,
    /// Whether it is a layer, in which names that begin with `.wh.` remove others.
    is_layer: bool,
    failed: &'a dyn Fn(WriteError) -> Error,
}

impl<W: Write> Archive for Tar<'_, W> {
    type Done = W;

    fn append(&mut self, member: &Member<'_>) -> Result<Appended, Error> {
        let inode = &member.inode;
        if matches!(inode.kind, InodeKind::Socket) {
            return Ok(Appended::LeftOut);
        }
        let kind = match &member.first {
            Some(target) => EntryKind::HardLink {
                target: target.clone(),
            },
            None => kind(member),
        };
        let zeros = match (&kind, self.holes) {
            (EntryKind::File { size, segments }, Holes::Zeros { .. }) => {
                size - stored(*size, segments.as_deref())
            }
            _ => 0,
        };
        let path = member.path.clone();
        if self.is_layer && path.has_reserved_name() {
            return Err(Error::from(TransferError::WhiteoutName { path }));
        }
        let entry = Entry {
            path,
            metadata: Metadata {
                mode: inode.mode,
                uid: inode.uid,
                gid: inode.gid,
                mtime: inode.mtime,
                xattrs: member.xattrs.clone(),
            },
            kind,
        };
        self.writer.append(&entry).map_err(self.failed)?;
        Ok(Appended::Written {
            // Zeros are written with the data.
            overhead: HEADER_LEN + zeros,
            with_data: member.first.is_none(),
        })
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        self.writer.data(data).map_err(self.failed)
    }

    fn finish(self) -> Result<W, Error> {
        self.writer.finish().map_err(self.failed)
    }
}

fn kind(member: &Member<'_>) -> EntryKind {
    match member.inode.kind {
        InodeKind::File { size, .. } => EntryKind::File {
            size,
            segments: member.segments.map(<[_]>::to_vec),
        },
        InodeKind::Symlink { target } => EntryKind::Symlink {
            target: target.to_vec(),
        },
        InodeKind::CharDevice(device) => EntryKind::CharDevice(device),
        InodeKind::BlockDevice(device) => EntryKind::BlockDevice(device),
        InodeKind::Fifo => EntryKind::Fifo,
        InodeKind::Socket => EntryKind::Socket,
        _ => EntryKind::Directory,
    }
}
