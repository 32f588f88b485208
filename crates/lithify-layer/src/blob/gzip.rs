//! gzip (RFC 1952): any number of members, zeros after the last, nothing else.
//!
//! eStargz layers are thousands of members, concatenated gzip files a few, and some builders pad with zeros
//! (umoci 0.4.7). gzip(1) ignores anything else after the last member with a warning, Go refuses it, and so do we.

use lithify_inflate::{Gzip, Status};

use super::BlobError;
use super::input::Input;

/// A decoder of all members of a blob.
#[derive(Debug, Default)]
pub(crate) struct Gunzip(Gzip);

impl Gunzip {
    /// Decodes into `buffer[start..]` until it is full or the blob at its end; gives the number of bytes written.
    /// In front of `start` stand the last [`lithify_inflate::WINDOW_SIZE`] bytes decoded.
    pub(crate) fn read(
        &mut self,
        input: &mut Input,
        buffer: &mut [u8],
        start: usize,
    ) -> Result<usize, BlobError> {
        let mut at = start;
        while at < buffer.len() {
            let bytes = input.fill()?;
            if bytes.is_empty() {
                // Whatever the decoder had in hand it wrote before it asked for more.
                self.0.finish()?;
                break;
            }
            let progress = self.0.decode(bytes, buffer, at)?;
            input.consume(progress.consumed);
            at += progress.produced;
            if progress.status == Status::NeedOutput {
                break;
            }
        }
        Ok(at - start)
    }
}
