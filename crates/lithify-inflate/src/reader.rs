//! The decoder as a [`Read`].

use std::io::{self, BufRead, Read};

use crate::{Gzip, Status, WINDOW_SIZE};

const INPUT: usize = 64 * 1024;
const OUTPUT: usize = WINDOW_SIZE + 256 * 1024;

/// Reads the decoded bytes of a gzip file, all its members, from a reader of the compressed ones.
///
/// For the occasional file. Where throughput matters, [`Gzip`] with the buffers of the pipeline it
/// stands in saves a copy.
///
/// Errors of the stream come out as [`io::Error`]s around a [`GzipError`](crate::GzipError):
/// [`io::ErrorKind::UnexpectedEof`] if it is truncated, [`io::ErrorKind::InvalidData`] otherwise.
///
/// ```
/// use std::io::Read;
///
/// use lithify_inflate::GzipReader;
///
/// let file: &[u8] = &[
///     0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, // header
///     0x01, 0x02, 0x00, 0xfd, 0xff, b'h', b'i', // data
///     0xac, 0x2a, 0x93, 0xd8, 2, 0, 0, 0, // CRC-32, size
/// ];
/// let mut text = String::new();
/// GzipReader::new(file).read_to_string(&mut text)?;
/// assert_eq!(text, "hi");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct GzipReader<R> {
    inner: R,
    gzip: Gzip,
    input: Box<[u8]>,
    /// The part of `input` not decoded yet.
    unread: std::ops::Range<usize>,
    out: Box<[u8]>,
    /// The part of `out` not handed out yet.
    ready: std::ops::Range<usize>,
}

impl<R: Read> GzipReader<R> {
    /// A reader of what is compressed in `inner`. It does its own buffering.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            gzip: Gzip::new(),
            input: vec![0; INPUT].into_boxed_slice(),
            unread: 0..0,
            out: vec![0; OUTPUT].into_boxed_slice(),
            ready: 0..0,
        }
    }

    /// The decoder.
    pub fn gzip(&self) -> &Gzip {
        &self.gzip
    }

    /// The reader of compressed bytes. It may have been read further than what was decoded.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Decodes until there is something to hand out, or nothing more to come.
    fn decode(&mut self) -> io::Result<()> {
        while self.ready.is_empty() {
            let input = &self.input[self.unread.clone()];
            let progress = self.gzip.decode(input, &mut self.out, self.ready.end)?;
            self.unread.start += progress.consumed;
            self.ready.end += progress.produced;
            if !self.ready.is_empty() {
                break;
            }
            match progress.status {
                Status::End => {}
                Status::NeedOutput => {
                    self.out.copy_within(OUTPUT - WINDOW_SIZE.., 0);
                    self.ready = WINDOW_SIZE..WINDOW_SIZE;
                }
                Status::NeedInput => {
                    let len = self.inner.read(&mut self.input)?;
                    self.unread = 0..len;
                    if len == 0 {
                        self.gzip.finish()?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> BufRead for GzipReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.decode()?;
        Ok(&self.out[self.ready.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.ready.start = (self.ready.start + amount).min(self.ready.end);
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let ready = self.fill_buf()?;
        let len = ready.len().min(buf.len());
        buf[..len].copy_from_slice(&ready[..len]);
        self.consume(len);
        Ok(len)
    }
}
