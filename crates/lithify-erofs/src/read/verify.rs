//! Checking a whole image.
//!
//! It is one file because it is one pass: what is found out about an inode decides what is checked of its names, its blocks and
//! its attributes, and all of it is kept in one state.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;

use lithify_fskit::read;
use lithify_tree::Escaped;

use super::compressed::Decompressed;
use super::data::is_compressed;
use super::directory::AllEntries;
use super::{Image, Inode};
use crate::format::device::SLOT_LEN;
use crate::format::inode::DataLayout;
use crate::format::superblock::{SUPERBLOCK_END, SUPERBLOCK_OFFSET, incompat};
use crate::{FileType, ReadAt, ReadError};

/// Most slots of 16 bytes behind the superblock that end within a page, the smallest there is.
const EXTENSION_SLOTS_MAX: u8 = ((4096 - SUPERBLOCK_END) / 16) as u8;

/// Longest prefix of attribute names: a byte that says what it begins with, and a name (`EROFS_NAME_LEN`).
const PREFIX_MAX: u16 = 256;

/// The result of [`Image::verify`].
pub type Verification = read::Verification<ProblemKind, DataCounts>;

/// Something wrong with an image.
pub type Problem = read::Problem<ProblemKind>;

/// Counts of file data that other filesystems have nothing to count for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataCounts {
    /// Regular files whose data is compressed: their indexes have been checked, and by
    /// [`verify_data`](Image::verify_data) their data.
    /// Data compressed in a way this version does not know has not been looked at.
    pub compressed_files: u64,
    /// Bytes of data that belong to several files, which is no problem.
    pub shared_data_bytes: u64,
    /// Bytes of data on further devices: how many files have them is not looked at.
    pub device_data_bytes: u64,
}

/// What can be wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(ReadError),
    /// A superblock longer than Linux reads.
    #[error(
        "the superblock has {found} slots for extensions, at most {EXTENSION_SLOTS_MAX} fit a page"
    )]
    ExtensionSlots {
        /// Their number.
        found: u8,
    },
    /// A prefix of attribute names that is none.
    #[error("prefix {number} of attribute names is not inside the image, or is empty or too long")]
    Prefix {
        /// Its number.
        number: u8,
    },
    /// Names not in ascending order, where Linux would not find them.
    #[error("stands behind `{}`, which sorts after it or equals it", Escaped(.after))]
    Order {
        /// The name before.
        after: Vec<u8>,
    },
    /// A directory without `.` or `..`.
    #[error("the directory has no `{0}`")]
    DotMissing(&'static str),
    /// `.` or `..` that points elsewhere.
    #[error("`{name}` points to inode {found}, expected {expected}")]
    DotWrong {
        /// Which.
        name: &'static str,
        /// Where it should point.
        expected: u64,
        /// Where it does.
        found: u64,
    },
    /// The entry's type is not the inode's.
    #[error("its directory calls it a {entry}, its inode a {inode}")]
    FileType {
        /// By the directory.
        entry: &'static str,
        /// By the inode.
        inode: &'static str,
    },
    /// A directory with two names, or one that contains itself.
    #[error("directory {nid} is reached a second time")]
    SecondName {
        /// The directory's inode.
        nid: u64,
    },
    /// A link count that is not the number of names.
    #[error("inode {nid} says it has {stated} names, found {found}")]
    LinkCount {
        /// The inode.
        nid: u64,
        /// By the inode.
        stated: u32,
        /// Names found; for a directory 2 plus its subdirectories.
        found: u32,
    },
    /// A number of inodes that is not the superblock's.
    #[error("the superblock says {stated} inodes, found {found}")]
    InodeCount {
        /// By the superblock.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// Two things in the same place.
    #[error("{first} and {second} overlap at offset {offset}")]
    Overlap {
        /// What starts first.
        first: &'static str,
        /// What starts in it.
        second: &'static str,
        /// Where, in bytes.
        offset: u64,
    },
    /// A device mapped to where the image or another device is.
    #[error("extra device {device} is mapped to block {block}, where {other} is")]
    MappedOverlap {
        /// The device's number.
        device: u16,
        /// The block it is mapped to.
        block: u32,
        /// What is there.
        other: MappedOther,
    },
}

/// What a device overlaps with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MappedOther {
    /// The image itself.
    Image,
    /// The device of this number.
    Device(u16),
}

impl fmt::Display for MappedOther {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("the image itself"),
            Self::Device(number) => write!(f, "extra device {number}"),
        }
    }
}

