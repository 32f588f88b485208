//! Trees from data that passes by.

use lithify_digest::{Algorithm, Hasher};
use lithify_storage::Storage;

use super::error::{GeometryError, WriteError};
use super::geometry::Geometry;
use super::hash::{Batch, BlockHasher, DIGEST_SIZE, Hash, Pool};
use super::options::VerityOptions;
use super::superblock::{SALT_MAX, Superblock};

/// Bytes of a level collected before they are written.
const WRITE: usize = 64 * 1024;

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerityReport {
    /// The root hash: whoever knows it can trust the image.
    pub root: Hash,
    /// Where the superblock is, in bytes.
    pub hash_offset: u64,
    /// Bytes from the superblock to the end of the tree.
    pub hash_size: u64,
    /// Size of everything in bytes: image, padding, superblock and tree.
    pub size: u64,
    /// UUID in the superblock.
    pub uuid: [u8; 16],
    /// Block sizes and number, and the tree's levels.
    pub geometry: Geometry,
}

/// Makes a tree while the data passes, in order.
///
/// The image's size has to be known, since it says where the levels are. Finished parts of the tree are written on the way;
/// memory stays bounded whatever the size. Everything behind the image is written to the storage given, at its place
/// behind the image (nothing else is written, and nothing is read).
///
/// ```
/// use lithify_verity::{Storage as _, TreeBuilder, VerifyOptions, VerityOptions, verify};
///
/// let mut file = Vec::new();
/// let mut tree = TreeBuilder::new(6000, &VerityOptions::default())?;
/// for (n, piece) in [[1; 3000], [2; 3000]].iter().enumerate() {
///     file.write_all_at(piece, n as u64 * 3000)?;
///     tree.update(piece, &mut file)?;
/// }
/// let report = tree.finish(&mut file)?;
/// verify(&file, report.hash_offset, &VerifyOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TreeBuilder {
    image_size: u64,
    hash_offset: u64,
    tree_offset: u64,
    /// Of everything.
    end: u64,
    geometry: Geometry,
    salt: Vec<u8>,
    uuid: Option<[u8; 16]>,
    hasher: BlockHasher,
    pool: Pool,
    /// Data that is not yet a batch.
    filling: Batch,
    fed: u64,
    levels: Vec<Growing>,
    root: Option<Hash>,
}

/// A level that is being made.
#[derive(Debug, Default)]
struct Growing {
    /// Digests not yet written; starts at a block boundary.
    bytes: Vec<u8>,
    /// Bytes of this level already written.
    written: u64,
}

impl TreeBuilder {
    /// Starts a tree over an image of `image_size` bytes. An image that ends within a block is continued with zeros.
    ///
    /// # Errors
    /// An empty image, block sizes or a salt dm-verity does not have, or sizes over 2⁶³ − 1 bytes.
    pub fn new(image_size: u64, options: &VerityOptions) -> Result<Self, WriteError> {
        if options.salt.len() > SALT_MAX {
            return Err(WriteError::SaltTooLong {
                found: options.salt.len(),
            });
        }
        // A block size of 0 gets its error from `Geometry::new`.
        let data_blocks = image_size.div_ceil(u64::from(options.data_block).max(1));
        let geometry = Geometry::new(data_blocks, options.data_block, options.hash_block)?;
        let hash_offset = geometry.data_size();
        let too_large = GeometryError::TooLarge {
            data_blocks,
            data_block: options.data_block,
        };
        let end = geometry
            .end(hash_offset)
            .filter(|&end| end <= i64::MAX as u64)
            .ok_or(too_large)?;
        let tree_offset = geometry.tree_offset(hash_offset).ok_or(too_large)?;
        let hasher = BlockHasher::new(&options.salt);
        let mut pool = Pool::new(hasher.clone(), options.data_block, options.threads);
        Ok(Self {
            image_size,
            hash_offset,
            tree_offset,
            end,
            salt: options.salt.clone(),
            uuid: options.uuid,
            filling: pool.batch(),
            levels: geometry
                .levels()
                .iter()
                .map(|_| Growing::default())
                .collect(),
            geometry,
            hasher,
            pool,
            fed: 0,
            root: None,
        })
    }

    /// Size of image, padding, superblock and tree in bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Takes the next bytes of the image.
    ///
    /// # Errors
    /// More bytes than announced; what the storage says.
    pub fn update<S: Storage + ?Sized>(
        &mut self,
        mut data: &[u8],
        storage: &mut S,
    ) -> Result<(), WriteError> {
        let fed = self.fed.checked_add(data.len() as u64);
        match fed.filter(|&fed| fed <= self.image_size) {
            Some(fed) => self.fed = fed,
            None => {
                return Err(WriteError::DataLength {
                    announced: self.image_size,
                    found: fed.unwrap_or(u64::MAX),
                });
            }
        }
        while !data.is_empty() {
            let room = self.pool.batch_size() - self.filling.data.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.filling.data.extend_from_slice(now);
            data = later;
            if self.filling.data.len() == self.pool.batch_size() {
                self.send(storage)?;
            }
        }
        Ok(())
    }

