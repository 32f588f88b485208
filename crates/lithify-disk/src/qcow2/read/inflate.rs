//! Compressed clusters.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lithify_inflate::Inflate;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::error::CompressedError;
use crate::qcow2::format::Compression;

/// Bytes of clusters kept, of one cluster at least.
const KEPT: usize = 4 << 20;
/// Decompressors kept, for as many threads that read at once.
const WORKERS_MAX: usize = 16;
/// Binary logarithm of the largest zstd window. A cluster has 2 MiB at most, and no program has a
/// reason to look further back; a little more is allowed, since levels have windows of their own.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A compressed cluster, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) depth: usize,
    /// Its offset in the file, in bytes.
    pub(super) host: u64,
    /// Its length in bytes; not all need belong to it.
    pub(super) length: u64,
    pub(super) compression: Compression,
    /// The size of a cluster in bytes.
    pub(super) cluster: usize,
}

/// The reasons for which a cluster cannot be had.
#[derive(Debug)]
pub(super) enum Failure {
    Read(io::Error),
    Damaged(CompressedError),
}

/// The clusters decompressed last. Whoever reads in order, in pieces of any size, has each
/// decompressed once.
#[derive(Default)]
pub(super) struct Inflated {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Least recently used first.
    kept: VecDeque<(Source, Vec<u8>)>,
    workers: Vec<Worker>,
}

impl fmt::Debug for Inflated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflated").finish_non_exhaustive()
    }
}

impl Inflated {
    /// Fills `out` from `within` bytes behind the start of a cluster; `read` fetches the compressed
    /// bytes.
    pub(super) fn read(
        &self,
        source: Source,
        within: u64,
        out: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let range = within as usize..within as usize + out.len();
        let (mut worker, mut cluster) = {
            let mut state = self.lock();
            if let Some(kept) = state.kept.iter().position(|(kept, _)| *kept == source) {
                if let Some((source, bytes)) = state.kept.remove(kept) {
                    out.copy_from_slice(&bytes[range]);
                    state.kept.push_back((source, bytes));
                }
                return Ok(());
            }
            let most = (KEPT / source.cluster).max(1);
            let oldest = match state.kept.len() < most {
                true => None,
                false => state.kept.pop_front(),
            };
            let bytes = oldest.map_or_else(Vec::new, |(_, bytes)| bytes);
            (state.workers.pop().unwrap_or_default(), bytes)
        };
        worker.input.resize(source.length as usize, 0);
        read(&mut worker.input).map_err(Failure::Read)?;
        cluster.resize(source.cluster, 0);
        worker
            .decompress(source.compression, &mut cluster)
            .map_err(Failure::Damaged)?;
        out.copy_from_slice(&cluster[range]);
        let mut state = self.lock();
        state.kept.push_back((source, cluster));
        if state.workers.len() < WORKERS_MAX {
            state.workers.push(worker);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decompressors, made when they are needed.
#[derive(Default)]
struct Worker {
    input: Vec<u8>,
    deflate: Option<Box<Inflate>>,
    zstd: Option<Decoder<'static>>,
}

impl Worker {
    /// Fills a cluster from the input, whose end need not belong to it.
    fn decompress(
        &mut self,
        compression: Compression,
        cluster: &mut [u8],
    ) -> Result<(), CompressedError> {
        match compression {
            Compression::Deflate => self.inflate(cluster),
            Compression::Zstd => self.unzstd(cluster),
        }
    }

    fn inflate(&mut self, cluster: &mut [u8]) -> Result<(), CompressedError> {
        let decoder = self.deflate.get_or_insert_default();
        decoder.reset();
        let progress = decoder
            .decode(&self.input, cluster, 0)
            .map_err(CompressedError::Deflate)?;
        filled(progress.produced, cluster.len())
    }

    fn unzstd(&mut self, cluster: &mut [u8]) -> Result<(), CompressedError> {
        let decoder = match &mut self.zstd {
            Some(decoder) => {
                decoder.reinit().map_err(CompressedError::Zstd)?;
                decoder
            }
            none => none.insert(zstd_decoder().map_err(CompressedError::Zstd)?),
        };
        let expected = cluster.len();
        let mut input = InBuffer::around(&self.input);
        let mut output = OutBuffer::around(cluster);
        loop {
            let before = (input.pos(), output.pos());
            let hint = decoder.run(&mut input, &mut output);
            let hint = hint.map_err(CompressedError::Zstd)?;
            match output.pos() == expected {
                true if hint == 0 => return Ok(()),
                true if before == (input.pos(), expected) => {
                    return Err(CompressedError::TooLong { expected });
                }
                false if before == (input.pos(), output.pos()) => {
                    return filled(output.pos(), expected);
                }
                _ => {}
            }
        }
    }
}

fn zstd_decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

fn filled(found: usize, expected: usize) -> Result<(), CompressedError> {
    match found == expected {
        true => Ok(()),
        false => Err(CompressedError::Length { found, expected }),
    }
}
