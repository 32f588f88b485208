//! Writing an image: data as it comes, everything else at the end.
//!
//! [`Writer`] takes file data through [`ContentSink`](lithify_tree::ContentSink) and puts it in its final place at once; only the ends of files
//! wait, since they may find room behind inodes that do not exist yet. [`Writer::finish_image`] gets the merged
//! [`Tree`] and closes the space of data that did not survive the merge, plans attributes and inodes, and writes
//! them in one sequential pass. The superblock comes last: an image cut short is no image.

mod appender; // large sequential writes
mod compress; // data of files made smaller
pub(crate) mod contents; // where each file's data is
mod directories; // directory blocks
mod emit; // the sequential metadata pass
pub(crate) mod external; // data on further devices
mod gaps; // closing the space of dead data
mod layout; // which inode goes where
pub(crate) mod over_devices; // images without data of their own
mod packer; // filling metadata blocks
mod repeat; // contents that come again
mod sink; // taking file data
mod sparse; // chunk sizes and maps
pub(crate) mod tails; // ends of files
mod xattrs; // inline or shared

use std::fmt;
use std::io;

use lithify_cancel::{Budget, Share};
use lithify_fskit::Repeats;
use lithify_tree::{Timestamp, Tree};

use crate::error::Operation;
use crate::format::BLOCK_SIZE;
use crate::format::superblock::VOLUME_NAME_LEN;
use crate::{Storage, WriteError};
use appender::{Appender, appender, next_block};
use compress::Compressor;
pub use compress::{Compression, CompressionMethod};
use contents::Contents;

use sink::{Open, Placement};
use tails::{TailStore, Tails as _};
pub use xattrs::unsupported_xattrs;

/// First block of file data; block 0 holds the superblock.
const DATA_START: u32 = 1;

/// Makes the temporary file for file tails, once, when memory does not hold them.
pub type SpillFactory = Box<dyn FnOnce() -> io::Result<Box<dyn Storage + Send>> + Send>;

/// How file data is taken.
#[non_exhaustive]
pub struct DataOptions {
    /// Bytes of file tails kept in memory before they go to the temporary file. Default 16 MiB.
    pub tail_memory: usize,
    /// Makes that file. Default none: all tails stay in memory, at worst 4 KiB per file.
    pub spill: Option<SpillFactory>,
    /// Whether all data of regular files starts and ends in blocks of its own, as DAX and images that refer to this
    /// one's blocks need it. Default no: ends of files share blocks with inodes.
    pub block_aligned: bool,
    /// With [`block_aligned`](Self::block_aligned), the longest file, in bytes, that stands behind its inode all the same:
    /// whole, since it is shorter than a block. An image that refers to this one's blocks has to have a copy of its data,
    /// as those of [`write_fsmeta`](crate::write_fsmeta) do. Default 0: none.
    pub small_file_max: u32,
    /// Whether and how data of regular files is compressed, where that takes less space. Default not. Files with holes
    /// of more than eight times their data stay as they are.
    pub compression: Option<Compression>,
    /// Bytes that this image and others may take together, data that comes to nothing included. What a file takes is counted
    /// before it is written: data, zeros around it, and the map of its holes. Default: any number.
    pub budget: Budget,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            tail_memory: 16 << 20,
            spill: None,
            block_aligned: false,
            small_file_max: 0,
            compression: None,
            budget: Budget::unlimited(),
        }
    }
}

impl fmt::Debug for DataOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataOptions")
            .field("tail_memory", &self.tail_memory)
            .field("spill", &self.spill.is_some())
            .field("block_aligned", &self.block_aligned)
            .field("small_file_max", &self.small_file_max)
            .field("compression", &self.compression)
            .finish()
    }
}

/// What the image says about itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImageOptions {
    /// The time all compact inodes have. Default: the most frequent one of the tree, the earliest of several.
    pub build_time: Option<Timestamp>,
    /// Volume name, at most 15 bytes. Default empty.
    pub volume_name: Vec<u8>,
    /// What identifies the file data, such as the layers' digests. The UUID is derived from it and the metadata.
    pub uuid_seed: Vec<u8>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishReport {
    /// Length of the image in bytes.
    pub size: u64,
    /// Length of the image in blocks of 4096 bytes.
    pub blocks: u32,
    /// Bytes of blocks with file data.
    pub data_bytes: u64,
    /// Everything else, in bytes: superblock, inodes with what stands behind them, directories, shared attributes.
    pub metadata_bytes: u64,
    /// Bytes in metadata blocks that nothing uses.
    pub padding_bytes: u64,
    /// Bytes copied inside the image to close the space of dead data.
    pub moved_bytes: u64,
    /// Inodes of 32 bytes.
    pub compact_inodes: u32,
    /// Inodes of 64 bytes.
    pub extended_inodes: u32,
    /// Files whose end stands behind their inode.
    pub inline_tails: u32,
    /// Files stored with holes.
    pub sparse_files: u32,
    /// Files whose data is on further devices.
    pub external_files: u32,
    /// Files stored compressed.
    pub compressed_files: u32,
    /// Sizes of these files together, in bytes.
    pub compressed_bytes: u64,
    /// Attributes stored once for several inodes, or away from the inode for their length.
    pub shared_xattrs: u32,
    /// Nid of the root directory.
    pub root_nid: u16,
    /// The time all compact inodes have.
    pub build_time: Timestamp,
    /// The UUID.
    pub uuid: [u8; 16],
}

