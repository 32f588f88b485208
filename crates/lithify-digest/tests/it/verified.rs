//! Bytes compared with what was promised, however they come.

use std::io::{self, Read, Write as _};

use lithify_digest::{
    Algorithm, Digest, HashingWriter, Mismatch, VerifiedReader, Verifier, digest_of,
};
use proptest::prelude::*;

/// Gives its bytes in pieces of given lengths, with an interruption before each.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: std::iter::Cycle<std::vec::IntoIter<usize>>,
    interrupt: bool,
    /// Bytes that were asked for beyond the last one given.
    taken: usize,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], lengths: Vec<usize>) -> Self {
        Self {
            bytes,
            lengths: lengths.into_iter().cycle(),
            interrupt: false,
            taken: 0,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = self.lengths.next().unwrap().min(buffer.len());
        let read = (&mut &self.bytes[..]).read(&mut buffer[..length])?;
        self.bytes = &self.bytes[read..];
        self.taken += read;
        Ok(read)
    }
}

/// Returns the bytes that are read, and the mismatch that is found.
fn read(verifier: Verifier, bytes: &[u8], pieces: Vec<usize>) -> (Vec<u8>, Result<(), Mismatch>) {
    let mut reader = VerifiedReader::new(Pieces::new(bytes, pieces), verifier);
    let mut got = Vec::new();
    let result = reader.read_to_end(&mut got);
    assert_eq!(reader.is_verified(), result.is_ok());
    let result = result.map(drop).map_err(|error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // What is wrong stays wrong, and what is right stays right.
        let again = reader.read(&mut [0]).unwrap_err();
        let found = Mismatch::in_error(&error).unwrap().clone();
        assert_eq!(Mismatch::in_error(&again), Some(&found));
        found
    });
    if result.is_ok() {
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
    (got, result)
}

proptest! {
    #[test]
    fn only_what_was_promised_comes_to_its_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        pieces in proptest::collection::vec(1_usize..40, 1..6),
        more in 0_usize..3,
        less in 0_usize..3,
        flip in proptest::option::of(any::<proptest::sample::Index>()),
        sized in any::<bool>(),
    ) {
        let digest = Digest::of(Algorithm::Sha512, &bytes);
        let size = bytes.len() as u64;
        let mut sent = bytes.clone();
        if let Some(at) = flip.filter(|_| !sent.is_empty()) {
            let at = at.index(sent.len());
            sent[at] ^= 0x10;
        }
        sent.truncate(sent.len().saturating_sub(less));
        sent.extend(std::iter::repeat_n(7, more));
        let verifier = match sized {
            true => Verifier::new(digest, size),
            false => Verifier::promised(Some(digest), None),
        };
        let (got, result) = read(verifier, &sent, pieces);
        let expected = match () {
            () if sized && sent.len() as u64 > size => Err(Mismatch::Trailing { expected: size }),
            () if sized && (sent.len() as u64) < size => {
                Err(Mismatch::Size { expected: size, found: sent.len() as u64 })
            }
            () => Mismatch::of_digests(&digest, &Digest::of(Algorithm::Sha512, &sent)),
        };
        prop_assert_eq!(&result, &expected);
        prop_assert_eq!(result.is_ok(), sent == bytes);
        let most = if sized { sent.len().min(bytes.len()) } else { sent.len() };
        prop_assert_eq!(&got, &sent[..most]);
    }
}

#[test]
fn no_more_than_one_byte_behind_the_end_is_read() {
    let verifier = Verifier::new(Digest::of(Algorithm::Sha256, b"abc"), 3);
    let mut pieces = Pieces::new(b"abcdefghijkl", vec![1000]);
    let mut reader = VerifiedReader::new(&mut pieces, verifier);
    reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(pieces.taken, 4);
}

#[test]
fn errors_of_the_reader_are_its_own() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let verifier = Verifier::promised(Some(Digest::of(Algorithm::Sha256, b"")), None);
    let mut reader = VerifiedReader::new(Broken, verifier);
    let error = reader.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(Mismatch::in_error(&error).is_none() && !reader.is_verified());
}

#[test]
fn what_is_written_is_hashed_as_far_as_it_was_taken() {
    // Takes three bytes at once at most.
    struct Narrow(Vec<u8>);
    impl io::Write for Narrow {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.write(&data[..data.len().min(3)])
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = HashingWriter::new(Narrow(Vec::new()), Algorithm::Sha256);
    writer.write_all(b"four bytes and more").unwrap();
    let (narrow, digest, size) = writer.finish();
    assert_eq!(digest, Digest::of(Algorithm::Sha256, &narrow.0));
    assert_eq!(size, 19);
    let mut pieces = Pieces::new(b"four bytes and more", vec![2, 5]);
    assert_eq!(
        digest_of(&mut pieces, Algorithm::Sha256).unwrap(),
        (digest, 19)
    );
}
