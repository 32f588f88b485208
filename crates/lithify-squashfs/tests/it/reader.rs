//! Images that are not what they should be: what opening, reading and verifying say.
#![cfg(target_os = "linux")]

use crate::common::{Builder, compressed, metadata, pattern, with_xattrs};
use lithify_squashfs::{Damage, Image, ProblemKind, ReadError};

/// An image whose metadata can be changed in place.
fn sample() -> Vec<u8> {
    let mut b = Builder::with(Vec::new(), compressed("none"));
    b.directory("dir", metadata(0o755));
    b.file("dir/a-file", metadata(0o644), b"data of a file");
    b.file("dir/b-file", metadata(0o644), &pattern(1, 300_000));
    b.file("dir/c-empty", metadata(0o644), b"");
    b.directory("dir/sub", with_xattrs(&[("user.k", b"some value")]));
    b.file("dir/sub/x", metadata(0o644), b"x");
    b.symlink("link", b"target-of-link");
    b.finish().0
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    let mut places = bytes
        .windows(what.len())
        .enumerate()
        .filter(|(_, w)| *w == what);
    let place = places.next().unwrap().0;
    assert!(places.next().is_none(), "ambiguous");
    place
}

/// The entry with a name: offset in its block (2), delta (2), type (2), length (2), name.
fn entry(bytes: &[u8], name: &[u8]) -> usize {
    find(bytes, name) - 8
}

