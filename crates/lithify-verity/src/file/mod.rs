//! fs-verity: the digests of files.
//!
//! The kernel can keep a hash tree of a file, check each block that is read against it, and say the digest of its top
//! (`Documentation/filesystems/fsverity.rst`). That digest depends on the file's bytes, the hash algorithm, the block
//! size and the salt alone. [`FileHasher`] computes it from bytes that stream past, in memory of one block for each level
//! of the tree, [`FileTree`] from the digests of blocks; [`kernel`] has the kernel compute it.
//!
//! # Layout
//!
//! The tree's leaves are the digests of the file's blocks, the last one filled with zeros. Digests fill blocks, which
//! are hashed likewise, until one digest is left: the root hash. A file of one block has that block's digest as its root
//! hash, an empty file has zeros. A salt, filled with zeros to a whole block of the hash function, is hashed before each
//! block. The file digest is the digest of the descriptor (`struct fsverity_descriptor` of `fs/verity/fsverity_private.h`), 256 bytes:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 1 | hash algorithm: 1 SHA-256, 2 SHA-512 |
//! | 2 | 1 | block size, its binary logarithm |
//! | 3 | 1 | bytes of salt |
//! | 4 | 4 | 0 (size of a signature) |
//! | 8 | 8 | bytes of data, little-endian |
//! | 16 | 64 | root hash, zeros behind it |
//! | 80 | 32 | salt, zeros behind it |
//! | 112 | 144 | 0 |
//!
//! ```
//! use lithify_verity::file::{FileAlgorithm, FileHasher, FileOptions};
//!
//! let mut hasher = FileHasher::new(&FileOptions::new(FileAlgorithm::Sha256))?;
//! hasher.update(b"hello\n");
//! let digest = hasher.finish();
//! assert_eq!(
//!     digest.to_string(), // as `fsverity digest` has it
//!     "sha256:9c76eecc7b76fcb46199cb27b90cf59a660e10575bb0412128905129d5b1c2aa",
//! );
//! # Ok::<(), lithify_verity::file::FileOptionsError>(())
//! ```

mod digest;
mod hasher;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "ioctl")]
pub mod kernel;
mod options;
#[cfg(unix)]
mod read;
mod tree;

pub use digest::{DigestError, FileDigest};
pub use hasher::FileHasher;
pub use options::{FileAlgorithm, FileOptions, FileOptionsError, SALT_MAX};
pub use tree::FileTree;
