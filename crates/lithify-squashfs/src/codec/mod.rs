//! Compressing and decompressing one block.

mod lzo; // LZO1X, read only

use std::fmt;
use std::io::{self, Read as _, Write as _};

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use lz4_flex::block::CompressTable;
use lzma_rust2::{CheckType, LzmaReader, XzOptions, XzReader, XzWriter};

use crate::compression::Compression;
use crate::format::superblock::Compressor;

/// Highest zstd level at which contexts are reused. Those above may use the row match finder, which salts its hashes
/// anew for every block of a reused context (`ZSTD_advanceHashSalt`), so that nothing promises output independent of
/// the blocks before. What a new context costs cannot be measured there.
const ZSTD_REUSABLE_MAX: u8 = 4;

/// Compresses blocks. What it makes of one depends on nothing but the block.
pub(crate) enum Encoder {
    None,
    Gzip(Compress),
    Lz4(CompressTable),
    Xz { level: u8, dictionary: u32 },
    Zstd(zstd::bulk::Compressor<'static>),
    ZstdFresh { level: u8 },
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    pub(crate) fn new(compression: Compression, block_size: u32) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Gzip { level } => Self::Gzip(Compress::new(
                flate2::Compression::new(u32::from(level)),
                true,
            )),
            // The small table is faster and compresses otherwise; which one is used must not depend on the blocks
            // before.
            Compression::Lz4 => Self::Lz4(CompressTable::large()),
            Compression::Xz { level } => Self::Xz {
                level,
                dictionary: block_size,
            },
            Compression::Zstd { level } if level > ZSTD_REUSABLE_MAX => Self::ZstdFresh { level },
            Compression::Zstd { level } => Self::Zstd(zstd_encoder(level)?),
        })
    }

    /// Compresses a block into `out`. Gives false when that makes it no shorter: it is to be stored as it is.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        out.clear();
        match self {
            Self::None => return Ok(false),
            Self::Gzip(compress) => {
                compress.reset();
                // What does not fit is no shorter.
                out.reserve_exact(raw.len());
                let status = compress
                    .compress_vec(raw, out, FlushCompress::Finish)
                    .map_err(io::Error::other)?;
                return Ok(status == Status::StreamEnd && out.len() < raw.len());
            }
            Self::Lz4(table) => {
                out.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let length = lz4_flex::block::compress_into_with_table(raw, out, table)
                    .map_err(io::Error::other)?;
                out.truncate(length);
            }
            Self::Xz { level, dictionary } => {
                let mut options = XzOptions::with_preset(u32::from(*level));
                options.lzma_options.dict_size = *dictionary;
                // The only check besides none that Linux can compute (`CONFIG_XZ_DEC`).
                options.check_type = CheckType::Crc32;
                let mut writer = XzWriter::new(std::mem::take(out), options)?;
                writer.write_all(raw)?;
                *out = writer.finish()?;
            }
            Self::Zstd(compressor) => {
                out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
                compressor.compress_to_buffer(raw, out)?;
            }
            Self::ZstdFresh { level } => {
                out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
                zstd_encoder(*level)?.compress_to_buffer(raw, out)?;
            }
        }
        Ok(out.len() < raw.len())
    }
}

fn zstd_encoder(level: u8) -> io::Result<zstd::bulk::Compressor<'static>> {
    zstd::bulk::Compressor::new(i32::from(level))
}

/// Decompresses blocks.
pub(crate) enum Decoder {
    Gzip(Decompress),
    Lzma { memory: u32 },
    Lzo,
    Xz { memory: u32 },
    Lz4,
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// Memory an xz or LZMA block may ask for besides its dictionary, in KiB: probabilities of the usual parameters, and
/// the decoder itself.
const XZ_MEMORY: u32 = 256;

impl Decoder {
    /// For an image of that block size, which no dictionary is longer than.
    pub(crate) fn new(compressor: Compressor, block_size: u32) -> io::Result<Self> {
        let memory = block_size / 1024 + XZ_MEMORY;
        Ok(match compressor {
            Compressor::Gzip => Self::Gzip(Decompress::new(true)),
            Compressor::Lzma => Self::Lzma { memory },
            Compressor::Lzo => Self::Lzo,
            Compressor::Xz => Self::Xz { memory },
            Compressor::Lz4 => Self::Lz4,
            Compressor::Zstd => Self::Zstd(zstd::bulk::Decompressor::new()?),
        })
    }

