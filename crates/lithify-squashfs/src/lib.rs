//! squashfs images: a parallel streaming writer, and a reader that trusts nothing.
#![forbid(unsafe_code)]
