//! Inodes, 256 bytes each (`struct ext4_inode`).

use lithify_tree::{Device, Timestamp};

use super::{INODE_LEN, crc32c, get16, get32, halves, put16, put32};

/// Where a file's extents, a symbolic link's target or a device's number stands.
pub(crate) const BLOCK_AT: usize = 40;
/// Bytes there.
pub(crate) const BLOCK_LEN: usize = 60;
/// Bytes of the fields behind the first 128.
const EXTRA_LEN: u16 = 32;
/// Where extended attributes begin.
pub(crate) const XATTRS_AT: usize = 128 + EXTRA_LEN as usize;

/// Data is found by extents.
pub(crate) const FLAG_EXTENTS: u32 = 0x8_0000;
/// The directory has a tree of hashes.
pub(crate) const FLAG_INDEX: u32 = 0x1000;
/// The file is the value of an extended attribute.
pub(crate) const FLAG_VALUE: u32 = 0x20_0000;

/// The bits of the type.
pub(crate) const MODE_TYPE: u16 = 0o17_0000;
pub(crate) const MODE_DIRECTORY: u16 = 0o4_0000;
pub(crate) const MODE_REGULAR: u16 = 0o10_0000;

/// The first and the last second an inode can say.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - (1 << 31) - 1;

/// Returns the nearest time an inode can say, and whether it is another one.
pub(crate) fn clamp(time: Timestamp) -> (Timestamp, bool) {
    if TIMES.contains(&time.seconds) {
        return (time, false);
    }
    let seconds = time.seconds.clamp(*TIMES.start(), *TIMES.end());
    let nanoseconds = 0;
    (
        Timestamp {
            seconds,
            nanoseconds,
        },
        true,
    )
}

/// An inode.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    /// Type and permissions.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) links: u16,
    /// What it takes, in blocks of 512 bytes.
    pub(crate) sectors: u64,
    pub(crate) flags: u32,
    /// When it was changed, read and made.
    pub(crate) time: Timestamp,
    /// The block with further attributes.
    pub(crate) xattr_block: u64,
    pub(crate) block: [u8; BLOCK_LEN],
    /// What stands behind the fields.
    pub(crate) xattrs: Vec<u8>,
    /// Of a file that is the value of an extended attribute.
    pub(crate) value: Option<ValueState>,
}

/// The fields of a file that is the value of an extended attribute, which stand in the place of times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueState {
    /// The hash of the value.
    pub(crate) hash: u32,
    /// The number of entries that name the file.
    pub(crate) references: u64,
}

impl Inode {
    /// An inode of that type and mode, without anything.
    pub(crate) fn new(mode: u16) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            links: 1,
            sectors: 0,
            flags: 0,
            time: Timestamp::default(),
            xattr_block: 0,
            block: [0; BLOCK_LEN],
            xattrs: Vec::new(),
            value: None,
        }
    }

    /// Returns inode `number`, with its checksum.
    pub(crate) fn to_bytes(&self, number: u32, seed: u32) -> [u8; INODE_LEN] {
        let mut bytes = [0; INODE_LEN];
        let b = &mut bytes;
        put16(b, 0, self.mode);
        put16(b, 2, self.uid as u16);
        put32(b, 4, self.size as u32);
        let (seconds, extra) = time(self.time);
        for at in [8, 12, 16] {
            put32(b, at, seconds);
        }
        put16(b, 24, self.gid as u16);
        put16(b, 26, self.links);
        put32(b, 28, self.sectors as u32);
        put32(b, 32, self.flags);
        b[BLOCK_AT..BLOCK_AT + BLOCK_LEN].copy_from_slice(&self.block);
        put32(b, 104, self.xattr_block as u32);
        put32(b, 108, (self.size >> 32) as u32);
        put16(b, 116, (self.sectors >> 32) as u16);
        put16(b, 118, (self.xattr_block >> 32) as u16);
        put16(b, 120, (self.uid >> 16) as u16);
        put16(b, 122, (self.gid >> 16) as u16);
        put16(b, 128, EXTRA_LEN);
        for at in [132, 136, 140] {
            put32(b, at, extra);
        }
        put32(b, 144, seconds);
        put32(b, 148, extra);
        if let Some(value) = self.value {
            // The time of access, the time of change and the version (`ext4_xattr_inode_set_ref`).
            put32(b, 8, value.hash);
            put32(b, 12, (value.references >> 32) as u32);
            put32(b, 36, value.references as u32);
            for at in [132, 140] {
                put32(b, at, 0);
            }
        }
        b[XATTRS_AT..XATTRS_AT + self.xattrs.len()].copy_from_slice(&self.xattrs);
        // Both halves of the checksum count as zeros (`ext4_inode_csum`).
        let sum = crc32c::update(inode_seed(seed, number), b);
        put16(b, 124, sum as u16);
        put16(b, 130, (sum >> 16) as u16);
        bytes
    }
}

/// Returns the sum with which those of an inode's blocks begin; its generation is 0.
pub(crate) fn inode_seed(seed: u32, number: u32) -> u32 {
    crc32c::update(crc32c::update(seed, &number.to_le_bytes()), &[0; 4])
}

/// Returns a time's lower 32 bits, and those above with the nanoseconds (`ext4_encode_extra_time`).
fn time(time: Timestamp) -> (u32, u32) {
    let seconds = time.seconds as u32;
    let epoch = ((time.seconds - i64::from(seconds as i32)) >> 32) as u32 & 3;
    (seconds, epoch | time.nanoseconds << 2)
}

