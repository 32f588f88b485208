//! What can be wrong with a compressed stream.

use thiserror::Error;

/// Why a raw deflate stream (RFC 1951) is not valid.
///
/// Running out of input is not in this list: the decoder then asks for more
/// ([`Status::NeedInput`](crate::Status::NeedInput)), and whoever knows that there is no more
/// decides that the stream is truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeflateError {
    /// `BTYPE` is the reserved value 3 (RFC 1951, 3.2.3).
    #[error("block type is 3, expected 0 (stored), 1 (fixed) or 2 (dynamic)")]
    BlockType,

    /// `NLEN` of a stored block is not the complement of `LEN` (RFC 1951, 3.2.4).
    #[error("stored block: length {len:#06x} and its complement {complement:#06x} do not match")]
    StoredLength {
        /// The `LEN` field.
        len: u16,
        /// The `NLEN` field.
        complement: u16,
    },

    /// `HLIT` declares more literal/length codes than there are symbols.
    #[error("dynamic block declares {found} literal/length codes, at most 286 exist")]
    TooManyLitLenCodes {
        /// The number declared.
        found: u16,
    },

    /// `HDIST` declares more distance codes than there are symbols.
    #[error("dynamic block declares {found} distance codes, at most 30 exist")]
    TooManyDistanceCodes {
        /// The number declared.
        found: u16,
    },

    /// A set of code lengths gives more codewords than fit into the code space.
    #[error("{code} code lengths are over-subscribed")]
    OverSubscribed {
        /// Which of the three codes.
        code: CodeKind,
    },

    /// A set of code lengths leaves code space unused where that is not allowed.
    ///
    /// As in zlib, only a literal/length or distance code made of one single one-bit codeword
    /// may be incomplete, and a distance code may be empty.
    #[error("{code} code lengths are incomplete")]
    Incomplete {
        /// Which of the three codes.
        code: CodeKind,
    },

    /// Code length symbol 16 ("repeat the previous length") stands first.
    #[error("dynamic block starts its code lengths with a repeat of nothing")]
    RepeatWithoutPrevious,

    /// A run of code lengths goes past the number of lengths declared.
    #[error("code length run ends at {end}, but only {declared} lengths are declared")]
    RepeatOverrun {
        /// Index one past the run's last length.
        end: u16,
        /// `HLIT + 257 + HDIST + 1`.
        declared: u16,
    },

    /// The literal/length code has no codeword for the end of the block (symbol 256).
    #[error("dynamic block has no end-of-block code")]
    NoEndOfBlock,

    /// Bits that are no literal/length codeword, or the codeword of symbol 286 or 287.
    #[error("invalid literal/length code")]
    LitLenCode,

    /// Bits that are no distance codeword, or the codeword of symbol 30 or 31.
    #[error("invalid distance code")]
    DistanceCode,

    /// A match reaches back past the first byte of the stream.
    #[error("match goes {distance} bytes back, but only {available} bytes precede it")]
    DistanceTooFar {
        /// The distance of the match.
        distance: u16,
        /// How many bytes of this stream come before it.
        available: u16,
    },

    /// The caller's output buffer does not hold the history the decoder must be able to refer to.
    ///
    /// This is a mistake of the caller, not of the stream: `out[..out_pos]` has to end with the
    /// last 32 KiB (or all, if fewer) of the bytes produced.
    #[error("output position is {found}, but {needed} bytes of history must precede it")]
    MissingHistory {
        /// The bytes of history needed.
        needed: usize,
        /// The output position passed.
        found: usize,
    },

    /// The output position is not in the output buffer: like
    /// [`MissingHistory`](Self::MissingHistory) a mistake of the caller.
    #[error("output position is {found}, but the output buffer has {len} bytes")]
    OutputPosition {
        /// The output position passed.
        found: usize,
        /// The length of the output buffer.
        len: usize,
    },
}

impl DeflateError {
    /// Whether the call was wrong and not the stream: a right call can go on.
    pub(crate) fn is_misuse(self) -> bool {
        matches!(
            self,
            Self::MissingHistory { .. } | Self::OutputPosition { .. }
        )
    }
}

