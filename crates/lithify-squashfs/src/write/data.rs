//! Compressed data on its way into the image.

use std::collections::VecDeque;

use super::Appender;
use super::contents::{Contents, Fragment};
use super::pool::{Buffers, Pool};
use crate::codec::Decoder;
use crate::error::Operation;
use crate::format::BLOCK_STORED;
use crate::{Compression, Storage, WriteError};

/// What a block in flight is.
#[derive(Clone, Copy, Debug)]
enum Tag {
    /// A block of the content of that number, its length at that place of the list.
    Block {
        content: usize,
        place: usize,
        first: bool,
    },
    /// A fragment block.
    Fragment(usize),
}

/// Blocks in flight, those written, and the fragment blocks among them.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) pool: Pool,
    pub(crate) appender: Appender,
    tags: VecDeque<Tag>,
    pub(crate) fragments: Vec<Fragment>,
    /// Where the content being written starts, once its first block is written.
    pub(crate) open_start: Option<u64>,
    compression: Compression,
    block_size: u32,
    decoder: Option<Decoder>,
    cache: Cache,
}

impl Data {
    pub(crate) fn new(pool: Pool, compression: Compression, block_size: u32, offset: u64) -> Self {
        Self {
            pool,
            appender: Appender::new(offset, 1, Operation::WriteData),
            tags: VecDeque::new(),
            fragments: Vec::new(),
            open_start: None,
            compression,
            block_size,
            decoder: None,
            cache: Cache::default(),
        }
    }

    /// Gives a block of the content being written, which will have number `content`, away to be compressed.
    pub(crate) fn submit_block<S: Storage>(
        &mut self,
        storage: &mut S,
        contents: &mut Contents,
        buffers: Buffers,
        first: bool,
    ) -> Result<(), WriteError> {
        let place = contents.push_block()?;
        let content = contents.len();
        self.submit(
            storage,
            contents,
            buffers,
            Tag::Block {
                content,
                place,
                first,
            },
        )
    }

    /// Gives a fragment block away to be compressed.
    pub(crate) fn submit_fragment<S: Storage>(
        &mut self,
        storage: &mut S,
        contents: &mut Contents,
        buffers: Buffers,
    ) -> Result<(), WriteError> {
        let number = self.fragments.len();
        self.fragments.push(Fragment {
            start: 0,
            length: 0,
            raw_len: buffers.raw.len() as u32,
        });
        self.submit(storage, contents, buffers, Tag::Fragment(number))
    }

    fn submit<S: Storage>(
        &mut self,
        storage: &mut S,
        contents: &mut Contents,
        buffers: Buffers,
        tag: Tag,
    ) -> Result<(), WriteError> {
        while self.write_one(storage, contents, self.pool.is_full())? {}
        self.pool.submit(buffers);
        self.tags.push_back(tag);
        Ok(())
    }

    /// Writes everything that is in flight.
    pub(crate) fn drain<S: Storage>(
        &mut self,
        storage: &mut S,
        contents: &mut Contents,
    ) -> Result<(), WriteError> {
        while self.write_one(storage, contents, true)? {}
        debug_assert!(self.tags.is_empty());
        Ok(())
    }

    /// Whether anything is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.pool.in_flight() == 0
    }

    /// Writes the oldest block in flight if it is done, or when it is done.
    fn write_one<S: Storage>(
        &mut self,
        storage: &mut S,
        contents: &mut Contents,
        wait: bool,
    ) -> Result<bool, WriteError> {
        let Some(finished) = self.pool.take(wait)? else {
            return Ok(false);
        };
        let offset = self.appender.offset();
        let bytes = finished.bytes();
        let stored = if finished.compressed { 0 } else { BLOCK_STORED };
        let length = bytes.len() as u32 | stored;
        self.appender.append(storage, bytes)?;
        match self.tags.pop_front() {
            Some(Tag::Fragment(number)) => {
                self.fragments[number].start = offset;
                self.fragments[number].length = length;
            }
            Some(Tag::Block {
                content,
                place,
                first,
            }) => {
                contents.set_length(place, length);
                if first && content < contents.len() {
                    contents.at_mut(content).start = offset;
                } else if first {
                    self.open_start = Some(offset);
                }
            }
            None => {}
        }
        self.pool.recycle(finished.buffers);
        Ok(true)
    }

    /// The uncompressed bytes of a fragment block that has been written.
    pub(crate) fn read_fragment<S: Storage>(
        &mut self,
        storage: &mut S,
        number: u32,
    ) -> Result<&[u8], WriteError> {
        if let Some(at) = self.cache.find(number) {
            return Ok(self.cache.get(at));
        }
        self.appender.flush(storage)?;
        let fragment = self.fragments[number as usize];
        let mut packed = vec![0; fragment.stored_len() as usize];
        storage
            .read_exact_at(&mut packed, fragment.start)
            .map_err(Operation::ReadData.failed())?;
        let raw = if fragment.length & BLOCK_STORED != 0 {
            packed
        } else {
            let mut raw = self.cache.buffer();
            let compression = self.compression;
            let failed = |source| WriteError::Compress {
                compression,
                source,
            };
            let decoder = match &mut self.decoder {
                Some(decoder) => decoder,
                None => self.decoder.insert(
                    Decoder::new(compression.compressor(), self.block_size).map_err(failed)?,
                ),
            };
            decoder
                .decompress(&packed, &mut raw, fragment.raw_len as usize)
                .map_err(failed)?;
            raw
        };
        let at = self.cache.insert(number, raw);
        Ok(self.cache.get(at))
    }

    /// Whether two stretches of the image have the same bytes.
    pub(crate) fn equal<S: Storage>(
        &mut self,
        storage: &mut S,
        a: u64,
        b: u64,
        length: u64,
    ) -> Result<bool, WriteError> {
        const STEP: usize = 64 << 10;
        self.appender.flush(storage)?;
        let mut buffers = [vec![0; STEP], vec![0; STEP]];
        let mut done = 0;
        while done < length {
            let n = (length - done).min(STEP as u64) as usize;
            for (buffer, start) in buffers.iter_mut().zip([a, b]) {
                storage
                    .read_exact_at(&mut buffer[..n], start + done)
                    .map_err(Operation::ReadData.failed())?;
            }
            if buffers[0][..n] != buffers[1][..n] {
                return Ok(false);
            }
            done += n as u64;
        }
        Ok(true)
    }
}

/// Fragment blocks read back last: copies of a directory come in the order of the original.
#[derive(Debug, Default)]
struct Cache {
    /// Number and bytes, oldest first.
    blocks: Vec<(u32, Vec<u8>)>,
}

/// Blocks kept.
const CACHED: usize = 4;

impl Cache {
    fn find(&self, number: u32) -> Option<usize> {
        self.blocks.iter().position(|(n, _)| *n == number)
    }

    fn get(&self, at: usize) -> &[u8] {
        &self.blocks[at].1
    }

    /// Memory for a block.
    fn buffer(&mut self) -> Vec<u8> {
        if self.blocks.len() < CACHED {
            Vec::new()
        } else {
            self.blocks.remove(0).1
        }
    }

    fn insert(&mut self, number: u32, raw: Vec<u8>) -> usize {
        if self.blocks.len() >= CACHED {
            self.blocks.remove(0);
        }
        self.blocks.push((number, raw));
        self.blocks.len() - 1
    }
}
