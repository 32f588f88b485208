//! What a content is known by.

/// Values of a sketch.
const SKETCH: usize = 16;

/// What a content is known by: all of it, and in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) size: u64,
    /// CRC-32. Contents that have it in common are compared.
    pub(super) crc: u32,
    /// The least hashes of groups of bytes that are in the content, sorted: what two contents have in common of these says how
    /// much they have in common at all (Broder, 1997).
    pub(super) sketch: Vec<u64>,
}

/// Computes a print from a content's bytes, as they pass.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    size: u64,
    crc: crc32fast::Hasher,
    gear: u64,
    /// Values of the sketch, sorted.
    least: Vec<u64>,
    /// Larger values are none of the sketch's.
    limit: u64,
}

impl Printer {
    pub(super) fn new() -> Self {
        Self {
            size: 0,
            crc: crc32fast::Hasher::new(),
            gear: 0,
            least: Vec::with_capacity(SKETCH + 1),
            limit: u64::MAX,
        }
    }

    /// Adds the content's next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.crc.update(bytes);
        let mut gear = self.gear;
        for byte in bytes {
            // Its upper bits know the last 64 bytes, and the least values those with the most zeros there.
            gear = (gear << 1).wrapping_add(GEAR[usize::from(*byte)]);
            if gear < self.limit {
                self.offer(gear);
            }
        }
        self.gear = gear;
    }

    #[cold]
    fn offer(&mut self, value: u64) {
        if let Err(at) = self.least.binary_search(&value) {
            self.least.insert(at, value);
            self.least.truncate(SKETCH);
        }
        if let [.., last] = &*self.least
            && self.least.len() == SKETCH
        {
            self.limit = *last;
        }
    }

    pub(super) fn finish(self) -> Print {
        Print {
            size: self.size,
            crc: self.crc.finalize(),
            sketch: self.least,
        }
    }
}

/// Numbers that look random, one for each byte.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut at = 0;
    while at < gear.len() {
        gear[at] = mixed(at as u64 + 1);
        at += 1;
    }
    gear
};

/// Mixes the bits of a number (the last step of splitmix64).
const fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
