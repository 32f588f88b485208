//! Ways a layer's blob is compressed that give the same bytes each time.

use std::fmt;
use std::io::{self, Read, Write};

use lithify_deflate::Level;
use lithify_oci::delta::{LayerDelta, LayerWay};

use crate::output::{Compressor, StreamCompression};

/// The version of the bytes that the compressors make. It rises when they make others: `gzip` and `zstd` of the libraries they are of.
const VERSION: u32 = 1;

/// Bytes of a tar by whose compressed form a way is recognised.
pub(super) const SAMPLE: usize = 1 << 20;

/// Bytes of it that are compressed before what came out is compared.
const PIECE: usize = 64 << 10;

/// Levels that are tried. Those that are most in use come first.
const GZIP_LEVELS: [u32; 9] = [6, 9, 1, 5, 4, 7, 8, 3, 2];
/// Higher ones take a gigabyte of memory.
const ZSTD_LEVELS: [i32; 19] = [
    3, 19, 1, 9, 12, 6, 2, 4, 5, 7, 8, 10, 11, 13, 14, 15, 16, 17, 18,
];

/// A way to compress a tar that gives the same bytes each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recipe(StreamCompression);

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            StreamCompression::None => f.write_str("none"),
            // Of these bytes Go decides, and they have no version here.
            StreamCompression::GoGzip(level) => write!(f, "go-gzip-{}", level.get()),
            StreamCompression::Gzip(level) => write!(f, "gzip-{level};v{VERSION}"),
            StreamCompression::Zstd(level) => write!(f, "zstd-{level};v{VERSION}"),
        }
    }
}

impl Recipe {
    /// No compression.
    pub(super) const PLAIN: Self = Self(StreamCompression::None);

    /// Returns the way the blob of a layer that is made was compressed, if the delta says one that this version knows.
    pub(super) fn of_layer(layer: &LayerWay, delta: &LayerDelta) -> Option<Self> {
        match layer.descriptor.digest == layer.diff_id {
            true => Some(Self::PLAIN),
            false => Self::parse(delta.encoded.compression.as_deref()?),
        }
    }

    /// Reads the words of [`Display`](fmt::Display); `None` for a way that this version does not know.
    pub(super) fn parse(words: &str) -> Option<Self> {
        if words == Self::PLAIN.to_string() {
            return Some(Self::PLAIN);
        }
        let mut all = gzip()
            .chain(ZSTD_LEVELS.map(StreamCompression::Zstd))
            .map(Self);
        all.find(|recipe| recipe.to_string() == words)
    }

    /// Starts to compress so.
    pub(super) fn compressor<W: Write>(self, out: W) -> io::Result<Compressor<W>> {
        Compressor::new(out, self.0)
    }

    /// Returns the way by which the beginning of a blob may have been made of the beginning of a tar, which is all of it if `is_whole`.
    pub(super) fn find(blob: &[u8], tar: &[u8], is_whole: bool) -> io::Result<Option<Self>> {
        let ways: Vec<StreamCompression> = match blob {
            [0x1f, 0x8b, ..] => gzip().collect(),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => ZSTD_LEVELS.map(StreamCompression::Zstd).into(),
            _ => return Ok(Some(Self::PLAIN)),
        };
        for way in ways {
            if Self(way).makes(blob, tar, is_whole)? {
                return Ok(Some(Self(way)));
            }
        }
        Ok(None)
    }

    /// Tells whether the beginning of a tar, or all of it, is compressed to the beginning of a blob, or all of it. Most ways make
    /// other bytes soon, and then no more is compressed.
    fn makes(self, blob: &[u8], tar: &[u8], is_whole: bool) -> io::Result<bool> {
        let is_beginning = |made: &[u8]| {
            let count = made.len().min(blob.len());
            made[..count] == blob[..count]
        };
        let mut compressor = self.compressor(Vec::new())?;
        for piece in tar.chunks(PIECE) {
            compressor.write_all(piece)?;
            if !is_beginning(compressor.out_mut()) {
                return Ok(false);
            }
        }
        let made = match is_whole {
            true => compressor.finish()?,
            false => std::mem::take(compressor.out_mut()),
        };
        Ok(is_beginning(&made) && (!is_whole || made.len() == blob.len()))
    }
}

/// Returns the ways of gzip that are tried.
fn gzip() -> impl Iterator<Item = StreamCompression> {
    let levels = GZIP_LEVELS.into_iter();
    let go = levels
        .clone()
        .filter_map(|level| Level::try_from(level as i32).ok());
    let go = go.map(StreamCompression::GoGzip);
    go.chain(levels.map(StreamCompression::Gzip))
}

/// Bytes compressed on the way, as they are read.
pub(super) struct Recompressed<R> {
    inner: R,
    /// `None` once all was compressed.
    compressor: Option<Compressor<Vec<u8>>>,
    /// What came out, and how much of it was read.
    out: Vec<u8>,
    read: usize,
    buffer: Vec<u8>,
}

/// Bytes compressed at a time.
const BUFFER: usize = 256 << 10;

impl<R: Read> Recompressed<R> {
    pub(super) fn new(inner: R, recipe: Recipe) -> io::Result<Self> {
        Ok(Self {
            inner,
            compressor: Some(Compressor::new(Vec::new(), recipe.0)?),
            out: Vec::new(),
            read: 0,
            buffer: vec![0; BUFFER],
        })
    }
}

impl<R: Read> Read for Recompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.out.len() {
            self.out.clear();
            self.read = 0;
            let Some(compressor) = &mut self.compressor else {
                return Ok(0);
            };
            match self.inner.read(&mut self.buffer)? {
                0 => {
                    self.out = self
                        .compressor
                        .take()
                        .map_or(Ok(Vec::new()), Compressor::finish)?
                }
                count => {
                    compressor.write_all(&self.buffer[..count])?;
                    std::mem::swap(compressor.out_mut(), &mut self.out);
                }
            }
            if self.out.is_empty() && self.compressor.is_none() {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.out.len() - self.read);
        buffer[..count].copy_from_slice(&self.out[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