/// What bytes of an image are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Superblock,
    DeviceTable,
    Inode,
    SharedXattr,
    Directory,
    Target,
    Data,
}

impl Use {
    const fn name(self) -> &'static str {
        match self {
            Self::Superblock => "the superblock",
            Self::DeviceTable => "the device table",
            Self::Inode => "an inode",
            Self::SharedXattr => "a shared extended attribute",
            Self::Directory => "a directory's block",
            Self::Target => "a link's target",
            Self::Data => "file data",
        }
    }
}

impl<R: ReadAt> Image<R> {
    /// Checks everything Linux relies on: every directory (order, `.` and `..`, names, types), that each is reached
    /// once, every inode, link count, attribute and map, that all data is inside the image and that nothing overlaps.
    ///
    /// Takes memory for each inode (about 100 bytes) and time for each name; never more than an image of this size
    /// can need. The data of files has no checksums in EROFS and is not read; so data on further devices is checked by
    /// their lengths in the device table, whether they are at hand or not.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the source fails. What is wrong with the image is in the result.
    pub fn verify(&self) -> Result<Verification, ReadError> {
        self.check(false)
    }

    /// Checks like [`verify`](Self::verify), and decompresses all compressed data: a damaged byte in it shows in most
    /// cases, unlike one in other data. Reads and decompresses as much as the files hold, which of a hostile image can be
    /// two thousand times its size.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the source fails. What is wrong with the image is in the result.
    pub fn verify_data(&self) -> Result<Verification, ReadError> {
        self.check(true)
    }

    fn check(&self, decompress: bool) -> Result<Verification, ReadError> {
        let mut verifier = Verifier {
            image: self,
            report: Verification::default(),
            decompress,
            path: Vec::new(),
            inodes: HashMap::new(),
            shared_xattrs: HashSet::new(),
            ranges: vec![(
                SUPERBLOCK_OFFSET as u64,
                SUPERBLOCK_END as u64,
                Use::Superblock,
            )],
            entries_left: self.entry_limit(),
            bytes_left: self.size(),
        };
        verifier.superblock()?;
        verifier.devices();
        verifier.run()?;
        Ok(verifier.report)
    }

    /// Refuses maps that are not completely inside the image, so that following one ends.
    pub(super) fn check_map(&self, inode: &Inode) -> Result<std::ops::Range<u64>, ReadError> {
        let (format, bits, start) = self.chunk_map(inode)?;
        let length = inode
            .size()
            .div_ceil(1 << bits)
            .saturating_mul(format.entry_len() as u64);
        self.check_range("the chunk map", inode.nid(), start, length)?;
        Ok(start..start + length)
    }
}

struct Verifier<'a, R> {
    image: &'a Image<R>,
    report: Verification,
    /// Whether compressed data is decompressed.
    decompress: bool,
    path: Vec<u8>,
    /// Stated and found names of everything but directories; of these only that they have been reached.
    inodes: HashMap<u64, (u32, u32)>,
    shared_xattrs: HashSet<u32>,
    ranges: Vec<(u64, u64, Use)>,
    entries_left: u64,
    /// What is left of the image for inodes and what stands behind them.
    bytes_left: u64,
}

/// A directory being checked.
struct Frame<'a, R> {
    entries: AllEntries<'a, R>,
    inode: Inode,
    parent: u64,
    path_len: usize,
    previous: Option<Vec<u8>>,
    dots: [bool; 2],
    subdirectories: u32,
}

/// Whether to go on.
enum Flow {
    Continue,
    Stop,
}

