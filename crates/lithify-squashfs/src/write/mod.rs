//! Writing an image: data as it comes, everything else at the end.
//!
//! [`Writer`] takes file data through [`ContentSink`](lithify_tree::ContentSink), compresses it block by block on
//! several threads and writes the blocks in the order they came; ends of files are collected in fragment blocks.
//! A content that equals an earlier one byte for byte is not kept twice. [`Writer::finish_image`] gets the merged
//! [`Tree`], leaves out what did not survive the merge, and writes inodes, directories and tables in one pass. The
//! superblock comes last: an image cut short is no image.
//!
//! What is in the image depends on the tree, the data, the order in which the data came and the options, and on
//! nothing else: threads only do what the caller has numbered.

mod check; // what squashfs cannot hold
mod contents; // where each file's data is
mod data; // blocks on their way
mod directories; // listings
mod emit; // the sequential metadata pass
mod gaps; // closing the space of dead data
mod ids; // owners and groups
mod index; // finding equal contents
mod metadata; // blocks of tables
mod pool; // blocks as work of threads
mod repack; // leaving out dead data
mod sink; // taking file data
mod xattrs; // attribute tables

use std::fmt;
use std::num::NonZeroUsize;

use lithify_cancel::{Budget, Share};
use lithify_tree::{Timestamp, Tree};

use crate::error::Operation;
use crate::format::superblock::{self, Superblock, flags};
use crate::format::{BLOCK_BITS, FRAGMENT_LEN, NO_TABLE, options};
use crate::{Compression, Storage, WriteError};
pub use xattrs::unsupported_xattrs;

use contents::Contents;
use data::Data;
use index::Index;
use pool::{Buffers, Pool};
use sink::Open;

/// Appends to the image in large writes. Blocks have any length, so writes start anywhere.
type Appender = lithify_fskit::Appender<Operation>;

/// How file data is taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataOptions {
    /// How blocks are compressed, metadata too. Default zstd at level 3.
    pub compression: Compression,
    /// Size of a data block in bytes, a power of two from 4096 to 1048576. Default 131072.
    pub block_size: u32,
    /// Threads that compress. Default 1: none but the caller's. Each has up to eight blocks in flight; the image is
    /// the same whatever their number.
    pub threads: NonZeroUsize,
    /// Bytes that this image and others may take together, data that comes to nothing included. Lists of blocks, four bytes for
    /// each, holes too, are counted before they are written, data as it is. Default: any number.
    pub budget: Budget,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            block_size: 128 << 10,
            threads: NonZeroUsize::MIN,
            budget: Budget::unlimited(),
        }
    }
}

/// What to do about extended attributes squashfs cannot hold: POSIX ACLs (`system.posix_acl_access`,
/// `system.posix_acl_default`) and whatever does not begin with `user.`, `trusted.` or `security.`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsupportedXattrs {
    /// Fail with [`WriteError::XattrName`].
    #[default]
    Refuse,
    /// Leave them out and count them in [`FinishReport::dropped_xattrs`].
    Drop,
}

/// What the image says about itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImageOptions {
    /// The time the image was made, in whole seconds; outside 1970 to 2106 the nearest of these. Default: the latest
    /// time in the tree.
    pub build_time: Option<Timestamp>,
    /// What to do about attributes squashfs cannot hold.
    pub unsupported_xattrs: UnsupportedXattrs,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishReport {
    /// Length of the image in bytes, padding included.
    pub size: u64,
    /// Bytes of compressed file data.
    pub data_bytes: u64,
    /// Bytes of inodes, directories and tables.
    pub metadata_bytes: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of fragment blocks.
    pub fragments: u32,
    /// Contents that were there already when they came.
    pub duplicates: u64,
    /// Files with blocks of zeros that are not stored.
    pub sparse_files: u64,
    /// Ends of files packed a second time because ends of dead files lay beside them.
    pub repacked_tails: u64,
    /// Bytes moved inside the image to close the space of dead data.
    pub moved_bytes: u64,
    /// Bytes of zeros that remained of that space, less than a thousandth of the data.
    pub padding_bytes: u64,
    /// Modification times before 1970 or after 2106-02-07, which became the nearest of these: squashfs has 32-bit
    /// unsigned seconds.
    pub clamped_times: u64,
    /// Other modification times that lost their nanoseconds, which squashfs does not have.
    pub truncated_times: u64,
    /// Extended attributes left out, see [`UnsupportedXattrs::Drop`].
    pub dropped_xattrs: u64,
    /// The time the image says it was made, in seconds since 1970.
    pub build_time: u32,
}

