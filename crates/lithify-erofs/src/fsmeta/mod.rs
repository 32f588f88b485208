//! One tree over the images of many layers.
//!
//! The merged image has every name, inode, attribute, directory and link of the result, and little data of files: these
//! are indexes of chunks in the layers' images, which are its further devices. So a stack of layers mounts as one
//! EROFS filesystem, and every layer's image is there once however many stacks it is part of.
//!
//! A chunk starts with a block. Files shorter than one that stand behind their inodes in a layer, many to a block, are
//! therefore copied, behind their inodes here.

mod error; // why layers do not merge
mod read; // what layers say, and where their data is
mod small; // short files, copied

use lithify_cancel::Budget;
use lithify_digest::Digest;
use lithify_tree::{EntryBudgets, Merge, Timestamp};

use crate::format::device::{DeviceSlot, TAG_LEN};
use crate::format::{BLOCK_BITS, BLOCK_SIZE, NULL_BLOCK};
use crate::write::contents::Contents;
use crate::write::over_devices;
use crate::{FinishReport, Image, ImageOptions, ReadAt, Storage, WriteError};

pub use error::FsmetaError;
use small::SmallFiles;

/// Most layers: their numbers, from 1 on, have 16 bits.
const LAYERS_MAX: usize = u16::MAX as usize;

/// Largest alignment, in bytes.
const ALIGNMENT_MAX: u64 = 1 << 31;

/// A layer to be merged: its image, made to be a layer of an overlay, with data in blocks of its own
/// ([`DataOptions::block_aligned`](crate::DataOptions::block_aligned)), except that files shorter than a block may stand
/// behind their inodes: these are copied.
#[derive(Debug)]
pub struct LayerImage<'a, R> {
    /// The image.
    pub image: &'a Image<R>,
    /// Whether the layer has an entry for the root directory. If not, what its image says of the root's owner, mode,
    /// time and attributes does not count, except that the root may be opaque.
    pub describes_root: bool,
    /// What the device table says the image is; see [`device_tag`]. Not all zeros.
    pub tag: [u8; TAG_LEN],
}

/// The tag of a device by the digest of its bytes: in hexadecimal, cut to 64 digits.
///
/// ```
/// let digest: lithify_digest::Digest = format!("sha256:{:064x}", 7).parse()?;
/// assert_eq!(lithify_erofs::device_tag(&digest)[62..], *b"07");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn device_tag(digest: &Digest) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    for (to, from) in tag.iter_mut().zip(digest.hex().bytes()) {
        *to = from;
    }
    tag
}

/// How layers' images are merged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FsmetaOptions {
    /// What the merged image says about itself. Its UUID also depends on the layers' tags.
    pub image: ImageOptions,
    /// Where layers start when merged image and layers stand one after another on one device: at multiples of so many
    /// bytes, a power of two from 4096 (the default) to 2 GiB. DAX with huge pages wants 2 MiB.
    pub alignment: u64,
    /// Time of the root directory if no layer describes it. Default 1970-01-01.
    pub implicit_mtime: Timestamp,
    /// Bytes that the merged image and others may take together. Default: any number.
    pub budget: Budget,
    /// What the entries of all layers may ask for together, those of an image that is several layers for each. Default: anything.
    pub entries: EntryBudgets,
}

