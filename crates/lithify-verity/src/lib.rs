//! dm-verity: hash trees over images.
#![forbid(unsafe_code)]