fn problems(bytes: &[u8]) -> Vec<String> {
    let verification = Image::open(bytes).unwrap().verify().unwrap();
    verification
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Where an inode's head begins in an image that is not compressed.
fn inode(bytes: &[u8], path: &str) -> usize {
    let image = Image::open(bytes).unwrap();
    let reference = image.lookup(path.as_bytes()).unwrap().unwrap().reference();
    let table = image.superblock().inode_table;
    (table + (reference >> 16) + 2 + (reference & 0xffff)) as usize
}

#[test]
fn a_sound_image_has_no_problems() {
    assert_eq!(problems(&sample()), [""; 0]);
}

#[test]
fn what_is_no_image_is_not_opened() {
    let bytes = sample();
    assert!(matches!(
        Image::open(&bytes[..95]),
        Err(ReadError::TooShort {
            expected: 96,
            found: 95
        })
    ));
    assert!(matches!(
        Image::open(&bytes[..bytes.len() - 4096]),
        Err(ReadError::Truncated { .. })
    ));
    let open = |at: usize, patch: &[u8]| {
        let mut bytes = sample();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        Image::open(bytes).map(drop)
    };
    assert!(matches!(open(0, b"hsqt"), Err(ReadError::Magic { .. })));
    assert!(matches!(
        open(28, &[3, 0]),
        Err(ReadError::Version { major: 3, minor: 0 })
    ));
    assert!(matches!(
        open(20, &[7, 0]),
        Err(ReadError::UnknownCompressor { code: 7 })
    ));
    assert!(matches!(
        open(22, &[16, 0]),
        Err(ReadError::BlockSize { bits: 16, .. })
    ));
    assert!(matches!(
        open(12, &[0, 0, 3, 0]),
        Err(ReadError::BlockSize { .. })
    ));
    assert!(matches!(
        open(26, &[255, 255]),
        Err(ReadError::Damaged { .. })
    ));
    assert!(matches!(
        open(48, &[255; 8]),
        Err(ReadError::Damaged { .. })
    ));
}

#[test]
fn directories_in_themselves_end() {
    let mut bytes = sample();
    // `sub` becomes the directory it is in, as far as its entry says.
    let (dir, sub) = (entry(&bytes, b"dir"), entry(&bytes, b"sub"));
    let reference = [bytes[dir], bytes[dir + 1]];
    bytes[sub..sub + 2].copy_from_slice(&reference);
    let image = Image::open(bytes.as_slice()).unwrap();
    assert!(
        image
            .walk()
            .any(|e| matches!(e, Err(ReadError::TooManyEntries)))
    );
    assert!(image.entries().any(|e| e.is_err()));
    let verification = image.verify().unwrap();
    assert!(
        verification
            .problems
            .iter()
            .any(|p| matches!(p.kind, ProblemKind::SecondName { .. }))
    );
}

#[test]
fn names_out_of_order_are_found() {
    let mut bytes = sample();
    let at = find(&bytes, b"a-file");
    bytes[at] = b'z';
    assert!(problems(&bytes).iter().any(|p| p.contains("sorts after")));
    for bad in [&b"a/file"[..], b"a\0file"] {
        let mut bytes = sample();
        bytes[at..at + 6].copy_from_slice(bad);
        let image = Image::open(bytes.as_slice()).unwrap();
        let dir = image.lookup(b"dir").unwrap().unwrap();
        let error = image.read_dir(&dir).unwrap().find_map(Result::err).unwrap();
        assert!(matches!(
            error,
            ReadError::Inode {
                reason: Damage::Name,
                ..
            }
        ));
    }
}

/// Another writer stored empty files as fragments of no bytes; Linux refuses them with `EINVAL`.
#[test]
fn an_empty_file_with_a_fragment_is_refused() {
    let mut bytes = sample();
    let at = inode(&bytes, "dir/c-empty");
    bytes[at + 20..at + 24].copy_from_slice(&[0; 4]);
    let image = Image::open(bytes.as_slice()).unwrap();
    let error = image.lookup(b"dir/c-empty").unwrap_err();
    assert!(matches!(
        error,
        ReadError::Inode {
            reason: Damage::NoTail { size: 0 },
            ..
        }
    ));
    assert_eq!(
        problems(&bytes).len(),
        2,
        "the inode, and the number of inodes"
    );
}

#[test]
fn every_field_of_an_inode_is_checked() {
    let bytes = sample();
    let file = inode(&bytes, "dir/a-file");
    let long = inode(&bytes, "dir/b-file");
    let sub = inode(&bytes, "dir/sub");
    let link = inode(&bytes, "link");
    for (at, patch, expected) in [
        (file, &[15, 0][..], "type 15 is unknown"),
        (
            file,
            &[5, 0],
            "calls it a regular file, its inode a character device",
        ),
        (file + 4, &[9, 0], "owner table"),
        (file + 12, &[0; 4], "number 0"),
        (file + 12, &[7, 7, 7, 7], "the inode says 117901063"),
        (file + 20, &[9, 0, 0, 0], "fragment table"),
        (file + 24, &[0, 0, 255, 0], "uncompressed"),
        (long + 16, &[255; 4], "past the end"),
        (long + 32, &[1, 0, 0, 0], "does not decompress"),
        (long + 32, &[0, 0, 64, 1], "overlap"),
        (long + 36, &[5, 0, 0, 1], "uncompressed"),
        (sub + 36, &[5, 0, 0, 0], "attribute table"),
        (sub + 28, &[77, 0, 0, 0], "says it is in inode 77"),
        (sub + 20, &[7, 0, 0, 0], "ends inside an entry"),
        (link + 16, &[5, 0, 0, 0], "says it has 5 names, found 1"),
        (link + 20, &[0, 0, 2, 0], "the limit is 65536"),
    ] {
        let mut bytes = bytes.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        let found = problems(&bytes);
        assert!(
            found.iter().any(|p| p.contains(expected)),
            "{expected}: {found:?}"
        );
        // And reading on does no harm.
        let image = Image::open(bytes.as_slice()).unwrap();
        for entry in image.entries().map_while(Result::ok) {
            drop(image.read_to_vec(&entry.1, 1 << 20));
        }
    }
}

#[test]
fn blocks_that_overlap_are_found() {
    let mut bytes = sample();
    let at = inode(&bytes, "dir/b-file");
    // The second block starts inside the first.
    bytes[at + 32..at + 36].copy_from_slice(&(100_000_u32 | 1 << 24).to_le_bytes());
    let found = problems(&bytes);
    assert!(
        found.iter().any(|p| p.contains("uncompressed")),
        "{found:?}"
    );
    // A fragment block inside a file's.
    let mut bytes = sample();
    let image = Image::open(bytes.as_slice()).unwrap();
    let table = image.superblock().fragment_table as usize;
    let entry = u64::from_le_bytes(bytes[table..table + 8].try_into().unwrap()) as usize + 2;
    let start = u64::from_le_bytes(bytes[entry..entry + 8].try_into().unwrap());
    bytes[entry..entry + 8].copy_from_slice(&(start - 1000).to_le_bytes());
    let found = problems(&bytes);
    assert!(found.iter().any(|p| p.contains("overlap")), "{found:?}");
}

#[test]
fn the_export_table_is_checked() {
    let mut bytes = sample();
    let table = Image::open(bytes.as_slice())
        .unwrap()
        .superblock()
        .export_table as usize;
    let entry = u64::from_le_bytes(bytes[table..table + 8].try_into().unwrap()) as usize + 2;
    bytes[entry + 8] ^= 4;
    assert!(
        problems(&bytes)
            .iter()
            .any(|p| p.contains("export table says inode 2"))
    );
}

#[test]
fn files_over_the_limit_are_not_read() {
    let image = Image::open(sample()).unwrap();
    let file = image.lookup(b"dir/b-file").unwrap().unwrap();
    let error = image.read_to_vec(&file, 299_999).unwrap_err();
    assert!(matches!(
        error,
        ReadError::Limit {
            size: 300_000,
            limit: 299_999,
            ..
        }
    ));
    let dir = image.lookup(b"dir").unwrap().unwrap();
    assert!(matches!(
        image.read_to_vec(&dir, 1),
        Err(ReadError::Type { .. })
    ));
    assert!(matches!(
        image.read_link(&file),
        Err(ReadError::Type { .. })
    ));
    assert!(matches!(image.read_dir(&file), Err(ReadError::Type { .. })));
    assert!(image.lookup(b"dir/a-file/x").unwrap().is_none());
    assert!(image.lookup(b"dir/nothing").unwrap().is_none());
}

/// Pieces of any length from anywhere.
#[test]
fn reading_in_pieces() {
    use std::io::Read as _;
    let image = Image::open(sample()).unwrap();
    let file = image.lookup(b"dir/b-file").unwrap().unwrap();
    let data = pattern(1, 300_000);
    for offset in [
        0, 1, 131_071, 131_072, 200_000, 262_144, 299_999, 300_000, 400_000,
    ] {
        let mut buffer = vec![0; 140_000];
        let n = image.read(&file, offset as u64, &mut buffer).unwrap();
        let from = offset.min(data.len());
        assert!(buffer[..n] == data[from..(from + 140_000).min(data.len())]);
    }
    let mut all = Vec::new();
    let mut reader = image.reader(&file).unwrap();
    let mut buffer = [0; 777];
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
    assert!(all == data);
}