/// Writes one squashfs image.
///
/// ```
/// use lithify_squashfs::{DataOptions, Image, ImageOptions, Writer};
/// use lithify_tree::{ContentSink, Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};
///
/// let mut writer = Writer::new(Vec::new(), DataOptions::default());
/// writer.begin(5, None)?;
/// writer.write(b"hello")?;
/// let content = writer.finish()?;
///
/// let mut layer = LayerEntries::new();
/// let kind = EntryKind::File { size: 5, segments: None };
/// let path = TreePath::clean(b"etc/motd")?;
/// layer.push(&Entry { path, metadata: Metadata::default(), kind }, Some(content))?;
/// let mut merge = Merge::new();
/// merge.apply(layer)?;
///
/// let (bytes, report) = writer.finish_image(&merge.finish(), &ImageOptions::default())?;
/// assert_eq!(bytes.len() as u64, report.size);
///
/// let image = Image::open(bytes)?;
/// let motd = image.lookup(b"etc/motd")?.expect("it was written");
/// assert_eq!(image.read_to_vec(&motd, 100)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer<S> {
    storage: S,
    compression: Compression,
    block_size: u32,
    data: Data,
    contents: Contents,
    index: Index,
    /// The fragment block being filled.
    tails: Buffers,
    open: Option<Open>,
    /// Options that make no sense, told with the first call that can.
    invalid: Option<WriteError>,
    duplicates: u64,
    false_prints: u32,
    repacked: u64,
    budget: Share,
}

