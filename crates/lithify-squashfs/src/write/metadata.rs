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
