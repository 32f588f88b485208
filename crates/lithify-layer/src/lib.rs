//! Container layers: blobs decoded into verified entries.
//!
//! A layer is the most hostile thing an image has: a compressed archive of names, links and device nodes made by
//! anyone. [`LayerReader`] takes one apart in one pass, in bounded memory and without touching a filesystem. It
//! checks what the image says of the blob (digest, size, diff_id) while the bytes go by, accepts what every honest tool
//! writes, and refuses whatever two tar readers would understand differently, because then an image is not the one
//! that was scanned or signed. [`TarFault`] and [`EntryFault`] have each case.
//!
//! | | accepted | refused |
//! |---|---|---|
//! | compression | gzip of any number of members, zeros behind them; zstd of any number of frames, skippable ones too; plain | anything else behind either, dictionaries, windows over the limit, other formats |
//! | headers | v7, POSIX (any version), GNU; unsigned and signed checksums; octal and base-256 numbers | other magics, numbers behind a NUL, other lead bytes of base-256 |
//! | members | files, links, directories, devices, pipes; `/` at the end of an old file's name for a directory | a PAX size on anything but a file, multi-volume and incremental archives, vendor types |
//! | extended headers | PAX local and global, GNU long names, Solaris `X` | two of a kind, none of a kind after them, a name in two kinds that differ |
//! | sparse files | old GNU, PAX 0.0, 0.1, 1.0 | maps that overlap, leave the file, or whose segments do not end with blocks |
//! | end | two zero blocks, one, or none between two members; any number of zeros behind them | anything else behind them, an end anywhere else |
//!
//! Volume labels without data, AUFS bookkeeping (`.wh..wh.plnk`, but for the files hard links lead to), unknown PAX keys and zeros behind
//! the end mark are read over; the last count for the digests. A size in the header of what has no data means nothing. A
//! filesystem image or another archive in place of a tar is named in the error ([`ForeignFormat`]). Global PAX records apply as POSIX says, though Go's reader
//! ignores them; those that no archive can mean (a name for every entry) are refused.
//!
//! The tar itself is [`lithify_tar`]'s, whose `TarWriter` is the way back.
#![forbid(unsafe_code)]

mod blob; // digest, size, compression
mod decoded; // blob to tar
mod entries; // tar to entries
mod error; // what can go wrong
mod limits; // what a layer may ask for
mod options; // how it is read
mod reader; // blob to entries

pub use lithify_cancel::CancelToken;

pub use blob::{BlobError, Compression, Expected, ForeignFormat, ZstdFault};
/// What can be wrong with a gzip stream, as the decoder has it.
pub use lithify_inflate::GzipError;
/// What can be wrong with the tar, as the parser has it.
pub use lithify_tar::{SparseFault, TarError, TarFault};

pub use decoded::{Decoded, DecodedSummary};
pub use entries::{Step, TarEntries};
pub use error::{CopyError, EntryError, EntryFault, Error};
pub use limits::{Limit, LimitExceeded, Limits};
pub use options::{Names, Options, Threading};
pub use reader::{LayerReader, Raw, Summary};
