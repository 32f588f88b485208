//! The layer of a commit, being written to a scratch file.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, Digest, HashingWriter};
use lithify_hostfs::RecordedSummary;
use lithify_tar::{Holes, TarWriter, WriteError};
use lithify_tree::{ContentId, ContentSink, DataSegment, Entry};

use super::options::CommitOptions;
use crate::Error;
use crate::manifest::encode::{Encoder, LayerCompression};
use crate::session::Session;

/// A layer in a scratch file.
pub(super) struct Layer {
    pub(super) media_type: &'static str,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
    pub(super) counts: Counts,
    /// Of a directory that a build wrote: what became of what was written beside it.
    pub(super) recorded: Option<RecordedSummary>,
}

/// How many entries a layer has, and of which kinds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// All of them.
    pub(super) entries: u64,
    /// Names that are removed.
    pub(super) whiteouts: u64,
    /// Directories that are emptied.
    pub(super) opaque: u64,
    /// Sockets, which are left out.
    pub(super) sockets: u64,
}

type Out<'a> = HashingWriter<Checked<BufWriter<&'a File>>>;

/// Writes the tar of a layer. Data of a file follows its entry.
pub(super) struct LayerWriter<'a> {
    tar: TarWriter<Encoder<Out<'a>>>,
    compression: LayerCompression,
    scratched: &'a dyn Fn(io::Error) -> Error,
    session: &'a Session,
    /// The thing to do about a file that does not fit.
    hint: &'static str,
}

impl<'a> LayerWriter<'a> {
    pub(super) fn new(
        scratch: &'a File,
        scratched: &'a dyn Fn(io::Error) -> Error,
        options: &CommitOptions,
        session: &'a Session,
        hint: &'static str,
    ) -> Result<Self, Error> {
        let out = BufWriter::with_capacity(1 << 20, scratch);
        let out = HashingWriter::new(Checked::new(out, &session.cancel), Algorithm::Sha256);
        // Layers have no sparse members: image-spec, `layer.md`.
        let holes = Holes::Zeros {
            bytes_max: session.limits.layer.tar_bytes,
        };
        let encoder = Encoder::new(out, options.compression).map_err(scratched)?;
        Ok(Self {
            tar: TarWriter::new(encoder).holes(holes),
            compression: options.compression,
            scratched,
            session,
            hint,
        })
    }

    fn failed(&self, error: WriteError) -> Error {
        match error {
            WriteError::Write(_) if self.session.cancel.is_cancelled() => Error::cancelled(),
            WriteError::Write(e) => (self.scratched)(e),
            e => Error::tar(e, self.hint),
        }
    }

    /// Adds an entry.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let appended = self.tar.append(entry).map(drop);
        appended.map_err(|e| self.failed(e))
    }

    /// Ends the tar.
    pub(super) fn finish(self) -> Result<Layer, Error> {
        let (scratched, session, hint) = (self.scratched, self.session, self.hint);
        let failed = |error| match error {
            WriteError::Write(_) if session.cancel.is_cancelled() => Error::cancelled(),
            WriteError::Write(e) => scratched(e),
            e => Error::tar(e, hint),
        };
        let encoder = self.tar.finish().map_err(failed)?;
        let (diff_id, mut out) = encoder.finish().map_err(scratched)?;
        out.flush().map_err(scratched)?;
        let (_, digest, size) = out.finish();
        Ok(Layer {
            media_type: self.compression.media_type(),
            digest,
            size,
            diff_id,
            counts: Counts::default(),
            recorded: None,
        })
    }
}

/// Data of the last entry, which has to be a file.
impl ContentSink for LayerWriter<'_> {
    type Error = Error;

    fn begin(&mut self, _: u64, _: Option<&[DataSegment]>) -> Result<(), Error> {
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.session.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let written = self.tar.data(data);
        written.map_err(|e| self.failed(e))
    }

    fn finish(&mut self) -> Result<ContentId, Error> {
        Ok(ContentId(0))
    }
}
