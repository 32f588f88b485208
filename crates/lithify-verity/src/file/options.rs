//! The parameters a file digest depends on.

use std::fmt;

use lithify_digest::Algorithm;

/// Most bytes of salt (`FS_VERITY_MAX_SALT_SIZE`).
pub const SALT_MAX: usize = 32;

/// A hash algorithm of fs-verity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl FileAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Returns the number of the algorithm (`FS_VERITY_HASH_ALG_*` of `include/uapi/linux/fsverity.h`).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// Returns the algorithm of a number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.number() == number)
    }

    /// Returns the length of a digest in bytes.
    #[must_use]
    pub const fn digest_size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the name: `sha256` or `sha512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the algorithm of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Returns the bytes the hash function takes at once, to which a salt is filled.
    pub(super) const fn input_block(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    pub(super) const fn hash(self) -> Algorithm {
        match self {
            Self::Sha256 => Algorithm::Sha256,
            Self::Sha512 => Algorithm::Sha512,
        }
    }
}

impl fmt::Display for FileAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The parameters a file digest depends on, apart from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// The hash algorithm.
    pub algorithm: FileAlgorithm,
    /// Size of the blocks in bytes: a power of two from 1024 to 65536. The kernel takes no more than a page. Default 4096.
    pub block_size: u32,
    /// Bytes hashed before each block, at most [`SALT_MAX`]. Default none.
    pub salt: Vec<u8>,
}

impl FileOptions {
    /// Returns the options with an algorithm, blocks of 4096 bytes and no salt.
    #[must_use]
    pub const fn new(algorithm: FileAlgorithm) -> Self {
        Self {
            algorithm,
            block_size: 4096,
            salt: Vec::new(),
        }
    }

    /// Checks the options.
    pub(super) fn check(&self) -> Result<(), FileOptionsError> {
        let found = self.block_size;
        if !(1024..=65536).contains(&found) || !found.is_power_of_two() {
            return Err(FileOptionsError::BlockSize { found });
        }
        if self.salt.len() > SALT_MAX {
            return Err(FileOptionsError::Salt {
                found: self.salt.len(),
            });
        }
        Ok(())
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::new(FileAlgorithm::default())
    }
}

/// Parameters fs-verity does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileOptionsError {
    /// A block size that is none.
    #[error("a block size of {found} bytes: expected a power of two from 1024 to 65536")]
    BlockSize {
        /// The size asked for, in bytes.
        found: u32,
    },
    /// A salt that is too long.
    #[error("a salt of {found} bytes: expected at most {SALT_MAX}")]
    Salt {
        /// Its length in bytes.
        found: usize,
    },
}
