//! Layers of a transfer, decompressed.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lithify_digest::Digest;
use lithify_layer::{BlobError, Decoded, Expected};
use lithify_oci::manifest::{Descriptor, LayerMediaType};

use crate::Error;
use crate::error::LayerError;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::transfer::BlobSource;

/// Bytes read at a time, and how many such pieces wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// A layer of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransferredLayer<'a> {
    /// Its place in the image.
    pub(crate) index: usize,
    pub(crate) blob: &'a Descriptor,
    /// The digest of the tar, where it is known.
    pub(crate) diff_id: Option<Digest>,
}

impl TransferredLayer<'_> {
    /// Does the work on what the blob holds, decompressed and verified.
    pub(crate) fn decode<T>(
        &self,
        content: &dyn BlobSource,
        session: &Session,
        budgets: &Budgets,
        work: impl FnOnce(Result<Decoded, BlobError>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let compression = match LayerMediaType::of(&self.blob.media_type) {
            LayerMediaType::Tar { compression, .. } => crate::image::compression(compression),
            _ => None,
        };
        let expected = Expected {
            digest: Some(self.blob.digest),
            size: Some(self.blob.size),
            diff_id: self.diff_id,
            compression,
        };
        let options = budgets.layer_options(session);
        let mut source = content.open(0)?;
        let (pieces, received) = sync_channel(PIECES);
        // The decoder's threads cannot borrow the source; this one can.
        thread::scope(|scope| {
            scope.spawn(move || feed(&mut *source, &pieces));
            work(Decoded::new(Pieces::new(received), expected, options))
        })
    }

    /// Returns what an error of the layer is for whoever asked for the transfer.
    pub(crate) fn failed(&self, error: lithify_layer::Error, session: &Session) -> Error {
        let name = self.blob.digest.to_string();
        match error {
            lithify_layer::Error::Blob(BlobError::Budget(source)) => {
                crate::image::budget_error(self.index, &name, None, source)
            }
            lithify_layer::Error::Blob(BlobError::Read(e)) => {
                session.reason(Error::of_reader(&self.blob.digest, e))
            }
            lithify_layer::Error::Blob(BlobError::Cancelled) => Error::cancelled(),
            source => Error::from(LayerError::Layer {
                index: self.index,
                name,
                source: Box::new(source),
            }),
        }
    }
}

/// Reads a source to its end, or until nobody wants more of it.
fn feed(source: &mut (dyn Read + Send), pieces: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let read = match source.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => {
                piece.truncate(read);
                Ok(piece)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let last = read.is_err();
        if pieces.send(read).is_err() || last {
            return;
        }
    }
}

/// The reader of pieces that another thread read.
struct Pieces {
    received: Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(received: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self {
            received,
            piece: io::Cursor::default(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.received.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece?),
                Err(_) => return Ok(0),
            }
        }
    }
}