/// The three Huffman codes of a deflate block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeKind {
    /// The code that the code lengths themselves are written in.
    CodeLengths,
    /// Literals, match lengths and the end of the block.
    LitLen,
    /// Match distances.
    Distance,
}

impl std::fmt::Display for CodeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CodeLengths => "code-length",
            Self::LitLen => "literal/length",
            Self::Distance => "distance",
        })
    }
}

/// Why a gzip stream (RFC 1952) is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GzipError {
    /// The input does not start with the gzip magic `1f 8b`.
    #[error("not gzip: expected the magic 1f 8b, found {found:02x} at byte {at} of it")]
    Magic {
        /// The first byte that differs.
        found: u8,
        /// Its place: 0 or 1.
        at: u8,
    },

    /// The compression method is not 8 (deflate).
    #[error("gzip member {member}: compression method is {found}, expected 8 (deflate)")]
    Method {
        /// The member, counted from 1.
        member: u64,
        /// The `CM` byte.
        found: u8,
    },

    /// One of the three reserved flag bits is set.
    #[error("gzip member {member}: reserved flag bits are set in {found:#04x}")]
    ReservedFlags {
        /// The member, counted from 1.
        member: u64,
        /// The `FLG` byte.
        found: u8,
    },

    /// The header's own checksum (`FHCRC`) is wrong.
    #[error("gzip member {member}: header checksum is {found:#06x}, expected {expected:#06x}")]
    HeaderChecksum {
        /// The member, counted from 1.
        member: u64,
        /// The checksum of the header's bytes.
        expected: u16,
        /// The checksum the header states.
        found: u16,
    },

    /// The compressed data are corrupt.
    #[error("gzip member {member}: corrupt deflate data near compressed byte {offset}: {source}")]
    Deflate {
        /// The member, counted from 1.
        member: u64,
        /// The offset, in the whole compressed input, of the call's input that failed.
        offset: u64,
        /// What is wrong.
        source: DeflateError,
    },

    /// The CRC-32 of the decoded bytes is not the one in the trailer.
    #[error(
        "gzip member {member}: CRC-32 of the data is {found:#010x}, the trailer says {expected:#010x}"
    )]
    Checksum {
        /// The member, counted from 1.
        member: u64,
        /// What the trailer states.
        expected: u32,
        /// What the decoded bytes give.
        found: u32,
    },

    /// The number of decoded bytes (modulo 2³²) is not the one in the trailer.
    #[error("gzip member {member}: {found} bytes of data (mod 2^32), the trailer says {expected}")]
    Size {
        /// The member, counted from 1.
        member: u64,
        /// What the trailer states (`ISIZE`).
        expected: u32,
        /// The decoded size modulo 2³².
        found: u32,
    },

    /// Something that is neither another member nor zero padding follows a member.
    #[error(
        "byte {found:#04x} at compressed byte {offset} follows the last gzip member: \
         only another member or zero bytes may"
    )]
    TrailingGarbage {
        /// The first byte that does not belong there.
        found: u8,
        /// Its offset in the whole compressed input.
        offset: u64,
    },

    /// The input ended inside a member.
    #[error(
        "gzip stream is truncated: it ends after {offset} bytes, in the {part} of member {member}"
    )]
    Truncated {
        /// The member, counted from 1.
        member: u64,
        /// The number of compressed bytes there were.
        offset: u64,
        /// The part of the member that is not complete.
        part: MemberPart,
    },
}

/// The parts of a gzip member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberPart {
    /// Magic, flags, and optional fields.
    Header,
    /// The deflate stream.
    Data,
    /// CRC-32 and size.
    Trailer,
}

impl std::fmt::Display for MemberPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Data => "data",
            Self::Trailer => "trailer",
        })
    }
}

impl From<GzipError> for std::io::Error {
    fn from(error: GzipError) -> Self {
        let kind = match error {
            GzipError::Truncated { .. } => std::io::ErrorKind::UnexpectedEof,
            _ => std::io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
