//! Tars compressed into layers.

use std::io::{self, Write};

use lithify_digest::{Algorithm, Digest, HashingWriter};
use lithify_oci::manifest::media_type;

use crate::output::{Compressor, StreamCompression};

/// The compression of a layer's blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerCompression {
    /// gzip, read by everyone.
    #[default]
    Gzip,
    /// Zstandard: smaller and faster, not read by old programs.
    Zstd,
    /// None.
    None,
}

impl LayerCompression {
    /// The media type of a layer compressed so.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => media_type::OCI_LAYER_GZIP,
            Self::Zstd => media_type::OCI_LAYER_ZSTD,
            Self::None => media_type::OCI_LAYER,
        }
    }
}

/// Compresses a tar, and takes the digest of what comes in.
pub(crate) struct Encoder<W: Write>(HashingWriter<Compressor<W>>);

impl<W: Write> Encoder<W> {
    pub(crate) fn new(out: W, compression: LayerCompression) -> io::Result<Self> {
        let compression = match compression {
            LayerCompression::None => StreamCompression::None,
            LayerCompression::Gzip => StreamCompression::GZIP,
            LayerCompression::Zstd => StreamCompression::ZSTD,
        };
        let compressor = Compressor::new(out, compression)?;
        Ok(Self(HashingWriter::new(compressor, Algorithm::Sha256)))
    }

    /// Returns the digest of what went in, and where it came out.
    pub(crate) fn finish(self) -> io::Result<(Digest, W)> {
        let (compressor, digest, _) = self.0.finish();
        let out = compressor.finish()?;
        Ok((digest, out))
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