impl<S: fmt::Debug> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("storage", &self.storage)
            .field("compression", &self.compression)
            .field("block_size", &self.block_size)
            .field("contents", &self.contents.len())
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Writer<S> {
    /// Starts an image on a storage. What the storage held before is overwritten. Options that do not exist are told
    /// by the first call that can fail.
    #[must_use]
    pub fn new(storage: S, options: DataOptions) -> Self {
        let DataOptions {
            compression,
            block_size,
            threads,
            budget,
        } = options;
        let is_block_size =
            block_size.is_power_of_two() && BLOCK_BITS.contains(&block_size.trailing_zeros());
        let invalid = if !is_block_size {
            Some(WriteError::BlockSize { found: block_size })
        } else if !compression.is_valid() {
            Some(WriteError::Level { compression })
        } else {
            None
        };
        let pool = Pool::new(compression, block_size, threads);
        Self {
            storage,
            compression,
            block_size,
            data: Data::new(pool, compression, block_size, data_start(compression)),
            contents: Contents::default(),
            index: Index::default(),
            tails: Buffers::default(),
            open: None,
            invalid,
            duplicates: 0,
            false_prints: 0,
            repacked: 0,
            budget: Share::of(budget),
        }
    }

    /// Bytes of compressed file data written so far, dead ones included, those being compressed not.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.appender.offset() - data_start(self.compression)
    }

    /// Notes that so many contents came again which are there already.
    pub fn count_repeated(&mut self, contents: u64) {
        self.duplicates += contents;
    }

    /// Writes everything but the data: what `tree` says is the image. Gives the storage back, cut to the image's
    /// length and not yet synced.
    ///
    /// # Errors
    /// [`WriteError`] when the storage fails, the options make no sense, or the tree holds what squashfs cannot.
    pub fn finish_image(
        mut self,
        tree: &Tree,
        options: &ImageOptions,
    ) -> Result<(S, FinishReport), WriteError> {
        if let Some(error) = self.invalid.take() {
            return Err(error);
        }
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "finish_image",
                state: "while a file was open",
            });
        }
        let live = check::check(tree, &self.contents)?;
        self.storage
            .go_on()
            .map_err(Operation::WriteMetadata.failed())?;
        let compression = self.compression;
        let xattrs = xattrs::XattrTable::new(tree, compression, options.unsupported_xattrs)?;

        self.repack_fragments(&live)?;
        self.data.drain(&mut self.storage, &mut self.contents)?;
        self.data.appender.flush(&mut self.storage)?;
        let first = data_start(compression);
        let closed = self.close_gaps(&live, first)?;
        let inode_table = closed.end;

        let mut appender = Appender::new(inode_table, 1, Operation::WriteMetadata);
        let emitted = emit::emit(
            &mut self.storage,
            &mut appender,
            tree,
            &self.contents,
            &xattrs,
            compression,
            self.block_size,
        )?;
        let storage = &mut self.storage;
        let directory_table = appender.offset();
        appender.append(storage, &emitted.directories)?;

        let mut table = |appender: &mut Appender, bytes: &[u8]| {
            emit::write_table(storage, appender, bytes, compression, |_| Vec::new())
        };
        let mut fragments = Vec::with_capacity(self.data.fragments.len() * FRAGMENT_LEN);
        for fragment in &self.data.fragments {
            fragments.extend(fragment.start.to_le_bytes());
            fragments.extend(fragment.length.to_le_bytes());
            fragments.extend(0_u32.to_le_bytes());
        }
        let fragment_table = table(&mut appender, &fragments)?;
        let mut references = Vec::with_capacity(emitted.references.len() * 8);
        for reference in &emitted.references {
            references.extend(reference.to_le_bytes());
        }
        let export_table = table(&mut appender, &references)?;
        let id_table = table(&mut appender, &emitted.ids.bytes)?;
        let xattr_table = if xattrs.ids.is_empty() {
            NO_TABLE
        } else {
            let pairs = appender.offset();
            appender.append(&mut self.storage, &xattrs.pairs)?;
            let count = (xattrs.ids.len() / crate::format::xattr::ID_LEN) as u32;
            emit::write_table(
                &mut self.storage,
                &mut appender,
                &xattrs.ids,
                compression,
                |_| {
                    let mut header = pairs.to_le_bytes().to_vec();
                    header.extend(count.to_le_bytes());
                    header.extend(0_u32.to_le_bytes());
                    header
                },
            )?
        };
        let bytes_used = appender.offset();
        self.budget.grow_to(bytes_used)?;
        let size = emit::pad(&mut self.storage, &mut appender)?;

        let build_time = options
            .build_time
            .map_or_else(|| emit::build_time(tree), |t| emit::clamp_time(t).0);
        let superblock = Superblock {
            inodes: tree.inode_count() as u32,
            build_time,
            block_size: self.block_size,
            fragments: self.data.fragments.len() as u32,
            compressor: compression.compressor(),
            flags: image_flags(compression),
            // At most IDS_MAX.
            ids: emitted.ids.len() as u16,
            root: emitted.references[tree.inode_id(lithify_tree::NodeId::ROOT).index()],
            size: bytes_used,
            id_table,
            xattr_table,
            inode_table,
            directory_table,
            fragment_table,
            export_table,
        };
        let mut head = superblock.encode().to_vec();
        head.extend(options::encode(compression));
        self.storage
            .write_all_at(&head, 0)
            .map_err(Operation::WriteSuperblock.failed())?;
        let counts = emitted.counts;
        let report = FinishReport {
            size,
            data_bytes: inode_table - first - closed.padding,
            metadata_bytes: bytes_used - inode_table,
            inodes: superblock.inodes,
            fragments: superblock.fragments,
            duplicates: self.duplicates,
            sparse_files: counts.sparse_files,
            repacked_tails: self.repacked,
            moved_bytes: closed.moved,
            padding_bytes: closed.padding,
            clamped_times: counts.clamped_times,
            truncated_times: counts.truncated_times,
            dropped_xattrs: xattrs.dropped,
            build_time,
        };
        Ok((self.storage, report))
    }
}

/// Where file data starts: behind the superblock and what the compressor says about itself.
fn data_start(compression: Compression) -> u64 {
    (superblock::LEN + options::encode(compression).len()) as u64
}

fn image_flags(compression: Compression) -> u16 {
    let mut bits = flags::DUPLICATES | flags::EXPORTABLE;
    if compression == Compression::None {
        bits |= flags::INODES_STORED
            | flags::DATA_STORED
            | flags::FRAGMENTS_STORED
            | flags::XATTRS_STORED
            | flags::IDS_STORED;
    }
    if !options::encode(compression).is_empty() {
        bits |= flags::COMPRESSOR_OPTIONS;
    }
    bits
}
