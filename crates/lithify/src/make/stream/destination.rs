//! Where an archive goes: a file that appears when it is complete, or standard output.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use lithify_cancel::Checked;
use lithify_digest::{Algorithm, Hasher};

use crate::Error;
use crate::OutputPipe;
use crate::error::Operation;
use crate::fs::verity;
use crate::make::options::Output;
use crate::name::shown_path;
use crate::output::Compressor;
use crate::output::PendingFile;
use crate::output::StreamCompression;
use crate::session::Session;

/// Where an archive goes.
pub(in crate::make) struct Destination<'a> {
    path: Option<&'a Path>,
    pending: Option<PendingFile>,
    durable: bool,
}

/// An archive on its way to its destination.
pub(in crate::make) type Stream<'a> = BufWriter<Compressor<Measured<'a>>>;

impl<'a> Destination<'a> {
    /// Starts the file, if it is to be one.
    pub(in crate::make) fn create(output: &'a Output, durable: bool) -> Result<Self, Error> {
        let (path, pending) = match output {
            Output::Path(path) => {
                let pending = PendingFile::create(path, durable)?;
                verity::check_beside(path)?;
                (Some(path.as_path()), Some(pending))
            }
            Output::Stdout => (None, None),
        };
        Ok(Self {
            path,
            pending,
            durable,
        })
    }

    /// Returns the path, if it is a file.
    pub(in crate::make) fn path(&self) -> Option<&'a Path> {
        self.path
    }

    /// Returns the name that descriptions say.
    pub(in crate::make) fn name(&self) -> String {
        self.path.map_or("-".into(), shown_path)
    }

    /// Returns the error of a write.
    pub(in crate::make) fn failed(&self, error: io::Error) -> Error {
        let shown = self.path.unwrap_or(Path::new("standard output"));
        Error::output(Operation::Write, shown, error)
    }

    /// Opens it for writing, once. The size and, with `digest`, the SHA-256 of what arrives there are taken.
    pub(in crate::make) fn open<'s>(
        &'s self,
        compression: StreamCompression,
        digest: bool,
        session: &'s Session,
    ) -> Result<Stream<'s>, Error> {
        let failed = |e| self.failed(e);
        let out: Box<dyn Write + 's> = match &self.pending {
            Some(pending) => Box::new(&**pending.file()),
            None => Box::new(OutputPipe::stdout(&session.cancel).map_err(failed)?),
        };
        let measured = Measured {
            inner: Checked::new(out, &session.cancel),
            size: 0,
            hasher: digest.then(|| Hasher::new(Algorithm::Sha256)),
        };
        let compressor = Compressor::new(measured, compression).map_err(failed)?;
        Ok(BufWriter::with_capacity(1 << 20, compressor))
    }

    /// Writes what is still in buffers. Returns the size of all that was written and, if it was asked for, its SHA-256.
    pub(in crate::make) fn close(
        &self,
        stream: Stream<'_>,
        session: &Session,
    ) -> Result<(u64, Option<String>), Error> {
        let failed = |e| match session.cancel.is_cancelled() {
            true => Error::cancelled(),
            false => self.failed(e),
        };
        let compressor = stream.into_inner().map_err(|e| failed(e.into_error()))?;
        let mut measured = compressor.finish().map_err(failed)?;
        measured.flush().map_err(failed)?;
        Ok((measured.size, measured.hasher.map(|h| h.finish().hex())))
    }

    /// Gives the file its name.
    pub(in crate::make) fn commit(self) -> Result<(), Error> {
        let (Some(pending), durable) = (self.pending, self.durable) else {
            return Ok(());
        };
        // The name may have been an image's.
        let path = pending.destination().to_path_buf();
        verity::commit_with(&path, None, durable, || pending.commit(durable))
    }
}

/// Counts and, if wanted, hashes what goes through, until the work is stopped: one file's holes can be many seconds of zeros.
pub(in crate::make) struct Measured<'a> {
    inner: Checked<Box<dyn Write + 'a>>,
    size: u64,
    hasher: Option<Hasher>,
}

impl Write for Measured<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.size += written as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
