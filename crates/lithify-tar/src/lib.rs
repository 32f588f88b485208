//! Tar as container images have it: one strict parser, one deterministic writer.
//!
//! Layers are tars, and so are the archives images are saved in. Where two readers of tar differ, such a file has two
//! meanings, and what was scanned or signed is not what runs (CVE-2025-62518 "TARmageddon", GHSA-3pv8-6f4r-ffg2). So there is one
//! [`Parser`] for both, and what it refuses in one it refuses in the other: everything honest tools write is accepted,
//! and each [`TarFault`] says what readers would make of the rest.
//!
//! # Layout
//!
//! A tar is a sequence of blocks of 512 bytes. A member is a header block, then its data, filled up to a block. Two zero blocks end it.
//!
//! ```text
//! offset length field          written as
//!      0    100 name           up to its first NUL
//!    100      8 mode           octal, or base 256: 0x80 or 0xff, then a two's complement number, high byte first
//!    108      8 uid            as mode
//!    116      8 gid            as mode
//!    124     12 size           as mode; bytes of data
//!    136     12 mtime          as mode; seconds since 1970
//!    148      8 checksum       octal: the sum of the block's bytes, these eight taken as spaces
//!    156      1 typeflag
//!    157    100 linkname       up to its first NUL
//!    257      8 magic, version 8 NULs: v7, nothing below means anything; "ustar\0" and any two bytes: POSIX; "ustar  \0": GNU
//!    265     32 uname          not read
//!    297     32 gname          not read
//!    329      8 devmajor       as mode
//!    337      8 devminor       as mode
//!    345    155 prefix         POSIX: up to its first NUL, goes before the name with a slash
//!    345    131 prefix         star, whose headers are POSIX' with "tar\0" at 508: atime and ctime follow
//!    386     96 sparse         GNU: 4 × (offset 12, length 12)
//!    482      1 isextended     GNU: not 0 if blocks with 21 entries more follow
//!    483     12 realsize       GNU: size of the sparse file with its holes
//! ```
//!
//! | typeflag | meaning | in the formats |
//! |---|---|---|
//! | `0`, NUL; `7` | file; contiguous file, read as a file | all; POSIX, GNU |
//! | `1` `2` `5` | hard link, symbolic link, directory | all |
//! | `3` `4` `6` | character device, block device, pipe | POSIX, GNU |
//! | `x`, `X` (Solaris) | PAX records about the next member | POSIX, GNU |
//! | `g` | PAX records about all members that follow | POSIX, GNU |
//! | `L` `K` | GNU long name, long link target of the next member | POSIX, GNU |
//! | `S` | GNU sparse file | GNU |
//! | `V` | volume label, without data, read over | all |
//! | others | refused by name: each is a file to one reader and something else, or nothing, to another | |
//!
//! A PAX record is `LENGTH KEY=VALUE\n`; the length is decimal and counts the whole record, itself included.
//!
//! # Repeated keys
//!
//! Of several PAX records with one key in one header **the last counts**: so read GNU tar 1.34, bsdtar 3.6.2, Python 3.11 and umoci
//! 0.4.7 (Go), so no two of them see different members, and refusing it would guard nothing. An empty value takes back what a
//! global header said and leaves the header's own field (POSIX). Two PAX headers, or two long names, before one member are
//! refused: there readers differ.
//!
//! # Reading
//!
//! The parser has no I/O. It is handed whatever input there is, keeps nothing but extended headers, and says what comes next.
//! A layer is [streamed](Parser::next) through it, data and all. An index over an archive that can be read at any position asks what the
//! parser [demands](Parser::demand), reads headers only, and [skips](Parser::skip) the rest:
//!
//! ```
//! use lithify_tar::{Demand, Detail, Event, Limits, Parser, TarWriter};
//! use lithify_tree::{Entry, EntryKind, Metadata, TreePath};
//!
//! let mut tar = TarWriter::new(Vec::new());
//! let path = TreePath::clean(b"hello")?;
//! tar.append(&Entry { path, metadata: Metadata::default(), kind: EntryKind::File { size: 5, segments: None } })?;
//! tar.data(b"world")?;
//! let tar = tar.finish()?;
//!
//! let mut parser = Parser::new(Limits::default(), Detail::Placement);
//! let mut at = 0;
//! let mut found = Vec::new();
//! loop {
//!     match parser.demand() {
//!         Demand::Nothing => break,
//!         Demand::Skippable(count) => {
//!             parser.skip(count);
//!             at += count as usize;
//!         }
//!         Demand::Bytes(count) => {
//!             let mut input = &tar[at..at + count as usize];
//!             let event = parser.next(&mut input)?;
//!             at += count as usize - input.len();
//!             if event == Event::Member {
//!                 let data = parser.offset() as usize..(parser.offset() + parser.data_left()) as usize;
//!                 found.push((parser.member().path.clone(), data));
//!             }
//!         }
//!     }
//! }
//! parser.finish()?;
//! assert_eq!(found, [(b"hello".to_vec(), 512..517)]);
//! assert_eq!(&tar[512..517], b"world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Writing
//!
//! [`TarWriter`] turns entries into a tar: the same entries always become the same bytes. [`file_header`] is a header of one block for
//! archives whose members are written before their sizes are known.
#![forbid(unsafe_code)]

mod detail; // how much is read
mod error; // faults, with their places
mod header; // the 512-byte block, read and written
mod limits; // bounds on what a tar may ask for
mod member; // what headers say about one member
mod number; // octal, base-256, decimal
mod parser; // blocks to members
mod pax; // extended headers
mod sparse; // maps of sparse files
mod split; // data of members, and everything else
mod typeflag; // kinds of headers
mod write; // entries to tar
mod xattr; // extended attributes in PAX records

pub use detail::Detail;
pub use error::{Located, SparseFault, TarError, TarFault};
pub use header::{BLOCK, Block, END_MARK, has_magic, is_zero, looks_like_header, padded};
pub use limits::{Bound, Limit, LimitExceeded, Limits};
pub use member::Member;
pub use parser::{Demand, Event, Parser};
pub use split::{Part, Splitter};
pub use typeflag::MemberKind;
pub use write::{Holes, TarWriter, WriteError, file_header};
