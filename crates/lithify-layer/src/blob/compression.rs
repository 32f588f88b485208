//! Which compression a blob has.

use std::fmt;

use super::{BlobError, ForeignFormat};
use lithify_tar::BLOCK;

/// How a layer is compressed.
///
/// The blob's first bytes decide, not its media type. Images exist whose media type names another of these three than
/// the blob has: Docker long stored gzip under `.tar`, and tools that recompress forget the type. Every runtime reads
/// them, so lithify does, and says what it found in [`crate::Summary::compression`]. A blob that is none of the three is an error
/// whatever its type, and a blob of no bytes is an empty tar unless its type names a compression, whose empty
/// stream is not of no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip (RFC 1952), any number of members.
    Gzip,
    /// Zstandard (RFC 8878), any number of frames, skippable ones included.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

const OTHERS: [(&[u8], &str); 8] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"LZIP", "lzip"),
    (b"\x5d\0\0", "lzma"),
    (b"PK\x03\x04", "zip"),
];

/// Recognises a blob by its first bytes: at least [`BLOCK`] of them, or all it has.
pub(crate) fn sniff(start: &[u8], hint: Option<Compression>) -> Result<Compression, BlobError> {
    if start.is_empty() {
        return match hint {
            None | Some(Compression::None) => Ok(Compression::None),
            Some(compression) => Err(BlobError::Empty { compression }),
        };
    }
    let foreign = || match ForeignFormat::of(start) {
        Some(format) => Err(BlobError::Foreign { format }),
        None => Ok(()),
    };
    if let Some(block) = start.first_chunk::<BLOCK>()
        && (lithify_tar::looks_like_header(block) || lithify_tar::is_zero(block))
    {
        // An end of an archive, and many a filesystem, begin with zeros.
        foreign()?;
        return Ok(Compression::None);
    }
    if start.starts_with(b"\x1f\x8b") {
        return Ok(Compression::Gzip);
    }
    if let Some([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) = start.first_chunk() {
        return Ok(Compression::Zstd);
    }
    foreign()?;
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(BlobError::UnsupportedCompression { name });
    }
    Err(BlobError::NotATar {
        start: start[..start.len().min(16)].to_vec(),
    })
}

/// Refuses what a compressed blob's first decompressed bytes show to be no tar. Damage is named where it is met.
pub(crate) fn check_inner(start: &[u8]) -> Result<(), BlobError> {
    if let Some(format) = ForeignFormat::of(start) {
        return Err(BlobError::Foreign { format });
    }
    if start
        .first_chunk::<BLOCK>()
        .is_some_and(lithify_tar::looks_like_header)
    {
        return Ok(());
    }
    let twice: [(&[u8], &str); 2] = [
        (b"\x1f\x8b\x08", "gzip inside another compression"),
        (b"\x28\xb5\x2f\xfd", "zstd inside another compression"),
    ];
    let known = twice.iter().chain(&OTHERS);
    match known
        .into_iter()
        .find(|(magic, _)| start.starts_with(magic))
    {
        Some((_, name)) => Err(BlobError::UnsupportedCompression { name }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_decides() {
        let zeros = [0; BLOCK];
        for hint in [
            None,
            Some(Compression::None),
            Some(Compression::Gzip),
            Some(Compression::Zstd),
        ] {
            for (start, found) in [
                (&b"\x1f\x8b\x08"[..], Compression::Gzip),
                (b"\x28\xb5\x2f\xfd", Compression::Zstd),
                (b"\x5a\x2a\x4d\x18\0", Compression::Zstd),
                (&zeros, Compression::None),
            ] {
                assert_eq!(sniff(start, hint).unwrap(), found);
            }
            for (start, name) in [
                (&b"BZh91AY"[..], "bzip2"),
                (b"\xfd7zXZ\0\0", "xz"),
                (b"\x04\x22\x4d\x18\x40", "lz4"),
            ] {
                assert!(
                    matches!(sniff(start, hint), Err(BlobError::UnsupportedCompression { name: n }) if n == name)
                );
            }
            assert!(matches!(
                sniff(b"hello", hint),
                Err(BlobError::NotATar { .. })
            ));
            assert!(matches!(
                sniff(&zeros[1..], hint),
                Err(BlobError::NotATar { .. })
            ));
        }
    }

    #[test]
    fn no_bytes_are_an_empty_tar_but_no_empty_gzip() {
        assert_eq!(sniff(b"", None).unwrap(), Compression::None);
        assert_eq!(
            sniff(b"", Some(Compression::None)).unwrap(),
            Compression::None
        );
        assert!(matches!(
            sniff(b"", Some(Compression::Gzip)),
            Err(BlobError::Empty {
                compression: Compression::Gzip
            })
        ));
    }
}
