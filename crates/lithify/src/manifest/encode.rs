//! Tars compressed into layers.

use std::io::{self, Write};

use flate2::GzBuilder;
use lithify_digest::{Algorithm, Digest, HashingWriter};
use lithify_oci::manifest::media_type;

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
pub(crate) struct Encoder<W: Write>(HashingWriter<Form<W>>);

enum Form<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(out: W, compression: LayerCompression) -> io::Result<Self> {
        let form = match compression {
            LayerCompression::None => Form::Plain(out),
            // No time and no name in the header: the same tar, the same blob.
            LayerCompression::Gzip => {
                Form::Gzip(GzBuilder::new().write(out, flate2::Compression::new(6)))
            }
            LayerCompression::Zstd => Form::Zstd(zstd::Encoder::new(out, 3)?),
        };
        Ok(Self(HashingWriter::new(form, Algorithm::Sha256)))
    }

    /// Returns the digest of what went in, and where it came out.
    pub(crate) fn finish(self) -> io::Result<(Digest, W)> {
        let (form, digest, _) = self.0.finish();
        let out = match form {
            Form::Plain(out) => out,
            Form::Gzip(encoder) => encoder.finish()?,
            Form::Zstd(encoder) => encoder.finish()?,
        };
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

impl<W: Write> Write for Form<W> {
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