    /// Takes the next bytes of the image from the storage itself.
    pub(crate) fn update_from<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
    ) -> Result<(), WriteError> {
        while self.fed < self.image_size {
            let room = self.pool.batch_size() - self.filling.data.len();
            let length = (self.image_size - self.fed).min(room as u64) as usize;
            let start = self.filling.data.len();
            self.filling.data.resize(start + length, 0);
            storage
                .read_exact_at(&mut self.filling.data[start..], self.fed)
                .map_err(|source| WriteError::Io {
                    operation: "read the image",
                    offset: self.fed,
                    source,
                })?;
            self.fed += length as u64;
            if self.filling.data.len() == self.pool.batch_size() {
                self.send(storage)?;
            }
        }
        Ok(())
    }

    /// Writes what is left of the tree, zeros between image and superblock, and the superblock.
    ///
    /// # Errors
    /// Fewer bytes than announced; what the storage says.
    pub fn finish<S: Storage + ?Sized>(
        mut self,
        storage: &mut S,
    ) -> Result<VerityReport, WriteError> {
        if self.fed != self.image_size {
            return Err(WriteError::DataLength {
                announced: self.image_size,
                found: self.fed,
            });
        }
        let block = self.geometry.data_block() as usize;
        let whole = self.filling.data.len().next_multiple_of(block);
        self.filling.data.resize(whole, 0);
        if whole > 0 {
            self.send(storage)?;
        }
        while let Some(batch) = self.pool.next() {
            self.take(batch, storage)?;
        }
        for level in 0..self.levels.len() {
            self.close(level, storage)?;
        }
        let Some(root) = self.root else {
            unreachable!("a tree over at least one block has a root")
        };
        let uuid = self.uuid.unwrap_or_else(|| self.derived_uuid(&root));
        let superblock = Superblock {
            uuid,
            salt: self.salt,
            geometry: self.geometry,
        };
        // Padding, superblock, and the rest of its block.
        let padding = (self.hash_offset - self.image_size) as usize;
        let mut head = vec![0; padding];
        head.extend_from_slice(&superblock.to_bytes());
        head.resize(padding + (self.tree_offset - self.hash_offset) as usize, 0);
        write(storage, &head, self.image_size)?;
        Ok(VerityReport {
            root,
            hash_offset: self.hash_offset,
            hash_size: self.end - self.hash_offset,
            size: self.end,
            uuid,
            geometry: superblock.geometry,
        })
    }

    /// Has the filled batch hashed, and takes what is done.
    fn send<S: Storage + ?Sized>(&mut self, storage: &mut S) -> Result<(), WriteError> {
        if self.pool.is_full()
            && let Some(done) = self.pool.next()
        {
            self.take(done, storage)?;
        }
        let empty = self.pool.batch();
        self.pool
            .submit(std::mem::replace(&mut self.filling, empty));
        Ok(())
    }

    fn take<S: Storage + ?Sized>(
        &mut self,
        batch: Batch,
        storage: &mut S,
    ) -> Result<(), WriteError> {
        for digest in batch.digests.chunks_exact(DIGEST_SIZE) {
            self.push(0, digest, storage)?;
        }
        self.pool.recycle(batch);
        Ok(())
    }

    /// Adds a digest to a level.
    fn push<S: Storage + ?Sized>(
        &mut self,
        level: usize,
        digest: &[u8],
        storage: &mut S,
    ) -> Result<(), WriteError> {
        let Some(growing) = self.levels.get_mut(level) else {
            // Above the top is the root.
            debug_assert!(self.root.is_none());
            self.root = Some(Hash::start_of(digest));
            return Ok(());
        };
        growing.bytes.extend_from_slice(digest);
        let block = self.geometry.hash_block() as usize;
        if growing.bytes.len().is_multiple_of(block) {
            let start = growing.bytes.len() - block;
            let digest = self.hasher.hash(&growing.bytes[start..]);
            if growing.bytes.len() >= WRITE {
                self.write_level(level, storage)?;
            }
            self.push(level + 1, digest.as_bytes(), storage)?;
        }
        Ok(())
    }

    /// Fills the last block of a level with zeros, hashes it, and writes what is left.
    fn close<S: Storage + ?Sized>(
        &mut self,
        level: usize,
        storage: &mut S,
    ) -> Result<(), WriteError> {
        let block = self.geometry.hash_block() as usize;
        let bytes = &mut self.levels[level].bytes;
        let length = bytes.len();
        if !length.is_multiple_of(block) {
            bytes.resize(length.next_multiple_of(block), 0);
            let digest = self.hasher.hash(&bytes[length / block * block..]);
            self.push(level + 1, digest.as_bytes(), storage)?;
        }
        self.write_level(level, storage)
    }

    fn write_level<S: Storage + ?Sized>(
        &mut self,
        level: usize,
        storage: &mut S,
    ) -> Result<(), WriteError> {
        let growing = &mut self.levels[level];
        let offset = self.tree_offset + self.geometry.levels()[level].offset + growing.written;
        write(storage, &growing.bytes, offset)?;
        growing.written += growing.bytes.len() as u64;
        growing.bytes.clear();
        Ok(())
    }

    /// A version 8 UUID (RFC 9562, section 5.8) made of everything the tree depends on.
    fn derived_uuid(&self, root: &Hash) -> [u8; 16] {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"lithify dm-verity\0");
        hasher.update(root.as_bytes());
        hasher.update(&self.geometry.data_block().to_le_bytes());
        hasher.update(&self.geometry.hash_block().to_le_bytes());
        hasher.update(&self.geometry.data_blocks().to_le_bytes());
        hasher.update(&self.salt);
        let digest = hasher.finish();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&digest.as_bytes()[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }
}

fn write<S: Storage + ?Sized>(
    storage: &mut S,
    bytes: &[u8],
    offset: u64,
) -> Result<(), WriteError> {
    storage
        .write_all_at(bytes, offset)
        .map_err(|source| WriteError::Io {
            operation: "write the hash tree",
            offset,
            source,
        })
}
