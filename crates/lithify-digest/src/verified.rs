//! Bytes that are compared with what was promised for them while they stream past.

use std::io::{self, Read};

use crate::{Digest, Hasher, Mismatch};

/// A running comparison of bytes with the digest and the size promised for them, as far as there are such promises.
///
/// Nothing can be said of the bytes before [`finish`](Self::finish) returned `Ok`.
///
/// ```
/// use lithify_digest::{Algorithm, Digest, Mismatch, Verifier};
///
/// let mut verifier = Verifier::new(Digest::of(Algorithm::Sha256, b"hello"), 5);
/// verifier.update(b"hel")?;
/// assert_eq!(verifier.clone().finish(), Err(Mismatch::Size { expected: 5, found: 3 }));
/// verifier.update(b"lo")?;
/// assert_eq!(verifier.clone().update(b"!"), Err(Mismatch::Trailing { expected: 5 }));
/// verifier.finish()?;
/// # Ok::<(), Mismatch>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    digest: Option<(Digest, Hasher)>,
    size: Option<u64>,
    found: u64,
}

impl Verifier {
    /// Starts a comparison with a digest and a size in bytes.
    #[must_use]
    pub fn new(digest: Digest, size: u64) -> Self {
        Self::promised(Some(digest), Some(size))
    }

    /// Starts a comparison with a digest, if there is one, and a size in bytes, if there is one.
    #[must_use]
    pub fn promised(digest: Option<Digest>, size: Option<u64>) -> Self {
        Self {
            digest: digest.map(|digest| (digest, Hasher::new(digest.algorithm()))),
            size,
            found: 0,
        }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`Mismatch::Trailing`] if there are now more than were promised; nothing is added then.
    pub fn update(&mut self, data: &[u8]) -> Result<(), Mismatch> {
        let found = self.found.saturating_add(data.len() as u64);
        if let Some(expected) = self.size
            && found > expected
        {
            return Err(Mismatch::Trailing { expected });
        }
        if let Some((_, hasher)) = &mut self.digest {
            hasher.update(data);
        }
        self.found = found;
        Ok(())
    }

    /// Returns the number of bytes added so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Returns how many bytes are still to come, if their number was promised.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        Some(self.size? - self.found)
    }

    /// Ends the comparison: all bytes were added.
    ///
    /// # Errors
    /// [`Mismatch::Size`] if they are too few, else [`Mismatch::Digest`] if they are others.
    pub fn finish(self) -> Result<(), Mismatch> {
        if let Some(expected) = self.size {
            Mismatch::of_sizes(expected, self.found)?;
        }
        match self.digest {
            Some((expected, hasher)) => Mismatch::of_digests(&expected, &hasher.finish()),
            None => Ok(()),
        }
    }
}

/// A reader that ends only if what it gave is what was promised.
///
/// The end (`Ok(0)`) is returned once size and digest are compared and nothing follows the last byte promised; instead
/// of it, a [`Mismatch`] is returned as an [`io::Error`] of kind `InvalidData`, in which [`Mismatch::in_error`] finds
/// it. No byte beyond the promised size is passed on, and at most one is read. Errors of the reader inside are passed
/// on as they are.
///
/// ```
/// use std::io::Read as _;
///
/// use lithify_digest::{Algorithm, Digest, Mismatch, VerifiedReader, Verifier};
///
/// let verifier = Verifier::new(Digest::of(Algorithm::Sha256, b"hello"), 5);
/// let mut reader = VerifiedReader::new(&b"jello"[..], verifier);
/// let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
/// assert!(matches!(Mismatch::in_error(&error), Some(Mismatch::Digest { .. })));
/// ```
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    /// `None` once the bytes were found right.
    verifier: Option<Verifier>,
    /// The mismatch that was found: the bytes stay wrong.
    wrong: Option<Mismatch>,
}

impl<R: Read> VerifiedReader<R> {
    /// Compares what `inner` gives with what `verifier` expects.
    #[must_use]
    pub fn new(inner: R, verifier: Verifier) -> Self {
        Self {
            inner,
            verifier: Some(verifier),
            wrong: None,
        }
    }

    /// Returns the reader whose bytes are compared.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns whether the end was reached and all bytes before it were right.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verifier.is_none() && self.wrong.is_none()
    }

    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(verifier) = &mut self.verifier else {
            return Ok(0);
        };
        let mut one = [0];
        let most = match verifier.left() {
            // There must be an end, and it takes a read to see it.
            Some(0) => &mut one[..],
            Some(left) => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let most = left.min(buffer.len());
                &mut buffer[..most]
            }
            None => buffer,
        };
        let read = self.inner.read(most)?;
        match read {
            0 => self.verifier.take().map_or(Ok(()), Verifier::finish)?,
            _ => verifier.update(&most[..read])?,
        }
        Ok(read)
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone().into());
        }
        self.step(buffer).inspect_err(|error| {
            self.wrong = Mismatch::in_error(error).cloned();
        })
    }
}
