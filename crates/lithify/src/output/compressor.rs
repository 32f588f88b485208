//! Streams, compressed by what every reader of gzip and Zstandard takes: one member, one frame.

use std::io::{self, Write};

use flate2::GzBuilder;

/// The compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamCompression {
    /// None.
    None,
    /// gzip, with the level.
    Gzip(u32),
    /// Zstandard, with the level.
    Zstd(i32),
}

impl StreamCompression {
    /// gzip as programs compress by default.
    pub(crate) const GZIP: Self = Self::Gzip(6);
    /// Zstandard as programs compress by default.
    pub(crate) const ZSTD: Self = Self::Zstd(3);
}

/// Compresses what is written. The same bytes in are the same bytes out, on one thread.
pub(crate) enum Compressor<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    pub(crate) fn new(out: W, compression: StreamCompression) -> io::Result<Self> {
        Ok(match compression {
            StreamCompression::None => Self::Plain(out),
            // No time and no name in the header.
            StreamCompression::Gzip(level) => {
                Self::Gzip(GzBuilder::new().write(out, flate2::Compression::new(level)))
            }
            StreamCompression::Zstd(level) => Self::Zstd(zstd::Encoder::new(out, level)?),
        })
    }

    /// Ends the stream. Returns where it went.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(data),
            Self::Gzip(encoder) => encoder.write(data),
            Self::Zstd(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
