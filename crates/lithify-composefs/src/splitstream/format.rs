//! Header and information (module documentation of [`splitstream`](super)).

use std::fmt;
use std::ops::Range;

use lithify_escape::Escaped;
use lithify_verity::file::FileAlgorithm;

use super::StreamError;

const MAGIC: [u8; 11] = *b"SplitStream";
const VERSION: u8 = 0;
/// Binary logarithm of the size of the blocks of digests.
const BLOCK_BITS: u8 = 12;

/// Bytes of a range.
const RANGE: usize = 2 * size_of::<u64>();
/// Bytes of the header.
pub(super) const HEADER: usize = OLD_BLOCK_BITS_AT + 1;

const VERSION_AT: usize = MAGIC.len();
const FLAGS_AT: usize = VERSION_AT + 1;
const ALGORITHM_AT: usize = FLAGS_AT + size_of::<u16>();
const BLOCK_BITS_AT: usize = ALGORITHM_AT + 1;
const INFORMATION_AT: usize = BLOCK_BITS_AT + 1;
const _: () = assert!(INFORMATION_AT + RANGE == HEADER);

const OLD_INFORMATION_AT: usize = 0;
const OLD_MAGIC_AT: usize = OLD_INFORMATION_AT + RANGE + size_of::<u16>();
const OLD_VERSION_AT: usize = OLD_MAGIC_AT + MAGIC.len();
const OLD_ALGORITHM_AT: usize = OLD_VERSION_AT + 1;
const OLD_BLOCK_BITS_AT: usize = OLD_ALGORITHM_AT + 1;

const STREAMS_AT: usize = 0;
const OBJECTS_AT: usize = STREAMS_AT + RANGE;
const BODY_AT: usize = OBJECTS_AT + RANGE;
const NAMES_AT: usize = BODY_AT + RANGE;
const TYPE_AT: usize = NAMES_AT + RANGE;
const SIZE_AT: usize = TYPE_AT + size_of::<u64>();
/// Bytes of the information.
pub(super) const INFORMATION: usize = SIZE_AT + size_of::<u64>();

/// The kind of content of a splitstream: 8 bytes, as its writers agreed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentType(pub [u8; 8]);

impl ContentType {
    /// The tar of a layer.
    pub const LAYER: Self = Self(*b"ocilayer");
    /// An image configuration.
    pub const CONFIG: Self = Self(*b"ociconfg");
    /// An image manifest.
    pub const MANIFEST: Self = Self(*b"ocimanif");
    /// Any other blob.
    pub const BLOB: Self = Self(*b"oci_blob");
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentType({self})")
    }
}

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: FileAlgorithm,
    pub(super) information: Range<u64>,
}

/// The information of a file. Its ranges are as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Information {
    pub(super) streams: Range<u64>,
    pub(super) objects: Range<u64>,
    pub(super) body: Range<u64>,
    pub(super) names: Range<u64>,
    pub(super) content_type: ContentType,
    pub(super) size: u64,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, StreamError> {
        let is_at = |at: usize| bytes[at..].starts_with(&MAGIC);
        let (version, algorithm, block_bits, information) = match (is_at(0), is_at(OLD_MAGIC_AT)) {
            (true, _) => (VERSION_AT, ALGORITHM_AT, BLOCK_BITS_AT, INFORMATION_AT),
            (false, true) => (
                OLD_VERSION_AT,
                OLD_ALGORITHM_AT,
                OLD_BLOCK_BITS_AT,
                OLD_INFORMATION_AT,
            ),
            (false, false) => return Err(StreamError::Magic),
        };
        if bytes[version] != VERSION {
            return Err(StreamError::Version {
                found: bytes[version],
            });
        }
        let found = bytes[algorithm];
        let algorithm = FileAlgorithm::of_number(found).ok_or(StreamError::Algorithm { found })?;
        if bytes[block_bits] != BLOCK_BITS {
            return Err(StreamError::BlockSize {
                found: bytes[block_bits],
            });
        }
        Ok(Self {
            algorithm,
            information: range(bytes, information),
        })
    }

    pub(super) fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        bytes[VERSION_AT] = VERSION;
        bytes[ALGORITHM_AT] = self.algorithm.number();
        bytes[BLOCK_BITS_AT] = BLOCK_BITS;
        put_range(&mut bytes, INFORMATION_AT, &self.information);
        bytes
    }
}

impl Information {
    pub(super) fn parse(bytes: &[u8; INFORMATION]) -> Self {
        Self {
            streams: range(bytes, STREAMS_AT),
            objects: range(bytes, OBJECTS_AT),
            body: range(bytes, BODY_AT),
            names: range(bytes, NAMES_AT),
            content_type: ContentType(number(bytes, TYPE_AT).to_le_bytes()),
            size: number(bytes, SIZE_AT),
        }
    }

    pub(super) fn to_bytes(&self) -> [u8; INFORMATION] {
        let mut bytes = [0; INFORMATION];
        put_range(&mut bytes, STREAMS_AT, &self.streams);
        put_range(&mut bytes, OBJECTS_AT, &self.objects);
        put_range(&mut bytes, BODY_AT, &self.body);
        put_range(&mut bytes, NAMES_AT, &self.names);
        bytes[TYPE_AT..SIZE_AT].copy_from_slice(&self.content_type.0);
        bytes[SIZE_AT..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; size_of::<u64>()];
    number.copy_from_slice(&bytes[at..][..size_of::<u64>()]);
    u64::from_le_bytes(number)
}

fn range(bytes: &[u8], at: usize) -> Range<u64> {
    number(bytes, at)..number(bytes, at + size_of::<u64>())
}

fn put_range(bytes: &mut [u8], at: usize, range: &Range<u64>) {
    let (start, end) = bytes[at..at + RANGE].split_at_mut(size_of::<u64>());
    start.copy_from_slice(&range.start.to_le_bytes());
    end.copy_from_slice(&range.end.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_are_read() {
        let header = Header {
            algorithm: FileAlgorithm::Sha512,
            information: 32..112,
        };
        let new = header.to_bytes();
        assert_eq!(&new[..16], b"SplitStream\0\0\0\x02\x0c");
        assert_eq!(Header::parse(&new).unwrap(), header);
        let mut old = [0; HEADER];
        old[..16].copy_from_slice(&new[16..]);
        old[18..29].copy_from_slice(b"SplitStream");
        old[30..].copy_from_slice(&[2, 12]);
        assert_eq!(Header::parse(&old).unwrap(), header);
    }

    #[test]
    fn headers_of_other_versions_and_digests_are_refused() {
        let good = Header {
            algorithm: FileAlgorithm::Sha256,
            information: 32..112,
        }
        .to_bytes();
        let parse = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            Header::parse(&bytes)
        };
        assert!(matches!(parse(0, b's'), Err(StreamError::Magic)));
        assert!(matches!(
            parse(11, 1),
            Err(StreamError::Version { found: 1 })
        ));
        assert!(parse(12, 1).is_ok());
        assert!(matches!(
            parse(14, 3),
            Err(StreamError::Algorithm { found: 3 })
        ));
        assert!(matches!(
            parse(15, 16),
            Err(StreamError::BlockSize { found: 16 })
        ));
    }
}
