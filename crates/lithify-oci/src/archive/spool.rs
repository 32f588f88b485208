//! Getting at bytes that can be read at any position: the file itself, or its unpacked copy.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use lithify_cancel::{CancelToken, Checked, Interruptible};
use lithify_tar::{BLOCK, is_zero, looks_like_header};

use super::Error;
use super::read_at::{ReadAt, fill};
use crate::Limits;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Zstd,
    Unsupported(&'static str),
}

/// Opens the archive, decompressing it if it is compressed, copying it if it is no seekable file.
pub(super) fn open(
    path: &Path,
    limits: &Limits,
    cancel: &CancelToken,
) -> Result<Arc<dyn ReadAt>, Error> {
    let io = |action| move |source| Error::Io { action, source };
    let file = match Interruptible::open(path, cancel)
        .map_err(io("open the archive"))?
        .into_regular()
    {
        Ok(file) => file,
        // A pipe.
        Err(pipe) => return receive(pipe, limits),
    };
    let metadata = file.metadata().map_err(io("examine the archive"))?;
    if metadata.is_dir() {
        return Err(Error::IsDirectory);
    }
    let mut head = [0; BLOCK];
    if metadata.is_file() {
        let there = fill(&file, &mut head, 0).map_err(io("read the archive"))?;
        return match format(&head, there)? {
            Format::Plain => Ok(Arc::new(file)),
            compressed => spool(decoder(compressed, Checked::new(file, cancel))?, limits),
        };
    }
    // A block device.
    receive(Checked::new(file, cancel), limits)
}

/// Copies an archive that comes once, decompressing it if it is compressed.
pub(super) fn receive(
    mut reader: impl Read + 'static,
    limits: &Limits,
) -> Result<Arc<dyn ReadAt>, Error> {
    let mut head = [0; BLOCK];
    let read = fill_from(&mut reader, &mut head).map_err(|source| Error::Read { source })?;
    let is_tar = read == BLOCK && is_tar(&head);
    let format = format(&head, read == BLOCK)?;
    // What was read for the look at its head must be read again.
    let whole = io::Cursor::new(head[..read].to_vec()).chain(reader);
    match format {
        // The walk says what is wrong with it; there is no use in waiting for more.
        Format::Plain if !is_tar => Ok(Arc::new(head[..read].to_vec())),
        Format::Plain => copy(Box::new(whole), limits, |source| Error::Read { source }),
        compressed => spool(decoder(compressed, whole)?, limits),
    }
}

fn fill_from(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn is_tar(head: &[u8; BLOCK]) -> bool {
    is_zero(head) || looks_like_header(head)
}

/// `whole` tells whether `head` is all there; a shorter file can still be compressed.
fn format(head: &[u8; BLOCK], whole: bool) -> Result<Format, Error> {
    // A tar whose first name looks like a magic number is still a tar.
    if whole && is_tar(head) {
        return Ok(Format::Plain);
    }
    let format = match head {
        [0x1f, 0x8b, ..] => Format::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
        // A skippable frame, with which pzstd and zstd:chunked may begin.
        [first, 0x2a, 0x4d, 0x18, ..] if first >> 4 == 5 => Format::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Unsupported("xz"),
        [b'B', b'Z', b'h', ..] => Format::Unsupported("bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Format::Unsupported("lz4"),
        [b'P', b'K', 3, 4, ..] => Format::Unsupported("zip"),
        // An empty file is reported as truncated by the walk, anything else as no tar.
        _ => Format::Plain,
    };
    match format {
        Format::Unsupported(format) => Err(Error::Compression { format }),
        format => Ok(format),
    }
}

fn decoder(format: Format, input: impl Read + 'static) -> Result<Box<dyn Read>, Error> {
    match format {
        Format::Gzip => Ok(Box::new(lithify_inflate::GzipReader::new(input))),
        Format::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(input)
                .map_err(|source| Error::Decompress { source })?;
            Ok(Box::new(decoder))
        }
        Format::Plain | Format::Unsupported(_) => Ok(Box::new(input)),
    }
}

/// Copies everything into an unlinked temporary file.
fn spool(input: Box<dyn Read>, limits: &Limits) -> Result<Arc<dyn ReadAt>, Error> {
    copy(input, limits, |source| Error::Decompress { source })
}

fn copy(
    mut input: Box<dyn Read>,
    limits: &Limits,
    failed: impl Fn(io::Error) -> Error,
) -> Result<Arc<dyn ReadAt>, Error> {
    let io = |source| Error::Io {
        action: "write the temporary file",
        source,
    };
    let mut file = tempfile::tempfile().map_err(io)?;
    let mut buf = vec![0; 1 << 17];
    let mut total = 0u64;
    loop {
        let n = match input.read(&mut buf) {
            Ok(0) => return Ok(Arc::new(file)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        total += n as u64;
        if total > limits.spool_bytes {
            return Err(Error::TooLarge {
                limit: limits.spool_bytes,
            });
        }
        file.write_all(&buf[..n]).map_err(io)?;
    }
}
