//! The header of a name: a magic number and thirteen numbers of eight hexadecimal digits.

/// Bytes of a header.
pub(crate) const HEADER_LEN: usize = 110;

/// The magic number of the form "newc", without checksums.
const MAGIC: &[u8; 6] = b"070701";

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// What a header says. Numbers that are not here are zero: the device that the archive was made of, and the checksum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header {
    pub(crate) inode: u32,
    /// With the bits of the type.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) mtime: u32,
    pub(crate) size: u32,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// With the zero at the end.
    pub(crate) name_len: u32,
}

impl Header {
    /// Returns the bytes of the header.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [b'0'; HEADER_LEN];
        out[..MAGIC.len()].copy_from_slice(MAGIC);
        let numbers = [
            self.inode,
            self.mode,
            self.uid,
            self.gid,
            self.links,
            self.mtime,
            self.size,
            0,
            0,
            self.device.0,
            self.device.1,
            self.name_len,
            0,
        ];
        for (number, digits) in numbers.iter().zip(out[MAGIC.len()..].chunks_exact_mut(8)) {
            for (place, digit) in digits.iter_mut().rev().enumerate() {
                *digit = DIGITS[(number >> (4 * place)) as usize & 15];
            }
        }
        out
    }
}