impl<'a, R: ReadAt> Verifier<'a, R> {
    fn run(&mut self) -> Result<(), ReadError> {
        let root = match self.image.root() {
            Ok(root) => root,
            Err(e) => return self.unreadable(e),
        };
        let mut frames = Vec::new();
        if let Flow::Continue = self.inode(&root)? {
            self.push(&mut frames, root, root.nid(), 0)?;
        }
        while let Some(frame) = frames.last_mut() {
            match frame.entries.next() {
                None => self.pop(&mut frames),
                Some(Err(e)) => {
                    self.path.truncate(frame.path_len);
                    self.unreadable(e)?;
                    frames.pop();
                }
                Some(Ok(entry)) => {
                    self.path.truncate(frame.path_len);
                    if !self.path.is_empty() {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(&entry.name);
                    let (nid, file_type) = (entry.nid, entry.file_type);
                    let Some(left) = self.entries_left.checked_sub(1) else {
                        let limit = self.image.entry_limit();
                        self.problem(ProblemKind::Unreadable(ReadError::TooManyEntries { limit }));
                        break;
                    };
                    self.entries_left = left;
                    let dot = self.name(frame, entry.name);
                    if let Some((index, name, expected)) = dot {
                        frame.dots[index] = true;
                        if nid != expected {
                            self.problem(ProblemKind::DotWrong {
                                name,
                                expected,
                                found: nid,
                            });
                        }
                        continue;
                    }
                    self.report.names += 1;
                    if let Flow::Stop = self.child(&mut frames, nid, file_type)? {
                        break;
                    }
                }
            }
        }
        self.path.clear();
        self.link_counts();
        self.overlaps();
        let (stated, found) = (self.image.superblock().inodes, self.report.inodes);
        if stated != found && self.report.problems.is_empty() {
            self.problem(ProblemKind::InodeCount { stated, found });
        }
        Ok(())
    }

    /// Checks a name's order; says where it has to point if it is `.` or `..`.
    fn name(
        &mut self,
        frame: &mut Frame<'a, R>,
        name: Vec<u8>,
    ) -> Option<(usize, &'static str, u64)> {
        let dot = match name.as_slice() {
            b"." => Some((0, ".", frame.inode.nid())),
            b".." => Some((1, "..", frame.parent)),
            _ => None,
        };
        let after = frame.previous.take().filter(|after| name <= *after);
        frame.previous = Some(name);
        if let Some(after) = after {
            self.problem(ProblemKind::Order { after });
        }
        dot
    }

    fn child(
        &mut self,
        frames: &mut Vec<Frame<'a, R>>,
        nid: u64,
        file_type: FileType,
    ) -> Result<Flow, ReadError> {
        if let Some((_, found)) = self.inodes.get_mut(&nid) {
            *found = found.saturating_add(1);
            if file_type == FileType::Directory {
                self.problem(ProblemKind::SecondName { nid });
            }
            return Ok(Flow::Continue);
        }
        let inode = match self.image.inode(nid) {
            Ok(inode) => inode,
            Err(e) => return self.unreadable(e).map(|()| Flow::Continue),
        };
        if inode.file_type() != file_type {
            self.problem(ProblemKind::FileType {
                entry: file_type.name(),
                inode: inode.file_type().name(),
            });
        }
        if let Flow::Stop = self.inode(&inode)? {
            return Ok(Flow::Stop);
        }
        if inode.file_type() == FileType::Directory
            && let Some(parent) = frames.last_mut()
        {
            parent.subdirectories = parent.subdirectories.saturating_add(1);
            let parent = parent.inode.nid();
            self.push(frames, inode, parent, self.path.len())?;
        }
        Ok(Flow::Continue)
    }

    fn push(
        &mut self,
        frames: &mut Vec<Frame<'a, R>>,
        inode: Inode,
        parent: u64,
        path_len: usize,
    ) -> Result<(), ReadError> {
        match self.image.all_entries(&inode) {
            Ok(entries) => frames.push(Frame {
                entries,
                inode,
                parent,
                path_len,
                previous: None,
                dots: [false; 2],
                subdirectories: 0,
            }),
            Err(e) => self.unreadable(e)?,
        }
        Ok(())
    }

    /// A directory has been read to its end.
    fn pop(&mut self, frames: &mut Vec<Frame<'a, R>>) {
        let Some(frame) = frames.pop() else { return };
        self.path.truncate(frame.path_len);
        for (present, name) in frame.dots.into_iter().zip([".", ".."]) {
            if !present {
                self.problem(ProblemKind::DotMissing(name));
            }
        }
        let (stated, found) = (frame.inode.nlink(), frame.subdirectories.saturating_add(2));
        if stated != found {
            self.problem(ProblemKind::LinkCount {
                nid: frame.inode.nid(),
                stated,
                found,
            });
        }
    }

    /// Checks an inode reached for the first time.
    fn inode(&mut self, inode: &Inode) -> Result<Flow, ReadError> {
        self.report.count(inode.file_type());
        let is_directory = inode.file_type() == FileType::Directory;
        let stated = if is_directory { 1 } else { inode.nlink() };
        self.inodes.insert(inode.nid(), (stated, 1));
        let mut end = inode.behind();
        if let DataLayout::Chunked = inode.layout() {
            match self.image.check_map(inode) {
                Ok(map) => end = map.end,
                Err(e) => return self.unreadable(e).map(|()| Flow::Continue),
            }
        } else if is_compressed(inode) && inode.file_type() == FileType::File {
            match self.image.cluster_map(inode) {
                Ok(map) => end = map.end(),
                // What cannot be read has an index all the same, but who knows where it ends.
                Err(ReadError::Compressed { .. }) => {}
                Err(e) => return self.unreadable(e).map(|()| Flow::Continue),
            }
        } else if let DataLayout::Inline = inode.layout() {
            // Whether it fits its block is seen with the data.
            end = end.saturating_add(inode.size() % self.image.block_size());
        }
        let length = end.saturating_sub(inode.address);
        if let Err(e) =
            self.image
                .check_range("what stands behind it", inode.nid(), inode.address, length)
        {
            return self.unreadable(e).map(|()| Flow::Continue);
        }
        // Records do not overlap in a sound image, so all of them together are not longer than it. What comes next
        // takes time in proportion to their length.
        let Some(left) = self.bytes_left.checked_sub(length) else {
            self.problem(ProblemKind::Unreadable(ReadError::MetadataOverlaps));
            return Ok(Flow::Stop);
        };
        self.bytes_left = left;
        self.ranges.push((inode.address, end, Use::Inode));
        if let Err(e) = self.xattrs(inode) {
            self.unreadable(e)?;
        }
        if let Err(e) = self.data(inode) {
            self.unreadable(e)?;
        }
        Ok(Flow::Continue)
    }

    fn xattrs(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let body = self.image.xattr_body(inode)?;
        let mut names = HashSet::new();
        let mut check = |name: &[u8]| {
            let reason = if name.len() > lithify_tree::NAME_MAX || name.contains(&0) {
                crate::XattrDamage::Name
            } else if !names.insert(name.to_vec()) {
                crate::XattrDamage::Duplicate
            } else {
                return Ok(());
            };
            Err(ReadError::Xattrs {
                nid: inode.nid(),
                reason,
            })
        };
        self.image
            .inline_xattrs(inode, &body, |name, _| check(name))?;
        for &id in &body.shared {
            // Looked into once, however many inodes refer to it.
            if self.shared_xattrs.insert(id) {
                let entry = self.image.shared_xattr(inode.nid(), id)?;
                check(&entry.name)?;
                self.ranges
                    .push((entry.range.start, entry.range.end, Use::SharedXattr));
            }
        }
        Ok(())
    }

    fn data(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let (used_for, limit) = match inode.file_type() {
            FileType::File => (Use::Data, i64::MAX as u64),
            FileType::Directory => (Use::Directory, i64::MAX as u64),
            FileType::Symlink => (Use::Target, 4095),
            _ => return Ok(()),
        };
        if inode.size() > limit {
            return Err(ReadError::Size {
                nid: inode.nid(),
                size: inode.size(),
                limit,
            });
        }
        if is_compressed(inode) {
            self.report.own.compressed_files += 1;
            return match self.compressed_data(inode) {
                Err(ReadError::Compressed { .. }) => Ok(()),
                other => other,
            };
        }
        if used_for == Use::Target {
            self.image.read_link(inode)?;
        }
        let block = self.image.block_size();
        for extent in self.image.extents(inode) {
            let extent = extent?;
            let offset = extent.offset + extent.length;
            let Some(start) = extent.address else {
                continue;
            };
            if extent.device != 0 {
                self.report.own.device_data_bytes = self
                    .report
                    .own
                    .device_data_bytes
                    .saturating_add(extent.length);
                continue;
            }
            // The last bytes of an inline inode are part of its record.
            if inode.layout() == DataLayout::Inline
                && start >= inode.address
                && offset == inode.size()
            {
                continue;
            }
            let end = (start + extent.length).next_multiple_of(block);
            match self.ranges.last_mut() {
                Some((_, last, Use::Data)) if used_for == Use::Data && *last == start => {
                    *last = end
                }
                _ => self.ranges.push((start, end, used_for)),
            }
        }
        Ok(())
    }

    /// What Linux looks at when it mounts an image, besides what opening it does: the superblock's length
    /// (`erofs_read_superblock`), and the prefixes of attribute names (`erofs_xattr_prefixes_init`), which it reads
    /// whatever the features say.
    fn superblock(&mut self) -> Result<(), ReadError> {
        let image = self.image;
        let superblock = &image.superblock;
        if superblock.extension_slots > EXTENSION_SLOTS_MAX {
            self.problem(ProblemKind::ExtensionSlots {
                found: superblock.extension_slots,
            });
        }
        // In a packed inode they are out of reach: fragments are not read.
        if superblock.incompatible_features & incompat::FRAGMENTS != 0 && superblock.packed_nid != 0
        {
            return Ok(());
        }
        let mut at = u64::from(superblock.prefix_start) * 4;
        for number in 0..superblock.prefix_count {
            at = at.next_multiple_of(4);
            let mut length = [0; 2];
            let inside = |length| at.checked_add(length).is_some_and(|end| end <= image.size);
            if inside(2) {
                super::read(&image.source, at, &mut length)?;
            }
            let length = u16::from_le_bytes(length);
            if !(1..=PREFIX_MAX).contains(&length) || !inside(2 + u64::from(length)) {
                self.problem(ProblemKind::Prefix { number });
                break;
            }
            at += 2 + u64::from(length);
        }
        Ok(())
    }

    /// The device table, and where it maps the devices.
    fn devices(&mut self) {
        let image = self.image;
        if image.devices().is_empty() {
            return;
        }
        let start = u64::from(image.superblock.device_table) * SLOT_LEN as u64;
        let end = start + (image.devices().len() * SLOT_LEN) as u64;
        self.ranges.push((start, end, Use::DeviceTable));
        let mut mapped: Vec<_> = (1..=u16::MAX)
            .zip(image.devices())
            .filter(|(_, slot)| slot.mapped_block != 0 && slot.blocks != 0)
            .map(|(number, slot)| (slot.mapped_block, slot.blocks, number))
            .collect();
        mapped.sort_unstable();
        let (mut end, mut other) = (u64::from(image.superblock.blocks), MappedOther::Image);
        for (block, blocks, device) in mapped {
            if u64::from(block) < end {
                self.problem(ProblemKind::MappedOverlap {
                    device,
                    block,
                    other,
                });
            }
            if u64::from(block) + u64::from(blocks) > end {
                (end, other) = (
                    u64::from(block) + u64::from(blocks),
                    MappedOther::Device(device),
                );
            }
        }
    }

    fn compressed_data(&mut self, inode: &Inode) -> Result<(), ReadError> {
        let image = self.image;
        let (ranges, decompress) = (&mut self.ranges, self.decompress);
        let mut map = image.cluster_map(inode)?;
        let mut data = Decompressed::default();
        image.compressed_extents(&mut map, |map, extent| {
            let method = map.method(extent)?;
            if let Some(method) = method.filter(|&m| !image.is_announced(m)) {
                return Err(ReadError::Method {
                    nid: inode.nid(),
                    method: method.name(),
                });
            }
            if !extent.inline {
                let (start, end) = (extent.address, extent.address + extent.stored);
                match ranges.last_mut() {
                    Some((_, last, Use::Data)) if *last == start => *last = end,
                    _ => ranges.push((start, end, Use::Data)),
                }
            }
            if decompress {
                image.decompress(map, extent, &mut data)?;
            }
            Ok(())
        })
    }

    fn link_counts(&mut self) {
        let mut wrong: Vec<_> = self
            .inodes
            .iter()
            .filter(|(_, (stated, found))| stated != found)
            .map(|(n, c)| (*n, *c))
            .collect();
        wrong.sort_unstable();
        for (nid, (stated, found)) in wrong {
            self.problem(ProblemKind::LinkCount { nid, stated, found });
        }
    }

    fn overlaps(&mut self) {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.sort_unstable_by_key(|&(start, end, _)| (start, end));
        let mut last = (0, Use::Superblock);
        for (start, end, used_for) in ranges {
            let fresh = end.saturating_sub(start.max(last.0));
            if start < last.0 {
                if used_for == Use::Data && last.1 == Use::Data {
                    self.report.own.shared_data_bytes += end.min(last.0) - start;
                } else {
                    let (first, second) = (last.1.name(), used_for.name());
                    self.problem(ProblemKind::Overlap {
                        first,
                        second,
                        offset: start,
                    });
                }
            }
            if used_for == Use::Data {
                self.report.data_bytes += fresh;
            }
            if end > last.0 {
                last = (end, used_for);
            }
        }
    }

    /// Notes an error, unless it is the source's: then nothing can be said about the image.
    fn unreadable(&mut self, error: ReadError) -> Result<(), ReadError> {
        if matches!(error, ReadError::Io { .. }) {
            return Err(error);
        }
        self.problem(ProblemKind::Unreadable(error));
        Ok(())
    }

    fn problem(&mut self, kind: ProblemKind) {
        self.report.problem(&self.path, kind);
    }
}