/// Writes a device's number: the old encoding where it suffices, so that every kernel understands it.
pub(crate) fn put_device(block: &mut [u8; BLOCK_LEN], device: Device) {
    let Device { major, minor } = device;
    if major < 256 && minor < 256 {
        put32(block, 0, major << 8 | minor);
    } else {
        put32(block, 4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
}

/// The file's data is encrypted.
pub(crate) const FLAG_ENCRYPTED: u32 = 0x800;
/// Blocks are counted in blocks of the filesystem.
pub(crate) const FLAG_HUGE: u32 = 0x4_0000;
/// A hash tree of the data stands behind it.
pub(crate) const FLAG_VERITY: u32 = 0x10_0000;
/// Data is in the inode.
pub(crate) const FLAG_INLINE: u32 = 0x1000_0000;
/// Names are the same whatever their case.
pub(crate) const FLAG_CASE_FOLDED: u32 = 0x4000_0000;

/// Bytes of the oldest form of inode.
pub(crate) const OLD_LEN: usize = 128;

/// An inode as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) links: u16,
    pub(crate) sectors: u64,
    pub(crate) flags: u32,
    pub(crate) generation: u32,
    /// The lower half of the version: that of the number of references to an attribute's value.
    pub(crate) version: u32,
    pub(crate) xattr_block: u64,
    pub(crate) mtime: Timestamp,
    /// Seconds of the time of access: the checksum of an attribute's value.
    pub(crate) atime: u32,
    /// Seconds of the time of change: the upper half of the number of references to an attribute's value.
    pub(crate) ctime: u32,
    /// Time of deletion, or the next inode that is to be deleted.
    pub(crate) dtime: u32,
    pub(crate) block: [u8; BLOCK_LEN],
    /// The block of a fragment, which no filesystem has.
    pub(crate) fragment: u32,
    /// Bytes of the fields behind the first 128.
    pub(crate) extra: usize,
}

impl Stored {
    /// Reads all fields of an inode of at least 128 bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let extra = match bytes.len() {
            OLD_LEN => 0,
            _ => usize::from(get16(bytes, 128)),
        };
        let has = |at: usize| at + 4 <= bytes.len().min(OLD_LEN + extra);
        let word = |low: usize, high: usize| {
            u32::from(get16(bytes, low)) | u32::from(get16(bytes, high)) << 16
        };
        let mode = get16(bytes, 0);
        let mut block = [0; BLOCK_LEN];
        block.copy_from_slice(&bytes[BLOCK_AT..BLOCK_AT + BLOCK_LEN]);
        Self {
            mode,
            uid: word(2, 120),
            gid: word(24, 122),
            size: halves(bytes, 4, 108),
            links: get16(bytes, 26),
            sectors: u64::from(get32(bytes, 28)) | u64::from(get16(bytes, 116)) << 32,
            flags: get32(bytes, 32),
            generation: get32(bytes, 100),
            version: get32(bytes, 36),
            xattr_block: u64::from(get32(bytes, 104)) | u64::from(get16(bytes, 118)) << 32,
            mtime: timestamp(get32(bytes, 16), has(136).then(|| get32(bytes, 136))),
            atime: get32(bytes, 8),
            ctime: get32(bytes, 12),
            dtime: get32(bytes, 20),
            block,
            fragment: get32(bytes, 112),
            extra,
        }
    }

    /// Returns the sum with which those of its blocks begin.
    pub(crate) fn seed(&self, seed: u32, number: u32) -> u32 {
        let sum = crc32c::update(seed, &number.to_le_bytes());
        crc32c::update(sum, &self.generation.to_le_bytes())
    }
}

/// Returns the checksum of an inode: the one that is stored, and the right one, of which a short inode has the lower half.
pub(crate) fn checksum(bytes: &[u8], stored: &Stored, number: u32, seed: u32) -> (u32, u32) {
    let is_whole = bytes.len() > OLD_LEN && stored.extra >= 4;
    let mut sum = stored.seed(seed, number);
    sum = crc32c::update(crc32c::update(sum, &bytes[..124]), &[0; 2]);
    if !is_whole {
        sum = crc32c::update(sum, &bytes[126..]);
        return (get16(bytes, 124).into(), sum & 0xffff);
    }
    sum = crc32c::update(crc32c::update(sum, &bytes[126..130]), &[0; 2]);
    sum = crc32c::update(sum, &bytes[132..]);
    let found = u32::from(get16(bytes, 124)) | u32::from(get16(bytes, 130)) << 16;
    (found, sum)
}

/// Returns a time from its lower 32 bits and, if there is room for them, those above and the nanoseconds.
fn timestamp(seconds: u32, extra: Option<u32>) -> Timestamp {
    let low = i64::from(seconds as i32);
    let extra = extra.unwrap_or(0);
    Timestamp {
        seconds: low + (i64::from(extra & 3) << 32),
        nanoseconds: extra >> 2,
    }
}

/// Reads a device's number, of either encoding.
pub(crate) fn device(block: &[u8; BLOCK_LEN]) -> Device {
    let (old, new) = (get32(block, 0), get32(block, 4));
    if old != 0 {
        return Device {
            major: old >> 8 & 0xff,
            minor: old & 0xff,
        };
    }
    Device {
        major: (new & 0xf_ff00) >> 8,
        minor: new & 0xff | new >> 12 & 0xf_ff00,
    }
}
