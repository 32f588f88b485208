//! A layer's blob of a transfer, decompressed.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lithify_layer::{BlobError, Decoded, Expected, Options};

use super::blob::BlobSource;
use crate::Error;

/// Bytes read at a time, and how many such pieces wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// Does the work on what a blob holds, decompressed and verified.
pub(crate) fn decode_blob<T>(
    content: &dyn BlobSource,
    expected: Expected,
    options: Options,
    work: impl FnOnce(Result<Decoded, BlobError>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut source = content.open(0)?;
    let (pieces, received) = sync_channel(PIECES);
    // The decoder's threads cannot borrow the source; this one can.
    thread::scope(|scope| {
        scope.spawn(move || feed(&mut *source, &pieces));
        work(Decoded::new(Pieces::new(received), expected, options))
    })
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

/// What another thread reads.
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
