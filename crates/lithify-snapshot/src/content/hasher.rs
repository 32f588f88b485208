//! Data in order.

use lithify_verity::file::FileHasher;

use super::digest::ContentDigest;
use super::error::ContentError;
use super::tree;

/// Computes the digest of a disk from its data, as it comes, in order and with gaps, which are zeros.
///
/// ```
/// use lithify_snapshot::content::ContentHasher;
///
/// let mut hasher = ContentHasher::new(1 << 40);
/// hasher.update(1 << 30, b"data")?;
/// println!("{}", hasher.finish());
/// # Ok::<(), lithify_snapshot::content::ContentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContentHasher {
    hasher: FileHasher,
    size: u64,
}

impl ContentHasher {
    /// Begins with a disk of so many bytes, all zeros.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            hasher: FileHasher::from(tree()),
            size,
        }
    }

    /// Takes data at an offset, in bytes, which is not before the end of the data that came last.
    ///
    /// # Errors
    /// [`ContentError::Order`], [`ContentError::PastEnd`]; nothing is taken then.
    pub fn update(&mut self, offset: u64, data: &[u8]) -> Result<(), ContentError> {
        let length = data.len() as u64;
        let gap = ContentError::check(offset, length, self.hasher.size(), self.size)?;
        self.hasher.zeros(gap);
        self.hasher.update(data);
        Ok(())
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(mut self) -> ContentDigest {
        self.hasher.zeros(self.size - self.hasher.size());
        ContentDigest::new(self.hasher.finish())
    }
}
