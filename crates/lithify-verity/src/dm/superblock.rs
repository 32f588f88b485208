//! The superblock (cryptsetup, `lib/verity/verity.c`, `struct verity_sb`). All numbers are little-endian.

use super::error::SuperblockError;
use super::geometry::Geometry;

/// Size of a superblock in bytes. What follows up to the next whole hash block is not used.
pub const SUPERBLOCK_SIZE: usize = 512;

/// Longest salt in bytes.
pub const SALT_MAX: usize = 256;

const MAGIC: [u8; 8] = *b"verity\0\0";
const VERSION: u32 = 1;
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8] = b"sha256";
const ALGORITHM_OFFSET: usize = 32;
const ALGORITHM_END: usize = 64;
const SALT_SIZE_OFFSET: usize = 80;
const SALT_OFFSET: usize = 88;

/// What a superblock says: SHA-256, version 1, hash type 1, and this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// UUID of the tree, not covered by any hash.
    pub uuid: [u8; 16],
    /// Bytes hashed before each block, at most [`SALT_MAX`].
    pub salt: Vec<u8>,
    /// Block sizes and number.
    pub geometry: Geometry,
}

impl Superblock {
    /// Reads a superblock. Every byte has to be what `veritysetup` writes: unused ones are zero.
    ///
    /// # Errors
    /// What is wrong with the first field that is not usable.
    ///
    /// ```
    /// let error = lithify_verity::Superblock::parse(&[0; 512]).unwrap_err();
    /// assert!(matches!(error, lithify_verity::SuperblockError::Magic { .. }));
    /// ```
    pub fn parse(bytes: &[u8; SUPERBLOCK_SIZE]) -> Result<Self, SuperblockError> {
        let magic = take(bytes, 0);
        if magic != MAGIC {
            return Err(SuperblockError::Magic { found: magic });
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(SuperblockError::Version { found: version });
        }
        let hash_type = u32_at(bytes, 12);
        if hash_type != HASH_TYPE {
            return Err(SuperblockError::HashType { found: hash_type });
        }
        let name = &bytes[ALGORITHM_OFFSET..ALGORITHM_END];
        let length = name
            .iter()
            .rposition(|&b| b != 0)
            .map_or(0, |last| last + 1);
        if name[..length] != *ALGORITHM {
            return Err(SuperblockError::Algorithm {
                found: name[..length].to_vec(),
            });
        }
        let salt_size = u16::from_le_bytes(take(bytes, SALT_SIZE_OFFSET));
        let salt_end = SALT_OFFSET + usize::from(salt_size);
        if usize::from(salt_size) > SALT_MAX {
            return Err(SuperblockError::SaltSize { found: salt_size });
        }
        for unused in [SALT_SIZE_OFFSET + 2..SALT_OFFSET, salt_end..SUPERBLOCK_SIZE] {
            if let Some(n) = bytes[unused.clone()].iter().position(|&b| b != 0) {
                let offset = unused.start + n;
                return Err(SuperblockError::NotZero {
                    offset,
                    found: bytes[offset],
                });
            }
        }
        let data_blocks = u64::from_le_bytes(take(bytes, 72));
        Ok(Self {
            uuid: take(bytes, 16),
            salt: bytes[SALT_OFFSET..salt_end].to_vec(),
            geometry: Geometry::new(data_blocks, u32_at(bytes, 64), u32_at(bytes, 68))?,
        })
    }

    /// The superblock as it stands on disk. Of a salt over [`SALT_MAX`] bytes, no more is written.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SUPERBLOCK_SIZE] {
        let salt = &self.salt[..self.salt.len().min(SALT_MAX)];
        let mut bytes = [0; SUPERBLOCK_SIZE];
        let mut put = |offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value);
        };
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &HASH_TYPE.to_le_bytes());
        put(16, &self.uuid);
        put(ALGORITHM_OFFSET, ALGORITHM);
        put(64, &self.geometry.data_block().to_le_bytes());
        put(68, &self.geometry.hash_block().to_le_bytes());
        put(72, &self.geometry.data_blocks().to_le_bytes());
        put(SALT_SIZE_OFFSET, &(salt.len() as u16).to_le_bytes());
        put(SALT_OFFSET, salt);
        bytes
    }
}

fn take<const N: usize>(bytes: &[u8; SUPERBLOCK_SIZE], offset: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[offset..offset + N]);
    taken
}

fn u32_at(bytes: &[u8; SUPERBLOCK_SIZE], offset: usize) -> u32 {
    u32::from_le_bytes(take(bytes, offset))
}

#[cfg(test)]
mod tests {
    use super::super::error::GeometryError;
    use super::*;

    fn superblock() -> Superblock {
        Superblock {
            uuid: [9; 16],
            salt: vec![0, 1, 2, 0],
            geometry: Geometry::new(1000, 4096, 1024).unwrap(),
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for salt in [vec![], vec![0; 32], vec![5; SALT_MAX]] {
            let superblock = Superblock {
                salt,
                ..superblock()
            };
            assert_eq!(Superblock::parse(&superblock.to_bytes()), Ok(superblock));
        }
    }

    #[test]
    fn every_field_is_checked() {
        let good = superblock().to_bytes();
        let with = |offset: usize, value: &[u8]| {
            let mut bytes = good;
            bytes[offset..offset + value.len()].copy_from_slice(value);
            Superblock::parse(&bytes).unwrap_err()
        };
        assert!(matches!(with(6, b"1"), SuperblockError::Magic { .. }));
        assert_eq!(with(8, &[2]), SuperblockError::Version { found: 2 });
        assert_eq!(with(12, &[0]), SuperblockError::HashType { found: 0 });
        for name in [
            &b"sha512"[..],
            b"sha1\0\0",
            b"\0ha256",
            b"sha256x",
            b"sha256\0x",
        ] {
            assert!(matches!(with(32, name), SuperblockError::Algorithm { .. }));
        }
        let geometry = |e| matches!(e, SuperblockError::Geometry(_));
        assert!(geometry(with(64, &[1])));
        assert!(geometry(with(68, &[1])));
        assert!(geometry(with(72, &[0xff; 8])));
        assert_eq!(
            with(72, &[0; 8]),
            SuperblockError::Geometry(GeometryError::NoData)
        );
        assert_eq!(with(80, &[1, 1]), SuperblockError::SaltSize { found: 257 });
        assert_eq!(
            with(83, &[7]),
            SuperblockError::NotZero {
                offset: 83,
                found: 7
            }
        );
        assert_eq!(
            with(92, &[7]),
            SuperblockError::NotZero {
                offset: 92,
                found: 7
            }
        );
        assert_eq!(
            with(511, &[1]),
            SuperblockError::NotZero {
                offset: 511,
                found: 1
            }
        );
    }
}
