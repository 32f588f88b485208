//! File data that waits, in one unnamed file, until the order it is needed in is known.
//!
//! A tar is written front to back, and which files survive the merge is only known after the last layer.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use lithify_tree::{ContentId, ContentSink, DataSegment, LayerEntries};

use super::LayerSink;

/// Small writes are gathered up to this many bytes.
const BUFFER: usize = 1 << 20;

/// Content of regular files, in order of arrival.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    /// Bytes on disk; those in `buffer` follow.
    written: u64,
    buffer: Vec<u8>,
    contents: Vec<Content>,
}

/// One file's content.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Where its data starts in the spool.
    offset: u64,
    /// Data bytes, holes not counted.
    length: u64,
    /// Where the data lies in the file, if it has holes.
    pub(crate) segments: Option<Box<[DataSegment]>>,
}

impl Spool {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            written: 0,
            buffer: Vec::with_capacity(BUFFER),
            contents: Vec::new(),
        }
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the writing; the contents can then be read.
    pub(crate) fn finish(mut self) -> io::Result<Spooled> {
        self.flush()?;
        Ok(Spooled {
            file: self.file,
            contents: self.contents,
        })
    }
}

impl ContentSink for Spool {
    type Error = io::Error;

    fn begin(&mut self, _size: u64, segments: Option<&[DataSegment]>) -> io::Result<()> {
        let offset = self.position();
        self.contents.push(Content {
            offset,
            length: 0,
            segments: segments.map(Into::into),
        });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let large = data.len() >= BUFFER / 2;
        if large || self.buffer.len() + data.len() > BUFFER {
            self.flush()?;
        }
        if large {
            self.file.write_all_at(data, self.written)?;
            self.written += data.len() as u64;
        } else {
            self.buffer.extend_from_slice(data);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<ContentId> {
        let end = self.position();
        let index = self.contents.len().wrapping_sub(1);
        let last = self
            .contents
            .last_mut()
            .ok_or_else(|| io::Error::other("no file was begun"))?;
        last.length = end - last.offset;
        u32::try_from(index)
            .map(ContentId)
            .map_err(|_| io::Error::other("more than 2^32 files"))
    }
}

impl LayerSink for Spool {
    fn content_count(&self) -> u32 {
        // No more than were numbered.
        self.contents.len() as u32
    }

    fn repeat(&mut self, _: &LayerEntries, contents: Range<u32>) -> io::Result<u32> {
        let first = self.content_count();
        let again = contents.start as usize..contents.end as usize;
        self.contents.extend_from_within(again);
        match u32::try_from(self.contents.len()) {
            Ok(_) => Ok(first.saturating_sub(contents.start)),
            Err(_) => Err(io::Error::other("more than 2^32 files")),
        }
    }
}

/// A complete [`Spool`].
#[derive(Debug)]
pub(crate) struct Spooled {
    file: File,
    contents: Vec<Content>,
}

impl Spooled {
    /// The content of that name.
    pub(crate) fn content(&self, id: ContentId) -> &Content {
        &self.contents[id.0 as usize]
    }

    /// Fills a buffer from a content, at an offset in bytes of the file; holes are zeros.
    pub(crate) fn read_exact_at(
        &self,
        content: &Content,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let Some(segments) = &content.segments else {
            let end = offset.checked_add(buffer.len() as u64);
            if end.is_none_or(|end| end > content.length) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return self.file.read_exact_at(buffer, content.offset + offset);
        };
        buffer.fill(0);
        let end = offset + buffer.len() as u64;
        let mut stored = content.offset;
        for segment in segments {
            let from = segment.offset.max(offset);
            let to = (segment.offset + segment.length).min(end);
            if from < to {
                // Both are places in the buffer.
                let part = (from - offset) as usize..(to - offset) as usize;
                let at = stored + (from - segment.offset);
                self.file.read_exact_at(&mut buffer[part], at)?;
            }
            stored += segment.length;
        }
        Ok(())
    }

    /// Reads the data of a content.
    pub(crate) fn reader(&self, content: &Content) -> impl io::Read + use<'_> {
        Reader {
            file: &self.file,
            at: content.offset,
            end: content.offset + content.length,
        }
    }
}

struct Reader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = out
            .len()
            .min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut out[..wanted], self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Pieces below and above the size that bypasses the buffer, in any order.
        #[test]
        fn contents_come_back_as_they_went_in(files in prop::collection::vec(prop::collection::vec(
            prop_oneof![0..3000usize, (BUFFER / 2 - 2)..(BUFFER / 2 + 2), (BUFFER - 2)..(BUFFER + 2)], 0..4), 1..4))
        {
            let mut spool = Spool::new(tempfile::tempfile().unwrap());
            let mut expected = Vec::new();
            for (number, pieces) in files.iter().enumerate() {
                let mut content = Vec::new();
                spool.begin(0, None).unwrap();
                for (at, &length) in pieces.iter().enumerate() {
                    let piece = vec![(number * 7 + at + 1) as u8; length];
                    spool.write(&piece).unwrap();
                    content.extend(piece);
                }
                expected.push((ContentSink::finish(&mut spool).unwrap(), content));
            }
            let spooled = spool.finish().unwrap();
            for (id, content) in expected {
                let mut read = Vec::new();
                spooled.reader(spooled.content(id)).read_to_end(&mut read).unwrap();
                prop_assert!(read == content);
            }
        }
    }
}
