//! Contents of files, with and without holes.

use lithify_tree::{ContentSink, EntryKind};

use super::names::build;
use crate::{Builder, Content, Filesystem, check_with_reader, metadata, pattern};

pub fn sizes_around_blocks<F: Filesystem>() {
    build::<F>(|b| {
        for block in [512, 1024, 4096, 1 << 16, 1 << 17, 1 << 20] {
            for near in [
                0,
                1,
                2,
                block - 1,
                block,
                block + 1,
                2 * block - 1,
                2 * block,
            ] {
                b.file(
                    format!("{block}-{near}"),
                    metadata(0o644),
                    &pattern(block + near, near),
                );
            }
        }
    });
}

pub fn sparse_files<F: Filesystem>() {
    let part = |offset: u64, length: usize| (offset, pattern(length, length));
    build::<F>(|b| {
        let mut sparse =
            |name: &str, size, parts| b.sparse(name, metadata(0o644), Content { size, parts });
        sparse("hole at start", 1 << 20, vec![part((1 << 20) - 100, 100)]);
        sparse("hole at end", 1 << 20, vec![part(0, 100)]);
        let unaligned = vec![part(10, 5000)];
        sparse("hole at end, unaligned", (1 << 20) + 77, unaligned);
        sparse("all hole", 5 << 20, vec![]);
        sparse("all hole, one byte", 1, vec![]);
        sparse("all hole, large", 1 << 36, vec![]);
        sparse("data to the last byte", 100_001, vec![part(90_000, 10_001)]);
        sparse("no holes", 10_000, vec![part(0, 5000), part(5000, 5000)]);
        let small = vec![part(10, 100), part(4000, 200), part(9000, 999)];
        sparse("small holes", 10_000, small);
        let tail = vec![part(0, 4096), part(4096 + 90, 10)];
        sparse("hole in the tail", 4096 + 100, tail);
        let empty = vec![(0, vec![]), part(4096, 10), (1 << 16, vec![])];
        sparse("empty segments", 1 << 16, empty);
        let every_other = (0..128).map(|i| part(i * 8192, 4096)).collect();
        sparse("every other block", 1 << 20, every_other);
        let scattered = (0..300_u64).map(|i| part(i * i * 11_113, 300)).collect();
        sparse("scattered", 1 << 30, scattered);
        let far = (1 << 36) - 10;
        sparse("far away", 1 << 36, vec![part(0, 10), part(far, 10)]);
        b.file("dense", metadata(0o644), &pattern(9, 9999));
    });
}

/// The bytes of an image do not depend on how its data was cut in pieces when it was written.
pub fn pieces_do_not_show<F: Filesystem>() {
    let bytes = |pieces: usize| {
        let mut b = Builder::<F, _>::new(Vec::new());
        b.file("before", metadata(0o644), &pattern(4, 5000));
        let data = pattern(5, 3_000_000);
        b.writer.begin(3_000_000, None).unwrap();
        data.chunks(pieces).for_each(|p| b.writer.write(p).unwrap());
        let id = b.writer.finish().unwrap();
        let kind = EntryKind::File {
            size: 3_000_000,
            segments: None,
        };
        b.entry("large", metadata(0o644), kind, Some(id));
        b.contents.insert(id, Content::plain(&data));
        b.file("behind", metadata(0o644), &pattern(6, 5000));
        let (bytes, _, expected) = b.finish();
        check_with_reader::<F, _>(bytes.as_slice(), &expected);
        bytes
    };
    let first = bytes(3_000_000);
    for pieces in [1000, 4096, 65_536, 131_072, 200_001, 1 << 20] {
        assert!(bytes(pieces) == first, "pieces of {pieces}");
    }
}