/// Writes one EROFS image.
///
/// ```
/// use lithify_erofs::{DataOptions, Image, ImageOptions, Writer};
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
#[derive(Debug)]
pub struct Writer<S> {
    storage: S,
    data: Appender,
    contents: Contents,
    tails: TailStore,
    placement: Placement,
    compression: Option<Compression>,
    /// Made for the first file that may become smaller.
    compressor: Option<Compressor>,
    open: Option<Open>,
    budget: Share,
    /// Bytes of the maps of sparse files so far.
    map_bytes: u64,
    /// Contents that stand for others' data, which has not been copied to their places.
    repeated: Repeats,
}

impl<S: Storage> Writer<S> {
    /// Starts an image on a storage, whose first block is left for the superblock. What the storage held before is
    /// overwritten.
    #[must_use]
    pub fn new(storage: S, options: DataOptions) -> Self {
        Self {
            storage,
            data: appender(
                u64::from(DATA_START) * BLOCK_SIZE as u64,
                Operation::WriteData,
            ),
            contents: Contents::new(options.compression.map(|c| c.settings())),
            placement: Placement::new(&options),
            tails: TailStore::new(options.tail_memory, options.spill),
            compression: options.compression,
            compressor: None,
            open: None,
            budget: Share::of(options.budget),
            map_bytes: 0,
            repeated: Repeats::default(),
        }
    }

    /// Bytes of file data in blocks so far, dead ones included.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.offset() - u64::from(DATA_START) * BLOCK_SIZE as u64
    }

    /// Writes everything but the data: what `tree` says is the image. Gives the storage back, cut to the image's
    /// length and not yet synced.
    ///
    /// # Errors
    /// [`WriteError`] when the storage fails or the tree holds what EROFS cannot.
    pub fn finish_image(
        mut self,
        tree: &Tree,
        options: &ImageOptions,
    ) -> Result<(S, FinishReport), WriteError> {
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "finish_image",
                state: "while a file was open",
            });
        }
        if options.volume_name.len() >= VOLUME_NAME_LEN || options.volume_name.contains(&0) {
            return Err(WriteError::VolumeName {
                name: options.volume_name.clone(),
            });
        }
        let build_time = options
            .build_time
            .unwrap_or_else(|| layout::frequent_time(tree));
        self.finish_compression()?;
        let live = layout::check(tree, &self.contents)?;
        go_on(&self.storage)?;
        let xattrs = xattrs::XattrPlan::new(tree)?;
        go_on(&self.storage)?;
        self.copy_repeated(|i| live.contains(i))?;

        self.tails.seal()?;
        self.append_misfit_tails(tree, &xattrs, build_time)?;
        self.data.flush(&mut self.storage)?;
        let (end, moved) = gaps::close_gaps(
            &mut self.storage,
            &mut self.contents,
            |i| live.contains(i),
            DATA_START,
        )?;

        let planner = layout::Planner {
            tree,
            contents: &self.contents,
            xattrs: &xattrs,
            build_time,
        };
        go_on(&self.storage)?;
        let layout = layout::Layout::new(&planner)?;
        let blocks =
            u64::from(end) + u64::from(layout.inode_blocks) + u64::from(layout.late_blocks);
        self.budget.grow_to(blocks * BLOCK_SIZE as u64)?;
        let mut report = emit::emit(
            &mut self.storage,
            &planner,
            &layout,
            &mut self.tails,
            end,
            emit::DeviceTable::default(),
            options,
        )?;
        report.moved_bytes = moved;
        Ok((self.storage, report))
    }

    /// Gives files whose tail has no room behind their inode, because many attributes stand there, a last block: the
    /// file's other blocks move to the end of the data to stay in one piece with it. Such files are rare.
    fn append_misfit_tails(
        &mut self,
        tree: &Tree,
        xattrs: &xattrs::XattrPlan,
        build_time: Timestamp,
    ) -> Result<(), WriteError> {
        let misfits = layout::Planner {
            tree,
            contents: &self.contents,
            xattrs,
            build_time,
        }
        .misfit_tails();
        for id in misfits {
            let Some(content) = self.contents.get(id) else {
                continue;
            };
            let contents::Form::Tail { at, length } = content.form else {
                continue;
            };
            let (size, from, blocks) = (content.size, content.start, content.blocks);
            self.data.flush(&mut self.storage)?;
            let start = next_block(&self.data)?;
            let mut buffer = vec![0; BLOCK_SIZE << 6];
            let mut left = u64::from(blocks) * BLOCK_SIZE as u64;
            let mut offset = u64::from(from) * BLOCK_SIZE as u64;
            while left > 0 {
                let n = left.min(buffer.len() as u64) as usize;
                self.storage
                    .read_exact_at(&mut buffer[..n], offset)
                    .map_err(Operation::MoveData.failed())?;
                self.data.append(&mut self.storage, &buffer[..n])?;
                offset += n as u64;
                left -= n as u64;
            }
            let tail = self.tails.read(at, usize::from(length))?;
            self.data.append(&mut self.storage, tail)?;
            self.data.pad(&mut self.storage)?;
            next_block(&self.data)?;
            self.contents.set_blocks(id, start, size)?;
        }
        Ok(())
    }
}

/// An error if nobody wants the image any more.
fn go_on(storage: &impl Storage) -> Result<(), WriteError> {
    storage.go_on().map_err(Operation::WriteMetadata.failed())
}
