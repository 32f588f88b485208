//! What can be wrong with a blob.

use std::io;

use lithify_digest::Mismatch;
use lithify_inflate::GzipError;
use lithify_tree::Escaped;

use super::ForeignFormat;
use crate::Compression;
use crate::limits::LimitExceeded;

/// A blob that cannot be read, or is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The source failed.
    #[error("cannot read the blob")]
    Read(#[source] io::Error),
    /// The blob is another one than its descriptor says.
    #[error("the blob is not what its descriptor says: {0}")]
    Mismatch(Mismatch),
    /// The tar is another one than the image's configuration says.
    #[error("the layer is not the one of its diff_id: {0}")]
    DiffId(Mismatch),
    /// A compression no image specification names.
    #[error("the layer is compressed with {name}: only gzip, zstd and plain tars are layers")]
    UnsupportedCompression {
        /// Its name.
        name: &'static str,
    },
    /// Neither compressed nor a tar.
    #[error("the layer starts with `{}`: neither gzip nor zstd nor a tar header", Escaped(.start))]
    NotATar {
        /// Its first bytes, at most 16.
        start: Vec<u8>,
    },
    /// A filesystem image, a disk or another archive.
    #[error("the layer is {format}, not a tar{}", hint(*.format))]
    Foreign {
        /// What it is.
        format: ForeignFormat,
    },
    /// Nothing at all where a compressed stream should be.
    #[error("the layer has no bytes, not even those of an empty {compression} stream")]
    Empty {
        /// By the media type.
        compression: Compression,
    },
    /// Not the gzip format.
    #[error(transparent)]
    Gzip(#[from] GzipError),
    /// Not the zstd format.
    #[error("zstd frame {frame}, near byte {offset} of the blob: {fault}")]
    Zstd {
        /// Index of the frame.
        frame: u64,
        /// Where reading stood in the blob.
        offset: u64,
        /// What is wrong.
        fault: ZstdFault,
    },
    /// More than the limits allow.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// More than all layers of the image together may have ([`crate::Options::tar_budget`]).
    #[error(transparent)]
    Budget(#[from] lithify_cancel::BudgetExceeded),
    /// The [`crate::CancelToken`] was used.
    #[error("cancelled")]
    Cancelled,
    /// The system gives no thread; [`crate::Threading::Inline`] needs none.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A thread panicked: a bug of lithify or of the source it was given.
    #[error("the {thread} thread panicked")]
    Panicked {
        /// Which thread.
        thread: &'static str,
    },
}

/// What is wrong with a zstd stream (RFC 8878).
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZstdFault {
    /// The blob ends within a frame.
    #[error("the blob ends within the frame")]
    Truncated,
    /// Bytes that start no frame.
    #[error("0x{magic:08x} starts no frame")]
    Magic {
        /// The bytes, little endian.
        magic: u32,
    },
    /// A reserved bit of the frame header is set.
    #[error("a reserved bit of the frame header is set")]
    Reserved,
    /// The frame needs a dictionary, which no layer can bring.
    #[error("the frame needs dictionary {id}")]
    Dictionary {
        /// Its number.
        id: u32,
    },
    /// The decoder refused the data, a wrong checksum included.
    #[error("the decoder says: {reason}")]
    Corrupt {
        /// In the decoder's words.
        reason: &'static str,
    },
}

/// The advice that follows the name of a format.
const fn hint(format: ForeignFormat) -> &'static str {
    match format {
        ForeignFormat::Squashfs => {
            ": only tars and EROFS images can be layers; unpack it and use rootfs:DIR"
        }
        _ => "",
    }
}

impl BlobError {
    /// Whether the blob is not what it should be: wrong digest or size, or not intact by its own checksums and structure.
    ///
    /// False for what says nothing of the blob (a failing source), for limits, and for formats lithify does not read.
    #[must_use]
    pub const fn is_verification(&self) -> bool {
        match self {
            Self::Mismatch(_) | Self::DiffId(_) | Self::Empty { .. } | Self::Gzip(_) => true,
            Self::Zstd { fault, .. } => !matches!(fault, ZstdFault::Dictionary { .. }),
            _ => false,
        }
    }

    /// Whether this says something of the blob's content, so that a wrong digest would explain it.
    pub(crate) const fn is_content(&self) -> bool {
        matches!(
            self,
            Self::UnsupportedCompression { .. }
                | Self::NotATar { .. }
                | Self::Foreign { .. }
                | Self::Empty { .. }
                | Self::Gzip(_)
                | Self::Zstd { .. }
        )
    }
}
