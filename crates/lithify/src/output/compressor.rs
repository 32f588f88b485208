//! Streams, compressed by what every reader of gzip and Zstandard takes: one member, one frame.

use std::io::{self, Write};

use flate2::GzBuilder;
use lithify_deflate::{GoGzip, Level};

/// The compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamCompression {
    /// None.
    None,
    /// gzip, with the level.
    Gzip(u32),
    /// gzip, with the level: the bytes that Go's `compress/gzip` makes.
    GoGzip(Level),
    /// Zstandard, with the level.
    Zstd(i32),
}

impl StreamCompression {
    /// gzip as programs compress by default.
    pub(crate) const GZIP: Self = Self::Gzip(6);
    /// Zstandard as programs compress by default.
    pub(crate) const ZSTD: Self = Self::Zstd(3);
}

/// Bytes of one piece, in which gzip gets its input.
const PIECE: usize = 128 << 10;

/// Compresses what is written. The same bytes in are the same bytes out, whatever the pieces they come in.
pub(crate) enum Compressor<W: Write> {
    Plain(W),
    Gzip(Pieces<flate2::write::GzEncoder<W>>),
    GoGzip(Box<GoGzip<W>>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    pub(crate) fn new(out: W, compression: StreamCompression) -> io::Result<Self> {
        Ok(match compression {
            StreamCompression::None => Self::Plain(out),
            // No time and no name in the header.
            StreamCompression::Gzip(level) => {
                let encoder = GzBuilder::new().write(out, flate2::Compression::new(level));
                Self::Gzip(Pieces::new(encoder))
            }
            StreamCompression::GoGzip(level) => Self::GoGzip(Box::new(GoGzip::new(out, level))),
            StreamCompression::Zstd(level) => Self::Zstd(zstd::Encoder::new(out, level)?),
        })
    }

    /// Returns the place where compressed bytes go. Some may not be there yet.
    pub(crate) fn out_mut(&mut self) -> &mut W {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(pieces) => pieces.out.get_mut(),
            Self::GoGzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// Ends the stream. Returns where it went.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(pieces) => pieces.finish()?.finish(),
            Self::GoGzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(data),
            Self::Gzip(pieces) => pieces.write(data),
            Self::GoGzip(encoder) => encoder.write(data),
            Self::Zstd(encoder) => encoder.write(data),
        }
    }

    /// Flushes what was compressed. Nothing is compressed sooner for that: the stream would be another.
    fn flush(&mut self) -> io::Result<()> {
        self.out_mut().flush()
    }
}

/// Hands bytes on in pieces of one size: what zlib-rs makes of bytes depends on how many come at a time.
pub(crate) struct Pieces<W> {
    out: W,
    /// Less than a piece.
    held: Vec<u8>,
}

impl<W: Write> Pieces<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            held: Vec::with_capacity(PIECE),
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.held.is_empty() && data.len() >= PIECE {
            self.out.write_all(&data[..PIECE])?;
            return Ok(PIECE);
        }
        let count = data.len().min(PIECE - self.held.len());
        self.held.extend_from_slice(&data[..count]);
        if self.held.len() == PIECE {
            self.out.write_all(&self.held)?;
            self.held.clear();
        }
        Ok(count)
    }

    fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&self.held)?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that compress, and not too well.
    fn sample() -> Vec<u8> {
        let mut state = 7_u32;
        let mut bytes = Vec::new();
        while bytes.len() < 1 << 20 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let words = ["lithify", " layer", "\n", "0000000", "usr/bin/", " is "];
            bytes.extend_from_slice(words[(state >> 24) as usize % words.len()].as_bytes());
            if state.is_multiple_of(5) {
                bytes.push((state >> 16) as u8);
            }
        }
        bytes
    }

    /// What comes in small pieces from a pipe is the same layer as what comes from a file.
    #[test]
    fn the_sizes_of_pieces_do_not_show() {
        let bytes = sample();
        let ways = (0..=9).map(StreamCompression::Gzip);
        let ways = ways.chain(Level::all().map(StreamCompression::GoGzip));
        let ways = ways.chain([1, 3, 9].map(StreamCompression::Zstd));
        for way in ways {
            let compressed = |sizes: &[usize]| {
                let mut compressor = Compressor::new(Vec::new(), way).unwrap();
                let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
                while !rest.is_empty() {
                    let size = rest.len().min(*sizes.next().unwrap());
                    compressor.write_all(&rest[..size]).unwrap();
                    compressor.flush().unwrap();
                    rest = &rest[size..];
                }
                compressor.finish().unwrap()
            };
            let whole = compressed(&[usize::MAX]);
            for sizes in [&[1 << 18][..], &[4096], &[1, 7000, 512, 100_000], &[333]] {
                assert!(compressed(sizes) == whole, "{way:?} in pieces of {sizes:?}");
            }
        }
    }
}
