//! Writing an image: data as it comes, everything else at the end.
//!
//! [`Writer`] takes file data through [`ContentSink`](lithify_tree::ContentSink) and puts it into the data blocks of the
//! filesystem one file behind the other. [`Writer::finish_image`] gets the merged [`Tree`](lithify_tree::Tree), closes the space
//! of data that did not survive, and puts directories, long targets, trees of extents and attributes behind the data. Then
//! the size is known, and with it the places of bitmaps, inode tables and the journal, which come next. The superblock
//! comes last: an image cut short is none.

mod attributes; // places of extended attributes
mod blocks; // appending data blocks
mod check; // options no filesystem can have
mod contents; // where each file's data is
mod directory; // directory blocks
mod emit; // everything but data, in order
mod extents; // trees of extents
mod gaps; // closing the space of dead data
mod groups; // bitmaps, descriptors, superblocks
mod inodes; // the inodes
mod layout; // bitmaps, tables and the journal
mod options; // what is asked for
mod owned; // blocks of single inodes
mod plan; // numbers of inodes, identifiers
mod repeat; // contents that come again
mod reserved; // the journal, and blocks to grow into
mod sink; // taking file data
mod size; // how large the filesystem becomes
mod table; // the inode table
mod writer; // all of it in order

pub use attributes::unsupported_xattrs;
pub use options::{BlockSize, DataOptions, FinishReport, ImageOptions, Journal};
pub use writer::Writer;

/// The version of the bytes this writer makes: it rises with every change of them.
pub const WRITER_VERSION: u32 = 1;
