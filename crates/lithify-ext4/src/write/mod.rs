//! Writing an image: data as it comes, everything else at the end.
//!
//! [`Writer`] takes file data through [`ContentSink`](lithify_tree::ContentSink) and puts it into the data blocks of the
//! filesystem one file behind the other. [`Writer::finish_image`] gets the merged [`Tree`], closes the space of data that
//! did not survive, puts directories, long targets, trees of extents and attributes behind the data, then the journal, and
//! writes inodes, bitmaps and descriptors where the groups have them. The superblock comes last: an image cut short is none.

mod blocks; // appending data blocks
mod contents; // where each file's data is
mod directory; // directory blocks
mod emit; // inodes, and everything that has blocks of its own
mod extents; // trees of extents
mod gaps; // closing the space of dead data
mod groups; // bitmaps, descriptors, superblocks
mod options; // what is asked for
mod plan; // numbers of inodes, attributes, identifiers
mod repeat; // contents that come again
mod sink; // taking file data
mod size; // how large the filesystem becomes
mod table; // the inode table
mod writer; // all of it in order

pub use options::{BlockSize, DataOptions, FinishReport, ImageOptions, Journal};
pub use plan::unsupported_xattrs;
pub use writer::Writer;

/// The version of the bytes this writer makes: it rises with every change of them.
pub const WRITER_VERSION: u32 = 1;
