//! What can be wrong with a layer that is an EROFS image.

use std::io;

use lithify_digest::Mismatch;
use lithify_erofs::ReadError;

use super::ErrorKind;

/// Why a layer that is an EROFS image cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NativeLayerError {
    /// Its blob cannot be read.
    #[error("cannot read the blob")]
    Read(#[source] io::Error),
    /// Its blob is another one than its descriptor says.
    #[error("the blob is not what its descriptor says: {0}")]
    Mismatch(Mismatch),
    /// The filesystem image in its blob is another one.
    #[error("the image in the blob is not the one of the diff_id: {0}")]
    DiffId(Mismatch),
    /// It cannot be decompressed.
    #[error("cannot decompress the blob")]
    Decompress(#[source] io::Error),
    /// It asks for more than the limits allow.
    #[error("it has more than {limit} {what} (limit `{option}`)")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
        /// Name of the limit.
        option: &'static str,
    },
    /// All layers of the image together ask for more than the limits allow.
    #[error(transparent)]
    Budget(#[from] lithify_cancel::BudgetExceeded),
    /// There is no room for the image while it is read.
    #[error("cannot keep the image in a scratch file")]
    Scratch(#[source] io::Error),
    /// It is damaged, or made to look so that it can do harm.
    #[error("the EROFS image is damaged: {first}{}", super::words::and_more(*.more))]
    Damaged {
        /// The first problem found.
        first: String,
        /// Further problems.
        more: u64,
    },
    /// It is no EROFS image, or one that cannot be read.
    #[error(transparent)]
    Erofs(#[from] ReadError),
    /// Its data is elsewhere.
    #[error(
        "the EROFS image has data on {count} further devices: only images in one piece can be layers"
    )]
    Devices {
        /// Number of devices.
        count: usize,
    },
    /// It has more names than can be kept.
    #[error(transparent)]
    Full(#[from] lithify_tree::LayerFull),
}

impl NativeLayerError {
    /// Whether bytes were not what a digest, size or format promised.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Mismatch(_) | Self::DiffId(_) | Self::Decompress(_) | Self::Damaged { .. } => {
                true
            }
            Self::Erofs(e) => ErrorKind::of_erofs(e) == ErrorKind::Verification,
            _ => false,
        }
    }
}
