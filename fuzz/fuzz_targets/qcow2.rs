//! Any bytes as a qcow2 image, which is its own backing file, up to a chain of three, and its own
//! data file: no panic, nothing is read outside the file, extents are in order and without gaps,
//! pieces are what the whole is, and a small disk is the same in an image of our own.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use lithify_disk::ReadAt;
use lithify_disk::qcow2::{
    ClusterSize, Extent, ExtentKind, Format, Image, OpenOptions, Reference, WriteOptions, Writer,
};

/// Extents looked at.
const EXTENTS_MAX: usize = 4096;
/// Bytes read of the extents of one image.
const READ_MAX: u64 = 4 << 20;
/// The largest disk that is written again.
const DISK_MAX: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let options = OpenOptions {
        files_max: 3,
        allow_dirty: true,
        allow_corrupt: true,
        allow_data_file: true,
        backing_format: Some(Format::Raw),
        table_memory: 0,
        ..OpenOptions::default()
    };
    let mut asked = 0;
    let opened = Image::open(Fenced(data), &options, |reference| {
        asked += 1;
        assert!(asked <= 6);
        if let Reference::Backing { name, .. } = reference {
            assert!((1..=1023).contains(&name.len()));
        }
        Ok(Some(Fenced(data)))
    });
    let Ok(image) = opened else {
        return;
    };
    let extents: Vec<Extent> = image
        .extents()
        .take(EXTENTS_MAX)
        .map_while(Result::ok)
        .collect();
    let mut end = 0;
    let mut budget = READ_MAX;
    for extent in &extents {
        assert!(extent.length > 0 && extent.offset == end);
        end += extent.length;
        assert!(end <= image.virtual_size());
        let length = extent.length.min(budget).min(64 << 10);
        budget -= length;
        check(&image, extent, length as usize);
    }
    for extent in image
        .extents_above(1)
        .take(EXTENTS_MAX)
        .map_while(Result::ok)
    {
        assert!(matches!(
            extent.kind,
            ExtentKind::Hole | ExtentKind::Data { depth: 0 } | ExtentKind::Zero { depth: 0 }
        ));
    }
    if image.virtual_size() <= DISK_MAX {
        write_again(&image, &extents, data.len());
    }
});

/// Reads the start of an extent, whole and in pieces.
fn check(image: &Image<Fenced<'_>>, extent: &Extent, length: usize) {
    let mut whole = vec![0xaa; length];
    let Ok(()) = image.read_at(&mut whole, extent.offset) else {
        return;
    };
    if !matches!(extent.kind, ExtentKind::Data { .. }) {
        assert!(whole.iter().all(|&byte| byte == 0));
    }
    let mut pieces = vec![0xbb; length];
    let size = length.div_ceil(3).max(1);
    for (n, piece) in pieces.chunks_mut(size).enumerate() {
        let at = extent.offset + (n * size) as u64;
        image.read_at(piece, at).expect("it could be read");
    }
    assert!(whole == pieces);
}

/// Writes the disk as an image, and reads that.
fn write_again(image: &Image<Fenced<'_>>, extents: &[Extent], seed: usize) {
    let size = image.virtual_size();
    let mut disk = vec![0; size as usize];
    if image.read_at(&mut disk, 0).is_err() {
        return;
    }
    let options = WriteOptions {
        cluster_size: ClusterSize::new(512 << (seed % 8)).expect("it is one"),
        backing: None,
    };
    let mut writer = Writer::new(Vec::new(), size, &options).expect("a small disk");
    for extent in extents {
        let place = &disk[extent.offset as usize..][..extent.length as usize];
        let done = match extent.kind {
            ExtentKind::Data { .. } => writer.write(place, extent.offset),
            _ => writer.write_zeros(extent.offset, extent.length),
        };
        done.expect("extents are in order");
    }
    let end = extents
        .last()
        .map_or(0, |extent| extent.offset + extent.length);
    writer
        .write(&disk[end as usize..], end)
        .expect("the rest follows");
    let file = writer.finish().expect("memory has room");
    let again = Image::open(file, &OpenOptions::default(), |_| Ok(None)).expect("it is good");
    let mut back = vec![0xaa; size as usize];
    again.read_at(&mut back, 0).expect("it is good");
    assert!(back == disk);
}

/// Bytes that nobody reads behind the end of.
#[derive(Clone, Copy)]
struct Fenced<'a>(&'a [u8]);

impl ReadAt for Fenced<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        assert!(end.is_some_and(|end| end <= self.0.len() as u64));
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}