    /// Decompresses a block of at most `max` bytes into `out`.
    pub(crate) fn decompress(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> io::Result<()> {
        out.clear();
        match self {
            Self::Gzip(decompress) => {
                decompress.reset(true);
                out.reserve(max + 1);
                let status = decompress
                    .decompress_vec(input, out, FlushDecompress::Finish)
                    .map_err(io::Error::other)?;
                if status != Status::StreamEnd {
                    return Err(bad("the stream has no end"));
                }
            }
            Self::Lzma { memory } => {
                let reader =
                    LzmaReader::new_mem_limit(input, *memory, None).map_err(io::Error::other)?;
                reader.take(max as u64 + 1).read_to_end(out)?;
            }
            Self::Lzo => lzo::decompress(input, out, max)?,
            Self::Xz { memory } => {
                let reader = XzReader::new_mem_limit(input, false, *memory);
                reader.take(max as u64 + 1).read_to_end(out)?;
            }
            Self::Lz4 => {
                out.resize(max, 0);
                let length =
                    lz4_flex::block::decompress_into(input, out).map_err(io::Error::other)?;
                out.truncate(length);
            }
            Self::Zstd(decompressor) => {
                out.reserve(max + 1);
                decompressor.decompress_to_buffer(input, out)?;
            }
        }
        if out.len() > max {
            return Err(bad("it is longer than a block"));
        }
        Ok(())
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 8] = [
        "none", "gzip", "gzip:1", "lz4", "xz", "xz:0", "zstd", "zstd:22",
    ];

    /// Blocks that shrink and blocks that do not, one after another through the same encoder and decoder.
    #[test]
    fn blocks_survive() {
        let mut state = 1_u32;
        let mut noise = |length: usize| -> Vec<u8> {
            std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(length)
            .collect()
        };
        let blocks = [
            noise(8192),
            vec![7; 8192],
            noise(1),
            vec![0],
            [noise(4000), vec![1; 4000]].concat(),
            b"text and text and text".repeat(300),
        ];
        for name in ALL {
            let compression: Compression = name.parse().unwrap();
            let mut encoder = Encoder::new(compression, 8192).unwrap();
            let mut decoder = Decoder::new(compression.compressor(), 8192).unwrap();
            let (mut packed, mut raw) = (Vec::new(), Vec::new());
            for block in &blocks {
                let shorter = encoder.compress(block, &mut packed).unwrap();
                if !shorter {
                    continue;
                }
                assert!(packed.len() < block.len());
                decoder.decompress(&packed, &mut raw, 8192).unwrap();
                assert!(raw == *block, "{name}");
                // No longer than allowed, no less than there is.
                assert!(
                    decoder
                        .decompress(&packed, &mut raw, block.len() - 1)
                        .is_err(),
                    "{name}"
                );
                assert!(
                    decoder
                        .decompress(&packed[..packed.len() - 1], &mut raw, 8192)
                        .is_err(),
                    "{name}"
                );
            }
        }
    }

    /// A dictionary no block needs is refused before memory is taken for it.
    #[test]
    fn long_dictionaries_are_refused() {
        let mut packed = Vec::new();
        let mut encoder = Encoder::Xz {
            level: 6,
            dictionary: 64 << 20,
        };
        encoder.compress(&[1; 5000], &mut packed).unwrap();
        for block_size in [8 << 10, 1 << 20] {
            let mut decoder = Decoder::new(Compressor::Xz, block_size).unwrap();
            assert!(decoder.decompress(&packed, &mut Vec::new(), 8192).is_err());
        }
    }
}
