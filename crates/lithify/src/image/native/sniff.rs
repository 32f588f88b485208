//! What a blob's first bytes say of it.

use std::io::{self, Cursor, Read};

use lithify_inflate::GzipReader;
use lithify_layer::ForeignFormat;
use lithify_oci::manifest::Compression;

/// Decompressed bytes that are looked at: an EROFS image has its magic behind the first kibibyte.
const HEAD: usize = 2 << 10;

/// Bytes of the blob after which a compressed layer has begun: a zstd block and what may stand before the first.
const BLOB_HEAD: u64 = 256 << 10;

/// A blob whose first bytes were looked at.
pub(crate) struct Sniffed {
    /// The whole of it still.
    pub(crate) reader: Box<dyn Read + Send>,
    /// Its compression, if it is an EROFS image.
    pub(crate) erofs: Option<Compression>,
}

/// Looks whether a blob, decompressed, is an EROFS image. A blob that cannot be read, or that begins strangely, is left for
/// who reads all of it.
pub(crate) fn sniff(mut blob: Box<dyn Read + Send>) -> Sniffed {
    let mut start = Start {
        bytes: Vec::new(),
        error: None,
    };
    start.fill(&mut *blob, HEAD as u64);
    let compression = match start.bytes.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    };
    let mut head = Vec::new();
    match compression {
        Compression::Gzip => {
            let tee = Tee::new(&mut start, &mut *blob);
            read_head(GzipReader::new(tee), &mut head);
        }
        Compression::Zstd => {
            let tee = Tee::new(&mut start, &mut *blob);
            if let Ok(decoder) = zstd::stream::read::Decoder::new(tee) {
                read_head(decoder, &mut head);
            }
        }
        _ => head.clone_from(&start.bytes),
    }
    let erofs = ForeignFormat::of(&head) == Some(ForeignFormat::Erofs);
    let Start { bytes, error } = start;
    let reader = Box::new(Cursor::new(bytes).chain(Failed(error)).chain(blob));
    Sniffed {
        reader,
        erofs: erofs.then_some(compression),
    }
}

/// As much of the head as there is before something goes wrong.
fn read_head(reader: impl Read, head: &mut Vec<u8>) {
    // Whoever reads all of the blob meets the same fault, and reports it.
    reader.take(HEAD as u64).read_to_end(head).ok();
}

/// What was read of a blob, and why no more.
struct Start {
    bytes: Vec<u8>,
    error: Option<io::Error>,
}

impl Start {
    /// Reads until there are `length` bytes, or no more.
    fn fill(&mut self, blob: &mut dyn Read, length: u64) {
        let missing = length.saturating_sub(self.bytes.len() as u64);
        if self.error.is_none()
            && let Err(e) = blob.take(missing).read_to_end(&mut self.bytes)
        {
            self.error = Some(e);
        }
    }
}

/// The start of a blob once more, and some more of it, which is kept.
struct Tee<'a> {
    start: &'a mut Start,
    blob: &'a mut dyn Read,
    at: usize,
}

impl<'a> Tee<'a> {
    fn new(start: &'a mut Start, blob: &'a mut dyn Read) -> Self {
        Self { start, blob, at: 0 }
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.start.bytes.len() {
            let more = (self.at + HEAD) as u64;
            self.start.fill(self.blob, more.min(BLOB_HEAD));
        }
        let read = (&self.start.bytes[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

/// Fails once, if at all.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn image() -> Vec<u8> {
        let mut image: Vec<u8> = (0..600_000_u32).map(|n| (n * 7 + n / 251) as u8).collect();
        image[..1024].fill(0);
        image[1024..1028].copy_from_slice(b"\xe2\xe1\xf5\xe0");
        image
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_image_is_found_through_any_compression_and_the_blob_stays_whole() {
        let image = image();
        let zstd = |data: &[u8]| zstd::encode_all(data, 1).unwrap();
        let skippable = [b"\x50\x2a\x4d\x18\x04\0\0\0skip", &zstd(&image)[..]].concat();
        let mut tar = vec![0; 10_240];
        tar[2000] = 1;
        for (blob, erofs) in [
            (image.clone(), Some(Compression::None)),
            (gzip(&image), Some(Compression::Gzip)),
            (zstd(&image), Some(Compression::Zstd)),
            (skippable, Some(Compression::Zstd)),
            (tar.clone(), None),
            (gzip(&tar), None),
            (image[..1027].to_vec(), None),
            (gzip(&image)[..12].to_vec(), None),
            (b"\x1f\x8b and no more".to_vec(), None),
            (Vec::new(), None),
        ] {
            let mut found = sniff(Box::new(Cursor::new(blob.clone())));
            assert_eq!(found.erofs, erofs);
            let mut read = Vec::new();
            found.reader.read_to_end(&mut read).unwrap();
            assert!(read == blob, "{} bytes of {}", read.len(), blob.len());
        }
    }

    /// Looked at and forgotten, a fault would make a shorter blob.
    #[test]
    fn a_fault_is_kept_for_the_reader() {
        struct Breaks;
        impl Read for Breaks {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        for start in [&[0; 100][..], &gzip(&image())[..3000]] {
            let blob = Cursor::new(start.to_vec()).chain(Breaks);
            let mut found = sniff(Box::new(blob));
            let mut read = Vec::new();
            let error = found.reader.read_to_end(&mut read).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert!(read == start);
        }
    }
}
