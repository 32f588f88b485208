//! Layers that are EROFS images already.
//!
//! Nothing is done with one before its bytes are those the image names and its whole structure was found sound by our
//! own reader: the kernel gets nothing to parse that was not parsed here before. Then it is either read as the entries of
//! a layer, like a tar, or used as it is.

mod blob; // bytes that are verified
mod entries; // its entries and data
mod sniff; // which blobs they are

pub(crate) use blob::NativeBlob;
pub(crate) use entries::{NativeReader, SparseRead, copy_data};
pub(crate) use sniff::{Sniffed, sniff};
