//! Digests of messages that begin alike.

use crate::{Algorithm, Digest, Hasher};

/// Bytes of a block of SHA-256.
#[cfg(target_arch = "x86_64")]
pub(crate) const BLOCK: usize = 64;

/// The digests of messages behind the same salt: blocks of a file or a device, of which each has
/// its own.
///
/// ```
/// use lithify_digest::{Algorithm, Digest, Salted};
///
/// let salted = Salted::new(Algorithm::Sha256, b"salt");
/// let one = Digest::of(Algorithm::Sha256, b"salt1");
/// let two = Digest::of(Algorithm::Sha256, b"salt2");
/// assert_eq!(salted.digest(b"1"), one);
/// assert_eq!(salted.digests([b"1", b"2"]), [one, two]);
/// ```
#[derive(Clone, Debug)]
pub struct Salted {
    /// Has seen the salt.
    hasher: Hasher,
    #[cfg(target_arch = "x86_64")]
    begun: Begun,
}

/// The state of SHA-256 behind the salt.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Begun {
    /// That after the salt's whole blocks; `None` if the processor or the algorithm is another one.
    pub(crate) state: Option<[u32; 8]>,
    /// The bytes of the salt behind them.
    pub(crate) rest: Vec<u8>,
    /// All bytes of the salt.
    pub(crate) length: usize,
}

impl Salted {
    /// Takes a salt, which may be empty.
    #[must_use]
    pub fn new(algorithm: Algorithm, salt: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(salt);
        Self {
            hasher,
            #[cfg(target_arch = "x86_64")]
            begun: match algorithm {
                Algorithm::Sha256 => crate::pair::begin(salt),
                _ => Begun::default(),
            },
        }
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    /// Returns the digest of salt and message.
    #[must_use]
    pub fn digest(&self, message: &[u8]) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(message);
        hasher.finish()
    }

    /// Returns the digests of two messages, each behind the salt. Those of the same length are
    /// computed together, where the processor has instructions for SHA-256: each of them waits for
    /// the one before, unless it is of another message.
    #[must_use]
    pub fn digests(&self, messages: [&[u8]; 2]) -> [Digest; 2] {
        #[cfg(target_arch = "x86_64")]
        if let Some(digests) = crate::pair::digests(&self.begun, messages) {
            let digest = |bytes: [u8; 32]| match Digest::from_bytes(Algorithm::Sha256, &bytes) {
                Ok(digest) => digest,
                Err(_) => unreachable!("a digest of SHA-256 has 32 bytes"),
            };
            return digests.map(digest);
        }
        messages.map(|message| self.digest(message))
    }

    /// Returns the digest of each block of so many bytes in `data`, each behind the salt; the last block may be shorter. Two are
    /// computed at a time, as by [`Salted::digests`].
    ///
    /// ```
    /// use lithify_digest::{Algorithm, Salted};
    ///
    /// let salted = Salted::new(Algorithm::Sha256, b"salt");
    /// let digests: Vec<_> = salted.blocks(b"abcde", 2).collect();
    /// assert_eq!(digests, [&b"ab"[..], b"cd", b"e"].map(|block| salted.digest(block)));
    /// ```
    pub fn blocks<'a>(
        &'a self,
        data: &'a [u8],
        length: usize,
    ) -> impl Iterator<Item = Digest> + 'a {
        let pairs = data.chunks(2 * length.max(1));
        pairs.flat_map(move |pair| {
            let found = match pair.split_at(pair.len().min(length)) {
                (one, []) => [Some(self.digest(one)), None],
                (one, two) => self.digests([one, two]).map(Some),
            };
            found.into_iter().flatten()
        })
    }
}
