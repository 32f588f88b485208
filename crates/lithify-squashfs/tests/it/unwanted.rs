//! An image that nobody wants any more while it is finished.

use std::io;

use lithify_squashfs::{DataOptions, ImageOptions, ReadAt, Storage, WriteError, Writer};
use lithify_tree::Merge;

/// What is written, which nobody wants.
struct Unwanted<'a>(&'a mut Vec<u8>);

impl ReadAt for Unwanted<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

impl Storage for Unwanted<'_> {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.0.set_size(length)
    }

    fn go_on(&self) -> io::Result<()> {
        Err(io::ErrorKind::Interrupted.into())
    }
}

#[test]
fn nothing_is_written_of_it() {
    let mut bytes = Vec::new();
    let writer = Writer::new(Unwanted(&mut bytes), DataOptions::default());
    let finished = writer.finish_image(&Merge::new().finish(), &ImageOptions::default());
    let Err(WriteError::Io { source, .. }) = finished.map(drop) else {
        panic!("it was finished");
    };
    assert_eq!(source.kind(), io::ErrorKind::Interrupted);
    assert!(bytes.is_empty());
}
