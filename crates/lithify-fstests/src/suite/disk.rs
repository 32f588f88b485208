//! Storage that fails, or that nobody wants filled.

use std::io;

use lithify_storage::{ReadAt, Storage};
use lithify_tree::{ContentSink, EntryKind, Merge};

use crate::{Builder, Filesystem, metadata, pattern};

/// A disk with room for so many bytes.
struct Disk {
    bytes: Vec<u8>,
    room: u64,
    /// Where the last byte that was written ends: what follows is a hole.
    end: u64,
}

impl ReadAt for Disk {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

impl Storage for Disk {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + data.len() as u64;
        if end > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.end = self.end.max(end);
        self.bytes.write_all_at(data, offset)
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.bytes.set_size(length)
    }
}

pub fn a_full_disk_is_an_error_at_every_point<F: Filesystem>() {
    let write = |room: u64| -> Result<Disk, F::WriteError> {
        let mut b = Builder::<F, _>::new(Disk {
            bytes: Vec::new(),
            room,
            end: 0,
        });
        for i in 0..300_usize {
            let size = i * 100;
            b.writer.begin(size as u64, None)?;
            b.writer.write(&pattern(i, size))?;
            let id = b.writer.finish()?;
            let kind = EntryKind::File {
                size: size as u64,
                segments: None,
            };
            b.entry(format!("d{}/{i}", i % 5), metadata(0o644), kind, Some(id));
        }
        let tree = b.tree();
        Ok(F::finish_image(b.writer, &tree, &b.options)?.0)
    };
    let whole = write(u64::MAX).unwrap();
    for room in (0..whole.end).step_by(100_000).chain([whole.end - 1]) {
        let Err(error) = write(room) else {
            panic!("an image of {} bytes fits {room}", whole.end);
        };
        let Some(source) = F::io_error(&error) else {
            panic!("{room}: {error:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
    assert!(write(whole.end).unwrap().bytes == whole.bytes);
}

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

pub fn nothing_is_written_of_it<F: Filesystem>() {
    let mut bytes = Vec::new();
    let writer = F::writer(Unwanted(&mut bytes), F::DataOptions::default());
    let tree = Merge::new().finish();
    let finished = F::finish_image(writer, &tree, &F::ImageOptions::default());
    let Err(error) = finished.map(drop) else {
        panic!("it was finished");
    };
    let source = F::io_error(&error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(source.kind(), io::ErrorKind::Interrupted);
    assert!(bytes.is_empty());
}