impl Default for FsmetaOptions {
    fn default() -> Self {
        Self {
            image: ImageOptions::default(),
            alignment: BLOCK_SIZE as u64,
            implicit_mtime: Timestamp::default(),
            budget: Budget::unlimited(),
            entries: EntryBudgets::default(),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsmetaReport {
    /// The merged image.
    pub image: FinishReport,
    /// The device table: of each layer the length of its image and where that starts on a single device, in blocks.
    /// What may follow an image in its file, such as a hash tree, is not counted.
    pub devices: Vec<DeviceSlot>,
    /// Length in bytes of a single device with everything: up to the end of the last layer's image.
    pub flat_size: u64,
    /// Names removed by whiteouts and opaque markers.
    pub removed: u64,
}

/// Writes the merged image of layers, bottom first, whose images then are its devices: mounted with `device=` for
/// each, in this order, it shows what applying the layers gives. So does a single device with the merged image and
/// after it the layers' images, each at the block the report says; the gaps between are not read.
///
/// Gives the storage back, cut to the image's length and not yet synced.
///
/// ```
/// use lithify_erofs::{
///     DataOptions, FsmetaOptions, Image, ImageOptions, LayerImage, Writer, write_fsmeta,
/// };
/// use lithify_tree::{ContentSink, Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};
///
/// let mut options = DataOptions::default();
/// options.block_aligned = true;
/// let mut writer = Writer::new(Vec::new(), options);
/// writer.begin(5, None)?;
/// writer.write(b"hello")?;
/// let content = writer.finish()?;
/// let mut entries = LayerEntries::new();
/// let kind = EntryKind::File { size: 5, segments: None };
/// entries.push(&Entry { path: TreePath::clean(b"motd")?, metadata: Metadata::default(), kind }, Some(content))?;
/// let mut merge = Merge::new();
/// merge.apply(entries)?;
/// let (bytes, _) = writer.finish_image(&merge.finish(), &ImageOptions::default())?;
///
/// let layer = Image::open(bytes)?;
/// let layers = [LayerImage { image: &layer, describes_root: false, tag: [b'0'; 64] }];
/// let (fsmeta, report) = write_fsmeta(&layers, Vec::new(), &FsmetaOptions::default())?;
/// assert_eq!(report.image.size, fsmeta.len() as u64);
///
/// let merged = Image::open_with_devices(fsmeta, vec![layer.into_source()])?;
/// let motd = merged.lookup(b"motd")?.expect("it is in the layer");
/// assert_eq!(merged.read_to_vec(&motd, 100)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FsmetaError`] when a layer is damaged, compressed or not block-aligned, when layers do not fit each other or one
/// device, or the storage fails.
pub fn write_fsmeta<R: ReadAt, S: Storage>(
    layers: &[LayerImage<'_, R>],
    mut storage: S,
    options: &FsmetaOptions,
) -> Result<(S, FsmetaReport), FsmetaError> {
    let alignment = options.alignment;
    if !alignment.is_power_of_two() || !(BLOCK_SIZE as u64..=ALIGNMENT_MAX).contains(&alignment) {
        return Err(FsmetaError::Alignment { found: alignment });
    }
    let count = u16::try_from(layers.len())
        .ok()
        .filter(|&count| count > 0)
        .ok_or(FsmetaError::LayerCount {
            found: layers.len(),
            limit: LAYERS_MAX,
        })?;
    let mut contents = Contents::default();
    let mut small = SmallFiles::new(layers);
    let mut merge = Merge::with_implicit_mtime(options.implicit_mtime);
    let mut removed = 0;
    let mut image_options = options.image.clone();
    for ((layer, device), input) in (0..).zip(1..=u16::MAX).zip(layers) {
        let entries = read::entries(layer, device, input, &mut contents, &mut small)?;
        options
            .entries
            .take_layer(&entries)
            .map_err(|source| FsmetaError::Budget { layer, source })?;
        let report = merge
            .apply(entries)
            .map_err(|source| FsmetaError::Merge { layer, source })?;
        removed += report.removed;
        // What the layers are is all that is known of the data.
        let seed = &mut image_options.uuid_seed;
        seed.extend_from_slice(&input.tag);
        seed.extend_from_slice(&input.image.superblock().blocks.to_le_bytes());
    }
    image_options
        .uuid_seed
        .extend_from_slice(&alignment.to_le_bytes());

    let mut report = FsmetaReport {
        image: FinishReport::default(),
        devices: Vec::new(),
        flat_size: 0,
        removed,
    };
    report.image = over_devices::write(
        &mut storage,
        &merge.finish(),
        &contents,
        &mut small,
        count,
        &image_options,
        |blocks| {
            let end;
            let length = u64::from(blocks) * BLOCK_SIZE as u64;
            options.budget.take(length).map_err(WriteError::Budget)?;
            (report.devices, end) = map_devices(layers, blocks, alignment)?;
            report.flat_size = end << BLOCK_BITS;
            Ok::<_, FsmetaError>(report.devices.clone())
        },
    )?;
    Ok((storage, report))
}

/// Where layers start behind a merged image of `blocks`, and where the last one ends.
fn map_devices<R: ReadAt>(
    layers: &[LayerImage<'_, R>],
    blocks: u32,
    alignment: u64,
) -> Result<(Vec<DeviceSlot>, u64), FsmetaError> {
    let mut end = u64::from(blocks);
    let mut slots = Vec::with_capacity(layers.len());
    for layer in layers {
        let start = end.next_multiple_of(alignment >> BLOCK_BITS);
        let blocks = layer.image.superblock().blocks;
        end = start + u64::from(blocks);
        let mapped_block = u32::try_from(start)
            .ok()
            .filter(|_| end < u64::from(NULL_BLOCK))
            .ok_or(FsmetaError::TooLarge { blocks: end })?;
        slots.push(DeviceSlot {
            tag: layer.tag,
            blocks,
            mapped_block,
        });
    }
    Ok((slots, end))
}
