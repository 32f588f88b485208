//! Checksums of an image made right again, so that what is behind them is looked at. Nothing of the crate is used for it.

/// Bytes of a number at an offset, as far as the image has it.
fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut found = [0; N];
    if let Some(there) = bytes.get(at..at + N) {
        found.copy_from_slice(there);
    }
    found
}

fn get16(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(number(bytes, at)).into()
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(number(bytes, at))
}

fn put16(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Continues a CRC-32C.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

/// Where an inode is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: u32,
    pub(crate) at: usize,
}

/// A filesystem whose block size, groups and inode tables are as they were when it was made.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    seed: u32,
    block_size: usize,
    inode_size: usize,
    descriptors: usize,
    descriptor_len: usize,
    /// Where the bitmaps and the tables of each group are.
    groups: Vec<[usize; 3]>,
    inodes_per_group: usize,
    blocks_per_group: usize,
    has_checksums: bool,
    orphan_file: u32,
}

impl Seal {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let s = &bytes[1024..2048];
        let block_size = 1024 << get32(s, 24);
        let descriptor_len = match get32(s, 96) & 0x80 {
            0 => 32,
            _ => get16(s, 254),
        };
        // With blocks of 1 KiB the superblock is block 1, also where block 0 is in the first group.
        let descriptors = 2048_usize.next_multiple_of(block_size);
        let blocks_per_group = get32(s, 32) as usize;
        let groups = (get32(s, 4) - get32(s, 20)).div_ceil(blocks_per_group as u32);
        let place = |group: u32, at: usize| {
            let descriptor = descriptors + group as usize * descriptor_len;
            get32(bytes, descriptor + at) as usize * block_size
        };
        let cluster_log = get32(s, 28) - get32(s, 24);
        Self {
            seed: match get32(s, 96) & 0x2000 {
                0 => crc32c(!0, &s[104..120]),
                _ => get32(s, 624),
            },
            block_size,
            inode_size: get16(s, 88),
            descriptors,
            descriptor_len,
            groups: (0..groups)
                .map(|g| [0, 4, 8].map(|at| place(g, at)))
                .collect(),
            inodes_per_group: get32(s, 40) as usize,
            blocks_per_group: blocks_per_group >> cluster_log,
            has_checksums: get32(s, 100) & 0x400 != 0,
            orphan_file: get32(s, 640),
        }
    }

    /// Tells whether there is something to be done.
    pub(crate) fn has_checksums(&self) -> bool {
        self.has_checksums
    }

    /// All inodes that have something in them.
    pub(crate) fn inodes(&self, bytes: &[u8]) -> Vec<Place> {
        let mut found = Vec::new();
        for (group, [_, _, table]) in self.groups.iter().enumerate() {
            for index in 0..self.inodes_per_group {
                let at = table + index * self.inode_size;
                if bytes[at..at + self.inode_size]
                    .iter()
                    .any(|&byte| byte != 0)
                {
                    let number = (group * self.inodes_per_group + index + 1) as u32;
                    found.push(Place { number, at });
                }
            }
        }
        found
    }

    /// Says what a byte is a part of.
    pub(crate) fn name(&self, bytes: &[u8], at: usize) -> String {
        if (1024..2048).contains(&at) {
            return format!("superblock, byte {}", at - 1024);
        }
        let inodes = self.inodes(bytes);
        match inodes
            .iter()
            .find(|i| (i.at..i.at + self.inode_size).contains(&at))
        {
            Some(place) => format!("inode {}, byte {}", place.number, at - place.at),
            None => format!(
                "block {}, byte {}",
                at / self.block_size,
                at % self.block_size
            ),
        }
    }

    /// Makes all checksums right.
    pub(crate) fn seal(&self, bytes: &mut [u8]) {
        if !self.has_checksums {
            return;
        }
        for inode in self.inodes(bytes) {
            self.inode(bytes, inode);
        }
        for (group, [blocks, inodes, _]) in self.groups.iter().enumerate() {
            let at = self.descriptors + group * self.descriptor_len;
            let flags = get16(bytes, at + 18);
            for (start, bits, low, high, unwritten) in [
                (*blocks, self.blocks_per_group, 24, 56, 2),
                (*inodes, self.inodes_per_group, 26, 58, 1),
            ] {
                if flags & unwritten != 0 {
                    continue;
                }
                let sum = crc32c(self.seed, &bytes[start..start + bits / 8]);
                put16(bytes, at + low, sum);
                if self.descriptor_len >= 64 {
                    put16(bytes, at + high, sum >> 16);
                }
            }
            put16(bytes, at + 30, 0);
            let sum = crc32c(self.seed, &(group as u32).to_le_bytes());
            let sum = crc32c(sum, &bytes[at..at + self.descriptor_len]);
            put16(bytes, at + 30, sum);
        }
        let sum = crc32c(!0, &bytes[1024..2044]);
        put32(bytes, 2044, sum);
    }

    fn inode(&self, bytes: &mut [u8], Place { number, at }: Place) {
        let generation = number_of(bytes, at + 100);
        let own = crc32c(crc32c(self.seed, &number.to_le_bytes()), &generation);
        let (mode, flags) = (get16(bytes, at) & 0o17_0000, get32(bytes, at + 32));
        let has_blocks = matches!(mode, 0o4_0000 | 0o10_0000 | 0o12_0000);
        if has_blocks && flags & 0x1008_0000 == 0x8_0000 {
            let mut blocks = Vec::new();
            self.extents(bytes, at + 40, own, 6, &mut blocks);
            blocks.sort_unstable();
            for (logical, start) in blocks {
                if number == self.orphan_file && number != 0 {
                    let block = (start / self.block_size) as u64;
                    let end = start + self.block_size - 4;
                    let sum = crc32c(crc32c(own, &block.to_le_bytes()), &bytes[start..end - 4]);
                    put32(bytes, end, sum);
                } else if mode == 0o4_0000 {
                    let block = &mut bytes[start..start + self.block_size];
                    directory(block, own, flags & 0x1000 != 0, logical);
                }
            }
        }
        let xattrs = get32(bytes, at + 104) as usize;
        let start = xattrs * self.block_size;
        if xattrs != 0 && get32(bytes, start) == 0xea02_0000 {
            let block = &mut bytes[start..start + self.block_size];
            put32(block, 16, 0);
            let sum = crc32c(crc32c(self.seed, &(xattrs as u64).to_le_bytes()), block);
            put32(block, 16, sum);
        }
        let inode = &mut bytes[at..at + self.inode_size];
        let has_whole = inode.len() > 128 && get16(inode, 128) >= 4;
        put16(inode, 124, 0);
        if has_whole {
            put16(inode, 130, 0);
        }
        let sum = crc32c(own, inode);
        put16(inode, 124, sum);
        if has_whole {
            put16(inode, 130, sum >> 16);
        }
    }

    fn extents(
        &self,
        bytes: &mut [u8],
        at: usize,
        own: u32,
        depth: usize,
        blocks: &mut Vec<(u32, usize)>,
    ) {
        let room = match depth {
            6 => 4,
            _ => (self.block_size - 16) / 12,
        };
        let is_tree = get16(bytes, at) == 0xf30a && get16(bytes, at + 6) < depth;
        if !is_tree {
            return;
        }
        let depth = get16(bytes, at + 6);
        for index in 1..=get16(bytes, at + 2).min(room) {
            let entry = at + 12 * index;
            if depth > 0 {
                let start = get32(bytes, entry + 4) as usize * self.block_size;
                if start + self.block_size <= bytes.len() {
                    self.extents(bytes, start, own, depth, blocks);
                }
                continue;
            }
            let first = get32(bytes, entry + 8) as usize;
            for inside in 0..get16(bytes, entry + 4) & 0x7fff {
                let start = (first + inside) * self.block_size;
                if start + self.block_size <= bytes.len() {
                    let logical = get32(bytes, entry).wrapping_add(inside as u32);
                    blocks.push((logical, start));
                }
            }
        }
        if room > 4 {
            // Where it is, the block's own account says.
            let end = at + 12 * (1 + get16(bytes, at + 4).min(room));
            let sum = crc32c(own, &bytes[at..end]);
            put32(bytes, end, sum);
        }
    }
}

fn number_of(bytes: &[u8], at: usize) -> [u8; 4] {
    number(bytes, at)
}

/// Makes the checksum of a block of a directory right.
fn directory(block: &mut [u8], own: u32, is_indexed: bool, logical: u32) {
    let length = block.len();
    let is_node = get32(block, 0) == 0 && get16(block, 4) == length;
    if is_indexed && (logical == 0 || is_node) {
        let start = if logical == 0 { 32 } else { 8 };
        let (limit, count) = (get16(block, start), get16(block, start + 2));
        let (end, used) = (start + 8 * limit, start + 8 * count);
        if end + 8 <= length && used <= end {
            let sum = crc32c(crc32c(own, &block[..used]), &block[end..end + 4]);
            put32(block, end + 4, crc32c(sum, &[0; 4]));
        }
    } else if block[length - 5] == 0xde && get16(block, length - 8) == 12 {
        let sum = crc32c(own, &block[..length - 12]);
        put32(block, length - 4, sum);
    }
}
