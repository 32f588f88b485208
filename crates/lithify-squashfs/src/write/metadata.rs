//! Tables of metadata: blocks of 8 KiB, each compressed on its own.

use crate::codec::Encoder;
use crate::format::{METADATA_LEN, METADATA_STORED, Position};
use crate::{Compression, WriteError};

/// Collects a table.
#[derive(Debug)]
pub(crate) struct MetadataWriter {
    encoder: Encoder,
    compression: Compression,
    block: Vec<u8>,
    packed: Vec<u8>,
    /// Finished blocks that have not been taken away.
    pub(crate) out: Vec<u8>,
    /// Length of those that have.
    taken: u64,
    /// A finished block of nothing but zeros, once there was one.
    zeros: Vec<u8>,
}

impl MetadataWriter {
    pub(crate) fn new(compression: Compression) -> Result<Self, WriteError> {
        let encoder = Encoder::new(compression, METADATA_LEN as u32).map_err(|source| {
            WriteError::Compress {
                compression,
                source,
            }
        })?;
        Ok(Self {
            encoder,
            compression,
            block: Vec::with_capacity(METADATA_LEN),
            packed: Vec::new(),
            out: Vec::new(),
            taken: 0,
            zeros: Vec::new(),
        })
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> Position {
        Position {
            block: self.taken + self.out.len() as u64,
            offset: self.block.len() as u16,
        }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let n = bytes.len().min(METADATA_LEN - self.block.len());
            let (head, rest) = bytes.split_at(n);
            self.block.extend_from_slice(head);
            if self.block.len() == METADATA_LEN {
                self.close_block()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Adds so many zeros. Whole blocks of them are compressed once: the list of a file's blocks can have gigabytes.
    pub(crate) fn push_zeros(&mut self, mut count: u64) -> Result<(), WriteError> {
        const ZEROS: [u8; METADATA_LEN] = [0; METADATA_LEN];
        while count > 0 {
            let room = (METADATA_LEN - self.block.len()) as u64;
            let n = count.min(room);
            if n == METADATA_LEN as u64 && !self.zeros.is_empty() {
                self.out.extend_from_slice(&self.zeros);
            } else {
                let start = self.out.len();
                self.push(&ZEROS[..n as usize])?;
                if n == METADATA_LEN as u64 {
                    self.zeros = self.out[start..].to_vec();
                }
            }
            count -= n;
        }
        Ok(())
    }

    /// Ends the block begun.
    pub(crate) fn close_block(&mut self) -> Result<(), WriteError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let compression = self.compression;
        let compressed = self
            .encoder
            .compress(&self.block, &mut self.packed)
            .map_err(|source| WriteError::Compress {
                compression,
                source,
            })?;
        let (bytes, stored) = if compressed {
            (&self.packed, 0)
        } else {
            (&self.block, METADATA_STORED)
        };
        // At most 8192 bytes.
        self.out.extend((bytes.len() as u16 | stored).to_le_bytes());
        self.out.extend_from_slice(bytes);
        self.block.clear();
        Ok(())
    }

    /// The finished blocks have been written.
    pub(crate) fn clear_out(&mut self) {
        self.taken += self.out.len() as u64;
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a gigabyte of zeros was compressed block by block.
    #[test]
    fn zeros_are_compressed_once_and_come_out_the_same() {
        for compression in [Compression::None, Compression::default()] {
            let mut ours = MetadataWriter::new(compression).unwrap();
            let mut theirs = MetadataWriter::new(compression).unwrap();
            for zeros in [0, 5, 8192, 3 * 8192 + 7, 20, 5 * 8192] {
                ours.push(b"text").unwrap();
                ours.push_zeros(zeros).unwrap();
                theirs.push(b"text").unwrap();
                theirs.push(&vec![0; zeros as usize]).unwrap();
                assert_eq!(ours.position(), theirs.position());
            }
            assert!(!ours.zeros.is_empty());
            assert!(ours.out == theirs.out);
        }
    }
}
